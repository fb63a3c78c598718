"""Proof 1: averaged over everything a policy can say, each estimator is the gradient it claims.

The objective is J = E[R(y) - beta log(pi(y) / pi_ref(y))]. Autograd differentiates the sum over all
responses, in which no estimator occurs. The estimators are those of the PPO stage: a response is
weighed by its exact probability, so their average has no noise. All in float64.
"""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from trivium.maths import (
    gae,
    kl_k1,
    last_token,
    ppo_clip_loss,
    ppo_klpen_loss,
    reinforce_loss,
    shape_rewards,
)
from trivium.stages.ppo_experience import assign_credit

KL_COEF = 0.7
EXACT = 1e-12
"""Relative error that rounding in float64 may cause."""

CLEAR = 0.05
"""Relative error that a mistake must at least cause, for its control to count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A tabular policy in a world, its reference, the scores, and the gradient that is right."""

    world: object
    policy: Tensor
    reference: Tensor
    scores: Tensor
    exact: Tensor

    @property
    def mask(self) -> Tensor:
        return self.world.mask

    @property
    def old(self) -> Tensor:
        return self.world.logprobs(self.policy).detach()

    @property
    def ref(self) -> Tensor:
        return self.world.logprobs(self.reference)

    def rewards(self) -> Tensor:
        return shape_rewards(self.scores, self.old, self.ref, self.mask, kl_coef=KL_COEF)

    def true_values(self) -> Tensor:
        """V(s) of every token's state: the mean of what is still to come, over all responses."""
        p = self.world.probabilities(self.policy)[:, None].expand_as(self.mask)
        to_go = self.rewards().flip(1).cumsum(1).flip(1)
        states, mask = self.world.states, self.mask
        sums, weights = torch.zeros(2, self.world.num_states, dtype=torch.float64)
        sums.index_add_(0, states[mask], (p * to_go)[mask])
        weights.index_add_(0, states[mask], p[mask])
        return (sums / weights)[states].masked_fill(~mask, 0.0)

    def expected_gradient(self, losses: Tensor) -> Tensor:
        """Minus the gradient of the summed loss of a response, in expectation over responses."""
        per_response = losses.masked_fill(~self.mask, 0.0).sum(1)
        return self.minus_gradient((self.world.probabilities(self.policy) * per_response).sum())

    def minus_gradient(self, loss: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(loss, self.policy, retain_graph=True)
        return -gradient


def make_case(world, seed: int) -> Case:
    generator = torch.Generator().manual_seed(seed)
    shape = (world.num_states, int(world.tokens.max()) + 1)
    policy, reference = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    scores = torch.randn(len(world), generator=generator, dtype=torch.float64)
    policy.requires_grad_()
    log_p, log_q = world.logprobs(policy).sum(1), world.logprobs(reference).sum(1)
    objective = (log_p.exp() * (scores - KL_COEF * (log_p - log_q))).sum()
    (exact,) = torch.autograd.grad(objective, policy)
    return Case(world=world, policy=policy, reference=reference, scores=scores, exact=exact)


@pytest.fixture(params=["fixed", "ragged"])
def case(request) -> Case:
    return make_case(request.getfixturevalue(request.param), seed=3)


@pytest.fixture
def short_and_long(ragged) -> Case:
    """The world in which responses end at different times, for mistakes about lengths."""
    return make_case(ragged, seed=3)


def critics(case: Case) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(8)
    by_state = torch.randn(case.world.num_states, generator=generator, dtype=torch.float64)
    return {"true": case.true_values(), "random": by_state[case.world.states]}


LOSSES = {
    "reinforce": lambda new, _, advantages: reinforce_loss(new, advantages),
    "clip": lambda new, old, advantages: ppo_clip_loss(new, old, advantages, clip=0.2),
    "klpen": lambda new, old, advantages: ppo_klpen_loss(new, old, advantages, kl_coef=3.0),
}


def test_everything_is_written_down_once(fixed, ragged):
    assert (len(fixed), len(ragged)) == (27, 1 + 2 + 12)
    for world in (fixed, ragged):
        assert len(set(world.responses)) == len(world)
        total = world.probabilities(make_case(world, 0).policy).sum()
        torch.testing.assert_close(total, torch.ones((), dtype=torch.float64))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("estimator", "lam", "critic"),
    [
        ("bandit", 1.0, None),  # REINFORCE with the whole return
        ("rewards_to_go", 1.0, None),
        ("rewards_to_go", 1.0, "random"),  # any baseline of the state is free
        ("gae", 1.0, "random"),  # and so is any critic, at lambda 1
        ("gae", 0.0, "true"),  # below 1 the critic has to be right
        ("gae", 0.95, "true"),
    ],
)
def test_estimators_are_the_exact_gradient(case, config, off, loss, estimator, lam, critic):
    cfg = config(estimator=estimator, lam=lam, value="none" if critic is None else "separate")
    values = torch.zeros_like(case.old) if critic is None else critics(case)[critic]
    advantages, _ = assign_credit(cfg, case.rewards(), values, case.mask)
    new = case.world.logprobs(case.policy)
    got = case.expected_gradient(LOSSES[loss](new, case.old, advantages))
    assert off(got, case.exact) < EXACT


