"""Weight matrices in the order in which the processor reads them, for products with few rows.

A step of sampling multiplies every matrix with one row for each answer. For so few rows MKL spends
most of its time on bringing the matrix in order, again at every token; oneDNN takes a matrix that
has been brought in order once. Measured in docs/performance.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST_ROWS = 32
"""With more rows the order matters less than the products; from 64 on MKL is as fast."""


PROGRAM_BYTES = 500_000
"""What oneDNN compiles for one shape of a matrix and one number of rows, and keeps; measured."""


@contextmanager
def reordered_weights(model: nn.Module) -> Iterator[None]:
    """Within the block, products with at most `MOST_ROWS` rows read reordered copies of weights.

    Copies are made of every fp32 linear layer on an x86 processor, once; they take the memory of
    the weights again. Elsewhere nothing changes. Weights must not change within the block, and no
    gradient passes through such a product.
    """
    layers = [m for m in model.modules() if type(m) is nn.Linear and _helps(m.weight)]
    for layer in layers:
        copy = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), MOST_ROWS)
        layer.forward = partial(_product, layer, copy)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def reordered_bytes(
    model: nn.Module, device: torch.device, dtype: torch.dtype, *, rows: int
) -> tuple[int, int]:
    """Bytes of the copies within the block, and of the programs that are kept for good.

    Args:
        model: on whatever device.
        device: that it will be on.
        dtype: that it will be in.
        rows: the most that are multiplied; all fewer will be as well, when answers end.
    """
    if not _reads(device, dtype):
        return 0, 0
    weights = [module.weight for module in model.modules() if type(module) is nn.Linear]
    programs = len({weight.shape for weight in weights}) * min(rows, MOST_ROWS)
    return sum(4 * weight.numel() for weight in weights), programs * PROGRAM_BYTES


def _helps(weight: Tensor) -> bool:
    return _reads(weight.device, weight.dtype)


def _reads(device: torch.device, dtype: torch.dtype) -> bool:
    there = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    return there and device.type == "cpu" and dtype is torch.float32


def _product(layer: nn.Linear, copy: Tensor, input: Tensor) -> Tensor:
    if input.numel() > MOST_ROWS * input.shape[-1]:
        return F.linear(input, layer.weight, layer.bias)
    return torch.ops.mkldnn._linear_pointwise(input, copy, layer.bias, "none", [], "")
