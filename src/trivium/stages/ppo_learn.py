"""The second half of a PPO step: several passes over the same episodes, minibatch by minibatch.

Legend: B episodes, T the longest response among them.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trivium import maths
from trivium.config import PPO
from trivium.models import Compute, response_logprobs, trained
from trivium.runs.directory import Run
from trivium.stages.lm import backward_next_token
from trivium.stages.optimise import Learner, grad_norm_since, snapshot_gradients, update
from trivium.stages.ppo_experience import Experience
from trivium.stages.ppo_losses import (
    accumulate,
    accumulate_values,
    check_first_ratio,
    minibatches,
    take,
)
from trivium.stages.ppo_models import Networks
from trivium.stages.ppo_trust_region import improve
from trivium.text import TextStream, select


@dataclass(frozen=True, slots=True)
class Optimizers:
    """One for the policy (and a head on its trunk), one for a critic of its own."""

    policy: torch.optim.AdamW
    critic: torch.optim.AdamW | None


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
    if cfg.loss == "trpo":
        return learn_within_region(
            cfg,
            networks,
            optimizers,
            experience,
            run,
            step=step,
            compute=compute,
            generator=generator,
        )
    advantages = whitened(cfg, experience)
    lr = cfg.lr * maths.warmup_then_constant(step, warmup_steps=cfg.warmup_steps)
    rounds: list[dict[str, float]] = []
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
        average_weights(cfg, networks)
        rounds.append(metrics)
    metrics = means(rounds)
    if cfg.klpen_target is not None:
        metrics["policy/kl_after"] = kl_after_update(cfg, networks, experience, compute)
    return metrics | {"policy/lr": lr}


def learn_within_region(
    cfg: PPO,
    networks: Networks,
    optimizers: Optimizers,
    experience: Experience,
    run: Run,
    *,
    step: int,
    compute: Compute,
    generator: torch.Generator,
) -> dict[str, float]:
    """TRPO: one step of the policy on all episodes, then the critic's passes over minibatches.

    Raises:
        as `learn`.
    """
    everything = torch.arange(len(experience.episodes))
    whole = take(experience, whitened(cfg, experience), everything)
    metrics = improve(cfg, networks, whole, run, step=step, compute=compute)
    average_weights(cfg, networks)
    if networks.critic is None or optimizers.critic is None:
        return metrics
    rounds: list[dict[str, float]] = []
    for rows in minibatches(cfg, len(experience.episodes), generator):
        batch = take(experience, experience.advantages, rows)
        fitted = accumulate_values(cfg, networks.critic, batch, compute=compute)
        (norm,) = update(
            [Learner(optimizers.critic, cfg.value_lr, "critic")],
            max_grad_norm=cfg.adam.max_grad_norm,
            run=run,
            step=step,
            batch=batch.sequences,
        )
        rounds.append(fitted | {"value/grad_norm": norm, "value/lr": cfg.value_lr})
    return metrics | means(rounds)


def whitened(cfg: PPO, experience: Experience) -> Float[Tensor, "B T"]:
    """The advantages that the policy learns from."""
    if not cfg.whiten_advantages:
        return experience.advantages
    # The bandit has no baseline, so its mean stays.
    shift = cfg.estimator != "bandit"
    return maths.whiten(experience.advantages, experience.mask, shift_mean=shift)


def average_weights(cfg: PPO, networks: Networks) -> None:
    """The averaged policy follows, where it is kept."""
    if networks.average is not None:
        weights = [p.detach() for p in trained(networks.policy.model)]
        maths.ema_update_(networks.average, weights, decay=cfg.ema_decay)


def means(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each metric over the updates that have it."""
    sums: defaultdict[str, list[float]] = defaultdict(list)
    for metrics in rounds:
        for name, value in metrics.items():
            sums[name].append(value)
    return {name: sum(values) / len(values) for name, values in sums.items()}


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
