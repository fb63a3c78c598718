"""A model's logits as a function of its weights: what a step in the space of policies needs.

Weights are those that are trained: what needs no gradient keeps its place.

Legend: N weights, as one flat vector; R predicted tokens, V vocabulary.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parameters_to_vector
from transformers import PreTrainedModel

from trivium.models.compute import Compute
from trivium.models.forward import response_logits
from trivium.models.lora import trained
from trivium.text import Sequences


class _Reader(nn.Module):
    """A model with the forward pass of this room, so that torch can exchange its weights."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, sequences: Sequences, compute: Compute, temperature: float) -> Tensor:
        return response_logits(self.model, sequences, compute, temperature=temperature)


def weights_of(model: PreTrainedModel) -> Float[Tensor, " N"]:
    """A copy of the model's weights as one vector, without gradient."""
    return parameters_to_vector(trained(model)).detach()


@torch.no_grad()
def put_weights(model: PreTrainedModel, weights: Float[Tensor, " N"]) -> None:
    """The inverse of `weights_of`: every parameter keeps its own memory."""
    for parameter, part in zip(trained(model), _as_parameters(model, weights), strict=True):
        parameter.copy_(part)


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
        weights: as `weights_of` gives them.
        sequences: prompts with responses.
        compute: device, and dtype of the pass.
        temperature: divides the logits.
    """
    reader = _Reader(model)
    names = [name for name, p in reader.named_parameters() if p.requires_grad]
    named = dict(zip(names, _as_parameters(model, weights), strict=True))
    with sdpa_kernel(SDPBackend.MATH):
        return torch.func.functional_call(reader, named, (sequences, compute, temperature))


def _as_parameters(model: PreTrainedModel, weights: Float[Tensor, " N"]) -> list[Tensor]:
    """Views of the vector in the shapes of the parameters, in their order."""
    shapes = [parameter.shape for parameter in trained(model)]
    parts = weights.split([shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
