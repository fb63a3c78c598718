"""Ranking accuracy: by hand, against Kendall's tau, and for models that are known."""

import math
import random
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import kendalltau, pearsonr

from trivium.evals.ranking import (
    PairOutcome,
    accuracy,
    accuracy_by_gap,
    correlation,
    longer_wins,
    pair_outcomes,
)


def test_pairs_by_hand() -> None:
    # Ranks 1 2 2 4: the tie gives no pair. Scores: the third is too high, first and fourth tie.
    assert pair_outcomes([1.0, 0.5, 3.0, 1.0], [1, 2, 2, 4]) == [
        PairOutcome(gap=1, correct=1.0),  # first above second: right
        PairOutcome(gap=1, correct=0.0),  # first above third: wrong
        PairOutcome(gap=3, correct=0.5),  # first above fourth: same score
        PairOutcome(gap=2, correct=0.0),  # second above fourth: wrong
        PairOutcome(gap=2, correct=1.0),  # third above fourth: right
    ]


def test_order_of_the_answers_does_not_matter() -> None:
    scores, ranks = [1.0, 0.5, 3.0, 1.0], [1, 2, 2, 4]
    backwards = pair_outcomes(scores[::-1], ranks[::-1])
    assert sorted(backwards) == sorted(pair_outcomes(scores, ranks))


def test_all_tied_gives_nothing() -> None:
    assert pair_outcomes([1.0, 2.0], [1, 1]) == []


def test_accuracy_is_pooled_over_pairs() -> None:
    # 3 of 3 pairs, 0 of 1, none: 3 / 4 of all pairs, though the mean over prompts is 1 / 2.
    rankings = [([3.0, 2.0, 1.0], [1, 2, 3]), ([0.0, 1.0], [1, 2]), ([0.0, 1.0], [1, 1])]
    assert accuracy(rankings, seed=0).point == 0.75


def random_rankings(count: int, seed: int, noise: float) -> list[tuple[list[float], list[int]]]:
    """Quality seen through noise by the scorer; ranks 1..6 of the quality itself."""
    rng = np.random.default_rng(seed)
    rankings = []
    for _ in range(count):
        quality = rng.normal(size=6)
        ranks = (1 + (-quality).argsort().argsort()).tolist()
        rankings.append(((quality + noise * rng.normal(size=6)).tolist(), ranks))
    return rankings


def test_without_ties_accuracy_is_kendalls_tau() -> None:
    rankings = random_rankings(50, seed=0, noise=1.0)
    taus = [kendalltau(scores, [-r for r in ranks]).statistic for scores, ranks in rankings]
    assert accuracy(rankings, seed=0).point == pytest.approx((np.mean(taus) + 1) / 2)


def test_known_models() -> None:
    rankings = random_rankings(60, seed=1, noise=1.0)
    perfect = accuracy([([-r for r in ranks], ranks) for _, ranks in rankings], seed=0)
    inverted = accuracy([(ranks, ranks) for _, ranks in rankings], seed=0)
    constant = accuracy([([0.0] * 6, ranks) for _, ranks in rankings], seed=0)
    assert (perfect.point, inverted.point, constant.point) == (1.0, 0.0, 0.5)


def test_accuracy_rises_with_the_gap() -> None:
    rankings = random_rankings(100, seed=2, noise=1.0)
    rows = accuracy_by_gap(rankings, seed=0)
    assert [row.gap for row in rows] == [1, 2, 3, 4, 5]
    assert [row.pairs for row in rows] == [500, 400, 300, 200, 100]  # 6 - gap a prompt
    points = [row.accuracy.point for row in rows]
    assert points == sorted(points)
    total = accuracy(rankings, seed=0).point
    assert np.average(points, weights=[row.pairs for row in rows]) == pytest.approx(total)
    assert set(rows[0].as_dict()) == {"gap", "pairs", "point", "low", "high"}


