"""Labels out to files and in from files, in every format; imports in short transactions.

`native` holds every label, with those that were corrected later and those that were skipped. The
other formats hold the labels that stand: of each correction the newest. Whatever was exported can
be imported, and gives the same bytes when it is exported again.
"""

import json
import time
import zipfile
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar, assert_never, get_args

from sqlalchemy import select

from trivium.data import read_demonstrations, read_rankings, write_jsonl, write_pairs
from trivium.data.regroup import regrouped
from trivium.data.sources import raw_rows
from trivium.errors import UserError
from trivium.labels import Demonstration, LabelLine, Question, as_demonstration, as_ranking
from trivium.labels.line import with_dense_ranks
from trivium.store import candidates, events, journal, records
from trivium.store.adding import prompt_of
from trivium.store.database import Store, close_store, files_of, open_store, reading, writing
from trivium.store.files import explained, whole_file, write_array, write_text
from trivium.store.formats import argilla, labelstudio, parquet, trl
from trivium.store.formats.detect import Format, Input, format_of, kind_of
from trivium.store.formats.plain import LeftOut, foreign_line, to_line, told_apart
from trivium.store.incoming import BY_THE_RULES, Incoming, Manner, Tally, check, incoming, take
from trivium.store.schema import labels, prompts, tasks
from trivium.store.settings import read_question, read_settings

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

    prompts: int = 0
    """New prompts without answers; each is a demonstration to write."""
    tasks: int = 0
    """New sets of answers to rank."""
    labels: int = 0
    """New labels."""
    known: int = 0
    """Rows that were there already."""
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    """Rows that were not brought in, by reason."""
    pii: Mapping[str, int] = field(default_factory=dict[str, int])
    """Personal data that was taken out, by type."""
    unsearched: int = 0
    """Prompts that nothing searched for personal data, because the scrubber isn't installed."""


def export_labels(store: Store, path: Path, format: Format) -> int:
    """Write the labels; whole or not at all, except for the folder of Argilla.

    Returns:
        Rows written; of TRL pairs, of `rankings` and `demonstrations` these.

    Raises:
        UserError: a format can't hold a label, or the path can't be written, or nobody would read
            a file of that name, or it is the store's own.
    """
    _spare_the_store(store, path, *_beside(path, format))
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


def _beside(path: Path, format: Format) -> list[Path]:
    """What a format writes besides, or in, the path that is given."""
    match format:
        case "argilla":
            return [path / "records.json"]
        case "labelstudio":
            return [path.with_suffix(".xml")]
        case _:
            return []


def _spare_the_store(store: Store, *targets: Path) -> None:
    """Refuse to write over what the labels are kept in."""
    for target in targets:
        for own in files_of(store):
            same = target.samefile(own) if target.exists() and own.exists() else False
            if same or target.absolute() == own.absolute():
                raise UserError(f"{target}: is a file of the store itself; give another path")


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
    store: Store, path: Path, *, format: Input = "auto", manner: Manner = BY_THE_RULES
) -> ImportReport:
    """Bring in prompts, answers to rank, or finished labels.

    Args:
        store: where to.
        path: a file or folder. `auto` tells the format by its name and first row: label lines,
            prompts, prompts with answers that have no ranks, finished rankings or demonstrations
            of any shape that `trivium.data` reads.
        format: how to read it.
        manner: how prompts that wait for labels are taken in; see `trivium.store.incoming`.
            Finished labels come in as they are.

    Raises:
        UserError: at the first bad row; what came before it stays, and isn't brought in twice.
    """
    kind = format_of(path) if format == "auto" else format
    match kind:
        case "candidates" | "prompts":
            if manner.scrubbing == "none":
                events.remember(store, "import unscrubbed", by=None, details={"file": path.name})
            ranked = kind == "candidates"
            rows = candidates.read(path) if ranked else _bare(path, only=format == "auto")
            return _take_in(store, rows, manner, ranked=ranked)
        case "rankings" | "demonstrations" | "trl":
            _refuse_without_consent(path)
        case _:
            pass
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
    superseded = {line.supersedes for line in _own_lines(path)}
    return (line for line in _own_lines(path) if line.submission_id not in superseded)


