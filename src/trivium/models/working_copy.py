"""A bfloat16 copy of fp32 master weights, which is what a trunk computes with.

The paper's scheme (App. C: 16-bit weights and activations, fp32 master weights), with bf16 for
fp16. Under autocast weights and every layer's input would be cast at each product and norms, sums
and activations would run in fp32; with a copy, text stays in bf16 from the embedding to the last
norm, half the memory traffic. Optimizers see fp32 alone: a gradient is cast as it reaches its
master. The embedding is not copied: rows are looked up in the master and cast, since torch adds up
the gradient of a row in the dtype of the table, and a token that comes a thousand times would lose
most of its own in 16 bits.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


def working_weights(trunk: PreTrainedModel, dtype: torch.dtype) -> dict[str, Tensor]:
    """The trunk's fp32 parameters in ``dtype`` by name, for `torch.func.functional_call`.

    Gradients of the copy are gradients of the masters. Empty in fp32, and within `working_copy`.
    """
    if dtype is torch.float32:
        return {}
    looked_up = {id(parameter) for parameter in trunk.get_input_embeddings().parameters()}
    return {
        name: parameter.to(dtype)
        for name, parameter in trunk.named_parameters()
        if parameter.dtype is torch.float32 and id(parameter) not in looked_up
    }


def working_bytes(module: nn.Module, dtype: torch.dtype) -> int:
    """Bytes of a copy in ``dtype``; none in fp32."""
    if dtype is torch.float32:
        return 0
    return dtype.itemsize * sum(parameter.numel() for parameter in module.parameters())


@contextmanager
def working_copy(module: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Within the block the module is its own copy in ``dtype``; after it, its masters again.

    For many passes without gradients, as sampling makes: weights are cast once. Nothing may be
    learned within the block.
    """
    masters = [p for p in module.parameters() if p.dtype is torch.float32]
    kept = [parameter.data for parameter in masters]
    try:
        for parameter in masters:
            parameter.data = parameter.data.to(dtype)
        yield
    finally:
        for parameter, data in zip(masters, kept, strict=True):
            parameter.data = data
