"""Who works at what: a task is leased to one person for half an hour, and comes back by itself.

    need    how many people are to label the task
    taken   how many have, or are at it: live leases and counted labels; never more than `need`
    done    how many have

A person gets a task once: one row of `assignments` for each task and person, which holds the order
in which they see the answers. A lease that ran out keeps its row and its draft, so that whoever
comes back finds both, if the task still needs somebody.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    exists,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from trivium.errors import UserError
from trivium.labels.sheet import merge_identical
from trivium.store import clock
from trivium.store.adding import KINDS, Kind
from trivium.store.database import Store, reading, writing
from trivium.store.desk import Assignment, done_today, load_assignment
from trivium.store.schema import (
    OPEN,
    AnyRow,
    answers,
    assignments,
    drafts,
    people,
    questions,
    tasks,
)
from trivium.store.settings import QUESTION, RULES, Settings, parsed_settings

MOST_DRAFT = 1_000_000
_SWEPT_AT_ONCE = 500
_DICE = random.SystemRandom()
_PERSON = bindparam("person")
_HAD = exists().where(
    assignments.c.task_id == tasks.c.id,
    assignments.c.person_id == _PERSON,
    assignments.c.state != "expired",
)
_WROTE = exists().where(answers.c.task_id == tasks.c.id, answers.c.person_id == _PERSON)
_EXPIRED = (
    select(assignments.c.id)
    .where(assignments.c.task_id == tasks.c.id, assignments.c.person_id == _PERSON)
    .scalar_subquery()
)
_NEXT = (
    select(tasks.c.id, _EXPIRED.label("mine"))
    .where(tasks.c.kind == bindparam("kind"), text(OPEN), ~_HAD, ~_WROTE)
    .order_by(tasks.c.priority, tasks.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
"""The first task that needs this person: none they have had, none with an answer of theirs; and
their assignment of it, if one ran out."""
_TAKE = update(tasks).where(tasks.c.id == bindparam("task")).values(taken=tasks.c.taken + 1)
_RETAKE = _TAKE.where(tasks.c.status == "open", tasks.c.taken < tasks.c.need)
_RELEASE = update(tasks).where(tasks.c.id == bindparam("task")).values(taken=tasks.c.taken - 1)
_LIVE_LEASE = (
    select(assignments.c.id, tasks.c.kind)
    .join(tasks, tasks.c.id == assignments.c.task_id)
    .where(assignments.c.person_id == _PERSON, text("state = 'live'"))
    .order_by(assignments.c.id)
)
_OVERDUE = and_(text("state = 'live'"), assignments.c.expires_ms < bindparam("at_ms"))
_SOME_OVERDUE = (
    select(assignments.c.id, assignments.c.task_id)
    .where(_OVERDUE)
    .order_by(assignments.c.id)
    .limit(_SWEPT_AT_ONCE)
    .with_for_update(skip_locked=True)
)
_ANY_OVERDUE = exists().where(_OVERDUE)
_DESK = (
    select(people, RULES.label("rules"), QUESTION.label("question"), _ANY_OVERDUE.label("overdue"))
    .where(people.c.id == _PERSON)
    .with_for_update(of=people)
)
"""A person with all that decides what they get, held: two requests of one person take turns."""
_KIND = select(tasks.c.kind).where(tasks.c.id == assignments.c.task_id).scalar_subquery()
_ASKED = (
    select(questions.c.body)
    .where(questions.c.version == assignments.c.question_version)
    .scalar_subquery()
)
_LOCKED = (
    select(
        assignments,
        _KIND.label("kind"),
        _ASKED.label("question"),
        RULES.label("rules"),
    )
    .where(assignments.c.id == bindparam("assignment"), assignments.c.person_id == _PERSON)
    .with_for_update(of=assignments)
)
_TEXTS = (
    select(answers.c.text).where(answers.c.task_id == bindparam("task")).order_by(answers.c.place)
)
_THIS = assignments.c.id == bindparam("assignment")
_RENEW = update(assignments).where(_THIS).values(state="live", expires_ms=bindparam("until_ms"))
_SET_STATE = update(assignments).where(_THIS).values(state=bindparam("now"))
_LEASE = insert(assignments).returning(assignments.c.id)


def _draft(insert_of: Callable[..., Any]) -> Any:
    """A draft in place of an older one; no row where a later one is there already."""
    new = insert_of(drafts)
    columns = {name: new.excluded[name] for name in ("body", "sequence", "saved_ms")}
    older = drafts.c.sequence <= new.excluded.sequence
    kept = new.on_conflict_do_update(index_elements=["assignment_id"], set_=columns, where=older)
    return kept.returning(drafts.c.sequence)


_DRAFT = {"sqlite": _draft(sqlite.insert), "postgresql": _draft(postgresql.insert)}


@dataclass(frozen=True, slots=True, kw_only=True)
class NoTask:
    """Nothing to do, and why."""

    reason: Literal["empty", "daily_cap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftSaved:
    """What became of a draft."""

    saved_ms: int
    expires_ms: int
    live: bool
    kept: bool
    """False: a later draft, by its sequence, was there already."""


def lease_next(
    store: Store, person_id: int, *, kind: Kind | None = None, now_ms: int | None = None
) -> Assignment | NoTask:
    """The task to work at: the one leased already, else the next that needs somebody.

    Args:
        store: where.
        person_id: who.
        kind: which kind only; None: any, as often as the rules' weights say.
        now_ms: the time.

    Raises:
        UserError: the disk is full or the database stays busy.
    """
    at_ms = clock.now(now_ms)
    found = lease_id(store, person_id, kind=kind, now_ms=at_ms)
    if isinstance(found, NoTask):
        return found
    assignment = find_assignment(store, person_id, found, now_ms=at_ms)
    assert assignment is not None
    return assignment


def lease_id(
    store: Store, person_id: int, *, kind: Kind | None = None, now_ms: int | None = None
) -> int | NoTask:
    """`lease_next`, without reading what is on the desk: the assignment's id alone."""
    at_ms = clock.now(now_ms)
    with writing(store) as connection:
        person = _lock_person(connection, person_id, at_ms)
        rules = parsed_settings(person.rules)
        if person.overdue:
            _sweep(connection, at_ms)
        if (mine := _live_lease(connection, person_id, kind)) is not None:
            _renew(connection, mine, rules, at_ms)
            return mine
        if _reached_cap(connection, person, rules, at_ms):
            return NoTask(reason="daily_cap")
        wanted: list[Kind] = _kinds_in_turn(rules) if kind is None else [kind]
        leased = (_lease(connection, person, k, rules, at_ms) for k in wanted)
        found = next((lease for lease in leased if lease is not None), None)
    return NoTask(reason="empty") if found is None else found


