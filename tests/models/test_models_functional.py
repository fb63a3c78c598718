"""Logits as a function of the weights: transformers' own, and two derivatives that must agree."""

from functools import partial

import pytest
import torch

from trivium.maths import tangent
from trivium.models import Compute, response_logprobs
from trivium.models.functional import logits_at, put_weights, weights_of
from trivium.text import from_lists

PROMPTS, RESPONSES = [[5, 6], [5, 6], [9]], [[1, 7, 2], [4], [3, 3, 8, 1]]


@pytest.mark.parametrize("architecture", ["qwen2", "gpt2", "mistral"])
def test_logits_at_other_weights_are_those_of_a_model_that_has_them(architecture, tiny_model, cpu):
    model, other = (tiny_model(architecture, 12, seed=seed) for seed in (0, 1))
    before, weights = weights_of(model), weights_of(other)
    sequences = from_lists(PROMPTS, RESPONSES)
    got = logits_at(model, weights, sequences, cpu, temperature=0.5)

    start = 0
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        with torch.no_grad():
            dense = other(input_ids=torch.tensor([prompt + response])).logits[0] / 0.5
        rows = got[start : start + len(response)]
        torch.testing.assert_close(rows, dense[len(prompt) - 1 : -1], rtol=1e-4, atol=1e-4)
        start += len(response)
    assert torch.equal(weights_of(model), before)


@pytest.mark.parametrize("architecture", ["qwen2", "gpt2", "mistral"])
def test_forward_and_backward_derivatives_are_transposes(architecture, tiny_model, cpu):
    """u . (J v) = (J^T u) . v, for tied weights and three kinds of layers."""
    model = tiny_model(architecture, 12)
    weights = weights_of(model)
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(len(weights), generator=generator)
    at = partial(
        logits_at, model, sequences=from_lists(PROMPTS, RESPONSES), compute=cpu, temperature=1.0
    )
    change = tangent(at, weights, v)
    u = torch.randn(change.shape, generator=generator)
    (back,) = torch.autograd.grad(at(weights.requires_grad_()), weights, u)
    assert float((u * change).sum()) == pytest.approx(float(back @ v), rel=1e-3, abs=1e-3)


def test_the_laws_are_those_that_learning_reads(tiny_model, cpu):
    model, sequences = tiny_model("llama", 12), from_lists(PROMPTS, RESPONSES)
    tokens = sequences.tokens[sequences.predicted()]
    with torch.no_grad():
        logprobs, _ = response_logprobs(model, sequences, cpu, temperature=0.7)
        laws = logits_at(model, weights_of(model), sequences, cpu, temperature=0.7).log_softmax(-1)
    torch.testing.assert_close(laws[range(len(tokens)), tokens], logprobs)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
def test_in_bfloat16_other_weights_are_read_in_a_copy_of_their_own(architecture, tiny_model, cpu):
    model, other = (tiny_model(architecture, 12, seed=seed) for seed in (0, 1))
    sequences, weights = from_lists(PROMPTS, RESPONSES), weights_of(other).requires_grad_()
    half = Compute(device=cpu.device, dtype=torch.bfloat16)
    exact, got = (logits_at(model, weights, sequences, c, temperature=1.0) for c in (cpu, half))
    slope, expected = (torch.autograd.grad(x.square().sum(), weights)[0] for x in (got, exact))
    for mine, theirs in ((got, exact), (slope, expected)):
        assert mine.dtype is torch.float32
        assert float((mine - theirs).detach().norm() / theirs.detach().norm()) < 0.1


def test_what_is_not_trained_is_no_part_of_the_vector(tiny_model, cpu):
    model, sequences = tiny_model("llama", 12), from_lists(PROMPTS, RESPONSES)
    with torch.no_grad():
        whole = logits_at(model, weights_of(model), sequences, cpu, temperature=1.0)
    model.base_model.requires_grad_(False)
    weights = weights_of(model)
    assert len(weights) == model.lm_head.weight.numel()
    with torch.no_grad():
        half = logits_at(model, weights / 2, sequences, cpu, temperature=1.0)
    torch.testing.assert_close(half, whole / 2)


def test_weights_that_are_put_are_those_of_the_other_model(tiny_model):
    """Tied or not; and no parameter shares its memory with another, or they could not be saved."""
    for architecture in ("llama", "qwen2"):
        model, other = (tiny_model(architecture, 12, seed=seed) for seed in (0, 1))
        put_weights(model, weights_of(other))
        theirs = other.state_dict()
        assert all(tensor.equal(theirs[name]) for name, tensor in model.state_dict().items())
        storages = {p.untyped_storage().data_ptr() for p in model.parameters()}
        assert len(storages) == len(list(model.parameters()))
