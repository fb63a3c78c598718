"""A trained reward model as a callable on text, with its own tokenizer and template."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from trivium.errors import UserError
from trivium.models import Compute, RewardModel
from trivium.models.forward import hidden_states
from trivium.text import Sequences, encode_prompt, encode_response, from_lists, select

Messages = Sequence[Mapping[str, str]]

TOKENS_AT_ONCE = 8192
"""Tokens in one forward pass, padding included."""


def score_texts(
    reward: RewardModel, prompts: Sequence[Messages], responses: Sequence[str], compute: Compute
) -> list[float]:
    """r(x, y) of each answer, read at its end-of-turn token, in reward units.

    The text is encoded with the reward model's own tokenizer, so that the reward inside PPO is the
    number the model gives to the same text anywhere else. An answer that goes beyond the model's
    context is cut there and read at its last token, as too long ones are in training.

    Raises:
        UserError: a prompt leaves no room for an answer.
    """
    context = _context(reward)
    encoded, answers = [], []
    for i, (prompt, text) in enumerate(zip(prompts, responses, strict=True)):
        encoded.append(encode_prompt(reward.codec, prompt, where=f"prompt {i}"))
        room = context - len(encoded[-1])
        if room < 1:
            raise UserError(
                f"reward model {reward.name}: a prompt of {len(encoded[-1])} of its tokens fills "
                f"its context of {context}; lower sampling.max_prompt_tokens"
            )
        answers.append(encode_response(reward.codec, text, where=f"response {i}")[:room])
    return score_sequences(reward, from_lists(encoded, answers), compute)


def score_sequences(reward: RewardModel, sequences: Sequences, compute: Compute) -> list[float]:
    """Scores of texts that are encoded already, in their order."""
    with torch.no_grad():
        return reward.head(read_out(reward, sequences, compute)).squeeze(-1).tolist()


@torch.no_grad()
def read_out(reward: RewardModel, sequences: Sequences, compute: Compute) -> Float[Tensor, "B d"]:
    """What the head reads: the hidden state of each sequence's last token, fp32.

    Raises:
        UserError: a text is longer than the model's context, where its scores mean nothing.
    """
    context, longest = _context(reward), int(sequences.lengths.max())
    if longest > context:
        raise UserError(
            f"reward model {reward.name}: a text of {longest} of its tokens is longer than its "
            f"context of {context}; lower max_prompt_tokens or max_response_tokens"
        )
    pieces = []
    for rows in _batches(sequences.lengths):
        part = select(sequences, rows)
        last = (part.offsets + part.lengths - 1).to(compute.device)
        pieces.append(hidden_states(reward.model, part, compute)[last].float())
    return torch.cat(pieces)


def _context(reward: RewardModel) -> int:
    return reward.model.config.get_text_config().max_position_embeddings


def _batches(lengths: torch.Tensor) -> list[torch.Tensor]:
    """Neighbours stay together: answers to one prompt share its reading."""
    batches, current, tokens = [], [], 0
    for row, length in enumerate(lengths.tolist()):
        if current and tokens + length > TOKENS_AT_ONCE:
            batches.append(torch.tensor(current))
            current, tokens = [], 0
        current.append(row)
        tokens += length
    return [*batches, torch.tensor(current)] if current else batches