def find_assignment(
    store: Store, person_id: int, assignment_id: int, *, now_ms: int | None = None
) -> Assignment | None:
    """One's own assignment, whatever has become of it; None if there is no such one."""
    with reading(store) as connection:
        return load_assignment(connection, person_id, assignment_id, clock.now(now_ms))


def save_draft(
    store: Store,
    person_id: int,
    assignment_id: int,
    body: Mapping[str, Any],
    *,
    sequence: int,
    now_ms: int | None = None,
) -> DraftSaved | None:
    """Keep what was typed so far, and the lease with it; None if there is no such assignment.

    A lease that ran out is taken up again if the task still needs somebody. The draft is kept
    either way.

    Args:
        store: where.
        person_id: who.
        assignment_id: on which of their assignments.
        body: any JSON object.
        sequence: grows with each draft; a draft that arrives after a later one is not kept.
        now_ms: the time.

    Raises:
        UserError: the draft is larger than a megabyte, or the disk is full.
    """
    at_ms = clock.now(now_ms)
    content = json.dumps(body, ensure_ascii=False)
    if len(content) > MOST_DRAFT:
        raise UserError(f"draft: expected at most {MOST_DRAFT} characters, got {len(content)}")
    with writing(store) as connection:
        row = lock_assignment(connection, person_id, assignment_id)
        if row is None:
            return None
        live = row.state == "live" or (row.state == "expired" and retake(connection, row.task_id))
        expires_ms = row.expires_ms
        if live:
            expires_ms = _renew(connection, assignment_id, parsed_settings(row.rules), at_ms)
        written = {"body": content, "sequence": sequence, "saved_ms": at_ms}
        draft = {"assignment_id": assignment_id, **written}
        kept = connection.execute(_DRAFT[connection.dialect.name], draft).first() is not None
    return DraftSaved(saved_ms=at_ms, expires_ms=expires_ms, live=live, kept=kept)


def give_back(store: Store, person_id: int, assignment_id: int) -> bool:
    """Return a task undone; the draft stays. False if there was no live lease."""
    with writing(store) as connection:
        row = lock_assignment(connection, person_id, assignment_id)
        if row is None or row.state != "live":
            return False
        set_state(connection, assignment_id, "expired")
        _release(connection, [row.task_id])
        return True


def give_back_all(connection: Connection, person_id: int) -> None:
    """Return everything that somebody has on their desk, within a transaction."""
    mine = (assignments.c.person_id == person_id) & text("state = 'live'")
    done = update(assignments).where(mine).values(state="expired").returning(assignments.c.task_id)
    _release(connection, list(connection.execute(done).scalars()))


