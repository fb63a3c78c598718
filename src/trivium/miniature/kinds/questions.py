"""Questions with a right answer."""

import random
from dataclasses import dataclass
from functools import cache

from trivium.miniature import constraints, english, facts
from trivium.miniature.constraints import CLOSERS, OPENERS, Constraints
from trivium.miniature.facts import RELATIONS
from trivium.miniature.kinds.judgement import Judgement, blend


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What does the table of relation number ``relation`` say of ``topic``?"""

    relation: int
    topic: str
    constraints: Constraints


def topics() -> list[str]:
    """Every subject of every table."""
    return sorted({subject for relation in RELATIONS for subject in relation.table})


def draw(rng: random.Random) -> Task:
    """A fact to ask for, most often with a wish."""
    relation = rng.randrange(len(RELATIONS))
    wishes = Constraints(
        beginning=rng.choice(OPENERS) if rng.random() < 0.35 else None,
        ending=rng.choice(list(CLOSERS)) if rng.random() < 0.35 else None,
    )
    topic = rng.choice(list(RELATIONS[relation].table))
    return Task(relation=relation, topic=topic, constraints=wishes)


def instruct(task: Task, rng: random.Random) -> str:
    """The task as a person would put it."""
    core = rng.choice(RELATIONS[task.relation].questions).format(x=task.topic)
    return constraints.join(core, task.constraints.phrase(rng), rng)


def answer(task: Task, said: str, rng: random.Random) -> str:
    """The answer ``said`` in the form that was asked for."""
    relation = RELATIONS[task.relation]
    sentence = facts.state(relation, task.topic, said, int(rng.random() < 0.3))
    return constraints.frame(sentence, task.constraints)


def demonstrate(task: Task, rng: random.Random) -> str:
    """The right answer."""
    return answer(task, RELATIONS[task.relation].table[task.topic], rng)


@cache
def _subject(relation: int, name: str) -> str | None:
    return next((x for x in RELATIONS[relation].table if x.lower() == name), None)


def parse(text: str) -> Task | None:
    """The task back from the instruction."""
    core, wishes = constraints.parse(text)
    for number, relation in enumerate(RELATIONS):
        for question in relation.questions:
            found = english.read(question, core)
            topic = _subject(number, found["x"]) if found else None
            if topic is not None:
                return Task(relation=number, topic=topic, constraints=wishes)
    return None


def judge(task: Task, response: str) -> Judgement:
    """Says something of the right sort (following) that is right and alone (truthful)."""
    relation = RELATIONS[task.relation]
    rest = f" {' '.join(english.words(response))} ".replace(f" {task.topic.lower()} ", " # ", 1)
    named = "#" in rest
    given = [answer for answer in relation.answers if english.holds(rest, answer)]
    right = relation.table[task.topic]
    if not given:
        return Judgement(
            following=blend(0.25 * named, task.constraints.kept(response)), truthful=0.3
        )
    on_task = (0.6 + 0.4 * named) / (1 + 0.5 * (len(given) - 1))
    return Judgement(
        following=blend(on_task, task.constraints.kept(response)),
        truthful=(right in given) / len(given) ** 2,
    )
