"""Best of n by enumeration and by the law of the normal maximum; the laws of over-optimisation."""

import math
from itertools import combinations

import numpy as np
import pytest

from trivium.evals import best_of_n, best_of_n_kl, fit


def by_enumeration(proxy: np.ndarray, values: np.ndarray, n: int) -> float:
    """Every subset of n answers, the one the proxy likes best of each; ties share."""
    picked = []
    for subset in combinations(range(len(proxy)), n):
        top = max(proxy[i] for i in subset)
        picked.append(np.mean([values[i] for i in subset if proxy[i] == top]))
    return float(np.mean(picked))


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7])
def test_best_of_n_is_the_mean_over_all_subsets(n):
    rng = np.random.default_rng(n)
    proxy, gold = rng.normal(size=(2, 3, 7))
    expected = [by_enumeration(p, g, n) for p, g in zip(proxy, gold, strict=True)]
    np.testing.assert_allclose(best_of_n(proxy, gold, n), expected)


def test_answers_that_the_proxy_cannot_tell_apart_share_their_gold():
    proxy, gold = np.array([[1.0, 0.0, 1.0, 0.0]]), np.array([[4.0, 1.0, 2.0, 7.0]])
    # of 6 pairs one is of the two low answers: mean 4; in the other five a high one wins: mean 3
    assert best_of_n(proxy, gold, 2)[0] == pytest.approx((4.0 + 5 * 3.0) / 6)


def test_best_of_n_of_the_normal_law():
    """E max of 2 and of 3 normals is 1 / sqrt(pi) and 3 / (2 sqrt(pi))."""
    x = np.random.default_rng(0).normal(size=(1000, 20))
    assert best_of_n(x, x, 2).mean() == pytest.approx(math.pi**-0.5, abs=0.02)
    assert best_of_n(x, x, 3).mean() == pytest.approx(1.5 * math.pi**-0.5, abs=0.02)


def test_mistake_taking_the_first_n_alone_is_unbiased_but_wastes_the_rest():
    """The first n answers of each prompt have the same mean and several times the variance."""
    x = np.random.default_rng(1).normal(size=(1000, 32))
    best, first = best_of_n(x, x, 4), x[:, :4].max(axis=1)
    assert best.mean() == pytest.approx(first.mean(), abs=0.08)
    assert first.var() > 4 * best.var()


def test_kl_of_best_of_n_on_a_law_of_many_answers():
    """m equally likely answers without ties: rank i is the best of n with (i^n - (i-1)^n) / m^n."""
    m = 2000
    for n in (1, 2, 16):
        i = np.arange(1, m + 1)
        p = (i / m) ** n - ((i - 1) / m) ** n
        exact = float((p * np.log(p * m)).sum())
        assert best_of_n_kl(n) == pytest.approx(exact, abs=2e-3)
    assert best_of_n_kl(1) == 0.0


def curves(law: str, *, alpha: float, beta: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """(G, K) of 40 groups at 30 places up to d = 5, with R_0 = 0.3."""
    d = np.linspace(0.0, 5.0, 30)
    bend = d if law == "best_of_n" else np.log(np.maximum(d, 1e-12))
    scores = 0.3 + d * (alpha - beta * bend)
    rng = np.random.default_rng(5)
    return np.tile(d**2, (40, 1)), scores + noise * rng.normal(size=(40, 30))


@pytest.mark.parametrize(
    ("law", "peak", "height"),
    [
        ("best_of_n", 0.8 / (2 * 0.2), 0.8**2 / (4 * 0.2)),
        ("rl", math.exp(0.8 / 0.5 - 1), 0.5 * math.exp(0.8 / 0.5 - 1)),
    ],
)
def test_a_planted_law_is_found_again(law, peak, height):
    beta = 0.2 if law == "best_of_n" else 0.5
    kl, scores = curves(law, alpha=0.8, beta=beta, noise=0.0)
    found = fit(law, kl, scores, seed=0)
    for interval, expected in (
        (found.start, 0.3), (found.alpha, 0.8), (found.beta, beta),
        (found.peak, peak), (found.height, height),
    ):  # fmt: skip
        assert interval.point == pytest.approx(expected)
        assert interval.low == pytest.approx(interval.high)  # no noise, no width
    assert found.at([0.0, peak]) == pytest.approx([0.3, 0.3 + height])
    assert max(found.at(np.linspace(0, 5, 501))) == pytest.approx(0.3 + height, abs=1e-4)


@pytest.mark.parametrize("law", ["best_of_n", "rl"])
def test_noise_widens_the_intervals_around_the_truth(law):
    kl, scores = curves(law, alpha=0.8, beta=0.3, noise=0.5)
    found = fit(law, kl, scores, seed=0)
    assert found.alpha.low < 0.8 < found.alpha.high
    assert found.beta.low < 0.3 < found.beta.high
    assert 0.02 < found.alpha.high - found.alpha.low < 0.5


@pytest.mark.parametrize("law", ["best_of_n", "rl"])
def test_where_gold_only_rises_there_is_no_peak(law):
    kl, scores = curves(law, alpha=0.8, beta=-0.1, noise=0.01)
    found = fit(law, kl, scores, seed=0)
    assert found.peak.point == found.peak.high == math.inf


def test_shapes_and_ranges_are_checked():
    x = np.zeros((2, 4))
    with pytest.raises(ValueError, match="expected 1 to 4"):
        best_of_n(x, x, 5)
    with pytest.raises(ValueError, match="expected one shape"):
        best_of_n(x, np.zeros((2, 5)), 1)
    with pytest.raises(ValueError, match="at least 3 places"):
        fit("rl", x[:, :2], x[:, :2], seed=0)
