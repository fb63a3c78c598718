"""After a crash, or a backup put back: what the journal lacks, and what the database lacks.

A mark in the database says up to where both were found to agree, so that a start reads only what
was added since. Why the database may lack what the journal has, and the other way round, is told in
`trivium.store.journal`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from pydantic import ValidationError
from sqlalchemy import Connection, func, select, text

from trivium.labels import LabelLine, default_question
from trivium.store import events, journal, records, settings
from trivium.store.database import Store, reading, writing
from trivium.store.schema import labels

_MARK = "journal"
_BATCH = 200


@dataclass(frozen=True, slots=True)
class Mark:
    """Up to where journal and database agree."""

    path: str
    offset: int
    label: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """What was put back."""

    lines: int = 0
    """Labels that the journal had lacked."""
    labels: int = 0
    """Labels that the database had lacked."""

    def __str__(self) -> str:
        lines, labels = self.lines, self.labels
        return f"put back {lines} labels in the journal and {labels} in the database"


def reconcile(store: Store, *, whole: bool = False) -> Mended:
    """Make the journal and the database hold the same labels, each once.

    Args:
        store: where.
        whole: read both from the beginning, not from where they were last found to agree.

    Raises:
        UserError: the disk is full.
    """
    with reading(store) as connection:
        fresh = settings.read_value(connection, "question") is None
        mark = _mark(connection, store)
        newest = _newest(connection)
    same = (mark.offset, mark.label) == (journal.size(store.journal), newest)
    if not fresh and same and not whole:
        return Mended()
    with writing(store) as connection:
        if connection.dialect.name == "postgresql":
            # Waits for writers under way: afterwards no label with a lower id can still turn up.
            connection.execute(text("LOCK TABLE labels IN SHARE ROW EXCLUSIVE MODE"))
        if settings.read_value(connection, "question") is None:
            settings.add_question(connection, default_question())
        beginning = Mark(path="", offset=0, label=0)
        return _agree(connection, store, beginning if whole else _mark(connection, store))


def _agree(connection: Connection, store: Store, mark: Mark) -> Mended:
    added = 0
    journaled, restored, end = _replay(connection, store, mark.offset)
    for batch in _batches(connection, mark.label):
        # Another process may have added some of them by now.
        meanwhile, end = _ids(store, end)
        journaled |= meanwhile
        missing = [line for line in batch if line.submission_id not in journaled]
        if missing:
            added += journal.append(store.journal, missing, since=end)
    if restored:
        details = {"labels": restored, "journal": str(store.journal)}
        events.remember_in(connection, "restored from the journal", by=None, details=details)
    new = [str(store.journal.absolute()), journal.size(store.journal), _newest(connection)]
    settings.write_value(connection, _MARK, json.dumps(new))
    return Mended(lines=added, labels=restored)


def _replay(connection: Connection, store: Store, offset: int) -> tuple[set[str], int, int]:
    """Ids in the journal from ``offset`` on, how many the database lacked, and where it ends.

    A line that can't be read is left to `trivium.store.maintenance.verify`, which reports it.
    """
    journaled: set[str] = set()
    restored, batch = 0, list[LabelLine]()
    for end, content in journal.scan(store.journal, start=offset):
        offset = end
        if (line := read_line(content)) is None:
            continue
        journaled.add(line.submission_id)
        batch.append(line)
        if len(batch) == _BATCH:
            restored += len(records.insert_lines(connection, batch))
            batch.clear()
    if batch:
        restored += len(records.insert_lines(connection, batch))
    return journaled, restored, offset


def read_line(content: bytes) -> LabelLine | None:
    """A line of the journal; None if it isn't one."""
    try:
        return LabelLine.model_validate_json(content)
    except ValidationError:
        return None


def _ids(store: Store, offset: int) -> tuple[set[str], int]:
    """Ids in the journal from ``offset`` on, and where it ends."""
    found: set[str] = set()
    for end, content in journal.scan(store.journal, start=offset):
        offset = end
        if (line := read_line(content)) is not None:
            found.add(line.submission_id)
    return found, offset


def _batches(connection: Connection, after: int) -> Iterator[list[LabelLine]]:
    """Labels newer than ``after``, a few hundred at a time."""
    lines = (line for _, line in records.lines_of(connection, after=after))
    while batch := list(islice(lines, _BATCH)):
        yield batch


def _mark(connection: Connection, store: Store) -> Mark:
    """The stored mark; the very beginning where it doesn't fit the journal that is there."""
    path = str(store.journal.absolute())
    nothing = Mark(path=path, offset=0, label=0)
    value = settings.read_value(connection, _MARK)
    if value is None:
        return nothing
    mark = Mark(*json.loads(value))
    fits = mark.path == path and _ends_a_line(store, mark.offset)
    return mark if fits else nothing


def _ends_a_line(store: Store, offset: int) -> bool:
    if offset == 0:
        return True
    if journal.size(store.journal) < offset:
        return False
    with store.journal.open("rb") as file:
        file.seek(offset - 1)
        return file.read(1) == b"\n"


def _newest(connection: Connection) -> int:
    return connection.execute(select(func.max(labels.c.id))).scalar() or 0
