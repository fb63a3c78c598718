"""The queue as admins see it: what waits, what is done, what was put aside; and changes to it."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select, text, update

from trivium.errors import UserError
from trivium.labels import LabelLine, Message
from trivium.store import events, records
from trivium.store.adding import Kind, NewAnswer, add_task, drawn_need, load_messages
from trivium.store.database import Store, reading, writing
from trivium.store.schema import AnyRow, assignments, labels, prompts, tasks
from trivium.store.settings import read_settings

Status = Literal["open", "done", "quarantined", "closed"]
EVERYBODY = 1_000_000
"""How many people a screening task needs: there is always a place left."""
_EXCERPT = 120
_GONE = "task {}: not found; look at the queue"
_DONE = and_(tasks.c.status == "open", tasks.c.done >= tasks.c.need)
_STATUS = case((_DONE, "done"), else_=tasks.c.status).label("shown_status")

__all__ = [
    "Kind",
    "NewAnswer",
    "QueueCounts",
    "Status",
    "TaskDetail",
    "TaskRow",
    "add_task",
    "excerpts",
    "find_task",
    "list_tasks",
    "queue_counts",
    "set_need",
    "set_priority",
    "set_screening",
    "set_status",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """A task in a list."""

    id: int
    kind: Kind
    key: str
    """Id of its prompt."""
    status: Status
    need: int
    taken: int
    done: int
    skips: int
    priority: int
    screening: bool
    excerpt: str
    created_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDetail:
    """A task with all that is known of it."""

    row: TaskRow
    prompt: tuple[Message, ...]
    answers: tuple[NewAnswer, ...]
    screening: tuple[int, ...] | None
    """The known ranks, in the order of the answers."""
    labels: tuple[LabelLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounts:
    """How the work stands, in tasks; `waiting` and `live` in places."""

    open: int
    waiting: int
    live: int
    done: int
    quarantined: int
    closed: int
    flagged: int
    """Whatever their state; those that an admin settled are not."""
    by_kind: dict[str, int]


def list_tasks(
    store: Store,
    *,
    status: Status | None = None,
    kind: Kind | None = None,
    flagged: bool = False,
    after: int = 0,
    limit: int = 50,
) -> list[TaskRow]:
    """Tasks by their ids, from the one after ``after``."""
    rows = _rows().where(tasks.c.id > after).limit(limit)
    if kind is not None:
        rows = rows.where(tasks.c.kind == kind)
    if status is not None:
        rows = rows.where(_is(status))
    if flagged:
        rows = rows.where(tasks.c.id.in_(events.flagged_tasks()))
    with reading(store) as connection:
        return [_task_row(row) for row in connection.execute(rows)]


def find_task(store: Store, task_id: int) -> TaskDetail | None:
    """One task with its answers and labels."""
    with reading(store) as connection:
        row = connection.execute(_rows().where(tasks.c.id == task_id)).one_or_none()
        if row is None:
            return None
        lines = records.lines_of(connection, labels.c.task_id == task_id)
        answers = records.answers_of_one(connection, task_id)
        return TaskDetail(
            row=_task_row(row),
            prompt=tuple(load_messages(row.messages)),
            answers=tuple(NewAnswer(a.text, a.key, a.model) for a in answers),
            screening=None if row.screening is None else tuple(json.loads(row.screening)),
            labels=tuple(line for _, line in lines),
        )


def excerpts(store: Store, ids: Collection[int]) -> dict[int, str]:
    """How the prompts of these tasks begin."""
    rows = _rows().where(tasks.c.id.in_(ids))
    with reading(store) as connection:
        return {row.id: _excerpt(row.messages) for row in connection.execute(rows)}


def set_status(store: Store, task_id: int, status: Literal["open", "closed"], *, by: int) -> None:
    """Offer a task to labelers, or don't; opening one that was put aside forgets its skips.

    Raises:
        UserError: there is no such task.
    """
    values: dict[str, int | str | None] = {"status": status}
    if status == "open":
        values["skips"] = 0
    with writing(store) as connection:
        _change(connection, task_id, values, by)


def settle(store: Store, task_id: int, *, by: int) -> None:
    """What labelers told of a task is dealt with: it is not flagged, until somebody tells again.

    Raises:
        UserError: there is no such task.
    """
    with writing(store) as connection:
        if connection.execute(select(tasks.c.id).where(tasks.c.id == task_id)).scalar() is None:
            raise UserError(_GONE.format(task_id))
        events.remember_in(connection, "settle", by=by, task_id=task_id)


def set_need(store: Store, task_id: int, need: int, *, by: int) -> None:
    """Set how many people are to label a task; not fewer than have or are at it.

    Raises:
        UserError: there is no such task, or so many have labeled it.
    """
    with writing(store) as connection:
        wanted = select(tasks.c.taken).where(tasks.c.id == task_id).with_for_update()
        taken = connection.execute(wanted).scalar()
        if taken is not None and need < max(taken, 1):
            raise UserError(
                f"need: expected {max(taken, 1)} or more, so many are at it; got {need}"
            )
        _change(connection, task_id, {"need": need}, by)


def set_priority(store: Store, task_id: int, priority: int, *, by: int) -> None:
    """Set when a task comes: lower numbers first.

    Raises:
        UserError: there is no such task.
    """
    with writing(store) as connection:
        _change(connection, task_id, {"priority": priority}, by)


def set_screening(
    store: Store, task_id: int, ranks: Sequence[int] | None, *, by: int | None
) -> None:
    """Make a task one with a known answer, which everybody gets first; None: make it ordinary.

    Args:
        store: where.
        task_id: a ranking task.
        ranks: the right ones, in the order of `TaskDetail.answers`; ties allowed.
        by: who says so.

    Raises:
        UserError: there is no such task, or it has another number of answers.
    """
    with writing(store) as connection:
        count = len(records.answers_of_one(connection, task_id))
        if ranks is not None and (len(ranks) != count or min(ranks, default=0) < 1):
            raise UserError(f"screening: expected {count} ranks from 1, got {list(ranks)}")
        row = connection.execute(select(tasks).where(tasks.c.id == task_id)).one_or_none()
        values: dict[str, int | str | None] = {
            "screening": json.dumps(list(ranks or ())),
            "need": EVERYBODY,
            "priority": -1,
        }
        if ranks is None and row is not None:
            if row.screening is None:
                return
            need = drawn_need(row.digest, read_settings(connection))
            values = {"screening": None, "need": max(row.taken, need), "priority": 0}
        _change(connection, task_id, values, by)


def queue_counts(store: Store) -> QueueCounts:
    """How the work stands. Screening tasks, which are never done, count as open and don't wait."""
    free = case((tasks.c.screening.is_(None), tasks.c.need - tasks.c.taken), else_=0)
    counted = (
        select(_STATUS, tasks.c.kind, func.count().label("tasks"), func.sum(free).label("free"))
        .group_by(_STATUS, tasks.c.kind)
        .order_by(tasks.c.kind)
    )
    live = select(func.count()).select_from(assignments).where(text("state = 'live'"))
    with reading(store) as connection:
        rows = connection.execute(counted).all()
        num_live = connection.execute(live).scalar_one()
        num_flagged = events.count_flagged(connection)
    of_status = {
        status: sum(row.tasks for row in rows if row.shown_status == status)
        for status in ("open", "done", "quarantined", "closed")
    }
    kinds = {row.kind for row in rows}
    return QueueCounts(
        open=of_status["open"],
        waiting=int(sum(row.free for row in rows if row.shown_status == "open")),
        live=num_live,
        done=of_status["done"],
        quarantined=of_status["quarantined"],
        closed=of_status["closed"],
        flagged=num_flagged,
        by_kind={k: sum(row.tasks for row in rows if row.kind == k) for k in sorted(kinds)},
    )


