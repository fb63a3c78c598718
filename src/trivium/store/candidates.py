"""Answers that wait to be ranked: rows with a prompt and K answers without ranks.

    {"id": "p1", "prompt": ..., "completions": [{"text": ..., "model": ...}, ...]}

`trivium collect` writes them under the name `answers`. An answer may be its text alone.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from trivium.data.convert import Row, excerpt
from trivium.data.sources import RawRow, raw_rows
from trivium.errors import UserError
from trivium.labels.prompt import Identifier, Words
from trivium.store.adding import NewAnswer
from trivium.store.incoming import Incoming, incoming

_ANSWERS = ("completions", "answers")


class _Answer(BaseModel):
    """An answer without a rank."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    text: Words
    id: Identifier | None = None
    model: Identifier | None = None


def are_unranked(row: Row) -> bool:
    """Whether the answers of a row have no ranks yet."""
    found = row["completions"]
    answers = cast(list[Any], found) if isinstance(found, list) else []
    return not any(isinstance(answer, dict) and "rank" in answer for answer in answers)


def read(path: Path) -> Iterator[Incoming]:
    """Prompts, each with its answers.

    Raises:
        UserError: at the first row that has no prompt, or fewer than two answers.
    """
    for raw in raw_rows(path):
        row = {name: value for name, value in raw.row.items() if name not in _ANSWERS}
        given = [raw.row[name] for name in _ANSWERS if raw.row.get(name) is not None]
        found: list[Any] = given[0] if given and isinstance(given[0], list) else []
        if len(found) < 2:
            wanted = "completions: expected at least two answers to rank"
            raise UserError(f"{raw.place}: {wanted}, got {excerpt(given)}; mend or remove the row")
        written = [_answer(raw.place, answer) for answer in found]
        yield _with_answers(incoming(RawRow(raw.place, row)), written)


def _with_answers(bare: Incoming, written: Sequence[NewAnswer]) -> Incoming:
    """A prompt without an id is named by what it and its answers say, as rankings are."""
    prompt = bare.prompt
    if not bare.named:
        name = f"{prompt.id}-{_digest(json.dumps(written))[:6]}"
        prompt = prompt.model_copy(update={"id": name})
    return bare._replace(prompt=prompt, answers=written)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _answer(place: str, answer: Any) -> NewAnswer:
    fields = {"text": answer} if isinstance(answer, str) else answer
    try:
        checked = _Answer.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(["completions", *map(str, first["loc"])])
        got = excerpt(first["input"])
        raise UserError(f"{place}: {field}: {first['msg']}, got {got}; mend the row") from None
    return NewAnswer(checked.text, checked.id, checked.model)
