"""The grid as Gymnasium environments: one cat, and N cats stepped together.

Registered as ``trivium/Cat-v0``; ``gymnasium.make`` gives the first, ``gymnasium.make_vec`` the
second. Both take ``layout`` and ``drunkenness``.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from trivium.classic import drawing, grid

MAX_STEPS = 100


class CatEnv(gymnasium.Env[np.int64, np.int64]):
    """One cat. It sees the number of its cell, row by row from the top left."""

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self,
        *,
        layout: str = grid.DEFAULT_LAYOUT,
        drunkenness: float = grid.DEFAULT_DRUNKENNESS,
        render_mode: str | None = None,
    ) -> None:
        self.grid = grid.parse(layout, drunkenness=drunkenness)
        self.observation_space = spaces.Discrete(self.grid.num_cells)
        self.action_space = spaces.Discrete(len(grid.MOVES))
        self.render_mode = render_mode
        self.cell = self.grid.start

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Put the cat back where it woke up."""
        super().reset(seed=seed, options=options)
        self.cell = self.grid.start
        return np.int64(self.cell), {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """Move, or stagger; see the head of ``grid``."""
        if self.np_random.random() < self.grid.drunkenness:
            action = self.np_random.integers(len(grid.MOVES))
        self.cell = int(self.grid.lands[self.cell, action])
        return (
            np.int64(self.cell),
            float(self.grid.entering[self.cell]),
            bool(self.grid.ends[self.cell]),
            False,
            {},
        )

    def render(self) -> Any:
        """A string with the cat highlighted, or an RGB array (height, width, 3) of bytes."""
        if self.render_mode == "ansi":
            return drawing.ansi(self.grid, self.cell)
        if self.render_mode == "rgb_array":
            return drawing.rgb(self.grid, self.cell)
        return None


class CatVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """N cats in N copies of the grid, moved by array operations.

    A step after the end of an episode ignores the action, gives 0 and wakes the cat up again, as
    Gymnasium's own CartPole does: so the last cell of an episode is seen before the next begins.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        *,
        layout: str = grid.DEFAULT_LAYOUT,
        drunkenness: float = grid.DEFAULT_DRUNKENNESS,
        max_episode_steps: int = MAX_STEPS,
    ) -> None:
        self.grid = grid.parse(layout, drunkenness=drunkenness)
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps
        self.single_observation_space = spaces.Discrete(self.grid.num_cells)
        self.single_action_space = spaces.Discrete(len(grid.MOVES))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._wake_all()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Put every cat back where it woke up."""
        super().reset(seed=seed, options=options)
        self._wake_all()
        return self.cells.copy(), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Move every cat; those whose episode ended with the last step wake up instead."""
        drunk = self.np_random.random(self.num_envs) < self.grid.drunkenness
        random = self.np_random.integers(len(grid.MOVES), size=self.num_envs)
        landed = self.grid.lands[self.cells, np.where(drunk, random, actions)]
        self.cells = np.where(self.done, self.grid.start, landed)
        self.ages = np.where(self.done, 0, self.ages + 1)
        rewards = np.where(self.done, 0.0, self.grid.entering[self.cells])
        terminated = ~self.done & self.grid.ends[self.cells]
        truncated = ~self.done & ~terminated & (self.ages >= self.max_episode_steps)
        self.done = terminated | truncated
        return self.cells.copy(), rewards, terminated, truncated, {}

    def _wake_all(self) -> None:
        self.cells = np.full(self.num_envs, self.grid.start)
        self.ages = np.zeros(self.num_envs, dtype=np.int64)
        self.done = np.zeros(self.num_envs, dtype=bool)
