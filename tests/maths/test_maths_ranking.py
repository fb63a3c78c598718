"""The ranking loss: by hand, by another formula, and its symmetries."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trivium.maths import ranking_loss, untied_pairs

seeds = st.integers(0, 2**31 - 1)


def ranked(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and ranks of 2 to 9 answers, with ties but never all tied."""
    generator = torch.Generator().manual_seed(seed)
    k = int(torch.randint(2, 10, (), generator=generator))
    ranks = torch.randint(1, k + 1, (k,), generator=generator)
    ranks[0], ranks[1] = 1, 2
    return torch.randn(k, generator=generator), ranks


def test_two_by_hand():
    got = ranking_loss(torch.tensor([1.0, 0.0]), torch.tensor([1, 2]))
    torch.testing.assert_close(got, torch.tensor(0.31326168751))  # log(1 + e^-1)
    got = ranking_loss(torch.tensor([1.0, 0.0]), torch.tensor([2, 1]))
    torch.testing.assert_close(got, torch.tensor(1.31326168751))  # log(1 + e)


def test_a_tie_gives_no_pair_and_no_weight():
    # ranks 1, 2, 2: pairs (0, 1) and (0, 2) with differences 1 and 3
    got = ranking_loss(torch.tensor([3.0, 2.0, 0.0]), torch.tensor([1, 2, 2]))
    expected = (math.log1p(math.exp(-1.0)) + math.log1p(math.exp(-3.0))) / 2
    torch.testing.assert_close(got, torch.tensor(expected))


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_pairs_are_exactly_the_untied_ones(seed):
    _, ranks = ranked(seed)
    better, worse = untied_pairs(ranks)
    got = list(zip(better.tolist(), worse.tolist(), strict=True))
    r = ranks.tolist()
    expected = {(i, j) for i in range(len(r)) for j in range(len(r)) if r[i] < r[j]}
    assert len(got) == len(set(got))
    assert set(got) == expected


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_equals_the_loop_over_pairs(seed):
    scores, ranks = ranked(seed)
    margins = torch.rand(len(ranks), len(ranks), generator=torch.Generator().manual_seed(seed))
    s, r, m = scores.double().tolist(), ranks.tolist(), margins.double().tolist()
    for given_margins, use in ((None, 0.0), (margins, 1.0)):
        terms = [
            math.log1p(math.exp(-(s[i] - s[j] - use * m[i][j])))
            for i in range(len(r))
            for j in range(len(r))
            if r[i] < r[j]
        ]
        got = ranking_loss(scores, ranks, margins=given_margins).item()
        assert got == pytest.approx(sum(terms) / len(terms), rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(-5, 5))
def test_only_differences_matter(seed, shift):
    scores, ranks = ranked(seed)
    shifted = ranking_loss(scores + shift, ranks)
    torch.testing.assert_close(ranking_loss(scores, ranks), shifted, rtol=1e-4, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_the_order_of_the_answers_does_not_matter(seed):
    scores, ranks = ranked(seed)
    order = torch.randperm(len(ranks), generator=torch.Generator().manual_seed(seed))
    permuted = ranking_loss(scores[order], ranks[order])
    torch.testing.assert_close(ranking_loss(scores, ranks), permuted)


@settings(max_examples=40, deadline=None)
@given(st.floats(-30, 30), st.floats(-30, 30))
def test_of_two_it_is_minus_log_sigmoid(a, b):
    got = ranking_loss(torch.tensor([a, b]), torch.tensor([1, 5]))
    x = torch.tensor(a, dtype=torch.float64) - torch.tensor(b, dtype=torch.float64)
    expected = torch.nn.functional.softplus(-x).float()
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


def test_a_model_that_cannot_tell_pays_log_two():
    got = ranking_loss(torch.zeros(9), torch.arange(1, 10))
    torch.testing.assert_close(got, torch.tensor(math.log(2.0)))


def test_huge_differences_stay_finite():
    scores = torch.tensor([-1000.0, 1000.0], requires_grad=True)
    loss = ranking_loss(scores, torch.tensor([1, 2]))
    loss.backward()
    assert loss.item() == 2000.0
    assert scores.grad.tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("ranks", [[1, 1], [3, 3, 3], [1]])
def test_all_tied_is_an_error(ranks):
    with pytest.raises(ValueError, match="tied"):
        ranking_loss(torch.zeros(len(ranks)), torch.tensor(ranks))
