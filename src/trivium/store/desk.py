"""What lies on a labeler's desk: an assignment with everything that its page shows, and no more.

Answers come in this person's own order, copies of a text as one, and without the model's name.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from trivium.labels import Message, Question
from trivium.labels.sheet import letter, merge_identical
from trivium.store import clock, records
from trivium.store.adding import Kind, load_messages
from trivium.store.schema import (
    AnyRow,
    assignments,
    drafts,
    labels,
    people,
    prompts,
    questions,
    tasks,
)
from trivium.store.settings import RULES, parsed_question, parsed_settings, read_question

_DONE_TODAY = (
    select(func.count())
    .select_from(labels)
    .where(
        labels.c.person_id == bindparam("person"),
        labels.c.saved_ms >= bindparam("midnight"),
        labels.c.supersedes.is_(None),
        ~labels.c.skipped,
    )
)
_LABEL = select(labels).where(labels.c.id == bindparam("label"))
_NEWEST_LABEL = (
    select(func.max(labels.c.id))
    .where(labels.c.assignment_id == assignments.c.id)
    .scalar_subquery()
)
# One query for the page, because each query costs more than what it finds.
_ASSIGNMENT = (
    select(
        assignments,
        *(tasks.c.kind, prompts.c.key, prompts.c.messages, people.c.daily_cap),
        *(drafts.c.body.label("draft"), drafts.c.sequence, drafts.c.saved_ms),
        questions.c.body.label("question"),
        _NEWEST_LABEL.label("newest_label"),
        _DONE_TODAY.scalar_subquery().label("done_today"),
        RULES.label("rules"),
    )
    .select_from(assignments)
    .join(tasks, tasks.c.id == assignments.c.task_id)
    .join(prompts, prompts.c.id == tasks.c.prompt_id)
    .join(people, people.c.id == assignments.c.person_id)
    .outerjoin(drafts, drafts.c.assignment_id == assignments.c.id)
    .outerjoin(questions, questions.c.version == assignments.c.question_version)
    .where(
        assignments.c.id == bindparam("assignment"),
        assignments.c.person_id == bindparam("person"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownAnswer:
    """One answer as a labeler sees it."""

    key: str
    """Names it in a sheet; the same as its letter, so that nothing of its origin shows."""
    letter: str
    text: str
    copies: int
    """How many answers of the task say exactly this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What was typed so far."""

    body: Mapping[str, Any]
    sequence: int
    saved_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelInfo:
    """A label that one has handed in."""

    id: int
    submission_id: str
    assignment_id: int | None
    task_id: int
    kind: Kind
    saved_ms: int | None
    late: bool
    counted: bool
    skipped: bool
    revises: int | None
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A task on somebody's desk."""

    id: int
    task_id: int
    kind: Kind
    prompt_id: str
    prompt: tuple[Message, ...]
    answers: tuple[ShownAnswer, ...]
    """In this person's own order; empty where a demonstration is asked for."""
    expires_ms: int
    live: bool
    draft: Draft | None
    question: Question
    done_today: int
    daily_cap: int | None
    label: LabelInfo | None
    """The newest label made on it."""


def load_assignment(
    connection: Connection, person_id: int, assignment_id: int, at_ms: int
) -> Assignment | None:
    """One's own assignment with everything that its page shows."""
    mine = {"assignment": assignment_id, "person": person_id}
    today = {"midnight": clock.start_of_day(at_ms)}
    row = connection.execute(_ASSIGNMENT, {**mine, **today}).one_or_none()
    if row is None:
        return None
    cap = parsed_settings(row.rules).daily_cap if row.daily_cap is None else row.daily_cap
    asked = read_question(connection) if row.question is None else parsed_question(row.question)
    return Assignment(
        id=row.id,
        task_id=row.task_id,
        kind=row.kind,
        prompt_id=row.key,
        prompt=tuple(load_messages(row.messages)),
        answers=_shown(
            records.answers_of_one(connection, row.task_id), json.loads(row.answer_order)
        ),
        expires_ms=row.expires_ms,
        live=row.state == "live" and row.expires_ms >= at_ms,
        draft=_draft(row),
        question=asked,
        done_today=row.done_today,
        daily_cap=cap,
        label=_label(connection, row.newest_label),
    )


def shown_places(candidates: Sequence[AnyRow], order: Sequence[int]) -> list[list[int]]:
    """For each answer on the page, from A on, the places in the task that hold its text."""
    groups = merge_identical([candidates[place].text for place in order])
    return [[order[number] for number in group] for group in groups]


def label_info(row: AnyRow) -> LabelInfo:
    """A row of `labels` for its own labeler's eyes."""
    return LabelInfo(
        id=row.id,
        submission_id=row.submission_id,
        assignment_id=row.assignment_id,
        task_id=row.task_id,
        kind=row.kind,
        saved_ms=row.saved_ms,
        late=row.late,
        counted=row.counted,
        skipped=row.skipped,
        revises=row.supersedes,
        body=json.loads(row.body),
    )


def done_today(connection: Connection, person_id: int, at_ms: int) -> int:
    """Labels since midnight, UTC; corrections and skips don't count."""
    today = {"person": person_id, "midnight": clock.start_of_day(at_ms)}
    return connection.execute(_DONE_TODAY, today).scalar_one()


def _shown(candidates: Sequence[AnyRow], order: Sequence[int]) -> tuple[ShownAnswer, ...]:
    return tuple(
        ShownAnswer(
            key=letter(number),
            letter=letter(number),
            text=candidates[places[0]].text,
            copies=len(places),
        )
        for number, places in enumerate(shown_places(candidates, order))
    )


def _draft(row: AnyRow) -> Draft | None:
    if row.draft is None:
        return None
    return Draft(body=json.loads(row.draft), sequence=row.sequence, saved_ms=row.saved_ms)


def _label(connection: Connection, label_id: int | None) -> LabelInfo | None:
    if label_id is None:
        return None
    return label_info(connection.execute(_LABEL, {"label": label_id}).one())
