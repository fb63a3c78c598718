"""Calibration: by hand, against naive sums, and for models that are known to be calibrated."""

import math

import numpy as np
import pytest

from trivium.evals.calibration import Bin, calibration, pair_probabilities


def test_by_hand() -> None:
    result = calibration([0.1, 0.3, 0.8, 0.9], [0, 1, 1, 0], bins=2)
    assert result.bins == (
        Bin(low=0.0, high=0.5, predicted=pytest.approx(0.2), observed=0.5, pairs=2),
        Bin(low=0.5, high=1.0, predicted=pytest.approx(0.85), observed=0.5, pairs=2),
    )
    assert result.ece == pytest.approx((2 * 0.3 + 2 * 0.35) / 4)
    assert result.brier == pytest.approx((0.01 + 0.49 + 0.04 + 0.81) / 4)
    expected = -(math.log(0.9) + math.log(0.3) + math.log(0.8) + math.log(0.1)) / 4
    assert result.log_loss == pytest.approx(expected)


def test_always_one_half() -> None:
    result = calibration([0.5] * 10, [0, 1] * 5)
    assert (result.ece, result.brier) == (0.0, 0.25)
    assert result.log_loss == pytest.approx(math.log(2))
    assert len(result.bins) == 1
    assert result.as_dict()["bins"] == [
        {"low": 0.5, "high": pytest.approx(0.6), "predicted": 0.5, "observed": 0.5, "pairs": 10}
    ]


def test_bins_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    p = np.concatenate([rng.random(200), np.linspace(0, 1, 11)])
    o = rng.integers(0, 2, size=len(p))
    result = calibration(p.tolist(), o.tolist(), bins=10)
    assert sum(one.pairs for one in result.bins) == len(p)
    ece = 0.0
    for one in result.bins:
        last = one.high == 1.0
        inside = [i for i, x in enumerate(p) if one.low <= x < one.high or (last and x == 1.0)]
        assert one.pairs == len(inside)
        assert one.predicted == pytest.approx(sum(p[i] for i in inside) / len(inside))
        ece += len(inside) / len(p) * abs(sum(o[i] - p[i] for i in inside) / len(inside))
    assert result.ece == pytest.approx(ece)


def test_certain_and_wrong_stays_finite() -> None:
    result = calibration([0.0, 1.0], [1, 0])
    assert (result.ece, result.brier) == (1.0, 1.0)
    assert result.log_loss == pytest.approx(-math.log(2**-52))
    assert calibration([0.0, 1.0], [0, 1]).log_loss == 0.0


def simulated(prompts: int, stretch: float, seed: int) -> list[tuple[list[float], list[int]]]:
    """Pairs preferred with probability sigmoid(difference); scores are stretched afterwards.

    The better answer is always written first, as many preference files do.
    """
    rng = np.random.default_rng(seed)
    rankings = []
    for a, b in rng.normal(0.0, 1.5, size=(prompts, 2)):
        first = rng.random() < 1 / (1 + math.exp(b - a))
        scores = [a, b] if first else [b, a]
        rankings.append(([stretch * s for s in scores], [1, 2]))
    return rankings


def test_a_calibrated_model_lies_on_the_diagonal_and_an_overconfident_one_does_not() -> None:
    honest = calibration(*pair_probabilities(simulated(4000, 1.0, seed=1), seed=0))
    loud = calibration(*pair_probabilities(simulated(4000, 4.0, seed=1), seed=0))
    for one in honest.bins:
        assert abs(one.predicted - one.observed) < 4 * math.sqrt(0.25 / one.pairs)
    assert len(honest.bins) == 10
    assert honest.ece < 0.03
    assert loud.ece > 0.1
    assert loud.brier > honest.brier
    assert loud.log_loss > honest.log_loss


def test_pairs_by_hand() -> None:
    # Ranks 1 2 2: two pairs, score differences 1 - 0 = 1 and 1 - 3 = -2 as seen by the better.
    for seed in range(8):
        probabilities, outcomes = pair_probabilities([([1.0, 0.0, 3.0], [1, 2, 2])], seed=seed)
        for p, o, difference in zip(probabilities, outcomes, [1.0, -2.0], strict=True):
            sign = 1 if o == 1 else -1
            assert p == pytest.approx(1 / (1 + math.exp(-sign * difference)))


def test_lots_are_fair_and_follow_the_seed() -> None:
    rankings = simulated(2000, 1.0, seed=2)
    _, outcomes = pair_probabilities(rankings, seed=0)
    assert abs(np.mean(outcomes) - 0.5) < 4 * math.sqrt(0.25 / 2000)
    assert pair_probabilities(rankings, seed=0)[1] == outcomes
    assert pair_probabilities(rankings, seed=1)[1] != outcomes


def test_large_differences_do_not_overflow() -> None:
    probabilities, outcomes = pair_probabilities([([1e4, -1e4], [1, 2])], seed=0)
    assert probabilities == [float(outcomes[0])]


@pytest.mark.parametrize(
    ("probabilities", "outcomes", "said"),
    [
        ([], [], "one length"),
        ([0.5], [0, 1], "one length"),
        ([1.5], [1], "outside"),
        ([math.nan], [1], "outside"),
        ([0.5], [2], "neither 0 nor 1"),
    ],
)
def test_bad_input(probabilities: list[float], outcomes: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        calibration(probabilities, outcomes)
