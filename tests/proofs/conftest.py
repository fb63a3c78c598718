"""Worlds so small that everything a policy can say is written down, with its probability.

Legend: N responses (all there are), T = 3 tokens, V = 3 tokens of vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import pytest
import torch
from torch import Tensor

from trivium.config import PPO
from trivium.maths import length_mask

VOCABULARY, WIDTH = 3, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Every response there is: rows are responses, `states` are indices of their prefixes."""

    responses: list[tuple[int, ...]]
    tokens: Tensor
    states: Tensor
    mask: Tensor
    num_states: int

    def __len__(self) -> int:
        return len(self.responses)

    def logprobs(self, table: Tensor) -> Tensor:
        """(N, T) log-probabilities of a tabular policy: one row of logits per prefix."""
        chosen = table.log_softmax(-1)[self.states, self.tokens]
        return chosen.masked_fill(~self.mask, 0.0)

    def probabilities(self, table: Tensor) -> Tensor:
        """(N,) probability of each response, without gradient; they add up to 1."""
        return self.logprobs(table).sum(1).exp().detach()


def make_world(*, ends_early: bool, vocabulary: int = VOCABULARY, width: int = WIDTH) -> World:
    """All sequences of `width` tokens; or all that stop at token 0 or at `width`."""
    responses = [
        y
        for n in range(1 if ends_early else width, width + 1)
        for y in product(range(vocabulary), repeat=n)
        if not ends_early or (0 not in y[:-1] and (y[-1] == 0 or n == width))
    ]
    numbers: dict[tuple[int, ...], int] = {}
    for y in responses:
        for t in range(len(y)):
            numbers.setdefault(y[:t], len(numbers))
    padding = [0] * width
    states = [[numbers[y[:t]] for t in range(len(y))] for y in responses]
    return World(
        responses=responses,
        tokens=torch.tensor([[*y, *padding][:width] for y in responses]),
        states=torch.tensor([[*s, *padding][:width] for s in states]),
        mask=length_mask(torch.tensor([len(y) for y in responses]), width),
        num_states=len(numbers),
    )


def make_config(
    *,
    estimator: str = "gae",
    loss: str = "clip",
    value: str = "separate",
    lam: float = 1.0,
    samples_per_prompt: int = 1,
) -> PPO:
    """What a proof needs of a config; files are never looked at."""
    return PPO(
        policy="unused",
        reward=("unused",),
        prompts="unused",
        estimator=estimator,
        loss=loss,
        value=value,
        lam=lam,
        samples_per_prompt=samples_per_prompt,
        episodes_per_step=60,
        episodes_per_minibatch=60,
        episodes_per_backward=20,
        missing_eos_score=None,
        whiten_advantages=False,
    )


@pytest.fixture(scope="session")
def world() -> Callable[..., World]:
    """`make_world`, for the tests of this folder."""
    return make_world


@pytest.fixture(scope="session")
def fixed() -> World:
    """All 27 sequences of three tokens out of three."""
    return make_world(ends_early=False)


@pytest.fixture(scope="session")
def ragged() -> World:
    """The 15 responses of at most three tokens that token 0 ends."""
    return make_world(ends_early=True)


@pytest.fixture(scope="session")
def config() -> Callable[..., PPO]:
    """`make_config`, for the tests of this folder."""
    return make_config


@pytest.fixture(scope="session")
def off() -> Callable[[Tensor, Tensor], float]:
    """Length of the difference of two gradients, relative to the second."""

    def relative(got: Tensor, expected: Tensor) -> float:
        return float((got - expected).norm() / expected.norm())

    return relative
