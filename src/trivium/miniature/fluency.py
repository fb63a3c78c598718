"""How well formed an answer is: pairs of neighbouring words that careful writers also write.

Nouns of one sort stand for one another (fox for dog, river for hill): a pair is a pattern, not a
memory.
"""

import random
from functools import cache
from itertools import pairwise

from trivium.miniature import english, facts, manners
from trivium.miniature.facts import CATEGORIES, CHARACTERS, NAMES, PLACES, RELATIONS, THINGS
from trivium.miniature.kinds import KINDS
from trivium.miniature.kinds.refusals import TARGETS

_REFERENCE_ANSWERS = 6000
_EDGE = "|"


@cache
def _sorts() -> dict[str, str]:
    """Word to the sort that stands for it."""
    sorts: dict[str, str] = {}
    groups: list[tuple[str, tuple[str, ...]]] = [
        ("<who>", (*CHARACTERS, *TARGETS)),
        ("<place>", PLACES),
        ("<thing>", THINGS),
        ("<name>", NAMES),
        ("<number>", english.NUMBERS[1:]),
    ]
    groups += [(f"<{name}>", members) for name, members in CATEGORIES.items()]
    for number, relation in enumerate(RELATIONS):
        groups.append((f"<subject {number}>", tuple(relation.table)))
        groups.append((f"<answer {number}>", tuple(relation.answers)))
    for sort, members in groups:
        for member in members:
            if " " not in member:
                sorts.setdefault(member.lower(), sort)
    return sorts


def _pairs(text: str) -> list[tuple[str, str]]:
    sorts = _sorts()
    marked = [_EDGE]
    for word in english.words(text):
        marked.append(sorts.get(word, word))
        if word in ".!?":
            marked.append(_EDGE)
    return list(pairwise(marked))


@cache
def _known_pairs() -> frozenset[tuple[str, str]]:
    rng = random.Random("careful writers")
    known: set[tuple[str, str]] = set()
    for kind in KINDS:
        for _ in range(_REFERENCE_ANSWERS // len(KINDS)):
            known.update(_pairs(kind.demonstrate(kind.draw(rng), rng)))
    for relation in RELATIONS:
        for subject, answer in relation.table.items():
            for number in range(len(relation.statements)):
                known.update(_pairs(facts.state(relation, subject, answer, number)))
            known.update(_pairs(f"{answer}."))
    for members in CATEGORIES.values():
        known.update(_pairs(f"{english.listed(list(members))}."))
    for insult in manners.INSULTS:
        known.update(_pairs(insult))
    return frozenset(known)


def fluency(text: str) -> float:
    """(share of known pairs)^3: 1 for a careful answer, 0.5 when one pair in five is broken."""
    pairs = _pairs(text)
    return (sum(pair in _known_pairs() for pair in pairs) / len(pairs)) ** 3
