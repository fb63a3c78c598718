"""Ragged batches: predicted positions by hand and by a loop, laws of select and concatenate."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trivium.text import Sequences, concatenate, from_lists, select

ROWS = st.lists(
    st.tuples(st.lists(st.integers(0, 9), max_size=4), st.lists(st.integers(0, 9), max_size=4)),
    min_size=1,
    max_size=5,
)


def as_lists(sequences: Sequences) -> list[tuple[list[int], int]]:
    rows = sequences.tokens.split(sequences.lengths.tolist())
    return [
        (row.tolist(), n) for row, n in zip(rows, sequences.prompt_lengths.tolist(), strict=True)
    ]


def test_three_rows_by_hand():
    # positions: 0 1 2 | 3 4 | 5 6 7
    batch = from_lists([[1, 2], [], [6, 7, 8]], [[3], [4, 5], []])
    assert batch.tokens.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert batch.lengths.tolist() == [3, 2, 3]
    assert batch.prompt_lengths.tolist() == [2, 0, 3]
    assert batch.response_lengths.tolist() == [1, 2, 0]
    assert batch.offsets.tolist() == [0, 3, 5]
    assert batch.predicted().tolist() == [2, 4]  # the second row's first token follows nothing
    assert batch.predicted(prompts_too=True).tolist() == [1, 2, 4, 6, 7]
    assert len(batch) == 3


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_predicted_positions_equal_a_loop(rows):
    batch = from_lists([p for p, _ in rows], [r for _, r in rows])
    response, everything, at = [], [], 0
    for prompt, answer in rows:
        for i in range(len(prompt) + len(answer)):
            if i > 0:
                everything.append(at)
            if i > 0 and i >= len(prompt):
                response.append(at)
            at += 1
    assert batch.predicted().tolist() == response
    assert batch.predicted(prompts_too=True).tolist() == everything


@settings(max_examples=40, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_select_and_concatenate(rows, random):
    batch = from_lists([p for p, _ in rows], [r for _, r in rows])
    expected = [([*p, *r], len(p)) for p, r in rows]
    chosen = [random.randrange(len(rows)) for _ in range(random.randrange(len(rows) + 2))]
    rows_at = torch.tensor(chosen, dtype=torch.int64)
    assert as_lists(select(batch, rows_at)) == [expected[i] for i in chosen]
    one_by_one = [select(batch, torch.tensor([i])) for i in range(len(rows))]
    assert as_lists(concatenate(one_by_one)) == expected


def test_lengths_that_disagree_are_refused():
    one, two, three = torch.tensor([1]), torch.tensor([2]), torch.tensor([3])
    with pytest.raises(AssertionError, match="lengths"):
        Sequences(tokens=torch.tensor([5, 6, 7]), lengths=two, prompt_lengths=one)
    with pytest.raises(AssertionError, match="longer than its sequence"):
        Sequences(tokens=torch.tensor([5, 6]), lengths=two, prompt_lengths=three)
