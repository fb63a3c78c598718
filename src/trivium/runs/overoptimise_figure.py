"""The picture of over-optimisation: proxy dashed, gold solid, against the distance moved."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trivium.runs.drawing import Axis, frame, light, running_mean, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DISTANCE = Axis(label="distance from the SFT model, square root of KL in nats")
SCORE = Axis(label="score, standard deviations of the SFT model's answers")
COLORS = ("vermillion", "blue", "green", "purple", "orange", "sky", "grey", "ink")

Curve = Mapping[str, Any]


def save_figure(summary: Mapping[str, Any], path: Path) -> None:
    """Draw the summary.json of an over-optimisation study.

    Best of n by size; PPO by size; and, where there are several, PPO by its price of divergence.
    Dots are measured; of PPO's, one is a step. Solid is the law fitted to gold, with a ring at its
    peak where that lies within what was measured.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    panels = _panels(summary["rankings"])
    with rc_context(style()):
        figure = Figure(figsize=(5.4 * len(panels), 4.6), layout="constrained")
        grid = figure.subplots(1, len(panels), squeeze=False)
        for axes, (title, curves) in zip(grid.flat, panels.items(), strict=True):
            _panel(axes, title, curves)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".tmp-{path.name}")
        figure.savefig(
            temporary, format="png", dpi=110, facecolor="white", metadata={"Software": None}
        )
    temporary.replace(path)


def _panels(sizes: Mapping[str, Any]) -> dict[str, dict[str, Curve]]:
    """Curves by panel and name."""
    first, smallest = next(iter(sizes.items()))
    panels = {
        "Best of n": {f"{size} rankings": found["best_of_n"] for size, found in sizes.items()},
        "PPO": {
            f"{size} rankings": curve
            for size, found in sizes.items()
            for curve in [*found["ppo"].values()][:1]
        },
    }
    if len(smallest["ppo"]) > 1:
        panels[f"PPO, {first} rankings"] = {
            f"kl_coef {beta}": curve for beta, curve in smallest["ppo"].items()
        }
    return {title: curves for title, curves in panels.items() if curves}


def _panel(axes: "Axes", title: str, curves: Mapping[str, Curve]) -> None:
    """Curves of one colour each, named below; dashes and dots are told apart by the legend."""
    frame(axes, x=DISTANCE, y=SCORE)
    for color, (name, curve) in zip(COLORS, curves.items(), strict=False):
        _draw(axes, name, curve, light(color))
    axes.axhline(0, color=light("muted"), linewidth=0.8)
    axes.plot([], [], color=light("muted"), linewidth=1.4, linestyle=(0, (4, 3)), label="proxy")
    axes.plot([], [], ".", color=light("muted"), markersize=5, label="gold, measured")
    axes.plot([], [], color=light("muted"), linewidth=2, label="gold, fitted")
    axes.legend(frameon=False, fontsize=9, loc="upper left", labelcolor=light("ink"))
    axes.annotate(
        title,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 26),
        textcoords="offset points",
        fontsize=13,
        color=light("ink"),
    )
    axes.margins(0.03, 0.08)


def _draw(axes: "Axes", name: str, curve: Curve, color: str) -> None:
    distance = [math.sqrt(max(kl, 0.0)) for kl in curve["kl_nats"]]
    law = curve["fit"]
    many = "n" not in curve
    axes.plot(
        *(_smooth(distance, many=many), _smooth(curve["proxy"], many=many)),
        color=color,
        linewidth=1.4,
        linestyle=(0, (4, 3)),
        alpha=0.8,
    )
    axes.plot(distance, curve["gold"], ".", color=color, markersize=4 if many else 7, alpha=0.35)
    axes.plot(law["distance"], law["gold"], color=color, linewidth=2, label=name)
    peak = law["peak"]["point"]
    if peak is not None and 0 < peak <= law["reach"]:
        top = max(law["gold"])
        axes.plot([peak], [top], "o", color=color, markerfacecolor=light("paper"), markersize=8)


def _smooth(values: Sequence[float], *, many: bool) -> list[float]:
    """Steps of a training run are noisy; values of n are not."""
    return running_mean(values, max(1, len(values) // 12)) if many else list(values)
