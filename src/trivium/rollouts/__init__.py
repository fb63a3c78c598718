"""Prompts in, episodes out: the law answers are drawn from and the engine that draws them."""

from trivium.rollouts.episodes import Episodes, take_episodes
from trivium.rollouts.native import generate

__all__ = ["Episodes", "generate", "take_episodes"]
