r"""Losses, one number per element. The caller masks, sums, counts and divides.

Importance ratios are not clamped here. A log ratio above 88.7 overflows float32: the ratio is inf,
the gradient is NaN (A >= 0) or infinite (A < 0), and a check of the gradient norm stops the run.
That is meant: it says that sampling and scoring disagree (temperature, dropout, padding), and a
clamp would only hide it behind a biased gradient. A masked-out token is no exception, since 0
times inf is NaN too: in the padding, let the two log-probabilities be equal, 0 for example.
A very negative log ratio is harmless, the ratio is 0.

Legend: B episodes, T response tokens.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from trivium.maths.kl import kl_k3


def reinforce_loss(
    logprobs: Float[Tensor, "B T"], advantages: Float[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    r"""The policy gradient as a loss: minimise it.

        L_t = -A_t log pi(a_t)

    Args:
        logprobs: log pi(a_t | s_t) in nats, (B, T), carries the gradient.
        advantages: A_t in reward units, (B, T), no gradient; on-policy, so no ratio.

    Returns:
        (B, T). Its value means nothing, its gradient is the policy gradient.

    Source: Williams 1992, "Simple statistical gradient-following algorithms".
    """
    return -advantages * logprobs


def ppo_clip_loss(
    logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B T"],
    *,
    clip: float,
) -> Float[Tensor, "B T"]:
    r"""PPO's clipped surrogate, negated: minimise it.

        L_t = -min(rho_t A_t, clip(rho_t, 1 - c, 1 + c) A_t),  rho_t = pi(a_t) / pi_old(a_t)

    Args:
        logprobs: log pi(a_t | s_t) in nats, (B, T), carries the gradient.
        old_logprobs: the same under the policy that sampled, (B, T), no gradient.
        advantages: A_t in reward units, (B, T), no gradient.
        clip: c > 0; 0.2 in PPO and in InstructGPT.

    Returns:
        (B, T). See the head of this module for log ratios above 88.7.

    Source: Schulman et al. 2017, arXiv:1707.06347, eq. 7.
    """
    ratio = (logprobs - old_logprobs).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def ppo_klpen_loss(
    logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B T"],
    *,
    kl_coef: float,
) -> Float[Tensor, "B T"]:
    r"""PPO's surrogate with a KL penalty in place of the clip, negated: minimise it.

        L_t = -rho_t A_t + beta ((rho_t - 1) - log rho_t),   rho_t = pi(a_t) / pi_old(a_t)

    The second term estimates KL(pi_old || pi) from one token that pi_old sampled. Since the
    expectation is over pi_old, which is fixed, the gradient of the estimate is an estimate of the
    gradient: E_old[(rho - 1) grad log pi] = -E_old[grad log pi] = grad KL(pi_old || pi), because
    E_old[rho grad log pi] = E_pi[grad log pi] = 0. The shorter -log rho has the same expectation,
    but pulls at random where pi = pi_old; this one is exactly at rest there, and never negative.
    Prefixes come from pi_old too, so the sum over a response is the KL of whole responses.

    Args:
        logprobs: log pi(a_t | s_t) in nats, (B, T), carries the gradient.
        old_logprobs: the same under the policy that sampled, (B, T), no gradient.
        advantages: A_t, (B, T), no gradient.
        kl_coef: beta, advantage units per nat; see ``adaptive_klpen_coef``.

    Returns:
        (B, T). See the head of this module for log ratios above 88.7.

    Source: Schulman et al. 2017, arXiv:1707.06347, eq. 8.
    """
    ratio = (logprobs - old_logprobs).exp()
    return -ratio * advantages + kl_coef * kl_k3(old_logprobs, logprobs)


def value_clip_loss(
    values: Float[Tensor, "B T"],
    old_values: Float[Tensor, "B T"],
    returns: Float[Tensor, "B T"],
    *,
    clip: float,
) -> Float[Tensor, "B T"]:
    r"""Squared error of the value function, with a step limited to ``clip``.

        L_t = max((V - G)^2, (clip(V, V_old - c, V_old + c) - G)^2) / 2

    Once V has moved c towards G its gradient stops; a V that moved away is still pulled back.

    Args:
        values: V(s_t), (B, T), carries the gradient.
        old_values: V(s_t) when the episode was sampled, (B, T), no gradient.
        returns: G_t, (B, T), reward units, no gradient.
        clip: c > 0, reward units; 0.2 in Ziegler et al.

    Returns:
        (B, T), squared reward units. Off the mask the inputs may hold anything finite whose
        square is finite.

    Source: openai/lm-human-preferences@cbfd210 lm_human_preferences/train_policy.py (``loss``).
    """
    clipped = values.clamp(old_values - clip, old_values + clip)
    return 0.5 * torch.maximum((values - returns).square(), (clipped - returns).square())
