"""Pictures of the grid: letters for a terminal, pixels for a page."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from trivium.classic.grid import Grid

CELL = 44  # pixels
PAPER, LINE, WALL = "#fbf7ef", "#d9d2c3", "#6b6459"
BROOM, STRAW, TUB, WATER = "#8a5a2b", "#e0b23c", "#8b98a5", "#7cc4ec"
MEAT, BONE, FUR, INK = "#c8553d", "#f3ead8", "#e58a2e", "#22262b"
REVERSE, RESET = "\N{ESCAPE}[7m", "\N{ESCAPE}[0m"


def ansi(grid: Grid, cell: int) -> str:
    """The layout with the cat's cell in reverse video, whatever lies there."""
    width = len(grid.rows[0])
    signs = [sign.replace("C", ".") for sign in grid.cells]
    signs[cell] = f"{REVERSE}{'C' if signs[cell] == '.' else signs[cell]}{RESET}"
    lines = ["".join(signs[i : i + width]) for i in range(0, len(signs), width)]
    return "\n".join(lines) + "\n"


def rgb(grid: Grid, cell: int) -> UInt8[np.ndarray, "H W 3"]:
    """The grid as pixels, CELL a side, the cat on top."""
    height, width = len(grid.rows), len(grid.rows[0])
    image = Image.new("RGB", (width * CELL + 1, height * CELL + 1), PAPER)
    draw = ImageDraw.Draw(image)
    for place, sign in enumerate(grid.cells):
        y, x = (CELL * at for at in divmod(place, width))
        draw.rectangle((x, y, x + CELL, y + CELL), outline=LINE, fill=WALL if sign == "#" else None)
        if sign in "BTM":
            {"B": _broom, "T": _tub, "M": _meat}[sign](draw, x, y)
    y, x = (CELL * at for at in divmod(cell, width))
    _cat(draw, x, y)
    return np.asarray(image)


def _broom(draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
    draw.line((x + 33, y + 7, x + 18, y + 27), fill=BROOM, width=3)
    draw.polygon(
        [(x + 13, y + 22), (x + 23, y + 30), (x + 16, y + 39), (x + 5, y + 31)], fill=STRAW
    )


def _tub(draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
    draw.rounded_rectangle((x + 5, y + 16, x + 39, y + 37), radius=9, fill=TUB)
    draw.ellipse((x + 5, y + 11, x + 39, y + 24), fill=WATER, outline=TUB, width=2)


def _meat(draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
    draw.line((x + 24, y + 24, x + 36, y + 36), fill=BONE, width=5)
    draw.ellipse((x + 32, y + 32, x + 39, y + 39), fill=BONE)
    draw.ellipse((x + 7, y + 7, x + 31, y + 29), fill=MEAT)
    draw.ellipse((x + 13, y + 12, x + 20, y + 18), fill=BONE)


def _cat(draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
    for side in (1, -1):
        ear = [(22 + side * 13, 7), (22 + side * 3, 15), (22 + side * 13, 21)]
        draw.polygon([(x + dx, y + dy) for dx, dy in ear], fill=FUR)
    draw.ellipse((x + 8, y + 12, x + 36, y + 37), fill=FUR, outline=INK)
    for dx in (16, 28):
        draw.ellipse((x + dx - 2, y + 20, x + dx + 2, y + 26), fill=INK)
    draw.polygon([(x + 20, y + 28), (x + 24, y + 28), (x + 22, y + 31)], fill=INK)
    for side in (1, -1):
        draw.line((x + 22 + side * 5, y + 30, x + 22 + side * 17, y + 28), fill=INK)
        draw.line((x + 22 + side * 5, y + 31, x + 22 + side * 17, y + 33), fill=INK)
