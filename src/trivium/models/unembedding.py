"""Log-probabilities from hidden states, without the logits of a whole batch.

Logits are the largest tensor of training: V numbers a token. They are made for some rows at a time.
If all rows fit into one such chunk it is kept for backward, and becomes the gradient in its own
memory; if not, each chunk is made again. What is held never grows with V times the tokens.

torch's own `linear_cross_entropy` does the same, slower on a processor (docs/performance.md).

Legend: R predicted tokens, d hidden size, V vocabulary.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from trivium.maths import logprob_gradient_, token_logprobs


def chunked_logprobs(
    head: nn.Linear,
    hidden: Float[Tensor, "R d"],
    tokens: Int[Tensor, " R"],
    *,
    temperature: float,
    rows: int,
) -> Float[Tensor, " R"]:
    """log softmax(head(hidden) / temperature) at ``tokens``, fp32; products in the hidden's dtype.

    Args:
        head: the unembedding.
        hidden: states that predict the tokens.
        tokens: what is predicted.
        temperature: divides the logits.
        rows: logits are made for so many tokens at a time.
    """
    return _Logprobs.apply(hidden, head.weight, head.bias, tokens, temperature, rows)


def logits_of(head: nn.Linear, hidden: Float[Tensor, "n d"]) -> Float[Tensor, "n V"]:
    """``head(hidden)`` in the dtype of the hidden states, the head's weights being fp32 masters."""
    return F.linear(hidden, *_cast(head.weight, head.bias, hidden.dtype))


def _cast(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    return weight.to(dtype), None if bias is None else bias.to(dtype)


class _Logprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, bias, tokens, temperature, rows):
        matrix, own = _cast(weight, bias, hidden.dtype)
        logprobs, logits = [], hidden.new_empty(0)
        for part, wanted in zip(hidden.split(rows), tokens.split(rows), strict=True):
            logits = F.linear(part, matrix, own).float()
            logprobs.append(token_logprobs(logits, wanted, temperature=temperature))
        joined = torch.cat(logprobs)
        kept = logits if len(logprobs) == 1 else None
        ctx.save_for_backward(hidden, weight, bias, tokens, joined, kept)
        ctx.temperature, ctx.rows = temperature, rows
        return joined

    @staticmethod
    def backward(ctx, upstream):  # pyright: ignore[reportIncompatibleMethodOverride]
        hidden, weight, bias, tokens, logprobs, kept = ctx.saved_tensors
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        matrix, own = _cast(weight, bias, hidden.dtype)
        to_hidden = torch.empty_like(hidden) if needs_hidden else None
        to_weight = torch.zeros_like(weight) if needs_weight else None
        to_bias = torch.zeros_like(bias) if needs_bias else None
        for start in range(0, len(hidden), ctx.rows):
            some = slice(start, start + ctx.rows)
            part = hidden[some]
            logits = kept
            if logits is None:
                logits = F.linear(part, matrix, own).float()
            gradient = logprob_gradient_(
                logits, tokens[some], logprobs[some], upstream[some], temperature=ctx.temperature
            )
            if to_bias is not None:
                to_bias += gradient.sum(0)
            gradient = gradient.to(hidden.dtype)
            if to_hidden is not None:
                to_hidden[some] = gradient @ matrix
            if to_weight is not None:
                _add_product(to_weight, gradient, part)
        return to_hidden, to_weight, to_bias, None, None, None


def _add_product(
    total: Float[Tensor, "V d"], gradient: Float[Tensor, "n V"], hidden: Float[Tensor, "n d"]
) -> None:
    if total.dtype is gradient.dtype:
        total.addmm_(gradient.T, hidden)
    else:
        total += gradient.T @ hidden
