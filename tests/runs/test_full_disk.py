"""The disk fills up while a run writes: one line for the user, and nothing saved is lost."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from trivium.config import Pretrain
from trivium.errors import UserError
from trivium.runs import checkpoint, directory
from trivium.runs.atomic import write_text
from trivium.runs.directory import Run, open_run

LIMIT = 64 * 1024
REASONS = {"tmpfs": "No space left on device", "limit": "File too large"}


def can_mount() -> bool:
    """Whether this process may mount; where not, the limit on file sizes has to do alone."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.fixture(params=["tmpfs", "limit"] if can_mount() else ["limit"])
def disk(request, tmp_path) -> Iterator[tuple[Path, str]]:
    """A folder with little room, and what the system says when it is used up.

    tmpfs is a disk that is really full. limit: no file may grow beyond 64 KiB; the kernel refuses
    the same write with another number, and nothing need be mounted.
    """
    if request.param == "tmpfs":
        size = f"size={3 * LIMIT}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(tmp_path)], check=True)
        yield tmp_path, REASONS["tmpfs"]
        subprocess.run(["umount", str(tmp_path)], check=True)
    else:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
        yield tmp_path, REASONS["limit"]
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def save(run: Run, step: int, write_models=lambda folder: None, tensors=None, state=None):
    run.save(step, write_models=write_models, tensors=tensors or {}, state=state or {})


def fill(run: Run, what: str) -> None:
    big = {"weight": torch.zeros(LIMIT)}
    run.log(0, {"pretrain/loss": 1.0})
    save(run, 1)
    if what == "models":
        save(run, 2, write_models=lambda folder: save_file(big, folder / "model.safetensors"))
    if what == "tensors":
        save(run, 2, tensors=big)
    if what == "state":
        save(run, 2, state={"long": "x" * 4 * LIMIT})
    for step in range(1, LIMIT):
        run.log(step, {"pretrain/loss": 1.0})


@pytest.mark.parametrize(
    ("what", "file"),
    [
        ("models", "checkpoints/step-000002"),
        ("tensors", "checkpoints/step-000002"),
        ("state", "checkpoints/step-000002"),
        ("log", "metrics.jsonl"),
    ],
)
def test_a_run_stops_at_its_checkpoint(disk, what, file):
    folder, reason = disk
    out = folder / "run"
    with (
        pytest.raises(UserError) as caught,
        open_run(out, stage="pretrain", config=Pretrain()) as run,
    ):
        fill(run, what)
    message = str(caught.value)
    assert message.startswith(f"{out / file}: no room to write it ({reason}; ")
    assert message.endswith(f"make room, then `trivium resume {out}`")
    assert "\n" not in message

    kept = checkpoint.latest(out)
    assert kept is not None
    assert kept.step == 1
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-000001"]
    summary = json.loads((out / "summary.json").read_text())
    # With the whole disk full of log lines, not even the failure can be written down.
    expected = "running" if what == "log" and reason == REASONS["tmpfs"] else "failed"
    assert summary["status"] == expected


def test_a_stage_of_a_recipe_goes_on_with_the_recipe(disk):
    folder, _ = disk
    (folder / "recipe.yaml").touch()
    out = folder / "pretrain"
    with (
        pytest.raises(UserError, match=f"make room, then `trivium resume {folder}`$"),
        open_run(out, stage="pretrain", config=Pretrain()) as run,
    ):
        fill(run, "tensors")


@pytest.mark.parametrize(
    ("share", "expected"),
    [(2, "make room or choose another --out"), (0.75, "make room"), (0.3, "")],
)
def test_room_for_checkpoints_is_looked_at_before_the_first_step(tmp_path, capsys, share, expected):
    """A checkpoint has three fp32 numbers for each that is trained, and two lie there at a time."""
    free = shutil.disk_usage(tmp_path).free
    plan = {"trained_parameters": int(share * free / 12)}
    out = tmp_path / "run"
    if share > 1:
        with (
            pytest.raises(UserError, match=expected) as caught,
            open_run(out, stage="pretrain", config=Pretrain()) as run,
        ):
            run.plan(plan)
        assert str(caught.value).startswith(f"{out}: a checkpoint takes ")
        assert directory.did_nothing(out)
        return
    with open_run(out, stage="pretrain", config=Pretrain()) as run:
        run.plan(plan)
        run.executed(plan)
        run.finish({})
    said = capsys.readouterr().err
    assert ("warning: " in said) == bool(expected)
    assert expected in said


def test_it_goes_on_once_there_is_room(disk):
    folder, _ = disk
    out = folder / "run"
    with pytest.raises(UserError), open_run(out, stage="pretrain", config=Pretrain()) as run:
        fill(run, "log")
    with open_run(out, stage="pretrain", config=Pretrain(), resume=True) as run:
        run.log(1, {"pretrain/loss": 2.0})
        run.finish({})
    lines = (out / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["pretrain/loss"] for line in lines] == [1.0, 2.0]


def test_a_file_keeps_its_old_text_when_the_new_does_not_fit(disk):
    folder, reason = disk
    write_text(folder / "a.txt", "old")
    with pytest.raises(
        UserError, match=rf"a\.txt: no room .*{reason}.* give the same command again"
    ):
        write_text(folder / "a.txt", "x" * 4 * LIMIT)
    assert (folder / "a.txt").read_text() == "old"
    assert [path.name for path in folder.iterdir()] == ["a.txt"]
