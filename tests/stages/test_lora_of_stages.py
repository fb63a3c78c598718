"""Stages that train adapters: what is shared, what is written, resuming, and the reference."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from trivium.config import PPO, SFT, LoRA, Reward, Sampling
from trivium.models import (
    Compute,
    load_policy,
    load_reward_model,
    response_logprobs,
    separate_critic,
    trained,
)
from trivium.models.load import load_blank
from trivium.models.lora import adapter_parameters
from trivium.rewards import score_texts
from trivium.runs.checkpoint import latest
from trivium.runs.directory import Run, open_run
from trivium.stages import ppo, reward, sft
from trivium.stages.planning.by_stage import foresee
from trivium.stages.ppo_experience import RewardScale, act, judge
from trivium.stages.ppo_learn import learn
from trivium.stages.ppo_models import load_networks
from trivium.stages.ppo_setup import load_data, make_optimizers

pytestmark = pytest.mark.xdist_group("tiny")
CPU = Compute(device=torch.device("cpu"), dtype=torch.float32)
SMALL = LoRA(rank=2)
TIMING = ("seconds", "per_second", "bytes")


@pytest.fixture(scope="module")
def few(tiny, tmp_path_factory) -> Callable[[str], str]:
    """Return a function from a file of the recipe to one of its first 40 rows."""
    folder = tmp_path_factory.mktemp("few")

    def first_rows(place: str) -> str:
        lines = (tiny / place).read_text().splitlines(keepends=True)
        (folder / Path(place).name).write_text("".join(lines[:40]))
        return str(folder / Path(place).name)

    return first_rows


def sft_config(tiny: Path, few: Callable[[str], str]) -> SFT:
    return SFT(
        model=str(tiny / "pretrain"),
        demonstrations=few("pretrain/data/demonstrations.jsonl"),
        num_epochs=2,
        examples_per_step=8,
        lr=1e-2,
        lora=SMALL,
        dropout=0.1,
        checkpoint_every=2,
        accept_affected=True,
        sampling=Sampling(max_prompt_tokens=80, max_response_tokens=48),
    )


def reward_config(tiny: Path, few: Callable[[str], str]) -> Reward:
    return Reward(
        model=str(tiny / "sft"),
        rankings=few("collect/rankings.jsonl"),
        demonstrations=few("pretrain/data/demonstrations.jsonl"),
        prompts_per_step=4,
        lr=1e-2,
        lora=SMALL,
        checkpoint_every=2,
        accept_affected=True,
        max_prompt_tokens=80,
        max_response_tokens=24,
    )


def ppo_config(tiny: Path, few: Callable[[str], str]) -> PPO:
    return PPO(
        policy=str(tiny / "sft"),
        reward=(str(tiny / "reward"),),
        prompts=few("pretrain/data/prompts.jsonl"),
        pretraining=few("pretrain/data/pretraining.jsonl"),
        num_steps=4,
        episodes_per_step=4,
        episodes_per_minibatch=4,
        episodes_per_backward=2,
        warmup_steps=0,
        lr=1e-2,
        value_lr=1e-2,
        lora=SMALL,
        ptx_coef=0.1,
        ptx_examples_per_episode=0.5,
        ptx_tokens_per_example=32,
        save_weights="ema",
        checkpoint_every=2,
        heldout_every=2,
        heldout_episodes=2,
        accept_affected=True,
        sampling=Sampling(max_prompt_tokens=80, max_response_tokens=12),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A run that was never stopped, and what kill -9 in its fourth step would have left."""

    stage: str
    config: SFT | Reward | PPO
    base: str
    whole: Path
    stopped: Path


MAKE = {"sft": sft_config, "reward": reward_config, "ppo": ppo_config}
RUN = {"sft": sft.run, "reward": reward.run, "ppo": ppo.run}
BASE = {"sft": "pretrain", "reward": "sft", "ppo": "sft"}


