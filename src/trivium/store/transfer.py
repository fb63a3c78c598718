"""Labels out to files and in from files, in every format; imports in short transactions.

`native` holds every label, with those that were corrected later and those that were skipped. The
other formats hold the labels that stand: of each correction the newest. Whatever was exported can
be imported, and gives the same bytes when it is exported again.
"""

import json
import time
import zipfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, assert_never, get_args

from sqlalchemy import select

from trivium.data import write_jsonl, write_pairs
from trivium.data.read import read_demonstrations, read_prompts, read_rankings
from trivium.data.sources import raw_rows
from trivium.errors import UserError
from trivium.labels import Demonstration, LabelLine, Prompt, Question, as_demonstration, as_ranking
from trivium.store import candidates, journal, records
from trivium.store.adding import NewAnswer, add_prompts, add_tasks, new_task, prompt_of
from trivium.store.database import Store, close_store, open_store, reading, writing
from trivium.store.files import explained, whole_file, write_array, write_text
from trivium.store.formats import argilla, labelstudio, parquet, trl
from trivium.store.formats.plain import foreign_line, to_line
from trivium.store.schema import labels, prompts, tasks
from trivium.store.settings import load_settings, read_question, read_settings

Format = Literal["native", "rankings", "demonstrations", "parquet", "trl", "argilla", "labelstudio"]
Input = Format | Literal["auto", "candidates", "prompts"]
"""What a file is read as; `auto`: as its name and first row say."""
FOLDERS = ("argilla",)
"""Formats that are a folder, not a file."""
SUFFIXES: dict[Format, str] = {"parquet": ".parquet", "labelstudio": ".json"}
"""How a format's file ends; the others are JSON Lines."""
LINES = (".jsonl", ".jsonl.gz")
# Rows of one transaction, for which labelers wait: some milliseconds.
_TASKS_AT_ONCE = 20
_LABELS_AT_ONCE = 10
RowT = TypeVar("RowT")
_NEWER = labels.alias("newer")
_STANDING = ~select(_NEWER.c.id).where(_NEWER.c.supersedes == labels.c.id).exists()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import brought."""

    prompts: int
    """New prompts without answers; each is a demonstration to write."""
    tasks: int
    """New sets of answers to rank."""
    labels: int
    """New labels."""
    known: int
    """Rows that were there already."""


def export_labels(store: Store, path: Path, format: Format) -> int:
    """Write the labels; whole or not at all, except for the folder of Argilla.

    Returns:
        Rows written; of TRL pairs, of `rankings` and `demonstrations` these.

    Raises:
        UserError: a format can't hold a label, or the path can't be written, or nobody would read
            a file of that name.
    """
    _check_name(path, format)
    with explained(path), reading(store) as connection:
        standing = None if format == "native" else _STANDING
        lines = (line for _, line in records.lines_of(connection, standing))
        match format:
            case "native":
                rows = (line.model_dump(exclude_none=True) for line in lines)
                count = write_jsonl(path, rows)
            case "rankings":
                count = write_jsonl(path, filter(None, map(as_ranking, lines)))
            case "demonstrations":
                count = write_jsonl(path, filter(None, map(as_demonstration, lines)))
            case "trl":
                count = write_pairs(path, trl.pairs_of(lines))
            case "parquet":
                with whole_file(path) as file:
                    count = parquet.write(file, lines, read_settings(connection))
            case "argilla" | "labelstudio":
                shape = _Shape(_largest(lines), read_question(connection))
                again = (line for _, line in records.lines_of(connection, standing))
                write_theirs = _write_argilla if format == "argilla" else _write_labelstudio
                count = write_theirs(path, again, shape)
            case _:
                assert_never(format)
    return count


def _check_name(path: Path, format: Format) -> None:
    endings = (SUFFIXES[format],) if format in SUFFIXES else LINES
    if format not in FOLDERS and not path.name.endswith(endings):
        raise UserError(f"{path}: expected a file whose name ends in {' or '.join(endings)}")


class _Shape(NamedTuple):
    """What a labeling program must know before it can show the labels."""

    largest: int
    question: Question


def _write_argilla(path: Path, lines: Iterable[LabelLine], shape: _Shape) -> int:
    settings = argilla.settings_of(shape.largest, shape.question)
    write_text(path / ".argilla" / "settings.json", json.dumps(settings, indent=1))
    write_text(path / ".argilla" / "dataset.json", json.dumps(argilla.dataset_model(), indent=1))
    return write_array(path / "records.json", argilla.records_of(lines))


def _write_labelstudio(path: Path, lines: Iterable[LabelLine], shape: _Shape) -> int:
    write_text(path.with_suffix(".xml"), labelstudio.interface(shape.largest, shape.question))
    return write_array(path, labelstudio.tasks_of(lines))


def export_download(store: Store, folder: Path, format: str) -> Path:
    """Export into a folder as one file: a format that is several files comes as a zip.

    Raises:
        UserError: as `export_labels`, or the format is unknown.
    """
    known = {name: name for name in get_args(Format)}
    if format not in known:
        raise UserError(f"format: expected one of {', '.join(known)}, got {format}")
    chosen: Format = known[format]
    if chosen not in (*FOLDERS, "labelstudio"):
        path = folder / f"labels{SUFFIXES.get(chosen, '.jsonl')}"
        export_labels(store, path, chosen)
        return path
    inside = folder / chosen
    inside.mkdir()
    export_labels(store, inside if chosen in FOLDERS else inside / "labels.json", chosen)
    target = folder / "labels.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(inside.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(inside))
    return target


def import_file(
    store: Store,
    path: Path,
    *,
    format: Input = "auto",
    demonstrations: bool = True,
) -> ImportReport:
    """Bring in prompts, answers to rank, or finished labels.

    Args:
        store: where to.
        path: a file or folder. `auto` tells the format by its name and first row: label lines,
            prompts, prompts with answers that have no ranks, finished rankings or demonstrations
            of any shape that `trivium.data` reads.
        format: how to read it.
        demonstrations: ask for a demonstration of each bare prompt.

    Raises:
        UserError: at the first bad row; what came before it stays, and isn't brought in twice.
    """
    kind = _detected(path) if format == "auto" else format
    match kind:
        case "candidates":
            return _import_tasks(store, candidates.read(path))
        case "prompts":
            return _import_prompts(store, path, demonstrations)
        case _:
            return _import_lines(store, _lines_in(path, kind))


def standing_lines(url: str) -> Iterator[LabelLine]:
    """The labels that stand in a store, which must be there.

    Raises:
        UserError: it isn't there, or can't be opened.
    """
    store = open_store(url, create=False, mend=False)
    try:
        with reading(store) as connection:
            for _, line in records.lines_of(connection, _STANDING):
                yield line
    finally:
        close_store(store)


def standing_lines_in(path: Path) -> Iterator[LabelLine]:
    """The labels that stand in an exported file.

    Raises:
        UserError: at the first row that isn't a label line.
    """
    format = "parquet" if path.suffix == ".parquet" else "native"
    superseded = {line.supersedes for line in _lines_in(path, format)}
    return (line for line in _lines_in(path, format) if line.submission_id not in superseded)


def export_prompts(store: Store, path: Path) -> int:
    """Write the prompts that have no answers to rank yet; how many there were, none: no file."""
    ranked = select(tasks.c.id).where(tasks.c.prompt_id == prompts.c.id, tasks.c.kind == "rank")
    rows = select(prompts).where(~ranked.exists()).order_by(prompts.c.id)
    with explained(path), reading(store) as connection:
        found = [prompt_of(row) for row in connection.execute(rows)]
        return write_jsonl(path, found) if found else 0


def import_answers(store: Store, *, prompts: Path, answers: Path) -> ImportReport:
    """Put in what models wrote: `answers` as `trivium collect` writes it, to the first `prompts`.

    The prompts are read again for what the answers don't repeat: author, organisation, source.
    """
    asked = zip(read_prompts(prompts), candidates.read(answers), strict=False)
    return _import_tasks(store, ((prompt, written) for prompt, (_, written) in asked))


Detected = Format | Literal["candidates", "prompts"]


def _detected(path: Path) -> Detected:
    if path.is_dir() and (path / "records.json").is_file():
        return "argilla"
    if path.suffix == ".json":
        return "labelstudio"
    match next(iter(raw_rows(path))).row:
        case {"submission_id": _}:
            found = "parquet" if path.suffix == ".parquet" else "native"
        case {"completions": _} as row:
            found = "candidates" if candidates.are_unranked(row) else "rankings"
        case {"answers": _}:
            found = "candidates"
        case {"chosen": _}:
            found = "trl"
        case {"completion": _} | {"output": _}:
            found = "demonstrations"
        case _:
            found = "prompts"
    return found


def _lines_in(path: Path, format: Format) -> Iterator[LabelLine]:
    """Labels of a file, checked."""
    match format:
        case "native":
            lines = (to_line(raw.row, raw.place) for raw in raw_rows(path))
        case "parquet":
            lines = parquet.read(path)
        case "argilla":
            lines = argilla.read(path)
        case "labelstudio":
            lines = labelstudio.read(path)
        case "rankings" | "trl":
            lines = map(trl.line_of, read_rankings(path))
        case "demonstrations":
            lines = map(_demonstration_line, read_demonstrations(path))
        case _:
            assert_never(format)
    return lines


def _demonstration_line(row: Demonstration) -> LabelLine:
    fields = row.model_dump(exclude_none=True) | {"kind": "demonstration"}
    return to_line(foreign_line(fields), f"demonstration {row.id}")


def _import_lines(store: Store, lines: Iterator[LabelLine]) -> ImportReport:
    seen = new = 0
    for batch in _batches(lines, _LABELS_AT_ONCE):
        with _unhurried():
            since = journal.size(store.journal)
            with writing(store) as connection:
                stored = records.insert_lines(connection, batch)
            if stored:
                journal.append(store.journal, stored, since=since)
        seen, new = seen + len(batch), new + len(stored)
    return ImportReport(prompts=0, tasks=0, labels=new, known=seen - new)


def _import_tasks(store: Store, rows: Iterable[tuple[Prompt, Sequence[NewAnswer]]]) -> ImportReport:
    seen, new = _put_in(store, rows)
    return ImportReport(prompts=0, tasks=new, labels=0, known=seen - new)


def _import_prompts(store: Store, path: Path, demonstrations: bool) -> ImportReport:
    if demonstrations:
        seen, new = _put_in(store, ((prompt, None) for prompt in read_prompts(path)))
        return ImportReport(prompts=new, tasks=0, labels=0, known=seen - new)
    seen = new = 0
    for batch in _batches(read_prompts(path), _TASKS_AT_ONCE):
        with _unhurried(), writing(store) as connection:
            new += add_prompts(connection, batch, read_settings(connection))
        seen += len(batch)
    return ImportReport(prompts=new, tasks=0, labels=0, known=seen - new)


def _put_in(
    store: Store, rows: Iterable[tuple[Prompt, Sequence[NewAnswer] | None]]
) -> tuple[int, int]:
    """Store tasks; how many there were, and how many of them were new."""
    seen = new = 0
    for batch in _batches(rows, _TASKS_AT_ONCE):
        with _unhurried():
            rules = load_settings(store)
            made = [new_task(prompt, answers, rules) for prompt, answers in batch]
            with writing(store) as connection:
                new += sum(added.new for added in add_tasks(connection, made))
        seen += len(batch)
    return seen, new


def _batches(rows: Iterable[RowT], size: int) -> Iterator[list[RowT]]:
    stream = iter(rows)
    while batch := list(islice(stream, size)):
        yield batch


@contextmanager
def _unhurried() -> Generator[None]:
    """Wait afterwards twice as long as the block took, so that labelers get their turn."""
    start = time.monotonic()
    yield
    time.sleep(2 * (time.monotonic() - start))


def _largest(lines: Iterable[LabelLine]) -> int:
    """Answers in the largest set."""
    return max((len(line.completions or []) for line in lines), default=0)
