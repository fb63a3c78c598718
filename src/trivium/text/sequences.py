"""Ragged text: sequences as one flat row of tokens with lengths, never as a padded rectangle.

Legend: B sequences, N tokens in all of them, R response tokens in all of them.
A sequence is a prompt (maybe empty) followed by a response; what counts is told by lengths and
never by token ids, since a padding token may equal EOS.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sequences:
    """B prompts with their responses, joined end to end.

    Attributes:
        tokens: (N,) int64, sequence after sequence.
        lengths: (B,) int64, tokens of each sequence.
        prompt_lengths: (B,) int64, how many of them are prompt.
    """

    tokens: Int[Tensor, " N"]
    lengths: Int[Tensor, " B"]
    prompt_lengths: Int[Tensor, " B"]

    def __post_init__(self) -> None:
        assert int(self.lengths.sum()) == len(self.tokens), "lengths and tokens disagree"
        assert bool((self.prompt_lengths <= self.lengths).all()), (
            "a prompt longer than its sequence"
        )

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def response_lengths(self) -> Int[Tensor, " B"]:
        """(B,) tokens of each response."""
        return self.lengths - self.prompt_lengths

    @property
    def offsets(self) -> Int[Tensor, " B"]:
        """(B,) where each sequence begins in ``tokens``."""
        return self.lengths.cumsum(0) - self.lengths

    def predicted(self, *, prompts_too: bool = False) -> Int[Tensor, " R"]:
        """Flat positions of the tokens that are predicted from what stands before them.

        The response's tokens, in order; with ``prompts_too`` the prompt's as well. The first token
        of a sequence has nothing before it and is never among them.
        """
        position = torch.arange(len(self.tokens)) - self.offsets.repeat_interleave(self.lengths)
        first = torch.zeros_like(self.prompt_lengths) if prompts_too else self.prompt_lengths
        counts = position >= first.clamp(min=1).repeat_interleave(self.lengths)
        return counts.nonzero().squeeze(1)


def from_lists(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> Sequences:
    """Join each prompt with its response."""
    assert len(prompts) == len(responses)
    joined = [[*p, *r] for p, r in zip(prompts, responses, strict=True)]
    return Sequences(
        tokens=torch.tensor([t for row in joined for t in row], dtype=torch.int64),
        lengths=torch.tensor([len(row) for row in joined], dtype=torch.int64),
        prompt_lengths=torch.tensor([len(p) for p in prompts], dtype=torch.int64),
    )


def select(sequences: Sequences, rows: Int[Tensor, " S"]) -> Sequences:
    """The given rows, in the given order."""
    lengths = sequences.lengths[rows]
    # Where each chosen row begins in the old row of tokens, less where it begins in the new one.
    shift = sequences.offsets[rows] - (lengths.cumsum(0) - lengths)
    places = torch.arange(int(lengths.sum())) + shift.repeat_interleave(lengths)
    return Sequences(
        tokens=sequences.tokens[places],
        lengths=lengths,
        prompt_lengths=sequences.prompt_lengths[rows],
    )


def concatenate(parts: Sequence[Sequences]) -> Sequences:
    """One batch of several."""
    return Sequences(
        tokens=torch.cat([p.tokens for p in parts]),
        lengths=torch.cat([p.lengths for p in parts]),
        prompt_lengths=torch.cat([p.prompt_lengths for p in parts]),
    )