def _rows() -> "AnyRow":
    return (
        select(tasks, prompts.c.key, prompts.c.messages, _STATUS)
        .join(prompts, prompts.c.id == tasks.c.prompt_id)
        .order_by(tasks.c.id)
    )


def _is(status: Status) -> ColumnElement[bool]:
    match status:
        case "done":
            return _DONE
        case "open":
            return and_(tasks.c.status == "open", or_(tasks.c.done < tasks.c.need))
        case _:
            return tasks.c.status == status


def _task_row(row: AnyRow) -> TaskRow:
    return TaskRow(
        id=row.id,
        kind=row.kind,
        key=row.key,
        status=row.shown_status,
        need=row.need,
        taken=row.taken,
        done=row.done,
        skips=row.skips,
        priority=row.priority,
        screening=row.screening is not None,
        excerpt=_excerpt(row.messages),
        created_ms=row.created_ms,
    )


def _excerpt(messages: str) -> str:
    said = " ".join(load_messages(messages)[-1].content.split())
    return said if len(said) <= _EXCERPT else said[: _EXCERPT - 1] + "…"


def _change(
    connection: Connection, task_id: int, values: dict[str, int | str | None], by: int | None
) -> None:
    done = connection.execute(update(tasks).where(tasks.c.id == task_id).values(values))
    if done.rowcount == 0:
        raise UserError(_GONE.format(task_id))
    events.remember_in(connection, "task", by=by, task_id=task_id, details=values)
