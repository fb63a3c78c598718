"""Does a reward model mean its probabilities: the reliability curve and its summaries.

A reward model says P(a preferred to b) = sigmoid(r_a - r_b). It is calibrated if, of the pairs to
which it gives 0.8, people prefer the first in 80 %.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
from scipy.special import expit

from trivium.evals.ranking import Scored


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The pairs whose predicted probability lies in [low, high)."""

    low: float
    """Lower edge."""

    high: float
    """Upper edge; the last bin holds its own."""

    predicted: float
    """Mean predicted probability."""

    observed: float
    """Share of pairs in which the first answer was preferred."""

    pairs: int
    """How many pairs."""

    def as_dict(self) -> dict[str, float]:
        """Every field, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The reliability curve, and three numbers that are better when smaller."""

    bins: tuple[Bin, ...]
    """Equal widths, lowest first; bins without a pair are left out."""

    ece: float
    """Expected calibration error: mean over pairs of |observed - predicted| of their bin."""

    brier: float
    """Mean squared error of the probability; 0.25 for a model that always says one half."""

    log_loss: float
    """Mean negative log-likelihood in nats; log 2 for a model that always says one half."""

    def as_dict(self) -> dict[str, float | list[dict[str, float]]]:
        """Every field, ready for JSON."""
        return {
            "bins": [one.as_dict() for one in self.bins],
            "ece": self.ece,
            "brier": self.brier,
            "log_loss": self.log_loss,
        }


def calibration(
    probabilities: Sequence[float], outcomes: Sequence[int], *, bins: int = 10
) -> Calibration:
    r"""Compare predicted probabilities with what happened.

        ece = sum_b n_b / n |observed_b - predicted_b|
        brier = mean (p - o)^2,   log_loss = -mean (o log p + (1 - o) log(1 - p))

    Args:
        probabilities: p that the first of two answers is preferred, in [0, 1]. Which is first must
            not depend on the outcome: see `pair_probabilities`.
        outcomes: o, 1 if the first was preferred, else 0; aligned.
        bins: number of bins of equal width over [0, 1].

    Raises:
        ValueError: lists empty or of different length, p outside [0, 1], o other than 0 and 1.

    Source: Naeini, Cooper and Hauskrecht 2015 (ECE); Brier 1950.
    """
    p, o = np.asarray(probabilities, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)
    if p.shape != o.shape or p.ndim != 1 or p.size == 0:
        raise ValueError(f"expected two lists of one length, got shapes {p.shape} and {o.shape}")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("a probability lies outside [0, 1]")
    if not ((o == 0) | (o == 1)).all():
        raise ValueError("an outcome is neither 0 nor 1; leave ties out")

    edges = np.linspace(0.0, 1.0, bins + 1)
    # searchsorted, not p * bins: the edge of a bin and the pairs in it then agree to the last bit.
    which = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, bins - 1)
    curve = tuple(
        Bin(
            low=float(edges[b]),
            high=float(edges[b + 1]),
            predicted=float(p[which == b].mean()),
            observed=float(o[which == b].mean()),
            pairs=int((which == b).sum()),
        )
        for b in np.unique(which)
    )
    # A certain p that is wrong would cost infinity, which is not JSON: charge 36 nats instead.
    eps = np.finfo(np.float64).eps
    likelihood = np.clip(np.where(o == 1, p, 1 - p), eps, 1.0)
    return Calibration(
        bins=curve,
        ece=sum(one.pairs * abs(one.observed - one.predicted) for one in curve) / p.size,
        brier=float(((p - o) ** 2).mean()),
        log_loss=float(-np.log(likelihood).mean()),
    )


def pair_probabilities(rankings: Sequence[Scored], *, seed: int) -> tuple[list[float], list[int]]:
    """Predicted probability and outcome of every untied pair, first and second chosen by lot.

    With the preferred answer always first every outcome would be 1 and no curve could be drawn;
    in the order of the file it might be the same, since many files put the better answer first.

    Args:
        rankings: scores (reward units) and ranks, one element a prompt.
        seed: of the lots.

    Returns:
        sigmoid(score of the first - score of the second), and 1 where the first was preferred.
    """
    rng = np.random.default_rng(seed)
    gaps: list[float] = []
    outcomes: list[int] = []
    for scores, ranks in rankings:
        answers = list(zip(scores, ranks, strict=True))
        for one, other in combinations(answers, 2):
            if one[1] != other[1]:
                first, second = (one, other) if rng.random() < 0.5 else (other, one)
                gaps.append(first[0] - second[0])
                outcomes.append(int(first[1] < second[1]))
    return expit(np.asarray(gaps, dtype=np.float64)).tolist(), outcomes
