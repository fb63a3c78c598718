"""What the task pages show: an assignment, with the draft or the label that is there already."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from time import time
from typing import NamedTuple
from uuid import uuid4

from markupsafe import Markup

from trivium.labels import Message
from trivium.labels.question import Choice
from trivium.labels.sheet import MOST_TEXT
from trivium.store.desk import Assignment
from trivium.web.rendering import fragment, markdown

Fields = Mapping[str, Sequence[str]]
"""A form as it was filled in: every field with its values."""

NAMES = {"user": "User", "assistant": "Assistant", "system": "System"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message of the conversation."""

    who: str
    text: str
    html: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, and what has been said of it so far."""

    key: str
    letter: str
    text: str
    html: Markup
    words: int
    copies: int
    controls: Markup
    """Flags, ratings and ranks, ticked as far as it has been judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """All that the page of one task shows."""

    id: int
    turns: list[Turn]
    answers: list[Answer]
    ranks: range
    rating_required: bool
    skip_reasons: list[Choice]
    completion: str
    most_text: int
    """Characters that an answer may have."""
    sequence: int
    live: bool
    revises: bool
    done_today: int
    daily_cap: int | None
    submission_id: str
    skip_id: str
    shown_ms: int


class Ratings(NamedTuple):
    """A question's scale, as a key of what is kept."""

    low: int
    high: int
    low_text: str
    high_text: str


def task_page(assignment: Assignment, filled: Fields | None = None) -> TaskPage:
    """The page of an assignment.

    Args:
        assignment: the task in one person's order.
        filled: what the form holds; None: the draft, else the label, else nothing.
    """
    draft = assignment.draft
    known = filled if filled is not None else _fields(draft.body) if draft else {}
    question, ranks = assignment.question, len(assignment.answers)
    scale = question.rating
    ratings = Ratings(scale.low, scale.high, scale.low_text, scale.high_text)
    flags = tuple((flag.id, flag.text) for flag in question.flags)
    ids = frozenset(flag.id for flag in question.flags)
    return TaskPage(
        id=assignment.id,
        turns=[_turn(message) for message in assignment.prompt],
        answers=[
            Answer(
                key=shown.key,
                letter=shown.letter,
                text=shown.text,
                html=markdown(shown.text),
                words=len(shown.text.split()),
                copies=shown.copies,
                controls=controls(
                    shown.letter,
                    ranks,
                    ratings,
                    flags,
                    rank=_number(known, f"rank.{shown.key}"),
                    rating=_number(known, f"rating.{shown.key}"),
                    ticked=ids.intersection(known.get(f"flag.{shown.key}", ())),
                ),
            )
            for shown in assignment.answers
        ],
        ranks=range(1, ranks + 1),
        rating_required=question.rating_required,
        skip_reasons=question.skip_reasons,
        completion="".join(known.get("completion", ())[:1]),
        most_text=MOST_TEXT,
        sequence=draft.sequence if draft else 0,
        live=assignment.live,
        revises=assignment.label is not None,
        done_today=assignment.done_today,
        daily_cap=assignment.daily_cap,
        submission_id=str(uuid4()),
        skip_id=str(uuid4()),
        shown_ms=round(time() * 1000),
    )


@lru_cache(maxsize=1000)
def controls(
    letter: str,
    ranks: int,
    scale: Ratings,
    flags: tuple[tuple[str, str], ...],
    *,
    rank: int | None,
    rating: int | None,
    ticked: frozenset[str],
) -> Markup:
    """Where an answer is judged. Most of a page's fields, and nearly always the same: so they are
    kept, a few megabytes at most: nothing that was typed may be among the arguments.
    """
    shown = {"rank": rank, "rating": rating, "ticked": ticked}
    asked = {"letter": letter, "ranks": ranks, "scale": scale, "flags": flags}
    return fragment("controls.html", {**asked, **shown})


def _turn(message: Message) -> Turn:
    return Turn(who=NAMES[message.role], text=message.content, html=markdown(message.content))


def _fields(body: Mapping[str, object]) -> Fields:
    """A draft's body, as far as it has a form's shape."""
    return {
        name: [value for value in values if isinstance(value, str)]
        for name, values in body.items()
        if isinstance(values, list)
    }


def _number(fields: Fields, name: str) -> int | None:
    value = "".join(fields.get(name, ())[:1])
    return int(value) if value.isascii() and value.isdigit() and len(value) < 5 else None
