r"""Proof 2: the objective's optimum is known in closed form, and every algorithm ends there.

    J(pi) = E_pi[r] - beta KL(pi || pi_ref)   has its maximum   J* = beta log Z   at
    pi*(y) = pi_ref(y) exp(r(y) / beta) / Z,   Z = sum_y pi_ref(y) exp(r(y) / beta)

The policies are tables in float64 that start at the reference and learn from what they sample,
with the functions of the PPO stage: shaped rewards, advantages, minibatches, losses. Only sampler
and network are replaced. `test_stage_reaches_the_optimum.py` leaves them in their place.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from trivium.config import PPO
from trivium.maths import (
    ema_update_,
    kl_k1,
    kl_k3,
    last_token,
    masked_sum,
    ppo_clip_loss,
    ppo_klpen_loss,
    reinforce_loss,
    shape_rewards,
    value_clip_loss,
    whiten,
)
from trivium.maths.trust_region import (
    categorical_kl,
    conjugate_gradient,
    fisher_vector_product,
    trust_region_step,
)
from trivium.stages.ppo_experience import assign_credit
from trivium.stages.ppo_learn import minibatches

NEAR = 1e-3
"""KL(pi || pi*) in nats that counts as having arrived."""

SHARE = 0.005
"""Share of J* that may be missing."""

LR = 0.05
"""Of the logits and of the values, at first; it falls linearly to 0."""

CLEAR = 0.01
"""KL(pi || pi*) that a mistake must at least leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandit:
    """A world, what its responses earn, and the price of a nat."""

    world: object
    reference: Tensor
    scores: Tensor
    beta: float

    @property
    def log_q(self) -> Tensor:
        """(N,) log pi_ref of the responses."""
        return self.world.logprobs(self.reference).sum(1)

    @property
    def value(self) -> Tensor:
        """J* = beta log Z."""
        return self.beta * torch.logsumexp(self.log_q + self.scores / self.beta, 0)

    @property
    def optimum(self) -> Tensor:
        """(N,) log pi* of the responses."""
        return self.log_q + (self.scores - self.value) / self.beta

    def objective(self, table: Tensor) -> Tensor:
        """J of a tabular policy, summed over all responses."""
        log_p = self.world.logprobs(table).sum(1)
        return (log_p.exp() * (self.scores - self.beta * (log_p - self.log_q))).sum()

    def as_table(self, log_p: Tensor) -> Tensor:
        """Logits of the policy with these log-probabilities of responses."""
        world = self.world
        passing = log_p.exp()[:, None].expand_as(world.mask)[world.mask]
        mass = torch.zeros_like(self.reference)
        places = (world.states[world.mask], world.tokens[world.mask])
        return mass.index_put(places, passing, accumulate=True).log()

    def kl_to(self, table: Tensor, log_star: Tensor) -> float:
        """KL(pi || pi*), nats."""
        log_p = self.world.logprobs(table).sum(1)
        return float((log_p.exp() * (log_p - log_star)).sum())


def one_token(world, vocabulary: int, beta: float) -> Bandit:
    """A uniform reference, and reward 1 for one token of many."""
    return Bandit(
        world=world(ends_early=False, vocabulary=vocabulary, width=1),
        reference=torch.zeros(1, vocabulary, dtype=torch.float64),
        scores=torch.eye(vocabulary, dtype=torch.float64)[3],
        beta=beta,
    )


def three_tokens(world, *, ends_early: bool) -> Bandit:
    """Three tokens out of three, any scores, any reference."""
    everything = world(ends_early=ends_early)
    generator = torch.Generator().manual_seed(4)
    shape = (everything.num_states, 3)
    return Bandit(
        world=everything,
        reference=torch.randn(*shape, generator=generator, dtype=torch.float64),
        scores=torch.randn(len(everything), generator=generator, dtype=torch.float64),
        beta=0.5,
    )


@pytest.fixture(params=["one token", "three tokens", "one to three tokens"])
def bandit(request, world) -> Bandit:
    if request.param == "one token":
        return one_token(world, 10, 0.2)
    return three_tokens(world, ends_early=request.param != "three tokens")


@pytest.mark.parametrize(
    ("vocabulary", "beta", "probability", "kl", "value"),
    [(10, 0.2, 0.9428, 1.958, 0.5513), (10, 0.5, 0.4509, 0.4077, 0.2470),
     (50, 0.1, 0.9978, 3.888, 0.6090)],
)  # fmt: skip
def test_closed_form_of_one_token(world, vocabulary, beta, probability, kl, value):
    """Z = (V - 1 + exp(1 / beta)) / V, p* = exp(1 / beta) / (V Z), KL = (p* - J*) / beta."""
    bandit = one_token(world, vocabulary, beta)
    log_p = bandit.optimum
    assert float(log_p[3].exp()) == pytest.approx(probability, abs=1e-4)
    assert float((log_p.exp() * (log_p - bandit.log_q)).sum()) == pytest.approx(kl, abs=1e-3)
    assert float(bandit.value) == pytest.approx(value, abs=1e-4)


