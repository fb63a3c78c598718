"""Estimators against exact gradients, by enumerating everything a tiny policy can say.

The policy is a table: 3 tokens, at most 3 of them, token 0 ends the response. A response is
weighed by its exact probability, so an average over samples is an expectation without noise.
"""

from dataclasses import dataclass
from itertools import product

import pytest
import torch
from torch import Tensor

from trivium.maths import (
    bandit_advantages,
    broadcast_to_tokens,
    gae,
    kl_k1,
    length_mask,
    ppo_clip_loss,
    ppo_klpen_loss,
    reinforce_loss,
    rewards_to_go,
    rloo_advantages,
    shape_rewards,
    total_rewards,
)

VOCABULARY, WIDTH, KL_COEF = 3, 3, 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All responses at once: rows are responses, ``states`` are indices of their prefixes."""

    tokens: Tensor
    states: Tensor
    mask: Tensor
    num_states: int

    def logprobs(self, table: Tensor) -> Tensor:
        chosen = table.log_softmax(-1)[self.states, self.tokens]
        return chosen.masked_fill(~self.mask, 0.0)


def everything_sayable() -> World:
    responses = [
        y
        for n in range(1, WIDTH + 1)
        for y in product(range(VOCABULARY), repeat=n)
        if 0 not in y[:-1] and (y[-1] == 0 or n == WIDTH)
    ]
    prefixes = {y[:t]: 0 for y in responses for t in range(len(y))}
    numbers = {prefix: i for i, prefix in enumerate(prefixes)}
    padding = [0] * WIDTH
    return World(
        tokens=torch.tensor([([*y, *padding])[:WIDTH] for y in responses]),
        states=torch.tensor(
            [([numbers[y[:t]] for t in range(len(y))] + padding)[:WIDTH] for y in responses]
        ),
        mask=length_mask(torch.tensor([len(y) for y in responses]), WIDTH),
        num_states=len(prefixes),
    )


@pytest.fixture(scope="module")
def world() -> World:
    return everything_sayable()


def tables(world: World, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw policy, reference, scores of the responses, and values of the states; float64."""
    generator = torch.Generator().manual_seed(seed)
    shape = (world.num_states, VOCABULARY)
    policy, reference = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    scores = torch.randn(len(world.mask), generator=generator, dtype=torch.float64)
    values = torch.randn(world.num_states, generator=generator, dtype=torch.float64)
    return policy.requires_grad_(), reference, scores, values


def exact_gradient(world: World, policy: Tensor, reference: Tensor, scores: Tensor) -> Tensor:
    """Gradient of J = E[R - beta log(pi(y) / pi_ref(y))], written out with no estimator."""
    log_p, log_q = world.logprobs(policy).sum(1), world.logprobs(reference).sum(1)
    objective = (log_p.exp() * (scores - KL_COEF * (log_p - log_q))).sum()
    (gradient,) = torch.autograd.grad(objective, policy)
    return gradient


def expected_gradient(world: World, policy: Tensor, loss: Tensor) -> Tensor:
    """Gradient of the loss summed over a response, in expectation over responses."""
    weights = world.logprobs(policy).sum(1).exp().detach()
    total = (weights * loss.masked_fill(~world.mask, 0.0).sum(1)).sum()
    (gradient,) = torch.autograd.grad(total, policy, retain_graph=True)
    return gradient


def test_the_world_is_whole(world):
    assert len(world.mask) == 1 + 2 + 12  # lengths 1 and 2 end in token 0; length 3 in any
    policy, _, _, _ = tables(world, 0)
    total = world.logprobs(policy).sum(1).exp().sum()
    torch.testing.assert_close(total, torch.ones((), dtype=torch.float64))


@pytest.mark.parametrize("seed", range(3))
def test_first_ppo_step_follows_the_exact_gradient(world, seed):
    policy, reference, scores, values = tables(world, seed)
    logprobs, ref = world.logprobs(policy), world.logprobs(reference)
    old = logprobs.detach()
    rewards = shape_rewards(scores, old, ref, world.mask, kl_coef=KL_COEF)
    no_critic = rewards_to_go(rewards, world.mask, gamma=1.0)
    # with lambda 1 any critic at all leaves the gradient unbiased, here a random one
    critic, _ = gae(rewards, values[world.states], world.mask, gamma=1.0, lam=1.0)
    bandit = bandit_advantages(scores, old, ref, world.mask, kl_coef=KL_COEF)
    losses = [
        ppo_clip_loss(logprobs, old, no_critic, clip=0.2),
        ppo_clip_loss(logprobs, old, critic, clip=0.2),
        ppo_klpen_loss(logprobs, old, critic, kl_coef=3.0),
        reinforce_loss(logprobs, no_critic),
        reinforce_loss(logprobs, bandit),
    ]
    exact = exact_gradient(world, policy, reference, scores)
    for loss in losses:
        torch.testing.assert_close(-expected_gradient(world, policy, loss), exact)


def test_rloo_is_unbiased_over_all_pairs_of_answers(world):
    policy, reference, scores, _ = tables(world, 4)
    n = len(world.mask)
    first, second = torch.arange(n).repeat_interleave(n), torch.arange(n).repeat(n)
    rows = torch.stack([first, second], 1).flatten()  # groups of 2 are consecutive rows
    logprobs, ref = world.logprobs(policy), world.logprobs(reference)
    totals = total_rewards(scores, logprobs.detach(), ref, world.mask, kl_coef=KL_COEF)
    advantages = broadcast_to_tokens(rloo_advantages(totals[rows], group_size=2), world.mask[rows])
    log_p = logprobs.detach().sum(1)
    weights = (log_p[first] + log_p[second]).exp().repeat_interleave(2) / 2
    loss = reinforce_loss(logprobs[rows], advantages).masked_fill(~world.mask[rows], 0.0)
    (gradient,) = torch.autograd.grad((weights * loss.sum(1)).sum(), policy)
    torch.testing.assert_close(-gradient, exact_gradient(world, policy, reference, scores))


@pytest.mark.parametrize("seed", range(3))
def test_k1_in_the_reward_is_the_gradient_of_the_kl_but_as_a_loss_it_is_nothing(seed):
    generator = torch.Generator().manual_seed(seed)
    logits, ref_logits = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    logits.requires_grad_()
    log_p, log_q = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    (exact,) = torch.autograd.grad((log_p.exp() * (log_p - log_q)).sum(), logits, retain_graph=True)
    p, actions = log_p.exp().detach(), torch.ones(3, 1, dtype=torch.bool)  # three one-token rows
    rewards = shape_rewards(
        torch.zeros_like(p), log_p.detach()[:, None], log_q[:, None], actions, kl_coef=1.0
    )
    loss = (p[:, None] * reinforce_loss(log_p[:, None], rewards)).sum()
    (in_reward,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (as_loss,) = torch.autograd.grad((p * kl_k1(log_p, log_q)).sum(), logits)
    torch.testing.assert_close(in_reward, exact)
    torch.testing.assert_close(as_loss, torch.zeros_like(as_loss), atol=1e-12, rtol=0)
    assert exact.abs().max() > 0.01


@pytest.mark.parametrize("seed", range(3))
def test_klpen_penalty_is_the_kl_from_the_old_policy_in_value_and_gradient(world, seed):
    policy, old_policy, _, _ = tables(world, seed)
    new, old = world.logprobs(policy), world.logprobs(old_policy)
    weights = old.sum(1).exp()
    exact = (weights * (old.sum(1) - new.sum(1))).sum()  # KL(old || new) of whole responses
    penalty = ppo_klpen_loss(new, old, torch.zeros_like(old), kl_coef=1.0)
    got = (weights * penalty.masked_fill(~world.mask, 0.0).sum(1)).sum()
    torch.testing.assert_close(got, exact)
    (exact_gradient_,) = torch.autograd.grad(exact, policy, retain_graph=True)
    (got_gradient,) = torch.autograd.grad(got, policy)
    torch.testing.assert_close(got_gradient, exact_gradient_)
    assert got_gradient.abs().max() > 0.01
