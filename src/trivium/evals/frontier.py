"""Reward against divergence: the axis on which over-optimisation is drawn."""

import math


def sqrt_kl(kl_nats: float) -> float:
    """Distance from the reference policy, d = sqrt(KL), in square roots of nats.

    Reward rises about linearly in d at first, which makes curves of different strength comparable.
    A sampled KL may come out just below zero; that is distance 0.

    Source: Gao, Schulman and Hilton 2022, arXiv:2210.10760, section 3.
    """
    return math.sqrt(max(kl_nats, 0.0))
