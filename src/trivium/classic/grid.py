"""The cat's world as text, and as the tables of a Markov decision process.

    C  where the cat wakes up        B  broom: -1 for being there after a move
    .  nothing                       T  bathtub: -10, and the episode ends
    #  wall                          M  meat: +100, and the episode ends

A move into a wall or over the edge leaves the cat where it is. A drunk cat moves at random with
probability p, whatever was chosen.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from trivium.errors import UserError

DEFAULT_LAYOUT = """
......
.#BB#.
......
C.TT.M
"""
DEFAULT_DRUNKENNESS = 0.1
REWARDS = {"C": 0.0, ".": 0.0, "#": 0.0, "B": -1.0, "T": -10.0, "M": 100.0}
ENDS = "TM"
MOVES = {"up": (-1, 0), "right": (0, 1), "down": (1, 0), "left": (0, -1)}
"""Name of each action, in order, and its (row, column) step."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A layout and how drunk the cat is; the rest follows. S cells, A moves."""

    rows: tuple[str, ...]
    """Lines of the layout, equally long."""

    drunkenness: float
    """Probability that a move is replaced by a random one, in [0, 1]."""

    @property
    def num_cells(self) -> int:
        """S: walls and ends included."""
        return len(self.rows) * len(self.rows[0])

    @property
    def cells(self) -> str:
        """All cells, row by row: cell s is ``cells[s]``."""
        return "".join(self.rows)

    @property
    def start(self) -> int:
        """The cell the cat wakes up in."""
        return self.cells.index("C")

    @cached_property
    def ends(self) -> Bool[np.ndarray, " S"]:
        """True where an episode ends."""
        return np.array([cell in ENDS for cell in self.cells])

    @cached_property
    def entering(self) -> Float[np.ndarray, " S"]:
        """Reward for being in a cell after a move."""
        return np.array([REWARDS[cell] for cell in self.cells])

    @cached_property
    def lands(self) -> Int[np.ndarray, "S A"]:
        """Where a sober move from a cell leads."""
        height, width = len(self.rows), len(self.rows[0])
        landing = np.empty((self.num_cells, len(MOVES)), dtype=np.int64)
        for cell in range(self.num_cells):
            row, column = divmod(cell, width)
            for action, (down, right) in enumerate(MOVES.values()):
                r, c = row + down, column + right
                free = 0 <= r < height and 0 <= c < width and self.rows[r][c] != "#"
                landing[cell, action] = r * width + c if free else cell
        return landing

    @cached_property
    def transitions(self) -> Float[np.ndarray, "S A S"]:
        """P(s' | s, a), the drunkenness included. Nothing leads out of an end."""
        sober = np.eye(self.num_cells)[self.lands]
        drunk = sober.mean(axis=1, keepdims=True)
        mixed = (1 - self.drunkenness) * sober + self.drunkenness * drunk
        return mixed * ~self.ends[:, None, None]

    @cached_property
    def rewards(self) -> Float[np.ndarray, "S A"]:
        """Expected reward of a move, 0 in an end."""
        return self.transitions @ self.entering


def parse(layout: str = DEFAULT_LAYOUT, *, drunkenness: float = DEFAULT_DRUNKENNESS) -> Grid:
    """Read a layout; lines that are empty do not count.

    Raises:
        UserError: it is no rectangle of the six signs with one C and at least one M, or
            ``drunkenness`` is no probability.
    """
    rows = tuple(line.strip() for line in layout.splitlines() if line.strip())
    if not rows or len({len(row) for row in rows}) != 1:
        raise UserError("layout: expected lines of one length; fill the short ones up with dots")
    if unknown := set("".join(rows)) - set(REWARDS):
        raise UserError(f"layout: {''.join(sorted(unknown))!r} is unknown; use C . # B T M")
    cells = "".join(rows)
    if cells.count("C") != 1 or "M" not in cells:
        raise UserError("layout: expected exactly one C (the cat) and at least one M (meat)")
    if not 0 <= drunkenness <= 1:
        raise UserError(f"drunkenness is {drunkenness}, expected a probability from 0 to 1")
    return Grid(rows=rows, drunkenness=drunkenness)
