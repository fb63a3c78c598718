"""One attention function for every Hugging Face decoder, over packed tokens.

transformers calls it in each layer with that layer's queries, keys and values; who looks at whom is
told by the `layout` that travels with the forward pass: `Packed` when a batch is read,
`memory.Filling` and `memory.Writing` when text is sampled. Without a layout it is transformers' own
SDPA attention.

Legend: M packed tokens, H query heads, G key-value heads, e head dimension; S stretches of a call,
Q and K its queries and keys.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.func import functional_call
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from trivium.errors import UserError
from trivium.models.compute import Compute
from trivium.models.layout import Block, Forest
from trivium.models.working_copy import working_weights

NAME = "trivium"

PREPARED = torch.ones(1, 1, 1, 1, dtype=torch.bool)
"""A mask of four dimensions tells transformers not to make one: the layout is the mask."""


@dataclass(frozen=True, slots=True)
class Law:
    """How a layer looks: factor of the scores, dropout of the weights, tokens seen at most."""

    scale: float | None
    dropout: float
    window: int | None


class Layout(Protocol):
    """Who looks at whom, and what is kept."""

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "M H e"],
        key: Float[Tensor, "M G e"],
        value: Float[Tensor, "M G e"],
        law: Law,
    ) -> Float[Tensor, "M H e"]:
        """Attention of one layer."""
        ...


@dataclass(frozen=True, slots=True)
class Packed:
    """The layout of a batch that is read whole."""

    forest: Forest

    def attend(
        self,
        layer: int,  # noqa: ARG002 - nothing is kept
        query: Float[Tensor, "M H e"],
        key: Float[Tensor, "M G e"],
        value: Float[Tensor, "M G e"],
        law: Law,
    ) -> Float[Tensor, "M H e"]:
        """Block by block: tokens of like length run together."""
        return attend_forest(self.forest, query, key, value, law)


def use_layouts(model: PreTrainedModel) -> None:
    """Make ``model`` attend through this module.

    Raises:
        UserError: its attention can't be exchanged.
    """
    if model.config.get_text_config()._attn_implementation == NAME:
        return
    if not model._supports_attention_backend:
        raise UserError(
            f"{type(model).__name__}: transformers has no exchangeable attention for this "
            f"architecture; use one that has it (Llama, Qwen, Mistral, Phi, GPT-2, GPT-NeoX, OPT)"
        )
    model.set_attn_implementation(NAME)


def run_trunk(
    model: PreTrainedModel, tokens: Tensor, positions: Tensor, layout: Layout, compute: Compute
) -> Float[Tensor, "M d"]:
    """The last hidden state of M packed tokens under ``layout``, in the dtype of ``compute``."""
    use_layouts(model)
    trunk = model.base_model
    assert isinstance(trunk, PreTrainedModel)
    given = {
        "inputs_embeds": trunk.get_input_embeddings()(tokens[None]).to(compute.dtype),
        "position_ids": positions[None],
        "attention_mask": PREPARED.to(tokens.device),
        "use_cache": False,
        "layout": layout,
    }
    weights = working_weights(trunk, compute.dtype)
    # An exchange of no weights would still walk all modules, at every token that is sampled.
    output = functional_call(trunk, weights, (), given) if weights else trunk(**given)
    return output.last_hidden_state[0]


def attend_forest(
    forest: Forest,
    query: Float[Tensor, "M H e"],
    key: Float[Tensor, "M G e"],
    value: Float[Tensor, "M G e"],
    law: Law,
) -> Float[Tensor, "M H e"]:
    """softmax(scale q k + mask) v for every packed token over what it may look at."""
    outputs = []
    for block in forest.blocks:
        places = block.queries, block.keys, block.keys
        if block.whole is None:
            q, k, v = (_rows(x, i) for x, i in zip((query, key, value), places, strict=True))
        else:
            start, count, length = block.whole
            stop = start + count * length
            q, k, v = (x[start:stop].unflatten(0, (count, length)) for x in (query, key, value))
        mask = _mask(forest, block, law.window)
        attended = attend(q, k, v, law, mask=mask, causal=mask is None)
        outputs.append(attended.flatten(0, 1))
    joined = torch.cat(outputs) if len(outputs) > 1 else outputs[0]
    # Not joined[...]: its backward takes several times as long.
    return joined if len(joined) == len(query) else joined.index_select(0, forest.gather)


def _rows(tokens: Float[Tensor, "M H e"], places: Int[Tensor, "S Q"]) -> Float[Tensor, "S Q H e"]:
    """``tokens[places]``, whose gradient is added up in one order.

    A prompt's keys serve several answers; what plain indexing adds up in its backward, threads on a
    CPU add in whatever order they come.
    """
    return tokens.index_select(0, places.flatten()).unflatten(0, places.shape)


def attend(
    query: Float[Tensor, "S Q H e"],
    key: Float[Tensor, "S K G e"],
    value: Float[Tensor, "S K G e"],
    law: Law,
    *,
    mask: Bool[Tensor, "S 1 Q K"] | None,
    causal: bool,
) -> Float[Tensor, "S Q H e"]:
    """torch's scaled dot product attention, tokens before heads."""
    return F.scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        attn_mask=mask,
        dropout_p=law.dropout,
        is_causal=causal,
        scale=law.scale,
        enable_gqa=query.shape[2] != key.shape[2],
    ).transpose(1, 2)


def _mask(forest: Forest, block: Block, window: int | None) -> Bool[Tensor, "S 1 Q K"] | None:
    """The block's own mask, narrowed where the layer looks back only ``window`` tokens."""
    if window is None or window > forest.longest:
        return block.mask
    behind = forest.positions[block.queries][:, :, None] - forest.positions[block.keys][:, None, :]
    near = (behind < window)[:, None]
    if block.mask is not None:
        # Padding after a stretch looks at nothing real; its own place keeps softmax finite.
        return block.mask & near | (behind == 0)[:, None]
    width = block.queries.shape[1]
    tril = torch.ones(width, width, dtype=torch.bool, device=near.device).tril()
    diagonal = torch.eye(width, dtype=torch.bool, device=near.device)
    return tril & near | diagonal


def _forward(  # noqa: PLR0913, PLR0917 - transformers calls it so
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    layout: Layout | None = None,
    sliding_window: int | None = None,
    **rest: Any,  # transformers' protocol: each architecture passes what it has
) -> tuple[Tensor, None]:
    """Attention in transformers' own shapes: (1, heads, M, e) in, (1, M, heads, e) out."""
    if layout is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **rest
        )
    odd = [name for name in ("softcap", "s_aux") if rest.get(name) is not None]
    if odd:
        raise UserError(
            f"{type(module).__name__}: its attention uses {odd[0]}, which is not supported; "
            f"use another architecture"
        )
    law = Law(scale=scaling, dropout=dropout, window=sliding_window)
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    assert isinstance(module.layer_idx, int)
    return layout.attend(module.layer_idx, q, k, v, law)[None], None


AttentionInterface.register(NAME, _forward)
AttentionMaskInterface.register(NAME, sdpa_mask)
