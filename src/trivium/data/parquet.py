"""Parquet, batch by batch. The one file that knows pyarrow, which is imported when it is needed."""

# pyarrow ships no types: what it returns is checked by the tests and by pydantic, not here.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from trivium.data.convert import Row
from trivium.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 1024  # rows held in memory at a time


def read_parquet(path: Path) -> Iterator[Row]:
    """The rows of a file, in order.

    Raises:
        UserError: it is no Parquet file, or a broken one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: expected a Parquet file, got: {reason}; write it again") from None


def stream_parquet(file: BinaryIO, name: str, rows: Iterable[Row], columns: list[str]) -> int:
    """Write rows, one row group a batch, and count them.

    Args:
        file: where to.
        name: what to call it in an error message.
        rows: dicts without null fields.
        columns: the contract's columns, or TRL's, to write; empty to take names and types from
            the first batch of rows.

    Raises:
        UserError: there are no rows, or a row doesn't fit the columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = iter(rows)
    first = list(islice(stream, _BATCH))
    if not first:
        raise UserError(f"{name}: expected rows to write, got none")
    count = 0
    try:
        schema = _contract(columns) if columns else pa.Table.from_pylist(first).schema
        with pq.ParquetWriter(file, schema) as writer:
            for batch in _batches(chain(first, stream)):
                found = {column for row in batch for column in row}
                if strangers := sorted(found - set(schema.names)):
                    message = "a column that the first rows don't have; write JSONL instead"
                    raise UserError(f"{name}: {strangers[0]}: {message}")
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                count += len(batch)
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{name}: expected columns of one type, got: {reason}") from None
    return count


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    stream = iter(rows)
    while batch := list(islice(stream, _BATCH)):
        yield batch


def _contract(columns: list[str]) -> "pa.Schema":
    """The types of the contract's columns, so that any row may use an optional one."""
    import pyarrow as pa

    text = pa.string()
    answer = {"text": text, "rank": pa.int64(), "id": text, "model": text, "rating": pa.int64()}
    answer |= {"flags": pa.list_(text), "score": pa.float64()}
    messages = pa.list_(pa.struct([("role", text), ("content", text)]))
    others = {
        "prompt": messages,
        "chosen": messages,
        "rejected": messages,
        "margin": pa.float64(),
        "completions": pa.list_(pa.struct(list(answer.items()))),
    }
    return pa.schema([(column, others.get(column, text)) for column in columns])
