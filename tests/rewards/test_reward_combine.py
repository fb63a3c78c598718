"""The weighted sum of named rewards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.rewards.combine import weighted_total


def test_by_hand() -> None:
    # 1 * 2 + 0.5 * -4 = 0; 1 * 0 + 0.5 * 3 = 1.5
    parts = {"rm": [2.0, 0.0], "short": [-4.0, 3.0]}
    assert weighted_total(parts, {"rm": 1.0, "short": 0.5}) == [0.0, 1.5]


def test_one_reward_is_itself_and_an_empty_batch_empty() -> None:
    assert weighted_total({"rm": [0.1, -7.3]}, {"rm": 1.0}) == [0.1, -7.3]
    assert weighted_total({"rm": []}, {"rm": 1.0}) == []


def test_weight_zero_leaves_the_total_alone() -> None:
    assert weighted_total({"rm": [0.1], "watch": [1e9]}, {"watch": 0.0, "rm": 1.0}) == [0.1]


@given(st.permutations([("a", 0.1, 0.3), ("b", 1e6, 0.7), ("c", -1e6, 0.7), ("d", 1e-9, 3.0)]))
def test_order_of_names_does_not_matter(order: list[tuple[str, float, float]]) -> None:
    parts = {name: [score] for name, score, _ in order}
    weights = {name: weight for name, _, weight in order}
    # 0.03 + 3e-9: what is large cancels.
    assert weighted_total(parts, weights) == [0.1 * 0.3 + 3e-9]


@pytest.mark.parametrize(
    ("parts", "weights"),
    [
        ({}, {}),
        ({"a": [1.0]}, {"b": 1.0}),
        ({"a": [1.0]}, {"a": 1.0, "b": 1.0}),
        ({"a": [1.0], "b": [1.0]}, {"a": 1.0}),
        ({"a": [1.0], "b": [1.0, 2.0]}, {"a": 1.0, "b": 1.0}),
    ],
)
def test_nothing_is_lost_in_silence(parts: dict, weights: dict) -> None:
    with pytest.raises(ValueError, match=r"weights for|lengths differ"):
        weighted_total(parts, weights)
