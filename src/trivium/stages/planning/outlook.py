"""What a run of a recipe should take, said before it begins, and beside what it took at its end."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from trivium.errors import UserError
from trivium.models import compute_for
from trivium.runs.atomic import write_json
from trivium.runs.directory import read_summary
from trivium.runs.pipeline_summary import at, number, read_json
from trivium.runs.progress import duration
from trivium.runs.recipes import Recipe
from trivium.stages.planning.command import expect, table

NAME = "plan.json"


def announce(load: Callable[[Path], Recipe], out: Path, console: Console) -> None:
    """Print time and memory that each stage should take, and keep them in ``out``.

    A recipe that can't be foreseen is run all the same: what is wrong with it, if anything is,
    its stages say.
    """
    console.print("looking at what this will take ...", highlight=False)
    try:
        _, phases = expect(load, compute_for("auto"))
    except UserError as error:
        console.print(f"no forecast: {error}", markup=False, highlight=False, soft_wrap=True)
        return
    plan = {
        phase.name: {"seconds": round(phase.seconds, 1), "peak_bytes": phase.peak_bytes()}
        for phase in phases
    }
    write_json(out / NAME, {"stages": plan})
    shown = table("the plan", ("time", "memory, GB"))
    for phase in phases:
        shown.add_row(phase.name, duration(phase.seconds), _gigabytes(phase.peak_bytes()))
    most = max(phase.peak_bytes() for phase in phases)
    shown.add_row("in all", duration(sum(phase.seconds for phase in phases)), _gigabytes(most))
    console.print(shown, highlight=False)


def compare(recipe: Recipe, out: Path, console: Console) -> None:
    """Print what was expected beside what it was; nothing where nothing was expected."""
    plan = read_json(out / NAME)
    if not plan:
        return
    shown = table("planned and done", ("planned", "took", "memory planned, GB", "was"))
    summaries = {entry.name: read_summary(out / entry.name) or {} for entry in recipe.stages}
    for name, summary in summaries.items():
        expected = [number(plan, "stages", name, key) for key in ("seconds", "peak_bytes")]
        was = [number(summary, key) for key in ("seconds", "peak_bytes")]
        shown.add_row(
            name,
            *(_or_blank(x, duration) for x in (expected[0], was[0])),
            *(_or_blank(x, _gigabytes) for x in (expected[1], was[1])),
        )
    planned = at(plan, "stages")
    whole = sum(number(planned, name, "seconds") or 0.0 for name in planned)
    took = sum(number(one, "seconds") or 0.0 for one in summaries.values())
    shown.add_row("in all", duration(whole), duration(took), "", "")
    console.print(shown, highlight=False)


def _or_blank(value: float | None, words: Callable[[float], str]) -> str:
    return "" if value is None else words(value)


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.2f}"
