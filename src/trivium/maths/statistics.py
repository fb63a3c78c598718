"""Numbers that are carried from step to step: averaged weights, running mean and variance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


def ema_update_(averages: Sequence[Tensor], values: Sequence[Tensor], *, decay: float) -> None:
    """Move every average towards its value, in place: a = decay a + (1 - decay) v.

    Keep averages in float32: at decay 0.992 a step is below the resolution of bfloat16.

    Args:
        averages: tensors to change, same shapes, types and devices as ``values``.
        values: the weights now.
        decay: in [0, 1]; 0.992 in InstructGPT, a half-life of 86 updates.

    Raises:
        ValueError: there are not as many averages as values, or decay is outside [0, 1].

    Source: Ouyang et al. 2022, arXiv:2203.02155, appendix C.4.
    """
    if len(averages) != len(values):
        raise ValueError(f"{len(averages)} averages for {len(values)} values")
    get_ema_multi_avg_fn(decay)(list(averages), list(values), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningMoments:
    """Count, mean and squared deviations of all numbers seen so far, in float64."""

    count: int = 0
    """How many numbers were seen."""

    mean: float = 0.0
    """Their mean."""

    m2: float = 0.0
    """Sum of their squared deviations from the mean."""

    @property
    def std(self) -> float:
        """Population standard deviation; NaN when nothing was seen."""
        return math.sqrt(self.m2 / self.count) if self.count else math.nan


def merge_moments(a: RunningMoments, b: RunningMoments) -> RunningMoments:
    r"""Moments of two disjoint sets of numbers together: over time, or over processes.

        mean = mean_a + d n_b / n,   m2 = m2_a + m2_b + d^2 n_a n_b / n,   d = mean_b - mean_a

    Source: Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for
    computing sample variances".
    """
    count = a.count + b.count
    if count == 0:
        return a
    shift = b.mean - a.mean
    return RunningMoments(
        count=count,
        mean=a.mean + shift * b.count / count,
        m2=a.m2 + b.m2 + shift * shift * a.count * b.count / count,
    )


def update_moments(
    moments: RunningMoments, x: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]
) -> RunningMoments:
    """Moments after the numbers of ``x`` that count have been seen too.

    Args:
        moments: of everything before.
        x: new numbers, any shape, scores (B,) or token rewards (B, T).
        mask: same shape, True where the number counts.
    """
    new = x[mask].double()
    if new.numel() == 0:
        return moments
    mean = new.mean()
    seen = RunningMoments(
        count=new.numel(), mean=mean.item(), m2=(new - mean).square().sum().item()
    )
    return merge_moments(moments, seen)
