"""Explanations: why things are as they are."""

import random
from dataclasses import dataclass

from trivium.miniature import constraints, english
from trivium.miniature.constraints import CLOSERS, OPENERS, Constraints
from trivium.miniature.kinds.judgement import Judgement, blend

PHRASINGS = (
    "Why {x}?",
    "Tell me why {s}.",
    "I see that {s}. Why is that?",
    "{s}, but why?",
)
SHORT = "{s} because {r}."
LONG = ("{r}. That is why {s}.", "{s}. This is because {r}.")

# topic: (question after "why", statement, reason)
REASONS: dict[str, tuple[str, str, str]] = {
    "ice": ("does ice melt", "ice melts", "the sun makes it warm"),
    "bread": ("does bread rise", "bread rises", "yeast fills it with air"),
    "leaves": ("do leaves fall", "leaves fall", "the tree rests in winter"),
    "bees": ("do bees visit flowers", "bees visit flowers", "they make honey from them"),
    "dogs": ("do dogs bark", "dogs bark", "they guard the house"),
    "babies": ("do babies cry", "babies cry", "they cannot talk yet"),
    "rain": ("does rain fall", "rain falls", "the clouds are full of drops"),
    "wood": ("does wood burn", "wood burns", "fire feeds on it"),
    "soap": ("does soap clean hands", "soap cleans hands", "it takes the fat away"),
    "night": ("does night come", "night comes", "the earth turns from the sun"),
    "candles": ("do candles shrink", "candles shrink", "the wax burns away"),
    "wheels": ("do wheels roll", "wheels roll", "they are round"),
    "owls": ("do owls hunt at night", "owls hunt at night", "their eyes see in the dark"),
    "ducks": ("do ducks stay dry", "ducks stay dry", "oil covers their feathers"),
    "bears": ("do bears sleep in winter", "bears sleep in winter", "there is little to eat"),
    "snow": ("does snow fall", "snow falls", "cold drops freeze in the clouds"),
}
_SMALL = frozenset((
    "the", "it", "is", "are", "a", "of", "to", "in", "from", "with", "by", "and", "they",
    "their", "them",
))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Explain ``topic``."""

    topic: str
    constraints: Constraints


def topics() -> list[str]:
    """Everything there is an explanation for."""
    return list(REASONS)


def draw(rng: random.Random) -> Task:
    """A thing to explain, most often with a wish."""
    wishes = Constraints(
        sentences=rng.choice((1, 2)) if rng.random() < 0.6 else None,
        beginning=rng.choice(OPENERS) if rng.random() < 0.3 else None,
        ending=rng.choice(list(CLOSERS)) if rng.random() < 0.2 else None,
    )
    return Task(topic=rng.choice(topics()), constraints=wishes)


def instruct(task: Task, rng: random.Random) -> str:
    """The task as a person would put it."""
    question, statement, _ = REASONS[task.topic]
    core = rng.choice(PHRASINGS).format(x=question, s=statement)
    return constraints.join(core, task.constraints.phrase(rng), rng)


def explain(topic: str, reason: str, count: int, rng: random.Random) -> str:
    """An explanation of ``topic`` by ``reason`` in one or two sentences."""
    template = SHORT if count == 1 else rng.choice(LONG)
    return english.polish(template.format(s=REASONS[topic][1], r=reason))


def demonstrate(task: Task, rng: random.Random) -> str:
    """The right explanation."""
    count = task.constraints.sentences or rng.choice((1, 1, 2))
    answer = explain(task.topic, REASONS[task.topic][2], count, rng)
    return constraints.frame(answer, task.constraints)


def parse(text: str) -> Task | None:
    """The task back from the instruction."""
    core, wishes = constraints.parse(text)
    for topic, (question, statement, _) in REASONS.items():
        for phrasing in PHRASINGS:
            if english.bare(core) == english.bare(phrasing.format(x=question, s=statement)):
                return Task(topic=topic, constraints=wishes)
    return None


def _keywords(phrase: str) -> set[str]:
    return {word for word in english.words(phrase) if word not in _SMALL}


def judge(task: Task, response: str) -> Judgement:
    """Names the thing, gives a reason (following), and the right one (truthful)."""
    _, statement, reason = REASONS[task.topic]
    said = set(english.words(response))
    named = len(_keywords(statement) & said) / len(_keywords(statement))
    right = len(_keywords(reason) & said) / len(_keywords(reason))
    others = [
        other
        for topic, (_, _, other) in REASONS.items()
        if topic != task.topic and english.holds(response, other)
    ]
    gives_reason = "because" in said or "why" in said
    on_task = 0.5 * named + 0.5 * (gives_reason and (right > 0 or bool(others)))
    if not right and not others:
        on_task *= 0.5
    return Judgement(
        following=blend(on_task, task.constraints.kept(response)),
        truthful=right / (1 + len(others)) if gives_reason else 0.5 * right,
    )
