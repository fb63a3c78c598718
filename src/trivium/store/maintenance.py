"""Holding the journal against the database, and copying the database while it is in use."""

import hashlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from trivium.errors import UserError
from trivium.store import journal, records
from trivium.store.database import Store, reading
from trivium.store.files import explained
from trivium.store.reconcile import read_line


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What journal and database say of each other. Lists hold submission ids."""

    labels: int
    """Labels in the database."""
    lines: int
    """Whole lines in the journal."""
    missing_in_journal: tuple[str, ...]
    missing_in_database: tuple[str, ...]
    different: tuple[str, ...]
    """In both, and not the same."""
    repeated: tuple[str, ...]
    """More than once in the journal."""
    unreadable: tuple[int, ...]
    """Numbers of journal lines that are no label lines."""
    torn: bool
    """The journal ends in the middle of a line, which was never acknowledged."""

    @property
    def good(self) -> bool:
        """Whether both hold the same labels, each once."""
        apart = (self.missing_in_journal, self.missing_in_database, self.different)
        return not any((*apart, self.repeated, self.unreadable))


def verify(store: Store) -> VerifyReport:
    """Read both from beginning to end and compare every label, byte by byte.

    Labels that are handed in meanwhile don't matter: the database is read at one moment, and what
    the journal gets after that is left out.
    """
    stored: dict[str, bytes] = {}
    with reading(store) as connection:
        for _, line in records.lines_of(connection):
            stored[line.submission_id] = _digest(journal.encode(line))
        end = journal.size(store.journal)
    found: dict[str, bytes] = {}
    repeated: list[str] = []
    unreadable: list[int] = []
    number = position = 0
    for number, (position, content) in enumerate(journal.scan(store.journal), start=1):
        line = read_line(content)
        if line is None:
            unreadable.append(number)
        elif line.submission_id in found:
            repeated.append(line.submission_id)
        elif position <= end or line.submission_id in stored:
            found[line.submission_id] = _digest(content)
    late = [name for name in stored if name not in found]
    return VerifyReport(
        labels=len(stored),
        lines=number,
        missing_in_journal=tuple(late),
        missing_in_database=tuple(name for name in found if name not in stored),
        different=tuple(n for n, digest in found.items() if n in stored and stored[n] != digest),
        repeated=tuple(repeated),
        unreadable=tuple(unreadable),
        torn=position < journal.size(store.journal),
    )


def backup(store: Store, target: Path) -> None:
    """Copy an SQLite database as it is at one moment, while others go on working.

    Raises:
        UserError: the store is PostgreSQL, which has pg_dump; or the target is there already, or
            can't be written.
    """
    if store.engine.dialect.name != "sqlite":
        raise UserError(f"{store.url}: expected an SQLite store; use pg_dump for PostgreSQL")
    if target.exists():
        raise UserError(f"{target}: is there already; give a new name")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _copy(store, temporary)
            os.link(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


def _copy(store: Store, target: Path) -> None:
    source = store.engine.url.database
    assert source is not None
    try:
        there, here = sqlite3.connect(source), sqlite3.connect(target)
        try:
            there.backup(here, pages=1000)
            here.execute("PRAGMA journal_mode=DELETE")  # one file, without -wal and -shm
        finally:
            here.close()
            there.close()
    except sqlite3.Error as error:
        raise UserError(f"{target}: the copy failed: {error}; make room or try again") from error


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
