"""A model's logits as a function of its weights: what a step in the space of policies needs.

Legend: N weights, as one flat vector; R predicted tokens, V vocabulary.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel

from trivium.models.compute import Compute
from trivium.models.forward import response_logits
from trivium.text import Sequences


class _Reader(nn.Module):
    """A model with the forward pass of this room, so that torch can exchange its weights."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, sequences: Sequences, compute: Compute, temperature: float) -> Tensor:
        return response_logits(self.model, sequences, compute, temperature=temperature)


def logits_at(
    model: PreTrainedModel,
    weights: Float[Tensor, " N"],
    sequences: Sequences,
    compute: Compute,
    *,
    temperature: float,
) -> Float[Tensor, "R V"]:
    """`response_logits` with other weights in the place of the model's, which stay what they are.

    Can be differentiated by ``weights`` forward (`maths.tangent`), backward, and twice: the
    processor's fused attention can not, so attention runs as plain matrix products.

    Args:
        model: a causal language model.
        weights: in the order of `model.parameters`.
        sequences: prompts with responses.
        compute: device and dtype of the matrix products.
        temperature: divides the logits.
    """
    reader = _Reader(model)
    shapes = {name: parameter.shape for name, parameter in reader.named_parameters()}
    flat = weights.split([shape.numel() for shape in shapes.values()])
    named = {
        name: part.view(shape) for (name, shape), part in zip(shapes.items(), flat, strict=True)
    }
    with sdpa_kernel(SDPBackend.MATH):
        return torch.func.functional_call(reader, named, (sequences, compute, temperature))
