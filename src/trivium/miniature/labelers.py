"""Simulated labelers: each has taste and noise of their own and ranks answers with ties."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from trivium.miniature import english, gold

TRAIN_LABELERS = 12
HELDOUT_LABELERS = 4
NOISE = 0.24
"""Standard deviation of a labeler's error on one answer, in units of the gold score."""
TASTE = 0.25
"""Relative deviation of what labelers value, of their noise and of their ties."""


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
    """The labelers of a world: twelve who train it, then four held out.

    Within either group every trait takes the quantiles of its law, one for each labeler, and chance
    deals them out: no world has noisier people than another, or stranger ones held out.
    """
    rng = random.Random(f"labelers {seed}")
    everyone = range(1, 1 + TRAIN_LABELERS + HELDOUT_LABELERS)
    training, heldout = everyone[:TRAIN_LABELERS], everyone[TRAIN_LABELERS:]
    return [*_group(rng, training, heldout=False), *_group(rng, heldout, heldout=True)]


def _group(rng: random.Random, numbers: Sequence[int], *, heldout: bool) -> list[Labeler]:
    """Labelers of these numbers, as a group spread as the law says."""
    count = len(numbers)

    def trait(mean: float, deviation: float) -> list[float]:
        return [mean + deviation * z for z in rng.sample(_quantiles(count), count)]

    def positive(mean: float) -> list[float]:
        return [max(0.0, x) for x in trait(mean, TASTE * mean)]

    following, truthful, decent = positive(0.7), positive(0.25), positive(0.35)
    length, politeness = trait(0.0, 0.03), trait(0.02, 0.03)
    noise, tie_width = positive(NOISE), positive(0.06)
    return [
        Labeler(
            name=f"labeler-{number:02d}",
            heldout=heldout,
            following=following[i],
            truthful=truthful[i],
            decent=decent[i],
            length=length[i],
            politeness=politeness[i],
            noise=noise[i],
            tie_width=tie_width[i],
        )
        for i, number in enumerate(numbers)
    ]


def _quantiles(count: int) -> list[float]:
    """Of the normal law, at the middles of ``count`` equal parts, stretched to variance 1."""
    points = [NormalDist().inv_cdf((part + 0.5) / count) for part in range(count)]
    deviation = (sum(x * x for x in points) / count) ** 0.5
    return [x / deviation for x in points]


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
