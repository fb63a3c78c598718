"""Adapters: what they compute, what they share, what is saved; against W + (alpha / rank) B A."""

import math
import sys
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers.pytorch_utils import Conv1D

from trivium.config import LoRA, Sampling
from trivium.errors import UserError
from trivium.models import (
    adapt_policy,
    adapt_reward_model,
    load_policy,
    load_reward_model,
    merge_policy,
    merge_reward_model,
    response_logprobs,
    save_adapter,
    save_policy,
    save_reward_model,
    trained,
)
from trivium.models.forward import hidden_states
from trivium.models.load import new_reward_model, probe_scores
from trivium.models.lora import adapter_parameters
from trivium.rollouts import generate
from trivium.text import from_lists

SMALL = LoRA(rank=2, alpha=6)
ARCHITECTURES = [("llama", "plain"), ("gpt2", "gpt2")]
"""GPT-2 has biases, transposed matrices, and an unembedding tied to the embedding."""


@pytest.fixture(params=ARCHITECTURES, ids=[name for name, _ in ARCHITECTURES])
def policy(request, model_folder, cpu):
    return load_policy(str(model_folder(*request.param)), cpu)


@pytest.fixture
def llama(model_folder, cpu):
    return load_policy(str(model_folder()), cpu)


def texts():
    """Five answers to three prompts, of unlike lengths: packed, and one prompt shared."""
    return from_lists(
        [[5, 6, 7], [5, 6, 7], [8, 9], [3, 4, 5, 6, 7, 8], [3]],
        [[10, 11], [12, 13, 14, 15], [16], [17, 18, 19], [20, 21, 22]],
    )


def logprobs(model, cpu):
    with torch.no_grad():
        return response_logprobs(model, texts(), cpu, temperature=1.0)[0]


def stir(adapted):
    """As if it had been trained: B is no longer zero."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in trained(adapted.model):
            weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))
    return adapted


def test_the_model_itself_reads_as_before_bit_by_bit(policy, cpu):
    before = logprobs(policy.model, cpu)
    adapted = adapt_policy(policy, SMALL, seed=1)
    assert logprobs(adapted.model, cpu).equal(before)  # B is zero
    stir(adapted)
    assert logprobs(policy.model, cpu).equal(before)
    assert (logprobs(adapted.model, cpu) - before).abs().max() > 0.01


def test_it_reads_with_b_a_added_to_each_matrix(policy, cpu, tmp_path):
    """The sum is made by hand from the file's tensors, in a model that peft has not seen."""
    adapted = stir(adapt_policy(policy, SMALL, seed=1))
    save_adapter(adapted.adapter, tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    plain = AutoModelForCausalLM.from_pretrained(policy.name)
    layers = [name.removesuffix(".lora_A.weight") for name in saved if name.endswith("A.weight")]
    assert len(saved) == 2 * len(layers)
    with torch.no_grad():
        for layer in layers:
            product = 3.0 * saved[f"{layer}.lora_B.weight"] @ saved[f"{layer}.lora_A.weight"]
            module = plain.get_submodule(layer.removeprefix("base_model.model."))
            module.weight += product.T if isinstance(module, Conv1D) else product
    torch.testing.assert_close(logprobs(adapted.model, cpu), logprobs(plain, cpu))


def test_merged_weights_read_as_the_adapter_did_everywhere(policy, cpu, tmp_path):
    adapted = stir(adapt_policy(policy, SMALL, seed=1))
    expected = logprobs(adapted.model, cpu)
    save_adapter(adapted.adapter, tmp_path / "adapter")
    others = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(policy.name), tmp_path / "adapter"
    )
    whole = merge_policy(adapted)
    assert whole.adapter is None
    save_policy(whole, tmp_path / "model", stage="test")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    again = load_policy(str(tmp_path / "model"), cpu)
    for model in (whole.model, plain, again.model, others.get_base_model()):
        torch.testing.assert_close(logprobs(model, cpu), expected, rtol=0, atol=1e-5)
    assert not [
        name for name in load_file(tmp_path / "model" / "model.safetensors") if "lora" in name
    ]


def test_a_policy_without_an_adapter_merges_into_itself(llama):
    assert merge_policy(llama) is llama


def test_what_is_trained_is_counted_by_hand(llama):
    """Two layers, 32 wide, keys and values 16, feed-forward 48: rank (in + out) a matrix."""
    adapted = adapt_policy(llama, SMALL, seed=1)
    attention = (32 + 32) + (32 + 16) + (32 + 16) + (32 + 32)
    feed_forward = (32 + 48) + (32 + 48) + (48 + 32)
    expected = 2 * 2 * (attention + feed_forward)
    assert sum(p.numel() for p in trained(adapted.model)) == expected
    assert adapter_parameters(llama.model, SMALL) == expected
    only = LoRA(rank=4, targets=("q_proj", "v_proj"))
    chosen = trained(adapt_policy(llama, only, seed=1).model)
    assert (
        sum(p.numel() for p in chosen) == 2 * 4 * (64 + 48) == adapter_parameters(llama.model, only)
    )


