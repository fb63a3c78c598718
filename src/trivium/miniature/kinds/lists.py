"""Lists of so many things of one sort."""

import random
from dataclasses import dataclass

from trivium.miniature import constraints, english
from trivium.miniature.english import NUMBERS
from trivium.miniature.facts import CATEGORIES
from trivium.miniature.kinds.judgement import Judgement

PHRASINGS = (
    "Name {n} {x}.",
    "List {n} {x}, please.",
    "{x}: give me {n} of them.",
    "Of all {x}, name {n}.",
)
WITHOUT = ("Leave out the word {w}.", "Do not say {w}.")
_FRAME = frozenset(("a", "list", "and"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Name ``count`` members of the category ``topic``."""

    topic: str
    count: int
    without: str | None


def topics() -> list[str]:
    """The categories."""
    return list(CATEGORIES)


def draw(rng: random.Random) -> Task:
    """A category and a number from two to five."""
    topic = rng.choice(topics())
    without = rng.choice(CATEGORIES[topic]) if rng.random() < 0.5 else None
    return Task(topic=topic, count=rng.randint(2, 5), without=without)


def instruct(task: Task, rng: random.Random) -> str:
    """The task as a person would put it."""
    core = rng.choice(PHRASINGS).format(x=task.topic, n=NUMBERS[task.count])
    wishes = [] if task.without is None else [rng.choice(WITHOUT).format(w=task.without)]
    return constraints.join(core, wishes, rng)


def demonstrate(task: Task, rng: random.Random) -> str:
    """The right number of members, each once."""
    members = [member for member in CATEGORIES[task.topic] if member != task.without]
    return f"A list: {english.listed(rng.sample(members, task.count))}."


def parse(text: str) -> Task | None:
    """The task back from the instruction."""
    without: str | None = None
    core: list[str] = []
    for sentence in english.sentences(text):
        found = next(filter(None, (english.read(template, sentence) for template in WITHOUT)), None)
        if found:
            without = found["w"]
        else:
            core.append(sentence)
    for phrasing in PHRASINGS:
        found = english.read(phrasing, " ".join(core))
        if found and found["x"] in CATEGORIES and found["n"] in NUMBERS:
            return Task(topic=found["x"], count=NUMBERS.index(found["n"]), without=without)
    return None


def judge(task: Task, response: str) -> Judgement:
    """Members of the category, each once, so many, nothing else and not the one to leave out."""
    said = [word for word in english.words(response) if word[0].isalpha() and word not in _FRAME]
    members = [word for word in said if word in CATEGORIES[task.topic]]
    if not members:
        return Judgement(following=0.0)
    distinct = len(set(members))
    count = max(0.0, 1 - abs(distinct - task.count) / 2)
    pure = len(members) / len(said)
    fresh = distinct / len(members)
    following = pure**2 * fresh * (0.3 + 0.7 * count)
    if task.without in members:
        following *= 0.5
    return Judgement(following=following)
