"""One run of the tiny recipe for all tests of this folder: the real thing, in seconds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def trivium(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The command line, as a person uses it."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "trivium", *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stderr[-2000:]
    return done


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """The folder of a finished `trivium run tiny_cpu`."""
    folder = tmp_path_factory.getbasetemp() / "tiny"
    trivium("run", "tiny_cpu", "--out", str(folder))
    return folder
