"""Drawing on one axes: the look of every plot, and the marks that the reports are made of.

Colours are Okabe and Ito's (2008), told apart by colour-blind readers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

PALETTE = {
    # name: (on a light page, on a dark page)
    "ink": ("#22262b", "#e4e6e9"),
    "muted": ("#666c74", "#9aa1aa"),
    "grid": ("#dfe2e5", "#343a41"),
    "paper": ("#fefefe", "#15181c"),
    "grey": ("#7a8087", "#a3aab2"),
    "blue": ("#0072b2", "#5ab0ea"),
    "vermillion": ("#d55e00", "#ff8b45"),
    "green": ("#009e73", "#35c99d"),
    "purple": ("#cc79a7", "#e5a0c8"),
    "orange": ("#e69f00", "#f2b63d"),
    "sky": ("#56b4e9", "#8bd0f7"),
}
_WIDTH = 400  # CSS pixels of one plot at scale 1; a point of matplotlib is a pixel


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A curve. `dots` marks few measured points; else it is drawn with its running mean."""

    label: str
    color: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    dots: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A figure with its interval, where there is one."""

    label: str
    color: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A value to compare with, drawn as a dashed line."""

    value: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """One bin of a reliability curve: predicted and observed share of preferences, and pairs."""

    predicted: float
    observed: float
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What an axis shows, with its unit."""

    label: str
    percent: bool = False


def format_number(value: float | None, *, percent: bool = False, digits: int = 3) -> str:
    """A number for people: significant digits, thousands apart, a true minus, a dash for None."""
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    if percent:
        text = f"{100 * value:.1f}\N{NO-BREAK SPACE}%"
    elif value == 0 or isinstance(value, int) or abs(value) >= 10**digits:
        text = f"{value:,.0f}"
    elif abs(value) < 1e-3:
        text = f"{value:.1e}"
    else:
        text = f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"
    return text.replace("-", "\N{MINUS SIGN}") if value < 0 or "e" in text else text


def format_column(
    values: Sequence[float | None], *, percent: bool = False, digits: int = 3
) -> list[str]:
    """Numbers that stand under one another: as many decimals as the largest needs."""
    largest = max((abs(value) for value in values if value), default=1.0)
    places = min(digits, max(0, digits - 1 - math.floor(math.log10(largest))))
    return [
        format_number(value, percent=percent)
        if value is None or percent
        else f"{value:,.{places}f}".replace("-", "\N{MINUS SIGN}")
        for value in values
    ]


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Mean over about `window` values around each; evenly fewer near the ends, which stay put."""
    last = len(values) - 1
    halves = [min(window // 2, i, last - i) for i in range(len(values))]
    spans = [values[i - half : i + half + 1] for i, half in enumerate(halves)]
    return [sum(span) / len(span) for span in spans]


def light(color: str) -> str:
    """The colour of that palette name on a light page."""
    return PALETTE[color][0]


def style() -> "dict[RcKeyType, Any]":
    """matplotlib's settings for every plot here."""
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "trivium",
        "text.parse_math": False,
        "font.family": ["DejaVu Sans"],
        "font.size": 11,
        "axes.labelsize": 11,
        "axes.titlesize": 13,
        "axes.labelcolor": light("muted"),
        "axes.edgecolor": light("muted"),
        "axes.titlecolor": light("ink"),
        "xtick.color": light("muted"),
        "ytick.color": light("muted"),
        "text.color": light("ink"),
        "axes.unicode_minus": True,
    }


def canvas(*, height: int = 250, left: float = 46, right: float = 14) -> "tuple[Figure, Axes]":
    """An empty figure with one axes; height and the margins for words are CSS pixels at scale 1.

    The margins are given, not measured: measuring text doubles the time of a page.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(style()):
        figure = Figure(figsize=(_WIDTH / 72, height / 72))
        box = (left / _WIDTH, 44 / height, 1 - (left + right) / _WIDTH, 1 - 68 / height)
        return figure, figure.add_axes(box)


def words_width(labels: Sequence[str]) -> float:
    """About how wide the longest label is, in CSS pixels at scale 1."""
    return 7.2 * max((len(label) for label in labels), default=0)


def frame(axes: "Axes", *, x: Axis, y: Axis) -> None:
    """Two quiet axes; the unit of y stands level above it, where it can be read."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="y", color=light("grid"), linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=5)
    axes.set_xlabel(x.label)
    axes.set_title(y.label, loc="left", fontsize=11, color=light("muted"), pad=8)
    for axis, spec in ((axes.xaxis, x), (axes.yaxis, y)):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        if spec.percent:
            axis.set_major_formatter(
                FuncFormatter(lambda v, _: f"{100 * v:.4g}\N{NO-BREAK SPACE}%")
            )


def draw_curves(axes: "Axes", series: Sequence[Series], *, x: Axis, y: Axis) -> None:
    """Lines over steps with their running mean, or measured points; named at the right end."""
    from matplotlib.ticker import MaxNLocator

    frame(axes, x=x, y=y)
    ends = []
    for one in series:
        color, shown = light(one.color), list(one.y)
        if one.dots or len(one.x) == 1:
            axes.plot(one.x, one.y, "o-", color=color, markersize=5, linewidth=1.2)
        else:
            if len(one.y) > 40:
                axes.plot(one.x, one.y, color=color, linewidth=0.8, alpha=0.3)
                shown = running_mean(one.y, len(one.y) // 20)
            axes.plot(one.x, shown, color=color, linewidth=1.8)
        ends.append((shown[-1], one))
    if len(series) > 1:
        _label_ends(axes, ends)
    if all(value.is_integer() for one in series for value in one.x):
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _label_ends(axes: "Axes", ends: list[tuple[float, Series]]) -> None:
    """Names at the curves' ends, pushed apart where they would touch."""
    bottom, top = axes.get_ylim()
    gap = 0.085 * (top - bottom)
    place = -math.inf
    for y, one in sorted(ends, key=lambda end: end[0]):
        place = max(y, place + gap)
        axes.annotate(
            one.label,
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=light(one.color),
            fontweight="bold",
            annotation_clip=False,
        )


def draw_paths(axes: "Axes", series: Sequence[Series], *, x: Axis, y: Axis) -> None:
    """Score against KL as training went on: open circle at the start, full one at the end."""
    frame(axes, x=x, y=y)
    ends = []
    for one in series:
        color, window = light(one.color), max(1, len(one.x) // 10)
        xs, ys = running_mean(one.x, window), running_mean(one.y, window)
        axes.plot(one.x, one.y, ".", color=color, markersize=4, alpha=0.35)
        axes.plot(xs, ys, color=color, linewidth=1.8)
        axes.plot(xs[:1], ys[:1], "o", color=color, markerfacecolor=light("paper"), markersize=7)
        axes.plot(xs[-1:], ys[-1:], "o", color=color, markersize=7)
        ends.append((ys[-1], one))
    _label_ends(axes, ends)


def draw_dots(axes: "Axes", dots: Sequence[Dot], *, x: Axis, reference: Reference | None) -> None:
    """One row per figure, with its interval and its value in words."""
    frame(axes, x=x, y=Axis(label=""))
    axes.grid(visible=False)
    axes.grid(axis="x", color=light("grid"), linewidth=0.8)
    if reference is not None:
        axes.axvline(reference.value, color=light("muted"), linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            reference.label,
            (reference.value, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            color=light("muted"),
        )
    for row, dot in enumerate(dots):
        color = light(dot.color)
        if dot.low is not None and dot.high is not None:
            axes.plot([dot.low, dot.high], [row, row], color=color, linewidth=2.2)
        axes.plot([dot.value], [row], "o", color=color, markersize=8)
        axes.annotate(
            format_number(dot.value, percent=x.percent),
            (dot.value, row),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            color=light("ink"),
        )
    axes.set_yticks(range(len(dots)), [dot.label for dot in dots], color=light("ink"))
    axes.set_ylim(len(dots) - 0.5, -0.75)
    axes.margins(x=0.12)


def draw_calibration(axes: "Axes", bins: Sequence[Bin]) -> None:
    """Observed against predicted share, the diagonal, and each bin's number of pairs."""
    frame(axes, x=Axis(label="predicted", percent=True), y=Axis(label="observed", percent=True))
    axes.plot([0, 1], [0, 1], color=light("muted"), linewidth=1, linestyle=(0, (4, 3)))
    most = max(one.pairs for one in bins)
    xs, ys = [one.predicted for one in bins], [one.observed for one in bins]
    axes.plot(xs, ys, color=light("blue"), linewidth=1.2, alpha=0.6)
    for one in bins:
        axes.plot(
            [one.predicted],
            [one.observed],
            "o",
            color=light("blue"),
            markersize=4 + 8 * math.sqrt(one.pairs / most),
        )
        axes.annotate(
            f"{one.pairs:,}",
            (one.predicted, one.observed),
            xytext=(9, -11),
            textcoords="offset points",
            color=light("muted"),
            fontsize=9,
        )
    low = math.floor(10 * max(0.0, min(*xs, *ys) - 0.04)) / 10
    high = math.ceil(10 * min(1.0, max(*xs, *ys) + 0.04)) / 10
    axes.set_xlim(low - 0.02, high + 0.02)
    axes.set_ylim(low - 0.02, high + 0.02)
