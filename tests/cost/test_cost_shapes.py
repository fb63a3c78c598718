"""Shapes read off models, and what the formulas say of memory against what autograd keeps."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from trivium import cost
from trivium.models.forward import hidden_states
from trivium.models.shape import shape_of
from trivium.text import from_lists


def test_the_shape_of_smollm2():
    """HuggingFaceTB/SmolLM2-135M, from its published config."""
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        shape = shape_of(LlamaForCausalLM(config))
    matrices = 30 * (576 * 576 * 2 + 576 * 192 * 2 + 3 * 576 * 1536)
    assert shape.matrices == matrices
    assert shape.parameters == 134_515_008  # as its model card counts, tied head once
    assert (shape.query_width, shape.key_width, shape.inner) == (576, 192, 1536)
    assert (shape.layers, shape.hidden, shape.vocabulary) == (30, 576, 49152)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "qwen2"])
def test_every_matrix_but_the_embeddings_is_counted(tiny_model, architecture):
    model = tiny_model(architecture, 50)
    shape = shape_of(model)
    flat = sum(p.numel() for p in model.base_model.parameters() if p.dim() == 2)
    tables = {"gpt2": 50 * 32 + 256 * 32}.get(architecture, 50 * 32)
    assert shape.matrices == flat - tables
    assert shape.vocabulary == 50


def test_what_autograd_keeps(cpu):
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    sequences = from_lists([[1] * 40, [2] * 30], [[3] * 20, [4] * 22])
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        hidden_states(model, sequences, cpu)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    measured = sum(t.untyped_storage().nbytes() for k, t in kept.items() if k not in weights)
    expected = cost.activation_bytes(shape_of(model), 112, number_bytes=4)
    assert measured == pytest.approx(expected, rel=0.1)
