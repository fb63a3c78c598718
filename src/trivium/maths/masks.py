"""Sums over the tokens that count.

Legend: B episodes, T response tokens. A mask is bool and True where the token counts; it is made
from lengths, never from token ids, because the padding token may equal the end-of-text token.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def length_mask(lengths: Int[Tensor, " B"], width: int) -> Bool[Tensor, "B T"]:
    """Return the (B, width) mask whose row b is True on its first ``lengths[b]`` places.

    Args:
        lengths: tokens that count in each row, (B,), each in [0, width].
        width: T, the number of columns.
    """
    return torch.arange(width, device=lengths.device)[None, :] < lengths[:, None]


def last_token(mask: Bool[Tensor, "B T"]) -> Bool[Tensor, "B T"]:
    """Return a (B, T) mask of one True per row: the last token of the row that counts.

    Raises:
        ValueError: a row counts no token at all, so it has no last one.
    """
    from_the_end = mask.flip(1).cumsum(1).flip(1)
    last = mask & (from_the_end == 1)
    if not bool(last.any(1).all()):
        raise ValueError("a row of the mask is empty: every response needs at least its end token")
    return last


def masked_sum(
    x: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Sum of ``x`` over the mask, and how many tokens that was.

    A sum and a count, never a mean: sums add up across micro-batches and processes,
    means do not.
    """
    return x.masked_fill(~mask, 0.0).sum(), mask.sum()


def _one_process(share: Tensor) -> Tensor:
    return share


def whiten(
    x: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    shift_mean: bool = True,
    eps: float = 1e-8,
    sum_over_processes: Callable[[Tensor], Tensor] = _one_process,
) -> Float[Tensor, "B T"]:
    r"""Scale ``x`` to variance 1 over the mask, around mean 0 or around its own mean; 0 elsewhere.

        y = (x - mean) / sqrt(variance + eps)  [+ mean, when shift_mean is False]

    The variance divides by N, not N - 1.

    Args:
        x: (B, T), any unit.
        mask: True where the token counts. With no such token the answer is all zeros.
        shift_mean: False keeps the mean, as is done with rewards: their sign means something.
        eps: added to the variance, so that a constant ``x`` becomes 0 instead of NaN.
        sum_over_processes: adds a scalar up over all processes, so that the mean and the variance
            are those of the whole batch and not of one process's share of it.

    Returns:
        (B, T), in standard deviations.

    Source: openai/lm-human-preferences@cbfd210 lm_human_preferences/utils/core.py
    (``whiten``, whose ``tf.nn.moments`` is the population variance).
    """
    total, count = masked_sum(x, mask)
    num_tokens = sum_over_processes(count).clamp(min=1)
    mean = sum_over_processes(total) / num_tokens
    centred = (x - mean).masked_fill(~mask, 0.0)
    variance = sum_over_processes(centred.square().sum()) / num_tokens
    scaled = centred * (variance + eps).rsqrt()
    return scaled if shift_mean else (scaled + mean).masked_fill(~mask, 0.0)
