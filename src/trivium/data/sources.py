"""Where rows come from: a file, a folder of files, or the hub. Gives raw rows with their place.

Everything streams: one line, one batch of a Parquet file or one row of the hub at a time.
"""

import difflib
import gzip
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast
from urllib.parse import parse_qsl

from trivium.data.convert import Row
from trivium.data.parquet import read_parquet
from trivium.errors import UserError
from trivium.hub import locate

_ROW_FILES = (".jsonl", ".jsonl.gz", ".parquet")
_HUB = re.compile(r"hf:/{1,2}(?P<name>[^?]+)(\?(?P<query>.*))?")  # pathlib makes one slash of two


class RawRow(NamedTuple):
    """A row as it was found, and where."""

    place: str
    """`file:line`, for error messages."""

    row: Row


def raw_rows(source: str | Path) -> Iterator[RawRow]:
    """All rows of a source, lazily; that the source is there is checked at once.

    Args:
        source: a .jsonl, .jsonl.gz, .parquet or .txt file; a folder of them, read in the order of
            their names (its .txt files only if it holds nothing else); or
            `hf://owner/name?split=train&config=...`, streamed from the hub.

    Raises:
        UserError: nothing is there, or nothing that can be read; while iterating, at a row that
            is no JSON object and at the end of a file without rows.
    """
    if match := _HUB.fullmatch(str(source)):
        return _not_empty(str(source), _hub_rows(str(source), match["name"], match["query"] or ""))
    return _all_rows(_files(Path(source)))


def _all_rows(files: list[Path]) -> Iterator[RawRow]:
    for file in files:
        yield from _not_empty(str(file), _file_rows(file))


def _not_empty(name: str, rows: Iterator[RawRow]) -> Iterator[RawRow]:
    """The same rows; UserError at the end if there were none."""
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty:
        raise UserError(f"{name}: expected rows, got an empty file; write it again or leave it out")


def _files(path: Path) -> list[Path]:
    """The files that a path stands for."""
    if not path.exists():
        raise UserError(f"{path}: not found; {_nearest(path)}")
    if path.is_dir():
        inside = sorted(file for file in path.iterdir() if not file.name.startswith("."))
        rows = [file for file in inside if file.name.endswith(_ROW_FILES)]
        files = rows or [file for file in inside if file.suffix == ".txt"]
        if not files:
            raise UserError(f"{path}: expected .jsonl, .jsonl.gz, .parquet or .txt files, got none")
        return files
    if not path.name.endswith((*_ROW_FILES, ".txt")):
        raise UserError(
            f"{path}: expected a .jsonl, .jsonl.gz, .parquet or .txt file; "
            "write one JSON object a line and name the file .jsonl"
        )
    return [path]


def _nearest(path: Path) -> str:
    """What to do about a path that isn't there."""
    if not path.parent.is_dir():
        return f"the folder {path.parent} isn't there either; check the path"
    there = sorted(path.parent.iterdir())
    files = [file for file in there if file.name.endswith((*_ROW_FILES, ".txt"))]
    names = {file.name.split(".")[0]: file for file in (*filter(Path.is_dir, there), *files)}
    if near := difflib.get_close_matches(path.name.split(".")[0], names, n=1):
        return f"did you mean {names[near[0]]}?"
    listed = ", ".join(file.name for file in files[:5])
    return f"{path.parent} has {listed}" if files else "check the path"


def _file_rows(path: Path) -> Iterator[RawRow]:
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    return _text_blocks(path) if path.suffix == ".txt" else _jsonl_rows(path)


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a UTF-8 file, each with its place. Only \\n ends a line, as in JSON Lines."""
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                yield f"{path}:{number}", line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}:{number}: expected UTF-8, got {error.reason}") from None
    except (gzip.BadGzipFile, EOFError) as error:
        raise UserError(
            f"{path}: expected a whole gzip file, got {error}; fetch it again"
        ) from None


def _jsonl_rows(path: Path) -> Iterator[RawRow]:
    for place, line in _lines(path):
        if not line.strip():
            continue
        try:
            row: Any = _JSON.decode(line)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{place}: column {error.colno}: broken JSON: {error.msg}; "
                "expected one whole JSON object a line"
            ) from None
        except ValueError as error:
            raise UserError(f"{place}: {error}") from None
        if not isinstance(row, dict):
            raise UserError(f"{place}: expected a JSON object, got {type(row).__name__}")
        yield RawRow(place, cast(Row, row))


def _refuse_constant(name: str) -> float:
    raise ValueError(
        f"expected JSON, got {name}, which isn't a JSON number; write null or a number"
    )


_JSON = json.JSONDecoder(parse_constant=_refuse_constant)


def _text_blocks(path: Path) -> Iterator[RawRow]:
    """One document for each run of lines without an empty line."""
    start, block = "", list[str]()
    for place, line in _lines(path):
        if line.strip():
            start = start if block else place
            block.append(line)
        elif block:
            yield RawRow(start, {"text": "".join(block).strip()})
            block = []
    if block:
        yield RawRow(start, {"text": "".join(block).strip()})


def _parquet_rows(path: Path) -> Iterator[RawRow]:
    for number, row in enumerate(read_parquet(path), start=1):
        yield RawRow(f"{path}:{number}", row)


def _hub_rows(address: str, name: str, query: str) -> Iterator[RawRow]:
    from datasets import (  # pyright: ignore[reportMissingTypeStubs]  # it ships none
        load_dataset,  # pyright: ignore[reportUnknownVariableType]
    )

    split, config = "train", None
    for option, value in parse_qsl(query):
        match option:
            case "split":
                split = value
            case "config":
                config = value
            case _:
                raise UserError(f"{address}: {option}: expected split= or config= after the ?")
    if not Path(name).exists():
        locate(name, "README.md", "dataset")
    try:
        rows = load_dataset(name, name=config, split=split, streaming=True)
    except (OSError, ValueError) as error:  # no such data set, split or config; no network
        reason = " ".join(str(error).split())
        raise UserError(f"{address}: {reason}; expected hf://owner/name?split=...") from None
    for number, row in enumerate(cast(Iterable[Row], rows), start=1):
        yield RawRow(f"{address}:{number}", row)
