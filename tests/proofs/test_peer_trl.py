"""Proof 5: TRL 1.12.0's PPO and ours, on the same weights, answers and rewards.

TRL's figures stand in trl-1.12.0.json, written by benchmarks/peer_update.py, which drives TRL's own
trainer; `make test-peers` runs it again. Ours come from the stage: `judge`, then `learn`. Where the
two define the same thing, they must agree; where they do not, the difference must be the predicted
one. The table of differences is in docs/proofs.md.

Legend: B = 8 answers, T = 5 tokens at most, N tokens in all answers.
"""

import copy
import json
import math
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from trivium import maths
from trivium.config import PPO, Adam, Sampling
from trivium.labels import Ranking
from trivium.models import (
    RewardModel,
    load_policy,
    load_reward_model,
    response_logprobs,
    separate_critic,
)
from trivium.rewards import score_sequences
from trivium.rewards.spec import RewardSpec
from trivium.rollouts import Episodes
from trivium.stages.ppo_experience import Experience, RewardScale, assign_credit, judge
from trivium.stages.ppo_learn import learn
from trivium.stages.ppo_models import Judge, Networks
from trivium.stages.ppo_setup import make_optimizers
from trivium.stages.reward import score_rankings
from trivium.stages.rows import Prompts, Rankings, encode_rankings
from trivium.text import encode_prompt, from_lists

ROOT = Path(__file__).parents[2]
RECORD = Path(__file__).parent / "trl-1.12.0.json"
PAIR_RECORD = Path(__file__).parent / "trl-1.16.0-pairs.json"

END, PAD = 0, 1
WORDS = ["<|end|>", "<|pad|>", *"abcdefghij"]
TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %} <|end|>{% endif %}{% endfor %}"
)
QUESTIONS = ["a b", "c", "d e f", "b b", "g h i j", "j a", "f", "e d c"]
WHOLE = ["a b c d", "d c b a", "e e f g", "h i j a", "b d f h", "j j j j", "c a e i", "g f d b"]
RAGGED = ["a b c d", "d", "e e f", "", "b d f h", "j j", "c a e i", "g f d"]
"""Of 5, 2, 4, 1, 5, 3, 5 and 4 tokens, the end among them."""

CASES = {
    "whole": {"answers": WHOLE, "weights": True},
    "ragged": {
        "answers": RAGGED, "lam": 1.0, "passes": 1, "per_backward": 8, "weights": True,
    },
    "below one": {"answers": RAGGED, "lam": 0.6, "passes": 1, "per_backward": 8},
    "in parts": {"answers": RAGGED, "lam": 1.0, "passes": 1, "weights": True},
    "last batch": {"answers": WHOLE, "passes": 1, "batches_of_prompts": 1},
    "no end": {"answers": [*WHOLE[:7], "g f d b a"], "passes": 1, "missing_eos_penalty": 1.5},
    "pad is end": {"answers": RAGGED, "passes": 1, "pad": "<|end|>"},
}  # fmt: skip
COMMON = {
    "pad": "<|pad|>", "temperature": 0.7, "kl_coef": 0.3, "lam": 0.95, "clip": 0.2,
    "value_clip": 0.2, "value_coef": 1.0, "missing_eos_penalty": None, "passes": 3,
    "per_backward": 2, "batches_of_prompts": 2, "lr": 0.03, "betas": [0.9, 0.95], "eps": 0.01,
    "weights": False,
}  # fmt: skip
"""Weights are recorded where they are compared. Adam's epsilon is large so that the rounding of a
gradient near 0 is no whole step."""

EXACT = 1e-5
"""Largest difference, relative to the largest number, that rounding in float32 may cause."""

AFTER_STEPS = 1e-4
"""The same for a weight after three updates, in steps of the optimizer."""

CLEAR = 100 * EXACT
"""Smallest difference that a mistake must cause."""


# The world: a vocabulary of twelve words and four small models whose weights are a formula.


