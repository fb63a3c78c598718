"""The verbs of `trivium data`, as plain functions for the command line to call."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Literal, assert_never

from trivium.data.convert import Row, to_trl_pairs
from trivium.data.leaks import Leak, find_leaks, split_without_leaks
from trivium.data.read import read_demonstrations, read_prompts, read_rankings, read_texts
from trivium.data.statistics import describe
from trivium.data.write import write_jsonl, write_pairs, write_parquet
from trivium.errors import UserError
from trivium.labels import Label, Ranking, Text, has_untied_pair

Kind = Literal["prompts", "demonstrations", "rankings", "texts"]
"""What a file is read as."""

Target = Literal["native", "parquet", "trl"]
"""What a file is written as: JSONL, Parquet, or TRL's preference pairs."""

LEFT_OUT_SHOWN = 5
"""Rows that `split_file` names of those it left out."""


def read(path: str | Path, kind: Kind) -> Iterator[Label]:
    """Rows of one kind, lazily.

    Raises:
        UserError: as the readers of `trivium.data.read`.
    """
    match kind:
        case "prompts":
            return read_prompts(path)
        case "demonstrations":
            return read_demonstrations(path)
        case "rankings":
            return read_rankings(path)
        case "texts":
            return read_texts(path)
        case _:
            assert_never(kind)


def check(path: str | Path, kind: Kind) -> dict[str, int]:
    """Read every row.

    Returns:
        `rows`; `repeated_ids`, rows whose id came before (not of texts, which have none); of
        rankings also `without_untied_pair`, rows that no pair can be learnt from.

    Raises:
        UserError: at the first bad row.
    """
    rows, repeated, all_tied = 0, 0, 0
    ids: set[str] = set()
    for row in read(path, kind):
        rows += 1
        if not isinstance(row, Text):
            repeated += row.id in ids
            ids.add(row.id)
        all_tied += isinstance(row, Ranking) and not has_untied_pair(row)
    counts = {"rows": rows}
    if kind != "texts":
        counts["repeated_ids"] = repeated
    if kind == "rankings":
        counts["without_untied_pair"] = all_tied
    return counts


def convert_file(
    source: str | Path, kind: Kind, target: str | Path, *, to: Target
) -> dict[str, int]:
    """Read rows of any shape and write them in one; streaming.

    TRL pairs go to Parquet if the target's name ends in .parquet, else to JSONL.

    Returns:
        `read` and `written`, in rows; they differ for TRL, where a ranking gives all its pairs.

    Raises:
        UserError: at the first bad row; or TRL pairs are asked of anything but rankings.
    """
    counter = count()  # zip asks for a row first, so the next number is how many there were
    rows = (row for row, _ in zip(read(source, kind), counter, strict=False))
    match to:
        case "native":
            written = write_jsonl(target, rows)
        case "parquet":
            written = write_parquet(target, rows)
        case "trl":
            if kind != "rankings":
                raise UserError(f"to trl: expected rankings, got {kind}; convert them to native")
            pairs = (pair for row in rows for pair in _pairs_of(row))
            written = write_pairs(target, pairs)
        case _:
            assert_never(to)
    return {"read": next(counter), "written": written}


def _pairs_of(row: Label) -> list[Row]:
    assert isinstance(row, Ranking)
    return to_trl_pairs(row)


def split_file(
    path: str | Path, kind: Kind, out_dir: str | Path, *, salt: str, heldout_fraction: float
) -> dict[str, Any]:
    """Write `train.jsonl` and `heldout.jsonl` into a folder, without a leak between them.

    The sides are those of `trivium.data.leaks.split_without_leaks`.

    Returns:
        `train`, `heldout`: rows written. `left_out`: training rows left out, and `examples` of
        them: position in the source, from 1, id, and the held-out row that it gives away.

    Raises:
        UserError: at the first bad row; the fraction is outside [0, 1]; a side got no row.
    """
    rows = list(read(path, kind))
    train, heldout, left_out = split_without_leaks(
        rows, salt=salt, heldout_fraction=heldout_fraction
    )
    if not train or not heldout:
        empty = "held-out" if train else "train"
        raise UserError(
            f"{path}: expected rows on both sides, got none of {len(rows)} on the {empty} side; "
            "give more rows, another fraction or another salt"
        )
    write_jsonl(Path(out_dir) / "train.jsonl", train)
    write_jsonl(Path(out_dir) / "heldout.jsonl", heldout)
    examples = [
        f"row {leak.train_index + 1} ({leak.train_name}): {leak.shares()}"
        for leak in left_out[:LEFT_OUT_SHOWN]
    ]
    counts = {"train": len(train), "heldout": len(heldout), "left_out": len(left_out)}
    return counts | {"examples": examples}


def leak_check(train: str | Path, heldout: str | Path, *, kind: Kind = "prompts") -> list[Leak]:
    """The leaks between two files; by their prompts, which demonstrations and rankings have too.

    Raises:
        UserError: at the first bad row.
    """
    return find_leaks(list(read(train, kind)), list(read(heldout, kind)))


def stats(path: str | Path, kind: Kind) -> dict[str, Any]:
    """`trivium.data.statistics.describe` of a file.

    Raises:
        UserError: at the first bad row.
    """
    return describe(read(path, kind))
