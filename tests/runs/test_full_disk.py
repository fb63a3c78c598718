"""The disk fills up while a run writes: one line for the user, and nothing saved is lost."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trivium.errors import UserError
from trivium.runs import checkpoint
from trivium.runs.atomic import write_text

SCRIPT = Path(__file__).with_name("full_disk.py")
SRC = Path(__file__).parents[2] / "src"


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def can_mount() -> bool:
    """Whether this process may mount; where not, the limit on file sizes has to do alone."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


REAL = ["tmpfs"] if can_mount() else []


@pytest.fixture(params=[*REAL, "limit"])
def disk(request, tmp_path) -> Iterator[tuple[str, Path]]:
    if request.param == "limit":
        yield "limit", tmp_path
    else:
        with small_disk(tmp_path):
            yield "tmpfs", tmp_path


@pytest.mark.parametrize("what", ["models", "tensors", "state", "log"])
def test_a_run_on_a_full_disk_stops_at_its_checkpoint(disk, what):
    how, folder = disk
    out = folder / "run"
    env = os.environ | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), what, how, str(out)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    message = json.loads(done.stdout)

    file = "metrics.jsonl" if what == "log" else "checkpoints/step-000002"
    assert message.startswith(str(out / file))
    reason = "No space left on device" if how == "tmpfs" else "File too large"
    assert f"no room to write it ({reason}; " in message
    assert "free on that disk" in message
    assert message.endswith(f"make room, then `trivium resume {out}`")
    assert "\n" not in message

    kept = checkpoint.latest(out)
    assert kept is not None
    assert kept.step == 1
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-000001"]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["status"] in ("failed", "running")  # running: not even that could be written
    if what != "log" or how == "limit":
        assert summary["error"] == message


def test_a_file_keeps_its_old_text_when_the_new_does_not_fit(disk):
    how, folder = disk
    path = folder / "a.txt"
    write_text(path, "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if how == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(UserError, match=r"a\.txt: no room .* give the same command again"):
            write_text(path, "x" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "old"
    assert [path.name for path in folder.iterdir()] == ["a.txt"]
