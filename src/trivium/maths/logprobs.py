"""From logits to the log-probability of the tokens that were sampled.

Logits at position t describe the token at t + 1; the caller lines them up. Sampling and scoring
must use one temperature, or importance ratios and KL are those of another policy.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def token_logprobs(
    logits: Float[Tensor, "*shape V"], tokens: Int[Tensor, "*shape"], *, temperature: float = 1.0
) -> Float[Tensor, "*shape"]:
    r"""Log-probability of each token under softmax(logits / temperature), in float32.

        log p(a) = z_a - logsumexp(z),  z = logits / temperature

    The full log-softmax is never made: for float32 logits at temperature 1, no second tensor of
    their size is kept for the backward pass.

    Args:
        logits: (..., V), any float type; the arithmetic is float32 whatever comes in.
        tokens: (...), ids in [0, V).
        temperature: the one the tokens were sampled with, > 0.

    Returns:
        (...), nats, float32.

    Raises:
        ValueError: the temperature is not positive.
    """
    scaled = _scaled(logits, temperature)
    chosen = scaled.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    return chosen - scaled.logsumexp(-1)


def logprob_gradient_(
    logits: Float[Tensor, "n V"],
    tokens: Int[Tensor, " n"],
    logprobs: Float[Tensor, " n"],
    upstream: Float[Tensor, " n"],
    *,
    temperature: float = 1.0,
) -> Float[Tensor, "n V"]:
    r"""Turn logits into the gradient of a loss with respect to them, in their own memory.

        dL/dlogit_v = g (1[v = a] - p_v) / temperature,  p_v = exp(z_v - z_a + log p(a))

    Autograd would make three more tensors of this size, the largest there is in training.

    Args:
        logits: (n, V) float32; overwritten.
        tokens: (n,) the tokens a.
        logprobs: (n,) what `token_logprobs` gave for them.
        upstream: (n,) g = dL/dlog p(a).
        temperature: as in `token_logprobs`.

    Returns:
        (n, V), the memory of ``logits``.
    """
    if temperature != 1.0:
        logits /= temperature
    chosen = tokens.unsqueeze(-1)
    normalizer = logits.gather(-1, chosen) - logprobs.unsqueeze(-1)
    scale = (upstream / temperature).unsqueeze(-1)
    logits.sub_(normalizer).exp_().mul_(-scale)
    return logits.scatter_add_(-1, chosen, scale)


def entropy(
    logits: Float[Tensor, "*shape V"], *, temperature: float = 1.0
) -> Float[Tensor, "*shape"]:
    r"""Entropy of softmax(logits / temperature), in float32.

        H = logsumexp(z) - sum_a p_a z_a,  z = logits / temperature

    Args:
        logits: (..., V), any float type. A token forbidden with -inf adds nothing.
        temperature: > 0.

    Returns:
        (...), nats, between 0 and log V.

    Raises:
        ValueError: the temperature is not positive.
    """
    scaled = _scaled(logits, temperature)
    probabilities = scaled.softmax(-1)
    # p z -> 0 as z -> -inf, but in floats 0 * -inf is NaN
    finite = scaled.masked_fill(scaled.isneginf(), 0.0)
    return scaled.logsumexp(-1) - (probabilities * finite).sum(-1)


def _scaled(logits: Float[Tensor, "*shape V"], temperature: float) -> Float[Tensor, "*shape V"]:
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}, expected a number above 0")
    logits = logits.to(torch.float32)
    # Dividing by 1 would copy (..., V) numbers, the largest tensor there is in training.
    return logits if temperature == 1.0 else logits / temperature
