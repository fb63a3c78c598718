r"""How far a policy has moved: estimates of KL(pi || pi_ref), and its price in the reward.

All three estimators look at one sampled token a ~ pi and need only its two log-probabilities.
With r = pi_ref(a) / pi(a):

    k1 = -log r            unbiased, can be negative
    k2 = (log r)^2 / 2     biased, never negative
    k3 = (r - 1) - log r   unbiased, never negative

A good estimate of the value need not have a good gradient. k1 put in the reward (``shape_rewards``)
gives the policy gradient of KL(pi || pi_ref); k1 used as a loss has gradient zero in expectation,
k3 as a loss has the gradient of the other KL. So k1 is for training, its sum per response and
k3 are for watching.

Legend: B episodes, T response tokens.

Source: Schulman 2020, "Approximating KL divergence", http://joschu.net/blog/kl-approx.html.
"""

from jaxtyping import Bool, Float
from torch import Tensor

from trivium.maths.masks import last_token


def kl_k1(
    logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return log pi(a) - log pi_ref(a), nats per token: its sum is the KL of a response.

    Args:
        logprobs: log pi(a) of tokens sampled from pi, nats.
        ref_logprobs: log pi_ref(a) of the same tokens, nats.
    """
    return logprobs - ref_logprobs


def kl_k2(
    logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return (log pi(a) - log pi_ref(a))^2 / 2 per token, nats to second order.

    Arguments as in ``kl_k1``. PPO implementations report it as ``approxkl``, with the sampling
    policy in the place of pi.
    """
    return 0.5 * (logprobs - ref_logprobs).square()


def kl_k3(
    logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return (r - 1) - log r with r = pi_ref(a) / pi(a), nats per token, never negative.

    Arguments as in ``kl_k1``. r - 1 is ``expm1(log r)``: near r = 1, where training spends its
    time, ``exp(log r) - 1`` loses every digit in float32. A log r above 88.7 overflows to inf.
    """
    log_ratio = ref_logprobs - logprobs
    return log_ratio.expm1() - log_ratio


def shape_rewards(
    scores: Float[Tensor, " B"],
    logprobs: Float[Tensor, "B T"],
    ref_logprobs: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    kl_coef: float,
) -> Float[Tensor, "B T"]:
    r"""The reward of each token: the price of its divergence, and the score at the end.

        r_t = -beta log(pi(a_t) / pi_ref(a_t)) + [t is the last token that counts] R

    so that sum_t r_t = R - beta log(pi(y) / pi_ref(y)): the objective of the paper, told to each
    token as soon as it is known.

    Args:
        scores: R, the reward model's score of each response, (B,).
        logprobs: log pi(a_t) under the policy that sampled, (B, T), nats, no gradient.
        ref_logprobs: log pi_ref(a_t) under the frozen reference, (B, T), nats.
        mask: True on response tokens, the end token included.
        kl_coef: beta, reward units per nat; 0.02 in InstructGPT.

    Returns:
        (B, T), reward units; 0 off the mask.

    Raises:
        ValueError: a response has no token, so its score has no place to go.

    Source: Ouyang et al. 2022, arXiv:2203.02155, eq. 2; Ziegler et al. 2019, arXiv:1909.08593.
    """
    price = -kl_coef * kl_k1(logprobs, ref_logprobs).masked_fill(~mask, 0.0)
    return price + scores[:, None] * last_token(mask)


def adaptive_kl_coef(
    kl_coef: float,
    kl_nats: float,
    *,
    target_nats: float,
    num_episodes: int,
    horizon_episodes: float,
) -> float:
    r"""Ziegler's controller: move beta until a response costs ``target_nats``.

        e = clip(KL / target - 1, -0.2, 0.2),   beta' = beta (1 + e n / horizon)

    Args:
        kl_coef: beta now, reward units per nat.
        kl_nats: mean over episodes of the KL summed over a response, nats.
        target_nats: the KL to hold, > 0; 6 nats in Ziegler's style tasks.
        num_episodes: n, the episodes since the last call.
        horizon_episodes: episodes over which beta may change by about 20 %; 10000 there.

    Returns:
        beta for the next step.

    Source: Ziegler et al. 2019, arXiv:1909.08593, section 2.2.
    """
    error = min(max(kl_nats / target_nats - 1.0, -0.2), 0.2)
    return kl_coef * (1.0 + error * num_episodes / horizon_episodes)


def adaptive_klpen_coef(coef: float, kl: float, target: float) -> float:
    """Return the coefficient of PPO's KL penalty for the next policy update.

    Doubled when the last update moved further than 1.5 times the target, halved when it moved
    less than the target over 1.5, else unchanged.

    Args:
        coef: beta now, advantage units per nat.
        kl: KL(old || new) of the update just made, nats per token (per step in ``classic``).
        target: the KL wanted of an update, in the unit of ``kl``.

    Source: Schulman et al. 2017, arXiv:1707.06347, section 4.
    """
    if kl > 1.5 * target:
        return coef * 2.0
    if kl < target / 1.5:
        return coef / 2.0
    return coef
