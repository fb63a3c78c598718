"""Stages that train adapters: what is shared, what is written, resuming, and the reference."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from trivium.config import PPO, SFT, LoRA, Reward, Sampling
from trivium.models import (
    Compute,
    load_policy,
    load_reward_model,
    response_logprobs,
    separate_critic,
    trained,
)
from trivium.models.lora import adapter_parameters
from trivium.rewards import score_texts
from trivium.runs.checkpoint import latest
from trivium.runs.directory import Run, open_run
from trivium.stages import ppo, reward, sft
from trivium.stages.foresee import foresee
from trivium.stages.ppo_experience import RewardScale, act, judge
from trivium.stages.ppo_learn import learn
from trivium.stages.ppo_models import load_networks
from trivium.stages.ppo_setup import load_data, make_optimizers

pytestmark = pytest.mark.xdist_group("tiny")
CPU = Compute(device=torch.device("cpu"), dtype=torch.float32)
SMALL = LoRA(rank=2)
TIMING = ("seconds", "per_second", "bytes")


def head_of(path: Path, target: Path, lines: int) -> str:
    target.write_text("".join(path.read_text().splitlines(keepends=True)[:lines]))
    return str(target)


@pytest.fixture
def sft_config(tiny, tmp_path) -> SFT:
    data = tiny / "pretrain" / "data" / "demonstrations.jsonl"
    return SFT(
        model=str(tiny / "pretrain"),
        demonstrations=head_of(data, tmp_path / "demonstrations.jsonl", 24),
        num_epochs=2,
        examples_per_step=8,
        lr=1e-2,
        lora=SMALL,
        dropout=0.1,
        checkpoint_every=1,
        accept_affected=True,
        sampling=Sampling(max_prompt_tokens=72, max_response_tokens=24),
    )


@pytest.fixture
def reward_config(tiny, tmp_path) -> Reward:
    data = tiny / "pretrain" / "data" / "demonstrations.jsonl"
    rankings = tiny / "collect" / "rankings.jsonl"
    return Reward(
        model=str(tiny / "sft"),
        rankings=head_of(rankings, tmp_path / "rankings.jsonl", 24),
        demonstrations=head_of(data, tmp_path / "demonstrations.jsonl", 24),
        prompts_per_step=4,
        lr=1e-2,
        lora=SMALL,
        checkpoint_every=2,
        accept_affected=True,
        max_prompt_tokens=72,
        max_response_tokens=24,
    )


@pytest.fixture
def ppo_config(tiny) -> PPO:
    data = tiny / "pretrain" / "data"
    return PPO(
        policy=str(tiny / "sft"),
        reward=(str(tiny / "reward"),),
        prompts=str(data / "prompts.jsonl"),
        pretraining=str(data / "pretraining.jsonl"),
        num_steps=4,
        episodes_per_step=8,
        episodes_per_minibatch=4,
        episodes_per_backward=4,
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
        heldout_episodes=4,
        accept_affected=True,
        sampling=Sampling(max_prompt_tokens=72, max_response_tokens=12),
    )


STAGES = {"sft": sft.run, "reward": reward.run, "ppo": ppo.run}


def metrics(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not any(t in k for t in TIMING)} for row in rows]


def same_tensors(one: Path, other: Path) -> bool:
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)


@pytest.mark.parametrize("stage", STAGES)
def test_stopped_and_resumed_equals_uninterrupted(stage, request, tmp_path, monkeypatch):
    config, run = request.getfixturevalue(f"{stage}_config"), STAGES[stage]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(config, whole)
    log = Run.log

    def stop(self, step, values):
        if step == 3:
            raise KeyboardInterrupt
        log(self, step, values)

    monkeypatch.setattr(Run, "log", stop)
    with pytest.raises(KeyboardInterrupt):
        run(config, parts)
    monkeypatch.undo()
    saved = latest(parts)
    assert saved is not None
    assert saved.step in (2, 3)
    folder = saved.path / ("reward" if stage == "reward" else "policy")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors"]
    run(config, parts, resume=True)
    assert metrics(parts) == metrics(whole)
    for name in ("model/model.safetensors", "adapter/adapter_model.safetensors"):
        assert same_tensors(parts / name, whole / name)


def test_what_is_written_is_a_plain_model_and_an_adapter(ppo_config, tmp_path):
    """Through transformers and peft alone: the SFT model with the adapter is the model."""
    ppo.run(ppo_config, tmp_path / "run")
    base = AutoModelForCausalLM.from_pretrained(Path(ppo_config.policy) / "model")
    adapter = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == str(Path(ppo_config.policy) / "model")
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        start = base(ids).logits
        both = PeftModel.from_pretrained(base, tmp_path / "run" / "adapter")(ids).logits
        plain = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model")(ids).logits
    torch.testing.assert_close(plain, both, rtol=0, atol=1e-5)
    assert (plain - start).abs().max() > 1e-2
    checkpoint = latest(tmp_path / "run")
    assert checkpoint is not None
    learned = adapter_parameters(base, SMALL)
    numbers = sum(t.numel() for t in checkpoint.tensors().values() if t.is_floating_point())
    # of policy and critic two moments each, the average, the critic's adapter; heads and steps
    assert 6 * learned <= numbers < 6 * learned + 500


def experience_of(cfg, networks, data, generator):
    chosen = range(cfg.episodes_per_step)
    episodes = act(cfg, networks.policy, data.prompts, chosen, compute=CPU, generator=generator)
    return judge(
        cfg, networks, episodes, data.prompts, chosen,
        kl_coef=cfg.kl_coef, scale=RewardScale(mean=0.0, std=1.0), compute=CPU,
    )  # fmt: skip


@pytest.fixture
def updated(ppo_config, tmp_path):
    """Networks after one round of learning, and what they then make of new episodes."""
    cfg = replace(ppo_config, ptx_coef=0.0)
    networks = load_networks(cfg, CPU, None)
    data, generator = load_data(cfg, networks.policy), torch.Generator().manual_seed(0)
    first = experience_of(cfg, networks, data, generator)
    with open_run(tmp_path / "updated", stage="ppo", config=cfg) as run:
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
    with torch.no_grad():
        for model, same in ((networks.reference.model, True), (networks.policy.model, False)):
            flat = [
                response_logprobs(m, later.episodes.sequences, CPU, temperature=1.0)[0]
                for m in (model, sft_model)
            ]
            assert flat[0].equal(flat[1]) == same
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
    moved = [sum(p.numel() for p in o.param_groups[0]["params"])
             for o in (optimizers.policy, optimizers.critic)]  # fmt: skip
    adapter = adapter_parameters(networks.reference.model, SMALL)
    assert moved == [adapter, adapter + critic.head.in_features + 1]


def test_a_critic_without_a_reward_model_shares_the_sft_trunk(ppo_config):
    cfg = replace(ppo_config, reward=("trivium.miniature.gold:score",))
    networks = load_networks(cfg, CPU, None)
    held = {p.data_ptr() for p in networks.reference.model.base_model.parameters()}
    trunk = networks.critic.trunk
    assert {p.data_ptr() for p in trunk.parameters() if not p.requires_grad} == held
    assert not {id(p) for p in trained(trunk)} & {id(p) for p in trained(networks.policy.model)}
    copied = separate_critic(networks.reference, None)
    assert not {p.data_ptr() for p in copied.trunk.parameters()} & held


@pytest.mark.parametrize("stage", STAGES)
def test_bytes_held_are_counted_before_the_run(stage, request, tmp_path):
    """What `trivium plan` foresees is what the run's own plan finds in its tensors."""
    config = request.getfixturevalue(f"{stage}_config")
    if stage == "ppo":
        config = replace(config, num_steps=1, ptx_coef=0.0, pretraining=None)
    STAGES[stage](config, tmp_path / "run")
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    memory = foresee(config, tmp_path / "other", []).memory
    held = memory.weights + memory.gradients + memory.optimizer
    assert held == pytest.approx(plan["static_bytes"], rel=0.02)
    assert plan["trained_parameters"] < 0.2 * plan["parameters"]


BRIEF = """
def brief(prompts, responses):
    return [-len(r) / 20 for r in responses]
"""


@pytest.mark.learn
def test_adapters_learn_a_reward(ppo_config, tmp_path, monkeypatch):
    """Shorter answers are better, at hardly any price for the KL: they get shorter."""
    (tmp_path / "what_we_like.py").write_text(BRIEF)
    monkeypatch.syspath_prepend(tmp_path)
    cfg = replace(
        ppo_config,
        reward=("what_we_like:brief",),
        kl_coef=0.01,
        ptx_coef=0.0,
        missing_eos_score=None,
        num_steps=30,
        episodes_per_step=64,
        episodes_per_minibatch=32,
        episodes_per_backward=32,
        save_weights="policy",
        heldout_every=0,
    )
    ppo.run(cfg, tmp_path / "run")
    scores = [row["objective/score"] for row in metrics(tmp_path / "run")]
    first, last = sum(scores[:5]) / 5, sum(scores[-5:]) / 5
    assert last > 0.7 * first, scores  # scores are negative: a third of the length is gone