def make_tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token=WORDS[END], pad_token=WORDS[PAD],
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def fill(model: nn.Module, phase: float) -> nn.Module:
    """Weights that look random and are the same on every machine."""
    with torch.no_grad():
        for number, weight in enumerate(model.parameters()):
            n = torch.arange(1, weight.numel() + 1, dtype=torch.float64)
            waves = torch.sin(12.9898 * n + 0.37 * n * n + 78.233 * (number + 1) + phase)
            scale, centre = (0.2, 1.0) if weight.ndim == 1 else (0.8, 0.0)
            weight.copy_((centre + scale * waves).view_as(weight))
    return model


def write_world(folder: Path) -> None:
    shape = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=4, intermediate_size=8, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=32,
        tie_word_embeddings=False, bos_token_id=None, eos_token_id=END, pad_token_id=PAD,
        num_labels=1,
    )  # fmt: skip
    tokenizer = make_tokenizer()
    kinds = {
        "policy": AutoModelForCausalLM,
        "reference": AutoModelForCausalLM,
        "reward": AutoModelForSequenceClassification,
        "critic": AutoModelForSequenceClassification,
    }
    for phase, (name, kind) in enumerate(kinds.items()):
        # The reference is near the policy, as it is in a run.
        model = fill(kind.from_config(shape), 0.1 * phase if phase < 2 else phase)
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Our side of a case, before the first update."""

    cfg: PPO
    networks: Networks
    experience: Experience
    theirs: dict

    def told(self, name: str) -> Tensor:
        """One of TRL's figures, (B, T) or (B,)."""
        return torch.tensor(self.theirs["experience"][name])

    def rows(self, name: str) -> Tensor:
        """One of TRL's figures on the tokens of answers, 0 elsewhere."""
        return self.told(name).masked_fill(~self.experience.mask, 0.0)


def settings(case: dict) -> PPO:
    batch = len(QUESTIONS)
    return PPO(
        policy="unused", reward=("unused",), prompts="unused",
        sampling=Sampling(temperature=case["temperature"]),
        episodes_per_step=batch, episodes_per_minibatch=batch, episodes_per_backward=4,
        inner_epochs=case["passes"], kl_coef=case["kl_coef"], lam=case["lam"], clip=case["clip"],
        value_clip=case["value_clip"], lr=case["lr"], value_lr=case["lr"], warmup_steps=0,
        adam=Adam(betas=tuple(case["betas"]), eps=case["eps"], max_grad_norm=1e9),
        missing_eos="subtract", missing_eos_score=case["missing_eos_penalty"],
        whiten_advantages=False,
    )  # fmt: skip


def load_networks(folder: Path, cpu) -> Networks:
    policy = load_policy(str(folder / "policy"), cpu)
    critic = separate_critic(policy, load_reward_model(str(folder / "critic"), cpu))
    critic.head.bias.requires_grad_(False)  # TRL's has none
    judges = Judge(
        specs=(RewardSpec(name="reward", weight=1.0, target="reward"),),
        models={"reward": load_reward_model(str(folder / "reward"), cpu)},
        functions={},
        timeout_seconds=60.0,
    )
    reference = load_policy(str(folder / "reference"), cpu)
    return Networks(policy=policy, reference=reference, critic=critic, judge=judges, average=None)


def whole_case(name: str) -> dict:
    return COMMON | CASES[name]


def answer_ids(name: str) -> list[list[int]]:
    """The answers as tokens; one of five words has no room for its end."""
    answers = [[WORDS.index(word) for word in text.split()] for text in CASES[name]["answers"]]
    return [[*ids, END][:5] for ids in answers]


def padded(ids: list[int], pad: str) -> list[int]:
    return [*ids, *[WORDS.index(pad)] * 4][:5]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    return folder


