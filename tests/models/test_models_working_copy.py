"""bfloat16 copies of fp32 masters: what they compute, and that masters alone learn."""

import copy

import pytest
import torch

from trivium.config import Sampling
from trivium.models import Compute, response_logprobs, token_losses
from trivium.models.forward import hidden_states
from trivium.models.working_copy import working_bytes, working_copy
from trivium.rollouts import generate
from trivium.text import from_lists

BF16 = Compute(device=torch.device("cpu"), dtype=torch.bfloat16)
VOCAB = 50
ARCHITECTURES = ["llama", "gpt2", "gpt_neox", "qwen2", "mistral"]
TEXTS = [[1, 2, 3, 4], [5, 6]], [[7, 8, 9], [10, 11, 12, 13]]


def masters(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def unchanged(model, before) -> bool:
    return all(
        p.dtype is torch.float32 and torch.equal(p, before[n]) for n, p in model.named_parameters()
    )


@torch.no_grad()
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_states_are_those_of_a_model_cast_whole(tiny_model, architecture):
    """transformers' own pass through weights that were cast by `Module.bfloat16`."""
    model = tiny_model(architecture, VOCAB)
    before = masters(model)
    cast = copy.deepcopy(model).bfloat16()
    cast.set_attn_implementation("eager")
    expected = torch.cat([
        cast(torch.tensor([p + r]), output_hidden_states=True).hidden_states[-1][0]
        for p, r in zip(*TEXTS, strict=True)
    ])  # fmt: skip
    got = hidden_states(model, from_lists(*TEXTS), BF16)
    assert got.dtype is torch.bfloat16
    # Attention's softmax and sums are rounded elsewhere: 8 bits, a few layers deep.
    assert float((got.float() - expected.float()).norm() / expected.float().norm()) < 0.02
    assert unchanged(model, before)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_reach_the_masters_in_fp32(tiny_model, cpu, architecture):
    """Those of fp32, off by what 8 bits round; tied weights get both of their parts."""
    model = tiny_model(architecture, VOCAB)
    rows = from_lists(*TEXTS)
    grads = []
    for compute in (cpu, BF16):
        model.zero_grad()
        logprobs, _ = response_logprobs(model, rows, compute, temperature=1.0)
        assert logprobs.dtype is torch.float32
        logprobs.sum().backward()
        grads.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    exact, got = grads
    assert exact.keys() == got.keys()
    assert all(grad.dtype is torch.float32 for grad in got.values())
    apart = torch.cat([(got[n] - exact[n]).flatten() for n in exact]).norm()
    assert float(apart / torch.cat([g.flatten() for g in exact.values()]).norm()) < 0.05


def test_an_update_too_small_for_bfloat16_is_kept(tiny_model):
    """The reason for masters: 1e-4 of a weight is a twentieth of half a bf16 step, or less."""
    model = tiny_model("llama", VOCAB)
    rows = from_lists(*TEXTS)
    matrix = model.model.layers[0].mlp.up_proj.weight
    before = matrix.detach().clone()
    token_losses(model, rows, BF16).sum().backward()
    with torch.no_grad():
        matrix -= 1e-4 * before * matrix.grad.sign()
    moved = (matrix - before).abs() / before.abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 1e-4), rtol=0.01, atol=1e-6)


def test_a_token_that_comes_often_keeps_its_gradient(tiny_model, cpu):
    """torch adds up rows of a 16-bit table in 16 bits: at 2,000 occurrences a third was lost."""
    model = tiny_model("llama", VOCAB)
    # Other first tokens, or the prompt would be read once for all.
    rows = from_lists([[6 + i] + [3] * 60 for i in range(40)], [[4, 5] for _ in range(40)])
    grads = []
    for compute in (cpu, BF16):
        model.zero_grad()
        token_losses(model, rows, compute, prompts_too=True).sum().backward()
        grads.append(model.get_input_embeddings().weight.grad[3].clone())
    exact, got = grads
    assert float((got - exact).norm() / exact.norm()) < 0.03


def test_sampling_casts_once_and_leaves_masters_alone(tiny_model, monkeypatch):
    model = tiny_model("qwen2", VOCAB)
    before = masters(model)
    shapes = [parameter.shape for parameter in before.values()]
    casts = []
    real = torch.Tensor.to

    def counted(tensor, *args, **kwargs):
        if args[:1] == (torch.bfloat16,) and tensor.dtype is torch.float32:
            casts.append(tensor.shape)
        return real(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", counted)
    sampling = Sampling(max_response_tokens=8)
    written = generate(model, TEXTS[0], sampling, end_id=0, compute=BF16,
                       generator=torch.Generator().manual_seed(0))  # fmt: skip
    assert written.sampler_logprobs.dtype is torch.float32
    # cos and sin of the positions are cast at every token, and as large as no weight.
    assert sorted(c for c in casts if c in shapes) == sorted(shapes)
    assert unchanged(model, before)


def test_the_masters_come_back_when_something_fails(tiny_model):
    model = tiny_model("qwen2", VOCAB)
    before, tied = masters(model), model.get_output_embeddings().weight

    def fail():
        with working_copy(model, torch.bfloat16):
            assert all(p.dtype is torch.bfloat16 for p in model.parameters())
            assert model.get_input_embeddings().weight is tied
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert unchanged(model, before)
    assert model.get_input_embeddings().weight is tied


def test_fp32_needs_no_copy(tiny_model):
    model = tiny_model("llama", VOCAB)
    places = [p.data_ptr() for p in model.parameters()]
    with working_copy(model, torch.float32):
        assert [p.data_ptr() for p in model.parameters()] == places


def test_bytes_of_a_copy(tiny_model):
    """Two a number; tied weights once."""
    model = tiny_model("qwen2", VOCAB)
    assert working_bytes(model, torch.bfloat16) == 2 * model.num_parameters()
    assert working_bytes(model, torch.float32) == 0