def test_no_policy_is_better_than_the_closed_form(bandit):
    """J at pi* is J*, its gradient there is 0, and J* - J is beta KL(pi || pi*) elsewhere."""
    table = bandit.as_table(bandit.optimum).requires_grad_()
    (gradient,) = torch.autograd.grad(bandit.objective(table), table)
    torch.testing.assert_close(bandit.objective(table).detach(), bandit.value)
    assert float(gradient.norm()) < 1e-12
    for seed in range(5):
        noise = torch.randn(table.shape, generator=torch.Generator().manual_seed(seed))
        other = table.detach() + noise.double()
        missing = float(bandit.value - bandit.objective(other))
        assert missing == pytest.approx(bandit.beta * bandit.kl_to(other, bandit.optimum))


def early(shape, scores: Tensor, old: Tensor, ref: Tensor, mask: Tensor, beta: float) -> Tensor:
    """The score one token before the last."""
    rewards = shape(torch.zeros_like(scores), old, ref, mask, kl_coef=beta)
    place = (mask.sum(1) - 2).clamp(min=0)
    rewards[torch.arange(len(scores)), place] += scores
    return rewards


SHAPES: dict[str, Callable[..., Tensor]] = {
    "right": lambda s, p, q, mask, beta: shape_rewards(s, p, q, mask, kl_coef=beta),
    "one token early": lambda s, p, q, mask, beta: early(shape_rewards, s, p, q, mask, beta),
    "kl sign": lambda s, p, q, mask, beta: shape_rewards(s, p, q, mask, kl_coef=-beta),
    "no kl": lambda s, p, q, mask, beta: shape_rewards(s, p, q, mask, kl_coef=0.0),
    "k3 in the reward": lambda s, p, q, mask, beta: (
        s[:, None] * last_token(mask) - beta * kl_k3(p, q).masked_fill(~mask, 0.0)
    ),
    "max(k1, 0)": lambda s, p, q, mask, beta: (
        s[:, None] * last_token(mask) - beta * kl_k1(p, q).clamp(min=0).masked_fill(~mask, 0.0)
    ),
}


@pytest.mark.parametrize("lam", [0.0, 0.5, 0.95, 1.0])
def test_at_the_optimum_there_is_nothing_left_to_learn(bandit, config, lam):
    """From every state all ways on earn the same, beta log Z(s): every advantage is 0, one by one
    and not only on average. With the KL's sign wrong they are not."""
    world, mask = bandit.world, bandit.world.mask
    star, ref = world.logprobs(bandit.as_table(bandit.optimum)), world.logprobs(bandit.reference)
    largest = {}
    for name in ("right", "kl sign"):
        rewards = SHAPES[name](bandit.scores, star, ref, mask, bandit.beta)
        to_go = rewards.flip(1).cumsum(1).flip(1)
        values = torch.zeros(world.num_states, dtype=torch.float64)
        values[world.states[mask]] = to_go[mask]
        cfgs = [
            config(estimator="gae", lam=lam),
            config(estimator="rewards_to_go"),
            config(estimator="batch_mean", value="none"),
        ]
        largest[name] = max(
            float(assign_credit(cfg, rewards, values[world.states], mask)[0].abs().max())
            for cfg in cfgs
        )
    assert largest["right"] < 1e-12
    assert largest["kl sign"] > 0.1


