"""kill -9 at any moment, resume: metrics and weights are those of the run that never stopped.

The uninterrupted run is the oracle. Each stage is killed twice for real, at moments taken from its
own log, so that the second kill hits a resumed run; then `trivium resume` ends it.
"""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

TIMING = ("seconds", "per_second", "bytes")


def metrics(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not any(t in k for t in TIMING)} for row in rows]


def kill_after(nursery, words: list[str], run: Path, num_lines: int, extra_seconds: float) -> None:
    """Start the command, kill it -9 once metrics.jsonl has that many lines and a little later."""
    process = nursery.start(*words)
    log = run / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_bytes().count(b"\n") >= num_lines):
        assert nursery.poll(process) is None, "ended before it could be killed"
        assert time.monotonic() < deadline, "never got so far"
        time.sleep(0.005)
    time.sleep(extra_seconds)
    os.killpg(process, signal.SIGKILL)
    assert nursery.wait(process) == -signal.SIGKILL


# Where to kill: lines of metrics.jsonl seen, and seconds after that. The tiny recipe checkpoints
# sft every 2 steps and at each epoch's end, reward every 3, PPO every 2: so kills fall before the
# first checkpoint, between two, right after an epoch, and inside the writing of one.
pytestmark = pytest.mark.xdist_group("tiny")

KILLS = {
    "sft": [(1, 0.0), (3, 0.02)],
    "reward": [(2, 0.0), (4, 0.01)],
    "ppo": [(1, 0.1), (3, 0.0)],
    "ppo_ptx": [(2, 0.02), (3, 0.2)],
}


@pytest.mark.parametrize("stage", KILLS)
def test_killed_twice_and_resumed_equals_uninterrupted(stage, tiny, tmp_path, nursery):
    run = tmp_path / "run"
    kind = yaml.safe_load((tiny / stage / "config.yaml").read_text())["stage"]
    start = [kind, "--config", str(tiny / stage / "config.yaml"), "--out", str(run)]
    (first, after_first), (second, after_second) = KILLS[stage]
    kill_after(nursery, start, run, first, after_first)
    assert json.loads((run / "summary.json").read_text())["status"] == "running"
    kill_after(nursery, ["resume", str(run)], run, second, after_second)
    nursery.run("resume", str(run))

    assert metrics(run) == metrics(tiny / stage)
    ours = load_file(run / "model" / "model.safetensors")
    theirs = load_file(tiny / stage / "model" / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert all(summary["plan"][name] == count for name, count in summary["executed"].items())


def test_a_recipe_goes_on_where_it_was_killed(tiny, tmp_path, nursery):
    """Killed in its last training stage; what was finished before is left as it is."""
    run = tmp_path / "whole"
    shutil.copytree(tiny, run)
    for path in (*run.glob("*.yaml"), *run.glob("*/config.yaml")):
        path.write_text(path.read_text().replace(str(tiny), str(run)))
    for name in ("ppo_ptx", "evaluate"):
        shutil.rmtree(run / name)
    (run / "summary.json").unlink()
    finished = {path: path.stat().st_mtime_ns for path in run.glob("*/summary.json")}
    kill_after(nursery, ["resume", str(run)], run / "ppo_ptx", 3, 0.0)
    nursery.run("resume", str(run))
    assert metrics(run / "ppo_ptx") == metrics(tiny / "ppo_ptx")
    ours = json.loads((run / "summary.json").read_text())
    theirs = json.loads((tiny / "summary.json").read_text())
    assert ours["status"] == "finished"
    assert ours["models"] == theirs["models"]
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_another_seed_gives_other_numbers(tiny, tmp_path, nursery):
    """The negative control: the comparison above can fail."""
    run = tmp_path / "run"
    config = str(tiny / "sft" / "config.yaml")
    nursery.run("sft", "--config", config, "--seed", "1", "--out", str(run))
    assert metrics(run) != metrics(tiny / "sft")
