"""`trivium plan`: what a recipe will take, phase by phase, before any of it is run."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from trivium.models import Compute, compute_for
from trivium.models.load import load_blank
from trivium.models.pace import Pace, Roofs, measure_pace, measure_roofs
from trivium.runs.recipes import Recipe
from trivium.stages.forecast import Forecast, Work
from trivium.stages.foresee import foresee
from trivium.stages.rehearsal import answers_of, rehearse
from trivium.text import encode_response

STRETCH = 128
"""Tokens of the sequences that layers are timed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stage and the time it should take on this machine."""

    name: str
    forecast: Forecast
    seconds: float


def run(load: Callable[[Path], Recipe]) -> None:
    """Print the plan.

    Args:
        load: reads the recipe for a folder that will hold its run.

    Raises:
        UserError: what the run itself would say about its recipe, models and data.
    """
    compute = compute_for("auto")
    with tempfile.TemporaryDirectory(prefix="trivium-plan-") as folder:
        recipe = load(Path(folder))
        forecasts = foresee_all(recipe, Path(folder))
    roofs = measure_roofs(compute)
    show(recipe, timed(forecasts, compute), roofs)


def foresee_all(recipe: Recipe, folder: Path) -> dict[str, Forecast]:
    """Every stage's forecast, by name."""
    forecasts: dict[str, Forecast] = {}
    lengths: list[int] = []
    for name, config, place in rehearse(recipe, folder):
        forecasts[name] = foresee(config, place, lengths)
        model = forecasts[name].works[0].model.config.name_or_path or str(place)
        rows = [] if lengths else answers_of(recipe)
        if rows:
            codec = load_blank(model).codec
            lengths = [len(encode_response(codec, r.completion, where=r.id)) for r in rows]
    return forecasts


def timed(forecasts: dict[str, Forecast], compute: Compute) -> list[Phase]:
    """Seconds of each, by the pace of its models here; a shape is timed once."""
    paces: dict[str, Pace] = {}

    def pace_of(work: Work) -> Pace:
        config = work.model.config.get_text_config()
        key = f"{config.model_type} {config.hidden_size} {config.vocab_size}"
        if key not in paces:
            paces[key] = measure_pace(work.model.config, compute, stretch=STRETCH)
        return paces[key]

    phases = []
    for name, one in forecasts.items():
        seconds = one.updated * pace_of(one.works[0]).update
        for work in one.works:
            seconds += pace_of(work).seconds(
                work.kind,
                layers=work.model.config.get_text_config().num_hidden_layers,
                passes=work.passes,
                tokens=work.reading.tokens,
                rows=work.reading.predicted,
            )
        phases.append(Phase(name=name, forecast=one, seconds=seconds))
    return phases


def show(recipe: Recipe, phases: list[Phase], roofs: Roofs) -> None:
    """Two tables and the roofs."""
    console = Console()
    work = _table(f"{recipe.name}: work", ("updates", "episodes", "tokens", "TFLOP", "time"))
    for phase in phases:
        one = phase.forecast
        counts = (f"{n:,}" for n in (one.updates, one.episodes, one.tokens()))
        work.add_row(phase.name, *counts, f"{one.flops() / 1e12:,.1f}", duration(phase.seconds))
    total = sum(phase.seconds for phase in phases)
    flops = sum(phase.forecast.flops() for phase in phases)
    work.add_row("in all", "", "", "", f"{flops / 1e12:,.1f}", duration(total))
    console.print(work)
    kinds = ("weights", "gradients", "Adam", "activations", "keys, values", "peak")
    memory = _table("memory, MB", kinds)
    for phase in phases:
        m = phase.forecast.memory
        sizes = (m.weights, m.gradients, m.optimizer, m.activations, m.past, m.peak())
        memory.add_row(phase.name, *(f"{n / 1e6:,.1f}" for n in sizes))
    console.print(memory)
    rates = ", ".join(f"{dtype} {rate / 1e9:,.0f}" for dtype, rate in roofs.flops.items())
    console.print(
        f"roofs measured now: {rates} GFLOP/s, copy {roofs.bytes / 1e9:.0f} GB/s; "
        f"at the first, all FLOPs would take {duration(flops / max(roofs.flops.values()))}\n"
        "Answers are taken to be as long as demonstrations. Not counted: loading, checkpoints, "
        "reports, reward functions, and 0.5 GB of libraries.",
        highlight=False,
    )


def duration(seconds: float) -> str:
    """90 s, 12 min, 3.4 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("phase")
    for name in columns:
        table.add_column(name, justify="right")
    return table
