"""Handing in: a label is saved once, wherever the wire breaks, or it is not called saved.

The browser chooses a submission id and sends the label until it gets a receipt. The same label
under the same id gives the first receipt again; another one under it is a revision, saved once
under an id made of both. A receipt is given only when the label is committed and its line is
synced in the journal (`trivium.store.journal` says why in this order).

Work is never turned away for coming at the wrong time:

- after the lease ran out, the label is stored as late, and counts if the task still needs one;
- a second label of the same person for the same task is a revision: it supersedes the first, which
  stays as it is.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from trivium.errors import UserError
from trivium.labels import DemonstrationSheet, LabelLine, RankingSheet, SkipSheet
from trivium.labels.sheet import (
    Sheet,
    check_demonstration,
    check_ranking,
    check_skip,
    contradictions,
    dense_ranks,
    letter,
)
from trivium.store import clock, events, journal, records
from trivium.store.adding import Kind
from trivium.store.database import Store, reading, writing
from trivium.store.desk import LabelInfo, label_info, shown_places
from trivium.store.leases import lock_assignment, retake, set_state
from trivium.store.schema import AnyRow, labels, tasks
from trivium.store.settings import parsed_question, parsed_settings, read_question

Body = dict[str, Any]
_KNOWN = select(labels.c.id, labels.c.assignment_id, labels.c.body).where(
    labels.c.submission_id == bindparam("submission")
)
_CIRCUMSTANCES = {"lead_time_ms", "question_version"}
"""What may differ in a label that is sent again."""
_OLDER = (
    select(labels.c.id, labels.c.counted)
    .where(labels.c.assignment_id == bindparam("assignment"))
    .order_by(labels.c.id.desc())
    .limit(1)
)
_NEW = insert(labels).returning(labels.c.id)
_COUNT = (
    update(tasks)
    .where(tasks.c.id == bindparam("task"))
    .values(
        taken=tasks.c.taken + bindparam("places"),
        done=tasks.c.done + bindparam("labels"),
        skips=tasks.c.skips + bindparam("skipped"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the labeler is told: it is saved."""

    label_id: int
    submission_id: str
    task_id: int
    kind: Kind
    saved_ms: int
    late: bool
    counted: bool
    repeated: bool
    """The label had been saved before."""
    revises: int | None
    """Id of the label that this one corrects."""
    contradictions: tuple[tuple[str, str], ...]
    """Letters of answers, the better-ranked first, whose ratings say the opposite by two points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What becomes of the task's counts."""

    counted: bool
    late: bool
    taken: int
    done: int


def submit_ranking(
    store: Store,
    person_id: int,
    assignment_id: int,
    sheet: RankingSheet,
    *,
    submission_id: str,
    now_ms: int | None = None,
) -> Receipt | None:
    """Save a ranking; None if this person has no such assignment.

    Raises:
        UserError: the sheet isn't whole (`trivium.labels.sheet.check_ranking`), the task is of
            another kind, the submission id isn't a UUID or names another label, or the disk is
            full.
    """
    return _submit(store, person_id, assignment_id, sheet, submission_id, clock.now(now_ms))


def submit_demonstration(
    store: Store,
    person_id: int,
    assignment_id: int,
    sheet: DemonstrationSheet,
    *,
    submission_id: str,
    now_ms: int | None = None,
) -> Receipt | None:
    """Save a demonstration; None if this person has no such assignment.

    Raises:
        UserError: as `submit_ranking`.
    """
    return _submit(store, person_id, assignment_id, sheet, submission_id, clock.now(now_ms))


def submit_skip(
    store: Store,
    person_id: int,
    assignment_id: int,
    sheet: SkipSheet,
    *,
    submission_id: str,
    now_ms: int | None = None,
) -> Receipt | None:
    """Pass a task on; None if this person has no such assignment.

    After as many skips as the rules say, the task waits for an admin.

    Raises:
        UserError: as `submit_ranking`.
    """
    return _submit(store, person_id, assignment_id, sheet, submission_id, clock.now(now_ms))


def labels_of(
    store: Store, person_id: int, *, limit: int = 50, before: int | None = None
) -> list[LabelInfo]:
    """One's own labels, the newest first, or those before the one with this id."""
    rows = select(labels).where(labels.c.person_id == person_id)
    if before is not None:
        rows = rows.where(labels.c.id < before)
    with reading(store) as connection:
        found = connection.execute(rows.order_by(labels.c.id.desc()).limit(limit))
        return [label_info(row) for row in found]


