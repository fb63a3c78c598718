"""An episode: a prompt, the sampled answer, and the log-probabilities it was sampled with."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trivium.text import Sequences, select


@dataclass(frozen=True, slots=True)
class Episodes:
    """B episodes, ragged. R is the number of response tokens in all of them.

    Attributes:
        sequences: prompts with their responses.
        sampler_logprobs: (R,) log pi(y_t | x, y_<t) in nats as the sampler saw them.
        finished: (B,) True where the response ended by itself, with its end-of-turn token.
    """

    sequences: Sequences
    sampler_logprobs: Float[Tensor, " R"]
    finished: Bool[Tensor, " B"]

    def __len__(self) -> int:
        return len(self.sequences)

    def responses(self) -> list[list[int]]:
        """Token ids of each response."""
        rows = self.sequences.tokens.split(self.sequences.lengths.tolist())
        return [
            row[start:].tolist()
            for row, start in zip(rows, self.sequences.prompt_lengths.tolist(), strict=True)
        ]


def take_episodes(episodes: Episodes, rows: Int[Tensor, " S"]) -> Episodes:
    """The given episodes, in the given order."""
    pieces = episodes.sampler_logprobs.split(episodes.sequences.response_lengths.tolist())
    chosen = [pieces[i] for i in rows.tolist()]
    return Episodes(
        sequences=select(episodes.sequences, rows),
        sampler_logprobs=torch.cat(chosen) if chosen else episodes.sampler_logprobs[:0],
        finished=episodes.finished[rows],
    )
