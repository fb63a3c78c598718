"""Learning-rate schedules, as multipliers of the peak: plain floats, functions of the step alone.

Steps count from 0 and are optimizer steps or PPO iterations, whichever the caller counts in.
"""

import math


def cosine_to(step: int, *, num_steps: int, floor: float = 0.1) -> float:
    r"""Cosine decay from 1 at step 0 to ``floor`` at ``num_steps``, without warm-up.

        floor + (1 - floor) (1 + cos(pi step / num_steps)) / 2

    Args:
        step: >= 0; past ``num_steps`` the answer stays at ``floor``.
        num_steps: length of the decay, >= 1.
        floor: share of the peak that is left; 0.1 in InstructGPT.

    Raises:
        ValueError: num_steps is below 1.

    Source: Ouyang et al. 2022, arXiv:2203.02155, appendix C.1 and C.2.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps is {num_steps}, expected at least 1")
    progress = min(step / num_steps, 1.0)
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))


def warmup_then_constant(step: int, *, warmup_steps: int, start: float = 0.1) -> float:
    """Linear from ``start`` at step 0 to 1 at ``warmup_steps``, then 1.

    Args:
        step: >= 0.
        warmup_steps: 10 iterations in InstructGPT's PPO; 0 means no warm-up.
        start: share of the peak at step 0; 0.1 in InstructGPT.

    Source: Ouyang et al. 2022, arXiv:2203.02155, appendix C.4.
    """
    if step >= warmup_steps:
        return 1.0
    return start + (1.0 - start) * step / warmup_steps
