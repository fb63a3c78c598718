"""Rows as labels: every row converted from its own shape, validated, and given an id.

Each reader is lazy and holds one row (of Parquet, one batch) at a time. A row may say more than
is asked: prompts are read out of demonstrations and rankings too.

A row without an id gets the first 12 hex digits of the SHA-256 of its normalised prompt and, if
it has answers, "-" and 6 more of its other fields. So the id stays when rows are added, dropped
or put in another order, is the same whichever reader reads the row, and rows share it only if
they say the same.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from trivium.data.convert import Row, detect, excerpt, to_native, without_nulls
from trivium.data.regroup import regrouped
from trivium.data.sources import RawRow, raw_rows
from trivium.data.split import prompt_key
from trivium.errors import UserError
from trivium.labels import (
    ClozeQuestion,
    Completion,
    Demonstration,
    Label,
    Message,
    Prompt,
    Ranking,
    Text,
)

LabelT = TypeVar("LabelT", bound=Label)
RowT = TypeVar("RowT", bound=BaseModel)
AnsweredT = TypeVar("AnsweredT", Demonstration, Ranking)
_ANSWERS = {"completion", "completions"}
_ASKED = {Demonstration: ("demonstration", "completion"), Ranking: ("ranking", "completions")}
_NESTED = {"prompt": Message, "completions": Completion}


def read_prompts(source: str | Path) -> Iterator[Prompt]:
    """Prompts, lazily; of demonstrations and rankings the answers are left out.

    Raises:
        UserError: at once if the source isn't there; while iterating at the first bad row, naming
            file, line, field, what was expected and what was found.
    """
    return (as_prompt(raw) for raw in regrouped(raw_rows(source)))


def read_demonstrations(source: str | Path) -> Iterator[Demonstration]:
    """Demonstrations, lazily.

    Raises:
        UserError: as `read_prompts`.
    """
    return (_answered(raw, Demonstration) for raw in raw_rows(source))


def read_rankings(source: str | Path) -> Iterator[Ranking]:
    """Rankings, lazily; a pair is a ranking with K = 2, the pairs of a `group_id` are one ranking.

    Raises:
        UserError: as `read_prompts`.
    """
    return (_answered(raw, Ranking) for raw in regrouped(raw_rows(source)))


def read_texts(source: str | Path) -> Iterator[Text]:
    """Bare texts, lazily: the column `text`, or the blocks of a .txt file between empty lines.

    Raises:
        UserError: as `read_prompts`.
    """
    return (_text(raw) for raw in raw_rows(source))


def read_cloze(source: str | Path) -> Iterator[ClozeQuestion]:
    """Cloze questions, lazily.

    Raises:
        UserError: as `read_prompts`.
    """
    return (
        _validated(raw.place, without_nulls(raw.row), ClozeQuestion) for raw in raw_rows(source)
    )


def _text(raw: RawRow) -> Text:
    if "text" not in raw.row:
        got = ", ".join(raw.row) or "no column"
        raise UserError(f"{raw.place}: text: expected a column of this name, got {got}")
    return _validated(raw.place, {"text": raw.row["text"]}, Text)


def as_prompt(raw: RawRow) -> Prompt:
    """The prompt of one row, answers left out.

    Raises:
        UserError: names the place, the field, what was expected and what was found.
    """
    native = _native(raw)
    answers = _ANSWERS | {"labeler"}
    fields = {name: value for name, value in native.items() if name not in answers}
    return _identified(_validate_unnamed(raw.place, fields, Prompt), native)


def _answered(raw: RawRow, kind: type[AnsweredT]) -> AnsweredT:
    native = _native(raw)
    name, column = _ASKED[kind]
    if column not in native and not _ANSWERS.isdisjoint(native):
        shape = detect(without_nulls(raw.row))
        raise UserError(
            f"{raw.place}: {column}: expected a {name}, got a row of shape {shape}; "
            f"give a file of {name}s"
        )
    return _identified(_validate_unnamed(raw.place, native, kind), native)


def _native(raw: RawRow) -> Row:
    try:
        native = to_native(raw.row)
    except UserError as error:
        raise UserError(f"{raw.place}: {error}") from None
    if "prompt" not in native and "text" in native:
        raise UserError(
            f"{raw.place}: prompt: expected messages or text, got a row with text alone; "
            "rename the column, or read the file as texts"
        )
    return native


def _validate_unnamed(place: str, fields: Row, kind: type[LabelT]) -> LabelT:
    """Validate a row that may lack an id; it gets one when it is known to be whole."""
    return _validated(place, fields if "id" in fields else {"id": "-", **fields}, kind)


def _identified(label: LabelT, native: Row) -> LabelT:
    """The same label with the id described at the top of this module, if the row had none."""
    if "id" in native or isinstance(label, Text):
        return label
    name = _digest(prompt_key(label.prompt))[:12]
    if not _ANSWERS.isdisjoint(native):
        rest = {field: value for field, value in native.items() if field != "prompt"}
        name += "-" + _digest(json.dumps(rest, sort_keys=True))[:6]
    return label.model_copy(update={"id": name})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _validated(place: str, fields: Row, kind: type[RowT]) -> RowT:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(f"{place}: {_explain(first, list(kind.model_fields))}") from None


def _explain(error: ErrorDetails, fields: list[str]) -> str:
    """One complaint of pydantic as `field: expected ..., got ...; what to do`."""
    where = ""
    for step in error["loc"]:
        where += f"[{step}]" if isinstance(step, int) else f".{step}"
    where = where.removeprefix(".")
    match error["type"]:
        case "missing":
            return f"{where}: expected a value, got nothing; add the field"
        case "extra_forbidden":
            *outer, name = error["loc"]
            if outer:
                fields = list(_NESTED[str(outer[0])].model_fields)
            near = difflib.get_close_matches(str(name), fields, n=1)
            meant = f"did you mean {near[0]}?" if near else "rename or remove it"
            return f"{where}: unknown field; expected one of {', '.join(fields)}; {meant}"
        case "value_error":
            complaint = error["msg"].removeprefix("Value error, ")
            return f"{where}: {complaint}; mend or remove the row"
        case _:
            expected = re.sub(r"^\w+ should (be|have) ", "", error["msg"])
            got = excerpt(error["input"])
            return f"{where}: expected {expected}, got {got}; mend or remove the row"
