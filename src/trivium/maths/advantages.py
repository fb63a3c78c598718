"""Who deserves the credit: advantages and returns of whole episodes.

Two families. ``gae`` and ``rewards_to_go`` work on the reward of each token, (B, T). The others
see a response as one action with one total, (B,), and differ in what they subtract from it;
``broadcast_to_tokens`` then hands the number to every token of the response.

Legend: B episodes, T response tokens. Everything here is data to a loss: no gradient flows.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trivium.maths.kl import kl_k1


def gae(
    rewards: Float[Tensor, "B T"],
    values: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    gamma: float,
    lam: float,
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    r"""Generalised advantage estimation over finished episodes.

        delta_t = r_t + gamma V_{t+1} - V_t
        A_t     = delta_t + gamma lam A_{t+1}          (V, A = 0 after the last token)

    Args:
        rewards: reward for emitting token t, in reward-model units.
        values: V(s_t), the value *before* token t is emitted.
        mask: True on response tokens; each row is one run of True.
        gamma: discount per token, in [0, 1]. InstructGPT uses 1.
        lam: bias-variance dial, in [0, 1]. 0 is the TD error, 1 is Monte Carlo.

    Returns:
        Advantages and returns (advantages + values), both 0 outside the mask.

    Source: Schulman et al. 2016, arXiv:1506.02438, eq. 16.
    """
    rewards, values = rewards.masked_fill(~mask, 0.0), values.masked_fill(~mask, 0.0)
    advantages = torch.zeros_like(rewards)
    next_value = next_advantage = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantages[:, t] = delta + gamma * lam * next_advantage
        next_value, next_advantage = values[:, t], advantages[:, t]
    advantages = advantages.masked_fill(~mask, 0.0)
    return advantages, advantages + values


def rewards_to_go(
    rewards: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], *, gamma: float
) -> Float[Tensor, "B T"]:
    r"""Discounted sum of the rewards from each token on: what REINFORCE weighs a token with.

        G_t = r_t + gamma G_{t+1}                      (G = 0 after the last token)

    Args:
        rewards: reward for emitting token t, (B, T).
        mask: True on response tokens; each row is one run of True.
        gamma: discount per token, in [0, 1].

    Returns:
        (B, T), reward units, 0 outside the mask.

    Source: Williams 1992; Sutton and Barto 2018, section 13.3.
    """
    rewards = rewards.masked_fill(~mask, 0.0)
    to_go = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        following = rewards[:, t] + gamma * following
        to_go[:, t] = following
    return to_go.masked_fill(~mask, 0.0)


def total_rewards(
    scores: Float[Tensor, " B"],
    logprobs: Float[Tensor, "B T"],
    ref_logprobs: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    kl_coef: float,
) -> Float[Tensor, " B"]:
    r"""What a whole response earned: R - beta sum_t log(pi(a_t) / pi_ref(a_t)).

    The row sums of ``shape_rewards``, with the same arguments; the input of the estimators below.

    Returns:
        (B,), reward units.
    """
    kl = kl_k1(logprobs, ref_logprobs).masked_fill(~mask, 0.0).sum(1)
    return scores - kl_coef * kl


def bandit_advantages(
    scores: Float[Tensor, " B"],
    logprobs: Float[Tensor, "B T"],
    ref_logprobs: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    kl_coef: float,
) -> Float[Tensor, "B T"]:
    r"""The bandit reading of RLHF: one response is one action, and nothing is subtracted.

        A_t = R - beta sum_u log(pi(a_u) / pi_ref(a_u))     for every token t of the response

    With ``reinforce_loss`` summed over a response this is REINFORCE on (prompt, response) pairs:
    unbiased, and of high variance, which is what baselines and critics are for.

    Arguments as in ``shape_rewards``.

    Returns:
        (B, T), reward units, 0 outside the mask.

    Source: Ouyang et al. 2022, arXiv:2203.02155, section 3.5 ("the environment is a bandit").
    """
    totals = total_rewards(scores, logprobs, ref_logprobs, mask, kl_coef=kl_coef)
    return broadcast_to_tokens(totals, mask)


def batch_mean_advantages(totals: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Subtract the mean of the batch: REINFORCE with the simplest baseline.

    A row is part of its own baseline, which scales the expected gradient by (B - 1) / B;
    ``rloo_advantages`` with one group of B has no such factor.

    Args:
        totals: reward of each response, (B,), the KL penalty included.
    """
    return totals - totals.mean()


