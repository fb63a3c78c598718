"""Labels straight from a labeling store, or from its export: copied into the run before training.

The store goes on growing while a run trains. A run that was killed must go on with the rows it
started with, and a year later somebody may ask what they were. So they are written, once, to
`data/rankings.jsonl` or `data/demonstrations.jsonl` of the run directory, and read from there.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from trivium.data import write_jsonl
from trivium.data.sources import raw_rows
from trivium.errors import UserError, install
from trivium.labels import LabelLine, as_demonstration, as_ranking

Kind = Literal["rankings", "demonstrations"]
_URL = re.compile(r"(sqlite|postgres(ql)?)(\+\w+)?://")


def kept(source: str, run: Path, kind: Kind) -> str:
    """The source that a stage reads: a store's labels as a file of the run, anything else as it is.

    Raises:
        UserError: the store can't be opened or has no such labels; the extra `label` is missing.
    """
    if not _URL.match(source) and not _is_export(source):
        return source
    target = _place(run, kind)
    if not target.is_file():
        lines = _lines(source)
        rows = map(as_ranking if kind == "rankings" else as_demonstration, lines)
        found = [row for row in rows if row is not None]
        if not found:
            raise UserError(f"{source}: expected {kind}, got none; label some first")
        write_jsonl(target, found)
    return str(target)


def found(source: str, run: Path, kind: Kind) -> str:
    """The source that a stage has read: the run's own copy where it made one."""
    target = _place(run, kind)
    return str(target) if target.is_file() else source


def _place(run: Path, kind: Kind) -> Path:
    return run / "data" / f"{kind}.jsonl"


def _is_export(source: str) -> bool:
    """Whether it is a file of label lines."""
    path = Path(source)
    if not path.is_file() or not path.name.endswith((".jsonl", ".jsonl.gz", ".parquet")):
        return False
    return "submission_id" in next(iter(raw_rows(path))).row


def _lines(source: str) -> Iterator[LabelLine]:
    """The labels that stand: of each correction the newest."""
    try:
        from trivium.store import transfer
    except ModuleNotFoundError as error:
        raise UserError(f"{source}: {error.name} isn't installed; {install('label')}") from None
    if _URL.match(source):
        return transfer.standing_lines(source)
    return transfer.standing_lines_in(Path(source))