@pytest.fixture(scope="module", params=list(RUN))
def pair(request, tiny, few, tmp_path_factory) -> Pair:
    """Both folders, of each stage in turn."""
    stage, folder = request.param, tmp_path_factory.mktemp(request.param)
    config, log = MAKE[stage](tiny, few), Run.log

    def killed(self, step, values):
        if step == 3:
            shutil.copytree(folder / "whole", folder / "stopped")
        log(self, step, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "log", killed)
        RUN[stage](config, folder / "whole")
    return Pair(
        stage=stage,
        config=config,
        base=str(tiny / BASE[stage] / "model"),
        whole=folder / "whole",
        stopped=folder / "stopped",
    )


def metrics(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not any(t in k for t in TIMING)} for row in rows]


def same_tensors(one: Path, other: Path) -> bool:
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)


def test_stopped_and_resumed_equals_uninterrupted(pair):
    """From adapters and optimizer states alone."""
    saved = latest(pair.stopped)
    assert saved is not None
    assert saved.step == 2
    folder = saved.path / ("reward" if pair.stage == "reward" else "policy")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors"]
    learned = json.loads((pair.stopped / "plan.json").read_text())["trained_parameters"]
    numbers = sum(t.numel() for t in saved.tensors().values() if t.is_floating_point())
    # Two moments of each. PPO besides: the critic's adapter and head, the policy's average.
    assert (3 if pair.stage == "ppo" else 2) * learned <= numbers < 3.1 * learned

    RUN[pair.stage](pair.config, pair.stopped, resume=True)
    assert metrics(pair.stopped) == metrics(pair.whole)
    for name in ("model/model.safetensors", "adapter/adapter_model.safetensors"):
        assert same_tensors(pair.stopped / name, pair.whole / name)


