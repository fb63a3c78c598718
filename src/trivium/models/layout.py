"""Ragged batches without padding: which token stands where, and who may look at whom.

All tokens of a batch form one packed row, so matrix products see real tokens alone. Sequences that
begin with the same prompt share it: the prompt is computed once (a trunk) and each response is a
branch that looks back at its trunk and at itself. That is exact, forward and backward: under causal
attention nothing in the prompt depends on what follows it.

Legend: B sequences, N their tokens, M <= N packed tokens, S stretches in a block, Q and K the
longest stretch of queries and of keys among them.
"""

from collections import defaultdict
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from trivium.text import Sequences

LENGTH_SPREAD = 1.3
"""Within one attention call the longest stretch is at most this much longer than the shortest,"""

MIN_BLOCK_TOKENS = 512
"""unless the call is so small that another one would cost more than padding its scores does."""


@dataclass(frozen=True, slots=True)
class Block:
    """Stretches of packed tokens whose attention is one call.

    Attributes:
        queries: (S, Q) packed places; after the end of a stretch 0 stands in.
        keys: (S, K) packed places that they may look at, padded likewise.
        mask: (S, 1, Q, K) True where a query sees a key; None: query i sees keys 0..i.
        whole: the stretches lie end to end and are equally long: (first place, S, Q).
    """

    queries: Int[Tensor, "S Q"]
    keys: Int[Tensor, "S K"]
    mask: Bool[Tensor, "S 1 Q K"] | None
    whole: tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Forest:
    """A packed batch.

    Attributes:
        tokens: (M,) ids.
        positions: (M,) of each token in its own sequence, from 0.
        blocks: who looks at whom.
        gather: (M,) place of each packed token's output among the blocks' outputs, joined.
        expand: (N,) packed place of every token of the B sequences, in their order.
        longest: tokens of the longest sequence.
    """

    tokens: Int[Tensor, " M"]
    positions: Int[Tensor, " M"]
    blocks: tuple[Block, ...]
    gather: Int[Tensor, " M"]
    expand: Int[Tensor, " N"]
    longest: int

    def to(self, device: torch.device) -> "Forest":
        """The same on another device."""
        return Forest(
            tokens=self.tokens.to(device),
            positions=self.positions.to(device),
            blocks=tuple(
                Block(
                    queries=b.queries.to(device),
                    keys=b.keys.to(device),
                    mask=None if b.mask is None else b.mask.to(device),
                    whole=b.whole,
                )
                for b in self.blocks
            ),
            gather=self.gather.to(device),
            expand=self.expand.to(device),
            longest=self.longest,
        )


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Tokens start..start+length of the flat batch; a branch names its trunk."""

    start: int
    length: int
    trunk: int | None
    first_position: int


def pack(sequences: Sequences) -> Forest:
    """Prompts that several sequences share once, everything else as it is.

    Returns:
        The packed batch, on the CPU.
    """
    stretches, rows = _stretches(sequences)
    # Trunks and whole sequences first, then branches, each by length.
    order = sorted(
        range(len(stretches)), key=lambda i: (stretches[i].trunk is not None, stretches[i].length)
    )
    places: list[Tensor] = [torch.empty(0, dtype=torch.int64)] * len(stretches)
    filled = 0
    for i in order:
        places[i] = torch.arange(filled, filled + stretches[i].length)
        filled += stretches[i].length
    sources = torch.cat(
        [torch.arange(s.start, s.start + s.length) for s in (stretches[i] for i in order)]
    )
    positions = torch.cat(
        [
            torch.arange(s.first_position, s.first_position + s.length)
            for s in (stretches[i] for i in order)
        ]
    )
    groups = _groups_of_like_length(stretches, order)
    blocks = tuple(_block(stretches, places, group) for group in groups)
    return Forest(
        tokens=sequences.tokens[sources],
        positions=positions,
        blocks=blocks,
        gather=_gather(stretches, groups, blocks),
        expand=torch.cat([places[i] for row in rows for i in row]),
        longest=int(sequences.lengths.max()),
    )


def _stretches(sequences: Sequences) -> tuple[list[_Stretch], list[list[int]]]:
    """All stretches, and for each sequence those that it is made of."""
    tokens = sequences.tokens.numpy()
    offsets, lengths = sequences.offsets.tolist(), sequences.lengths.tolist()
    prompts = sequences.prompt_lengths.tolist()
    alike: defaultdict[bytes, list[int]] = defaultdict(list)
    for row, (start, prompt) in enumerate(zip(offsets, prompts, strict=True)):
        alike[tokens[start : start + prompt].tobytes()].append(row)
    stretches: list[_Stretch] = []
    rows: list[list[int]] = [[] for _ in lengths]
    for members in alike.values():
        prompt = prompts[members[0]]
        if len(members) == 1 or prompt == 0:
            for row in members:
                rows[row].append(len(stretches))
                stretches.append(_Stretch(offsets[row], lengths[row], None, 0))
            continue
        trunk = len(stretches)
        stretches.append(_Stretch(offsets[members[0]], prompt, None, 0))
        for row in members:
            rows[row] += [trunk, len(stretches)]
            rest = lengths[row] - prompt
            stretches.append(_Stretch(offsets[row] + prompt, rest, trunk, prompt))
    return stretches, rows


def _groups_of_like_length(stretches: list[_Stretch], order: list[int]) -> list[list[int]]:
    groups: list[list[int]] = []
    for i in order:
        stretch = stretches[i]
        if stretch.length == 0:
            continue
        if groups:
            first = stretches[groups[-1][0]]
            same_kind = (first.trunk is None) == (stretch.trunk is None)
            alike = stretch.length <= LENGTH_SPREAD * first.length
            small = len(groups[-1]) * stretch.length < MIN_BLOCK_TOKENS
            if same_kind and (alike or small):
                groups[-1].append(i)
                continue
        groups.append([i])
    return groups


def _block(stretches: list[_Stretch], places: list[Tensor], group: list[int]) -> Block:
    own = pad_sequence([places[i] for i in group], batch_first=True)
    if stretches[group[0]].trunk is None:
        lengths = {stretches[i].length for i in group}
        # Stretches of a group were placed one after the other.
        whole = (int(own[0, 0]), *own.shape) if len(lengths) == 1 else None
        return Block(queries=own, keys=own, mask=None, whole=whole)
    trunks = [stretches[i].trunk for i in group]
    prefixes = [places[t] for t in trunks if t is not None]
    prefix = pad_sequence(prefixes, batch_first=True)
    prefix_lengths = torch.tensor([len(p) for p in prefixes])
    width, own_width = prefix.shape[1], own.shape[1]
    sees_prefix = torch.arange(width) < prefix_lengths[:, None]
    sees_own = torch.ones(own_width, own_width, dtype=torch.bool).tril()
    mask = torch.cat(
        [
            sees_prefix[:, None, :].expand(-1, own_width, -1),
            sees_own.expand(len(group), -1, -1),
        ],
        dim=2,
    )
    return Block(queries=own, keys=torch.cat([prefix, own], dim=1), mask=mask[:, None], whole=None)


def _gather(
    stretches: list[_Stretch], groups: list[list[int]], blocks: tuple[Block, ...]
) -> Int[Tensor, " M"]:
    """Packed tokens lie in the order of the groups; block outputs have padding between them."""
    pieces, start = [torch.empty(0, dtype=torch.int64)], 0
    for group, block in zip(groups, blocks, strict=True):
        count, width = block.queries.shape
        lengths = torch.tensor([stretches[i].length for i in group])
        real = torch.arange(width) < lengths[:, None]
        pieces.append(start + real.flatten().nonzero().squeeze(1))
        start += count * width
    return torch.cat(pieces)
