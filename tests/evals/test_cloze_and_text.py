"""Cloze accuracy, signs of degenerate text, distance from the reference."""

import math

import numpy as np
import pytest

from trivium.evals.cloze import cloze_accuracy
from trivium.evals.frontier import sqrt_kl
from trivium.evals.text_stats import distinct_n, mean_words, repetition_share


def test_cloze_by_hand() -> None:
    options = [[-1.0, -2.0], [-3.0, -1.0, -2.0], [-1.0, -1.0, -5.0], [-1.0, -1.0, -5.0]]
    # Right; wrong; right, shared by two; wrong, though two share the top.
    interval = cloze_accuracy(options, [0, 2, 1, 2], seed=0)
    assert interval.point == pytest.approx((1 + 0 + 0.5 + 0) / 4)
    assert 0 <= interval.low < interval.point < interval.high <= 1


def test_a_model_that_sees_no_difference_scores_chance() -> None:
    assert cloze_accuracy([[-2.0] * 4] * 10, [0] * 10, seed=0).point == 0.25


def test_shifting_all_options_of_a_question_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    options, answers = rng.normal(size=(50, 4)), rng.integers(0, 4, size=50).tolist()
    shifted = options + 10 * rng.normal(size=(50, 1))
    same = cloze_accuracy(shifted.tolist(), answers, seed=0)
    assert cloze_accuracy(options.tolist(), answers, seed=0) == same


@pytest.mark.parametrize(
    ("options", "answers"),
    [
        ([[-1.0, -2.0]], [2]),
        ([[-1.0, -2.0]], [-1]),
        ([[math.nan, -1.0]], [1]),
        ([[-1.0]], []),
        ([], []),
    ],
)
def test_cloze_bad_input(options: list[list[float]], answers: list[int]) -> None:
    with pytest.raises(ValueError, match=r"question 0|shorter|at least one"):
        cloze_accuracy(options, answers, seed=0)


def test_distinct_n_by_hand() -> None:
    texts = ["the cat sat", "The cat ran"]
    assert distinct_n(texts, 1) == 4 / 6  # the cat sat ran
    assert distinct_n(texts, 2) == 3 / 4  # the-cat comes twice, across texts
    assert distinct_n(["a b"] * 10, 2) == 1 / 10
    assert distinct_n(["one", ""], 2) == 0.0


def test_repetition_by_hand() -> None:
    # a b a b a b a: 4-grams abab baba abab baba, two of four came before.
    assert repetition_share(["a b a b a b a"]) == 0.5
    # Repetition counts within a text, not across; pooled: 2 of 4 + 2.
    assert repetition_share(["a b a b a b a", "v w x y z"]) == pytest.approx(2 / 6)
    assert repetition_share(["v w x y z"] * 5) == 0.0
    assert repetition_share(["too short"]) == 0.0
    assert repetition_share(["no no no no"], n=1) == 0.75
    assert repetition_share(["go on " * 200]) > 0.99


def test_mean_words() -> None:
    assert mean_words(["one two  three\n", "", "four"]) == pytest.approx(4 / 3)
    with pytest.raises(ValueError, match="no texts"):
        mean_words([])


def test_sqrt_kl() -> None:
    assert sqrt_kl(6.25) == 2.5
    assert sqrt_kl(-1e-7) == 0.0
