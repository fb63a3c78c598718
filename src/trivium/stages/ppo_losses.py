"""What the networks of PPO learn from some episodes: losses, summed over response tokens.

Legend: B episodes of a minibatch, T the longest response among them, R response tokens in all.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trivium import maths
from trivium.config import PPO
from trivium.models import Compute, Critic, response_logprobs, response_values
from trivium.models.forward import hidden_states
from trivium.stages.optimise import grad_norm
from trivium.stages.ppo_experience import Experience, to_rows
from trivium.stages.ppo_models import Networks
from trivium.text import Sequences, select


@dataclass(frozen=True, slots=True)
class Minibatch:
    """Some episodes of an experience, cut to their longest response; fields as there."""

    sequences: Sequences
    mask: Bool[Tensor, "B T"]
    old_logprobs: Float[Tensor, "B T"]
    old_values: Float[Tensor, "B T"]
    advantages: Float[Tensor, "B T"]
    returns: Float[Tensor, "B T"]


def minibatches(
    cfg: PPO, num_episodes: int, generator: torch.Generator
) -> Iterator[Int[Tensor, " B"]]:
    """Rows of each minibatch: every pass in a new random order, every episode once a pass."""
    for _ in range(cfg.inner_epochs):
        order = torch.randperm(num_episodes, generator=generator)
        yield from order.split(cfg.episodes_per_minibatch)


def take(
    experience: Experience, advantages: Float[Tensor, "B T"], rows: Int[Tensor, " S"]
) -> Minibatch:
    """The given episodes."""
    sequences = select(experience.episodes.sequences, rows)
    width = int(sequences.response_lengths.max())
    return Minibatch(
        sequences=sequences,
        mask=experience.mask[rows, :width],
        old_logprobs=experience.old_logprobs[rows, :width],
        old_values=experience.values[rows, :width],
        advantages=advantages[rows, :width],
        returns=experience.returns[rows, :width],
    )


def only(batch: Minibatch, rows: Int[Tensor, " S"]) -> Minibatch:
    """Some episodes of a minibatch, as wide as it is."""
    return Minibatch(
        sequences=select(batch.sequences, rows),
        mask=batch.mask[rows],
        old_logprobs=batch.old_logprobs[rows],
        old_values=batch.old_values[rows],
        advantages=batch.advantages[rows],
        returns=batch.returns[rows],
    )


def parts_of(cfg: PPO, batch: Minibatch) -> Iterator[Minibatch]:
    """A minibatch in pieces of `episodes_per_backward`."""
    for rows in torch.arange(len(batch.mask)).split(cfg.episodes_per_backward):
        yield only(batch, rows)


def accumulate(
    cfg: PPO, networks: Networks, batch: Minibatch, *, klpen_coef: float, compute: Compute
) -> dict[str, float]:
    """Gradients of the policy and value losses of one minibatch, summed over its parts.

    Every loss is a sum over response tokens divided by the minibatch's count of them.
    """
    count = int(batch.mask.sum())
    totals: defaultdict[str, float] = defaultdict(float)
    deviation = 0.0
    for part in parts_of(cfg, batch):
        loss, sums = part_losses(cfg, networks, part, klpen_coef=klpen_coef, compute=compute)
        (loss / count).backward()
        deviation = max(deviation, sums.pop("ratio_deviation"))
        for name, value in sums.items():
            totals[name] += value
    metrics = {name: value / count for name, value in totals.items()} | {
        "policy/ratio_deviation_first": deviation,
        "policy/ppo_grad_norm": grad_norm(networks.policy.model.parameters()),
    }
    critic = networks.critic
    if critic is not None and not critic.shared:
        # After the policy's: the activations of one network are held at a time.
        metrics |= accumulate_values(cfg, critic, batch, compute=compute)
    return metrics


def accumulate_values(
    cfg: PPO, critic: Critic, batch: Minibatch, *, compute: Compute
) -> dict[str, float]:
    """The part of `accumulate` that is the gradients of a critic with a trunk of its own."""
    count = int(batch.mask.sum())
    totals: defaultdict[str, float] = defaultdict(float)
    for part in parts_of(cfg, batch):
        trunk = hidden_states(critic.trunk, part.sequences, compute)
        loss, sums = value_losses(cfg, critic, trunk, part)
        (loss / count).backward()
        for name, value in sums.items():
            totals[name] += value
    return {name: value / count for name, value in totals.items()}


def part_losses(
    cfg: PPO, networks: Networks, part: Minibatch, *, klpen_coef: float, compute: Compute
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """The policy's summed loss of a few episodes, and sums over tokens for the log.

    A value function on the policy's trunk learns in the same pass.
    """
    mask = part.mask
    hidden = hidden_states(networks.policy.model, part.sequences, compute)
    flat, entropy = response_logprobs(
        networks.policy.model,
        part.sequences,
        compute,
        temperature=cfg.sampling.temperature,
        with_entropy=cfg.entropy_coef > 0,
        hidden=hidden,
    )
    logprobs = as_rows(flat, part)
    policy_loss = maths.masked_sum(policy_losses(cfg, logprobs, part, klpen_coef), mask)[0]
    loss = policy_loss
    log_ratio = (logprobs.detach() - part.old_logprobs).masked_fill(~mask, 0.0)
    ratio = log_ratio.exp()
    sums = {
        "policy/loss": float(policy_loss.detach()),
        # KL(old || new) by k3 on samples of the old policy: never negative.
        "policy/approx_kl": float((torch.expm1(log_ratio) - log_ratio).sum()),
        "policy/clip_share": float((((ratio - 1).abs() > cfg.clip) & mask).sum()),
        "policy/entropy_nats": float(-logprobs.detach().masked_fill(~mask, 0.0).sum()),
        "ratio_deviation": float((ratio - 1).abs().max()),
    }
    if entropy is not None:
        loss = loss - cfg.entropy_coef * entropy.sum().cpu()
        sums["policy/entropy_nats"] = float(entropy.detach().sum())
    if (critic := networks.critic) is not None and critic.shared:
        value_loss, value_sums = value_losses(cfg, critic, hidden, part)
        loss = loss + cfg.value_coef * value_loss
        sums |= value_sums
    return loss, sums


def policy_losses(
    cfg: PPO, logprobs: Float[Tensor, "B T"], part: Minibatch, klpen_coef: float
) -> Float[Tensor, "B T"]:
    """The policy's loss of each token, by `cfg.loss`."""
    old, advantages = part.old_logprobs, part.advantages
    if cfg.loss == "klpen":
        return maths.ppo_klpen_loss(logprobs, old, advantages, kl_coef=klpen_coef)
    # TRPO's surrogate is PPO's with a clip that never bites: the region holds it in its place.
    clip = torch.inf if cfg.loss == "trpo" else cfg.clip
    return maths.ppo_clip_loss(logprobs, old, advantages, clip=clip)


