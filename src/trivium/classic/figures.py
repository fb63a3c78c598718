"""Pictures for the page, as the text of an <img>: learning curves, the best moves, film strips."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from trivium.classic import drawing, oracle
from trivium.classic.grid import MOVES, Grid
from trivium.classic.ladder import GOAL, Outcome

BLUE, MUTED, LINE = "#0072b2", "#666c74", "#dfe2e5"
FRAMES = 8
GAP = 10
COLUMNS = 3


def curves(outcomes: Sequence[Outcome], names: Sequence[str]) -> str:
    """One axes per algorithm: every seed thin, their median thick, the optimum dashed."""
    rows = -(-len(names) // COLUMNS)
    columns = min(COLUMNS, len(names))
    figure = Figure(figsize=(3.4 * columns, 2.3 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for name, axes in zip(names, grid.flat, strict=False):
        axes.set_axis_on()
        runs = [outcome for outcome in outcomes if outcome.name == name]
        for run in runs:
            axes.plot(run.steps, run.shares, color=BLUE, alpha=0.3, linewidth=0.8)
        reach = min(run.steps[-1] for run in runs)
        steps = np.linspace(0, reach, 200)
        shares = [np.interp(steps, run.steps, run.shares) for run in runs]
        axes.plot(steps, np.median(shares, axis=0), color=BLUE, linewidth=2)
        axes.axhline(1, color=MUTED, linewidth=0.8, linestyle="--")
        axes.axhline(GOAL, color=MUTED, linewidth=0.8, linestyle=":")
        axes.set_title(name, fontsize=10, loc="left")
        axes.set_ylim(-0.12, 1.08)
        axes.grid(color=LINE, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, colors=MUTED)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k")
    figure.supxlabel("environment steps", fontsize=9, color=MUTED)
    figure.supylabel("return / optimum", fontsize=9, color=MUTED)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=130)
    return _source(drawn.getvalue())


def best_moves(grid: Grid, *, gamma: float) -> str:
    """The grid with an optimal move and the optimal value in every cell that has one."""
    values, moves = oracle.policy_iteration(grid, gamma=gamma)
    image = Image.fromarray(drawing.rgb(grid, grid.start)).convert("RGB")
    scale = 2
    image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    size, width = drawing.CELL * scale, len(grid.rows[0])
    for cell, sign in enumerate(grid.cells):
        if sign == "#" or grid.ends[cell]:
            continue
        y, x = (size * at for at in divmod(cell, width))
        draw.text((x + 5, y + 3), f"{values[cell]:.0f}", fill=drawing.INK, font=_font(17))
        down, right = list(MOVES.values())[moves[cell]]
        _arrow(draw, x + size - 19, y + size - 19, right, down)
    return _png(image)


def strip(grid: Grid, walk: Sequence[int]) -> str:
    """Frames of an episode, evenly picked, first and last among them, each with its step."""
    count = min(FRAMES, len(walk))
    picked = [round(i) for i in np.linspace(0, len(walk) - 1, count)]
    frames = [drawing.rgb(grid, walk[step]) for step in picked]
    height, width, _ = frames[0].shape
    image = Image.new("RGB", (FRAMES * (width + GAP) - GAP, height + 44), "#ffffff")
    draw = ImageDraw.Draw(image)
    for place, (step, frame) in enumerate(zip(picked, frames, strict=True)):
        x = place * (width + GAP)
        image.paste(Image.fromarray(frame), (x, 0))
        draw.text((x + 2, height + 5), f"step {step}", fill=MUTED, font=_font(30))
    return _png(image)


def _arrow(draw: ImageDraw.ImageDraw, x: int, y: int, right: int, down: int) -> None:
    """An arrow around (x, y); ``right`` and ``down`` say where it points."""
    tip, tail = (x + 13 * right, y + 13 * down), (x - 13 * right, y - 13 * down)
    draw.line((*tail, *tip), fill=BLUE, width=3)
    wings = [(x + 4 * right + s * 7 * down, y + 4 * down + s * 7 * right) for s in (1, -1)]
    draw.polygon([tip, *wings], fill=BLUE)


def _font(size: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    return ImageFont.load_default(size)


def _png(image: Image.Image) -> str:
    """Few colours are drawn, so a palette loses nothing and saves most of the bytes."""
    drawn = io.BytesIO()
    image.quantize(64).save(drawn, format="PNG", optimize=True)
    return _source(drawn.getvalue())


def _source(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
