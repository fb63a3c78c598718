"""Next-token loss over ragged text, for learning and for measuring."""

import torch

from trivium.models import Compute, Policy, token_losses
from trivium.text import Sequences, select


def backward_next_token(
    policy: Policy,
    sequences: Sequences,
    compute: Compute,
    *,
    rows_per_backward: int,
    weight: float,
    prompts_too: bool = False,
) -> float:
    """Accumulate the gradient of ``weight`` times the sum of -log p over predicted tokens.

    Args:
        policy: its model's gradients are added to.
        sequences: the examples.
        compute: device and dtype.
        rows_per_backward: examples per pass.
        weight: usually a coefficient divided by the global token count.
        prompts_too: whether the prompt's tokens are predicted as well.

    Returns:
        The unweighted sum of -log p, in nats.
    """
    total = 0.0
    for rows in torch.arange(len(sequences)).split(rows_per_backward):
        part = select(sequences, rows)
        losses = token_losses(policy.model, part, compute, prompts_too=prompts_too)
        (weight * losses.sum()).backward()
        total += float(losses.detach().sum())
    return total


@torch.no_grad()
def mean_next_token_loss(policy: Policy, sequences: Sequences, compute: Compute) -> float:
    """Mean of -log p over all predicted tokens, nats per token: one global sum, one count."""
    total, count = 0.0, 0
    for rows in torch.arange(len(sequences)).split(16):
        losses = token_losses(policy.model, select(sequences, rows), compute)
        total += float(losses.sum())
        count += len(losses)
    return total / count
