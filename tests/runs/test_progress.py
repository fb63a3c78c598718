"""Progress: the right steps, said often enough and not too often."""

import io

import pytest
from rich.console import Console

from trivium.runs.progress import duration, steps


def watch(start: int, stop: int, *, terminal: bool) -> tuple[list[int], str]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100)
    return list(steps(start, stop, "toy", console)), out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize(("start", "stop"), [(0, 7), (3, 7), (7, 7)])
def test_every_step_comes_once(start, stop, terminal):
    assert watch(start, stop, terminal=terminal)[0] == list(range(start, stop))


def test_without_a_terminal_a_line_each_tenth():
    lines = watch(0, 1000, terminal=False)[1].splitlines()
    assert [line.split(",")[0] for line in lines] == [f"toy: {n}00/1000" for n in range(1, 11)]
    assert all(line.endswith(" left") for line in lines)


def test_a_short_run_has_a_line_a_step():
    assert len(watch(0, 3, terminal=False)[1].splitlines()) == 3


def test_the_bar_reaches_the_end():
    assert "7/7" in watch(3, 7, terminal=True)[1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
