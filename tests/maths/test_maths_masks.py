"""Masks, sums and whitening."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trivium.maths import last_token, length_mask, masked_sum, whiten

seeds = st.integers(0, 2**31 - 1)


def test_length_mask_by_hand():
    expected = [[True, False, False], [True, True, True], [False, False, False]]
    assert length_mask(torch.tensor([1, 3, 0]), 3).tolist() == expected


def test_last_token_by_hand():
    mask = torch.tensor([[True, True, False], [False, True, True], [True, False, False]])
    expected = [[False, True, False], [False, False, True], [True, False, False]]
    assert last_token(mask).tolist() == expected


def test_an_empty_response_has_no_last_token():
    with pytest.raises(ValueError, match="empty"):
        last_token(length_mask(torch.tensor([2, 0]), 3))


def test_masked_sum_by_hand():
    total, count = masked_sum(
        torch.tensor([[1.0, 2.0, 1e9], [4.0, torch.nan, torch.inf]]),
        torch.tensor([[True, True, False], [True, False, False]]),
    )
    assert (total.item(), count.item()) == (7.0, 3)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_splitting_a_batch_changes_no_sum(episodes, seed):
    x, _, mask = episodes(seed, b=6)
    whole = masked_sum(x, mask)
    parts = [masked_sum(x[i : i + 2], mask[i : i + 2]) for i in range(0, 6, 2)]
    torch.testing.assert_close(whole[0], sum(p[0] for p in parts))
    assert whole[1] == sum(p[1] for p in parts)


def test_whiten_centres():
    x = torch.tensor([[1.0, 2.0, 3.0, 10.0]])
    got = whiten(x, torch.ones_like(x, dtype=torch.bool))
    # by hand: mean 4, biased variance (9 + 4 + 1 + 36) / 4 = 12.5
    torch.testing.assert_close(got, torch.tensor([[-3.0, -2.0, -1.0, 6.0]]) / 12.5**0.5)


def test_whiten_keeps_the_mean_when_asked():
    # The check vector of "N implementation details of RLHF with PPO", population variance.
    x = torch.tensor([[1.2, 1.3, 1.4], [1.5, 1.6, 1.7], [1.8, 1.9, 2.0]])
    got = whiten(x, torch.ones_like(x, dtype=torch.bool), shift_mean=False)
    expected = torch.tensor([0.0508, 0.4381, 0.8254])
    torch.testing.assert_close(got[0], expected, atol=5e-5, rtol=0)
    torch.testing.assert_close(got[2, 2], torch.tensor(3.1492), atol=5e-5, rtol=0)


@settings(max_examples=30, deadline=None)
@given(seeds, st.booleans())
def test_whiten_sees_only_the_tokens_that_count(episodes, seed, shift_mean):
    x, _, mask = episodes(seed)
    got = whiten(x.masked_fill(~mask, 1e9), mask, shift_mean=shift_mean)
    chosen = x[mask].double().numpy()
    expected = (chosen - chosen.mean()) / np.sqrt(chosen.var() + 1e-8)
    expected = expected if shift_mean else expected + chosen.mean()
    np.testing.assert_allclose(got[mask].numpy(), expected, rtol=1e-4, atol=1e-5)
    assert not got[~mask].any()


def test_whiten_of_a_constant_and_of_nothing_is_zero():
    x = torch.full((2, 3), 5.0)
    assert not whiten(x, torch.ones(2, 3, dtype=torch.bool)).any()
    assert not whiten(x, torch.zeros(2, 3, dtype=torch.bool)).any()


def test_two_processes_whiten_as_one(episodes):
    x, _, mask = episodes(0, b=6)
    x = x * torch.arange(1.0, 7.0)[:, None]  # so that the halves differ in mean and variance
    barrier, shares = Barrier(2, timeout=20), [torch.tensor(0), torch.tensor(0)]

    def process(rank: int) -> torch.Tensor:
        def sum_over_processes(share: torch.Tensor) -> torch.Tensor:
            shares[rank] = share
            barrier.wait()
            total = shares[0] + shares[1]
            barrier.wait()
            return total

        rows = slice(2) if rank == 0 else slice(2, 6)
        return whiten(x[rows], mask[rows], sum_over_processes=sum_over_processes)

    with ThreadPoolExecutor(2) as pool:
        together = torch.cat(list(pool.map(process, range(2))))
    torch.testing.assert_close(together, whiten(x, mask))
