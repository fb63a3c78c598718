"""The networks of PPO: policy, reference, critic and rewards, and how each starts."""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from trivium.config import PPO
from trivium.models import (
    Compute,
    Critic,
    Policy,
    RewardModel,
    adapt_policy,
    adapt_trunk,
    load_policy,
    load_reward_model,
    separate_critic,
    shared_critic,
    trained,
)
from trivium.rewards import score_texts
from trivium.rewards.combine import weighted_total
from trivium.rewards.functions import RewardFunction, call, load_function
from trivium.rewards.spec import RewardSpec, is_function, parse_rewards
from trivium.runs.checkpoint import Checkpoint
from trivium.stages.rows import Messages


@dataclass(frozen=True, slots=True)
class Judge:
    """The rewards of a run: each a trained model or a function, on text."""

    specs: tuple[RewardSpec, ...]
    models: dict[str, RewardModel]
    functions: dict[str, RewardFunction]
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Networks:
    """Everything with weights.

    With LoRA there are two trunks at most: reference and policy read one, judge and critic the
    other, policy and critic each with an adapter that the other of the pair doesn't have.

    Attributes:
        policy: pi, trained.
        reference: pi_SFT, frozen; the KL is measured to it.
        critic: V, trained; None for estimators without a value function.
        judge: r(x, y), frozen.
        average: exponential moving average of what is trained of the policy; None unless it is to
            be saved.
    """

    policy: Policy
    reference: Policy
    critic: Critic | None
    judge: Judge
    average: list[Tensor] | None


def load_networks(cfg: PPO, compute: Compute, checkpoint: Checkpoint | None) -> Networks:
    """Load all four, or go on with those of a checkpoint.

    Raises:
        UserError: something is missing or doesn't fit; see `trivium.models.load`.
    """
    context = cfg.sampling.max_prompt_tokens + cfg.sampling.max_response_tokens
    reference = load_policy(cfg.policy, compute, context_tokens=context)
    saved = checkpoint.path / "policy" if checkpoint else None
    if cfg.lora.rank:
        policy = adapt_policy(reference, cfg.lora, seed=cfg.seed, saved=saved)
    else:
        policy = load_policy(str(saved or cfg.policy), compute, context_tokens=context)
    judge = load_judge(cfg, compute)
    critic = start_critic(cfg, policy, reference, judge, compute)
    average = [p.detach().clone() for p in trained(policy.model)]
    networks = Networks(
        policy=policy,
        reference=reference,
        critic=critic,
        judge=judge,
        average=average if cfg.save_weights == "ema" else None,
    )
    if checkpoint:
        load_tensors(networks, checkpoint.tensors())
    return networks


def load_judge(cfg: PPO, compute: Compute) -> Judge:
    """Load each reward once."""
    specs = parse_rewards(cfg.reward)
    return Judge(
        specs=specs,
        models={
            s.name: load_reward_model(s.target, compute) for s in specs if not is_function(s.target)
        },
        functions={s.name: load_function(s.target) for s in specs if is_function(s.target)},
        timeout_seconds=cfg.reward_timeout_seconds,
    )


def start_critic(
    cfg: PPO, policy: Policy, reference: Policy, judge: Judge, compute: Compute
) -> Critic | None:
    """The value function where the config wants it to start (paper C.4: from the reward model)."""
    if cfg.value == "none":
        return None
    if cfg.value == "shared":
        return shared_critic(policy)
    if cfg.value_from is not None:
        start = load_reward_model(cfg.value_from, compute)
    else:
        start = next(iter(judge.models.values()), None)
    if not cfg.lora.rank:
        return separate_critic(reference, start)
    return separate_critic(
        reference, start, take=lambda trunk: adapt_trunk(trunk, cfg.lora, seed=cfg.seed)
    )


def judge_texts(
    judge: Judge, prompts: list[Messages], responses: list[str], compute: Compute
) -> tuple[list[float], dict[str, list[float]]]:
    """The weighted total of every answer's rewards, and each reward by name.

    Raises:
        UserError: a reward function raised, took too long or returned something else than numbers.
    """
    parts = {
        name: score_texts(model, prompts, responses, compute)
        for name, model in judge.models.items()
    }
    parts |= {
        name: call(function, prompts, responses, name=name, timeout_seconds=judge.timeout_seconds)
        for name, function in judge.functions.items()
    }
    return weighted_total(parts, {s.name: s.weight for s in judge.specs}), parts


def tensors_of(networks: Networks) -> dict[str, Tensor]:
    """What a checkpoint stores besides the policy's folder."""
    tensors: dict[str, Tensor] = {}
    if networks.critic is not None:
        tensors |= {f"critic.head.{k}": v for k, v in networks.critic.head.state_dict().items()}
        if not networks.critic.shared:
            tensors |= {f"critic.trunk.{k}": v for k, v in _learned(networks.critic.trunk).items()}
    if networks.average is not None:
        tensors |= {f"average.{i}": t for i, t in enumerate(networks.average)}
    return tensors


def load_tensors(networks: Networks, tensors: dict[str, Tensor]) -> None:
    """The inverse of `tensors_of`."""
    if networks.critic is not None:
        networks.critic.head.load_state_dict(_under("critic.head.", tensors))
        if not networks.critic.shared:
            for name, own in _learned(networks.critic.trunk).items():
                own.copy_(tensors[f"critic.trunk.{name}"])
    if networks.average is not None:
        for i, t in enumerate(networks.average):
            t.copy_(tensors[f"average.{i}"])


def averaged_policy(networks: Networks) -> Policy:
    """The policy with its averaged weights in place; for saving at the end."""
    assert networks.average is not None
    with torch.no_grad():
        for weight, average in zip(trained(networks.policy.model), networks.average, strict=True):
            weight.copy_(average)
    return networks.policy


def _learned(trunk: PreTrainedModel) -> dict[str, Tensor]:
    """Its state less what is frozen: everything, or an adapter."""
    frozen = {name for name, p in trunk.named_parameters() if not p.requires_grad}
    return {name: tensor for name, tensor in trunk.state_dict().items() if name not in frozen}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