def _submit(
    store: Store,
    person_id: int,
    assignment_id: int,
    sheet: Sheet,
    submission_id: str,
    at_ms: int,
) -> Receipt | None:
    submission_id = _checked_id(submission_id)
    since = journal.size(store.journal)  # our line can only come after this
    with writing(store) as connection:
        assignment = lock_assignment(connection, person_id, assignment_id)
        if assignment is None:
            return None
        _check_kind(assignment, sheet)
        body = _body(connection, assignment, sheet)
        submission_id, label_id = _known(connection, submission_id, assignment_id, body)
        repeated = label_id is not None
        if label_id is None:
            label_id = _save(connection, assignment, body, submission_id, at_ms)
    with reading(store) as connection:  # a label never changes, so others may write again by now
        line, superseded = records.line_of(connection, label_id)
    journal.append(store.journal, [line], since=0 if repeated else since)
    assert line.saved_ms is not None
    return Receipt(
        label_id=label_id,
        submission_id=line.submission_id,
        task_id=assignment.task_id,
        kind=line.kind,
        saved_ms=line.saved_ms,
        late=line.late,
        counted=line.counted,
        repeated=repeated,
        revises=superseded,
        contradictions=_contradicting_letters(line),
    )


def _checked_id(submission_id: str) -> str:
    try:
        return str(uuid.UUID(submission_id))
    except ValueError:
        raise UserError(f"submission_id: expected a UUID, got {submission_id[:50]!r}") from None


def _known(
    connection: Connection, submission_id: str, assignment_id: int, body: Body
) -> tuple[str, int | None]:
    """The id under which to save what is said, and the label that said the same under it before."""
    row = connection.execute(_KNOWN, {"submission": submission_id}).one_or_none()
    if row is None:
        return submission_id, None
    if row.assignment_id != assignment_id:
        raise UserError("submission_id: names another label; send this one under an id of its own")
    said = _said(body)
    if _said(json.loads(row.body)) == said:
        return submission_id, row.id
    content = json.dumps(said, sort_keys=True, ensure_ascii=False)
    other_id = str(uuid.uuid5(uuid.UUID(submission_id), content))
    row = connection.execute(_KNOWN, {"submission": other_id}).one_or_none()
    return other_id, None if row is None else row.id


def _said(body: Body) -> Body:
    return {name: value for name, value in body.items() if name not in _CIRCUMSTANCES}


def _save(
    connection: Connection, assignment: AnyRow, body: Body, submission_id: str, at_ms: int
) -> int:
    """Insert the label and move the task's counts; the label's id."""
    older = connection.execute(_OLDER, {"assignment": assignment.id}).one_or_none()
    skipped = "skip" in body
    counted_before = older is not None and older.counted
    place = _place_of_skip(assignment, counted_before)
    if not skipped:
        place = _place_of_label(
            assignment, counted_before, lambda: retake(connection, assignment.task_id)
        )
    row = {
        "submission_id": submission_id,
        "task_id": assignment.task_id,
        "person_id": assignment.person_id,
        "assignment_id": assignment.id,
        "kind": assignment.kind,
        "skipped": skipped,
        "late": place.late,
        "counted": place.counted,
        "supersedes": None if older is None else older.id,
        "saved_ms": at_ms,
        "body": json.dumps(body, ensure_ascii=False),
    }
    label_id = connection.execute(_NEW, row).scalar_one()
    set_state(connection, assignment.id, "skipped" if skipped else "submitted")
    first_skip = skipped and assignment.state != "skipped"
    _count(connection, assignment.task_id, place, skips=int(first_skip))
    if first_skip:
        _quarantine(connection, assignment)
    events.remember_in(
        connection,
        "skip" if skipped else "label",
        by=assignment.person_id,
        task_id=assignment.task_id,
        details={"label": label_id, "late": place.late, "revision": older is not None},
        at_ms=at_ms,
    )
    return label_id


def _place_of_label(
    assignment: AnyRow, counted_before: bool, free_place: Callable[[], bool]
) -> _Place:
    """Where a label goes: into the place that is held, else into a free one, else beside."""
    if assignment.state == "live":
        return _Place(counted=True, late=False, taken=0, done=1)
    if assignment.state == "submitted" and counted_before:
        return _Place(counted=True, late=False, taken=0, done=0)
    late = assignment.state == "expired"
    counted = free_place()
    return _Place(counted=counted, late=late, taken=0, done=int(counted))


