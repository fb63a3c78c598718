"""How far labelers agree, from plain numbers: no database, no models.

A judgement is one labeler's ranks of one task's answers, by place. Shares come with 95 % intervals
by a bootstrap over tasks, because the answers of one task are not independent of each other.

Libraries: Kendall's tau and the bootstrap are scipy's, Krippendorff's alpha is evalica's.
They are loaded where they are needed: the site starts in half the time without them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95
RESAMPLES = 1000
SEED = 0


class Judgement(NamedTuple):
    """One labeler's ranks of the answers of one task, by place; 1 is best."""

    labeler: str
    ranks: Sequence[int]


Judged = Mapping[int, Sequence[Judgement]]
"""Judgements by task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and the ends of its 95 % interval."""

    point: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionBias:
    """How often each position on the page held the answer ranked first."""

    chi2: float
    """Against all positions alike."""
    p: float
    first_counts: tuple[int, ...]
    """By position, over the sets of the commonest size with one best answer."""


class Compared(NamedTuple):
    """Comparisons of two answers: 1.0 where two orders agree, and the task of each."""

    agreed: list[float]
    tasks: list[int]


def between_labelers(judged: Judged) -> Compared:
    """Every two labelers of a task, on every two answers that neither of them ties.

    Yardstick: InstructGPT's training labelers agreed 72.6 +- 1.5 % of the time, held-out ones
    77.3 +- 1.3 % (Ouyang et al. 2022, arXiv:2203.02155, section 3.4).
    """
    found = Compared([], [])
    for task, judgements in judged.items():
        for a, b in combinations(judgements, 2):
            if a.labeler != b.labeler:
                _compare(found, task, a.ranks, b.ranks)
    return found


def against_the_rest(judged: Judged) -> dict[str, Compared]:
    """Each labeler against the mean ranks of all others who ranked the same task."""
    found: dict[str, Compared] = defaultdict(lambda: Compared([], []))
    for task, judgements in judged.items():
        for one in judgements:
            rest = [other.ranks for other in judgements if other.labeler != one.labeler]
            if rest:
                _compare(found[one.labeler], task, one.ranks, np.mean(rest, axis=0).tolist())
    return dict(found)


def share(compared: Compared) -> Interval | None:
    """The share of comparisons that agree; None of none.

    Where all tasks agree alike a bootstrap would claim certainty: then it is Wilson's interval for
    that share among so many tasks.
    """
    from scipy import stats

    if not compared.agreed:
        return None
    groups: dict[int, list[float]] = defaultdict(list)
    for agreed, task in zip(compared.agreed, compared.tasks, strict=True):
        groups[task].append(agreed)
    sums = np.array([sum(group) for group in groups.values()])
    counts = np.array([float(len(group)) for group in groups.values()])
    point = float(sums.sum() / counts.sum())
    if np.allclose(sums, point * counts):
        exact = stats.binomtest(round(point * len(sums)), len(sums))
        ends = exact.proportion_ci(CONFIDENCE, method="wilson")
        low, high = float(ends.low), float(ends.high)
        return Interval(point=point, low=min(low, point), high=max(high, point))
    drawn = stats.bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis=axis) / c.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(SEED),
    )
    low, high = drawn.confidence_interval
    return Interval(point=point, low=float(low), high=float(high))


def kendall_tau_b(judged: Judged) -> float | None:
    """Mean of Kendall's tau-b over every two labelers of a task; None where nothing can be said.

    A ranking of ties alone has no tau and is left out.
    """
    from scipy import stats

    taus: list[float] = []
    for judgements in judged.values():
        for a, b in combinations(judgements, 2):
            untied = len(set(a.ranks)) > 1 and len(set(b.ranks)) > 1
            if a.labeler != b.labeler and untied:
                tau = cast(Any, stats.kendalltau(a.ranks, b.ranks, variant="b"))
                taus.append(float(tau.statistic))
    return float(np.mean(taus)) if taus else None


def alpha_of_ratings(ratings: Mapping[str, Mapping[str, int]]) -> Interval | None:
    """Krippendorff's ordinal alpha of ratings by labeler and answer; None where it has no value."""
    import evalica

    table = _table(ratings)
    if table is None:
        return None
    drawn = evalica.alpha_bootstrap(
        table, "ordinal", n_resamples=RESAMPLES, confidence_level=CONFIDENCE, random_state=SEED
    )
    return Interval(point=float(drawn.alpha), low=float(drawn.low), high=float(drawn.high))


def alpha_of_marks(marks: Mapping[str, Mapping[str, int]]) -> float | None:
    """Krippendorff's alpha of yes-or-no marks (1, 0) by labeler and mark, nominal."""
    import evalica

    table = _table(marks)
    return None if table is None else float(evalica.alpha(table, "nominal").alpha)


def position_bias(first_places: Sequence[tuple[int, int]]) -> PositionBias | None:
    """Whether where an answer stands on the page has to do with being ranked first.

    Args:
        first_places: for each set, how many answers it had and at which position, from 0, the best
            one stood.

    Returns:
        None with fewer than five expected in each position.
    """
    from scipy import stats

    sizes = [size for size, _ in first_places]
    if not sizes:
        return None
    commonest = max(sorted(set(sizes)), key=sizes.count)
    places = [place for size, place in first_places if size == commonest]
    if len(places) < 5 * commonest:
        return None
    counts = np.bincount(places, minlength=commonest)
    test = stats.chisquare(counts)
    shown = tuple(int(count) for count in counts)
    return PositionBias(chi2=float(test.statistic), p=float(test.pvalue), first_counts=shown)


def _compare(found: Compared, task: int, mine: Sequence[float], theirs: Sequence[float]) -> None:
    for i, j in combinations(range(len(mine)), 2):
        if mine[i] != mine[j] and theirs[i] != theirs[j]:
            found.agreed.append(float((mine[i] < mine[j]) == (theirs[i] < theirs[j])))
            found.tasks.append(task)


def _table(values: Mapping[str, Mapping[str, int]]) -> "pd.DataFrame | None":
    """Labelers by units that at least two have judged, as evalica wants them; None without any."""
    import pandas as pd

    times: dict[str, int] = defaultdict(int)
    for units in values.values():
        for unit in units:
            times[unit] += 1
    shared = [unit for unit, count in times.items() if count > 1]
    seen = {value for units in values.values() for u, value in units.items() if times[u] > 1}
    if not shared or len(seen) < 2:  # alpha is 0 / 0 where everybody always said the same
        return None
    rows = [[units.get(unit, float("nan")) for unit in shared] for units in values.values()]
    return pd.DataFrame(rows, index=list(values), columns=shared)
