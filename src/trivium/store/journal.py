"""The journal: a file with one line for each label, synced before anybody is told "saved".

The order is: commit the database, then append to the journal and sync, then say "saved". Why so:

- The database decides. Ids that must not repeat, places that may be taken: only a committed label
  is surely one, so the journal never holds a line that has to be taken back.
- A crash between the two leaves a label that is in the database alone and that nobody was told is
  saved. The next start appends it (`trivium.store.reconcile`); if the browser asks again before,
  the repeated submit does. A line that the database lacks can only mean that the database was lost
  or put back from a backup: the next start puts the label in again.
- Exactly once, with any number of processes: appending happens under a lock of the file, and looks
  first for the label in what was added since before its commit, where another process that started
  in the meantime may have put it.

A write that fails half-way is cut off again. A line without its end, after a power cut, was never
acknowledged and is cut off by the next append.
"""

import errno
import fcntl
import json
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from trivium.errors import UserError
from trivium.labels import LabelLine
from trivium.labels.line import LINE_FORMAT
from trivium.store.database import NO_ROOM

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OPENING = f'{{"format": "{LINE_FORMAT}", "submission_id": '


def encode(line: LabelLine) -> bytes:
    """The line of JSON, with its end; a function of the label alone."""
    return json.dumps(line.model_dump(exclude_none=True), ensure_ascii=False).encode() + b"\n"


def size(path: Path) -> int:
    """Bytes in the journal; 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def append(path: Path, lines: Sequence[LabelLine], *, since: int) -> int:
    """Add the lines that aren't there, and sync.

    Args:
        path: the journal.
        lines: labels that are committed.
        since: a size that the journal had before any of them was committed; 0 to look everywhere.

    Returns:
        Lines added.

    Raises:
        UserError: the disk is full; no part of any line was added.
    """
    with _locked(path) as descriptor:
        end = _mend(descriptor)
        missing = _without_known(descriptor, lines, min(since, end), end)
        if missing:
            _write(path, descriptor, b"".join(map(encode, missing)), end)
        else:
            os.fsync(descriptor)  # whoever wrote it may not have got so far
    return len(missing)


def scan(path: Path, *, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Whole lines from byte ``start`` on, each with the byte at which it ends."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(start)
        position = start
        for line in file:
            if not line.endswith(b"\n"):
                return
            position += len(line)
            yield position, line


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The open file, which no other process appends to meanwhile."""
    new = not path.exists()
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UserError(f"{path}: can't be written: {error.strerror}; check the folder") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if new:
            _sync_folder(path.absolute().parent)
        yield descriptor
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mend(descriptor: int) -> int:
    """Cut off a line without its end; the size after that."""
    end = os.fstat(descriptor).st_size
    if end == 0 or os.pread(descriptor, 1, end - 1) == b"\n":
        return end
    with mmap.mmap(descriptor, end, prot=mmap.PROT_READ) as content:
        end = content.rfind(b"\n") + 1
    os.ftruncate(descriptor, end)
    return end


def _without_known(
    descriptor: int, lines: Sequence[LabelLine], start: int, end: int
) -> list[LabelLine]:
    if start == end:
        return list(lines)
    with mmap.mmap(descriptor, end, prot=mmap.PROT_READ) as content:
        return [line for line in lines if content.rfind(_beginning(line.submission_id), start) < 0]


def _beginning(submission_id: str) -> bytes:
    """How the label's line begins: a text within a line can't, its quotes are escaped."""
    return (_OPENING + json.dumps(submission_id, ensure_ascii=False) + ",").encode()


def _write(path: Path, descriptor: int, content: bytes, end: int) -> None:
    """Append all of it and sync, or nothing."""
    try:
        done = 0
        while done < len(content):
            done += os.write(descriptor, content[done:])
        os.fsync(descriptor)
    except OSError as error:
        os.ftruncate(descriptor, end)
        if error.errno not in _FULL:
            raise
        raise UserError(f"{path}: {NO_ROOM}; not saved yet, make room and try again") from error
