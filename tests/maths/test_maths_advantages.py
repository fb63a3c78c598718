"""Advantages: numbers by hand, the paper's own sum, limits, and padding."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trivium.maths import (
    bandit_advantages,
    batch_mean_advantages,
    broadcast_to_tokens,
    explained_variance,
    gae,
    grpo_advantages,
    length_mask,
    rewards_to_go,
    rloo_advantages,
)

seeds = st.integers(0, 2**31 - 1)


def gae_by_definition(r, v, gamma, lam):
    """Independent reference: the double sum of the paper's eq. 16, in numpy, float64."""
    v_next = np.append(v[1:], 0.0)
    delta = r + gamma * v_next - v
    steps = range(len(r))
    return np.array([sum((gamma * lam) ** (u - t) * delta[u] for u in steps[t:]) for t in steps])


def test_gae_check_vector():
    # delta_3 = 0.3; delta_2 = 0.05 + 0.7 - 0.4 = 0.35; delta_1 = -0.1 + 0.4 - 0.2 = 0.1
    # A_3 = 0.3; A_2 = 0.35 + 0.95 * 0.3 = 0.635; A_1 = 0.1 + 0.95 * 0.635 = 0.70325
    rewards = torch.tensor([[-0.1, 0.05, 1.0]])
    values = torch.tensor([[0.2, 0.4, 0.7]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    advantages, returns = gae(rewards, values, mask, gamma=1.0, lam=0.95)
    torch.testing.assert_close(advantages, torch.tensor([[0.70325, 0.635, 0.3]]))
    torch.testing.assert_close(returns, torch.tensor([[0.90325, 1.035, 1.0]]))


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(0, 1), st.floats(0, 1))
def test_gae_equals_the_papers_double_sum(episodes, seed, gamma, lam):
    rewards, values, mask = episodes(seed)
    advantages, returns = gae(rewards, values, mask, gamma=gamma, lam=lam)
    for b in range(len(mask)):
        n = int(mask[b].sum())
        r, v = rewards[b, :n].double().numpy(), values[b, :n].double().numpy()
        expected = gae_by_definition(r, v, gamma, lam)
        np.testing.assert_allclose(advantages[b, :n].numpy(), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(returns[b, :n].numpy(), expected + v, rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(0, 1), st.floats(0, 1))
def test_what_lies_in_the_padding_never_matters(episodes, seed, gamma, lam):
    rewards, values, mask = episodes(seed)
    clean = (
        *gae(rewards, values, mask, gamma=gamma, lam=lam),
        rewards_to_go(rewards, mask, gamma=gamma),
        explained_variance(values, rewards, mask),
    )
    rewards, values = rewards.masked_fill(~mask, 1e9), values.masked_fill(~mask, -1e9)
    dirty = (
        *gae(rewards, values, mask, gamma=gamma, lam=lam),
        rewards_to_go(rewards, mask, gamma=gamma),
        explained_variance(values, rewards, mask),
    )
    for a, b in zip(clean, dirty, strict=True):
        assert torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))
    assert not any(x[~mask].any() for x in dirty[:3])


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 4))
def test_padding_on_the_left_only_shifts(episodes, seed, shift):
    rewards, values, mask = episodes(seed)
    left = torch.full((len(mask), shift), 1e9)
    shifted_mask = torch.cat([torch.zeros_like(left, dtype=torch.bool), mask], 1)
    shifted_rewards, shifted_values = (torch.cat([left, x], 1) for x in (rewards, values))
    plain = gae(rewards, values, mask, gamma=0.9, lam=0.8)
    shifted = gae(shifted_rewards, shifted_values, shifted_mask, gamma=0.9, lam=0.8)
    plain += (rewards_to_go(rewards, mask, gamma=0.9),)
    shifted += (rewards_to_go(shifted_rewards, shifted_mask, gamma=0.9),)
    for a, b in zip(plain, shifted, strict=True):
        assert torch.equal(a, b[:, shift:])
        assert not b[:, :shift].any()


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_splitting_a_batch_changes_no_row(episodes, seed):
    rewards, values, mask = episodes(seed)
    whole, _ = gae(rewards, values, mask, gamma=1.0, lam=0.95)
    parts = [
        gae(rewards[i : i + 1], values[i : i + 1], mask[i : i + 1], gamma=1.0, lam=0.95)[0]
        for i in range(len(mask))
    ]
    assert torch.equal(whole, torch.cat(parts))


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(0, 1))
def test_lambda_zero_is_td_and_lambda_one_is_monte_carlo(episodes, seed, gamma):
    rewards, values, mask = episodes(seed)
    td, _ = gae(rewards, values, mask, gamma=gamma, lam=0.0)
    _, returns = gae(rewards, values, mask, gamma=gamma, lam=1.0)
    for b in range(len(mask)):
        n = int(mask[b].sum())
        r, v = rewards[b, :n].double().numpy(), values[b, :n].double().numpy()
        error = r + gamma * np.append(v[1:], 0.0) - v
        np.testing.assert_allclose(td[b, :n].numpy(), error, rtol=1e-4, atol=1e-5)
        to_go = [sum(gamma ** (u - t) * r[u] for u in range(t, n)) for t in range(n)]
        np.testing.assert_allclose(returns[b, :n].numpy(), to_go, rtol=1e-4, atol=1e-5)
        got = rewards_to_go(rewards, mask, gamma=gamma)[b, :n]
        np.testing.assert_allclose(got.numpy(), to_go, rtol=1e-4, atol=1e-5)