def _own_lines(path: Path) -> Iterator[LabelLine]:
    if path.suffix == ".parquet":
        return parquet.read(path)
    return (to_line(raw.row, raw.place) for raw in raw_rows(path))


def export_prompts(store: Store, path: Path) -> int:
    """Write the prompts that have no answers to rank yet; how many there were, none: no file."""
    ranked = select(tasks.c.id).where(tasks.c.prompt_id == prompts.c.id, tasks.c.kind == "rank")
    rows = select(prompts).where(~ranked.exists()).order_by(prompts.c.id)
    _spare_the_store(store, path)
    with explained(path), reading(store) as connection:
        found = [prompt_of(row) for row in connection.execute(rows)]
        return write_jsonl(path, found) if found else 0


def check_prompts(store: Store, path: Path) -> None:
    """Refuse a file of prompts of which `import_answers` would refuse or leave out some."""
    for batch in _batches(map(incoming, regrouped(raw_rows(path))), _TASKS_AT_ONCE):
        check(store, batch)


def import_answers(store: Store, *, prompts: Path, answers: Path) -> ImportReport:
    """Put in what models wrote: `answers` as `trivium collect` writes it, to the first `prompts`.

    The prompts are read again for what the answers don't repeat: consent.
    """
    asked = zip(map(incoming, regrouped(raw_rows(prompts))), candidates.read(answers), strict=False)
    rows = (asks._replace(answers=written.answers) for asks, written in asked)
    return _take_in(store, rows, BY_THE_RULES, ranked=True)


def _lines_in(path: Path, format: Format) -> Iterator[LabelLine | LeftOut]:
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
            lines = told_apart(map(trl.line_of, read_rankings(path)))
        case "demonstrations":
            lines = told_apart(map(_demonstration_line, read_demonstrations(path)))
        case _:
            assert_never(format)
    return lines


def _refuse_without_consent(path: Path) -> None:
    """Finished labels aren't sorted out row by row: where somebody said no, nothing comes in."""
    for raw in raw_rows(path):
        if raw.row.get("consent") is False:
            raise UserError(f"{raw.place}: consent: false; remove the row")


def _demonstration_line(row: Demonstration) -> LabelLine:
    fields = row.model_dump(exclude_none=True) | {"kind": "demonstration"}
    return to_line(foreign_line(fields), f"demonstration {row.id}")


def _import_lines(store: Store, lines: Iterator[LabelLine | LeftOut]) -> ImportReport:
    seen = new = 0
    left_out = Counter[str]()
    for batch in _batches(lines, _LABELS_AT_ONCE):
        left_out.update(line.why for line in batch if isinstance(line, LeftOut))
        found = [with_dense_ranks(line) for line in batch if isinstance(line, LabelLine)]
        with _unhurried():
            since = journal.size(store.journal)
            with writing(store) as connection:
                stored = records.insert_lines(connection, found)
            if stored:
                journal.append(store.journal, stored, since=since)
        seen, new = seen + len(found), new + len(stored)
    return ImportReport(labels=new, known=seen - new, left_out=left_out)


def _take_in(
    store: Store, rows: Iterable[Incoming], manner: Manner, *, ranked: bool
) -> ImportReport:
    """Store prompts, all of them with answers or all without, by the rules of intake."""
    tally = Tally()
    for batch in _batches(rows, _TASKS_AT_ONCE):
        with _unhurried():
            take(store, batch, manner, tally)
    return ImportReport(
        prompts=0 if ranked else tally.new,
        tasks=tally.new if ranked else 0,
        known=tally.seen - tally.new - tally.left_out.total(),
        left_out=tally.left_out,
        pii=tally.pii,
        unsearched=tally.unsearched,
    )


def _bare(path: Path, *, only: bool) -> Iterator[Incoming]:
    """Prompts without answers; where they must be the file's ``only`` rows, others are refused."""
    for raw in regrouped(raw_rows(path)):
        if only and (kind := kind_of(raw.row)) != "prompts":
            raise UserError(
                f"{raw.place}: expected a bare prompt as in the first row, got a row of {kind}; "
                "give it in a file of its own, or say --format prompts to leave its answers out"
            )
        yield incoming(raw)


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
