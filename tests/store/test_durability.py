"""Nothing that was acknowledged is ever lost: kill -9, torn writes, lost files, a full disk."""

import json
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from trivium.errors import UserError
from trivium.store import journal, maintenance
from trivium.store.database import close_store, is_no_room, open_store, reading
from trivium.store.reconcile import read_line
from trivium.store.schema import labels

WRITER = Path(__file__).with_name("writer.py")
ON_SQLITE = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


def ids_in_database(store):
    with reading(store) as connection:
        rows = connection.execute(labels.select().order_by(labels.c.id))
        return list(rows.scalars("submission_id"))


def ids_in_journal(path):
    return [json.loads(line)["submission_id"] for line in path.read_bytes().splitlines()]


def label_some(bench, count):
    for _ in range(count):
        person = bench.person()
        bench.task()
        bench.rank(person, bench.lease(person))


def url_of(store):
    return store.engine.url.render_as_string(hide_password=False)


def reopened(bench):
    close_store(bench.store)
    bench.store = open_store(url_of(bench.store), journal=bench.store.journal)
    return bench.store


def test_killed_at_any_moment_every_acknowledged_label_is_there_once(bench):
    """A writer submits without pause and prints what was acknowledged; it is killed five times."""
    rng = random.Random(0)
    for _ in range(20):
        bench.task(need=500)
    people = [bench.person() for _ in range(12)]
    close_store(bench.store)
    acknowledged: list[str] = []
    for _ in range(5):
        where = [url_of(bench.store), str(bench.store.journal)]
        command = [sys.executable, WRITER, *where, *map(str, people)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            acknowledged += [writer.stdout.readline().strip() for _ in range(rng.randint(2, 9))]
            time.sleep(rng.uniform(0.0, 0.03))
            writer.send_signal(signal.SIGKILL)
            acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
    store = reopened(bench)
    stored, journaled = ids_in_database(store), ids_in_journal(store.journal)
    assert len(set(acknowledged)) == len(acknowledged) >= 10
    assert set(acknowledged) <= set(stored)
    assert sorted(stored) == sorted(journaled)
    assert len(set(stored)) == len(stored)
    assert maintenance.verify(store).good


def test_killed_between_commit_and_journal_the_next_start_fills_the_journal(bench, monkeypatch):
    label_some(bench, 2)
    with monkeypatch.context() as patched:
        patched.setattr(journal, "append", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            label_some(bench, 1)
    assert len(ids_in_journal(bench.store.journal)) == 2
    store = reopened(bench)
    assert ids_in_journal(store.journal) == ids_in_database(store)
    assert len(ids_in_database(store)) == 3


def test_the_repeated_submit_fills_the_journal_too(bench, monkeypatch):
    person, name = bench.person(), str(uuid.uuid4())
    bench.task()
    lease = bench.lease(person)
    with monkeypatch.context() as patched:
        patched.setattr(journal, "append", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            bench.rank(person, lease, submission=name)
    assert bench.rank(person, lease, submission=name).repeated
    assert ids_in_journal(bench.store.journal) == [name]


def test_a_torn_line_is_cut_off_and_written_again(bench):
    label_some(bench, 3)
    whole = bench.store.journal.read_bytes()
    bench.store.journal.write_bytes(whole[:-20])
    store = reopened(bench)
    assert store.journal.read_bytes() == whole
    assert maintenance.verify(store).good


def test_a_lost_journal_is_written_again(bench):
    label_some(bench, 3)
    whole = bench.store.journal.read_bytes()
    bench.store.journal.unlink()
    assert reopened(bench).journal.read_bytes() == whole


@ON_SQLITE
def test_a_lost_database_is_made_from_the_journal(bench):
    label_some(bench, 3)
    before, whole = ids_in_database(bench.store), bench.store.journal.read_bytes()
    close_store(bench.store)
    for file in bench.store.journal.parent.glob("labels.db*"):
        file.unlink()
    store = reopened(bench)
    assert ids_in_database(store) == before
    assert store.journal.read_bytes() == whole
    assert maintenance.verify(store).good


@ON_SQLITE
def test_a_database_from_a_backup_gets_back_what_was_done_since(bench, tmp_path):
    label_some(bench, 2)
    bench.store = reopened(bench)  # the mark says: both agree up to here
    maintenance.backup(bench.store, tmp_path / "copy.db")
    label_some(bench, 2)
    before = ids_in_database(bench.store)
    close_store(bench.store)
    for file in bench.store.journal.parent.glob("labels.db*"):
        file.unlink()
    shutil.copy(tmp_path / "copy.db", bench.store.engine.url.database)
    store = reopened(bench)
    assert ids_in_database(store) == before
    assert maintenance.verify(store).good


@ON_SQLITE
def test_backup_is_a_whole_database_taken_while_others_write(bench, tmp_path):
    label_some(bench, 1)
    maintenance.backup(bench.store, tmp_path / "copy.db")
    label_some(bench, 1)
    with sqlite3.connect(tmp_path / "copy.db") as copy:
        assert copy.execute("SELECT count(*) FROM labels").fetchone() == (1,)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy.close()
    with pytest.raises(UserError, match="is there already"):
        maintenance.backup(bench.store, tmp_path / "copy.db")


def test_two_processes_append_every_line_once(bench):
    """What another process has put in since before our commit is not put in again."""
    label_some(bench, 1)
    label = read_line(bench.store.journal.read_bytes())
    end = journal.size(bench.store.journal)
    assert journal.append(bench.store.journal, [label], since=0) == 0
    assert journal.append(bench.store.journal, [label], since=end) == 1, "not looked for before"


@pytest.fixture
def file_limit():
    """Return a function that limits the size of any file this process writes; lifted at the end."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@ON_SQLITE
def test_a_full_disk_for_the_journal_refuses_and_keeps_all(bench, file_limit):
    label_some(bench, 2)
    person, name = bench.person(), str(uuid.uuid4())
    bench.task()
    lease = bench.lease(person)
    # A journal so large that the limit, one for all files, leaves the database room.
    whole = bench.store.journal.read_bytes()
    padding = b"{}\n" * 1_000_000
    big = bench.store.journal.with_name("full.jsonl")
    big.write_bytes(padding + whole)
    bench.store = replace(bench.store, journal=big)
    file_limit(big.stat().st_size + 100)
    with pytest.raises(UserError, match="no room on the disk; not saved yet") as refused:
        bench.rank(person, lease, submission=name)
    assert is_no_room(refused.value)
    assert big.read_bytes() == padding + whole, "no half line stays"
    file_limit(resource.RLIM_INFINITY)
    assert bench.rank(person, lease, submission=name).repeated
    assert ids_in_journal_after(big, len(padding))[-1] == name


def ids_in_journal_after(path, offset):
    return [json.loads(line)["submission_id"] for line in path.read_bytes()[offset:].splitlines()]


@ON_SQLITE
def test_a_full_disk_for_the_database_refuses_and_keeps_all(bench, file_limit):
    label_some(bench, 2)
    before = ids_in_database(bench.store)
    person = bench.person()
    task = bench.task(texts=["word " * 20_000, "b", "c"])
    lease = bench.lease(person)
    wal = Path(f"{bench.store.engine.url.database}-wal")
    file_limit(wal.stat().st_size)
    with pytest.raises(UserError, match="no room on the disk") as refused:
        bench.rank(person, lease)
    assert is_no_room(refused.value)
    file_limit(resource.RLIM_INFINITY)
    assert ids_in_database(bench.store) == before
    assert bench.row(task).done == 0
    assert not bench.rank(person, lease).repeated
    assert maintenance.verify(reopened(bench)).good
