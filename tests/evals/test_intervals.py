"""The bootstrap: values by hand, coverage by simulation, laws, data without spread."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from trivium.evals.intervals import Interval, bootstrap_mean, bootstrap_share, wilson

SHARES = st.sampled_from([0.0, 0.5, 1.0])


def test_as_dict() -> None:
    interval = Interval(point=0.5, low=0.25, high=1.0)
    assert interval.as_dict() == {"point": 0.5, "low": 0.25, "high": 1.0}


@pytest.mark.parametrize("count", [500, 2500])
def test_large_sample_is_the_textbook_interval(count: int) -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=count)
    interval = bootstrap_mean(values.tolist(), seed=1, resamples=4000)
    half = norm.ppf(0.975) * values.std() / math.sqrt(count)
    assert interval.point == pytest.approx(values.mean(), abs=1e-12)
    # The ends of 4000 resamples wander by about 3 % of the half width.
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_point_is_the_mean_over_values_not_over_groups() -> None:
    # Three ones of four values, though the mean of the group means is 0.5.
    assert bootstrap_mean([1, 1, 1, 0], groups=["a", "a", "a", "b"], seed=0).point == 0.75


def test_resampling_follows_the_definition() -> None:
    """Ends against a naive percentile bootstrap, which BCa is near to here.

    Large groups have large values, so that the mean over values is not the mean of group means.
    """
    rng = np.random.default_rng(5)
    groups = [g for g in range(80) for _ in range(1 + g % 5)]
    values = [float(rng.normal(2 * (g % 5), 1)) for g in groups]
    interval = bootstrap_mean(values, groups=groups, seed=0)
    members = [[v for v, h in zip(values, groups, strict=True) if h == g] for g in range(80)]
    means = []
    for _ in range(4000):
        drawn = [members[g] for g in rng.integers(80, size=80)]
        means.append(sum(map(sum, drawn)) / sum(map(len, drawn)))
    low, high = np.percentile(means, [2.5, 97.5])
    assert interval.low == pytest.approx(low, abs=0.08 * (high - low))
    assert interval.high == pytest.approx(high, abs=0.08 * (high - low))


def test_coverage_with_groups_and_without() -> None:
    """Intervals over prompts hold the truth about 95 times in 100; over pairs, far less often."""
    rng = np.random.default_rng(7)
    groups = [g for g in range(40) for _ in range(6)]
    held = {True: 0, False: 0}
    trials = 200
    for seed in range(trials):
        hardness = rng.normal(0.0, 1.0, size=40)
        values = (np.repeat(hardness, 6) + rng.normal(0.0, 0.5, size=240)).tolist()
        for clustered in held:
            interval = bootstrap_mean(
                values, groups=groups if clustered else None, seed=seed, resamples=300
            )
            held[clustered] += interval.low <= 0.0 <= interval.high
    # Binomial(200, 0.95) lies in [180, 198] with probability above 0.998; few groups cost a little.
    assert 178 <= held[True] <= 199
    assert held[False] < 150


def test_coverage_of_a_share() -> None:
    rng = np.random.default_rng(11)
    held = 0
    for seed in range(200):
        values = rng.choice([0.0, 0.5, 1.0], p=[0.2, 0.2, 0.6], size=60)
        interval = bootstrap_share(values.tolist(), seed=seed, resamples=300)
        held += interval.low <= 0.7 <= interval.high
    assert 178 <= held <= 199


def test_seed_decides_and_group_names_do_not() -> None:
    values = np.random.default_rng(2).normal(size=50).tolist()
    numbers = [i // 2 for i in range(50)]
    one = bootstrap_mean(values, groups=numbers, seed=3)
    assert bootstrap_mean(values, groups=[f"p{n}" for n in numbers], seed=3) == one
    assert bootstrap_mean(values, groups=numbers, seed=4) != one


@settings(max_examples=60, deadline=None)
@given(st.lists(SHARES, min_size=1, max_size=12), st.integers(1, 4), st.integers(0, 9))
def test_every_small_sample_has_a_finite_ordered_interval(
    values: list[float], per_group: int, seed: int
) -> None:
    groups = [i // per_group for i in range(len(values))]
    interval = bootstrap_share(values, groups=groups, seed=seed, resamples=200)
    assert 0.0 <= interval.low <= interval.high <= 1.0
    assert interval.point == pytest.approx(sum(values) / len(values))
    assert interval.low < 1.0
    assert interval.high > 0.0


@pytest.mark.parametrize("values", [[0.1] * 10, [-3.25], [1e9 + 0.1] * 7])
def test_a_mean_without_spread_is_a_point(values: list[float]) -> None:
    interval = bootstrap_mean(values, seed=0)
    assert interval.low == interval.point == interval.high
    assert interval.point == pytest.approx(values[0])


def test_rounding_is_no_spread() -> None:
    # 0.1 + 0.1 + 0.1 over 3 is not 0.1 in binary.
    interval = bootstrap_mean([0.1] * 10, groups=[0, 0, 0, 1, 1, 1, 1, 1, 1, 2], seed=0)
    assert interval.low == interval.high == pytest.approx(0.1)


def test_a_small_spread_on_a_large_mean_is_a_spread() -> None:
    interval = bootstrap_mean([1e6 + 0.001 * i for i in range(20)], seed=0)
    assert interval.low < interval.point < interval.high


@pytest.mark.parametrize(("wins", "count"), [(0, 8), (8, 8), (200, 200), (0, 1), (1, 1)])
def test_shares_without_spread_are_wilson(wins: int, count: int) -> None:
    expected = binomtest(wins, count).proportion_ci(method="wilson")
    interval = bootstrap_share([float(wins > 0)] * count, seed=0)
    assert interval.point == wins / count
    assert interval.low == pytest.approx(expected.low, abs=1e-12)
    assert interval.high == pytest.approx(expected.high, abs=1e-12)


def test_one_group_counts_as_one_trial_however_many_pairs_it_has() -> None:
    expected = binomtest(1, 1).proportion_ci(method="wilson")
    interval = bootstrap_share([1.0] * 36, groups=["only"] * 36, seed=0)
    assert interval.low == pytest.approx(expected.low)  # 0.21, not 0.90


@pytest.mark.parametrize(("wins", "count"), [(3, 7), (50, 100), (1, 2), (99, 100)])
def test_wilson_is_scipys(wins: int, count: int) -> None:
    expected = binomtest(wins, count).proportion_ci(method="wilson")
    interval = wilson(wins / count, count)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("values", "groups"),
    [([], None), ([1.0, math.nan], None), ([math.inf], None), ([1.0, 2.0], ["a"])],
)
def test_bad_input(values: list[float], groups: list[str] | None) -> None:
    with pytest.raises(ValueError, match=r"at least one|not a finite|groups"):
        bootstrap_mean(values, groups=groups, seed=0)


def test_a_share_above_one_is_no_share() -> None:
    with pytest.raises(ValueError, match="shares lie in"):
        bootstrap_share([0.5, 1.5], seed=0)
