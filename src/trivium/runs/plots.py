"""Plots as inline SVG, one axes each, for a page on any screen and for a screen reader.

Colours become CSS variables, so one SVG serves a light and a dark page; in a PNG they stay light.
"""

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from trivium.runs.drawing import (
    PALETTE,
    Axis,
    Bin,
    Dot,
    Reference,
    Series,
    canvas,
    draw_calibration,
    draw_curves,
    draw_dots,
    draw_paths,
    format_number,
    style,
    words_width,
)
from trivium.runs.pipeline_summary import (
    StageRun,
    at,
    evaluated_models,
    evaluation_baseline,
    interval,
    number,
    read_stages,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KL_AXIS = Axis(label="KL to SFT, nats per answer")
SCORE_AXIS = Axis(label="score, reward units")
_NAMED_COLORS = {"base": "grey", "sft": "blue", "ppo": "vermillion", "ppo_ptx": "green"}
_OTHER_COLORS = ("purple", "orange", "sky", "ink")
_TABLE_ROWS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot for the page: the picture, its words and its numbers."""

    title: str
    caption: str
    svg: Markup
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def color_of(name: str, others: Sequence[str] = ()) -> str:
    """Palette name for a model: the four of the paper have their own, `others` take turns."""
    if name in _NAMED_COLORS:
        return _NAMED_COLORS[name]
    unnamed = [other for other in others if other not in _NAMED_COLORS]
    place = unnamed.index(name) if name in unnamed else 0
    return _OTHER_COLORS[place % len(_OTHER_COLORS)]


def curve_plot(title: str, caption: str, series: Sequence[Series], *, x: Axis, y: Axis) -> Plot:
    """Curves over steps or epochs, named at their right ends where there are several."""
    labels = [one.label for one in series] if len(series) > 1 else []
    figure, axes = canvas(right=14 + words_width(labels))
    draw_curves(axes, series, x=x, y=y)
    rows = [
        (
            one.label,
            format_number(int(a) if a.is_integer() else a),
            format_number(b, percent=y.percent, digits=4),
        )
        for one in series
        for a, b in _thinned(tuple(zip(one.x, one.y, strict=True)))
    ]
    return _finish(figure, title, caption, ("", x.label, y.label), rows)


def path_plot(title: str, caption: str, series: Sequence[Series], *, x: Axis, y: Axis) -> Plot:
    """Paths of training in a plane: an open circle at the start, a full one at the end."""
    figure, axes = canvas(right=14 + words_width([one.label for one in series]))
    draw_paths(axes, series, x=x, y=y)
    rows = [
        (one.label, format_number(a), format_number(b, digits=4))
        for one in series
        for a, b in _thinned(tuple(zip(one.x, one.y, strict=True)))
    ]
    return _finish(figure, title, caption, ("", x.label, y.label), rows)


def dot_plot(
    title: str, caption: str, dots: Sequence[Dot], *, x: Axis, reference: Reference | None = None
) -> Plot:
    """One row per figure: its point, its interval, the value in words; `reference` is a line."""
    figure, axes = canvas(
        height=70 + 34 * len(dots), left=14 + words_width([dot.label for dot in dots]), right=24
    )
    draw_dots(axes, dots, x=x, reference=reference)
    rows = [
        (dot.label, *(format_number(v, percent=x.percent) for v in (dot.value, dot.low, dot.high)))
        for dot in dots
    ]
    return _finish(figure, title, caption, ("", x.label, "low", "high"), rows)


def calibration_plot(title: str, caption: str, bins: Sequence[Bin]) -> Plot:
    """Reliability curve: observed against predicted preference; larger dots hold more pairs."""
    figure, axes = canvas(height=300)
    draw_calibration(axes, bins)
    rows = [
        (
            format_number(one.predicted, percent=True),
            format_number(one.observed, percent=True),
            f"{one.pairs:,}",
        )
        for one in bins
    ]
    return _finish(figure, title, caption, ("predicted", "observed", "pairs"), rows)


def save_result_plot(dir: Path, path_png: Path) -> None:
    """The picture for a README: win rates with intervals, and score against KL, side by side.

    Args:
        dir: folder of a finished recipe.
        path_png: where the PNG goes, 1,800 pixels wide, made to be read at 900.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    runs = read_stages(dir)
    with rc_context(style()):
        figure = Figure(figsize=(900 / 72, 330 / 72), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        baseline = evaluation_baseline(runs)
        base = model_title(baseline)
        win_axis = Axis(label=f"answers preferred to those of {base}, 95 % interval", percent=True)
        dots = win_rate_dots(evaluated_models(runs), baseline)
        draw_dots(left, dots, x=win_axis, reference=as_good_as(baseline))
        draw_paths(right, kl_paths(runs), x=KL_AXIS, y=SCORE_AXIS)
        for axes, title in ((left, f"Win rate against {base}"), (right, "KL against reward")):
            axes.annotate(
                title,
                (0, 1),
                xycoords="axes fraction",
                xytext=(0, 28),
                textcoords="offset points",
                fontsize=14,
                fontweight="bold",
            )
        temporary = path_png.with_name(f".tmp-{path_png.name}")
        figure.savefig(
            temporary, format="png", dpi=144, facecolor="white", metadata={"Software": None}
        )
    temporary.replace(path_png)


def model_title(name: str) -> str:
    """How a model's name is written for people."""
    known = {"base": "Base", "sft": "SFT", "ppo": "PPO", "ppo_ptx": "PPO-ptx"}
    return str(at(known, name) or name)


def as_good_as(baseline: str) -> Reference:
    """The win rate at which a model and the baseline are preferred equally often."""
    return Reference(value=0.5, label=f"as good as {model_title(baseline)}")


def win_rate_dots(models: dict[str, dict[str, Any]], baseline: str) -> list[Dot]:
    """Win rate against the baseline of every model that has one with an interval."""
    return [
        Dot(
            label=model_title(name),
            color=color_of(name, tuple(models)),
            value=rate["point"],
            low=rate["low"],
            high=rate["high"],
        )
        for name, figures in models.items()
        if (rate := interval(figures, "win_rate_vs_sft")) and name != baseline
    ]


def metric_series(run: StageRun, metric: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(steps, values) of a metric where it is a finite number."""
    pairs = [(number(row, "step"), number(row, metric)) for row in run.metrics]
    known = [(step, value) for step, value in pairs if step is not None and value is not None]
    return tuple(step for step, _ in known), tuple(value for _, value in known)


def kl_paths(runs: Sequence[StageRun]) -> list[Series]:
    """Score against KL over the steps of each PPO run."""
    ppo = [run for run in runs if run.kind == "ppo"]
    paths = []
    for run in ppo:
        rows = [
            (number(row, "objective/kl_nats"), number(row, "objective/score"))
            for row in run.metrics
        ]
        known = [(kl, score) for kl, score in rows if kl is not None and score is not None]
        if known:
            xs, ys = zip(*known, strict=True)
            color = color_of(run.name, [one.name for one in ppo])
            paths.append(Series(label=model_title(run.name), color=color, x=xs, y=ys))
    return paths


def _finish(
    figure: "Figure",
    title: str,
    caption: str,
    columns: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
) -> Plot:
    from matplotlib import rc_context

    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    out = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with rc_context(style()):
        figure.savefig(out, format="svg", metadata=nothing)
    return Plot(
        title=title,
        caption=caption,
        svg=_inline(out.getvalue(), title, caption),
        columns=columns,
        rows=tuple(rows),
    )


def _inline(text: str, title: str, caption: str) -> Markup:
    """A standalone SVG made fit for a page: scalable, themed, named, with ids of its own."""
    prefix = "p" + "".join(c for c in title.lower() if c.isascii() and c.isalnum())
    body = text[text.index("<svg") :]
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r" font-family: [^;\"]*;?", "", body)
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{prefix}-", body)
    for name, (light, _) in PALETTE.items():
        body = re.sub(rf"((?:fill|stroke): ){light}\b", rf"\1var(--{name})", body)
    body = re.sub(r"\s*\n\s*", " ", body).replace("> <", "><")
    view = re.search(r'viewBox="[^"]*"', body)
    assert view is not None, "matplotlib writes a viewBox"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{view.group()} role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title><desc>{escape(caption)}</desc>"
    )
    return Markup(head + body[body.index(">") + 1 :])


def _thinned(points: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
    """At most about 30 of the points, the last among them."""
    every = max(1, math.ceil(len(points) / _TABLE_ROWS))
    kept = list(points[::every])
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]
