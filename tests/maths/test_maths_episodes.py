"""Discounts, cut episodes, importance weights, gradient noise: by hand, by enumeration, by law."""

import itertools

import numpy as np
import pytest
import torch

from trivium.maths import (
    bootstrap_rewards,
    discounts,
    gae,
    gradient_noise,
    importance_weights,
    length_mask,
)


def test_discounts_by_hand():
    got = discounts(torch.tensor([[0, 1, 3]]), gamma=0.5)
    assert got.tolist() == [[1.0, 0.5, 0.125]]


def test_bootstrapping_by_hand():
    mask = length_mask(torch.tensor([2, 3]), 3)
    got = bootstrap_rewards(
        torch.tensor([[1.0, 2.0, 0.0], [1.0, 2.0, 3.0]]),
        mask,
        torch.tensor([10.0, 10.0]),
        torch.tensor([False, True]),
        gamma=0.5,
    )
    assert got.tolist() == [[1, 7, 0], [1, 2, 3]]  # the first row was cut, the second ended


def test_a_cut_row_equals_gae_with_a_value_after_its_end():
    # By the definition of delta: the last one is r + gamma V(next) - V.
    rewards, values = torch.tensor([[0.5, 1.0]]), torch.tensor([[0.2, 0.4]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    cut = bootstrap_rewards(rewards, mask, torch.tensor([0.8]), torch.tensor([False]), gamma=0.9)
    got, _ = gae(cut, values, mask, gamma=0.9, lam=0.7)
    second = 1.0 + 0.9 * 0.8 - 0.4
    first = 0.5 + 0.9 * 0.4 - 0.2 + 0.9 * 0.7 * second
    torch.testing.assert_close(got, torch.tensor([[first, second]]))


def test_importance_weights_by_hand():
    pi, b = torch.tensor([[0.8, 0.5, 0.9]]).log(), torch.tensor([[0.4, 0.25, 0.5]]).log()
    mask = length_mask(torch.tensor([2]), 3)
    free = importance_weights(pi, b, mask, cap=None)
    torch.testing.assert_close(free, torch.tensor([[2.0, 4.0, 0.0]]))
    capped = importance_weights(pi, b, mask, cap=3.0)
    torch.testing.assert_close(capped, torch.tensor([[2.0, 3.0, 0.0]]))


def test_weighted_rewards_of_one_policy_are_the_rewards_of_another():
    # All 8 sequences of three moves, with the probabilities of the policy that acts.
    pi, b = [0.9, 0.1], [0.3, 0.7]
    rewards = {move: float(move + 1) for move in (0, 1)}
    expected, got = np.zeros(3), np.zeros(3)
    for moves in itertools.product((0, 1), repeat=3):
        r = np.array([rewards[move] for move in moves])
        expected += np.prod([pi[move] for move in moves]) * r
        chances = [torch.tensor([[law[move] for move in moves]]).log() for law in (pi, b)]
        weights = importance_weights(*chances, torch.ones(1, 3, dtype=torch.bool), cap=None)
        got += np.prod([b[move] for move in moves]) * weights[0].numpy() * r
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_gradient_noise_of_a_known_law():
    # mean (3, 4): square 25; standard deviations 1 and 2: variance 5; ratio 0.2
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(20_000, 2, generator=generator) * torch.tensor([1.0, 2.0])
    assert gradient_noise(draws + torch.tensor([3.0, 4.0])) == pytest.approx(0.2, rel=0.03)


def test_gradient_noise_without_a_signal_is_infinite():
    assert gradient_noise(torch.tensor([[1.0], [-1.0]])) == torch.inf
