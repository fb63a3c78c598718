"""Scalar heads: a critic of its own or on the policy's trunk, and the reward model's bias.

Legend: n texts, d hidden size.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from trivium.errors import UserError
from trivium.models.load import Policy, RewardModel
from trivium.models.lora import trained


@dataclass(frozen=True, slots=True)
class Critic:
    """A value function: a trunk and one linear head.

    Attributes:
        trunk: the network whose hidden states the head reads; the policy itself when shared.
        head: Linear(d, 1).
        shared: whether ``trunk`` is the policy.
    """

    trunk: PreTrainedModel
    head: nn.Linear
    shared: bool

    def parameters(self) -> list[nn.Parameter]:
        """What the value loss trains besides the policy."""
        own = [] if self.shared else trained(self.trunk)
        return own + list(self.head.parameters())


def shared_critic(policy: Policy) -> Critic:
    """One linear head on the policy's trunk, zero at first (Ziegler et al. 2019)."""
    return Critic(trunk=policy.model, head=_zero_head(policy.model), shared=True)


def separate_critic(
    policy: Policy,
    start: RewardModel | None,
    *,
    take: Callable[[PreTrainedModel], PreTrainedModel] = copy.deepcopy,
) -> Critic:
    """A network of its own, from the reward model (paper C.2, C.4), else from the policy.

    From the reward model its head comes along; from the policy the head starts at zero.

    Args:
        policy: whose tokens it reads.
        start: the reward model.
        take: how a trunk is taken over: copied, or its weights shared and an adapter trained.

    Raises:
        UserError: the reward model has another tokenizer or template than the policy, so it can't
            read the policy's tokens.
    """
    if start is None:
        trunk = take(policy.model.base_model)
        return Critic(trunk=trunk, head=_zero_head(policy.model), shared=False)
    if start.codec.hash != policy.codec.hash:
        raise UserError(
            f"value_from: the reward model {start.name} has another tokenizer or template than "
            f"the policy ({start.codec.hash} against {policy.codec.hash}); "
            f"set value_from to a model that shares the policy's, or value to shared"
        )
    trunk = take(start.model.base_model)
    return Critic(trunk=trunk, head=_with_bias(copy.deepcopy(start.head)), shared=False)


def fold_bias(
    head: nn.Linear,
    hidden: Float[Tensor, "n d"],
    shift: float,
    *,
    exact_rows: Tensor,
    ridge: float = 1e-4,
) -> float:
    """Move every score by ``shift``, inside the head's weight if it has no bias parameter.

    Hugging Face's classification heads mostly have no bias. A direction u with h . u = 1 for all
    hidden states does its work: w + shift u scores h at w . h + shift. Here u is the ridge least
    squares solution over the calibration texts, then scaled so that the mean of h . u over
    ``exact_rows`` (the demonstrations) is exactly 1.

    Args:
        head: Linear(d, 1), changed in place.
        hidden: hidden states at the read-out position of n calibration texts.
        shift: what is to be added to every score.
        exact_rows: which of the texts must be shifted by exactly ``shift`` on average.
        ridge: penalty on u, relative to the mean squared hidden state.

    Returns:
        Root mean square of the error of the shift over the calibration texts, in score units;
        0 when the head has a bias.
    """
    with torch.no_grad():
        if head.bias is not None:
            head.bias.add_(shift)
            return 0.0
        h = hidden.double().cpu()
        gram = h.T @ h
        penalty = ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
        u = torch.linalg.solve(gram + penalty, h.sum(0))
        u = u / (h[exact_rows] @ u).mean()
        head.weight += shift * u.to(head.weight)[None, :]
        return float((shift * (h @ u - 1)).square().mean().sqrt())


def _zero_head(model: PreTrainedModel) -> nn.Linear:
    head = nn.Linear(model.config.get_text_config().hidden_size, 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head.to(next(model.parameters()).device)


def _with_bias(head: nn.Linear) -> nn.Linear:
    """A critic's head may have a bias even where the reward model's folder can't store one."""
    if head.bias is None:
        head.bias = nn.Parameter(torch.zeros(1, device=head.weight.device))
    return head