@pytest.fixture(scope="module")
def record() -> dict:
    return json.loads(RECORD.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def side(folder, record, cpu) -> Callable[[str], Ours]:
    """Return a function from a case's name to our side of it; nothing may change it."""
    networks = load_networks(folder, cpu)
    return cache(lambda name: make_side(name, networks, record[name], cpu))


def make_side(name: str, networks: Networks, theirs: dict, cpu) -> Ours:
    """What `judge` makes of the answers of a case."""
    cfg = settings(whole_case(name))
    messages = [[{"role": "user", "content": text}] for text in QUESTIONS]
    tokens = [encode_prompt(networks.policy.codec, m, where="here") for m in messages]
    responses = answer_ids(name)
    sequences = from_lists(tokens, responses)
    with torch.no_grad():
        drawn_with, _ = response_logprobs(
            networks.policy.model, sequences, cpu, temperature=cfg.sampling.temperature
        )
    episodes = Episodes(
        sequences=sequences,
        sampler_logprobs=drawn_with,
        finished=torch.tensor([ids[-1] == END for ids in responses]),
    )
    prompts = Prompts(ids=QUESTIONS, messages=messages, tokens=tokens)
    experience = judge(
        cfg, networks, episodes, prompts, list(range(len(QUESTIONS))), kl_coef=cfg.kl_coef,
        scale=RewardScale(mean=0.0, std=1.0), compute=cpu,
    )  # fmt: skip
    return Ours(cfg=cfg, networks=networks, experience=experience, theirs=theirs)


def off(got: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest number expected."""
    return float((got - expected).abs().max() / expected.abs().max())


def bessel(mask: Tensor) -> float:
    """TRL's variance divides by N - 1, ours by N: what that makes of a whitened advantage."""
    count = int(mask.sum())
    return math.sqrt((count - 1) / count)


def learn_from(ours: Ours, experience: Experience, cpu) -> tuple[dict[str, float], Networks]:
    """`learn` on advantages that are whitened as TRL does; the networks afterwards."""
    whitened = maths.whiten(experience.advantages, experience.mask) * bessel(experience.mask)
    policy, critic = ours.networks.policy, ours.networks.critic
    own = replace(
        ours.networks,
        policy=replace(policy, model=copy.deepcopy(policy.model)),
        critic=replace(critic, trunk=copy.deepcopy(critic.trunk), head=copy.deepcopy(critic.head)),
    )
    metrics = learn(
        ours.cfg, own, make_optimizers(ours.cfg, own), replace(experience, advantages=whitened),
        None, None, step=0, klpen_coef=1.0, compute=cpu,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    return metrics, own


def policy_off(own: Networks, ours: Ours) -> float:
    """Largest difference of a weight of the policy from TRL's, in steps of the optimizer."""
    named = dict(own.policy.model.named_parameters())
    return weights_off(named, ours.theirs["policy"], ours.cfg.lr)


def critic_off(own: Networks, ours: Ours) -> float:
    named = {f"model.{name}": p for name, p in own.critic.trunk.named_parameters()}
    named["score.weight"] = own.critic.head.weight
    return weights_off(named, ours.theirs["critic"], ours.cfg.lr)


def weights_off(named: dict[str, Tensor], theirs: dict[str, list[float]], step: float) -> float:
    assert named.keys() == theirs.keys()
    worst = [
        (named[name].detach().flatten() - torch.tensor(theirs[name])).abs().max() for name in named
    ]
    return float(max(worst)) / step


# Where both define the same thing.


@pytest.mark.parametrize("name", ["whole", "ragged", "below one", "in parts"])
def test_logprobs_kl_scores_and_values_are_trls(side, name):
    ours = side(name)
    found = ours.experience
    assert off(found.old_logprobs, ours.rows("logprobs")) < EXACT
    assert off(found.ref_logprobs, ours.rows("ref_logprobs")) < EXACT
    assert off(found.kl_nats, ours.rows("kl").sum(1)) < EXACT
    assert off(found.scores, ours.told("scores")) < EXACT
    assert off(found.values, ours.rows("values")) < EXACT
    assert float(found.kl_nats.abs().min()) > 1e-3  # the reference is another model


def test_rewards_advantages_and_returns_are_trls(side):
    ours = side("whole")
    found = ours.experience
    assert off(found.rewards, ours.told("rewards")) < EXACT
    assert off(found.advantages, ours.told("advantages")) < EXACT
    assert off(found.returns, ours.told("returns")) < EXACT


def test_ragged_answers_have_trls_advantages_at_lambda_one(side):
    """There it makes no difference that TRL pays the score one place after the end."""
    ours = side("ragged")
    found = ours.experience
    assert off(found.advantages, ours.rows("advantages")) < EXACT
    assert off(found.returns, ours.rows("returns")) < EXACT
    assert off(found.rewards.sum(1), ours.told("rewards").sum(1)) < EXACT


def test_three_passes_end_at_trls_weights(side, cpu):
    ours = side("whole")
    metrics, own = learn_from(ours, ours.experience, cpu)
    losses = ours.theirs["losses"]
    for name, theirs in (("policy/loss", "pg_loss"), ("value/loss", "vf_loss")):
        expected = sum(one[theirs] for one in losses) / len(losses)
        assert metrics[name] == pytest.approx(expected, rel=EXACT, abs=EXACT)
    assert policy_off(own, ours) < AFTER_STEPS
    assert critic_off(own, ours) < AFTER_STEPS
    # What was compared is a real update: both clips were at work.
    assert metrics["policy/clip_share"] > 0.1
    assert metrics["value/clip_share"] > 0.1
    assert any(one["vf_clipfrac"] > 0 for one in losses)


def test_an_update_on_ragged_answers_gives_trls_policy(side, cpu):
    ours = side("ragged")
    metrics, own = learn_from(ours, ours.experience, cpu)
    assert metrics["policy/loss"] == pytest.approx(ours.theirs["losses"][0]["pg_loss"], abs=EXACT)
    assert policy_off(own, ours) < AFTER_STEPS


# Where they differ: by how much, and that this is all.


def test_whitening_differs_by_bessels_correction(side):
    ours = side("ragged")
    found = maths.whiten(ours.experience.advantages, ours.experience.mask)
    assert off(found * bessel(ours.experience.mask), ours.told("whitened")) < EXACT
    assert off(found, ours.told("whitened")) > CLEAR


def test_score_after_the_end_bends_advantages_below_lambda_one(side):
    r"""TRL: delta_end = -beta kl + V_after - V, then delta_after = R - V_after. Ours has no such
    state. The difference, (1 - lambda)(V_after - R) at the end, fades by lambda towards the start.
    """
    ours = side("below one")
    found, lam = ours.experience, ours.cfg.lam
    lengths = found.mask.sum(1)
    predicted = torch.zeros_like(found.advantages)
    for row, length in enumerate(lengths.tolist()):
        if length < found.mask.shape[1]:  # there is a place after the end
            after = ours.told("values")[row, length] - ours.told("scores")[row]
            fading = lam ** torch.arange(length - 1, -1, -1)
            predicted[row, :length] = (1 - lam) * after * fading
    assert off(found.advantages + predicted, ours.rows("advantages")) < EXACT
    assert off(found.advantages, ours.rows("advantages")) > CLEAR


def test_the_state_after_the_end_is_in_trls_value_loss(side, cpu):
    """TRL's mean is over the answer and one place more, whose target is the score."""
    ours = side("ragged")
    found = ours.experience
    metrics, own = learn_from(ours, found, cpu)
    short = found.mask.sum(1) < found.mask.shape[1]
    after = found.mask.sum(1)[short][:, None]
    values = ours.told("values")[short].gather(1, after).squeeze(1)
    extra = 0.5 * (values - ours.told("scores")[short]).square()
    count = int(found.mask.sum())
    predicted = (metrics["value/loss"] * count + float(extra.sum())) / (count + len(extra))
    assert ours.theirs["losses"][0]["vf_loss"] == pytest.approx(predicted, rel=EXACT)
    assert ours.theirs["losses"][0]["vf_loss"] != pytest.approx(metrics["value/loss"], rel=CLEAR)
    assert critic_off(own, ours) > CLEAR


def test_trl_takes_a_mean_of_means(side, cpu):
    """Cut into micro-batches, TRL's gradient is another one; ours is not."""
    ours, uncut = side("in parts"), side("ragged")
    mask = ours.experience.mask
    metrics, own = learn_from(ours, ours.experience, cpu)
    losses = [one["pg_loss"] for one in ours.theirs["losses"]]
    counts = [int(mask[one["rows"]].sum()) for one in ours.theirs["losses"]]
    together = sum(loss * n for loss, n in zip(losses, counts, strict=True)) / sum(counts)
    assert metrics["policy/loss"] == pytest.approx(together, abs=EXACT)
    assert uncut.theirs["losses"][0]["pg_loss"] == pytest.approx(together, abs=EXACT)
    assert abs(sum(losses) / len(losses) - together) > CLEAR
    assert policy_off(own, ours) > CLEAR
    assert policy_off(own, uncut) < AFTER_STEPS


def test_on_the_last_batch_of_prompts_trl_steps_after_every_micro_batch(record):
    """accelerate ends an accumulation where its data loader ends: here the loader of the prompts.

    A pass over the answers then is four steps in place of one, and its ratios leave 1 at once.
    """

    def first_pass(name: str) -> list[Tensor]:
        losses = [one for one in record[name]["losses"] if one["pass"] == 0]
        return [(torch.tensor(one["ratio"]) - 1).abs().max() for one in losses]

    assert max(first_pass("whole")) < EXACT
    first, *others = first_pass("last batch")
    assert first < EXACT
    assert min(others) > CLEAR


def test_an_answer_without_its_end_loses_the_same_and_is_scored_as_it_stands(side, cpu):
    """TRL reads the reward model at a word; we complete the text with its end, as it was trained.

    With our default, a fixed score in place of the reward, the question does not arise.
    """
    ours = side("no end")
    found, reward = ours.experience, ours.networks.judge.models["reward"]
    as_they_stand = torch.tensor(score_sequences(reward, found.episodes.sequences, cpu))
    as_they_stand[-1] -= 1.5
    assert off(as_they_stand, ours.told("scores")) < EXACT
    assert off(found.scores[:-1], ours.told("scores")[:-1]) < EXACT
    assert off(found.scores[-1:], ours.told("scores")[-1:]) > CLEAR


def test_padding_with_the_end_token_hides_the_end_from_trl(side):
    """Its masks come from token ids, ours from lengths: it loses the last token of every answer."""
    ours = side("pad is end")
    counted = (~ours.told("padding_mask")).sum(1)
    lengths = ours.experience.mask.sum(1)
    assert counted.tolist() == (lengths - 1).tolist()
    assert off(ours.experience.scores, ours.told("scores")) > CLEAR


# Negative controls: with a classical mistake on our side the update is not TRL's.


def reshaped(ours: Ours, rewards: Tensor) -> Experience:
    found = ours.experience
    advantages, returns = assign_credit(ours.cfg, rewards, found.values, found.mask)
    return replace(found, rewards=rewards, advantages=advantages, returns=returns)


def kl_with_the_wrong_sign(ours: Ours) -> Experience:
    found = ours.experience
    return reshaped(
        ours,
        maths.shape_rewards(
            found.scores, found.ref_logprobs, found.old_logprobs, found.mask,
            kl_coef=ours.cfg.kl_coef,
        ),
    )  # fmt: skip


def score_one_token_early(ours: Ours) -> Experience:
    found = ours.experience
    last = maths.last_token(found.mask)
    score = found.scores[:, None] * last
    return reshaped(ours, found.rewards - score + score.roll(-1, dims=1))


def values_after_the_token(ours: Ours) -> Experience:
    found = ours.experience
    late = found.values.roll(-1, dims=1)
    advantages, returns = assign_credit(ours.cfg, found.rewards, late, found.mask)
    return replace(found, advantages=advantages, returns=returns)


def lambda_one(ours: Ours) -> Experience:
    return reshaped(replace(ours, cfg=replace(ours.cfg, lam=1.0)), ours.experience.rewards)


@pytest.mark.parametrize(
    "mistake",
    [kl_with_the_wrong_sign, score_one_token_early, values_after_the_token, lambda_one],
)
def test_mistake_leads_away_from_trls_weights(side, cpu, mistake):
    ours = side("whole")
    _, own = learn_from(ours, mistake(ours), cpu)
    assert policy_off(own, ours) > CLEAR
    assert critic_off(own, ours) > CLEAR


# The reward model on pairs: K = 2 is what the newest TRL's RewardTrainer does.


def pairs_of(folder: Path, cpu) -> tuple[RewardModel, Rankings]:
    """Eight prompts, each with a better and a worse answer."""
    reward = load_reward_model(str(folder / "reward"), cpu)
    rows = [
        Ranking(
            id=question,
            prompt=[{"role": "user", "content": question}],
            completions=[{"text": better, "rank": 1}, {"text": worse, "rank": 2}],
        )
        for question, better, worse in zip(QUESTIONS, WHOLE, reversed(RAGGED), strict=True)
    ]
    return reward, encode_rankings(
        rows, reward.codec, max_prompt_tokens=16, max_response_tokens=16
    )[0]


def test_a_pairs_loss_and_gradient_are_those_of_trls_reward_trainer(folder, cpu):
    theirs = json.loads(PAIR_RECORD.read_text(encoding="utf-8"))
    reward, data = pairs_of(folder, cpu)
    scores = score_rankings(reward, data, list(range(data.num_prompts)), cpu)
    losses = torch.stack([maths.ranking_loss(s, data.ranks[i]) for i, s in scores.items()])
    (gradient,) = torch.autograd.grad(losses.mean(), reward.head.weight)
    assert losses.mean().item() == pytest.approx(theirs["loss"], rel=EXACT)
    assert off(gradient.flatten(), torch.tensor(theirs["head_gradient"])) < EXACT
    # The worse answer first, and the sum in place of the mean: mistakes that show.
    turned = torch.stack([maths.ranking_loss(-s, data.ranks[i]) for i, s in scores.items()])
    assert abs(turned.mean().item() - theirs["loss"]) > CLEAR
    assert abs(losses.sum().item() - theirs["loss"]) > CLEAR


@pytest.mark.peers
def test_the_record_of_pairs_is_what_trl_computes(folder, cpu, newest_trl_python):
    _, data = pairs_of(folder, cpu)
    tokens = [t.tolist() for t in data.sequences.tokens.split(data.sequences.lengths.tolist())]
    pairs = [[tokens[i] for i in places.tolist()] for places in data.completions]
    (folder / "pairs.json").write_text(json.dumps(pairs))
    script = ROOT / "benchmarks" / "peer_pair.py"
    subprocess.run([newest_trl_python, script, folder], check=True)
    found = json.loads((folder / "pair.json").read_text())
    assert_same(found, json.loads(PAIR_RECORD.read_text()), str(folder / "pair.json"))


# The record itself.


@pytest.mark.peers
def test_the_record_is_what_trl_computes(folder, record, trl_python):
    """Differs the record? If that is meant, copy the new one over the old."""
    cases = {
        name: whole_case(name)
        | {
            "answers": [padded(ids, whole_case(name)["pad"]) for ids in answer_ids(name)],
            "prompts": [[WORDS.index(word) for word in text.split()] for text in QUESTIONS],
        }
        for name in CASES
    }
    (folder / "cases.json").write_text(json.dumps(cases))
    script = ROOT / "benchmarks" / "peer_update.py"
    subprocess.run([trl_python, script, folder], check=True)
    found = json.loads((folder / "peer.json").read_text())
    assert list(found) == list(record)
    for name in found:
        assert_same(found[name], record[name], f"{folder / 'peer.json'}: {name}")


def assert_same(got: object, expected: object, where: str) -> None:
    """Numbers within rounding, all else equal."""
    if isinstance(expected, dict):
        assert list(got) == list(expected), where
        for key in expected:
            assert_same(got[key], expected[key], f"{where}: {key}")
    elif isinstance(expected, list):
        assert len(got) == len(expected), where
        for number, one in enumerate(expected):
            assert_same(got[number], one, f"{where}[{number}]")
    else:
        assert got == pytest.approx(expected, rel=1e-5, abs=1e-6), where
