"""The help comes at once, shows the way in first, and never loads torch."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trivium import cli

SRC = Path(__file__).parents[2] / "src"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(SRC)}


def trivium(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trivium", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)


@pytest.mark.parametrize("words", [[], ["--help"], ["sft", "--help"], ["sft", "--out", "x"]])
def test_help_and_mistakes_do_not_load_torch(words):
    code = f"""
import sys
from trivium.cli import main
main({words!r})
heavy = {{"torch", "transformers", "datasets", "matplotlib", "numpy"}} & set(sys.modules)
sys.exit(f"loaded: {{heavy}}" if heavy else 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr


def test_help_answers_in_half_a_second():
    """The best of five, so that a busy machine doesn't decide."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        assert trivium("--help").returncode == 0
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5, seconds


def test_bare_trivium_prints_the_help_and_the_way_in_comes_first():
    bare, asked = trivium(), trivium("--help")
    assert bare.returncode == asked.returncode == 0
    assert bare.stdout == asked.stdout
    first = next(line for line in bare.stdout.splitlines() if line.startswith("  "))
    assert first.split()[0] == "quickstart"


def test_every_command_has_help(capsys):
    for name in cli.COMMANDS:
        assert cli.main([*name.split(), "--help"]) == 0
        assert f"usage: trivium {name} " in capsys.readouterr().out
        assert cli.about(name).endswith("."), name


def test_a_group_without_a_verb_lists_its_verbs(capsys):
    assert cli.main(["data"]) == 0
    assert "data leak-check" in capsys.readouterr().out


def test_a_reader_that_goes_away_is_not_an_error():
    """`trivium recipe show NAME | head -0`: no complaint from us, none from Python at exit."""
    command = [sys.executable, "-m", "trivium", "ppo", "--help"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, env=ENVIRONMENT
    )
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == ""


def test_doctor_runs_and_knows_its_own_exit_code(capsys):
    """In this process, where most of the fifteen packages it imports are loaded already."""
    code = cli.main(["doctor"])
    said = capsys.readouterr()
    problems = said.out.count("\n!!")
    assert code == (2 if problems else 0), said.err
    assert "torch" in said.out
    assert "bfloat16" in said.out
