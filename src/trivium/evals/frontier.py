"""Reward against divergence: the axis on which over-optimisation is drawn, and its laws.

A policy that is pushed towards a proxy of what is wanted moves away from where it began. Drawn
against d = sqrt(KL), what is wanted first rises with the proxy, then lags behind, then falls.

Legend: P prompts, N answers to each; G groups that are drawn again in a bootstrap, K places.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trivium.evals.intervals import CONFIDENCE, Interval

Law = Literal["best_of_n", "rl"]
Floats = NDArray[np.float64]

RESAMPLES = 1000
"""Bootstrap samples behind the interval of a fit."""


def sqrt_kl(kl_nats: float) -> float:
    """Distance from the reference policy, d = sqrt(KL), in square roots of nats.

    Reward rises about linearly in d at first, which makes curves of different strength comparable.
    A sampled KL may come out just below zero; that is distance 0.

    Source: Gao, Schulman and Hilton 2022, arXiv:2210.10760, section 3.
    """
    return math.sqrt(max(kl_nats, 0.0))


def best_of_n_kl(n: int) -> float:
    """KL from the law of the best of n answers to the law of one, log n - (n - 1) / n, in nats.

    Exact where no two answers score the same; where answers can repeat it is an upper bound.

    Source: Stiennon et al. 2020, arXiv:2009.01325, appendix G.3; Beirami et al. 2024,
    arXiv:2401.01879, for the bound.
    """
    return math.log(n) - (n - 1) / n


def best_of_n(proxy: Floats, values: Floats, n: int) -> Floats:
    r"""What the answer that the proxy likes best among n is worth, on average, for each prompt.

        sum_i  C(i - 1, n - 1) / C(N, n)  v_(i)

    where v_(i) belongs to the answer with the i-th lowest proxy score: the mean over all subsets
    of n of the N answers, without drawing any. Answers with one score share their mean value.

    Args:
        proxy: (P, N) scores that choose.
        values: (P, N) what is averaged: the proxy itself, or gold.
        n: 1 to N.

    Returns:
        (P,), unbiased, in the unit of ``values``.

    Raises:
        ValueError: n is not between 1 and N, or the shapes differ.

    Source: Nakano et al. 2021, arXiv:2112.09332, appendix I.
    """
    most = proxy.shape[1]
    if proxy.shape != values.shape:
        raise ValueError(f"proxy is {proxy.shape}, values {values.shape}; expected one shape")
    if not 1 <= n <= most:
        raise ValueError(f"n is {n}, expected 1 to {most}, the number of answers")
    weights = np.array([math.comb(i - 1, n - 1) / math.comb(most, n) for i in range(1, most + 1)])
    return np.array([float(weights @ _in_order(p, v)) for p, v in zip(proxy, values, strict=True)])


def _in_order(proxy: Floats, values: Floats) -> Floats:
    """Values by ascending proxy; where it is the same for several, the mean of theirs."""
    _, which, counts = np.unique(proxy, return_inverse=True, return_counts=True)
    means = np.bincount(which, weights=values) / counts
    return np.repeat(means, counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A law of over-optimisation with the numbers that fit best."""

    law: Law
    """best_of_n: R = R_0 + d (alpha - beta d). rl: R = R_0 + d (alpha - beta ln d)."""

    start: Interval
    """R_0: the score at distance 0."""

    alpha: Interval
    """How fast the score rises at first, per square root of a nat."""

    beta: Interval
    """How fast that gain is used up: 0 or less and there is no peak."""

    peak: Interval
    """Distance of the peak; infinite where beta allows none."""

    height: Interval
    """What the peak is above R_0; infinite where there is none."""

    def at(self, distances: Sequence[float]) -> list[float]:
        """The fitted score at these distances."""
        columns = _columns(self.law, np.asarray(distances, dtype=np.float64))
        numbers = np.array([self.start.point, self.alpha.point, self.beta.point])
        return (columns @ numbers).tolist()


def fit(law: Law, kl_nats: Floats, scores: Floats, *, seed: int) -> Fit:
    r"""Least squares of a law on mean scores, with intervals from groups drawn again.

        best_of_n:  R = R_0 + d (alpha - beta d)        peak at  alpha / (2 beta)
        rl:         R = R_0 + d (alpha - beta ln d)     peak at  exp(alpha / beta - 1)

    R_0 is fitted too: a first point measured on few answers would tilt the whole curve. The
    intervals are percentiles and cover the chance of the groups alone; another training run, or
    another reward model, is not among them.

    Args:
        law: the form.
        kl_nats: (G, K) divergence of each group at each place; means over groups make d.
        scores: (G, K) what is fitted.
        seed: of the bootstrap.

    Raises:
        ValueError: fewer than three places, or shapes that differ.

    Source: Gao, Schulman and Hilton 2022, arXiv:2210.10760, section 3.1.
    """
    if kl_nats.shape != scores.shape or kl_nats.shape[1] < 3:
        raise ValueError(
            f"kl_nats is {kl_nats.shape}, scores {scores.shape}; "
            f"expected one shape, groups by at least 3 places"
        )
    rng, groups = np.random.default_rng(seed), len(scores)
    found = [_solve(law, kl_nats.mean(0), scores.mean(0))]
    for _ in range(RESAMPLES):
        drawn = rng.integers(groups, size=groups)
        found.append(_solve(law, kl_nats[drawn].mean(0), scores[drawn].mean(0)))
    point, *again = found
    ends = (50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE))
    # "lower" and "higher" take a number of the sample: between two infinities lies no mean.
    lows = np.percentile(np.array(again), ends[0], axis=0, method="lower")
    highs = np.percentile(np.array(again), ends[1], axis=0, method="higher")
    intervals = [
        Interval(point=float(p), low=float(low), high=float(high))
        for p, low, high in zip(point, lows, highs, strict=True)
    ]
    start, alpha, beta, peak, height = intervals
    return Fit(law=law, start=start, alpha=alpha, beta=beta, peak=peak, height=height)


def _columns(law: Law, distances: Floats) -> Floats:
    """What R_0, alpha and beta are multiplied by, (K, 3)."""
    if law == "best_of_n":
        bend = distances**2
    else:
        bend = distances * np.log(np.where(distances > 0, distances, 1.0))  # d ln d -> 0
    return np.stack([np.ones_like(distances), distances, -bend], axis=1)


def _solve(law: Law, kl_nats: Floats, scores: Floats) -> tuple[float, ...]:
    """R_0, alpha, beta, and the peak's distance and height."""
    distances = np.sqrt(np.maximum(kl_nats, 0.0))
    start, alpha, beta = np.linalg.lstsq(_columns(law, distances), scores)[0].tolist()
    if law == "best_of_n":
        if alpha <= 0:
            return start, alpha, beta, 0.0 if beta >= 0 else math.inf, 0.0
        peak = alpha / (2 * beta) if beta > 0 else math.inf
        return start, alpha, beta, peak, alpha * peak / 2
    # Above e^50 the exponential says no more than "not within reach".
    peak = math.exp(min(alpha / beta - 1, 50.0)) if beta > 0 else math.inf
    return start, alpha, beta, peak, beta * peak if beta > 0 else math.inf
