"""What a kind says of an answer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Marks in [0, 1]; form, fluency and rudeness are judged elsewhere, alike for all kinds."""

    following: float
    """Does the task and keeps its constraints."""
    truthful: float = 1.0
    """Says what is so."""
    decent: float = 1.0
    """Harms nobody."""


def blend(task: float, kept: float | None, weight: float = 0.6) -> float:
    """The task's mark, lowered to ``1 - weight`` of itself when no wish is kept."""
    return task if kept is None else task * (1 - weight + weight * kept)
