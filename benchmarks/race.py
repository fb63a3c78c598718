"""Two sides in turns, and what comes of it."""

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent


class Refused(Exception):
    """The two sides do not do the same work, so nothing is timed."""


@dataclass(frozen=True, slots=True)
class Side:
    """A running program that waits for its turns."""

    process: subprocess.Popen[str]
    log: Path

    def turn(self) -> dict[str, Any]:
        """Let it do one iteration; what it says at the end of it."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self.listen()

    def listen(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("@"):
                message = json.loads(line[1:])
                if "seconds" in message:
                    return message
        raise RuntimeError(f"a side ended early; see {self.log}")

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()  # which waits, and closes the pipes


def start(python: str, script: str, *arguments: str, log: Path) -> Side:
    """Start a side and wait until it stands at its first iteration."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [python, str(HERE / script), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    side = Side(process, log)
    side.listen()
    return side


def alternate(
    sides: Sequence[Side], iterations: int, between: Callable[[], object] = lambda: None
) -> list[list[dict[str, Any]]]:
    """ABAB...; the first iteration of each side warms it up and is dropped.

    ``between`` is called before every counted round and after the last, while all sides wait.
    """
    said: list[list[dict[str, Any]]] = [[] for _ in sides]
    for number in range(iterations + 1):
        if number:
            between()
        for side, heard in zip(sides, said, strict=True):
            message = side.turn()
            print(f"  {side.log.stem} {number}: {message['seconds']:.2f} s", flush=True)
            if number:
                heard.append(message)
    between()
    return said


@dataclass(frozen=True, slots=True)
class Result:
    """A row of the table."""

    ours: float
    """Median seconds of an iteration, or bytes."""

    peer: float
    ratio: float
    spread: tuple[float, float]
    """Smallest and largest ratio of neighbouring iterations."""

    gate: str
    """What was found equal before a clock was looked at."""


def compare(ours: list[dict], peer: list[dict], gate: str, *, per: str | None = None) -> Result:
    """Medians, their ratio (above 1: ours is faster), and the range of the pairs.

    ``per``: the count that seconds are divided by, where each side writes answers of its own.
    """
    mine, theirs = ([m["seconds"] / (m[per] if per else 1) for m in side] for side in (ours, peer))
    pairs = [b / a for a, b in zip(mine, theirs, strict=True)]
    a, b = median(mine), median(theirs)
    return Result(a, b, b / a, (min(pairs), max(pairs)), gate)


def same_figures(ours: list[dict], peer: list[dict], names: Sequence[str], within: float) -> str:
    """Every figure of every iteration is equal to a relative ``within``; rates are 0, so all
    iterations see the same weights.

    Raises:
        Refused: one is not.
    """
    worst = 0.0
    for name in names:
        for a, b in zip(_all(ours, name), _all(peer, name), strict=True):
            worst = max(worst, abs(a - b) / abs(b))
            if not worst <= within:
                raise Refused(f"{name}: {a:.8g} against {b:.8g}, more than {within:.0e} apart")
    return f"{' and '.join(names)} equal to {worst:.0e}"


def kl_is_zero(sides: Sequence[list[dict]], most: float) -> str:
    """Every side's policy is its reference, so what it calls KL has to be 0.

    Raises:
        Refused: it is not.
    """
    worst = max(abs(value) for side in sides for value in _all(side, "objective/kl_nats"))
    if not worst <= most:
        raise Refused(f"a KL of {worst:.1e} nats against an identical model, above {most:.0e}")
    return f"KL against itself {worst:.0e} nats"


def _all(side: list[dict], name: str) -> Iterator[float]:
    for message in side:
        yield message[name]