@pytest.mark.parametrize(("estimator", "share"), [("rloo", 1.0), ("batch_mean", 0.5)])
@pytest.mark.parametrize("loss", LOSSES)
def test_baselines_of_siblings_over_all_pairs(case, config, off, loss, estimator, share):
    """Leave-one-out is unbiased; a response in its own mean of two halves the gradient."""
    cfg = config(
        estimator=estimator, value="none", samples_per_prompt=2 if estimator == "rloo" else 1
    )
    pairs, weights = all_pairs(case)
    assert len(pairs) == len(case.world) ** 2
    got = pairs_gradient(case, cfg, pairs, weights, LOSSES[loss])
    assert off(got, share * case.exact) < EXACT


def all_pairs(case: Case) -> tuple[Tensor, Tensor]:
    """(N^2, 2) rows of each pair of responses, and the (N^2,) chances of drawing them."""
    pairs = torch.cartesian_prod(torch.arange(len(case.world)), torch.arange(len(case.world)))
    return pairs, case.world.probabilities(case.policy)[pairs].prod(1)


def pairs_gradient(case: Case, cfg, pairs: Tensor, weights: Tensor, loss) -> Tensor:
    """Minus the gradient of the mean of a pair's two summed losses, in expectation over pairs."""
    rewards, nothing = case.rewards(), torch.zeros_like(case.old)
    advantages = torch.cat(
        [assign_credit(cfg, rewards[x], nothing[x], case.mask[x])[0] for x in pairs]
    )
    rows = pairs.flatten()
    losses = loss(case.world.logprobs(case.policy)[rows], case.old[rows], advantages)
    per_pair = losses.masked_fill(~case.mask[rows], 0.0).sum(1).view(-1, 2).mean(1)
    return case.minus_gradient((weights * per_pair).sum())


def test_pairs_of_a_z_score_push_towards_winning(case, config, off):
    """GRPO does not follow J. Of two answers the better gets 1 / sqrt 2 and the worse the opposite,
    whatever lies between them: the gradient of the chance to beat one's frozen self."""
    totals = case.rewards().sum(1)
    p = case.world.probabilities(case.policy)
    wins = (totals[:, None] > totals[None, :]).double() @ p - (
        totals[:, None] < totals[None, :]
    ).double() @ p
    chance = (case.world.logprobs(case.policy).sum(1).exp() * wins).sum()
    predicted = -case.minus_gradient(chance) / 2**0.5

    cfg = config(estimator="grpo", value="none", samples_per_prompt=2)
    got = pairs_gradient(case, cfg, *all_pairs(case), LOSSES["reinforce"])
    assert off(got, predicted) < 1e-2  # its epsilon of 1e-4 is felt where two rewards are close
    assert off(got, case.exact) > CLEAR


# Negative controls: the same check, and a classical mistake for it to find.


def policy_gradient(case: Case, rewards: Tensor) -> Tensor:
    """What reward-to-go makes of these rewards."""
    to_go = rewards.flip(1).cumsum(1).flip(1)
    return case.expected_gradient(reinforce_loss(case.world.logprobs(case.policy), to_go))


def test_the_control_harness_is_right_without_a_mistake(case, off):
    assert off(policy_gradient(case, case.rewards()), case.exact) < EXACT


def test_mistake_kl_with_the_wrong_sign(case, off):
    price = KL_COEF * kl_k1(case.old, case.ref).masked_fill(~case.mask, 0.0)
    wrong = case.scores[:, None] * last_token(case.mask) + price
    assert off(policy_gradient(case, wrong), case.exact) > CLEAR


def test_mistake_score_one_token_early(short_and_long, fixed, off):
    """The total is right, and the last token is never told."""
    for case in (short_and_long, make_case(fixed, 3)):
        rewards = case.rewards()
        early = rewards - case.scores[:, None] * last_token(case.mask)
        place = (case.mask.sum(1) - 2).clamp(min=0)
        early[torch.arange(len(early)), place] += case.scores
        torch.testing.assert_close(early.sum(1), rewards.sum(1))
        assert off(policy_gradient(case, early), case.exact) > CLEAR


