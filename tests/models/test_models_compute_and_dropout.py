"""Residual dropout counted, and where arithmetic runs."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertLMHeadModel

from trivium.errors import UserError
from trivium.models import compute_for, set_residual_dropout
from trivium.models.compute import Compute

SUBLAYERS = {
    "llama": ["model.layers.0.self_attn", "model.layers.0.mlp"],
    "gpt2": ["transformer.h.0.attn", "transformer.h.0.mlp"],
    "gpt_neox": ["gpt_neox.layers.0.attention", "gpt_neox.layers.0.mlp"],
    "gpt_neo": ["transformer.h.0.attn", "transformer.h.0.mlp"],  # attn holds an attn.attention
}


def outputs(model, names, ids):
    """What each named sub-layer hands on."""
    seen = {}

    def keep(name):
        def hook(module, inputs, output):
            seen[name] = (output[0] if isinstance(output, tuple) else output).detach()

        return hook

    hooks = [model.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    with torch.no_grad():
        model(ids)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("architecture", SUBLAYERS)
def test_dropout_in_training_and_only_there(tiny_model, architecture):
    model = tiny_model(architecture, 50)
    for module in model.modules():  # the architecture's own dropout is another matter
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    names, ids = SUBLAYERS[architecture], torch.randint(0, 50, (16, 20))
    plain = outputs(model, names, ids)
    set_residual_dropout(model, 0.2)
    still = outputs(model, names, ids)
    torch.manual_seed(4)
    dropped = outputs(model.train(), names, ids)
    for name in names:
        assert torch.equal(still[name], plain[name])
        zeros = (dropped[name] == 0).double().mean().item()
        # 16 * 20 * 32 = 10240 numbers, standard error 0.004
        assert zeros == pytest.approx(0.2, abs=0.016)
    first = names[0]  # what it reads was not dropped from, so what is left is scaled exactly
    kept = dropped[first] != 0
    torch.testing.assert_close(dropped[first][kept], (plain[first] / 0.8)[kept])


def test_dropout_of_zero_hooks_nothing(tiny_model):
    model = tiny_model("llama", 50)
    set_residual_dropout(model, 0.0)
    ids = torch.randint(0, 50, (2, 9))
    assert torch.equal(model.train()(ids).logits, model.eval()(ids).logits)


def test_dropout_without_sublayers_is_refused():
    size = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1}
    config = BertConfig(vocab_size=9, num_hidden_layers=0, is_decoder=True, **size)
    with pytest.raises(UserError, match="set dropout to 0"):
        set_residual_dropout(BertLMHeadModel(config), 0.1)


def test_compute_for():
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert compute_for("float32").dtype is torch.float32
    assert compute_for("bfloat16").dtype is torch.bfloat16
    assert compute_for("auto").device.type == device
    if device == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        assert compute_for("auto").dtype is (torch.bfloat16 if fast else torch.float32)


@pytest.mark.parametrize(
    ("dtype", "kl", "ratio"), [(torch.float32, 1e-5, 1e-4), (torch.bfloat16, 1e-3, 1e-2)]
)
def test_tolerances_follow_the_dtype(dtype, kl, ratio):
    compute = Compute(device=torch.device("cpu"), dtype=dtype)
    assert (compute.kl_tolerance, compute.ratio_tolerance) == (kl, ratio)
