"""Models: load, save, heads, and the one forward pass that knows about padding."""

from trivium.models.compute import Compute, compute_for
from trivium.models.dropout import set_residual_dropout
from trivium.models.forward import (
    response_logprobs,
    response_values,
    sequence_scores,
    token_losses,
)
from trivium.models.heads import Critic, fold_bias, separate_critic, shared_critic
from trivium.models.load import Policy, RewardModel, load_policy, load_reward_model, resolve
from trivium.models.lora import (
    adapt_policy,
    adapt_reward_model,
    adapt_trunk,
    merge_policy,
    merge_reward_model,
    save_adapter,
    trained,
)
from trivium.models.save import save_policy, save_reward_model

__all__ = [
    "Compute",
    "Critic",
    "Policy",
    "RewardModel",
    "adapt_policy",
    "adapt_reward_model",
    "adapt_trunk",
    "compute_for",
    "fold_bias",
    "load_policy",
    "load_reward_model",
    "merge_policy",
    "merge_reward_model",
    "resolve",
    "response_logprobs",
    "response_values",
    "save_adapter",
    "save_policy",
    "save_reward_model",
    "separate_critic",
    "sequence_scores",
    "set_residual_dropout",
    "shared_critic",
    "token_losses",
    "trained",
]
