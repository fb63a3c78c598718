"""Losses: values and gradients by hand, the limits, and what padding does."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trivium.maths import (
    masked_sum,
    ppo_clip_loss,
    ppo_klpen_loss,
    reinforce_loss,
    value_clip_loss,
)

seeds = st.integers(0, 2**31 - 1)


def test_ppo_clip_by_hand():
    ratio = torch.tensor([[1.5, 1.5, 0.5, 0.5, 1.1, 1.1]])
    advantages = torch.tensor([[1.0, -1.0, 1.0, -1.0, 2.0, -2.0]])
    logprobs = ratio.log().requires_grad_()
    loss = ppo_clip_loss(logprobs, torch.zeros(1, 6), advantages, clip=0.2)
    torch.testing.assert_close(loss, torch.tensor([[-1.2, 1.5, -0.5, 0.8, -2.2, 2.2]]))
    loss.sum().backward()
    # -ratio * A where the unclipped term is the smaller one, else 0
    expected = torch.tensor([[0.0, 1.5, -0.5, 0.0, -2.2, 2.2]])
    torch.testing.assert_close(logprobs.grad, expected)


def test_ppo_klpen_by_hand():
    logprobs = torch.tensor([[math.log(2.0), 0.0]], requires_grad=True)
    loss = ppo_klpen_loss(logprobs, torch.zeros(1, 2), torch.tensor([[3.0, 3.0]]), kl_coef=0.5)
    # ratio 2: -6 + 0.5 (2 - 1 - log 2); ratio 1: -3 + 0
    torch.testing.assert_close(loss, torch.tensor([[-5.5 - 0.5 * math.log(2.0), -3.0]]))
    loss.sum().backward()
    # -ratio A + 0.5 (ratio - 1)
    torch.testing.assert_close(logprobs.grad, torch.tensor([[-5.5, -3.0]]))


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(0.0, 5.0))
def test_at_ratio_one_every_loss_is_the_policy_gradient(episodes, seed, kl_coef):
    values, advantages, _ = episodes(seed)
    for loss in (
        lambda new, old: ppo_clip_loss(new, old, advantages, clip=0.2),
        lambda new, old: ppo_klpen_loss(new, old, advantages, kl_coef=kl_coef),
        lambda new, _: reinforce_loss(new, advantages),
    ):
        logprobs = values.clone().requires_grad_()
        loss(logprobs, values).sum().backward()
        torch.testing.assert_close(logprobs.grad, -advantages)


def test_value_clip_by_hand():
    values = torch.tensor([[1.5, 0.5, 1.1]], requires_grad=True)
    old_values, returns = torch.full((1, 3), 1.0), torch.full((1, 3), 2.0)
    loss = value_clip_loss(values, old_values, returns, clip=0.2)
    # towards G and beyond the clip: (1.2 - 2)^2 / 2, no gradient
    # away from G and beyond the clip: (0.5 - 2)^2 / 2, full gradient
    # inside the clip: (1.1 - 2)^2 / 2, full gradient
    torch.testing.assert_close(loss, torch.tensor([[0.32, 1.125, 0.405]]))
    loss.sum().backward()
    torch.testing.assert_close(values.grad, torch.tensor([[0.0, -1.5, -0.9]]))


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_padding_reaches_neither_the_loss_nor_the_gradient(episodes, seed):
    values, advantages, mask = episodes(seed)

    def run(fill: float) -> list[torch.Tensor]:
        old = values.masked_fill(~mask, fill)
        weights = advantages.masked_fill(~mask, fill)
        found = []
        for loss in (
            lambda x: ppo_clip_loss(x, old, weights, clip=0.2),
            lambda x: ppo_klpen_loss(x, old, weights, kl_coef=0.3),
            lambda x: value_clip_loss(x, old, weights, clip=0.2),
            lambda x: reinforce_loss(x, weights),
        ):
            new = (values + 0.3 * advantages).masked_fill(~mask, fill).requires_grad_()
            total, _ = masked_sum(loss(new), mask)
            total.backward()
            found += [total.detach(), new.grad]
        return found

    for clean, dirty in zip(run(0.0), run(1e9), strict=True):
        assert torch.equal(clean, dirty)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_splitting_a_batch_changes_no_gradient(episodes, seed):
    old, advantages, mask = episodes(seed)
    start = old + 0.3 * advantages
    whole = start.clone().requires_grad_()
    masked_sum(ppo_clip_loss(whole, old, advantages, clip=0.2), mask)[0].backward()
    parts = start.clone().requires_grad_()
    for rows in (slice(0, 1), slice(1, 4)):
        loss = ppo_clip_loss(parts[rows], old[rows], advantages[rows], clip=0.2)
        masked_sum(loss, mask[rows])[0].backward()
    torch.testing.assert_close(parts.grad, whole.grad)


@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_an_overflowing_ratio_is_not_hidden(advantage):
    logprobs = torch.tensor([[100.0]], requires_grad=True)
    ppo_clip_loss(
        logprobs, torch.zeros(1, 1), torch.tensor([[advantage]]), clip=0.2
    ).sum().backward()
    assert not logprobs.grad.isfinite().any()


def test_a_vanishing_ratio_is_harmless():
    logprobs = torch.tensor([[-1000.0, -1000.0]], requires_grad=True)
    loss = ppo_clip_loss(logprobs, torch.zeros(1, 2), torch.tensor([[1.0, -1.0]]), clip=0.2)
    torch.testing.assert_close(loss, torch.tensor([[0.0, 0.8]]))
    loss.sum().backward()
    assert not logprobs.grad.any()
