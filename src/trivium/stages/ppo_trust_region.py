"""TRPO on a language model: one step of the policy a round, as far as the trust region allows.

    maximise   L(theta) = mean over answer tokens of  pi(y_t | s_t) / pi_old(y_t | s_t)  A_t
    subject to mean over answer tokens of  KL(pi_old(. | s_t) || pi(. | s_t)) <= delta

A state s_t is a prompt and the answer so far, and the KL is over the whole vocabulary. The same as
`classic/trpo.py`, on all episodes of a round at once, some at a time in memory. Only the direction
is found from fewer states, as in the paper's appendix C; gradient and line search see all.

Legend: N weights, as one flat vector; B episodes, R response tokens, V vocabulary.
Source: Schulman et al. 2015, arXiv:1502.05477.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from trivium import maths
from trivium.config import PPO
from trivium.models import Compute, Policy, trained
from trivium.models.functional import logits_at, put_weights, weights_of
from trivium.runs.directory import Run
from trivium.stages.optimise import check_finite, snapshot_gradients
from trivium.stages.ppo_losses import (
    Minibatch,
    accumulate,
    as_rows,
    check_first_ratio,
    only,
    parts_of,
    policy_losses,
)
from trivium.stages.ppo_models import Networks

Vector = Float[Tensor, " N"]


def improve(
    cfg: PPO, networks: Networks, whole: Minibatch, run: Run, *, step: int, compute: Compute
) -> dict[str, float]:
    """Move the policy within the trust region, or leave it where it is.

    Raises:
        UserError: the gradient is not finite.
        AssertionError: the importance ratios are not 1.
    """
    policy = networks.policy
    before = weights_of(policy.model)

    # Direction: the gradient of the surrogate, turned by the inverse of the Fisher matrix
    gradient, metrics = surrogate_gradient(cfg, networks, whole, compute)
    norm = metrics["policy/grad_norm"]
    check_finite(norm, "policy", run=run, step=step, batch=whole.sequences)
    product = fisher(cfg, policy, whole, before, compute)
    direction = maths.conjugate_gradient(product, gradient, num_steps=cfg.trpo_cg_steps)
    move = maths.trust_region_step(direction, product, max_kl=cfg.trpo_max_kl)

    # Line search: half as far each time, until it is an improvement that stays in the region
    for halvings in range(cfg.trpo_backtracks + 1):
        kl, gain = measure(cfg, policy, whole, before, before + move, compute)
        if kl <= cfg.trpo_max_kl and gain > 0:
            put_weights(policy.model, before + move)
            return metrics | found(kl, gain, halvings)
        move = move / 2
    return metrics | found(0.0, 0.0, cfg.trpo_backtracks + 1)


def found(kl: float, gain: float, halvings: int) -> dict[str, float]:
    """The metrics of the line search."""
    return {
        "policy/trpo_kl": kl,
        "policy/trpo_gain": gain,
        "policy/trpo_backtracks": float(halvings),
    }


def surrogate_gradient(
    cfg: PPO, networks: Networks, whole: Minibatch, compute: Compute
) -> tuple[Vector, dict[str, float]]:
    """Gradient of L at theta_old: the policy gradient; and what is known of the old policy."""
    model = networks.policy.model
    alone = replace(networks, critic=None)
    metrics = accumulate(cfg, alone, whole, klpen_coef=0.0, compute=compute)
    check_first_ratio(metrics["policy/ratio_deviation_first"], compute)
    gradient = -maths.flatten(snapshot_gradients(trained(model)))
    model.zero_grad(set_to_none=True)
    kept = ("policy/loss", "policy/entropy_nats", "policy/ratio_deviation_first")
    return gradient, {name: metrics[name] for name in kept} | {
        "policy/grad_norm": metrics["policy/ppo_grad_norm"]
    }


def fisher(
    cfg: PPO, policy: Policy, whole: Minibatch, weights: Vector, compute: Compute
) -> Callable[[Vector], Vector]:
    """The function v -> (F + damping I) v, F of the mean KL over answer tokens of some episodes."""
    num_episodes = math.ceil(cfg.trpo_fisher_share * len(whole.mask))
    some = only(whole, torch.arange(num_episodes))
    count = int(some.mask.sum())

    def product(vector: Vector) -> Vector:
        total = cfg.trpo_damping * vector
        for part in parts_of(cfg, some):
            logits_of = partial(read, cfg, policy, part, compute)
            total = total + maths.gauss_newton_product(logits_of, weights, vector) / count
        return total

    return product


@torch.no_grad()
def measure(
    cfg: PPO, policy: Policy, whole: Minibatch, old: Vector, new: Vector, compute: Compute
) -> tuple[float, float]:
    """The KL of ``old`` from ``new``, nats per token, and what L gains by the change."""
    kl = gain = 0.0
    for part in parts_of(cfg, whole):
        was, now = (read(cfg, policy, part, compute, weights) for weights in (old, new))
        kl += float(maths.categorical_kl(was, now).sum())
        gain += surrogate(cfg, now, part) - surrogate(cfg, was, part)
    count = int(whole.mask.sum())
    return kl / count, gain / count


def surrogate(cfg: PPO, logits: Float[Tensor, "R V"], part: Minibatch) -> float:
    """L of some episodes, the entropy bonus with it, summed over their tokens."""
    tokens = part.sequences.tokens[part.sequences.predicted()].to(logits.device)
    logprobs = as_rows(maths.token_logprobs(logits, tokens), part)
    losses = policy_losses(cfg, logprobs, part, klpen_coef=0.0)
    bonus = cfg.entropy_coef * float(maths.entropy(logits).sum()) if cfg.entropy_coef > 0 else 0.0
    return bonus - float(maths.masked_sum(losses, part.mask)[0])


def read(
    cfg: PPO, policy: Policy, part: Minibatch, compute: Compute, weights: Vector
) -> Float[Tensor, "R V"]:
    """The law of every answer token of some episodes, under these weights."""
    return logits_at(
        policy.model, weights, part.sequences, compute, temperature=cfg.sampling.temperature
    )
