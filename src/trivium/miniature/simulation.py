"""The world's labelers and truth as functions that stages call by name."""

import random
from collections.abc import Mapping, Sequence

from trivium.miniature.gold import judge
from trivium.miniature.labelers import panel, rank

Messages = Sequence[Mapping[str, str]]

LABELERS_OF_AN_OVERLAP = 4


def rank_answers(
    prompts: Sequence[Messages], answers: Sequence[Sequence[str]], *, seed: int, overlap: float
) -> list[list[tuple[str, list[int]]]]:
    """Let the panel of the world rank the answers to each prompt.

    Args:
        prompts: conversations.
        answers: K answers to each.
        seed: of the panel, of who ranks what, and of their noise.
        overlap: share of the prompts that several labelers rank: of those who train the world, or
            of those held out, so that nobody held out sees what was trained on.

    Returns:
        For each prompt its rankings: the labeler's name and the ranks, 1 is best, ties equal.
    """
    labelers = panel(seed)
    rng = random.Random(f"rankings {seed}")
    rankings = []
    for prompt, texts in zip(prompts, answers, strict=True):
        chosen = [rng.choice(labelers)]
        if rng.random() < overlap:
            peers = [x for x in labelers if x.heldout == chosen[0].heldout and x != chosen[0]]
            chosen += rng.sample(peers, LABELERS_OF_AN_OVERLAP - 1)
        rankings.append([(one.name, rank(one, _instruction(prompt), texts, rng)) for one in chosen])
    return rankings


def instruction_following(prompts: Sequence[Messages], responses: Sequence[str]) -> list[float]:
    """Whether each response does its task and keeps every constraint, 0 to 1."""
    return [
        judge(_instruction(p), r).instruction_following
        for p, r in zip(prompts, responses, strict=True)
    ]


def truthful(prompts: Sequence[Messages], responses: Sequence[str]) -> list[float]:
    """Whether what each response says is so, 0 to 1."""
    return [judge(_instruction(p), r).truthful for p, r in zip(prompts, responses, strict=True)]


def decent(prompts: Sequence[Messages], responses: Sequence[str]) -> list[float]:
    """Whether each response stays polite and declines what it should, 0 to 1."""
    return [judge(_instruction(p), r).decent for p, r in zip(prompts, responses, strict=True)]


def _instruction(prompt: Messages) -> str:
    return prompt[-1]["content"]
