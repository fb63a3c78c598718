"""What a person sees while a run goes on: a bar with time left, or now and then a plain line."""

import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def steps(start: int, stop: int, label: str, console: Console) -> Iterator[int]:
    """Yield start, ..., stop - 1, and show how far that is and how long the rest will take."""
    if console.is_terminal:
        yield from _with_bar(start, stop, label, console)
    else:
        yield from _with_lines(start, stop, label, console)


def _with_bar(start: int, stop: int, label: str, console: Console) -> Iterator[int]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(label, total=stop, completed=start)
        for step in range(start, stop):
            yield step
            progress.update(task, completed=step + 1)


def _with_lines(start: int, stop: int, label: str, console: Console) -> Iterator[int]:
    began = time.monotonic()
    for step in range(start, stop):
        yield step
        done = step + 1
        if 10 * done // stop == 10 * step // stop:
            continue
        elapsed = time.monotonic() - began
        left = elapsed / (done - start) * (stop - done)
        line = f"{label}: {done}/{stop}, {duration(elapsed)} so far, {duration(left)} left"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Seconds as a person says them: 8 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
