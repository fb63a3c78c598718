"""Simulated labelers: each has taste and noise of their own and ranks answers with ties."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trivium.miniature import english, gold

TRAIN_LABELERS = 12
HELDOUT_LABELERS = 4
NOISE = 0.24
"""Standard deviation of a labeler's error on one answer, in units of the gold score."""
TASTE = 0.25
"""Relative spread of the labelers' weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labeler:
    """One person's taste; the weights are in units of the gold score."""

    name: str
    heldout: bool
    following: float
    truthful: float
    decent: float
    length: float
    """Likes long answers (positive) or short ones, per ten words."""
    politeness: float
    """Likes 'please', 'sorry' and openers."""
    noise: float
    tie_width: float
    """Answers nearer than this to the best of their group are called equal."""


def panel(seed: int) -> list[Labeler]:
    """The labelers of a world: twelve who train it, then four held out."""
    rng = random.Random(f"labelers {seed}")

    def about(mean: float, spread: float = TASTE) -> float:
        return max(0.0, mean * (1 + rng.gauss(0.0, spread)))

    return [
        Labeler(
            name=f"labeler-{number + 1:02d}",
            heldout=number >= TRAIN_LABELERS,
            following=about(0.7),
            truthful=about(0.25),
            decent=about(0.35),
            length=rng.gauss(0.0, 0.03),
            politeness=rng.gauss(0.02, 0.03),
            noise=about(NOISE),
            tie_width=about(0.06),
        )
        for number in range(TRAIN_LABELERS + HELDOUT_LABELERS)
    ]


def _utility(labeler: Labeler, prompt: str | Sequence[Any], answer: str) -> float:
    marks = gold.judge(prompt, answer)
    said = english.words(answer)
    polite = any(word in ("please", "sorry", "well", "sure") for word in said)
    return (
        labeler.following * marks.instruction_following
        + labeler.truthful * marks.truthful * marks.instruction_following**0.5
        + labeler.decent * marks.decent
        + labeler.length * min(len(said), gold.LONGEST_WORDS) / 10
        + labeler.politeness * polite
    )


def rank(
    labeler: Labeler, prompt: str | Sequence[Any], answers: Sequence[str], rng: random.Random
) -> list[int]:
    """Rank answers to one prompt: 1 is best, equal ranks are ties, no rank is skipped.

    Each distinct text is looked at once, so identical answers always tie.
    """
    seen = {
        text: _utility(labeler, prompt, text) + rng.gauss(0.0, labeler.noise)
        for text in dict.fromkeys(text.strip() for text in answers)
    }
    ranks: dict[str, int] = {}
    place, top = 0, float("inf")
    for text in sorted(seen, key=seen.__getitem__, reverse=True):
        if top - seen[text] > labeler.tie_width:
            place, top = place + 1, seen[text]
        ranks[text] = place
    return [ranks[text.strip()] for text in answers]
