"""The second half of a PPO step: several passes over the same episodes, minibatch by minibatch.

Legend: B episodes of a minibatch, T the longest response among them.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trivium import maths
from trivium.config import PPO
from trivium.models import Compute, response_logprobs, response_values, trained
from trivium.models.forward import hidden_states
from trivium.runs.directory import Run
from trivium.stages.lm import backward_next_token
from trivium.stages.optimise import (
    Learner,
    grad_norm,
    grad_norm_since,
    snapshot_gradients,
    update,
)
from trivium.stages.ppo_experience import Experience, to_rows
from trivium.stages.ppo_models import Networks
from trivium.text import Sequences, TextStream, select


@dataclass(frozen=True, slots=True)
class Optimizers:
    """One for the policy (and a head on its trunk), one for a critic of its own."""

    policy: torch.optim.AdamW
    critic: torch.optim.AdamW | None


@dataclass(frozen=True, slots=True)
class Minibatch:
    """Some episodes of an experience, cut to their longest response; fields as there."""

    sequences: Sequences
    mask: Bool[Tensor, "B T"]
    old_logprobs: Float[Tensor, "B T"]
    old_values: Float[Tensor, "B T"]
    advantages: Float[Tensor, "B T"]
    returns: Float[Tensor, "B T"]


def learn(  # noqa: PLR0913 - an experience, what learns from it, and how
    cfg: PPO,
    networks: Networks,
    optimizers: Optimizers,
    experience: Experience,
    stream: TextStream | None,
    run: Run,
    *,
    step: int,
    klpen_coef: float,
    compute: Compute,
    generator: torch.Generator,
) -> dict[str, float]:
    """All optimizer steps of one round; returns the means of their metrics.

    Raises:
        UserError: a gradient is not finite.
        AssertionError: the first minibatch's importance ratios are not 1.
    """
    advantages = experience.advantages
    if cfg.whiten_advantages:
        # The bandit has no baseline, so its mean stays.
        shift = cfg.estimator != "bandit"
        advantages = maths.whiten(advantages, experience.mask, shift_mean=shift)
    lr = cfg.lr * maths.warmup_then_constant(step, warmup_steps=cfg.warmup_steps)
    sums: defaultdict[str, list[float]] = defaultdict(list)
    for number, rows in enumerate(minibatches(cfg, len(experience.episodes), generator)):
        batch = take(experience, advantages, rows)
        metrics = accumulate(cfg, networks, batch, klpen_coef=klpen_coef, compute=compute)
        if number == 0:
            check_first_ratio(metrics["policy/ratio_deviation_first"], compute)
        else:
            del metrics["policy/ratio_deviation_first"]
        if stream is not None:
            metrics |= accumulate_pretraining(cfg, networks, stream, compute)
        learners = [Learner(optimizers.policy, lr, "policy")]
        if optimizers.critic is not None:
            learners.append(Learner(optimizers.critic, cfg.value_lr, "critic"))
        norms = update(
            learners,
            max_grad_norm=cfg.adam.max_grad_norm,
            run=run,
            step=step,
            batch=batch.sequences,
        )
        metrics["policy/grad_norm"] = norms[0]
        if optimizers.critic is not None:
            metrics["value/grad_norm"], metrics["value/lr"] = norms[1], cfg.value_lr
        if networks.average is not None:
            weights = [p.detach() for p in trained(networks.policy.model)]
            maths.ema_update_(networks.average, weights, decay=cfg.ema_decay)
        for name, value in metrics.items():
            sums[name].append(value)
    metrics = {name: sum(values) / len(values) for name, values in sums.items()}
    if cfg.klpen_target is not None:
        metrics["policy/kl_after"] = kl_after_update(cfg, networks, experience, compute)
    return metrics | {"policy/lr": lr}


@torch.no_grad()
def kl_after_update(
    cfg: PPO, networks: Networks, experience: Experience, compute: Compute
) -> float:
    """KL(old || new) of the whole round, nats per token, by k3: what adapts the KL penalty."""
    sequences, total = experience.episodes.sequences, 0.0
    for rows in torch.arange(len(sequences)).split(cfg.episodes_per_backward):
        part = select(sequences, rows)
        new, _ = response_logprobs(
            networks.policy.model, part, compute, temperature=cfg.sampling.temperature
        )
        old = experience.old_logprobs[rows][experience.mask[rows]]
        log_ratio = new.cpu() - old
        total += float((torch.expm1(log_ratio) - log_ratio).sum())
    return total / int(experience.mask.sum())


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


def accumulate(
    cfg: PPO, networks: Networks, batch: Minibatch, *, klpen_coef: float, compute: Compute
) -> dict[str, float]:
    """Gradients of the policy and value losses of one minibatch, summed over its parts.

    Every loss is a sum over response tokens divided by the minibatch's count of them.
    """
    count = int(batch.mask.sum())
    totals: defaultdict[str, float] = defaultdict(float)
    deviation = 0.0
    for rows in torch.arange(len(batch.mask)).split(cfg.episodes_per_backward):
        part = Minibatch(
            sequences=select(batch.sequences, rows),
            mask=batch.mask[rows],
            old_logprobs=batch.old_logprobs[rows],
            old_values=batch.old_values[rows],
            advantages=batch.advantages[rows],
            returns=batch.returns[rows],
        )
        loss, sums = part_losses(cfg, networks, part, klpen_coef=klpen_coef, compute=compute)
        (loss / count).backward()
        deviation = max(deviation, sums.pop("ratio_deviation"))
        for name, value in sums.items():
            totals[name] += value
    return {name: value / count for name, value in totals.items()} | {
        "policy/ratio_deviation_first": deviation,
        "policy/ppo_grad_norm": grad_norm(networks.policy.model.parameters()),
    }


def part_losses(
    cfg: PPO, networks: Networks, part: Minibatch, *, klpen_coef: float, compute: Compute
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """The summed loss of a few episodes, and sums over tokens for the log."""
    lengths, mask = part.sequences.response_lengths, part.mask
    width = mask.shape[1]
    hidden = hidden_states(networks.policy.model, part.sequences, compute)
    flat, entropy = response_logprobs(
        networks.policy.model,
        part.sequences,
        compute,
        temperature=cfg.sampling.temperature,
        with_entropy=cfg.entropy_coef > 0,
        hidden=hidden,
    )
    logprobs = _widen(to_rows(flat.cpu(), lengths), width)
    if cfg.loss == "clip":
        losses = maths.ppo_clip_loss(logprobs, part.old_logprobs, part.advantages, clip=cfg.clip)
    else:
        losses = maths.ppo_klpen_loss(
            logprobs, part.old_logprobs, part.advantages, kl_coef=klpen_coef
        )
    policy_loss = maths.masked_sum(losses, mask)[0]
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
    critic = networks.critic
    if critic is not None:
        trunk = hidden if critic.shared else hidden_states(critic.trunk, part.sequences, compute)
        flat_values = response_values(critic.head, trunk, part.sequences).cpu()
        values = _widen(to_rows(flat_values, lengths), width)
        value_losses = maths.value_clip_loss(
            values, part.old_values, part.returns, clip=cfg.value_clip
        )
        value_loss = maths.masked_sum(value_losses, mask)[0]
        # A network of its own has its own optimizer, so only a shared trunk needs a weight.
        loss = loss + (cfg.value_coef if critic.shared else 1.0) * value_loss
        moved = (values.detach() - part.old_values).abs() > cfg.value_clip
        sums["value/loss"] = float(value_loss.detach())
        sums["value/clip_share"] = float((moved & mask).sum())
    return loss, sums


def accumulate_pretraining(
    cfg: PPO, networks: Networks, stream: TextStream, compute: Compute
) -> dict[str, float]:
    """PPO-ptx: add gamma times the gradient of the next-token loss to what is in the buffer.

    Paper C.4: for each minibatch both gradients are accumulated, then one optimizer step is taken.
    The loss is the token mean, an interpretation (the paper does not state its reduction).
    """
    parameters = trained(networks.policy.model)
    before = snapshot_gradients(parameters)
    batch = stream.take(ptx_examples(cfg))
    count = len(batch.predicted())
    loss_sum = backward_next_token(
        networks.policy,
        batch,
        compute,
        rows_per_backward=cfg.ptx_examples_per_backward,
        weight=cfg.ptx_coef / count,
    )
    return {
        "ptx/loss": loss_sum / count,
        "policy/ptx_grad_norm": grad_norm_since(parameters, before),
    }


def ptx_examples(cfg: PPO) -> int:
    """Pretraining examples per minibatch."""
    return round(cfg.ptx_examples_per_episode * cfg.episodes_per_minibatch)


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


def _widen(rows: Float[Tensor, "B t"], width: int) -> Float[Tensor, "B T"]:
    return torch.nn.functional.pad(rows, (0, width - rows.shape[1]))
