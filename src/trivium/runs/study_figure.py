"""The picture of a study: reward against KL, and what each value of the knob gains and costs."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trivium.runs.drawing import Axis, frame, light, style
from trivium.runs.plots import KL_AXIS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = (
    ("reward_mean", "reward", "blue"),
    ("gold_mean", "gold", "orange"),
    ("pretraining_loss", "loss on held-out text, nats per token", "vermillion"),
    ("cloze_accuracy", "cloze accuracy", "green"),
)
"""Figures that are drawn against the knob, where they are known: name, label, colour."""


def save_figure(summary: Mapping[str, Any], path: Path) -> None:
    """Draw a study's summary.json; small dots are seeds, large ones their means, dashed is before.

    The values of the knob stand evenly apart, whatever their size, since they are chosen to be
    read one by one. What was not measured (gold without a gold function, ...) has no panel.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    values = summary["values"]
    known = [p for p in PANELS if all(found[p[0]] is not None for found in values.values())]
    columns = 2 if len(known) < 4 else 3
    rows = -(-(1 + len(known)) // columns)
    with rc_context(style()):
        figure = Figure(figsize=(5.4 * columns, 3.8 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[1 + len(known) :]:
            axes.set_axis_off()
        _frontier(grid.flat[0], summary)
        for axes, (name, label, color) in zip(grid.flat[1:], known, strict=False):
            _panel(axes, summary, name, label, color)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".tmp-{path.name}")
        figure.savefig(
            temporary, format="png", dpi=110, facecolor="white", metadata={"Software": None}
        )
    temporary.replace(path)


def _frontier(axes: "Axes", summary: Mapping[str, Any]) -> None:
    """Reward against KL: a point for each value, named, and one for the model before."""
    judge = "gold_mean" if summary["baseline"]["reward_mean"] is None else "reward_mean"
    points = {"before": summary["baseline"], **summary["values"]}
    order = sorted(points, key=lambda value: points[value]["kl_to_sft_nats"])
    xs = [points[value]["kl_to_sft_nats"] for value in order]
    ys = [points[value][judge] for value in order]
    frame(axes, x=KL_AXIS, y=Axis(label=judge.removesuffix("_mean")))
    axes.plot(xs, ys, _line(summary), color=light("blue"), markersize=6, linewidth=1.2)
    axes.margins(0.1, 0.16)
    _name(axes, dict(zip(order, zip(xs, ys, strict=True), strict=True)))


def _name(axes: "Axes", points: Mapping[str, tuple[float, float]]) -> None:
    """Names in a column at the right, each joined to its point: points may lie close together."""
    bottom, top = axes.get_ylim()
    places = spread([y for _, y in points.values()], gap=0.075 * (top - bottom), top=top)
    for (value, point), place in zip(points.items(), places, strict=True):
        axes.annotate(
            value,
            point,
            xytext=(1.04, place),
            textcoords=("axes fraction", "data"),
            va="center",
            color=light("ink"),
            arrowprops={"arrowstyle": "-", "color": light("muted"), "linewidth": 0.5},
            annotation_clip=False,
        )


def spread(heights: Sequence[float], *, gap: float, top: float) -> list[float]:
    """The heights, moved until neighbours are ``gap`` apart and none is above ``top``."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    places = list(heights)
    for below, above in itertools.pairwise(order):
        places[above] = max(places[above], places[below] + gap)
    ceiling = top
    for i in reversed(order):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - gap
    return places


def _panel(axes: "Axes", summary: Mapping[str, Any], name: str, label: str, color: str) -> None:
    """A figure against the knob."""
    values, before = summary["values"], summary["baseline"][name]
    places = list(range(len(values)))
    frame(axes, x=Axis(label=summary["knob"]), y=Axis(label=label))
    means = [found[name] for found in values.values()]
    axes.plot(places, means, _line(summary), color=light(color), markersize=6, linewidth=1.2)
    if summary["seeds"] > 1:
        for place, value in zip(places, values, strict=True):
            seeds = [one[name] for one in summary["runs"][value]]
            axes.plot([place] * len(seeds), seeds, ".", color=light(color), alpha=0.5)
    if before is not None:
        axes.axhline(before, color=light("muted"), linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xticks(places, list(values))
    if len(max(values, key=len)) > 6:
        axes.tick_params(axis="x", rotation=30)
        for text in axes.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")
    axes.margins(0.08, 0.12)


def _line(summary: Mapping[str, Any]) -> str:
    """Numbers are joined; between two estimators there is nothing."""
    return "o" if summary["knob"] == "estimator" else "o-"
