"""KL estimators, the shaped reward, and the two controllers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trivium.maths import (
    adaptive_kl_coef,
    adaptive_klpen_coef,
    kl_k1,
    kl_k2,
    kl_k3,
    length_mask,
    shape_rewards,
    total_rewards,
)

seeds = st.integers(0, 2**31 - 1)


def test_estimators_by_hand():
    # pi(a) = 1/2, pi_ref(a) = 1/4: log r = -log 2, r = 1/2
    logprobs, ref = torch.tensor([[math.log(0.5)]]), torch.tensor([[math.log(0.25)]])
    log2 = math.log(2.0)
    torch.testing.assert_close(kl_k1(logprobs, ref), torch.tensor([[log2]]))
    torch.testing.assert_close(kl_k2(logprobs, ref), torch.tensor([[log2**2 / 2]]))
    torch.testing.assert_close(kl_k3(logprobs, ref), torch.tensor([[log2 - 0.5]]))


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_k1_and_k3_are_unbiased_and_k3_is_never_negative(seed):
    p, q = torch.randn(2, 5, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)
    exact = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=p), torch.distributions.Categorical(logits=q)
    )
    torch.testing.assert_close((p.exp() * kl_k1(p, q)).sum(), exact, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close((p.exp() * kl_k3(p, q)).sum(), exact, rtol=1e-4, atol=1e-5)
    assert (kl_k3(p, q) >= 0).all()


def test_k3_keeps_its_digits_near_zero():
    # x^2 / 2 for a small log ratio x; exp(x) - 1 - x would be 0 or 6e-8 in float32
    got = kl_k3(torch.tensor([[-1e-3]]), torch.tensor([[0.0]]))
    torch.testing.assert_close(got, torch.tensor([[5.0017e-7]]), rtol=1e-3, atol=0)


def test_shaped_rewards_by_hand():
    got = shape_rewards(
        torch.tensor([1.0, -2.0]),
        torch.tensor([[-1.0, -2.0, 1e9], [-3.0, -1.0, -1.0]]),
        torch.tensor([[-2.0, -1.5, -1e9], [-3.0, -2.0, -0.5]]),
        length_mask(torch.tensor([2, 3]), 3),
        kl_coef=0.1,
    )
    # row 1: log ratios 1, -0.5; row 2: 0, 1, -0.5; the score goes to the last token that counts
    expected = torch.tensor([[-0.1, 0.05 + 1.0, 0.0], [0.0, -0.1, 0.05 - 2.0]])
    torch.testing.assert_close(got, expected)


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(0.0, 2.0))
def test_shaped_rewards_add_up_to_score_minus_price(episodes, seed, kl_coef):
    logprobs, ref, mask = episodes(seed)
    scores = torch.randn(len(mask), generator=torch.Generator().manual_seed(seed))
    dirty = logprobs.masked_fill(~mask, 1e9), ref.masked_fill(~mask, -1e9)
    got = shape_rewards(scores, *dirty, mask, kl_coef=kl_coef)
    assert not got[~mask].any()
    for row in range(len(mask)):
        log_ratios = [
            (logprobs[row, t].item() - ref[row, t].item()) for t in range(7) if mask[row, t]
        ]
        expected = scores[row].item() - kl_coef * math.fsum(log_ratios)
        assert got[row].sum().item() == pytest.approx(expected, abs=1e-4)
        total = total_rewards(scores, *dirty, mask, kl_coef=kl_coef)[row].item()
        assert total == pytest.approx(expected, abs=1e-4)


def test_a_score_needs_a_token_to_land_on():
    nothing = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="empty"):
        shape_rewards(
            torch.ones(1), nothing, nothing, torch.zeros(1, 2, dtype=torch.bool), kl_coef=0.1
        )


@pytest.mark.parametrize(
    ("kl_nats", "expected"),
    [
        (6.0, 0.15),  # on target
        (6.6, 0.150768),  # error 0.1: 0.15 (1 + 0.1 * 512 / 10000)
        (60.0, 0.151536),  # error 9, clipped to 0.2
        (0.0, 0.148464),  # error -1, clipped to -0.2
    ],
)
def test_zieglers_controller_by_hand(kl_nats, expected):
    got = adaptive_kl_coef(
        0.15, kl_nats, target_nats=6.0, num_episodes=512, horizon_episodes=10_000.0
    )
    assert got == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("kl", "expected"),
    [(0.0151, 2.0), (0.0149, 1.0), (0.01, 1.0), (0.0067, 1.0), (0.0066, 0.5)],
)
def test_ppos_controller_by_hand(kl, expected):
    assert adaptive_klpen_coef(1.0, kl, 0.01) == expected
