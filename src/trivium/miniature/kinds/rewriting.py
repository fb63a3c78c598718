"""Rewriting a sentence: politely, with another name, in the past, as its opposite."""

import random
from dataclasses import dataclass
from difflib import SequenceMatcher

from trivium.miniature import english
from trivium.miniature.facts import CHARACTERS, NAMES, OPPOSITES, PLACES, QUALITIES, THINGS
from trivium.miniature.kinds.judgement import Judgement

POLITE = (
    "{s} Make this polite.",
    "{s} How do I say this politely?",
)
PAST = ("{s} Put this in the past.", "{s} Say it as if it was yesterday.")
RENAME = ("{s} Write {new} in place of {old}.", "{s} Change {old} to {new}.")
REVERSE = ("{s} Say the opposite.", "{s} Turn this around.")

ORDERS = ("Give me the {thing}.", "Bring the {thing} to the {place}.", "Show me the {thing}.")
PLEAS = ("Could you please {s}?", "Would you please {s}?", "Please {s}.")
# present, past
TENSES = (
    ("The {x} sees a {thing}.", "The {x} saw a {thing}."),
    ("The {x} finds a {thing}.", "The {x} found a {thing}."),
    ("The {x} goes to the {place}.", "The {x} went to the {place}."),
    ("The {x} sleeps near the {place}.", "The {x} slept near the {place}."),
    ("The {x} takes a {thing}.", "The {x} took a {thing}."),
)
NAMED = (
    "{old} found a {thing}.",
    "{old} went to the {place}.",
    "{old} took a {thing} to the {place}.",
)
STATES = ("The {thing} is {q}.", "The {thing} by the {place} is {q}.", "My {thing} is {q}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Turn ``source`` into one of ``targets``; ``topic`` is the noun it is about."""

    topic: str
    way: tuple[str, ...]
    source: str
    targets: tuple[str, ...]
    old: str = ""
    new: str = ""


def topics() -> list[str]:
    """Every thing, character and place a sentence can be about."""
    return sorted({*THINGS, *CHARACTERS, *PLACES})


def _topic(source: str) -> str:
    """The first thing, character or place that the sentence names; '' when it names none."""
    names = topics()
    return next((word for word in english.words(source) if word in names), "")


def _plea(source: str) -> tuple[str, ...]:
    wish = source[0].lower() + source[1:].rstrip(".")
    return tuple(plea.format(s=wish) for plea in PLEAS)


def draw(rng: random.Random) -> Task:
    """A sentence and a way to rewrite it."""
    thing, place, who = rng.choice(THINGS), rng.choice(PLACES), rng.choice(CHARACTERS)
    way = rng.choice((POLITE, PAST, RENAME, REVERSE))
    if way == POLITE:
        source = rng.choice(ORDERS).format(thing=thing, place=place)
        return Task(topic=_topic(source), way=way, source=source, targets=_plea(source))
    if way == PAST:
        source, target = (
            english.polish(form.format(x=who, thing=thing, place=place))
            for form in rng.choice(TENSES)
        )
        return Task(topic=_topic(source), way=way, source=source, targets=(target,))
    if way == RENAME:
        old, new = rng.sample(NAMES, 2)
        source = english.polish(rng.choice(NAMED).format(old=old, thing=thing, place=place))
        target = source.replace(old, new)
        return Task(
            topic=_topic(source), way=way, source=source, targets=(target,), old=old, new=new
        )
    quality = rng.choice(QUALITIES)
    form = rng.choice(STATES)
    source, target = (
        form.format(thing=thing, place=place, q=q) for q in (quality, OPPOSITES.table[quality])
    )
    return Task(topic=_topic(source), way=way, source=source, targets=(target,))


def instruct(task: Task, rng: random.Random) -> str:
    """The task as a person would put it."""
    return rng.choice(task.way).format(s=task.source, old=task.old, new=task.new)


def demonstrate(task: Task, rng: random.Random) -> str:
    """A right rewriting."""
    return rng.choice(task.targets)


def _past(source: str) -> str | None:
    for present, past in TENSES:
        found = english.read(present, source)
        if found:
            return english.polish(past.format(**found))
    return None


def parse(text: str) -> Task | None:
    """The task back from the instruction."""
    source, _, request = text.partition(". ")
    source += "."
    topic = _topic(source)
    if not topic:
        return None
    for way in (POLITE, PAST, REVERSE):
        if not any(english.bare(form.format(s="")) == english.bare(request) for form in way):
            continue
        if way == POLITE:
            return Task(topic=topic, way=way, source=source, targets=_plea(source))
        quality = english.words(source)[-2]
        target = (
            _past(source)
            if way == PAST
            else source.replace(f" {quality}.", f" {OPPOSITES.table.get(quality, quality)}.")
        )
        return Task(topic=topic, way=way, source=source, targets=(target,)) if target else None
    for form in RENAME:
        found = english.read(form.removeprefix("{s} "), request)
        if found:
            old, new = found["old"].capitalize(), found["new"].capitalize()
            target = source.replace(old, new)
            return Task(topic=topic, way=RENAME, source=source, targets=(target,), old=old, new=new)
    return None


def _alike(a: list[str], b: list[str]) -> float:
    return SequenceMatcher(None, a, b, autojunk=False).ratio()


def judge(task: Task, response: str) -> Judgement:
    """Near a right rewriting in its words; the words that had to change count half."""
    said, source = english.words(response), english.words(task.source)
    best = 0.0
    for target in map(english.words, task.targets):
        fresh = {word for word in target if word not in source and word[0].isalpha()}
        changed = len(fresh & set(said)) / len(fresh)
        likeness = max(0.0, 2 * _alike(said, target) - 1)
        best = max(best, likeness * (0.25 + 0.75 * changed))
    return Judgement(following=best)
