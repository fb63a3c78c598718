"""What is true of a grid: optimal and policy values from its known tables, in float64.

Legend: S cells, A moves. V is the discounted return from a cell, 0 in an end.
"""

import numpy as np
from jaxtyping import Float, Int

from trivium.classic.grid import Grid

Values = Float[np.ndarray, " S"]
ActionValues = Float[np.ndarray, "S A"]


def action_values(grid: Grid, values: Values, *, gamma: float) -> ActionValues:
    """Q(s, a) = E[r + gamma V(s')]: one step ahead of ``values``."""
    return grid.rewards + gamma * grid.transitions @ values


def value_iteration(grid: Grid, *, gamma: float, tolerance: float = 1e-12) -> Values:
    """V*, by V <- max_a Q(s, a) until no value moves by ``tolerance``.

    Source: Bellman 1957; Sutton and Barto 2018, section 4.4.
    """
    values = np.zeros(grid.num_cells)
    while True:
        better = action_values(grid, values, gamma=gamma).max(axis=1)
        if np.abs(better - values).max() < tolerance:
            return better
        values = better


def policy_values(grid: Grid, policy: ActionValues, *, gamma: float) -> Values:
    """V of a policy: the solution of V = r_pi + gamma P_pi V.

    Args:
        grid: the world.
        policy: pi(a | s), rows that sum to 1.
        gamma: discount per step, below 1, or the system may be singular.
    """
    rewards = (policy * grid.rewards).sum(axis=1)
    transitions = np.einsum("sa,sat->st", policy, grid.transitions)
    return np.linalg.solve(np.eye(grid.num_cells) - gamma * transitions, rewards)


def policy_advantages(grid: Grid, policy: ActionValues, *, gamma: float) -> ActionValues:
    """A(s, a) = Q(s, a) - V(s) of a policy."""
    values = policy_values(grid, policy, gamma=gamma)
    return action_values(grid, values, gamma=gamma) - values[:, None]


def policy_iteration(grid: Grid, *, gamma: float) -> tuple[Values, Int[np.ndarray, " S"]]:
    """V* and an optimal move for each cell, by evaluating and improving until nothing improves.

    Source: Howard 1960; Sutton and Barto 2018, section 4.3.
    """
    num_moves = grid.rewards.shape[1]
    moves = np.zeros(grid.num_cells, dtype=np.int64)
    while True:
        values = policy_values(grid, np.eye(num_moves)[moves], gamma=gamma)
        choices = action_values(grid, values, gamma=gamma)
        # A move is changed only for a real gain: ties, rounded, could otherwise go round for ever.
        gains = choices.max(axis=1) - choices[np.arange(len(moves)), moves] > 1e-9
        if not gains.any():
            return values, moves
        moves = np.where(gains, choices.argmax(axis=1), moves)
