"""Error bars: 95 % intervals by a bootstrap over prompts.

Answers to one prompt are not independent: a hard prompt is hard for all of them. The unit that is
drawn again is therefore the prompt, with everything that belongs to it.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import bootstrap

CONFIDENCE = 0.95
"""Coverage that every interval of this room aims at, from side to side."""

RESAMPLES = 2000
"""Bootstrap samples behind an interval: its ends then move by about 0.1 of its width or less."""

_MOST_GROUPS_FOR_BCA = 2000
"""BCa leaves each group out in turn, work that grows with their square; with more groups than this
its correction is far below the width of the interval, and plain percentiles are taken."""

_NUMBERS_AT_ONCE = 500_000
"""Numbers drawn in one go, so that memory stays near 20 MB however many prompts there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and the ends of its 95 % interval, all in the unit of what was averaged."""

    point: float
    """The estimate."""

    low: float
    """Lower end."""

    high: float
    """Upper end."""

    def as_dict(self) -> dict[str, float]:
        """Point, low and high, ready for JSON."""
        return asdict(self)


def bootstrap_mean(
    values: Sequence[float],
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
) -> Interval:
    """Mean of all values, with a BCa bootstrap interval over groups.

    Values that share a group are drawn together. The mean is over values, not over group means: a
    group with more values weighs more. Over more than 2000 groups percentiles stand in for BCa.

    Where no group differs from the mean, or there is one group only, the data hold no spread to
    draw from and the interval is the point alone; for shares use `bootstrap_share`.

    Args:
        values: finite numbers, at least one.
        seed: of the resampling; the same seed and data give the same interval.
        groups: what each value belongs to, its prompt for instance, same length; None: each value
            stands alone.
        resamples: bootstrap samples.

    Raises:
        ValueError: no values, a value that is not finite, or a group list of another length.

    Source: Efron 1987, "Better bootstrap confidence intervals"; computed by scipy.stats.bootstrap.
    """
    sums, counts = _by_group(values, groups)
    point = float(sums.sum() / counts.sum())
    if _no_spread(sums, counts, point):
        return Interval(point=point, low=point, high=point)
    return _resampled(sums, counts, point, seed=seed, resamples=resamples)


def bootstrap_share(
    values: Sequence[float],
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
) -> Interval:
    """`bootstrap_mean` for values in [0, 1]: wins, right answers, agreements.

    Where the groups show no spread (20 prompts, 20 wins) a bootstrap would claim certainty; then
    the interval is Wilson's for that share among that many groups (there: 0.84 to 1).

    Raises:
        ValueError: as `bootstrap_mean`, or a value outside [0, 1].
    """
    sums, counts = _by_group(values, groups)
    if min(values) < 0 or max(values) > 1:
        raise ValueError(f"shares lie in [0, 1], these in [{min(values)}, {max(values)}]")
    point = float(sums.sum() / counts.sum())
    if _no_spread(sums, counts, point):
        return wilson(point, len(sums))
    interval = _resampled(sums, counts, point, seed=seed, resamples=resamples)
    # Sums of thirds and the like leave the unit interval by a rounding error.
    return Interval(point=point, low=max(interval.low, 0.0), high=min(interval.high, 1.0))


def wilson(share: float, count: int) -> Interval:
    r"""Wilson's 95 % interval for a share p of n independent trials.

        (p + z^2 / 2n  -+  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n),  z = 1.96

    Written out because scipy's takes whole successes only and a tie is half of one.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    z = float(ndtri(0.5 + CONFIDENCE / 2))
    shrink = 1 + z * z / count
    middle = (share + z * z / (2 * count)) / shrink
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / shrink
    # At a share of 0 or 1 one end is the share itself, up to a rounding error.
    low, high = max(middle - half, 0.0), min(middle + half, 1.0)
    return Interval(point=share, low=min(low, share), high=max(high, share))


def _by_group(
    values: Sequence[float], groups: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and number of the values of each group, in the order in which groups appear."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or numbers.size == 0:
        raise ValueError(f"expected a list of at least one number, got shape {numbers.shape}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"value {int(np.argmin(np.isfinite(numbers)))} is not a finite number")
    if groups is None:
        return numbers, np.ones_like(numbers)
    if len(groups) != numbers.size:
        raise ValueError(f"{numbers.size} values but {len(groups)} groups")
    index = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    which = [index[group] for group in groups]
    sums = np.bincount(which, weights=numbers).astype(np.float64)
    return sums, np.bincount(which).astype(np.float64)


def _no_spread(sums: NDArray[np.float64], counts: NDArray[np.float64], point: float) -> bool:
    """Whether every group has the mean of all, so that any resample gives the same mean."""
    scale = float(np.abs(sums / counts).max())
    return len(sums) == 1 or float(np.abs(sums / counts - point).max()) <= 1e-12 * scale


def _resampled(
    sums: NDArray[np.float64],
    counts: NDArray[np.float64],
    point: float,
    *,
    seed: int,
    resamples: int,
) -> Interval:
    """Bootstrap interval of sum(sums) / sum(counts) over groups that are drawn with replacement."""

    def mean(
        drawn_sums: NDArray[np.float64], drawn_counts: NDArray[np.float64], axis: int
    ) -> NDArray[np.float64]:
        return drawn_sums.sum(axis=axis) / drawn_counts.sum(axis=axis)

    ends = bootstrap(
        (sums, counts),
        mean,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, _NUMBERS_AT_ONCE // len(sums)),
        confidence_level=CONFIDENCE,
        method="BCa" if len(sums) <= _MOST_GROUPS_FOR_BCA else "percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(point=point, low=float(ends.low), high=float(ends.high))
