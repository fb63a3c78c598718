"""Log-probabilities and entropy of tokens, against float64 and torch.distributions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trivium.maths import entropy, logprob_gradient_, token_logprobs


def test_two_tokens_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)]])  # probabilities 1/4 and 3/4
    got = token_logprobs(logits, torch.tensor([1]))
    torch.testing.assert_close(got, torch.tensor([math.log(0.75)]))
    # H = log 4 - 3/4 log 3
    expected = torch.tensor([math.log(4.0) - 0.75 * math.log(3.0)])
    torch.testing.assert_close(entropy(logits), expected)


def test_temperature_divides_the_logits():
    logits = torch.tensor([[0.0, 2.0 * math.log(3.0)]])  # 1 : 9, at temperature 2 it is 1 : 3
    got = token_logprobs(logits, torch.tensor([0]), temperature=2.0)
    torch.testing.assert_close(got, torch.tensor([math.log(0.25)]))
    expected = torch.tensor([math.log(4.0) - 0.75 * math.log(3.0)])
    torch.testing.assert_close(entropy(logits, temperature=2.0), expected)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**31 - 1),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    st.floats(0.3, 3.0),
    st.floats(-1000.0, 1000.0),
)
def test_float32_arithmetic_whatever_comes_in(seed, dtype, temperature, shift):
    generator = torch.Generator().manual_seed(seed)
    logits = (3.0 * torch.randn(2, 5, 11, generator=generator) + shift).to(dtype)
    tokens = torch.randint(0, 11, (2, 5), generator=generator)
    z = logits.double().numpy() / temperature
    log_z = np.log(np.exp(z - z.max(-1, keepdims=True)).sum(-1)) + z.max(-1)
    chosen = np.take_along_axis(z, tokens.numpy()[..., None], -1)[..., 0]
    p = np.exp(z - log_z[..., None])
    got = token_logprobs(logits, tokens, temperature=temperature)
    assert got.dtype == torch.float32
    tolerance = 1e-6 * (1.0 + np.abs(z).max())  # a few float32 roundings of the largest number
    np.testing.assert_allclose(got.numpy(), chosen - log_z, rtol=0, atol=tolerance)
    got = entropy(logits, temperature=temperature)
    assert got.dtype == torch.float32
    expected = -(p * (z - log_z[..., None])).sum(-1)
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=5 * tolerance)


def test_gradient_is_one_hot_minus_softmax():
    logits = torch.randn(4, 6, requires_grad=True)
    tokens = torch.tensor([0, 5, 2, 2])
    token_logprobs(logits, tokens).sum().backward()
    probabilities = np.exp(logits.detach().double().numpy())
    probabilities /= probabilities.sum(-1, keepdims=True)
    expected = np.eye(6)[tokens.numpy()] - probabilities
    np.testing.assert_allclose(logits.grad.numpy(), expected, atol=1e-6)


def test_entropy_and_its_gradient_match_torch_distributions():
    logits = torch.randn(3, 7, requires_grad=True)
    entropy(logits).sum().backward()
    other = logits.detach().clone().requires_grad_()
    expected = torch.distributions.Categorical(logits=other).entropy()
    expected.sum().backward()
    torch.testing.assert_close(entropy(logits), expected)
    torch.testing.assert_close(logits.grad, other.grad)


def test_a_forbidden_token_adds_no_entropy_and_no_nan():
    logits = torch.tensor([[1.0, 1.0, -torch.inf]], requires_grad=True)
    got = entropy(logits)
    torch.testing.assert_close(got, torch.tensor([math.log(2.0)]))
    got.sum().backward()
    torch.testing.assert_close(logits.grad, torch.zeros(1, 3))


def test_the_full_log_softmax_is_never_kept():
    logits = torch.randn(2, 3, 50, requires_grad=True)
    kept: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        token_logprobs(logits, torch.zeros(2, 3, dtype=torch.long))
    large = [tensor for tensor in kept if tensor.numel() >= logits.numel()]
    assert large
    assert {tensor.data_ptr() for tensor in large} == {logits.data_ptr()}


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match="temperature"):
        token_logprobs(torch.zeros(1, 2), torch.tensor([0]), temperature=temperature)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_gradient_is_that_of_autograd_in_float64(temperature):
    generator = torch.Generator().manual_seed(8)
    logits = torch.randn(5, 11, generator=generator) * 3
    tokens = torch.tensor([0, 10, 4, 4, 7])
    upstream = torch.tensor([1.0, -2.0, 0.0, 0.5, 3.0])
    exact = logits.double().requires_grad_()
    chosen = (exact / temperature).log_softmax(-1)[torch.arange(5), tokens]
    (chosen * upstream.double()).sum().backward()
    got = logprob_gradient_(
        logits, tokens, chosen.detach().float(), upstream, temperature=temperature
    )
    assert got.data_ptr() == logits.data_ptr()
    torch.testing.assert_close(got.double(), exact.grad, rtol=1e-5, atol=1e-6)
