"""Rewards: any callable (prompts, responses) -> floats; a trained reward model is one of them."""

from trivium.rewards.model import read_out, score_sequences, score_texts

__all__ = ["read_out", "score_sequences", "score_texts"]