def test_what_is_written_is_a_plain_model_and_an_adapter(pair):
    """Through transformers and peft alone: the model it started from, with the adapter, is it."""
    kind = AutoModelForSequenceClassification if pair.stage == "reward" else AutoModelForCausalLM
    adapter = json.loads((pair.whole / "adapter" / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == pair.base
    ids = torch.arange(3, 20)[None]
    own = {"num_labels": 1, "pad_token_id": 1} if pair.stage == "reward" else {}
    base = kind.from_pretrained(pair.base, **own)
    with torch.no_grad():
        start = base(ids).logits
        both = PeftModel.from_pretrained(base, pair.whole / "adapter")(ids).logits
        plain = kind.from_pretrained(pair.whole / "model")(ids).logits
    torch.testing.assert_close(plain, both, rtol=0, atol=1e-5)
    assert (plain - start).abs().max() > 1e-2


def test_bytes_held_are_counted_before_the_run(pair, tmp_path):
    """What `trivium plan` foresees is what the run found in its own tensors."""
    plan = json.loads((pair.whole / "plan.json").read_text())
    memory = foresee(pair.config, tmp_path, []).memory
    held = memory.weights + memory.gradients + memory.optimizer
    assert held == pytest.approx(plan["static_bytes"], rel=0.02)
    adapter = adapter_parameters(load_blank(pair.base).model, SMALL)
    heads = {"sft": 0, "reward": 32, "ppo": adapter + 33}
    assert plan["trained_parameters"] == adapter + heads[pair.stage]


def experience_of(cfg, networks, data, generator):
    chosen = range(cfg.episodes_per_step)
    episodes = act(cfg, networks.policy, data.prompts, chosen, compute=CPU, generator=generator)
    return judge(
        cfg, networks, episodes, data.prompts, chosen,
        kl_coef=cfg.kl_coef, scale=RewardScale(mean=0.0, std=1.0), compute=CPU,
    )  # fmt: skip


@pytest.fixture(scope="module")
def updated(tiny, few, tmp_path_factory):
    """Networks after one round of learning, and the episodes they learned from."""
    cfg = replace(ppo_config(tiny, few), ptx_coef=0.0)
    networks = load_networks(cfg, CPU, None)
    data, generator = load_data(cfg, networks.policy), torch.Generator().manual_seed(0)
    first = experience_of(cfg, networks, data, generator)
    with open_run(tmp_path_factory.mktemp("updated"), stage="ppo", config=cfg) as run:
        learn(
            cfg, networks, make_optimizers(cfg, networks), first, None, run,
            step=0, klpen_coef=1.0, compute=CPU, generator=generator,
        )  # fmt: skip
        run.finish({})
    return cfg, networks, data, first


def kl_per_token(cfg, networks, data):
    one = experience_of(cfg, networks, data, torch.Generator().manual_seed(1))
    return float(one.kl_k3_nats.sum() / one.mask.sum())


def test_the_kl_is_to_the_sft_model_and_not_to_the_adapter(updated):
    """And the control: read through the policy's modules, the reference would follow it."""
    cfg, networks, data, first = updated
    assert float(first.kl_k3_nats.sum() / first.mask.sum()) < 1e-6
    assert kl_per_token(cfg, networks, data) > 1e-3
    forgotten = replace(networks, reference=networks.policy)
    assert kl_per_token(cfg, forgotten, data) < 1e-6


def test_reference_and_judge_read_as_their_folders_do_bit_by_bit(updated):
    cfg, networks, data, _ = updated
    later = experience_of(cfg, networks, data, torch.Generator().manual_seed(1))
    sft_model = load_policy(cfg.policy, CPU).model
    models = sft_model, networks.reference.model, networks.policy.model
    with torch.no_grad():
        expected, reference, policy = (
            response_logprobs(model, later.episodes.sequences, CPU, temperature=1.0)[0]
            for model in models
        )
    assert reference.equal(expected)
    assert not policy.equal(expected)
    (scores,) = later.parts.values()
    fresh = load_reward_model(cfg.reward[0], CPU)
    assert scores == score_texts(fresh, later.prompts, later.texts, CPU)


def test_two_trunks_carry_four_networks(updated):
    cfg, networks, _, _ = updated
    critic, (judge_model,) = networks.critic, networks.judge.models.values()
    pairs = (
        (networks.policy.model, networks.reference.model),
        (critic.trunk, judge_model.model.base_model),
    )
    for adapted, plain in pairs:
        shared = {p.data_ptr() for p in plain.parameters()}
        assert {p.data_ptr() for p in adapted.parameters() if not p.requires_grad} == shared
        assert sum(p.numel() for p in trained(adapted)) == adapter_parameters(plain, SMALL)
    head = {p.data_ptr() for p in critic.head.parameters()}
    assert not head & {p.data_ptr() for p in judge_model.model.parameters()}
    optimizers = make_optimizers(cfg, networks)
    groups = optimizers.policy.param_groups + optimizers.critic.param_groups
    adapter = adapter_parameters(networks.reference.model, SMALL)
    moved = [sum(p.numel() for p in group["params"]) for group in groups]
    assert moved == [adapter, adapter + critic.head.in_features + 1]


def test_a_critic_without_a_reward_model_shares_the_sft_trunk(tiny, few):
    cfg = replace(ppo_config(tiny, few), reward=("trivium.miniature.gold:score",))
    networks = load_networks(cfg, CPU, None)
    held = {p.data_ptr() for p in networks.reference.model.base_model.parameters()}
    trunk = networks.critic.trunk
    assert {p.data_ptr() for p in trunk.parameters() if not p.requires_grad} == held
    assert not {id(p) for p in trained(trunk)} & {id(p) for p in trained(networks.policy.model)}
    copied = separate_critic(networks.reference, None)
    assert not {p.data_ptr() for p in copied.trunk.parameters()} & held


BRIEF = """
def brief(prompts, responses):
    return [-len(r) / 20 for r in responses]
"""


@pytest.mark.learn
def test_adapters_learn_a_reward(tiny, few, tmp_path, monkeypatch):
    """Fewer letters are better, at hardly any price for the KL: a tenth of them go.

    64 answers have about 26 letters each; a step's mean score errs by 0.03.
    """
    (tmp_path / "what_we_like.py").write_text(BRIEF)
    monkeypatch.syspath_prepend(tmp_path)
    cfg = replace(
        ppo_config(tiny, few),
        reward=("what_we_like:brief",),
        kl_coef=0.01,
        ptx_coef=0.0,
        missing_eos_score=None,
        num_steps=25,
        episodes_per_step=64,
        episodes_per_minibatch=32,
        episodes_per_backward=32,
        save_weights="policy",
        heldout_every=0,
    )
    ppo.run(cfg, tmp_path / "run")
    scores = [row["objective/score"] for row in metrics(tmp_path / "run")]
    first, last = sum(scores[:5]) / 5, sum(scores[-10:]) / 10
    assert last > first + 0.1, scores