def test_mistake_score_one_token_late(short_and_long, off):
    """On the padding after the last token: nobody is told, except where there is no padding."""
    case = short_and_long
    late = case.rewards() - case.scores[:, None] * last_token(case.mask)
    place = case.mask.sum(1).clamp(max=2)
    late[torch.arange(len(late)), place] += case.scores
    assert off(policy_gradient(case, late.masked_fill(~case.mask, 0.0)), case.exact) > CLEAR


def test_mistake_ratio_against_the_reference(case, off):
    """The ratio of PPO is to the policy that sampled. To the reference it starts far from 1."""
    new, to_go = case.world.logprobs(case.policy), case.rewards().flip(1).cumsum(1).flip(1)
    right = case.expected_gradient(ppo_clip_loss(new, case.old, to_go, clip=0.2))
    wrong = case.expected_gradient(ppo_clip_loss(new, case.ref, to_go, clip=0.2))
    unclipped = case.expected_gradient(ppo_clip_loss(new, case.ref, to_go, clip=1e9))
    assert off(right, case.exact) < EXACT
    assert off(wrong, case.exact) > CLEAR
    assert off(unclipped, case.exact) > CLEAR


def test_mistake_mean_of_means(short_and_long, off):
    """Each response divided by its own length: no multiple of the gradient is left in it."""
    case = short_and_long
    losses = reinforce_loss(
        case.world.logprobs(case.policy), case.rewards().flip(1).cumsum(1).flip(1)
    )
    right = case.expected_gradient(losses)
    wrong = case.expected_gradient(losses / case.mask.sum(1, keepdim=True))
    scaled = wrong * (case.exact * wrong).sum() / wrong.square().sum()  # as near as it can get
    assert off(right, case.exact) < EXACT
    assert off(scaled, case.exact) > CLEAR


def test_mistake_gae_across_padding(short_and_long, off):
    """A critic says something about padding too. Without the mask that leaks into the last token,
    and stays there for every lambda below 1, even where the critic is right about all states."""
    case = short_and_long
    values = torch.where(case.mask, critics(case)["true"], critics(case)["random"])
    new, error = case.world.logprobs(case.policy), {}
    for name, mask in {"mask": case.mask, "everything": torch.ones_like(case.mask)}.items():
        advantages, _ = gae(case.rewards(), values, mask, gamma=1.0, lam=0.5)
        error[name] = off(case.expected_gradient(reinforce_loss(new, advantages)), case.exact)
    assert error["mask"] < EXACT
    assert error["everything"] > CLEAR


def test_mistake_the_end_token_is_masked_out(short_and_long, off):
    """Padding told by its id, which is that of the end: the policy never learns when to stop."""
    case = short_and_long
    by_id = case.mask & (case.world.tokens != 0)
    losses = reinforce_loss(
        case.world.logprobs(case.policy), case.rewards().flip(1).cumsum(1).flip(1)
    )
    wrong = case.expected_gradient(losses.masked_fill(~by_id, 0.0))
    assert off(wrong, case.exact) > CLEAR


def test_mistake_a_critic_that_is_wrong_below_lambda_one(case, config, off):
    """Not a bug but a price: with lambda 0.5 the random critic's error reaches the gradient."""
    cfg = config(estimator="gae", lam=0.5)
    advantages, _ = assign_credit(cfg, case.rewards(), critics(case)["random"], case.mask)
    got = case.expected_gradient(reinforce_loss(case.world.logprobs(case.policy), advantages))
    assert off(got, case.exact) > CLEAR


def test_mistake_a_baseline_that_looks_at_the_action(case, off):
    """V read one token late, after the action: then it is no baseline any more."""
    values = critics(case)["random"]
    late = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], 1).masked_fill(
        ~case.mask, 0.0
    )
    to_go = case.rewards().flip(1).cumsum(1).flip(1)
    new = case.world.logprobs(case.policy)
    right = case.expected_gradient(reinforce_loss(new, to_go - values))
    wrong = case.expected_gradient(reinforce_loss(new, to_go - late))
    assert off(right, case.exact) < EXACT
    assert off(wrong, case.exact) > CLEAR


def test_mistake_gradient_through_the_reward(case, off):
    """Rewards are data. With the graph left in them the loss has another gradient."""
    new = case.world.logprobs(case.policy)
    attached = shape_rewards(case.scores, new, case.ref, case.mask, kl_coef=KL_COEF)
    to_go = attached.flip(1).cumsum(1).flip(1)
    assert off(case.expected_gradient(reinforce_loss(new, to_go)), case.exact) > CLEAR
