"""Files that appear whole or not at all."""

import errno
import json
import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trivium.data.convert import Row
from trivium.errors import UserError
from trivium.store.database import NO_ROOM

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole_file(path: Path) -> Generator[BinaryIO]:
    """A file to write, which gets its name when all of it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """A small file."""
    with whole_file(path) as file:
        file.write(content.encode())


def write_array(path: Path, rows: Iterable[Row]) -> int:
    """A JSON array, one element a line; how many there were."""
    count = 0
    with whole_file(path) as file:
        for row in rows:
            file.write(b",\n" if count else b"[\n")
            file.write(json.dumps(row, ensure_ascii=False).encode())
            count += 1
        file.write(b"\n]\n" if count else b"[]\n")
    return count


@contextmanager
def explained(path: Path) -> Generator[None]:
    """Turn what goes wrong while writing ``path`` into a UserError."""
    try:
        yield
    except OSError as error:
        reason = NO_ROOM if error.errno in _FULL else f"can't be written: {error.strerror}"
        raise UserError(f"{path}: {reason}; make room or give another path") from error