def value_losses(
    cfg: PPO, critic: Critic, trunk: Float[Tensor, "N d"], part: Minibatch
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """The value function's summed loss of a few episodes, and sums over tokens for the log."""
    values = as_rows(response_values(critic.head, trunk, part.sequences), part)
    losses = maths.value_clip_loss(values, part.old_values, part.returns, clip=cfg.value_clip)
    loss = maths.masked_sum(losses, part.mask)[0]
    moved = (values.detach() - part.old_values).abs() > cfg.value_clip
    return loss, {
        "value/loss": float(loss.detach()),
        "value/clip_share": float((moved & part.mask).sum()),
    }


def as_rows(flat: Float[Tensor, " R"], part: Minibatch) -> Float[Tensor, "B T"]:
    """Numbers of response tokens as rows of the minibatch, 0 after the end of each."""
    rows = to_rows(flat.cpu(), part.sequences.response_lengths)
    return torch.nn.functional.pad(rows, (0, part.mask.shape[1] - rows.shape[1]))


def check_first_ratio(deviation: float, compute: Compute) -> None:
    """Before the first update of a step the policy is the one that sampled: ratios are 1.

    Raises:
        AssertionError: they are not; sampling, scoring and learning see different policies.
    """
    assert deviation < compute.ratio_tolerance, (
        f"importance ratio of the first minibatch deviates from 1 by {deviation:.2e} "
        f"(at most {compute.ratio_tolerance:.0e}): something is random or stale in the forward "
        f"pass; look at dropout in the model's config and at compute_dtype"
    )
