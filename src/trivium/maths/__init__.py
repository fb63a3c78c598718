"""Every formula of trivium, as pure functions on tensors; the only room where arithmetic lives.

``classic`` (a gridworld) and ``stages`` (a language model) call the same functions.

Legend for all files: B episodes, T response tokens, V vocabulary, K answers to a prompt, P pairs.
Log-probabilities and KL are in nats, rewards and values in the reward model's units, masks are
bool and True where the token counts. Losses return one number per element, to be masked, summed
and divided by a global count.
"""

from trivium.maths.advantages import (
    bandit_advantages,
    batch_mean_advantages,
    broadcast_to_tokens,
    explained_variance,
    gae,
    grpo_advantages,
    rewards_to_go,
    rloo_advantages,
    total_rewards,
)
from trivium.maths.episodes import bootstrap_rewards, discounts, importance_weights
from trivium.maths.kl import (
    adaptive_kl_coef,
    adaptive_klpen_coef,
    kl_k1,
    kl_k2,
    kl_k3,
    shape_rewards,
)
from trivium.maths.logprobs import entropy, logprob_gradient_, token_logprobs
from trivium.maths.losses import ppo_clip_loss, ppo_klpen_loss, reinforce_loss, value_clip_loss
from trivium.maths.masks import last_token, length_mask, masked_sum, whiten
from trivium.maths.noise import gradient_noise
from trivium.maths.ranking import ranking_loss, untied_pairs
from trivium.maths.schedules import cosine_to, warmup_then_constant
from trivium.maths.statistics import RunningMoments, ema_update_, merge_moments, update_moments
from trivium.maths.trust_region import (
    categorical_fisher_product,
    categorical_kl,
    conjugate_gradient,
    fisher_vector_product,
    flatten,
    gauss_newton_product,
    tangent,
    trust_region_step,
)

__all__ = [
    "RunningMoments",
    "adaptive_kl_coef",
    "adaptive_klpen_coef",
    "bandit_advantages",
    "batch_mean_advantages",
    "bootstrap_rewards",
    "broadcast_to_tokens",
    "categorical_fisher_product",
    "categorical_kl",
    "conjugate_gradient",
    "cosine_to",
    "discounts",
    "ema_update_",
    "entropy",
    "explained_variance",
    "fisher_vector_product",
    "flatten",
    "gae",
    "gauss_newton_product",
    "gradient_noise",
    "grpo_advantages",
    "importance_weights",
    "kl_k1",
    "kl_k2",
    "kl_k3",
    "last_token",
    "length_mask",
    "logprob_gradient_",
    "masked_sum",
    "merge_moments",
    "ppo_clip_loss",
    "ppo_klpen_loss",
    "ranking_loss",
    "reinforce_loss",
    "rewards_to_go",
    "rloo_advantages",
    "shape_rewards",
    "tangent",
    "token_logprobs",
    "total_rewards",
    "trust_region_step",
    "untied_pairs",
    "update_moments",
    "value_clip_loss",
    "warmup_then_constant",
    "whiten",
]
