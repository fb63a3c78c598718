"""Policy and value function: small networks, the same for the cat and for CartPole.

A cell number becomes a one-hot row, so a network without a hidden layer is a table.
"""

import torch
from gymnasium import spaces
from jaxtyping import Float
from torch import Tensor, nn

Hidden = int | None
"""Width of the one hidden layer; None: no such layer."""


class Trunk(nn.Module):
    """From observations to features; shared between two heads, or one each."""

    def __init__(self, space: spaces.Space, hidden: Hidden) -> None:
        super().__init__()
        self.num_cells = int(space.n) if isinstance(space, spaces.Discrete) else None
        inputs = self.num_cells or spaces.flatdim(space)
        self.num_features = hidden or inputs
        layer = nn.Linear(inputs, self.num_features) if hidden else None
        self.layer = None if layer is None else _orthogonal(layer, 2**0.5)

    def forward(self, observations: Tensor) -> Float[Tensor, "*shape features"]:
        """Cells (...) or vectors (..., d) in, features (..., F) out."""
        if self.num_cells is not None:
            observations = nn.functional.one_hot(observations, self.num_cells).float()
        return observations if self.layer is None else torch.tanh(self.layer(observations))


class Policy(nn.Module):
    """Logits of pi(. | s)."""

    def __init__(self, trunk: Trunk, num_actions: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = _orthogonal(nn.Linear(trunk.num_features, num_actions), 0.01)

    def forward(self, observations: Tensor) -> Float[Tensor, "*shape A"]:
        """Observations (...) in, logits (..., A) out; nearly equal ones before training."""
        return self.head(self.trunk(observations))


class Critic(nn.Module):
    """V(s)."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = _orthogonal(nn.Linear(trunk.num_features, 1), 1.0)

    def forward(self, observations: Tensor) -> Float[Tensor, "*shape"]:
        """Observations (...) in, values (...) out, in scaled reward units."""
        return self.head(self.trunk(observations)).squeeze(-1)


def _orthogonal(layer: nn.Linear, gain: float) -> nn.Linear:
    """Huang et al. 2022, "The 37 implementation details of PPO", core detail 2."""
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
