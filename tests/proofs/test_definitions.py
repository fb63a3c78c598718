"""Proof 3: GAE, reward placement, whitening, the ranking loss and Adam against their definitions,
and the classical mistakes that the same checks find.

That `gae`, `whiten`, `shape_rewards` and `ranking_loss` are right is in `tests/maths`; here is what
the laws there leave open, and the wrong variants beside it, which must fail.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from trivium.config import Adam
from trivium.maths import (
    gae,
    kl_k1,
    last_token,
    length_mask,
    ranking_loss,
    rewards_to_go,
    shape_rewards,
    whiten,
)
from trivium.stages.optimise import adamw
from trivium.stages.ppo_learn import minibatches


def ragged_numbers() -> tuple[Tensor, Tensor, Tensor]:
    """Rewards, values and mask of rows of 1, 3, 6 and 4 tokens, float64; never 0 on padding."""
    generator = torch.Generator().manual_seed(12)
    rewards, values = torch.randn(2, 4, 6, generator=generator, dtype=torch.float64)
    mask = length_mask(torch.tensor([1, 3, 6, 4]), 6)
    return rewards + 3.0 * ~mask, values + 3.0 * ~mask, mask


def double_sum(r: np.ndarray, v: np.ndarray, gamma: float, lam: float) -> np.ndarray:
    """A_t = sum_l (gamma lam)^l (r_{t+l} + gamma V_{t+l+1} - V_{t+l}), V = 0 after the last."""
    n, v_next = len(r), np.append(v[1:], 0.0)
    return np.array(
        [
            sum((gamma * lam) ** k * (r[t + k] + gamma * v_next[t + k] - v[t + k])
                for k in range(n - t))
            for t in range(n)
        ]
    )  # fmt: skip


def worst_row(advantages: Tensor, lengths: list[int], expected: list[np.ndarray]) -> float:
    rows = zip(advantages, lengths, expected, strict=True)
    return max(float(np.abs(row[:n].numpy() - e).max()) for row, n, e in rows)


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 0.0), (1.0, 1.0)])
def test_gae_on_ragged_rows_and_three_ways_to_get_it_wrong(gamma, lam):
    rewards, values, mask = ragged_numbers()
    lengths = mask.sum(1).tolist()
    rows = [
        (r[:n].numpy(), v[:n].numpy()) for r, v, n in zip(rewards, values, lengths, strict=True)
    ]
    expected = [double_sum(r, v, gamma, lam) for r, v in rows]

    right, returns = gae(rewards, values, mask, gamma=gamma, lam=lam)
    assert worst_row(right, lengths, expected) < 1e-12
    targets = [e + v for e, (_, v) in zip(expected, rows, strict=True)]
    assert worst_row(returns, lengths, targets) < 1e-12

    everything = torch.ones_like(mask)
    across_padding, _ = gae(rewards, values, everything, gamma=gamma, lam=lam)
    assert worst_row(across_padding, lengths, expected) > 0.5

    late = torch.cat([values[:, 1:], torch.zeros(4, 1)], 1)  # V after the token, not before it
    off_by_one, _ = gae(rewards, late, mask, gamma=gamma, lam=lam)
    assert worst_row(off_by_one, lengths, expected) > 0.5

    backwards, _ = gae(rewards.flip(1), values.flip(1), mask.flip(1), gamma=gamma, lam=lam)
    assert worst_row(backwards.flip(1), lengths, expected) > 0.5


def test_value_targets_at_lambda_one_are_the_rewards_to_go_whatever_the_critic_says():
    rewards, values, mask = ragged_numbers()
    to_go = rewards_to_go(rewards, mask, gamma=1.0)
    _, returns = gae(rewards, values, mask, gamma=1.0, lam=1.0)
    torch.testing.assert_close(returns, to_go)
    _, shorter = gae(rewards, values, mask, gamma=1.0, lam=0.95)
    assert float((shorter - to_go).abs().max()) > 0.05


def test_shaped_rewards_sum_to_score_minus_price_and_wrong_placements_do_not():
    new, ref, mask = ragged_numbers()
    scores = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    beta, kl = 0.3, (new - ref).masked_fill(~mask, 0.0).sum(1)
    expected = scores - beta * kl

    right = shape_rewards(scores, new, ref, mask, kl_coef=beta)
    torch.testing.assert_close(right.sum(1), expected)

    price = -beta * kl_k1(new, ref)
    at_the_edge = price.masked_fill(~mask, 0.0)
    at_the_edge[:, -1] += scores  # the end of the batch, where only the longest row has a token
    wrong = {
        "unmasked": price + scores[:, None] * last_token(mask),
        "sign": scores[:, None] * last_token(mask) - price.masked_fill(~mask, 0.0),
        "edge": at_the_edge.masked_fill(~mask, 0.0),
        "every token": (price + scores[:, None]).masked_fill(~mask, 0.0),
    }
    for name, rewards in wrong.items():
        assert float((rewards.sum(1) - expected).abs().max()) > 0.1, name


CHECK_VECTOR = torch.tensor([[1.2, 1.3, 1.4], [1.5, 1.6, 1.7], [1.8, 1.9, 2.0]])


def test_whitening_vector_and_the_variants_that_miss_it():
    """Of "N implementation details of RLHF with PPO": population variance, mean kept."""
    expected = torch.tensor([0.0508, 0.4381, 0.8254])
    x, everything = CHECK_VECTOR, torch.ones(3, 3, dtype=torch.bool)

    def missed(rows: Tensor) -> float:
        return float((rows[0] - expected).abs().max())

    assert missed(whiten(x, everything, shift_mean=False)) < 5e-5
    sample = (x - x.mean()) / x.std() + x.mean()  # divides by N - 1
    per_row = (x - x.mean(1, keepdim=True)) / x.std(1, correction=0, keepdim=True) + x.mean()
    inverted = whiten(x, everything)  # the flag read the other way round
    by_mean = x / x.std(correction=0)  # the mean scaled along
    for wrong in (sample, per_row, inverted, by_mean):
        assert missed(wrong) > 0.01


def test_whitening_over_padding_is_found():
    rewards, _, mask = ragged_numbers()

    def mean_and_deviation(x: Tensor) -> tuple[float, float]:
        return abs(float(x[mask].mean())), abs(float(x[mask].std(correction=0)) - 1.0)

    assert max(mean_and_deviation(whiten(rewards, mask))) < 1e-7
    over_padding = whiten(rewards, torch.ones_like(mask))
    zeros_counted = whiten(rewards.masked_fill(~mask, 0.0), torch.ones_like(mask))
    assert max(mean_and_deviation(over_padding)) > 0.1
    assert max(mean_and_deviation(zeros_counted)) > 0.1


def prompts_of_different_size() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [
        (torch.randn(k, generator=generator, dtype=torch.float64), torch.arange(1, k + 1))
        for k in (2, 4, 9)
    ]


def pair_losses(scores: Tensor, ranks: Tensor) -> list[float]:
    s, r = scores.tolist(), ranks.tolist()
    return [
        math.log1p(math.exp(s[j] - s[i]))
        for i in range(len(s))
        for j in range(len(s))
        if r[i] < r[j]
    ]


def test_every_prompt_weighs_the_same_whatever_its_k():
    """1, 6 and 36 pairs: a mean of three numbers, not of 43, which the prompt of nine would own."""
    prompts = prompts_of_different_size()
    got = float(torch.stack([ranking_loss(s, r) for s, r in prompts]).mean())
    pairs = [pair_losses(s, r) for s, r in prompts]
    assert got == pytest.approx(sum(sum(p) / len(p) for p in pairs) / 3)
    pooled = [x for p in pairs for x in p]
    assert len(pooled) == 1 + 6 + 36
    assert abs(got - sum(pooled) / len(pooled)) > 0.05


def test_the_ranking_loss_sees_order_and_differences_and_nothing_else():
    for scores, ranks in prompts_of_different_size():
        loss = float(ranking_loss(scores, ranks))
        order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(1))
        assert float(ranking_loss(scores + 17.0, ranks)) == pytest.approx(loss)
        assert float(ranking_loss(scores[order], ranks[order])) == pytest.approx(loss)
        assert float(ranking_loss(scores, 10 * ranks)) == pytest.approx(loss)
        # controls: what is no invariance must show
        assert abs(float(ranking_loss(scores * 2.0, ranks)) - loss) > 0.01
        assert abs(float(ranking_loss(scores, ranks.flip(0))) - loss) > 0.01


def tf_adam(weight: float, slopes: list[float], *, lr: float, eps: float) -> list[float]:
    """TensorFlow 1's Adam: its epsilon stands beside sqrt(v) before the bias is corrected."""
    (b1, b2), m, v, path = (0.9, 0.999), 0.0, 0.0, []
    for t, g in enumerate(slopes, start=1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        rate = lr * math.sqrt(1 - b2**t) / (1 - b1**t)
        weight -= rate * m / (math.sqrt(v) + eps)
        path.append(weight)
    return path


def our_adam(weight: float, slopes: list[float], *, lr: float, eps_at) -> list[float]:
    """The optimizer of the stages, with an epsilon for each step."""
    parameter = torch.nn.Parameter(torch.tensor([weight], dtype=torch.float64))
    optimizer = adamw([parameter], Adam(betas=(0.9, 0.999), eps=1e-5), lr=lr)
    path = []
    for t, slope in enumerate(slopes, start=1):
        optimizer.param_groups[0]["eps"] = eps_at(t)
        parameter.grad = torch.tensor([slope], dtype=torch.float64)
        optimizer.step()
        path.append(parameter.item())
    return path


def test_adams_epsilon_is_tensorflows_over_the_root_of_the_bias_correction():
    """With small gradients, as in PPO's first steps, 1e-5 here and 1e-5 there are two optimizers:
    in torch the first steps are up to 1 / sqrt(1 - beta2) = 32 times larger."""
    slopes, lr, eps = [3e-6, -1e-6, 2e-6, 4e-6, 1e-6] * 4, 1e-3, 1e-5
    theirs = np.array(tf_adam(1.0, slopes, lr=lr, eps=eps))
    translated = our_adam(1.0, slopes, lr=lr, eps_at=lambda t: eps / math.sqrt(1 - 0.999**t))
    np.testing.assert_allclose(translated, theirs, rtol=0, atol=1e-15)
    untranslated = np.array(our_adam(1.0, slopes, lr=lr, eps_at=lambda _: eps))
    assert (untranslated[0] - 1) / (theirs[0] - 1) > 20


@pytest.mark.parametrize("inner_epochs", [1, 4])
def test_each_pass_sees_every_episode_once_in_an_order_of_its_own(config, inner_epochs):
    cfg = replace(config(), inner_epochs=inner_epochs, episodes_per_minibatch=20)
    batches = list(minibatches(cfg, 60, torch.Generator().manual_seed(0)))
    assert [len(b) for b in batches] == [20] * 3 * inner_epochs
    passes = torch.cat(batches).view(inner_epochs, 60)
    assert all(sorted(p.tolist()) == list(range(60)) for p in passes)
    assert len({tuple(p.tolist()) for p in passes}) == inner_epochs
    assert passes[0].tolist() != list(range(60))