def learn(
    cfg: PPO,
    bandit: Bandit,
    *,
    seed: int = 0,
    rewards_of: Callable[..., Tensor] = SHAPES["right"],
    ratio_to: str = "old",
    texts: Tensor | None = None,
) -> Tensor:
    """Sample, judge, assign credit, learn, again and again; returns the averaged table.

    The rate falls to 0. Where every advantage vanishes at the optimum that is not needed: it is for
    REINFORCE without a baseline, for whitening and for web text, whose noise stays.

    Args:
        texts: (N,) probabilities of responses as web text, whose next-token loss is mixed in with
            weight `cfg.ptx_coef`; a token mean like the policy's loss.
    """
    world, generator = bandit.world, torch.Generator().manual_seed(seed)
    policy = bandit.reference.clone().requires_grad_()
    critic = torch.zeros(world.num_states, dtype=torch.float64, requires_grad=True)
    num_steps = 800 if cfg.episodes_per_minibatch == cfg.episodes_per_step else 200
    optimizer = torch.optim.Adam([policy, critic], lr=LR, betas=cfg.adam.betas)
    average = [policy.detach().clone()]
    for step in range(num_steps):
        optimizer.param_groups[0]["lr"] = LR * (1 - step / num_steps)
        drawn = world.probabilities(policy).multinomial(
            cfg.episodes_per_step, replacement=True, generator=generator
        )
        mask, states = world.mask[drawn], world.states[drawn]
        old, ref = world.logprobs(policy)[drawn].detach(), world.logprobs(bandit.reference)[drawn]
        old_values = critic[states].detach() * (cfg.value != "none")
        rewards = rewards_of(bandit.scores[drawn], old, ref, mask, bandit.beta)
        advantages, returns = assign_credit(cfg, rewards, old_values, mask)
        if cfg.whiten_advantages:
            advantages = whiten(advantages, mask)
        base = old if ratio_to == "old" else ref
        for rows in minibatches(cfg, len(drawn), generator):
            new, count = world.logprobs(policy)[drawn[rows]], int(mask[rows].sum())
            losses = policy_losses(cfg, new, base[rows], advantages[rows])
            loss = masked_sum(losses, mask[rows])[0] / count
            if cfg.value != "none":
                errors = value_clip_loss(
                    critic[states[rows]], old_values[rows], returns[rows], clip=cfg.value_clip
                )
                loss = loss + masked_sum(errors, mask[rows])[0] / count
            if texts is not None:
                read = texts.multinomial(256, replacement=True, generator=generator)
                next_token, tokens = masked_sum(-world.logprobs(policy)[read], world.mask[read])
                loss = loss + cfg.ptx_coef * next_token / tokens
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ema_update_(average, [policy.detach()], decay=0.95)
    return average[0]


def policy_losses(cfg: PPO, new: Tensor, old: Tensor, advantages: Tensor) -> Tensor:
    if cfg.inner_epochs == 1 and cfg.episodes_per_step == cfg.episodes_per_minibatch:
        return reinforce_loss(new, advantages)  # one step on fresh samples needs no ratio
    if cfg.loss == "klpen":
        return ppo_klpen_loss(new, old, advantages, kl_coef=cfg.klpen_coef)
    return ppo_clip_loss(new, old, advantages, clip=cfg.clip)


def setting(config, estimator: str, loss: str) -> PPO:
    """A batch of 240, and for PPO two passes over it in two minibatches."""
    value = "separate" if estimator in ("gae", "rewards_to_go with V") else "none"
    cfg = config(
        estimator=estimator.removesuffix(" with V"),
        value=value,
        lam=0.95,
        loss="klpen" if loss == "klpen" else "clip",
        samples_per_prompt=4,
    )
    once = loss == "reinforce"
    return replace(
        cfg,
        episodes_per_step=240,
        episodes_per_minibatch=240 if once else 120,
        episodes_per_backward=60,
        inner_epochs=1 if once else 2,
    )


@pytest.fixture(params=["one token", pytest.param("one to three tokens", marks=pytest.mark.learn)])
def learnable(request, world) -> Bandit:
    if request.param == "one token":
        return one_token(world, 10, 0.2)
    return three_tokens(world, ends_early=True)


def assert_arrived(bandit: Bandit, table: Tensor) -> None:
    assert bandit.kl_to(table, bandit.optimum) < NEAR
    assert float(bandit.objective(table)) == pytest.approx(float(bandit.value), rel=SHARE)


@pytest.mark.parametrize(
    ("estimator", "loss"),
    [
        ("gae", "clip"),  # PPO
        ("gae", "klpen"),  # PPO-KL
        ("rloo", "clip"),
        ("rloo", "reinforce"),
        ("bandit", "reinforce"),  # REINFORCE with the whole return
        ("rewards_to_go", "reinforce"),
        ("rewards_to_go with V", "reinforce"),
        ("batch_mean", "reinforce"),
    ],
)
def test_every_algorithm_reaches_the_optimum(learnable, config, estimator, loss):
    cfg = setting(config, estimator, loss)
    assert_arrived(learnable, learn(cfg, learnable))


def test_trpo_reaches_the_optimum(learnable, config):
    """The bound on the KL falls to 0: unlike a gradient, such a step does not shrink by itself."""
    generator, num_steps = torch.Generator().manual_seed(0), 200
    table = learnable.reference.clone()
    cfg = setting(config, "rloo", "clip")
    for step in range(num_steps):
        bound = 0.05 * (1 - step / num_steps) ** 2
        table = trpo_step(cfg, learnable, table, generator, bound=bound)
    assert_arrived(learnable, table)


