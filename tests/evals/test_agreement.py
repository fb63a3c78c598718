"""Agreement between labelers: by hand, and for labelers of known noise."""

import numpy as np
import pytest

from trivium.evals.agreement import labeler_agreement


def test_by_hand() -> None:
    agreement = labeler_agreement(
        {
            # ab: both a first. ac: both a first. bc: ana ties, left out. 2 of 2.
            "p1": [("ana", ["a", "b", "c"], [1, 2, 2]), ("ben", ["c", "b", "a"], [3, 2, 1])],
            # Now ben ties what ana does not: nothing.
            "p0": [("ana", ["a", "b"], [1, 2]), ("ben", ["a", "b"], [1, 1])],
            # Three labelers, one pair: ana-ben differ, ana-cy agree, ben-cy differ. 1 of 3.
            "p2": [
                ("ana", ["x", "y"], [1, 2]),
                ("ben", ["x", "y"], [2, 1]),
                ("cy", ["x", "y"], [1, 2]),
            ],
            # One labeler alone, and one who ranked it twice: nothing.
            "p3": [("ana", ["u", "v"], [1, 2])],
            "p4": [("ana", ["u", "v"], [1, 2]), ("ana", ["u", "v"], [1, 2])],
            # Both tie: nothing.
            "p5": [("ana", ["u", "v"], [1, 1]), ("ben", ["u", "v"], [1, 1])],
        },
        seed=0,
    )
    assert agreement is not None
    assert agreement.pairs == 5
    assert agreement.share.point == pytest.approx(3 / 5)
    assert agreement.as_dict() == agreement.share.as_dict() | {"pairs": 5}


def test_only_shared_completions_are_compared() -> None:
    rankings = {"p": [("ana", ["a", "b", "c"], [1, 2, 3]), ("ben", ["b", "d", "a"], [1, 2, 3])]}
    agreement = labeler_agreement(rankings, seed=0)
    assert agreement is not None
    assert (agreement.pairs, agreement.share.point) == (1, 0.0)


def test_a_key_that_comes_twice_is_not_compared() -> None:
    rankings = {
        "p": [("ana", ["a", "a", "b", "c"], [1, 4, 2, 3]), ("ben", ["a", "b", "c"], [1, 2, 3])]
    }
    agreement = labeler_agreement(rankings, seed=0)
    assert agreement is not None
    assert agreement.pairs == 1


def test_nothing_shared_is_none() -> None:
    assert labeler_agreement({}, seed=0) is None
    rankings = {"p": [("ana", ["a", "b"], [1, 2]), ("ben", ["c", "d"], [1, 2])]}
    assert labeler_agreement(rankings, seed=0) is None


def test_ranks_and_keys_are_aligned() -> None:
    rankings = {"p": [("ana", ["a", "b"], [1]), ("ben", ["a", "b"], [1, 2])]}
    with pytest.raises(ValueError, match="shorter"):
        labeler_agreement(rankings, seed=0)


def test_many_labelers_of_one_prompt_are_one_prompt() -> None:
    rankings = {"p": [(f"l{i}", ["a", "b"], [1, 2]) for i in range(9)]}
    agreement = labeler_agreement(rankings, seed=0)
    assert agreement is not None
    assert (agreement.pairs, agreement.share.point) == (36, 1.0)
    assert agreement.share.low < 0.25  # Wilson for one trial; 36 trials would give 0.90


def two_labelers(prompts: int, right: float, seed: int) -> dict:
    """Each labeler orders one pair a prompt as the truth does with probability `right`."""
    rng = np.random.default_rng(seed)
    orders = np.where(rng.random((prompts, 2)) < right, 1, 2)
    return {
        str(p): [(f"l{i}", ["a", "b"], [int(r), 3 - int(r)]) for i, r in enumerate(pair)]
        for p, pair in enumerate(orders)
    }


@pytest.mark.parametrize("right", [1.0, 0.9, 0.5])
def test_known_noise(right: float) -> None:
    """Two labelers agree if both are right or both wrong: q^2 + (1 - q)^2."""
    agreement = labeler_agreement(two_labelers(600, right, seed=4), seed=0)
    assert agreement is not None
    assert agreement.pairs == 600
    assert agreement.share.low <= right**2 + (1 - right) ** 2 <= agreement.share.high
    assert agreement.share.high - agreement.share.low < 0.09