def _place_of_skip(assignment: AnyRow, counted_before: bool) -> _Place:
    """A skip gives back the place that is held, or that an earlier label had taken."""
    late = assignment.state == "expired"
    if assignment.state == "live":
        # A label before, and a live lease: not possible, a lease ends with the first label.
        return _Place(counted=False, late=False, taken=-1, done=0)
    given = int(assignment.state == "submitted" and counted_before)
    return _Place(counted=False, late=late, taken=-given, done=-given)


def _count(connection: Connection, task_id: int, place: _Place, *, skips: int) -> None:
    moves = {"places": place.taken, "labels": place.done, "skipped": skips}
    connection.execute(_COUNT, {"task": task_id, **moves})


def _quarantine(connection: Connection, assignment: AnyRow) -> None:
    """Put a task aside that too many have skipped."""
    task_id, limit = assignment.task_id, parsed_settings(assignment.rules).quarantine_skips
    enough = (tasks.c.id == task_id) & (tasks.c.skips >= limit) & (tasks.c.status == "open")
    done = connection.execute(update(tasks).where(enough).values(status="quarantined"))
    if done.rowcount:
        events.remember_in(connection, "quarantine", by=None, task_id=task_id)


def _check_kind(assignment: AnyRow, sheet: Sheet) -> None:
    fits = {"rank": RankingSheet, "demonstration": DemonstrationSheet}[assignment.kind]
    if not isinstance(sheet, fits | SkipSheet):
        raise UserError(f"task {assignment.task_id}: expected a {assignment.kind}; reload the page")


def _body(connection: Connection, assignment: AnyRow, sheet: Sheet) -> Body:
    """The sheet as it is stored: answers in the task's own order, copies of a text tied."""
    asked = assignment.question
    question = read_question(connection) if asked is None else parsed_question(asked)
    extra = {"note": sheet.note, "lead_time_ms": sheet.lead_time_ms}
    body: Body = {name: value for name, value in extra.items() if value is not None}
    body["question_version"] = question.version
    if isinstance(sheet, DemonstrationSheet):
        check_demonstration(sheet)
        return {"completion": sheet.completion, **body}
    order = json.loads(assignment.answer_order)
    if assignment.kind == "rank":
        body["order"] = order
    if isinstance(sheet, SkipSheet):
        check_skip(sheet, question)
        unjudged = {"judgements": [{} for _ in order]} if assignment.kind == "rank" else {}
        return {**body, **unjudged, "skip": sheet.reason}
    candidates = records.answers_of_one(connection, assignment.task_id)
    shown = shown_places(candidates, order)
    check_ranking(sheet, question, [letter(number) for number in range(len(shown))])
    if sheet.not_rankable:
        body["not_rankable"] = True
    return {**body, "judgements": _judgements(sheet, shown, len(candidates))}


def _judgements(sheet: RankingSheet, shown: list[list[int]], count: int) -> list[Body]:
    """What was said of each place of the task."""
    by_key = {judgement.key: judgement for judgement in sheet.judgements}
    judged = [by_key[letter(number)] for number in range(len(shown))]
    ranks: list[int | None] = [None] * len(judged)
    if not sheet.not_rankable:
        ranks = list(dense_ranks([judgement.rank or 1 for judgement in judged]))
    rows: list[Body] = [{} for _ in range(count)]
    for judgement, rank, places in zip(judged, ranks, shown, strict=True):
        row = {
            "rank": rank,
            "rating": judgement.rating,
            "flags": sorted(set(judgement.flags)) or None,
            "clicked": judgement.rank if judgement.rank != rank else None,
        }
        for place in places:
            rows[place] = {name: value for name, value in row.items() if value is not None}
    return rows


def _contradicting_letters(line: LabelLine) -> tuple[tuple[str, str], ...]:
    """Letters as the labeler saw them; copies of a text are one answer."""
    if line.completions is None or line.order is None:
        return ()
    shown: dict[str, tuple[int | None, int | None]] = {}
    for place in line.order:
        answer = line.completions[place]
        shown.setdefault(answer.text, (answer.rank, answer.rating))
    ranks, ratings = zip(*shown.values(), strict=True)
    return tuple((letter(i), letter(j)) for i, j in contradictions(ranks, ratings))
