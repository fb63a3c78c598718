"""`trivium plan`: what a recipe will take, phase by phase, before any of it is run."""

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from trivium.models import Compute, compute_for
from trivium.models.load import load_blank
from trivium.models.pace import Roofs, measure_roofs
from trivium.runs import resident
from trivium.runs.progress import duration
from trivium.runs.recipes import Recipe
from trivium.stages.planning.by_stage import foresee
from trivium.stages.planning.forecast import Forecast
from trivium.stages.planning.rehearsal import answers_of, enter, leave
from trivium.stages.planning.timing import new_trial, stage_seconds
from trivium.text import encode_response

MOST_PLACES = 4
REPORT_BYTES = 45_000_000
"""What drawing the first report adds to the process: matplotlib, its fonts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stage and the time it should take on this machine.

    Attributes:
        name: of the recipe's entry.
        forecast: what it will do.
        preparing: seconds that reading its data, or making them, took just now.
        seconds: of all of it.
        around: bytes of the process without the stage's networks: libraries and data.
    """

    name: str
    forecast: Forecast
    preparing: float
    seconds: float
    around: int

    def peak_bytes(self) -> int:
        """At the busiest moment."""
        return self.around + self.forecast.memory.peak()


def run(load: Callable[[Path], Recipe]) -> None:
    """Print the plan.

    Args:
        load: reads the recipe for a folder that will hold its run.

    Raises:
        UserError: what the run itself would say about its recipe, models and data.
    """
    compute = compute_for("auto")
    recipe, phases = expect(load, compute)
    show(recipe, phases, measure_roofs(compute))


def expect(load: Callable[[Path], Recipe], compute: Compute) -> tuple[Recipe, list[Phase]]:
    """Every stage's phase.

    Raises:
        UserError: see `run`.
    """
    with tempfile.TemporaryDirectory(prefix="trivium-plan-") as folder:
        recipe = load(Path(folder))
        foreseen = foresee_all(recipe, Path(folder))
    resident.keep_freed()  # as in the run
    around, trial = resident.resident_bytes() + REPORT_BYTES, new_trial(compute)
    return recipe, [
        Phase(
            name=name,
            forecast=one,
            preparing=preparing,
            seconds=preparing + stage_seconds(one, trial),
            around=around,
        )
        for name, (one, preparing) in foreseen.items()
    ]


def foresee_all(recipe: Recipe, folder: Path) -> dict[str, tuple[Forecast, float]]:
    """Every stage's forecast by name, and the seconds that preparing it took."""
    foreseen: dict[str, tuple[Forecast, float]] = {}
    lengths: list[int] = []
    for entry in recipe.stages:
        place = folder / entry.name
        began = time.perf_counter()
        enter(entry.config, place)
        forecast = foresee(entry.config, place, lengths)
        more = leave(entry.config, place, recipe)
        foreseen[entry.name] = forecast, time.perf_counter() - began + more
        if not lengths:
            model = forecast.works[0].model.config.name_or_path or str(place)
            codec = load_blank(model).codec
            rows = answers_of(recipe)
            lengths = [len(encode_response(codec, r.completion, where=r.id)) for r in rows]
    return foreseen


def show(recipe: Recipe, phases: list[Phase], roofs: Roofs) -> None:
    """Two tables and the roofs."""
    console = Console()
    work = table(f"{recipe.name}: work", ("updates", "episodes", "tokens", "TFLOP", "time"))
    for phase in phases:
        one = phase.forecast
        counts = (f"{n:,}" for n in (one.updates, one.episodes, one.tokens()))
        flops = _figure(one.flops() / 1e12, places=1)
        work.add_row(phase.name, *counts, flops, duration(phase.seconds))
    total = sum(phase.seconds for phase in phases)
    all_flops = sum(phase.forecast.flops() for phase in phases)
    work.add_row("in all", "", "", "", _figure(all_flops / 1e12, places=1), duration(total))
    console.print(work)
    kinds = ("weights", "grads", "Adam", "kept", "read", "past", "libs", "peak")
    memory = table("memory, MB", kinds)
    for phase in phases:
        m = phase.forecast.memory
        backward = max(m.activations, m.update)
        sizes = (m.weights, m.gradients, m.optimizer, backward, m.reading, m.past)
        ends = (phase.around + m.programs, phase.peak_bytes())
        memory.add_row(phase.name, *(_figure(n / 1e6) for n in (*sizes, *ends)))
    console.print(memory)
    rates = ", ".join(f"{dtype} {rate / 1e9:,.0f}" for dtype, rate in roofs.flops.items())
    console.print(
        f"roofs measured now: {rates} GFLOP/s, copy {roofs.bytes / 1e9:.0f} GB/s; "
        f"at the first, all FLOPs would take {duration(all_flops / max(roofs.flops.values()))}\n"
        "Answers are taken to be as long as demonstrations. Not counted: checkpoints, reports, "
        "reward functions. Gradients and what is kept for backward are not held with what is read "
        "and the past (keys, values, weights reordered for sampling). libs: and their programs.",
        highlight=False,
    )


def _figure(value: float, *, places: int = 0) -> str:
    """A number of a column: with more places where a small one would be shown as none."""
    needed = 1 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:,.{min(MOST_PLACES, max(places, needed))}f}"


def table(title: str, columns: tuple[str, ...]) -> Table:
    """An empty one: the stage's name, then numbers."""
    # Without walls nine columns fit into eighty characters.
    empty = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    empty.add_column("stage", no_wrap=True)
    for name in columns:
        empty.add_column(name, justify="right")
    return empty
