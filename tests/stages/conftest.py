"""One run of the tiny recipe for all tests of this folder: the real thing, in seconds."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


def run_command(*words: str) -> None:
    """The command line, as a person uses it; it must succeed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "trivium", *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="session")
def trivium() -> Callable[..., None]:
    """`run_command`, for the tests of this folder."""
    return run_command


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """The folder of a finished `trivium run tiny_cpu`."""
    folder = tmp_path_factory.getbasetemp() / "tiny"
    run_command("run", "tiny_cpu", "--out", str(folder))
    return folder
