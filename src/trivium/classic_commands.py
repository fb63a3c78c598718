"""`trivium classic`: the cat, or CartPole, and the ladder from REINFORCE to PPO."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trivium.errors import UserError

if TYPE_CHECKING:
    from trivium.classic.results import Line
    from trivium.classic.tasks import World


def classic(
    name: str,
    /,
    *,
    out: Path = Path("runs/classic"),
    env: Literal["cat", "CartPole-v1"] = "cat",
    seeds: int = 5,
    layout: Path | None = None,
    drunkenness: float | None = None,
) -> None:
    """Train REINFORCE, PPO and what lies between on a cat in a grid, beside the known optimum.

    Args:
        name: An algorithm, or `all` of them.
        out: Folder for index.html and summary.json.
        env: The cat, or CartPole-v1.
        seeds: Runs of each algorithm, with seeds 0, 1, ...
        layout: Text file with a grid of your own; None: the default one.
        drunkenness: Share of the cat's moves that are random; None: 0.1.
    """
    if seeds < 1:
        raise UserError(f"--seeds {seeds}: expected 1 or more")
    from trivium.classic import ladder, tasks

    names = ladder.choose(name)
    world = tasks.World(env=env)
    if layout is not None:
        world = replace(world, layout=_read(layout))
    if drunkenness is not None:
        world = replace(world, drunkenness=drunkenness)
    _train(names, world, seeds=seeds, out=out)


def _train(names: list[str], world: "World", *, seeds: int, out: Path) -> None:
    from rich.console import Console

    from trivium.classic import ladder, page, results, tasks
    from trivium.runs import atomic, progress

    task = tasks.find(world)
    began = time.monotonic()
    coming = ladder.run_all(names, world, seeds=seeds)
    total = len(names) * seeds
    outcomes = [
        next(coming) for _ in progress.steps(0, total, "training runs", Console(stderr=True))
    ]
    seconds = time.monotonic() - began
    lines = results.lines(outcomes, names)
    _show(lines)
    atomic.write_text(out / "index.html", page.html(outcomes, lines, world=world, task=task))
    figures = results.summary(lines, env=world.env, optimum=task.optimum, seconds=seconds)
    atomic.write_json(out / "summary.json", figures)
    print(f"{progress.duration(seconds)}; wrote {out / 'index.html'} and {out / 'summary.json'}")


def _show(lines: "list[Line]") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from trivium.classic import results

    table = Table(box=box.SIMPLE_HEAD)
    for place, head in enumerate(results.HEADS):
        table.add_column(head, justify="right" if place else "left", no_wrap=True)
    for line in lines:
        table.add_row(*results.cells(line))
    console = Console()
    console.print(table)
    console.print(results.notes(lines[0].seeds), highlight=False)


def _read(layout: Path) -> str:
    try:
        return layout.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{layout}: cannot be read ({error}); expected a text file") from error
