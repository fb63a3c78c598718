"""How often one model's answer beats the baseline's to the same prompt."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from trivium.evals.intervals import bootstrap_share


@dataclass(frozen=True, slots=True, kw_only=True)
class WinRate:
    """Share of prompts won, a tie counting one half, with its 95 % interval."""

    point: float
    """(wins + ties / 2) / prompts."""

    low: float
    """Lower end of the interval."""

    high: float
    """Upper end of the interval."""

    wins: int
    """Prompts on which the model scored higher."""

    ties: int
    """Prompts on which both scored the same."""

    losses: int
    """Prompts on which the baseline scored higher."""

    def as_dict(self) -> dict[str, float]:
        """Every field, ready for JSON."""
        return asdict(self)


def win_rate(
    scores: Sequence[float],
    baseline_scores: Sequence[float],
    *,
    seed: int,
    tolerance: float = 1e-9,
) -> WinRate:
    """Win rate of a model against a baseline, over prompts.

    Swapping the two sides gives one minus the rate; a model against itself gives 0.5.

    Args:
        scores: of the model's answer to each prompt, one judge, any unit.
        baseline_scores: of the baseline's answers, aligned with `scores` by prompt.
        seed: of the bootstrap.
        tolerance: scores this near to each other, in their unit, are a tie.

    Raises:
        ValueError: lists of different length or empty, or a score that is not finite.
    """
    for name, numbers in (("scores", scores), ("baseline_scores", baseline_scores)):
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"{name} holds a number that is not finite")
    differences = [a - b for a, b in zip(scores, baseline_scores, strict=True)]
    wins = sum(d > tolerance for d in differences)
    losses = sum(d < -tolerance for d in differences)
    credits = [0.5 + 0.5 * (d > tolerance) - 0.5 * (d < -tolerance) for d in differences]
    share = bootstrap_share(credits, seed=seed)
    return WinRate(
        point=share.point,
        low=share.low,
        high=share.high,
        wins=wins,
        ties=len(differences) - wins - losses,
        losses=losses,
    )
