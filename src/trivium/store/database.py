"""Opening a store, and the two ways of using it: reading and writing.

SQLite runs in WAL mode with synchronous=FULL, so that a commit is on the disk when it returns.
Writers start with BEGIN IMMEDIATE: a transaction that reads first and writes later would be refused
at once when another one wrote in between, whatever the timeout. Within one process they queue at a
lock, which wakes the next one at once, where SQLite would have it sleep and look again.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, OperationalError

from trivium.errors import UserError, install

BUSY_MS = 10_000
WRITES = {"trivium_writes": True}
NO_ROOM = "there is no room on the disk"
BUSY = "another program keeps the database busy"
AGAIN = "nothing was changed, try again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """An open store."""

    engine: Engine
    """Connections for reading."""

    writer: Engine
    """The same connections, whose transactions take the write lock at once."""

    gate: AbstractContextManager[Any]
    """Where writers of this process queue (SQLite)."""

    journal: Path
    """One line of JSON for each label."""

    url: str
    """What it was opened with, passwords hidden."""


def open_store(
    url: str = "sqlite:///labels.db",
    *,
    journal: Path | None = None,
    create: bool = True,
    mend: bool = True,
) -> Store:
    """Open a store: make it if it isn't there, bring its tables up to date, mend what a crash left.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.
        journal: where the journal lies; None: beside the SQLite file, under its name with
            .journal.jsonl; for PostgreSQL under the database's name in the working directory.
        create: make the file, or the tables, if they aren't there.
        mend: make journal and database agree; False for who only reads, and maybe doesn't know
            where the journal lies.

    Raises:
        UserError: the URL or the file isn't one of a store, or it can't be written, or it isn't
            there and isn't to be made.
    """
    from trivium.store import reconcile, upgrade

    parsed = _parsed(url)
    is_file = parsed.get_backend_name() == "sqlite"
    if is_file and not create and not Path(parsed.database or "").is_file():
        raise UserError(f"{url}: not found; give --db, or make it with `trivium label serve`")
    store = _connected(parsed, _journal_path(parsed) if journal is None else journal)
    with explained(store):
        upgrade.upgrade(store, create=create)
        if is_file:
            _use_wal(store)
    if mend:
        reconcile.reconcile(store)
    return store


def files_of(store: Store) -> list[Path]:
    """The files that it consists of on this machine, whether or not they are there just now."""
    own = [store.journal]
    if store.engine.dialect.name == "sqlite":
        name = Path(store.engine.url.database or "")
        own += [name.with_name(name.name + end) for end in ("", "-wal", "-shm", "-journal")]
    return own


def close_store(store: Store) -> None:
    """Close all connections."""
    store.engine.dispose()


@contextmanager
def reading(store: Store) -> Iterator[Connection]:
    """A connection that sees one moment of the database."""
    with explained(store), store.engine.begin() as connection:
        yield connection


@contextmanager
def writing(store: Store) -> Iterator[Connection]:
    """A transaction that may write; committed, to the disk, at the end of the block.

    Raises:
        UserError: the disk is full or the database stays busy; nothing of the block is kept.
    """
    with explained(store), store.gate, store.writer.begin() as connection:
        yield connection


@contextmanager
def explained(store: Store) -> Iterator[None]:
    """Turn what the user can mend into a UserError; let bugs through."""
    try:
        yield
    except DBAPIError as error:
        if (reason := _reason(error)) is None:
            raise
        raise UserError(f"{store.url}: {reason}") from error


def is_no_room(error: UserError) -> bool:
    """Whether the disk was full."""
    return NO_ROOM in str(error)


def is_busy(error: UserError) -> bool:
    """Whether the database was locked for too long."""
    return BUSY in str(error)


def _reason(error: DBAPIError) -> str | None:
    """What is wrong and what to do, in words, if a person can mend it."""
    cause = cast(Any, error.orig)
    name = str(getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or "")
    if name in ("SQLITE_FULL", "53100") or name.startswith("SQLITE_IOERR"):
        return f"{NO_ROOM}; {AGAIN}"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or name in ("40P01", "55P03"):
        return f"{BUSY}; {AGAIN}"
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return f"can't be used as a database: {cause}; check the file, or give --db another"
    if isinstance(error, DataError):
        return f"the text can't be stored: {_line(cause)}; nothing was changed"
    if isinstance(error, OperationalError) and not name.startswith("SQLITE"):
        return f"the database can't be reached: {_line(cause)}; {AGAIN}"
    return None


def _line(cause: object) -> str:
    return " ".join(str(cause).split())


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UserError(f"{url}: expected a URL such as sqlite:///labels.db") from None
    match parsed.get_backend_name():
        case "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise UserError(f"{url}: expected a file, as in sqlite:///labels.db")
            if parsed.query:
                raise UserError(f"{url}: expected nothing after the file's name; leave ?... out")
            if not Path(parsed.database).absolute().parent.is_dir():
                folder = Path(parsed.database).absolute().parent
                raise UserError(f"{url}: the folder {folder} isn't there; make it first")
            return parsed.set(drivername="sqlite+pysqlite")
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise UserError(f"{url}: expected sqlite or postgresql, got {other}")


def _journal_path(url: URL) -> Path:
    name = Path(url.database or "labels")
    file = name if url.get_backend_name() == "sqlite" else Path(name.name)
    return file.with_suffix(".journal.jsonl")


def _connected(url: URL, journal: Path) -> Store:
    shown = url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)
    if url.get_backend_name() == "postgresql":
        try:
            engine = create_engine(url, pool_size=20, max_overflow=30, pool_pre_ping=True)
        except ModuleNotFoundError:
            raise UserError(
                f"{shown}: psycopg isn't installed; {install('label,postgres')}"
            ) from None
        return Store(engine=engine, writer=engine, gate=nullcontext(), journal=journal, url=shown)
    engine = create_engine(url, pool_size=20, max_overflow=30)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    writer = engine.execution_options(**WRITES)
    return Store(engine=engine, writer=writer, gate=threading.Lock(), journal=journal, url=shown)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # `_begin_sqlite` begins, not the driver
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")  # first: the others may have to wait
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _use_wal(store: Store) -> None:
    """Turn the write-ahead log on; the file remembers it. Only in a file that is known to be ours:
    another program's is left as it was.
    """
    with closing(store.engine.raw_connection()) as connection:
        connection.cursor().execute("PRAGMA journal_mode=WAL").close()


def _begin_sqlite(connection: Connection) -> None:
    writes = "trivium_writes" in connection.get_execution_options()
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