def trpo_step(
    cfg: PPO, bandit: Bandit, start: Tensor, generator: torch.Generator, *, bound: float
) -> Tensor:
    """The natural direction, as far as the KL allows, halved until the surrogate rises."""
    world, table = bandit.world, start.clone().requires_grad_()
    drawn = world.probabilities(start).multinomial(
        cfg.episodes_per_step, replacement=True, generator=generator
    )
    mask, count = world.mask[drawn], int(world.mask[drawn].sum())
    old, ref = world.logprobs(start)[drawn], world.logprobs(bandit.reference)[drawn]
    rewards = shape_rewards(bandit.scores[drawn], old, ref, mask, kl_coef=bandit.beta)
    advantages, _ = assign_credit(cfg, rewards, torch.zeros_like(old), mask)

    def gain_and_kl(new: Tensor) -> tuple[Tensor, Tensor]:
        ratio = (world.logprobs(new)[drawn] - old).exp()
        kl = categorical_kl(start, new)[world.states[drawn]]
        return masked_sum(ratio * advantages, mask)[0] / count, masked_sum(kl, mask)[0] / count

    gain, kl = gain_and_kl(table)
    product = fisher_vector_product(kl, [table], damping=1e-3)
    (gradient,) = torch.autograd.grad(gain, table)
    natural = conjugate_gradient(product, gradient.flatten(), num_steps=20)
    move = trust_region_step(natural, product, max_kl=bound).view_as(start)
    for _ in range(10):
        new_gain, new_kl = gain_and_kl(start + move)
        if new_gain > gain and new_kl <= bound:
            return start + move
        move = move / 2
    return start


def test_whitened_advantages_reach_it_too(learnable, config):
    """Dividing by the deviation changes the way, not the end."""
    cfg = replace(setting(config, "gae", "clip"), whiten_advantages=True)
    assert_arrived(learnable, learn(cfg, learnable))


@pytest.mark.learn
def test_three_tokens_of_one_length(world, config):
    bandit = three_tokens(world, ends_early=False)
    assert_arrived(bandit, learn(setting(config, "gae", "clip"), bandit))


@pytest.mark.learn
@pytest.mark.parametrize("ptx_coef", [0.5, 3.0])
def test_with_pretraining_mixed_in_the_combined_optimum_is_reached(world, config, ptx_coef):
    """J and the log-likelihood of web text are both means over tokens, as in the stage. The optimum
    has no closed form any more: it is found by L-BFGS on the objective itself, in float64."""
    bandit = three_tokens(world, ends_early=False)
    generator = torch.Generator().manual_seed(9)
    texts = torch.randn(27, generator=generator, dtype=torch.float64).softmax(0)

    def combined(table: Tensor) -> Tensor:
        likelihood = (texts * bandit.world.logprobs(table).sum(1)).sum()
        return (bandit.objective(table) + ptx_coef * likelihood) / 3

    best = directly(combined, bandit.reference)
    cfg = replace(setting(config, "gae", "clip"), ptx_coef=ptx_coef, pretraining="unused", lam=1.0)
    table = learn(cfg, bandit, texts=texts)
    log_star = bandit.world.logprobs(best).sum(1)
    assert bandit.kl_to(table, log_star) < NEAR
    assert float(combined(table)) == pytest.approx(float(combined(best)), rel=SHARE)
    # and it is another place than without the text
    assert bandit.kl_to(best, bandit.optimum) > CLEAR
    assert bandit.kl_to(learn(replace(cfg, ptx_coef=0.0), bandit), log_star) > CLEAR


def directly(objective: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    table = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [table], max_iter=2000, tolerance_grad=1e-10, tolerance_change=1e-16,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -objective(table)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert table.grad is not None
    assert float(table.grad.norm()) < 1e-7
    return table.detach()


@pytest.mark.learn
@pytest.mark.parametrize("mistake", [name for name in SHAPES if name != "right"])
def test_mistakes_in_the_reward_end_elsewhere(world, config, mistake):
    bandit = three_tokens(world, ends_early=True)
    cfg = setting(config, "gae", "clip")
    table = learn(cfg, bandit, rewards_of=SHAPES[mistake])
    assert bandit.kl_to(table, bandit.optimum) > CLEAR


@pytest.mark.learn
def test_mistake_ratio_against_the_reference_ends_elsewhere(world, config):
    """Whoever has moved 20 % from the reference is clipped for good."""
    bandit = three_tokens(world, ends_early=True)
    table = learn(setting(config, "gae", "clip"), bandit, ratio_to="reference")
    assert bandit.kl_to(table, bandit.optimum) > CLEAR