def rloo_advantages(totals: Float[Tensor, " B"], *, group_size: int) -> Float[Tensor, " B"]:
    r"""REINFORCE leave-one-out: the baseline of a response is the mean of its siblings.

        A_i = R_i - 1 / (k - 1) sum_{j != i} R_j

    Args:
        totals: R, (B,), the KL penalty included. Rows 0 .. k - 1 answer the first prompt, the next
            k rows the second, and so on.
        group_size: k, answers per prompt, at least 2.

    Returns:
        (B,), reward units; each group sums to 0.

    Raises:
        ValueError: group_size is below 2, or does not divide B.

    Source: Ahmadian et al. 2024, arXiv:2402.14740, eq. 8.
    """
    groups = _groups(totals, group_size)
    others = (groups.sum(1, keepdim=True) - groups) / (group_size - 1)
    return (groups - others).flatten()


def grpo_advantages(
    totals: Float[Tensor, " B"], *, group_size: int, eps: float = 1e-4
) -> Float[Tensor, " B"]:
    r"""Group-relative advantages: the z-score of a response among its siblings.

        A_i = (R_i - mean(R)) / (std(R) + eps)

    The deviation divides by k - 1 here, unlike in ``whiten``: the paper does not say, and this is
    what its public implementations compute.

    Args:
        totals: R, (B,); rows as in ``rloo_advantages``.
        group_size: k, answers per prompt, at least 2.
        eps: in reward units; a group whose answers all earn the same gets 0, not NaN.

    Returns:
        (B,), in standard deviations of the group.

    Raises:
        ValueError: group_size is below 2, or does not divide B.

    Source: Shao et al. 2024, arXiv:2402.03300, section 4.1.2; eps and k - 1 from
    huggingface/trl trl/trainer/grpo_trainer.py.
    """
    groups = _groups(totals, group_size)
    centred = groups - groups.mean(1, keepdim=True)
    return (centred / (groups.std(1, keepdim=True) + eps)).flatten()


def broadcast_to_tokens(x: Float[Tensor, " B"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Give every token that counts the number of its row, and 0 to the others."""
    return x[:, None] * mask


def explained_variance(
    values: Float[Tensor, "B T"], returns: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, ""]:
    r"""Share of the returns' variance that the value function predicts.

        1 - Var(G - V) / Var(G), over the mask

    Args:
        values: V, predicted, (B, T).
        returns: G, observed, (B, T), same unit.
        mask: True where the token counts.

    Returns:
        1 is perfect, 0 no better than a constant, below 0 worse. NaN when the returns do not
        vary or nothing counts: the question has no answer then.
    """
    values, returns = values[mask].double(), returns[mask].double()
    if returns.numel() == 0:
        return torch.tensor(torch.nan, device=returns.device)
    variance = returns.var(correction=0)
    explained = 1.0 - (returns - values).var(correction=0) / variance
    return explained.masked_fill(variance == 0.0, torch.nan).float()


def _groups(totals: Float[Tensor, " B"], group_size: int) -> Float[Tensor, "P K"]:
    if group_size < 2:
        raise ValueError(f"group_size is {group_size}, expected at least 2: siblings to compare")
    if len(totals) % group_size:
        raise ValueError(f"{len(totals)} responses do not form whole groups of {group_size}")
    return totals.reshape(-1, group_size)