def test_a_blind_model_and_the_width_of_its_interval() -> None:
    """15 pairs of 6 answers are not 15 facts: Kendall's tau of unrelated orders has variance
    2 (2n + 5) / 9n (n - 1), and accuracy is (tau + 1) / 2; independent pairs would give 0.73 of it.
    """
    rankings = random_rankings(300, seed=3, noise=1.0)
    blind = accuracy(
        [(scores, rankings[i - 1][1]) for i, (scores, _) in enumerate(rankings)], seed=0
    )
    error = math.sqrt(2 * 17 / (9 * 6 * 5)) / 2 / math.sqrt(300)
    assert abs(blind.point - 0.5) < 4 * error
    assert blind.high - blind.low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_longer_wins() -> None:
    # Longer first: right. Same length: one half. Shorter first: wrong. 1.5 / 3.
    rankings = [([9, 2], [1, 2]), ([5, 5], [1, 2]), ([1, 7], [1, 2])]
    assert longer_wins(rankings, seed=0).point == 0.5
    assert longer_wins([([r * 10, r], [1, 2]) for r in range(1, 9)], seed=0).point == 1.0


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        accuracy([([1.0, 2.0], [1, 1])], seed=0)
    assert accuracy_by_gap([([1.0, 2.0], [1, 1])], seed=0) == []


def test_bad_scores_are_errors() -> None:
    with pytest.raises(ValueError, match="not finite"):
        accuracy([([1.0, math.nan], [1, 2])], seed=0)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        accuracy([([1.0], [1, 2])], seed=0)


def test_correlation() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=30)
    y = x + rng.normal(size=30)
    assert correlation(x.tolist(), y.tolist()) == pytest.approx(pearsonr(x, y).statistic)
    assert correlation([1, 2, 3], [6, 4, 2]) == pytest.approx(-1.0)
    assert correlation([1, 2, 3], [5, 5, 5]) == 0.0
    assert correlation([1], [2]) == 0.0
    with pytest.raises(ValueError, match="one length"):
        correlation([1, 2], [1])


def cluster_bootstrap(rankings, prompts, *, resamples: int, seed: int) -> tuple[float, float]:
    """Percentile interval of the pooled accuracy, prompts drawn one by one: written out plainly."""
    by_prompt: dict[str, list[float]] = {}
    for (scores, ranks), prompt in zip(rankings, prompts, strict=True):
        for i, j in combinations(range(len(ranks)), 2):
            if ranks[i] != ranks[j]:
                right = (scores[i] > scores[j]) == (ranks[i] < ranks[j])
                by_prompt.setdefault(prompt, []).append(float(right))
    lots, names, shares = random.Random(seed), list(by_prompt), []
    for _ in range(resamples):
        drawn = [x for name in lots.choices(names, k=len(names)) for x in by_prompt[name]]
        shares.append(sum(drawn) / len(drawn))
    shares.sort()
    return shares[int(0.025 * resamples)], shares[int(0.975 * resamples)]


def several_labelers(num_prompts: int, seed: int):
    """Prompts with 1 to 5 rankings each; a hard prompt is hard for all who rank it."""
    rng = np.random.default_rng(seed)
    rankings, prompts = [], []
    for i in range(num_prompts):
        skill = rng.choice([3.0, -0.5])
        for _ in range(rng.integers(1, 6)):
            ranks = rng.permutation(4) + 1
            scores = -skill * ranks + rng.normal(size=4) * 2
            rankings.append((scores.tolist(), ranks.tolist()))
            prompts.append(f"prompt {i}")
    return rankings, prompts


def test_several_rankings_of_a_prompt_are_drawn_together():
    rankings, prompts = several_labelers(60, seed=0)
    got = accuracy(rankings, seed=0, prompts=prompts)
    low, high = cluster_bootstrap(rankings, prompts, resamples=4000, seed=1)
    width = high - low
    assert got.low == pytest.approx(low, abs=0.12 * width)
    assert got.high == pytest.approx(high, abs=0.12 * width)
    apart = accuracy(rankings, seed=0)  # as if nobody had seen the same prompt twice
    assert apart.point == got.point
    assert apart.high - apart.low < 0.75 * width
    gaps = accuracy_by_gap(rankings, seed=0, prompts=prompts)
    narrow = accuracy_by_gap(rankings, seed=0)
    for wide, one in zip(gaps, narrow, strict=True):
        assert wide.accuracy.point == one.accuracy.point
        assert wide.accuracy.high - wide.accuracy.low > one.accuracy.high - one.accuracy.low


def test_asking_everybody_twice_tells_nothing_new():
    """Each ranking three times over, under its prompt's name: the same interval to the last bit."""
    rankings, _ = several_labelers(30, seed=3)
    names = list(range(len(rankings)))
    once = accuracy(rankings, seed=0, prompts=names)
    assert once == accuracy(rankings, seed=0)
    assert accuracy(rankings * 3, seed=0, prompts=names * 3) == once
    assert longer_wins(rankings * 3, seed=0, prompts=names * 3) == once
    with pytest.raises(ValueError, match="zip"):
        accuracy(rankings, seed=0, prompts=names[1:])
