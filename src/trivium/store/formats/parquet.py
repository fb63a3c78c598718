"""Parquet, K-way: one row for each label, answers and ranks as lists, as `datasets` reads it."""

# pyarrow ships no types.
# pyright: reportMissingTypeStubs=false

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from trivium.data import side
from trivium.data.convert import Row, without_nulls
from trivium.data.parquet import read_parquet
from trivium.labels import LabelLine, Prompt
from trivium.labels.line import LINE_FORMAT
from trivium.store.formats.plain import to_line
from trivium.store.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 1024
_SAME = (
    *("submission_id", "kind", "id", "prompt", "completion", "author_id", "org_id", "source"),
    *("labeler", "not_rankable", "note", "question_version", "late", "counted"),
    *("saved_ms", "lead_time_ms"),
)
_ANSWER = {"text": "content", "id": "id", "model": "model", "rating": "likert"}
_ANSWER |= {"flags": "flags", "score": "score", "clicked": "clicked"}


def write(file: BinaryIO, lines: Iterable[LabelLine], rules: Settings) -> int:
    """Write all lines, one row group for a thousand; how many there were."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, count = _schema(), 0
    rows = (_to_row(line, rules) for line in lines)
    with pq.ParquetWriter(file, schema) as writer:
        while batch := list(islice(rows, _BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count


def read(path: Path) -> Iterator[LabelLine]:
    """The lines of a file that `write` wrote."""
    for number, row in enumerate(read_parquet(path), start=1):
        yield to_line(_from_row(row), f"{path}: row {number}")


def _to_row(line: LabelLine, rules: Settings) -> Row:
    fields = line.model_dump(exclude_none=True)
    row = {name: fields[name] for name in _SAME if name in fields}
    prompt = Prompt(id=line.id, prompt=line.prompt, author_id=line.author_id)
    row["split"] = side(prompt, salt=rules.split_salt, heldout_fraction=rules.heldout_fraction)
    row["group_id"] = line.id
    if line.skip is not None:
        row["skipped"] = line.skip.reason
    if line.completions is not None:
        row["responses"] = [
            {theirs: answer[ours] for ours, theirs in _ANSWER.items() if ours in answer}
            for answer in fields["completions"]
        ]
        if all(answer.rank is not None for answer in line.completions):
            row["ranks"] = [answer.rank for answer in line.completions]
    if line.order is not None:
        for position, place in enumerate(line.order):
            row["responses"][place]["display_position"] = position
    return row


def _from_row(row: Row) -> Row:
    row = without_nulls(row)
    fields = {name: row[name] for name in _SAME if name in row}
    if "skipped" in row:
        fields["skip"] = {"reason": row["skipped"]}
    if "responses" in row:
        responses = row["responses"]
        ranks = row["ranks"] if "ranks" in row else [None] * len(responses)
        fields["completions"] = [
            {ours: answer[theirs] for ours, theirs in _ANSWER.items() if theirs in answer}
            | {"rank": rank}
            for answer, rank in zip(responses, ranks, strict=True)
        ]
        if all("display_position" in answer for answer in responses):
            places = range(len(responses))
            fields["order"] = sorted(places, key=lambda at: responses[at]["display_position"])
    return {"format": LINE_FORMAT, **fields}


def _schema() -> "pa.Schema":
    import pyarrow as pa

    text, whole, small, yes = pa.string(), pa.int64(), pa.int32(), pa.bool_()
    answer = [("id", text), ("content", text), ("model", text), ("likert", small)]
    answer += [("flags", pa.list_(text)), ("score", pa.float64()), ("clicked", small)]
    answer += [("display_position", small)]
    columns = {
        **dict.fromkeys(_SAME, text),
        "prompt": pa.list_(pa.struct([("role", text), ("content", text)])),
        "responses": pa.list_(pa.struct(answer)),
        "ranks": pa.list_(small),
        **dict.fromkeys(("not_rankable", "late", "counted"), yes),
        **dict.fromkeys(("saved_ms", "lead_time_ms"), whole),
        **dict.fromkeys(("skipped", "split", "group_id"), text),
    }
    return pa.schema(list(columns.items()))
