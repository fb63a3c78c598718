"""Win rate: counting by hand, and its laws."""

import math

import numpy as np
import pytest

from trivium.evals.winrate import win_rate


def test_by_hand() -> None:
    rate = win_rate([2.0, 1.0, 0.5, 3.0, 0.0], [1.0, 1.0, 1.0, 2.0, -1.0], seed=0)
    assert (rate.wins, rate.ties, rate.losses) == (3, 1, 1)
    assert rate.point == pytest.approx((3 + 0.5) / 5)
    assert rate.low < rate.point < rate.high
    assert rate.as_dict() == {
        "point": rate.point,
        "low": rate.low,
        "high": rate.high,
        "wins": 3,
        "ties": 1,
        "losses": 1,
    }


def test_tolerance() -> None:
    assert win_rate([1.0 + 1e-12], [1.0], seed=0).ties == 1
    assert win_rate([1.0 + 1e-6], [1.0], seed=0).wins == 1
    assert win_rate([1.2, 0.8, 1.4], [1.0, 1.0, 1.0], seed=0, tolerance=0.3).ties == 2


def test_swapping_sides_gives_one_minus_the_rate() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 4, size=80) + [[0.5], [0.0]] * rng.integers(0, 2, size=80)).tolist()
    rate, swapped = win_rate(a, b, seed=3), win_rate(b, a, seed=3)
    assert rate.point != 0.5
    assert (swapped.wins, swapped.ties, swapped.losses) == (rate.losses, rate.ties, rate.wins)
    assert swapped.point == pytest.approx(1 - rate.point)
    assert swapped.low == pytest.approx(1 - rate.high)
    assert swapped.high == pytest.approx(1 - rate.low)


def test_a_model_against_itself() -> None:
    rate = win_rate([1.0, -2.0, 0.0], [1.0, -2.0, 0.0], seed=0)
    assert (rate.point, rate.ties) == (0.5, 3)
    assert win_rate([1.0, -2.0], [1.0, -2.0], seed=0, tolerance=0.0).ties == 2


def test_a_judge_without_eyes_scores_one_half() -> None:
    """Scores that ignore the text: the interval holds 0.5, as it does 95 times in 100."""
    rng = np.random.default_rng(1)
    held = 0
    for seed in range(100):
        rate = win_rate(rng.normal(size=50).tolist(), rng.normal(size=50).tolist(), seed=seed)
        held += rate.low <= 0.5 <= rate.high
    assert held >= 88


def test_winning_everything_is_not_certainty() -> None:
    few, many = (win_rate([1.0] * n, [0.0] * n, seed=0) for n in (5, 200))
    assert few.point == many.point == many.high == 1.0
    assert 0.5 < few.low < 0.6
    assert 0.97 < many.low < 1.0


@pytest.mark.parametrize(
    ("scores", "baseline"),
    [([1.0], [1.0, 2.0]), ([], []), ([math.nan], [0.0]), ([0.0], [math.inf])],
)
def test_bad_input(scores: list[float], baseline: list[float]) -> None:
    with pytest.raises(ValueError, match=r"shorter|longer|at least one|not finite"):
        win_rate(scores, baseline, seed=0)
