"""What a language model's answers do not need: discounts in time, cut episodes, other policies.

Legend: B episodes or pieces of episodes, T steps.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trivium.maths.masks import last_token


def discounts(times: Int[Tensor, "B T"], *, gamma: float) -> Float[Tensor, "B T"]:
    """Return gamma^t, the factor I of the policy gradient theorem for a discounted return.

    Args:
        times: t, steps since the episode began, (B, T).
        gamma: discount per step, in (0, 1].

    Source: Sutton and Barto 2018, sections 13.3 and 13.5.
    """
    return gamma ** times.to(torch.float32)


def bootstrap_rewards(
    rewards: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    next_values: Float[Tensor, " B"],
    ended: Bool[Tensor, " B"],
    *,
    gamma: float,
) -> Float[Tensor, "B T"]:
    r"""Put what a cut episode would still have earned onto its last reward.

        r_T + gamma V(s_{T+1})      where the row was cut, not ended

    ``gae`` and ``rewards_to_go`` take rows as finished episodes; with these rewards they treat a
    row that was cut (by the length of a rollout or a time limit) as the paper's formulas do.

    Args:
        rewards: (B, T).
        mask: True on steps that count; each row is one run of True.
        next_values: V of the state after the last step of each row, (B,), no gradient.
        ended: True where there is no such state: the episode is over.
        gamma: discount per step.
    """
    tail = gamma * next_values.masked_fill(ended, 0.0)
    return rewards + tail[:, None] * last_token(mask)


def importance_weights(
    logprobs: Float[Tensor, "B T"],
    behaviour_logprobs: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    cap: float | None,
) -> Float[Tensor, "B T"]:
    r"""How much likelier the target policy was to come this far than the policy that acted.

        w_t = prod_{u <= t} pi(a_u | s_u) / b(a_u | s_u)

    The transitions are in both products and cancel. E_b[w_t r_t] = E_pi[r_t], at a variance that
    grows with t.

    Args:
        logprobs: log pi(a_t | s_t), (B, T), nats.
        behaviour_logprobs: log b(a_t | s_t), of the policy that acted.
        mask: True on steps that count; each row is one run of True.
        cap: largest weight, above 1; less variance and a bias. None: unbiased.

    Returns:
        (B, T), 0 off the mask.

    Source: Precup, Sutton and Singh 2000, "Eligibility traces for off-policy policy evaluation";
    Sutton and Barto 2018, section 5.9.
    """
    weights = (logprobs - behaviour_logprobs).masked_fill(~mask, 0.0).cumsum(1).exp()
    weights = weights if cap is None else weights.clamp(max=cap)
    return weights.masked_fill(~mask, 0.0)
