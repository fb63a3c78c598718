"""One run of the tiny recipe for all tests of this folder: the real thing, in seconds."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

NURSERY = Path(__file__).with_name("nursery.py")
SRC = Path(__file__).parents[2] / "src"


def environment(*, hash_seed: int) -> dict[str, str]:
    """This checkout's code, on one thread."""
    own = {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": str(hash_seed)}
    return os.environ | own


class Nursery:
    """A process that forks one for each command; see nursery.py."""

    def __init__(self, folder: Path, *, hash_seed: int) -> None:
        self._logs = (folder / f"{number}.log" for number in count())
        self._log: dict[int, Path] = {}
        self._process = subprocess.Popen(
            [sys.executable, str(NURSERY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(hash_seed=hash_seed),
        )

    def start(self, *words: str) -> int:
        """Start a command of trivium; its process id."""
        log = next(self._logs)
        child = self._ask({"start": list(words), "log": str(log)})
        self._log[child] = log
        return child

    def poll(self, child: int) -> int | None:
        """Its exit code; None while it runs."""
        return self._ask({"poll": child})

    def wait(self, child: int) -> int:
        """Its exit code, below 0 if a signal ended it."""
        return self._ask({"wait": child})

    def run(self, *words: str) -> None:
        """The command line, as a person uses it; it must succeed."""
        child = self.start(*words)
        assert self.wait(child) == 0, self._log[child].read_text()[-2000:]

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=60)

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@pytest.fixture(scope="session")
def nursery(tmp_path_factory) -> Iterator[Nursery]:
    """Where the tests' own commands run, with another hash seed than `tiny`'s."""
    one = Nursery(tmp_path_factory.mktemp("nursery"), hash_seed=2)
    yield one
    one.close()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """The folder of a finished `trivium run tiny_cpu`."""
    folder = tmp_path_factory.getbasetemp() / "tiny"
    command = [sys.executable, "-m", "trivium", "run", "tiny_cpu", "--out", str(folder)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment(hash_seed=1),
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder
