r"""Proof 1, the places a KL estimator can stand in, and what each of them really descends.

With r = pi_ref(a) / pi(a), per token, and the sum over a response's tokens:

    k1 in the reward    grad KL(pi || pi_ref), exactly
    k2 of the whole response as a loss    the same
    k1 as a loss        nothing
    k3 as a loss        G = E_s~pi[ grad KL(pi_ref(.|s) || pi(.|s)) ], the states held still
    k3 in the reward    grad KL(pi || pi_ref) - G

Why. Let S be what a score-function estimator gives for a reward f(a, pi), and P the mean of grad f.
The gradient of E_pi[f] is S + P. For k3, E_pi[f] is the KL itself. And grad k3 is
-r grad log pi + grad log pi; the mean of the second part is 0, that of the first is
-sum_a pi_ref grad log pi = grad KL(pi_ref || pi) in each state. So P = G, and S = grad KL - G. Near
pi = pi_ref both are equal to first order: k3 in the reward then does next to nothing.
"""

import pytest
import torch
from torch import Tensor

from trivium.maths import kl_k1, kl_k2, kl_k3, reinforce_loss, rewards_to_go, shape_rewards

EXACT, CLEAR = 1e-12, 0.05


@pytest.fixture(params=["fixed", "ragged"])
def world(request):
    return request.getfixturevalue(request.param)


def tables(world, *, apart: float = 1.0) -> tuple[Tensor, Tensor]:
    """A policy with gradient, and a reference at some distance."""
    generator = torch.Generator().manual_seed(2)
    shape = (world.num_states, int(world.tokens.max()) + 1)
    policy, noise = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return policy.requires_grad_(), policy.detach() + apart * noise


def gradient(value: Tensor, policy: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(value, policy, retain_graph=True)
    return found


def exact_kl(world, policy: Tensor, reference: Tensor) -> Tensor:
    """Gradient of KL(pi || pi_ref) of whole responses, with no estimator in it."""
    log_p, log_q = world.logprobs(policy).sum(1), world.logprobs(reference).sum(1)
    return gradient((log_p.exp() * (log_p - log_q)).sum(), policy)


def reversed_kl(world, policy: Tensor, reference: Tensor) -> Tensor:
    """G: gradient of KL(pi_ref || pi) in every state, weighed by how often pi comes there."""
    p, mask, states = world.probabilities(policy), world.mask, world.states
    tokens = p[:, None].expand_as(mask)[mask]
    visits = torch.zeros(world.num_states, dtype=torch.float64).index_add_(0, states[mask], tokens)
    log_p, log_q = policy.log_softmax(-1), reference.log_softmax(-1)
    per_state = (log_q.exp() * (log_q - log_p)).sum(-1)
    return gradient((visits * per_state).sum(), policy)


def in_reward(world, policy: Tensor, price: Tensor) -> Tensor:
    """The gradient that a price on each token, detached, has by way of reward-to-go."""
    to_go = rewards_to_go(-price.detach().masked_fill(~world.mask, 0.0), world.mask, gamma=1.0)
    losses = reinforce_loss(world.logprobs(policy), to_go).masked_fill(~world.mask, 0.0)
    return gradient((world.probabilities(policy) * losses.sum(1)).sum(), policy)


def as_loss(world, policy: Tensor, loss: Tensor) -> Tensor:
    """The gradient of an estimator that is itself minimised, on samples of the policy."""
    weights = world.probabilities(policy)
    return gradient((weights * loss.masked_fill(~world.mask, 0.0).sum(1)).sum(), policy)


def test_k1_in_the_reward_is_right(world, off):
    policy, reference = tables(world)
    new, ref = world.logprobs(policy), world.logprobs(reference)
    exact = exact_kl(world, policy, reference)
    assert off(in_reward(world, policy, kl_k1(new, ref)), exact) < EXACT
    shaped = shape_rewards(
        torch.zeros(len(world), dtype=torch.float64), new.detach(), ref, world.mask, kl_coef=1.0
    )
    assert off(in_reward(world, policy, -shaped), exact) < EXACT


def test_k2_of_the_response_as_a_loss_is_right_but_not_k2_of_its_tokens(world, off):
    policy, reference = tables(world)
    new, ref = world.logprobs(policy), world.logprobs(reference)
    exact = exact_kl(world, policy, reference)
    whole = torch.zeros_like(new)
    whole[:, 0] = kl_k2(new.sum(1), ref.sum(1))
    assert off(as_loss(world, policy, whole), exact) < EXACT
    # token by token, what an early token does to the later states is lost
    assert off(as_loss(world, policy, kl_k2(new, ref)), exact) > CLEAR


def test_k1_as_a_loss_is_nothing(world):
    policy, reference = tables(world)
    got = as_loss(world, policy, kl_k1(world.logprobs(policy), world.logprobs(reference)))
    assert float(got.norm()) < EXACT
    assert float(exact_kl(world, policy, reference).norm()) > CLEAR


def test_k3_as_a_loss_is_the_other_kl(world, off):
    policy, reference = tables(world)
    got = as_loss(world, policy, kl_k3(world.logprobs(policy), world.logprobs(reference)))
    assert off(got, reversed_kl(world, policy, reference)) < EXACT
    assert off(got, exact_kl(world, policy, reference)) > CLEAR


def test_k3_in_the_reward_misses_by_exactly_the_other_kl(world, off):
    policy, reference = tables(world)
    got = in_reward(world, policy, kl_k3(world.logprobs(policy), world.logprobs(reference)))
    exact = exact_kl(world, policy, reference)
    assert off(got, exact - reversed_kl(world, policy, reference)) < EXACT
    assert off(got, exact) > CLEAR


@pytest.mark.parametrize("apart", [0.1, 0.01])
def test_k3_in_the_reward_does_next_to_nothing_near_the_reference(world, apart):
    """Where training begins, its gradient is of second order in the distance, that of k1 first."""
    policy, reference = tables(world, apart=apart)
    new, ref = world.logprobs(policy), world.logprobs(reference)
    k1 = float(in_reward(world, policy, kl_k1(new, ref)).norm())
    k3 = float(in_reward(world, policy, kl_k3(new, ref)).norm())
    assert k3 < 2 * apart * k1


def test_mistake_absolute_or_clamped_kl(world, off):
    """max(k1, 0) in the reward forgives what pi avoids, and so is no KL."""
    policy, reference = tables(world)
    new, ref = world.logprobs(policy), world.logprobs(reference)
    exact = exact_kl(world, policy, reference)
    for price in (kl_k1(new, ref).clamp(min=0), kl_k1(new, ref).abs()):
        assert off(in_reward(world, policy, price), exact) > CLEAR


def test_mistake_kl_with_the_arguments_swapped(world, off):
    policy, reference = tables(world)
    new, ref = world.logprobs(policy), world.logprobs(reference)
    got = in_reward(world, policy, kl_k1(ref, new))
    assert off(got, exact_kl(world, policy, reference)) > CLEAR
