"""Log-probabilities in chunks: the same numbers and gradients whatever the chunk."""

import pytest
import torch
from torch import nn

from trivium.models.unembedding import chunked_logprobs


def problem(*, bias: bool):
    """A head of 37 words, 13 states, and a weight for each log-probability."""
    g = torch.Generator().manual_seed(4)
    head = nn.Linear(6, 37, bias=bias)
    with torch.no_grad():
        for p in head.parameters():
            p.copy_(torch.randn(p.shape, generator=g))
    hidden = torch.randn(13, 6, generator=g, requires_grad=True)
    return head, hidden, torch.randint(0, 37, (13,), generator=g), torch.randn(13, generator=g)


@pytest.mark.parametrize("rows", [1, 5, 13, 100])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_numbers_and_gradients_equal_autograd_in_float64(rows, bias, temperature):
    head, hidden, tokens, weights = problem(bias=bias)
    got = chunked_logprobs(head, hidden, tokens, temperature=temperature, rows=rows)
    (got * weights).sum().backward()

    exact = [p.detach().double().requires_grad_() for p in (hidden, *head.parameters())]
    logits = nn.functional.linear(*exact) / temperature
    expected = logits.log_softmax(-1)[torch.arange(13), tokens]
    (expected * weights.double()).sum().backward()
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)
    for mine, theirs in zip((hidden, *head.parameters()), exact, strict=True):
        torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [4, 13])
def test_a_frozen_head_and_frozen_states_get_no_gradient(rows):
    head, hidden, tokens, _ = problem(bias=True)
    head.requires_grad_(False)
    chunked_logprobs(head, hidden, tokens, temperature=1.0, rows=rows).sum().backward()
    assert hidden.grad is not None
    assert head.weight.grad is None
    head.requires_grad_()
    states = hidden.detach()
    chunked_logprobs(head, states, tokens, temperature=1.0, rows=rows).sum().backward()
    assert head.weight.grad is not None
    assert states.grad is None


@pytest.mark.parametrize("bias", [False, True])
def test_bfloat16_products_and_float32_sums(bias):
    head, hidden, tokens, weights = problem(bias=bias)
    of = [hidden, *head.parameters()]
    exact = chunked_logprobs(head, hidden, tokens, temperature=1.0, rows=5)
    wanted = torch.autograd.grad((exact * weights).sum(), of)
    got = chunked_logprobs(head, hidden.bfloat16(), tokens, temperature=1.0, rows=5)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, exact, rtol=0.02, atol=0.1)  # 8 bits: 0.4 % of each product
    for mine, theirs in zip(torch.autograd.grad((got * weights).sum(), of), wanted, strict=True):
        assert mine.dtype == torch.float32
        assert float((mine - theirs).norm() / theirs.norm()) < 0.03


def test_nothing_to_predict():
    head, hidden, tokens, _ = problem(bias=False)
    got = chunked_logprobs(head, hidden[:0], tokens[:0], temperature=1.0, rows=5)
    assert got.shape == (0,)
    got.sum().backward()
    assert not bool(hidden.grad.any())
