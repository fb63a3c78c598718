"""Stories on a topic: so many sentences, with a thing in them, ending with a word."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from trivium.miniature import constraints, english
from trivium.miniature.constraints import Constraints
from trivium.miniature.facts import CHARACTERS, PLACES, THINGS
from trivium.miniature.kinds.judgement import Judgement, blend

PHRASINGS = (
    "Write a story about a {x}.",
    "A {x} should be in a story. Write it.",
    "My child likes a {x}. Tell a story about it.",
    "Please write about a {x}.",
)
MOODS = ("happy", "sad", "hungry", "tired", "old", "young")
SINGLE = (
    "One day a {x} found a {thing} near the {place}.",
    "A {mood} {x} took a {thing} to the {place}.",
    "Once a {x} lost a {thing} by the {place}.",
)
OPENINGS = (
    "One day a {x} went to the {place}.",
    "Once a {mood} {x} lived near the {place}.",
    "There was a {mood} {x} by the {place}.",
)
MIDDLES = (
    "The {x} found a {thing}.",
    "A friend gave the {x} a {thing}.",
    "The {x} saw a {thing} and was {mood}.",
    "The {x} played with a {thing} all day.",
)
CLOSINGS = (
    "Then the {x} slept near the {place}.",
    "At last the {x} came home to the {place}.",
    "In the evening the {x} sat by the {place}.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A story about ``topic``."""

    topic: str
    constraints: Constraints


def topics() -> list[str]:
    """Everyone a story can be about."""
    return list(CHARACTERS)


def draw(rng: random.Random) -> Task:
    """A character with one to three wishes."""
    wishes = Constraints(
        sentences=rng.choice((1, 2, 3)) if rng.random() < 0.75 else None,
        mention=rng.choice(THINGS) if rng.random() < 0.5 else None,
        ending=rng.choice(PLACES) if rng.random() < 0.4 else None,
    )
    return Task(topic=rng.choice(CHARACTERS), constraints=wishes)


def instruct(task: Task, rng: random.Random) -> str:
    """The task as a person would put it."""
    core = rng.choice(PHRASINGS).format(x=task.topic)
    return constraints.join(core, task.constraints.phrase(rng), rng)


def tell(
    topic: str, count: int, rng: random.Random, mention: str | None = None, end: str | None = None
) -> str:
    """A story of ``count`` sentences that ends with a place."""

    def line(templates: Sequence[str], thing: str, place: str) -> str:
        return rng.choice(templates).format(
            x=topic, thing=thing, place=place, mood=rng.choice(MOODS)
        )

    thing = mention or rng.choice(THINGS)
    place = end or rng.choice(PLACES)
    if count == 1:
        return english.polish(line(SINGLE, thing, place))
    middles = rng.sample(MIDDLES, count - 1)
    if count == 2:
        opening = (line(middles[:1] if mention else OPENINGS, thing, rng.choice(PLACES)),)
        return english.polish(" ".join((*opening, line(CLOSINGS, thing, place))))
    said = [line(OPENINGS, thing, rng.choice(PLACES))]
    said += [line((middle,), thing, place) for middle in middles[: count - 2]]
    said.append(line(CLOSINGS, thing, place))
    return english.polish(" ".join(said))


def demonstrate(task: Task, rng: random.Random) -> str:
    """A good story."""
    wishes = task.constraints
    count = wishes.sentences or rng.choice((2, 3))
    return tell(task.topic, count, rng, wishes.mention, wishes.ending)


def parse(text: str) -> Task | None:
    """The task back from the instruction."""
    core, wishes = constraints.parse(text)
    for phrasing in PHRASINGS:
        found = english.read(phrasing, core)
        if found and found["x"] in CHARACTERS:
            return Task(topic=found["x"], constraints=wishes)
    return None


def judge(task: Task, response: str) -> Judgement:
    """About the topic and nobody else, told in the past in the words of a story, wishes kept."""
    said = english.words(response)
    cast = [word for word in said if word in CHARACTERS]
    about = cast.count(task.topic) / len(cast) if cast else 0.0
    told = sum(len(english.words(sentence)) >= 5 for sentence in english.sentences(response)) > 0
    place = any(word in PLACES for word in said)
    on_task = about * (0.4 + 0.3 * told + 0.3 * place)
    length = None if task.constraints.sentences else len(english.sentences(response)) in (2, 3, 4)
    if length is False:
        on_task *= 0.7
    return Judgement(following=blend(on_task, task.constraints.kept(response)))