def test_model_and_twin_hold_the_same_memory(policy):
    adapted = adapt_policy(policy, SMALL, seed=1)
    own = {p.data_ptr() for p in policy.model.parameters()}
    both = {p.data_ptr() for p in adapted.model.parameters()}
    assert both - own == {p.data_ptr() for p in trained(adapted.model)}
    assert own < both
    assert not trained(policy.model)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_it_samples_what_it_reads(llama, cpu, dtype, close):
    """The decode engine and the packed forward pass see one adapter."""
    adapted, compute = stir(adapt_policy(llama, SMALL, seed=1)), replace(cpu, dtype=dtype)
    episodes = generate(
        adapted.model,
        [[5, 6, 7], [5, 6, 7], [8, 9]],
        Sampling(max_response_tokens=6),
        end_id=adapted.codec.end_id,
        compute=compute,
        generator=torch.Generator().manual_seed(0),
    )
    with torch.no_grad():
        read = response_logprobs(adapted.model, episodes.sequences, compute, temperature=1.0)[0]
        base = response_logprobs(llama.model, episodes.sequences, compute, temperature=1.0)[0]
    torch.testing.assert_close(read, episodes.sampler_logprobs, rtol=0, atol=close)
    assert (base - read).abs().max() > 0.3
    assert all(
        p.dtype is torch.float32 for p in (*llama.model.parameters(), *trained(adapted.model))
    )


def test_gradients_reach_the_adapter_alone(llama, cpu):
    adapted = adapt_policy(llama, SMALL, seed=1)
    response_logprobs(adapted.model, texts(), cpu, temperature=1.0)[0].sum().backward()
    moved = {name for name, p in adapted.model.named_parameters() if p.grad is not None}
    assert moved == {name for name, p in adapted.model.named_parameters() if "lora_" in name}
    # A moves B first: the gradient of A is zero while B is.
    for name, p in adapted.model.named_parameters():
        if p.grad is not None:
            assert bool(p.grad.any()) == ("lora_B" in name), name


def test_a_saved_adapter_goes_on_bit_by_bit(llama, cpu, tmp_path):
    adapted = stir(adapt_policy(llama, SMALL, seed=1))
    save_adapter(adapted.adapter, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors"]
    again = adapt_policy(llama, SMALL, seed=2, saved=tmp_path)
    assert logprobs(again.model, cpu).equal(logprobs(adapted.model, cpu))


def test_the_seed_decides_and_no_other_draw_moves(llama):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    first, again, other = (adapt_policy(llama, SMALL, seed=seed) for seed in (1, 1, 2))
    assert torch.rand(3).equal(expected)
    weights = [trained(one.model) for one in (first, again, other)]
    assert all(a.equal(b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not all(a.equal(b) for a, b in zip(weights[0], weights[2], strict=True))
    # Hu et al. 2021 draw A and leave B at zero; peft's A is uniform within 1 / sqrt(in)
    a = first.model.get_submodule("model.layers.0.mlp.down_proj.lora_A.default").weight
    assert 0 < a.abs().max() <= 1 / math.sqrt(48)


def test_a_reward_model_with_an_adapter(model_folder, cpu, tmp_path):
    base = new_reward_model(str(model_folder()), cpu, seed=5)
    before = probe_scores(base, cpu)
    adapted = adapt_reward_model(base, SMALL, seed=1)
    assert probe_scores(adapted, cpu) == before
    stir(adapted)
    assert probe_scores(base, cpu) == before
    scores = probe_scores(adapted, cpu)
    assert scores != before
    head = sum(p.numel() for p in adapted.head.parameters())
    count = sum(p.numel() for p in trained(adapted.model))
    assert count == adapter_parameters(base.model, SMALL) + head

    save_adapter(adapted.adapter, tmp_path / "adapter")
    again = adapt_reward_model(base, SMALL, seed=2, saved=tmp_path / "adapter")
    assert probe_scores(again, cpu) == scores
    plain = AutoModelForSequenceClassification.from_pretrained(model_folder(), num_labels=1)
    others = PeftModel.from_pretrained(plain, tmp_path / "adapter").get_base_model()
    whole = merge_reward_model(adapted)
    assert probe_scores(whole, cpu) == pytest.approx(scores, abs=1e-5)
    save_reward_model(whole, tmp_path / "model", cpu, stage="test")
    loaded = load_reward_model(str(tmp_path / "model"), cpu)
    assert probe_scores(loaded, cpu) == pytest.approx(scores, abs=1e-5)
    with torch.no_grad():
        theirs = hidden_states(others, texts(), cpu) @ others.score.weight.T
        ours = hidden_states(whole.model, texts(), cpu) @ whole.head.weight.T
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        (LoRA(rank=2, targets=("q_prj",)), r"lora\.targets: LlamaForCausalLM .*'q_prj'; .*q_proj"),
        (LoRA(rank=2, targets=("lm_head",)), r"lora\.targets: .*'lm_head'"),
    ],
)
def test_a_layer_that_is_not_there_is_one_line(llama, lora, said):
    with pytest.raises(UserError, match=said) as told:
        adapt_policy(llama, lora, seed=1)
    assert "\n" not in str(told.value)


def test_without_peft_one_line_says_what_to_install(llama, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"peft isn't .* constraints.txt '\.\[lora\]'$"):
        adapt_policy(llama, SMALL, seed=1)


@pytest.mark.parametrize(("field", "value"), [("rank", -1), ("alpha", 0)])
def test_numbers_out_of_range_are_refused(field, value):
    with pytest.raises(UserError, match=rf"lora\.{field}: expected .*got {value}"):
        LoRA(**{field: value})
