"""What every training stage does around `backward`: AdamW, the clip, and the stop at non-finite."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.nn.utils import clip_grad_norm_, get_total_norm

from trivium.config import Adam
from trivium.errors import UserError
from trivium.runs.directory import Run
from trivium.text import Sequences


def adamw(parameters: Iterable[nn.Parameter], adam: Adam, *, lr: float) -> torch.optim.AdamW:
    """AdamW over fp32 master weights, in one pass over them and without copies."""
    return torch.optim.AdamW(
        parameters,
        lr=lr,
        betas=adam.betas,
        eps=adam.eps,
        weight_decay=adam.weight_decay,
        fused=True,
    )


def static_bytes(networks: Iterable[nn.Module], learned: Iterable[nn.Parameter]) -> int:
    """Bytes held from the first update on: fp32 weights, each once however many networks share it.

    Those that are trained have a gradient and Adam's two moments besides.
    """
    held = {id(p): p.numel() for network in networks for p in network.parameters()}
    return 4 * sum(held.values()) + 12 * sum(p.numel() for p in learned)


def grad_norm(parameters: Iterable[nn.Parameter]) -> float:
    """Global L2 norm of the gradients as they stand."""
    return float(get_total_norm([p.grad for p in parameters if p.grad is not None]))


@dataclass(frozen=True, slots=True)
class Learner:
    """An optimizer, the rate of its next step, and what its parameters are called in messages."""

    optimizer: torch.optim.AdamW
    lr: float
    name: str = "model"

    def parameters(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]


def update(
    learners: Sequence[Learner],
    *,
    max_grad_norm: float,
    run: Run,
    step: int,
    batch: Sequences,
) -> list[float]:
    """Clip, step, clear; returns each learner's gradient norm before the clip.

    Every gradient is looked at before anything moves: either all learners step, or none does.

    Raises:
        UserError: a gradient is not finite. All weights and optimizers are as they were before
            this update; the batch is kept for replay.
    """
    norms = [float(clip_grad_norm_(one.parameters(), max_grad_norm)) for one in learners]
    for learner, norm in zip(learners, norms, strict=True):
        check_finite(norm, learner.name, run=run, step=step, batch=batch)
    for learner in learners:
        for group in learner.optimizer.param_groups:
            group["lr"] = learner.lr
        learner.optimizer.step()
        learner.optimizer.zero_grad(set_to_none=True)
    return norms


def check_finite(norm: float, name: str, *, run: Run, step: int, batch: Sequences) -> None:
    """Stop before an update that would spoil the weights.

    Args:
        norm: of the gradient.
        name: what it is the gradient of, in the message.
        run: keeps the batch.
        step: where this happened.
        batch: what was learned from.

    Raises:
        UserError: the norm is not finite.
    """
    if math.isfinite(norm):
        return
    where = run.keep_batch(
        step,
        {
            "tokens": batch.tokens,
            "lengths": batch.lengths,
            "prompt_lengths": batch.prompt_lengths,
        },
        note=f"gradient norm of the {name} is not finite",
    )
    raise UserError(
        f"step {step}: the gradient norm of the {name} is {norm}; this update was "
        f"not made, to no weight; its batch is kept in {where}; lower the learning rate "
        f"or use compute_dtype float32, then start again"
    )


def snapshot_gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Copies of the gradients, to tell two sources of them apart."""
    return [torch.zeros_like(p) if p.grad is None else p.grad.detach().clone() for p in parameters]


def grad_norm_since(parameters: Iterable[nn.Parameter], before: list[Tensor]) -> float:
    """Norm of what was added to the gradients since ``before``; one difference at a time."""
    pairs = zip(parameters, before, strict=True)
    norms = [vector_norm(p.grad - old) for p, old in pairs if p.grad is not None]
    return float(vector_norm(torch.stack(norms)))
