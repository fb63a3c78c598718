"""kill -9, resume, and nothing shows: logs byte for byte, weights and optimizer exactly."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.xdist_group("killed")  # one worker kills and resumes for all
TOY = Path(__file__).with_name("toy_run.py")
SRC = Path(__file__).parents[2] / "src"
PLACES = (
    "log-2",  # before the first checkpoint
    "log-17",  # in the middle of a line of metrics.jsonl
    "save-5",  # in the middle of the first checkpoint
    "save-20",  # in the middle of a later one
    "saved-20",  # on the boundary, nothing lost
    "save-40",  # in the middle of the last one
    "saved-40",  # all steps done, figures not written
)


def toy(*words: str) -> str:
    env = os.environ | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(TOY), *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    toy("pauses", str(folder), *PLACES)
    return folder


@pytest.fixture(scope="module")
def stormed(killed) -> Path:
    """Beside the others, killed and resumed some dozens of times."""
    kills = int(toy("storm", str(killed / "storm"), "0").split()[1])
    assert kills >= 5
    return killed


def assert_same_run(whole: Path, other: Path) -> None:
    for log in ("metrics.jsonl", "samples.jsonl"):
        assert (whole / log).read_bytes() == (other / log).read_bytes(), log
    for file in ("model.safetensors", "trainer.safetensors"):
        expected = load_file(whole / "checkpoints" / "step-000040" / file)
        got = load_file(other / "checkpoints" / "step-000040" / file)
        assert expected.keys() == got.keys()
        for name, tensor in expected.items():
            assert torch.equal(tensor, got[name]), name
    assert os.listdir(other / "checkpoints") == ["step-000040"]  # noqa: PTH208
    assert json.loads((other / "summary.json").read_text())["status"] == "finished"


def test_the_uninterrupted_run_is_what_it_claims(killed):
    lines = (killed / "whole" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["step"] for row in rows] == list(range(40))
    assert rows[-1]["pretrain/loss"] < rows[0]["pretrain/loss"]
    assert rows[-1]["pretrain/lr"] == pytest.approx(1e-2 * 0.97**39)


@pytest.mark.parametrize("place", PLACES)
def test_a_run_killed_at_the_worst_place_ends_the_same(killed, place):
    assert_same_run(killed / "whole", killed / place)


def test_a_run_killed_again_and_again_ends_the_same(stormed):
    assert_same_run(stormed / "whole", stormed / "storm")
