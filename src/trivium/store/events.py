"""The record of what was done: rows are added and never changed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, case, func, insert, select

from trivium.store import clock
from trivium.store.database import Store, reading, writing
from trivium.store.schema import events, people

_NEW = insert(events)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that was done."""

    id: int
    at_ms: int
    person: str | None
    """Login name, or the exports' name, of who did it; None: the program itself."""
    action: str
    task_id: int | None
    details: Mapping[str, object]


def remember(
    store: Store,
    action: str,
    *,
    by: int | None,
    task_id: int | None = None,
    details: Mapping[str, object] | None = None,
) -> None:
    """Add an event."""
    with writing(store) as connection:
        remember_in(connection, action, by=by, task_id=task_id, details=details)


def remember_in(
    connection: Connection,
    action: str,
    *,
    by: int | None,
    task_id: int | None = None,
    details: Mapping[str, object] | None = None,
    at_ms: int | None = None,
) -> None:
    """Add an event within a transaction: it is kept if the rest is."""
    row = {
        "at_ms": clock.now(at_ms),
        "person_id": by,
        "action": action,
        "task_id": task_id,
        "details": json.dumps(details or {}, ensure_ascii=False),
    }
    connection.execute(_NEW, row)


def flagged_tasks() -> Select[tuple[int]]:
    """Ids of the tasks that somebody told the admins of since one was settled, each once."""
    return (
        select(events.c.task_id)
        .where(events.c.action.in_(("flag", "settle")), events.c.task_id.is_not(None))
        .group_by(events.c.task_id)
        .having(_newest("flag") > _newest("settle"))
    )


def _newest(action: str) -> ColumnElement[int]:
    return func.max(case((events.c.action == action, events.c.id), else_=0))


def count_flagged(connection: Connection) -> int:
    """How many tasks `flagged_tasks` finds."""
    ids = flagged_tasks().subquery()
    return connection.execute(select(func.count()).select_from(ids)).scalar_one()


def list_events(
    store: Store,
    *,
    limit: int = 100,
    before: int | None = None,
    task_id: int | None = None,
    action: str | None = None,
) -> list[Event]:
    """The newest events, or those before the one with this id; of one task, of one kind."""
    rows = (
        select(events, people.c.name, people.c.alias)
        .select_from(events.outerjoin(people, people.c.id == events.c.person_id))
        .order_by(events.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        rows = rows.where(events.c.id < before)
    if task_id is not None:
        rows = rows.where(events.c.task_id == task_id)
    if action is not None:
        rows = rows.where(events.c.action == action)
    with reading(store) as connection:
        return [
            Event(
                id=row.id,
                at_ms=row.at_ms,
                person=row.name or row.alias,
                action=row.action,
                task_id=row.task_id,
                details=json.loads(row.details),
            )
            for row in connection.execute(rows)
        ]
