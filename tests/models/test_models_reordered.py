"""Reordered weights give the same products, and only where they should."""

import torch
from torch import nn

from trivium.models.reordered import MOST_ROWS, PROGRAM_BYTES, reordered_bytes, reordered_weights


def naive(layer: nn.Linear, states: torch.Tensor) -> torch.Tensor:
    product = states.double() @ layer.weight.detach().double().T
    return product if layer.bias is None else product + layer.bias.detach().double()


@torch.no_grad()
def test_products_of_few_and_of_many_rows_are_those_of_float64():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(48, 80), nn.Linear(80, 24, bias=False))
    for rows in (1, 3, MOST_ROWS, MOST_ROWS + 1, 200):
        states = torch.randn(1, rows, 48)
        expected = naive(model[1], naive(model[0], states).float())
        with reordered_weights(model):
            got = model(states)
        torch.testing.assert_close(got.double(), expected, rtol=2e-5, atol=2e-5)


@torch.no_grad()
def test_copies_are_used_within_the_block_and_nowhere_else():
    layer = nn.Linear(16, 16)
    states = torch.randn(2, 16)
    with reordered_weights(layer):
        before = layer(states)
        layer.weight.zero_()  # must not happen within the block: the copy does not see it
        assert torch.equal(layer(states), before)
    assert torch.equal(layer(states), layer.bias.expand(2, 16))
    assert "forward" not in vars(layer)


@torch.no_grad()
def test_the_block_leaves_layers_as_they_were_when_something_fails():
    layer = nn.Linear(4, 4)
    try:
        with reordered_weights(layer):
            raise KeyError
    except KeyError:
        pass
    assert "forward" not in vars(layer)


def test_bf16_keeps_torchs_own_products():
    layer = nn.Linear(32, 32, dtype=torch.bfloat16)
    with torch.no_grad(), reordered_weights(layer):
        assert "forward" not in vars(layer)


def test_bytes_of_copies_and_of_programs():
    """Two shapes among three layers; the norm is not reordered."""
    model = nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 7), nn.Linear(6, 5))
    cpu = torch.device("cpu")
    copies, programs = reordered_bytes(model.to("meta"), cpu, torch.float32, rows=100)
    if torch.backends.mkl.is_available():
        assert copies == 4 * (30 + 35 + 30)
        assert programs == 2 * MOST_ROWS * PROGRAM_BYTES
        assert reordered_bytes(model, cpu, torch.float32, rows=3)[1] == 2 * 3 * PROGRAM_BYTES
    assert reordered_bytes(model, cpu, torch.bfloat16, rows=100) == (0, 0)
    assert reordered_bytes(model, torch.device("cuda"), torch.float32, rows=100) == (0, 0)
