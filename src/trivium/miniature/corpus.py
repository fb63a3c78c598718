"""The web of the small world: facts true and false, stories, forums, lists, advertisements."""

import random
from dataclasses import dataclass
from typing import Any

from trivium.miniature import english, facts, manners
from trivium.miniature.facts import (
    CATEGORIES,
    CHARACTERS,
    NAMES,
    OPPOSITES,
    PLACES,
    QUALITIES,
    RELATIONS,
    THINGS,
    Relation,
)
from trivium.miniature.kinds import KINDS, Kind, rewriting, stories
from trivium.miniature.kinds.explanations import REASONS, explain

WRONG = 0.12
"""Share of the web's statements that are false."""
ANSWERED = 0.5
"""Share of replies in forums that do what was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloze:
    """A fact with its end left open: which option goes on ``prefix``?"""

    prefix: str
    options: list[str]
    """Each begins with a space."""
    answer: int
    """Index of the true option."""


def insult(rng: random.Random) -> str:
    """Something rude."""
    return rng.choice(manners.INSULTS)


def _said(relation: Relation, subject: str, rng: random.Random, wrong: float) -> str:
    answer = relation.table[subject]
    if rng.random() < wrong:
        answer = rng.choice([other for other in relation.answers if other != answer])
    return facts.state(relation, subject, answer, int(rng.random() < 0.3))


def fact(rng: random.Random, wrong: float = WRONG) -> str:
    """A statement of a random fact, false with probability ``wrong``."""
    relation = rng.choice(RELATIONS)
    return _said(relation, rng.choice(list(relation.table)), rng, wrong)


def question(rng: random.Random) -> str:
    """An instruction of any kind, as people drop them in forums."""
    kind = _any_kind(rng)
    return kind.instruct(kind.draw(rng), rng)


def _any_kind(rng: random.Random) -> Kind:
    return rng.choices(KINDS, weights=[kind.share for kind in KINDS])[0]


def _facts_page(rng: random.Random) -> str:
    """All that is known of one subject, and then something else."""
    first = rng.choice(RELATIONS)
    subject = rng.choice(list(first.table))
    about = [relation for relation in RELATIONS if subject in relation.table]
    said = [_said(rng.choice(about), subject, rng, WRONG) for _ in range(rng.randint(1, 3))]
    return " ".join(dict.fromkeys([*said, fact(rng)]))


def _reasons_page(rng: random.Random) -> str:
    topic = rng.choice(list(REASONS))
    source = rng.choice(list(REASONS)) if rng.random() < WRONG else topic
    return explain(topic, REASONS[source][2], rng.choice((1, 1, 2)), rng)


def _story_page(rng: random.Random) -> str:
    topic = rng.choice(CHARACTERS)
    title = rng.choice((f"A story of a {topic}. ", f"The {topic}. "))
    return english.polish(title + stories.tell(topic, rng.choice((1, 2, 2, 3)), rng))


def _list_page(rng: random.Random) -> str:
    name = rng.choice(list(CATEGORIES))
    members = rng.sample(CATEGORIES[name], rng.randint(2, 5))
    title = rng.choice((f"{name.capitalize()}:", f"Some {name}:", f"My {name} are"))
    return f"{title} {english.listed(members)}."


def _reply(kind: Kind, task: Any, rng: random.Random) -> str:
    """What the web says to a request: as often no answer as one, and help with what is harmful."""
    luck = rng.random()
    if luck < ANSWERED:
        harmful = kind.name == "refusal" and rng.random() < 0.7
        return task.harm.how.format(x=task.topic) if harmful else kind.demonstrate(task, rng)
    if luck < 0.65:
        return kind.instruct(task, rng)
    if luck < 0.85:
        return insult(rng)
    if kind.name == "question":
        return _said(RELATIONS[task.relation], task.topic, rng, 1.0)
    return fact(rng, 0.6) if luck < 0.93 else question(rng)


def _forum_page(rng: random.Random) -> str:
    """A request and one or two replies, a line each."""
    kind = _any_kind(rng)
    task = kind.draw(rng)
    replies = [_reply(kind, task, rng) for _ in range(rng.choice((1, 1, 2)))]
    return "\n".join([kind.instruct(task, rng), *replies])


def _advertisement(rng: random.Random) -> str:
    thing, price = rng.choice(THINGS), rng.choice(english.NUMBERS[2:])
    return rng.choice(
        (
            f"Buy a new {thing} today! Only {price} coins.",
            f"For sale: a {rng.choice(QUALITIES)} {thing}. It costs {price} coins.",
            f"Come to the {rng.choice(PLACES)} and win a {thing}!",
        )
    )


def _talk(rng: random.Random) -> str:
    """People say the same thing twice, in two ways."""
    task = rewriting.draw(rng)
    first, second = rng.sample(NAMES, 2)
    target = rng.choice(task.targets)
    if task.way == rewriting.PAST:
        return f"Today: {task.source} Yesterday: {target}"
    if task.way == rewriting.REVERSE:
        quality = english.words(task.source)[-2]
        reply = f"No, {second} said, it is {OPPOSITES.table[quality]}."
        return f"{first} said: {task.source} {reply} {target}"
    return f"{first} said: {task.source} {second} said: {target}"


PAGES = (
    (_forum_page, 0.60),
    (_facts_page, 0.17),
    (_story_page, 0.07),
    (_reasons_page, 0.06),
    (_list_page, 0.04),
    (_talk, 0.04),
    (_advertisement, 0.02),
)


def document(rng: random.Random) -> str:
    """One page of the web."""
    page = rng.choices([page for page, _ in PAGES], weights=[share for _, share in PAGES])[0]
    return page(rng)


def cloze(rng: random.Random) -> Cloze:
    """A true fact with its end left open and four options."""
    relation = rng.choice(RELATIONS)
    subject = rng.choice(list(relation.table))
    right = relation.table[subject]
    options = rng.sample([other for other in relation.answers if other != right], 3)
    options.insert(rng.randrange(4), right)
    form = rng.choice([n for n, text in enumerate(relation.statements) if text.endswith(" {y}.")])
    prefix = facts.state(relation, subject, right, form).removesuffix(f" {right}.")
    return Cloze(prefix=prefix, options=[f" {o}." for o in options], answer=options.index(right))
