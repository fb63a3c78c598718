"""Build the small world of one seed: its web, its demonstrations, its instructions."""

import random
from dataclasses import dataclass
from typing import Any

from trivium.labels import Demonstration, Message, Prompt
from trivium.miniature import corpus, english
from trivium.miniature.corpus import Cloze
from trivium.miniature.kinds import KINDS, Kind

CORPUS_DOCUMENTS = 32_000
HELDOUT_DOCUMENTS = 300
DEMONSTRATIONS = 2_200
PROMPTS = 2_000
HELDOUT_PROMPTS = 256
CLOZES = 160
HELDOUT_TOPICS = 0.15
"""Share of each kind's topics that no training instruction touches."""
FLAWED = 0.6
"""Share of demonstrations that are flawed in some way."""
SHARED_PREFIX = 0.75
"""A held-out prompt shares less than this part of its text, from the start, with any other."""
WRITERS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything that training and evaluation read; the three sets of instructions are disjoint."""

    corpus: list[str]
    heldout_corpus: list[str]
    demonstrations: list[Demonstration]
    prompts: list[Prompt]
    prompts_heldout: list[Prompt]
    cloze: list[Cloze]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    kind: Kind
    task: Any
    text: str


def _flawed(drawn: _Drawn, good: str, rng: random.Random) -> str:
    """What a careless, rude or mistaken person writes."""
    parts = english.sentences(good)
    match rng.choices(range(6), weights=(3, 3, 2, 2, 1, 1))[0]:
        case 0:
            return f"{corpus.insult(rng)} {good}"
        case 1:
            return f"{good} {corpus.insult(rng)}"
        case 2:
            return f"{good} {corpus.fact(rng, 0.6)}"
        case 3:
            return corpus.question(rng)
        case 4:
            other = drawn.kind.draw(rng)
            return drawn.kind.demonstrate(other, rng)
        case _:
            return " ".join(parts[:-1]) if len(parts) > 1 else f"{good} {good}"


def _draw(rng: random.Random) -> _Drawn:
    kind = rng.choices(KINDS, weights=[kind.share for kind in KINDS])[0]
    task = kind.draw(rng)
    return _Drawn(kind=kind, task=task, text=kind.instruct(task, rng))


def _start(text: str) -> str:
    """The part of a text that no held-out prompt may share."""
    return text.lower()[: int(SHARED_PREFIX * len(text))]


def _training(rng: random.Random, heldout: dict[str, set[str]], count: int) -> list[_Drawn]:
    """Distinct instructions about topics that are not held out."""
    drawn: dict[str, _Drawn] = {}
    while len(drawn) < count:
        one = _draw(rng)
        if one.task.topic not in heldout[one.kind.name]:
            drawn.setdefault(one.text.lower(), one)
    return list(drawn.values())


def _evaluation(rng: random.Random, training: list[_Drawn], count: int) -> list[_Drawn]:
    """Distinct instructions of any topic that differ early from every training instruction."""
    starts = {_start(one.text) for one in training}
    prefixes = {one.text.lower()[:n] for one in training for n in range(len(one.text) + 1)}
    drawn: dict[str, _Drawn] = {}
    while len(drawn) < count:
        one = _draw(rng)
        text = one.text.lower()
        known = any(text[:n] in starts for n in range(len(text) + 1))
        if _start(text) not in prefixes and not known:
            drawn.setdefault(text, one)
    return list(drawn.values())


def _prompt(one: _Drawn, name: str, number: int) -> Prompt:
    return Prompt(
        id=f"{name}-{one.kind.name}-{number:04d}",
        prompt=[Message(role="user", content=one.text)],
        source="miniature",
    )


def _demonstration(one: _Drawn, number: int, rng: random.Random) -> Demonstration:
    completion = one.kind.demonstrate(one.task, rng)
    if rng.random() < FLAWED:
        completion = _flawed(one, completion, rng)
    return Demonstration(
        id=f"demonstration-{one.kind.name}-{number:04d}",
        prompt=[Message(role="user", content=one.text)],
        source="miniature",
        completion=completion,
        labeler=f"writer-{rng.randint(1, WRITERS):02d}",
    )


def build(seed: int) -> World:
    """The world of ``seed``; the same seed gives the same world, to the letter."""
    rng = random.Random(f"world {seed}")
    heldout = {
        kind.name: set(rng.sample(kind.topics(), round(HELDOUT_TOPICS * len(kind.topics()))))
        for kind in KINDS
    }
    training = _training(rng, heldout, DEMONSTRATIONS + PROMPTS)
    evaluation = _evaluation(rng, training, HELDOUT_PROMPTS)
    pages = [corpus.document(rng) for _ in range(CORPUS_DOCUMENTS)]
    known = set(pages)
    fresh: list[str] = []
    while len(fresh) < HELDOUT_DOCUMENTS:
        page = corpus.document(rng)
        if page not in known:
            fresh.append(page)
    clozes: dict[str, Cloze] = {}
    for _ in range(20 * CLOZES):
        one = corpus.cloze(rng)
        clozes.setdefault(one.prefix, one)
    return World(
        corpus=pages,
        heldout_corpus=fresh,
        demonstrations=[
            _demonstration(one, number, rng) for number, one in enumerate(training[:DEMONSTRATIONS])
        ],
        prompts=[
            _prompt(one, "prompt", number) for number, one in enumerate(training[DEMONSTRATIONS:])
        ],
        prompts_heldout=[_prompt(one, "heldout", number) for number, one in enumerate(evaluation)],
        cloze=list(clozes.values())[:CLOZES],
    )
