"""Memory of the past while text is sampled: keys and values of every token so far, in slots.

A slot is a row of preallocated tensors and holds one answer being written. Slots 0..A-1 are in use;
when an answer ends, the last one in use moves into its slot, so that attention reads a slice and
never a copy.

Legend: A answers being written, M packed tokens, C the capacity of a slot in tokens, L the longest
answer so far; H, G, e as in `attention`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from trivium.models.attention import Law, attend, attend_forest
from trivium.models.layout import Forest


@dataclass(frozen=True, slots=True)
class Memory:
    """Keys and values by layer, each (slots, C, G, e); a layer's come into being at first use."""

    slots: int
    capacity: int
    keys: dict[int, Tensor]
    values: dict[int, Tensor]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` tokens of one slot over another."""
        for stored in (*self.keys.values(), *self.values.values()):
            stored[target, :length] = stored[source, :length]

    def write(
        self,
        layer: int,
        rows: Int[Tensor, " n"],
        places: Int[Tensor, " n"],
        key: Float[Tensor, "n G e"],
        value: Float[Tensor, "n G e"],
    ) -> None:
        """Put n tokens into slots ``rows`` at ``places``."""
        for stored, new in ((self.keys, key), (self.values, value)):
            if layer not in stored:
                stored[layer] = new.new_zeros(self.slots, self.capacity, *new.shape[1:])
            stored[layer][rows, places] = new


def new_memory(*, slots: int, capacity: int) -> Memory:
    """An empty one."""
    return Memory(slots=slots, capacity=capacity, keys={}, values={})


def key_width(model: PreTrainedModel) -> int:
    """Numbers in the keys of one token in one layer: key-value heads times their size."""
    config = model.config.get_text_config()
    given = config.to_dict()
    heads = given.get("num_key_value_heads") or config.num_attention_heads
    return heads * (given.get("head_dim") or config.hidden_size // config.num_attention_heads)


def bytes_per_token(model: PreTrainedModel, dtype: torch.dtype) -> int:
    """What one token leaves behind: a key and a value in every layer."""
    return 2 * dtype.itemsize * model.config.get_text_config().num_hidden_layers * key_width(model)


@dataclass(frozen=True, slots=True)
class Filling:
    """New prompts are read, each once, and remembered in every slot that goes on from it.

    Attributes:
        forest: the prompts.
        memory: where their keys and values go.
        sources: (n,) packed place of each token that is stored.
        rows: (n,) its slot.
        places: (n,) its place there.
    """

    forest: Forest
    memory: Memory
    sources: Int[Tensor, " n"]
    rows: Int[Tensor, " n"]
    places: Int[Tensor, " n"]

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "M H e"],
        key: Float[Tensor, "M G e"],
        value: Float[Tensor, "M G e"],
        law: Law,
    ) -> Float[Tensor, "M H e"]:
        """As when a batch is read; keys and values stay."""
        self.memory.write(layer, self.rows, self.places, key[self.sources], value[self.sources])
        return attend_forest(self.forest, query, key, value, law)


@dataclass(frozen=True, slots=True)
class Writing:
    """One new token in each of the slots 0..A-1 looks back at its own past.

    Attributes:
        memory: the past; the new token's key and value join it.
        lengths: (A,) tokens in each slot before this one.
        seen: (A, L + 1) True at the places that a slot has, the new token's included.
    """

    memory: Memory
    lengths: Int[Tensor, " A"]
    seen: Bool[Tensor, "A L1"]

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "A H e"],
        key: Float[Tensor, "A G e"],
        value: Float[Tensor, "A G e"],
        law: Law,
    ) -> Float[Tensor, "A H e"]:
        """softmax over what each slot holds, the new token included."""
        (count, width), groups = self.seen.shape, key.shape[1]
        rows = torch.arange(count, device=query.device)
        self.memory.write(layer, rows, self.lengths, key, value)
        seen = self.seen
        if law.window is not None:
            place = torch.arange(width, device=query.device)
            seen = seen & (place > self.lengths[:, None] - law.window)
        # Query heads of one key-value head are its queries, so that a past is read once for all.
        grouped = query.unflatten(1, (groups, -1)).transpose(1, 2)
        past_keys = self.memory.keys[layer][:count, :width]
        past_values = self.memory.values[layer][:count, :width]
        attended = attend(
            grouped, past_keys, past_values, law, mask=seen[:, None, None], causal=False
        )
        return attended.transpose(1, 2).flatten(1, 2)


def writing(memory: Memory, lengths: Int[Tensor, " A"]) -> Writing:
    """The layout of a token after ``lengths`` others in each slot."""
    place = torch.arange(int(lengths.max()) + 1, device=lengths.device)
    return Writing(memory, lengths, place <= lengths[:, None])
