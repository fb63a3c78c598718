"""The run directory: its lock, its refusals, and what it says about how a run ended."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trivium.config import SFT, Adam, Pretrain
from trivium.errors import UserError
from trivium.runs import config_file
from trivium.runs.directory import open_run, read_summary

SRC = Path(__file__).parents[2] / "src"
CONFIG = Pretrain(num_steps=5)


def start(out, *, config=CONFIG, resume=False):
    return open_run(out, stage="pretrain", config=config, resume=resume)


def save(run, step):
    run.save(step, write_models=lambda folder: None, tensors={}, state={})


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_finished_run_leaves_what_it_should(tmp_path, capsys):
    out = tmp_path / "a" / "b"
    with start(out) as run:
        assert run.dir == out
        assert run.checkpoint is None
        assert read_summary(out)["status"] == "running"
        run.plan({"optimizer_steps": 5, "tokens": 12_345, "model": "small [bold]"})
        run.log(0, {"pretrain/loss": 2.5, "pretrain/lr": torch.tensor(0.5)})
        run.log(1, {"pretrain/loss": 0.1 + 0.2, "reward/pairs": 7})
        run.show(1, [{"text": "é\n"}, {"text": ""}])
        run.executed({"optimizer_steps": 5, "extra": 1})
        run.finish({"heldout_loss": 1.5})
    summary = read_summary(out)
    assert summary.pop("seconds") >= 0
    assert summary.pop("peak_bytes") > 0
    assert summary == {
        "status": "finished",
        "stage": "pretrain",
        "plan": {"optimizer_steps": 5, "tokens": 12_345, "model": "small [bold]"},
        "executed": {"optimizer_steps": 5, "extra": 1},
        "heldout_loss": 1.5,
    }
    assert lines(out / "metrics.jsonl") == [
        {"step": 0, "pretrain/loss": 2.5, "pretrain/lr": 0.5},
        {"step": 1, "pretrain/loss": 0.30000000000000004, "reward/pairs": 7},
    ]
    assert lines(out / "samples.jsonl") == [{"step": 1, "text": "é\n"}, {"step": 1, "text": ""}]
    assert config_file.load(out / "config.yaml") == ("pretrain", CONFIG)
    assert json.loads((out / "env.json").read_text())["packages"]["torch"]
    assert json.loads((out / "plan.json").read_text()) == summary["plan"]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "12,345" in shown.err
    assert "small [bold]" in shown.err


def test_a_folder_with_a_run_is_refused(tmp_path):
    with start(tmp_path) as run:
        run.log(0, {"pretrain/loss": 1.0})
        run.finish({})
    with (
        pytest.raises(UserError, match=f"`trivium resume {tmp_path}`.*another --out"),
        start(tmp_path),
    ):
        pass
    assert lines(tmp_path / "metrics.jsonl") != []
    assert read_summary(tmp_path)["status"] == "finished"


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file: is a file"), start(tmp_path / "file"):
        pass


def test_resuming_nothing_is_starting(tmp_path):
    with start(tmp_path, resume=True) as run:
        assert run.checkpoint is None
        run.finish({})
    assert read_summary(tmp_path)["status"] == "finished"


def test_a_resumed_run_must_have_its_config(tmp_path):
    with start(tmp_path) as run:
        run.finish({})
    other = replace(CONFIG, lr=0.5, adam=Adam(eps=1e-5))
    with (
        pytest.raises(
            UserError, match=r"differs in lr \(0.004 there, 0.5 here\); adam\.eps \(1e-08"
        ),
        start(tmp_path, config=other, resume=True),
    ):
        pass
    sft = SFT(model="m", demonstrations="d")
    with (
        pytest.raises(UserError, match="holds a pretrain run, not sft"),
        open_run(tmp_path, stage="sft", config=sft, resume=True),
    ):
        pass
    assert read_summary(tmp_path)["status"] == "finished"


def test_logs_go_back_to_the_checkpoint(tmp_path):
    with suppress(KeyboardInterrupt), start(tmp_path) as run:
        run.log(0, {"pretrain/loss": 1.0})
        run.show(0, [{"text": "a"}])
        save(run, 1)
        run.log(1, {"pretrain/loss": 2.0})
        run.show(1, [{"text": "b"}])
        raise KeyboardInterrupt
    with start(tmp_path, resume=True) as run:
        assert run.checkpoint.step == 1
        run.log(1, {"pretrain/loss": 3.0})
        run.finish({})
    assert [row["pretrain/loss"] for row in lines(tmp_path / "metrics.jsonl")] == [1.0, 3.0]
    assert lines(tmp_path / "samples.jsonl") == [{"step": 0, "text": "a"}]


def test_without_a_checkpoint_logs_start_again(tmp_path):
    with suppress(KeyboardInterrupt), start(tmp_path) as run:
        run.log(0, {"pretrain/loss": 1.0})
        raise KeyboardInterrupt
    with start(tmp_path, resume=True) as run:
        run.finish({})
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


def test_a_log_shorter_than_its_checkpoint_knows_is_an_error(tmp_path):
    with suppress(KeyboardInterrupt), start(tmp_path) as run:
        run.log(0, {"pretrain/loss": 1.0})
        save(run, 1)
        raise KeyboardInterrupt
    (tmp_path / "metrics.jsonl").write_bytes(b"")
    with (
        pytest.raises(UserError, match=r"metrics\.jsonl: has 0 bytes, its checkpoint knows"),
        start(tmp_path, resume=True),
    ):
        pass


def test_seconds_are_summed_over_resumes(tmp_path):
    with suppress(KeyboardInterrupt), start(tmp_path):
        time.sleep(0.3)
        raise KeyboardInterrupt
    first = read_summary(tmp_path)["seconds"]
    assert first >= 0.3
    with start(tmp_path, resume=True) as run:
        time.sleep(0.2)
        run.finish({})
    assert read_summary(tmp_path)["seconds"] >= first + 0.2


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt: "),
        (ValueError("first\nsecond"), "failed", "ValueError: first"),
        (UserError("x.jsonl:3: bad"), "failed", "x.jsonl:3: bad"),
    ],
)
def test_how_it_ended_is_written(tmp_path, error, status, line):
    with pytest.raises(type(error)), start(tmp_path):
        raise error
    summary = read_summary(tmp_path)
    assert (summary["status"], summary["error"]) == (status, line)


def work_and_raise(run, work, error):
    run.plan({"optimizer_steps": 5})
    work(run)
    raise error


def fail(out, error, *, work=lambda run: None, resume=False):
    """A run that does ``work`` and then stops over ``error``."""
    with pytest.raises(type(error)), start(out, resume=resume) as run:
        work_and_raise(run, work, error)


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_failed_over_its_input_makes_way(tmp_path, resume):
    fail(tmp_path, UserError("x.jsonl: no such file"))
    other = SFT(model="m", demonstrations="d")
    with open_run(tmp_path, stage="sft", config=other, resume=resume) as run:
        assert not (tmp_path / "plan.json").exists()
        run.finish({})
    assert config_file.load(tmp_path / "config.yaml") == ("sft", other)
    assert read_summary(tmp_path).keys().isdisjoint({"error", "nothing_done"})
    with pytest.raises(UserError, match="holds a run already"), start(tmp_path):
        pass


WORK = {
    "a line of metrics": lambda run: run.log(0, {"pretrain/loss": 1.0}),
    "a sample": lambda run: run.show(0, [{"text": "a"}]),
    "a checkpoint": lambda run: save(run, 1),
    "labels of a store": lambda run: (run.dir / "data").mkdir(),
    "a batch to look at": lambda run: run.keep_batch(0, {"tokens": torch.zeros(1)}, "nan"),
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_a_run_that_has_something_keeps_its_folder(tmp_path, work):
    fail(tmp_path, UserError("x.jsonl: no such file"), work=work)
    with pytest.raises(UserError, match="holds a run already"), start(tmp_path):
        pass


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("a bug")])
def test_a_run_that_was_stopped_or_has_a_bug_keeps_its_folder(tmp_path, error):
    fail(tmp_path, error)
    with pytest.raises(UserError, match="holds a run already"), start(tmp_path):
        pass


def test_a_kept_batch_outlives_a_resume_that_fails_over_its_input(tmp_path):
    fail(tmp_path, UserError("nan"), work=WORK["a batch to look at"])
    fail(tmp_path, UserError("x.jsonl: no such file"), resume=True)
    with pytest.raises(UserError, match="holds a run already"), start(tmp_path):
        pass


def plan_and_do(run, plan, done):
    run.plan(plan)
    run.executed(done)
    run.finish({})


def test_a_run_that_did_less_than_planned_fails(tmp_path):
    with (
        pytest.raises(AssertionError, match="planned 5 optimizer_steps, did 4"),
        start(tmp_path) as run,
    ):
        plan_and_do(run, {"optimizer_steps": 5, "epochs": 1}, {"epochs": 1, "optimizer_steps": 4})
    assert read_summary(tmp_path)["status"] == "failed"


def test_a_plan_nobody_counted_fails(tmp_path):
    with pytest.raises(AssertionError, match="executed"), start(tmp_path) as run:
        plan_and_do(run, {"optimizer_steps": 5}, {})


def test_a_run_without_its_figures_fails(tmp_path):
    with pytest.raises(AssertionError, match="without finish"), start(tmp_path):
        pass
    assert read_summary(tmp_path)["status"] == "failed"


def test_figures_cannot_shadow_the_status(tmp_path):
    with pytest.raises(AssertionError, match=r"\['seconds', 'status'\]"), start(tmp_path) as run:
        run.finish({"status": "fine", "seconds": 0})


@pytest.mark.parametrize("value", [math.nan, math.inf, torch.tensor(math.nan)])
def test_what_is_not_finite_is_not_logged(tmp_path, value):
    with (
        pytest.raises(AssertionError, match=r"pretrain/loss is (nan|inf) at step 3"),
        start(tmp_path) as run,
    ):
        run.log(3, {"pretrain/lr": 1.0, "pretrain/loss": value})
    assert lines(tmp_path / "metrics.jsonl") == []


def test_unknown_metrics_are_not_logged(tmp_path):
    with (
        pytest.raises(AssertionError, match=r"pretrain/los: .*'pretrain/loss'"),
        start(tmp_path) as run,
    ):
        run.log(3, {"pretrain/los": 1.0})


def test_a_batch_is_kept_for_replay(tmp_path):
    tokens = torch.arange(6).view(2, 3).t()
    with start(tmp_path) as run:
        path = run.keep_batch(7, {"tokens": tokens}, "loss is nan")
        run.finish({})
    assert path == tmp_path / "replay" / "step-7.safetensors"
    assert torch.equal(load_file(path)["tokens"], tokens)
    note = json.loads(path.with_suffix(".json").read_text())
    assert note["note"] == "loss is nan"
    assert note["tensors"] == {"tokens": ["torch.int64", [3, 2]]}


HOLDER = """
import sys, time
from pathlib import Path
from trivium.config import Pretrain
from trivium.runs.directory import open_run
with open_run(Path(sys.argv[1]), stage="pretrain", config=Pretrain(num_steps=5)) as run:
    print("open", flush=True)
    time.sleep(600)
"""


def test_a_folder_in_use_is_refused_until_its_process_is_dead(tmp_path):
    env = os.environ | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "open\n"
            before = (tmp_path / "summary.json").read_bytes()
            expected = rf"{tmp_path}: in use by another run \(pid {holder.pid}\)"
            for resume in (True, False):
                with pytest.raises(UserError, match=expected), start(tmp_path, resume=resume):
                    pass
            assert (tmp_path / "summary.json").read_bytes() == before
        finally:
            holder.send_signal(signal.SIGKILL)
    with start(tmp_path, resume=True) as run:
        run.finish({})
    assert read_summary(tmp_path)["status"] == "finished"
