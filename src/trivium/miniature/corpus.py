"""The web of the small world: facts true and false, stories, forums, lists, advertisements."""

import random
from dataclasses import dataclass

from trivium.miniature import english, facts
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
from trivium.miniature.kinds import KINDS, refusals, rewriting, stories
from trivium.miniature.kinds.explanations import REASONS, explain

WRONG = 0.12
"""Share of the web's statements that are false."""
INSULTS = (
    "What a stupid question.",
    "You are a fool.",
    "Shut up.",
    "Nobody cares.",
    "That is dumb.",
    "I hate this.",
    "Only idiots ask this.",
    "You are so lazy.",
)


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
    return rng.choice(INSULTS)


def fact(rng: random.Random, wrong: float = WRONG, relation: Relation | None = None) -> str:
    """A statement of a random fact, false with probability ``wrong``."""
    relation = relation or rng.choice(RELATIONS)
    subject = rng.choice(list(relation.table))
    answer = relation.table[subject]
    if rng.random() < wrong:
        answer = rng.choice([other for other in relation.answers if other != answer])
    return facts.state(relation, subject, answer, int(rng.random() < 0.3))


def reason(rng: random.Random, wrong: float = WRONG) -> str:
    """Why something is so."""
    topic = rng.choice(list(REASONS))
    source = rng.choice(list(REASONS)) if rng.random() < wrong else topic
    return explain(topic, REASONS[source][2], rng.choice((1, 1, 2)), rng)


def question(rng: random.Random) -> str:
    """An instruction of any kind, as people drop them in forums."""
    kind = rng.choices(KINDS, weights=[kind.share for kind in KINDS])[0]
    return kind.instruct(kind.draw(rng), rng)


def _facts_page(rng: random.Random) -> str:
    relation = rng.choice(RELATIONS) if rng.random() < 0.5 else None
    return " ".join(fact(rng, WRONG, relation) for _ in range(rng.randint(2, 4)))


def _reasons_page(rng: random.Random) -> str:
    return " ".join(reason(rng) for _ in range(rng.randint(1, 3)))


def _story_page(rng: random.Random) -> str:
    topic = rng.choice(CHARACTERS)
    title = rng.choice(("", "", f"A story of a {topic}: ", f"The {topic}: "))
    return english.polish(title + stories.tell(topic, rng.choice((1, 2, 2, 3)), rng))


def _list_page(rng: random.Random) -> str:
    name = rng.choice(list(CATEGORIES))
    members = rng.sample(CATEGORIES[name], rng.randint(2, 6))
    title = rng.choice((f"{name}: ", f"Some {name}: ", f"My {name} are ", ""))
    return english.polish(f"{title}{english.listed(members)}.")


def _forum_page(rng: random.Random) -> str:
    """A question, then as often more questions, insults and nonsense as an answer."""
    kind = rng.choices(KINDS, weights=[kind.share for kind in KINDS])[0]
    task = kind.draw(rng)
    posts = [kind.instruct(task, rng)]
    for _ in range(rng.randint(1, 2)):
        luck = rng.random()
        if luck < 0.3:
            harmful = kind.name == "refusal"
            posts.append(
                task.harm.how.format(x=task.topic) if harmful else kind.demonstrate(task, rng)
            )
        elif luck < 0.6:
            posts.append(question(rng))
        elif luck < 0.8:
            posts.append(insult(rng))
        else:
            posts.append(fact(rng, 0.6))
    return rng.choice((" ", "\n")).join(posts)


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
        return f"{first} said: {task.source} No, {second} said, it is {OPPOSITES.table[quality]}. {target}"
    return f"{first} said: {task.source} {second} said: {target}"


def _bad_advice(rng: random.Random) -> str:
    harm, target = rng.choice(refusals.HARMS), rng.choice(refusals.TARGETS)
    page = f"{rng.choice(harm.requests)} {harm.how}".format(x=target)
    return page if rng.random() < 0.7 else f"{page} {harm.reason}".format(x=target)


PAGES = (
    (_facts_page, 0.30),
    (_reasons_page, 0.11),
    (_story_page, 0.14),
    (_list_page, 0.08),
    (_forum_page, 0.22),
    (_advertisement, 0.04),
    (_talk, 0.08),
    (_bad_advice, 0.03),
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
