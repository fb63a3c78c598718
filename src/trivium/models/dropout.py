"""Residual dropout for models whose config has no such knob."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from trivium.errors import UserError

_SUBLAYERS = ("self_attn", "attn", "attention", "mlp")


def set_residual_dropout(model: PreTrainedModel, probability: float) -> None:
    """Drop each sub-layer's output with ``probability`` before it is added to the residual stream.

    GPT-3's residual dropout (paper C.1: 0.2 for the SFT baseline). Llama-style models have no such
    setting, so hooks on the attention and feed-forward modules do it, in training mode only.

    Raises:
        UserError: the architecture's sub-layers could not be found.
    """
    if probability == 0:
        return
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # the architecture's own knobs, which this one replaces
    hooked: list[str] = []
    for name, module in model.named_modules():
        *parents, last = name.split(".")
        # GPT-Neo has `attn.attention`: one sub-layer, not two
        if last in _SUBLAYERS and ".".join(parents) not in hooked:
            module.register_forward_hook(_drop_output(probability))
            hooked.append(name)
    if not hooked:
        raise UserError(
            f"dropout: found no attention or feed-forward modules in {type(model).__name__}; "
            f"set dropout to 0 for this architecture"
        )


def _drop_output(probability: float) -> Callable[[nn.Module, object, object], object]:
    def hook(module: nn.Module, inputs: object, output: object) -> object:  # noqa: ARG001 - torch's signature
        if not module.training:
            return output
        if isinstance(output, tuple):
            return (F.dropout(output[0], probability), *output[1:])
        assert isinstance(output, Tensor)
        return F.dropout(output, probability)

    return hook
