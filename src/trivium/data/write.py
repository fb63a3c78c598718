"""Labels and dicts written to JSONL or Parquet: streamed, and whole or not at all.

Rows go to a temporary file beside the target, which is flushed to the disk and then renamed, so
that a reader, or a run that was killed, never sees half a file.
"""

import gzip
import json
import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from trivium.data.convert import PAIR_COLUMNS, Row, without_nulls
from trivium.data.parquet import stream_parquet
from trivium.labels import Label


def write_jsonl(path: str | Path, rows: Iterable[Label | Row]) -> int:
    """Write one JSON object a line, null fields left out; gzip if the name ends in .gz.

    The bytes are a function of the rows: writing what was read from such a file gives the same
    file again.

    Returns:
        The number of rows written.
    """
    count = 0
    with _atomic(Path(path)) as file:
        zipped = str(path).endswith(".gz")
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0) if zipped else _kept_open(file) as out:
            for row in rows:
                out.write(json.dumps(_plain(row), ensure_ascii=False).encode() + b"\n")
                count += 1
    return count


def write_parquet(
    path: str | Path, rows: Iterable[Label | Row], *, columns: Sequence[str] = ()
) -> int:
    """Write a Parquet file: all columns of the label's kind, or of dicts those of the first 1,024.

    Args:
        path: where to.
        rows: labels of one kind, or dicts.
        columns: of dicts, those of the contracts or of TRL's pairs that any row may have.

    Returns:
        The number of rows written.

    Raises:
        UserError: there are no rows (a Parquet file needs its columns), or a dict has a column,
            or a type, that the first ones don't have.
    """
    stream = iter(rows)
    first = list(islice(stream, 1))
    labels = [row for row in first if not isinstance(row, dict)]
    named = [name for label in labels for name in type(label).model_fields] or list(columns)
    plain = (_plain(row) for row in chain(first, stream))
    with _atomic(Path(path)) as file:
        return stream_parquet(file, str(path), plain, named)


def write_pairs(path: str | Path, pairs: Iterable[Row]) -> int:
    """Write TRL's pairs: to Parquet, with every column that any pair may have, or else to JSONL.

    Returns:
        The number of pairs written.

    Raises:
        UserError: as `write_parquet`.
    """
    if str(path).endswith(".parquet"):
        return write_parquet(path, pairs, columns=PAIR_COLUMNS)
    return write_jsonl(path, pairs)


def _plain(row: Label | Row) -> Row:
    """A row as a JSON object without null fields."""
    return without_nulls(row) if isinstance(row, dict) else row.model_dump(exclude_none=True)


@contextmanager
def _kept_open(file: BinaryIO) -> Generator[BinaryIO]:
    """The file itself, for a `with` that another one closes."""
    yield file


@contextmanager
def _atomic(path: Path) -> Generator[BinaryIO]:
    """A file that appears under its name only when all of it is on the disk."""
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
    folder = os.open(path.parent, os.O_RDONLY)  # the new name must survive a power cut too
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
