"""Proofs 1 and 4 on the stage itself: a small transformer, and everything it can say.

`judge` makes an experience of all responses, `accumulate` the gradients of its first minibatch.
Only sampling is replaced, by writing every response down. The answer is autograd's: the model in
float64 with transformers' own forward pass, and the objective summed over all responses.

A response is weighed by its probability through its advantages: at ratio 1 the gradient of both of
PPO's losses is proportional to them.
"""

import copy
from dataclasses import dataclass, replace

import pytest
import torch
from tokenizers import Tokenizer, models
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from trivium.config import PPO
from trivium.maths import whiten
from trivium.models import Critic, Policy
from trivium.rewards.spec import RewardSpec
from trivium.rollouts import Episodes
from trivium.stages.ppo_experience import Experience, RewardScale, assign_credit, judge
from trivium.stages.ppo_learn import accumulate, check_first_ratio, learn, take
from trivium.stages.ppo_models import Judge, Networks
from trivium.stages.ppo_setup import make_optimizers
from trivium.stages.rows import Prompts
from trivium.text import Codec, from_lists

KL_COEF, PROMPT = 0.7, [1, 2]
EXACT = 1e-4
"""Relative error that rounding in float32 may cause."""

CLEAR = 0.05
"""Relative error that a mistake must at least cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A world, the networks that live in it, and the score of each response."""

    world: object
    networks: Networks
    scores: dict[str, float]
    temperature: float

    def objective(self, *, kl_coef: float, missing_eos_score: float | None = None) -> Tensor:
        """Gradient of J by autograd over the model in float64, as one flat vector."""
        model = copy.deepcopy(self.networks.policy.model).double()
        log_p = self.logprobs(model).sum(1)
        log_q = self.logprobs(copy.deepcopy(self.networks.reference.model).double()).sum(1)
        scores = torch.tensor([self.scores[text] for text in texts_of(self.world)]).double()
        if missing_eos_score is not None:
            scores[~self.finished()] = missing_eos_score
        log_q = log_q.detach()
        return flat_gradient((log_p.exp() * (scores - kl_coef * (log_p - log_q))).sum(), model)

    def logprobs(self, model: nn.Module) -> Tensor:
        """(N, T), by transformers' forward pass on each response padded with token 0."""
        n = len(self.world)
        ids = torch.cat([torch.tensor(PROMPT).expand(n, -1), self.world.tokens], 1)
        logits = model(input_ids=ids).logits[:, len(PROMPT) - 1 : -1] / self.temperature
        chosen = logits.log_softmax(-1).gather(2, self.world.tokens[:, :, None]).squeeze(2)
        return chosen.masked_fill(~self.world.mask, 0.0)

    def weights(self) -> Tensor:
        """(N,) probability of each response."""
        with torch.no_grad():
            return self.logprobs(copy.deepcopy(self.networks.policy.model).double()).sum(1).exp()

    def finished(self) -> Tensor:
        return torch.tensor([self.ends() and 0 in y for y in self.world.responses])

    def ends(self) -> bool:
        return not bool(self.world.mask.all())


def flat_gradient(objective: Tensor, model: nn.Module) -> Tensor:
    return torch.cat(
        [g.flatten() for g in torch.autograd.grad(objective, list(model.parameters()))]
    )


def texts_of(world) -> list[str]:
    """What the reward sees: the words of the tokens, without the end."""
    end = 0 if not bool(world.mask.all()) else None
    return [" ".join("abc"[t] for t in y if t != end) for y in world.responses]


def make_case(world, tiny_model, *, critic: str | None, temperature: float = 1.0) -> Case:
    torch.manual_seed(5)
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 2}, unk_token="a"))
    ends = not bool(world.mask.all())
    codec = Codec(
        tokenizer=PreTrainedTokenizerFast(tokenizer_object=words),
        end_id=0 if ends else 99,
        bos_id=None,
        reserved=frozenset(),
        hash="words",
    )
    policy = Policy(model=tiny_model("llama", 3, seed=1), codec=codec, name="policy")
    heads = {
        "separate": lambda: Critic(
            tiny_model("llama", 3, seed=3).base_model, nn.Linear(32, 1), False
        ),
        "shared": lambda: Critic(policy.model, nn.Linear(32, 1), True),
    }
    generator = torch.Generator().manual_seed(6)
    scores = dict(
        zip(texts_of(world), torch.randn(len(world), generator=generator).tolist(), strict=True)
    )
    judges = Judge(
        specs=(RewardSpec(name="table", weight=1.0, target="table"),),
        models={},
        functions={"table": lambda _, responses: [scores[r] for r in responses]},
        timeout_seconds=60.0,
    )
    networks = Networks(
        policy=policy,
        reference=Policy(model=tiny_model("llama", 3, seed=2), codec=codec, name="reference"),
        critic=None if critic is None else heads[critic](),
        judge=judges,
        average=None,
    )
    return Case(world=world, networks=networks, scores=scores, temperature=temperature)