def test_rewards_to_go_by_hand():
    rewards = torch.tensor([[1.0, 2.0, 4.0], [8.0, 1e9, 1e9]])
    mask = length_mask(torch.tensor([3, 1]), 3)
    # 2 + 0.5 * 4 = 4; 1 + 0.5 * 4 = 3
    expected = torch.tensor([[3.0, 4.0, 4.0], [8.0, 0.0, 0.0]])
    torch.testing.assert_close(rewards_to_go(rewards, mask, gamma=0.5), expected)


def test_bandit_advantages_by_hand():
    got = bandit_advantages(
        torch.tensor([1.0, -2.0]),
        torch.tensor([[-1.0, -2.0, 1e9], [-3.0, -1.0, -1.0]]),
        torch.tensor([[-2.0, -1.5, -1e9], [-3.0, -2.0, -0.5]]),
        length_mask(torch.tensor([2, 3]), 3),
        kl_coef=0.1,
    )
    # log ratios add up to 0.5 in both rows: 1 - 0.05 and -2 - 0.05
    torch.testing.assert_close(got, torch.tensor([[0.95, 0.95, 0.0], [-2.05, -2.05, -2.05]]))


def test_baselines_by_hand():
    totals = torch.tensor([1.0, 2.0, 3.0, 10.0, 20.0, 60.0])
    torch.testing.assert_close(
        batch_mean_advantages(totals), torch.tensor([-15.0, -14.0, -13.0, -6.0, 4.0, 44.0])
    )
    # leave one out: 1 - 2.5, 2 - 2, 3 - 1.5; 10 - 40, 20 - 35, 60 - 15
    torch.testing.assert_close(
        rloo_advantages(totals, group_size=3),
        torch.tensor([-1.5, 0.0, 1.5, -30.0, -15.0, 45.0]),
    )
    # means 2 and 30; deviations over k - 1: 1 and sqrt((400 + 100 + 900) / 2) = sqrt(700)
    first, second = 1.0 + 1e-4, math.sqrt(700.0) + 1e-4
    torch.testing.assert_close(
        grpo_advantages(totals, group_size=3),
        torch.tensor([-1 / first, 0.0, 1 / first, -20 / second, -10 / second, 30 / second]),
    )


def test_answers_that_earn_the_same_get_nothing():
    same = torch.full((4,), 3.0)
    assert not rloo_advantages(same, group_size=2).any()
    assert not grpo_advantages(same, group_size=2).any()


@pytest.mark.parametrize("group_size", [0, 1, 4])
@pytest.mark.parametrize("estimator", [rloo_advantages, grpo_advantages])
def test_groups_must_be_whole_and_have_siblings(estimator, group_size):
    with pytest.raises(ValueError, match="group"):
        estimator(torch.zeros(6), group_size=group_size)


def test_broadcast_by_hand():
    got = broadcast_to_tokens(torch.tensor([2.0, 3.0]), length_mask(torch.tensor([1, 2]), 2))
    assert got.tolist() == [[2.0, 0.0], [3.0, 3.0]]


def test_explained_variance_by_hand():
    returns, mask = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.ones(1, 4, dtype=torch.bool)
    # residuals 0 0 0 1: variance 0.25 - 0.0625 = 0.1875; returns: 1.25; 1 - 0.15
    got = explained_variance(torch.tensor([[1.0, 2.0, 3.0, 3.0]]), returns, mask)
    torch.testing.assert_close(got, torch.tensor(0.85))
    torch.testing.assert_close(explained_variance(returns, returns, mask), torch.tensor(1.0))
    constant = torch.full((1, 4), 9.0)
    torch.testing.assert_close(explained_variance(constant, returns, mask), torch.tensor(0.0))
    assert explained_variance(returns, constant, mask).isnan()
    assert explained_variance(constant, constant, mask).isnan()
    assert explained_variance(returns, returns, ~mask).isnan()