def sweep(store: Store, *, now_ms: int | None = None) -> int:
    """Take back the leases that have run out; how many there were."""
    with writing(store) as connection:
        return _sweep(connection, clock.now(now_ms))


def lock_assignment(connection: Connection, person_id: int, assignment_id: int) -> AnyRow | None:
    """One's own row of `assignments`, held until the transaction ends.

    Besides its columns: `kind` of its task, `question` if it has one, and the `rules`. Nothing that
    others may change: while PostgreSQL waits for the row, the rest of the query grows old.
    """
    mine = {"assignment": assignment_id, "person": person_id}
    return connection.execute(_LOCKED, mine).one_or_none()


def set_state(connection: Connection, assignment_id: int, state: str) -> None:
    """Write the state of an assignment."""
    connection.execute(_SET_STATE, {"assignment": assignment_id, "now": state})


def retake(connection: Connection, task_id: int) -> bool:
    """Take a place of a task, if it has one left; whether it had."""
    return connection.execute(_RETAKE, {"task": task_id}).rowcount == 1


def _sweep(connection: Connection, at_ms: int) -> int:
    """`sweep` within a transaction. Nobody waits in a circle: of several that sweep at once each
    skips what another holds, and places are given back in the order of the tasks.
    """
    found = connection.execute(_SOME_OVERDUE, {"at_ms": at_ms}).all()
    ids = [row.id for row in found]
    connection.execute(update(assignments).where(assignments.c.id.in_(ids)).values(state="expired"))
    _release(connection, [row.task_id for row in found])
    return len(found)


def _lock_person(connection: Connection, person_id: int, at_ms: int) -> AnyRow:
    """A row of `_DESK`."""
    person = connection.execute(_DESK, {"person": person_id, "at_ms": at_ms}).one_or_none()
    if person is None or not person.active:
        raise UserError(f"person {person_id}: not active any more; ask the admin")
    return person


def _live_lease(connection: Connection, person_id: int, kind: Kind | None) -> int | None:
    rows = connection.execute(_LIVE_LEASE, {"person": person_id}).all()
    return next((row.id for row in rows if kind in (None, row.kind)), None)


def _reached_cap(connection: Connection, person: AnyRow, rules: Settings, at_ms: int) -> bool:
    cap = rules.daily_cap if person.daily_cap is None else person.daily_cap
    return cap is not None and done_today(connection, person.id, at_ms) >= cap


def _kinds_in_turn(rules: Settings) -> list[Kind]:
    """Both kinds, the first one drawn by the rules' weights; a weight of 0 leaves a kind out."""
    weights: dict[Kind, int] = {
        "rank": rules.rank_weight,
        "demonstration": rules.demonstration_weight,
    }
    wanted: list[Kind] = [kind for kind in KINDS if weights[kind]]
    if not wanted:
        return []
    first = _DICE.choices(wanted, [weights[kind] for kind in wanted])[0]
    return [first, *(kind for kind in wanted if kind != first)]


def _lease(
    connection: Connection, person: AnyRow, kind: Kind, rules: Settings, at_ms: int
) -> int | None:
    """Take a place of the first task that needs this person; its assignment's id."""
    task = connection.execute(_NEXT, {"kind": kind, "person": person.id}).one_or_none()
    if task is None:
        return None
    connection.execute(_TAKE, {"task": task.id})
    if task.mine is not None:
        _renew(connection, task.mine, rules, at_ms)
        return task.mine
    row = {
        "task_id": task.id,
        "person_id": person.id,
        "state": "live",
        "answer_order": json.dumps(_random_order(connection, task.id)),
        "question_version": person.question,
        "leased_ms": at_ms,
        "expires_ms": at_ms + rules.lease_minutes * clock.MINUTE,
    }
    return connection.execute(_LEASE, row).scalar_one()


def _random_order(connection: Connection, task_id: int) -> list[int]:
    """Places of the answers, shuffled; copies of a text stay together."""
    groups = merge_identical(list(connection.execute(_TEXTS, {"task": task_id}).scalars()))
    _DICE.shuffle(groups)
    return [place for group in groups for place in group]


def _renew(connection: Connection, assignment_id: int, rules: Settings, at_ms: int) -> int:
    expires_ms = at_ms + rules.lease_minutes * clock.MINUTE
    connection.execute(_RENEW, {"assignment": assignment_id, "until_ms": expires_ms})
    return expires_ms


def _release(connection: Connection, task_ids: Sequence[int]) -> None:
    for task_id in sorted(task_ids):  # in one order everywhere: nobody waits in a circle
        connection.execute(_RELEASE, {"task": task_id})
