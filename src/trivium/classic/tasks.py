"""What is learned: an environment, its discount, its budget, and how good a policy is in it."""

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from trivium.classic import grid, oracle
from trivium.errors import UserError

CAT, CART_POLE = "cat", "CartPole-v1"
EPISODES_PER_SCORE = 20
HIDDEN = 64
Logits = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Which environment, as plain data."""

    env: str = CAT
    """`cat` or `CartPole-v1`."""

    layout: str = grid.DEFAULT_LAYOUT
    """The cat's grid."""

    drunkenness: float = grid.DEFAULT_DRUNKENNESS
    """Share of the cat's moves that are random."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An environment with all that the algorithms must be told about it."""

    name: str
    """`cat` or `CartPole-v1`."""

    make_envs: Callable[[int], gymnasium.vector.VectorEnv]
    """N copies, stepped together."""

    observations: spaces.Space
    """What one actor sees."""

    num_actions: int
    """A."""

    gamma: float
    """Discount per step."""

    reward_scale: float
    """Rewards are multiplied by this before learning, so that values are of the size of 1."""

    num_steps: int
    """Environment steps a training run may take, over all actors."""

    hidden: int | None
    """Width of the networks' hidden layer; None: tables."""

    optimum: float
    """The score of the best policy."""

    score: Callable[[Logits], float]
    """How good a policy is, in the environment's own reward units."""


def cat(
    layout: str = grid.DEFAULT_LAYOUT,
    *,
    drunkenness: float = grid.DEFAULT_DRUNKENNESS,
    hidden: int | None = HIDDEN,
    num_steps: int = 60_000,
) -> Task:
    """The grid. The score is exact: the discounted return from the start, by a linear system."""
    world = grid.parse(layout, drunkenness=drunkenness)
    gamma = 0.95

    def score(policy: Logits) -> float:
        values = oracle.policy_values(world, probabilities(policy, world), gamma=gamma)
        return float(values[world.start])

    return Task(
        name=CAT,
        make_envs=lambda n: gymnasium.make_vec(
            "trivium/Cat-v0", num_envs=n, layout=layout, drunkenness=drunkenness
        ),
        observations=spaces.Discrete(world.num_cells),
        num_actions=len(grid.MOVES),
        gamma=gamma,
        reward_scale=0.01,
        num_steps=num_steps,
        hidden=hidden,
        optimum=float(oracle.value_iteration(world, gamma=gamma)[world.start]),
        score=score,
    )


def cart_pole(*, num_steps: int = 150_000) -> Task:
    """CartPole-v1. The score is measured: the mean return, undiscounted, of 20 episodes."""
    envs = gymnasium.make_vec(CART_POLE, num_envs=EPISODES_PER_SCORE)

    def score(policy: Logits) -> float:
        generator = torch.Generator().manual_seed(0)
        seen, _ = envs.reset(seed=0)
        alive, total = np.ones(EPISODES_PER_SCORE, dtype=bool), 0.0
        while alive.any():
            with torch.no_grad():
                law = policy(torch.from_numpy(seen)).softmax(-1)
            chosen = law.multinomial(1, generator=generator).squeeze(-1).numpy()
            seen, rewards, terminated, truncated, _ = envs.step(chosen)
            total += float(rewards[alive].sum())
            alive &= ~(terminated | truncated)
        return total / EPISODES_PER_SCORE

    return Task(
        name=CART_POLE,
        make_envs=lambda n: gymnasium.make_vec(CART_POLE, num_envs=n),
        observations=envs.single_observation_space,
        num_actions=2,
        gamma=0.99,
        reward_scale=0.01,
        num_steps=num_steps,
        hidden=HIDDEN,
        optimum=500.0,
        score=score,
    )


def find(world: World) -> Task:
    """The task that a world poses.

    Raises:
        UserError: there is no such environment, or its layout is none.
    """
    if world.env == CAT:
        return cat(world.layout, drunkenness=world.drunkenness)
    if world.env == CART_POLE:
        return cart_pole()
    raise UserError(f"env {world.env!r} is unknown; expected {CAT} or {CART_POLE}")


def probabilities(policy: Logits, world: grid.Grid) -> np.ndarray:
    """pi(a | s) of every cell, (S, A), float64, rows that sum to 1."""
    with torch.no_grad():
        logits = policy(torch.arange(world.num_cells)).double()
    return logits.softmax(-1).numpy()
