"""What every training stage does around `backward`: AdamW, the clip, and the stop at non-finite."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, get_total_norm

from trivium.config import Adam
from trivium.errors import UserError
from trivium.runs.directory import Run
from trivium.text import Sequences


def adamw(parameters: Iterable[nn.Parameter], adam: Adam, *, lr: float) -> torch.optim.AdamW:
    """AdamW over fp32 master weights."""
    return torch.optim.AdamW(
        parameters,
        lr=lr,
        betas=adam.betas,
        eps=adam.eps,
        weight_decay=adam.weight_decay,
        foreach=True,
    )


def grad_norm(parameters: Iterable[nn.Parameter]) -> float:
    """Global L2 norm of the gradients as they stand."""
    return float(get_total_norm([p.grad for p in parameters if p.grad is not None]))


def update(
    optimizer: torch.optim.AdamW,
    *,
    lr: float,
    max_grad_norm: float,
    run: Run,
    step: int,
    batch: Sequences,
) -> float:
    """Clip, step, clear; returns the gradient norm before the clip.

    Raises:
        UserError: the gradient is not finite. Nothing was updated; the batch is kept for replay.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = float(clip_grad_norm_(parameters, max_grad_norm))
    if not torch.isfinite(torch.tensor(norm)):
        where = run.keep_batch(
            step,
            {
                "tokens": batch.tokens,
                "lengths": batch.lengths,
                "prompt_lengths": batch.prompt_lengths,
            },
            note="gradient norm is not finite",
        )
        raise UserError(
            f"step {step}: the gradient norm is {norm}; nothing was updated; the batch is kept in "
            f"{where}; lower the learning rate or use compute_dtype float32, then start again"
        )
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm


def snapshot_gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Copies of the gradients, to tell two sources of them apart."""
    return [torch.zeros_like(p) if p.grad is None else p.grad.detach().clone() for p in parameters]


def grad_norm_since(parameters: Iterable[nn.Parameter], before: list[Tensor]) -> float:
    """Norm of what was added to the gradients since ``before``."""
    added = [p.grad - old for p, old in zip(parameters, before, strict=True) if p.grad is not None]
    return float(get_total_norm(added))
