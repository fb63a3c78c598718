"""Does a score order answers as people did: accuracy by pair, by rank gap, against length.

A ranking here is two aligned lists, one number and one rank for each answer to a prompt; rank 1 is
best and equal ranks are a tie, which gives no pair. Where several people ranked one prompt, these
are several rankings but one thing that was drawn: every interval here draws prompts.
"""

import math
import statistics
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from trivium.evals.intervals import Interval, bootstrap_share

Scored = tuple[Sequence[float], Sequence[int]]
"""Scores and ranks of the answers to one prompt, aligned."""


class PairOutcome(NamedTuple):
    """What became of one pair of answers that people did not tie."""

    gap: int
    """How many ranks lie between the two, 1 or more."""

    correct: float
    """1 if the answer that people prefer scores higher, 0.5 if both score the same, else 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GapAccuracy:
    """Accuracy on the pairs whose ranks differ by `gap`."""

    gap: int
    """Difference of the two ranks."""

    pairs: int
    """How many pairs that is."""

    accuracy: Interval
    """Share ordered as people did."""

    def as_dict(self) -> dict[str, float]:
        """Gap, pairs, point, low and high, ready for JSON."""
        return {"gap": self.gap, "pairs": self.pairs} | self.accuracy.as_dict()


def pair_outcomes(scores: Sequence[float], ranks: Sequence[int]) -> list[PairOutcome]:
    """Outcome of every untied pair of one ranking, in the order of `itertools.combinations`.

    Raises:
        ValueError: lists of different length, or a score that is not finite.
    """
    if not all(map(math.isfinite, scores)):
        raise ValueError(f"a score is not finite: {list(scores)}")
    answers = list(zip(scores, ranks, strict=True))
    outcomes: list[PairOutcome] = []
    for (score_a, rank_a), (score_b, rank_b) in combinations(answers, 2):
        if rank_a != rank_b:
            ahead = score_a - score_b if rank_a < rank_b else score_b - score_a
            correct = 0.5 if ahead == 0 else float(ahead > 0)
            outcomes.append(PairOutcome(gap=abs(rank_a - rank_b), correct=correct))
    return outcomes


def accuracy(
    rankings: Sequence[Scored], *, seed: int, prompts: Sequence[Hashable] | None = None
) -> Interval:
    """Share of untied pairs that the scores order as people did, pooled over all rankings.

    Every pair weighs the same, so a ranking of nine answers weighs more than one of four; the
    interval is a bootstrap over prompts, because pairs of one prompt share their answers.

    Args:
        rankings: scores and ranks, one element a ranking. Scores are finite.
        seed: of the bootstrap.
        prompts: what each ranking is of, aligned; equal ones are drawn together. None: each
            ranking has a prompt of its own.

    Raises:
        ValueError: no pair is left once ties are dropped, or lists of different length.
    """
    outcomes = [pair_outcomes(scores, ranks) for scores, ranks in rankings]
    return _share(outcomes, prompts, seed=seed)


def accuracy_by_gap(
    rankings: Sequence[Scored], *, seed: int, prompts: Sequence[Hashable] | None = None
) -> list[GapAccuracy]:
    """`accuracy` by distance of the two ranks, nearest first; only gaps that occur.

    People agree more about answers far apart, so a sound reward model's accuracy rises with the
    gap. Gaps are differences of the ranks as written: 1, 1, 3 and 1, 1, 2 are different gaps.
    """
    outcomes = [pair_outcomes(scores, ranks) for scores, ranks in rankings]
    rows: list[GapAccuracy] = []
    for gap in sorted({pair.gap for pairs in outcomes for pair in pairs}):
        chosen = [[pair for pair in pairs if pair.gap == gap] for pairs in outcomes]
        share = _share(chosen, prompts, seed=seed)
        rows.append(GapAccuracy(gap=gap, pairs=sum(map(len, chosen)), accuracy=share))
    return rows


def longer_wins(
    rankings: Sequence[Scored], *, seed: int, prompts: Sequence[Hashable] | None = None
) -> Interval:
    """The ruler of a reward model: how often people preferred the longer of two answers.

    A reward model no more accurate than this may have learned length and nothing else.

    Args:
        rankings: lengths (in any one unit) and ranks, one element a ranking; equal lengths count
            one half.
        seed: of the bootstrap.
        prompts: as in `accuracy`.
    """
    return accuracy(rankings, seed=seed, prompts=prompts)


def correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Pearson correlation of two aligned lists; 0.0 where one of them does not vary.

    Raises:
        ValueError: lists of different length or empty.
    """
    if len(x) != len(y) or not x:
        raise ValueError(f"expected two lists of one length, got {len(x)} and {len(y)} numbers")
    if min(x) == max(x) or min(y) == max(y):
        return 0.0
    # Not numpy's: its first product of matrices takes 34 MB for good.
    return statistics.correlation(x, y)


def _share(
    outcomes: Sequence[Sequence[PairOutcome]], prompts: Sequence[Hashable] | None, *, seed: int
) -> Interval:
    """Share of correct pairs of all rankings; the interval draws prompts, whole."""
    names = range(len(outcomes)) if prompts is None else prompts
    named = list(zip(names, outcomes, strict=True))
    correct = [pair.correct for _, pairs in named for pair in pairs]
    return bootstrap_share(
        correct, seed=seed, groups=[name for name, pairs in named for _ in pairs]
    )