def experience_of(cfg: PPO, case: Case, rows: Tensor, cpu, kl_coef: float) -> Experience:
    """What `judge` makes of these responses."""
    prompts = Prompts(ids=["p"], messages=[[{"role": "user", "content": "b c"}]], tokens=[PROMPT])
    responses = [list(case.world.responses[i]) for i in rows.tolist()]
    with torch.no_grad():
        drawn_with = case.logprobs(copy.deepcopy(case.networks.policy.model).double())[rows]
    episodes = Episodes(
        sequences=from_lists([PROMPT] * len(rows), responses),
        sampler_logprobs=drawn_with[case.world.mask[rows]].float(),
        finished=case.finished()[rows],
    )
    return judge(
        cfg, case.networks, episodes, prompts, [0] * (len(rows) // cfg.samples_per_prompt),
        kl_coef=kl_coef, scale=RewardScale(mean=0.0, std=1.0), compute=cpu,
    )  # fmt: skip


def gradient_of(cfg: PPO, case: Case, experience: Experience, advantages: Tensor, cpu) -> Tensor:
    """Minus the gradient that `accumulate` leaves, times the count it divides by: a sum."""
    batch = take(experience, advantages.float(), torch.arange(len(advantages)))
    case.networks.policy.model.zero_grad()
    metrics = accumulate(cfg, case.networks, batch, klpen_coef=0.1, compute=cpu)
    check_first_ratio(metrics["policy/ratio_deviation_first"], cpu)
    found = [p.grad.flatten() for p in case.networks.policy.model.parameters()]
    return -torch.cat(found).double() * int(batch.mask.sum())


def settings(base: PPO, case: Case) -> PPO:
    """All responses in one minibatch, read in parts, at the temperature of the case."""
    sampling = replace(base.sampling, temperature=case.temperature)
    return replace(base, sampling=sampling)


def expected_gradient(cfg: PPO, case: Case, cpu, kl_coef: float = KL_COEF) -> Tensor:
    """The first minibatch's gradient in expectation over responses, or over groups of them."""
    n, k = len(case.world), cfg.samples_per_prompt
    rows = torch.cartesian_prod(*[torch.arange(n)] * k).view(-1)
    weights = case.weights()[rows].view(-1, k).prod(1).repeat_interleave(k) / k
    experience = experience_of(cfg, case, rows, cpu, kl_coef)
    return gradient_of(cfg, case, experience, experience.advantages * weights[:, None], cpu)


@pytest.fixture(params=["fixed", "ragged"])
def world(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("choices", "temperature"),
    [
        ({"estimator": "bandit", "value": "none"}, 1.0),
        ({"estimator": "rewards_to_go", "value": "none"}, 1.0),
        ({"estimator": "rewards_to_go", "value": "separate"}, 1.0),
        ({"estimator": "gae", "value": "separate"}, 1.0),
        ({"estimator": "gae", "value": "separate"}, 0.6),
        ({"estimator": "gae", "value": "separate", "loss": "klpen"}, 1.0),
        ({"estimator": "rloo", "value": "none", "samples_per_prompt": 2}, 1.0),
    ],
)
def test_first_minibatch_of_the_stage_is_the_exact_gradient(
    world, tiny_model, config, cpu, off, choices, temperature
):
    critic = None if choices["value"] == "none" else choices["value"]
    case = make_case(world, tiny_model, critic=critic, temperature=temperature)
    base = config(**choices)
    got = expected_gradient(settings(base, case), case, cpu)
    assert off(got, case.objective(kl_coef=KL_COEF)) < EXACT


def test_a_score_for_a_missing_end_is_part_of_the_objective(ragged, tiny_model, config, cpu, off):
    case = make_case(ragged, tiny_model, critic=None)
    base = config(estimator="rewards_to_go", value="none")
    cfg = replace(settings(base, case), missing_eos_score=-1.0)
    got = expected_gradient(cfg, case, cpu)
    assert off(got, case.objective(kl_coef=KL_COEF, missing_eos_score=-1.0)) < EXACT
    assert off(got, case.objective(kl_coef=KL_COEF)) > CLEAR


def test_a_shared_trunk_adds_the_value_loss_and_nothing_else(fixed, tiny_model, config, cpu, off):
    case = make_case(fixed, tiny_model, critic="shared")
    cfg = replace(settings(config(value="shared"), case), value_coef=0.0)
    assert off(expected_gradient(cfg, case, cpu), case.objective(kl_coef=KL_COEF)) < EXACT
    cfg = replace(cfg, value_coef=0.1)
    assert off(expected_gradient(cfg, case, cpu), case.objective(kl_coef=KL_COEF)) > CLEAR


# Proof 4: PPO with the mean of the siblings for a critic is RLOO.


def leave_one_out(case: Case, totals: Tensor, k: int) -> Tensor:
    """Gradient of mean_i A_i log pi(y_i), by transformers: RLOO as its paper writes it."""
    groups = totals.double().view(-1, k)
    advantages = groups - (groups.sum(1, keepdim=True) - groups) / (k - 1)
    model = copy.deepcopy(case.networks.policy.model).double()
    log_p = case.logprobs(model).sum(1)
    return flat_gradient((advantages.flatten() * log_p).sum(), model)


def siblings_mean(totals: Tensor, k: int, *, with_itself: bool = False) -> Tensor:
    groups = totals.view(-1, k)
    total = groups.sum(1, keepdim=True).expand_as(groups)
    return (total / k if with_itself else (total - groups) / (k - 1)).flatten()


@pytest.fixture
def first_minibatch(ragged, tiny_model, config, cpu):
    """All 15 responses as three answers each to five prompts; beta 0."""
    case = make_case(ragged, tiny_model, critic=None)
    rloo = settings(config(estimator="rloo", value="none", samples_per_prompt=3), case)
    experience = experience_of(rloo, case, torch.arange(15), cpu, kl_coef=0.0)
    return case, rloo, experience, experience.rewards.sum(1)


@pytest.mark.parametrize("loss", ["clip", "klpen"])
def test_ppo_with_the_siblings_mean_for_a_critic_is_rloo(first_minibatch, cpu, off, loss):
    case, rloo, experience, totals = first_minibatch
    ppo = replace(rloo, estimator="gae", value="separate", lam=1.0, loss=loss)
    values = siblings_mean(totals, 3)[:, None].expand_as(experience.mask)
    advantages, _ = assign_credit(ppo, experience.rewards, values, experience.mask)
    ppo_gradient = gradient_of(replace(rloo, loss=loss), case, experience, advantages, cpu)
    rloo_gradient = gradient_of(rloo, case, experience, experience.advantages, cpu)
    assert off(ppo_gradient, rloo_gradient) < 1e-6
    assert off(ppo_gradient, leave_one_out(case, totals, 3)) < EXACT


@pytest.mark.parametrize("mistake", ["lambda", "own mean", "whitened", "mean of means"])
def test_and_with_a_mistake_it_is_not(first_minibatch, cpu, off, mistake):
    case, rloo, experience, totals = first_minibatch
    ppo = replace(rloo, estimator="gae", value="separate", lam=0.5 if mistake == "lambda" else 1.0)
    mean = siblings_mean(totals, 3, with_itself=mistake == "own mean")
    values = mean[:, None].expand_as(experience.mask)
    advantages, _ = assign_credit(ppo, experience.rewards, values, experience.mask)
    if mistake == "whitened":
        advantages = whiten(advantages, experience.mask)
    if mistake == "mean of means":
        advantages = advantages / experience.mask.sum(1, keepdim=True)
    got = gradient_of(rloo, case, experience, advantages, cpu)
    assert off(got, leave_one_out(case, totals, 3)) > CLEAR


# What `learn` does to the advantages before the first minibatch.


def weights_after(ragged, tiny_model, config, cpu, *, whitened: bool, change) -> Tensor:
    """All weights of the policy after one optimizer step, its advantages changed beforehand."""
    case = make_case(ragged, tiny_model, critic=None)
    cfg = settings(config(estimator="rewards_to_go", value="none"), case)
    cfg = replace(cfg, whiten_advantages=whitened, lr=1e-3, warmup_steps=0)
    experience = experience_of(cfg, case, torch.arange(15), cpu, KL_COEF)
    changed = replace(experience, advantages=change(experience.advantages, experience.mask))
    learn(
        cfg, case.networks, make_optimizers(cfg, case.networks), changed, None, None,
        step=0, klpen_coef=1.0, compute=cpu, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    return torch.cat([p.detach().flatten() for p in case.networks.policy.model.parameters()])


def test_whitening_is_over_all_answer_tokens_of_a_step_and_over_them_alone(
    ragged, tiny_model, config, cpu
):
    """Then neither the unit of the advantages, nor their mean, nor what stands in the padding
    matters; without whitening the mean does."""
    as_they_are = lambda a, _: a  # noqa: E731
    moved = lambda a, mask: torch.where(mask, 3.0 * a + 5.0, 1e3)  # noqa: E731
    after = {
        (whitened, change): weights_after(
            ragged, tiny_model, config, cpu, whitened=whitened, change=change
        )
        for whitened in (True, False)
        for change in (as_they_are, moved)
    }
    torch.testing.assert_close(
        after[True, as_they_are], after[True, moved], rtol=0, atol=2e-5
    )  # of a step of 1e-3
    assert float((after[False, as_they_are] - after[False, moved]).abs().max()) > 1e-3


# Negative controls of what only a network can get wrong.


def test_mistake_scored_at_another_temperature(fixed, tiny_model, config, cpu, off):
    """Sampled at 0.6, scored at 1: weights of one law, gradients of another."""
    sampled = make_case(fixed, tiny_model, critic=None, temperature=0.6)
    scored = replace(sampled, temperature=1.0)
    cfg = settings(config(estimator="rewards_to_go", value="none"), scored)
    experience = experience_of(cfg, scored, torch.arange(27), cpu, KL_COEF)
    weighted = experience.advantages * sampled.weights()[:, None]
    got = gradient_of(cfg, scored, experience, weighted, cpu)
    assert off(got, sampled.objective(kl_coef=KL_COEF)) > CLEAR


def test_mistake_logits_read_one_place_late(fixed, tiny_model, config, cpu, off):
    """Logits at t describe token t + 1. Read at t they are those of another token."""
    case = make_case(fixed, tiny_model, critic=None)
    model = copy.deepcopy(case.networks.policy.model).double()
    cfg = settings(config(estimator="rewards_to_go", value="none"), case)
    experience = experience_of(cfg, case, torch.arange(27), cpu, KL_COEF)
    ids = torch.cat([torch.tensor(PROMPT).expand(27, -1), case.world.tokens], 1)
    weighted = (experience.advantages * case.weights()[:, None]).double()
    errors = []
    for start in (len(PROMPT) - 1, len(PROMPT)):  # the right place, and one later
        logits = model(input_ids=ids).logits[:, start : start + 3]
        log_p = logits.log_softmax(-1).gather(2, case.world.tokens[:, :, None]).squeeze(2)
        gradient = flat_gradient((weighted * log_p).sum(), model)
        errors.append(off(gradient, case.objective(kl_coef=KL_COEF)))
    assert errors[0] < EXACT
    assert errors[1] > CLEAR


def test_mistake_every_micro_batch_divided_by_its_own_count(ragged, tiny_model, config, cpu, off):
    """Sums over the minibatch's count do not depend on how it is cut; means of means do."""
    case = make_case(ragged, tiny_model, critic=None)
    cfg = settings(config(estimator="rewards_to_go", value="none"), case)
    experience = experience_of(cfg, case, torch.arange(15), cpu, KL_COEF)
    count = int(experience.mask.sum())

    def own_mean(rows: Tensor) -> Tensor:
        """What a trainer gets that takes the mean of each micro-batch."""
        advantages = torch.zeros_like(experience.advantages)
        advantages[rows] = experience.advantages[rows] / int(experience.mask[rows].sum())
        return gradient_of(cfg, case, experience, advantages, cpu)

    parts = torch.arange(15).split(4)
    means = sum(own_mean(rows) for rows in parts) / len(parts)
    whole = gradient_of(cfg, case, experience, experience.advantages, cpu) / count
    in_fours = replace(cfg, episodes_per_backward=4)
    cut = gradient_of(in_fours, case, experience, experience.advantages, cpu) / count
    assert off(cut, whole) < EXACT
    assert off(means, whole) > CLEAR
