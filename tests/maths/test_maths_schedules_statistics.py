"""Schedules, weight averages and running moments, against closed forms."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trivium.maths import (
    RunningMoments,
    cosine_to,
    ema_update_,
    merge_moments,
    update_moments,
    warmup_then_constant,
)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 1.0), (25, 0.1 + 0.45 * (1 + math.sqrt(0.5))), (50, 0.55), (100, 0.1), (150, 0.1)],
)
def test_cosine_by_hand(step, expected):
    assert cosine_to(step, num_steps=100) == pytest.approx(expected, abs=1e-12)


def test_cosine_never_rises():
    multipliers = [cosine_to(step, num_steps=37, floor=0.2) for step in range(50)]
    assert all(b <= a for a, b in pairwise(multipliers))
    assert multipliers[-1] == pytest.approx(0.2)


def test_cosine_needs_a_length():
    with pytest.raises(ValueError, match="num_steps"):
        cosine_to(0, num_steps=0)


def test_warmup_by_hand():
    # InstructGPT: ten iterations from a tenth of the peak to the peak, then flat
    got = [warmup_then_constant(step, warmup_steps=10) for step in range(13)]
    expected = [0.1, 0.19, 0.28, 0.37, 0.46, 0.55, 0.64, 0.73, 0.82, 0.91, 1.0, 1.0, 1.0]
    assert got == pytest.approx(expected)
    assert warmup_then_constant(0, warmup_steps=0) == 1.0


def test_ema_of_a_constant_has_a_closed_form():
    averages = [torch.zeros(2), torch.full((3,), 5.0)]
    values = [torch.ones(2), torch.full((3,), 1.0)]
    for _ in range(86):
        ema_update_(averages, values, decay=0.992)
    left = 0.992**86  # about one half
    torch.testing.assert_close(averages[0], torch.full((2,), 1.0 - left))
    torch.testing.assert_close(averages[1], torch.full((3,), 1.0 + 4.0 * left))
    assert [v.tolist() for v in values] == [[1.0, 1.0], [1.0, 1.0, 1.0]]


def test_ema_leaves_no_gradient_and_refuses_bad_input():
    weight = torch.nn.Parameter(torch.ones(2))
    average = torch.zeros(2)
    ema_update_([average], [weight], decay=0.75)
    assert average.tolist() == [0.25, 0.25]
    assert not average.requires_grad
    with pytest.raises(ValueError, match="2 averages for 1"):
        ema_update_([average, average], [weight], decay=0.5)
    with pytest.raises(ValueError, match="decay"):
        ema_update_([average], [weight], decay=1.5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(-1e4, 1e4))
def test_moments_do_not_depend_on_how_the_numbers_came(episodes, seed, shift):
    x, _, mask = episodes(seed, b=6)
    x = (x + shift).masked_fill(~mask, 1e9)
    seen = RunningMoments()
    for rows in (slice(0, 1), slice(1, 4), slice(4, 6)):
        seen = update_moments(seen, x[rows], mask[rows])
    halves = [update_moments(RunningMoments(), x[r], mask[r]) for r in (slice(2), slice(2, 6))]
    numbers = x[mask].double().numpy()
    for moments in (seen, merge_moments(*halves), merge_moments(*reversed(halves))):
        assert moments.count == len(numbers)
        assert moments.mean == pytest.approx(numbers.mean(), rel=1e-12, abs=1e-12)
        assert moments.std == pytest.approx(np.std(numbers), rel=1e-9)


def test_moments_of_scores_by_hand():
    scores, mask = torch.tensor([1.0, 2.0, 3.0, 10.0]), torch.ones(4, dtype=torch.bool)
    moments = update_moments(RunningMoments(), scores, mask)
    assert (moments.count, moments.mean, moments.m2) == (4, 4.0, 50.0)
    assert moments.std == pytest.approx(math.sqrt(12.5))


def test_nothing_seen_changes_nothing():
    empty = RunningMoments()
    assert math.isnan(empty.std)
    assert merge_moments(empty, empty) == empty
    nothing = torch.zeros(2, dtype=torch.bool)
    some = RunningMoments(count=2, mean=1.0, m2=2.0)
    for moments in (empty, some):
        assert update_moments(moments, torch.ones(2), nothing) == moments
