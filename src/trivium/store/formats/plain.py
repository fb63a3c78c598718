"""What the formats share: lines as plain JSON, judgements apart from the rest, errors by place."""

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from trivium.data.convert import Row, excerpt
from trivium.errors import UserError
from trivium.labels import LabelLine, Message
from trivium.labels.line import LINE_FORMAT

JUDGED = ("rank", "rating", "flags")
_OF_THE_TASK = ("kind", "id", "prompt", "completions", "author_id", "org_id", "source")
_OF_THE_ANSWER = ("text", "id", "model", *JUDGED)
ModelT = TypeVar("ModelT", bound=BaseModel)
_NAMESPACE = uuid.UUID("6f1c1f0e-6b0e-5a6e-9d0a-2f3b8d1b6c11")  # of ids for labels that have none


class LeftOut(NamedTuple):
    """What another program's file holds in place of a label."""

    why: str


class _OwnAnswer(BaseModel):
    model_config = ConfigDict(extra="allow")


class _OwnRow(BaseModel):
    """As much of a row of ours, carried along by another program, as is looked at before it is
    whole again.
    """

    model_config = ConfigDict(extra="allow")

    completions: list[_OwnAnswer] = []
    labeler: str | None = None


def to_line(row: Any, where: str) -> LabelLine:
    """A row in the native format, checked.

    Raises:
        UserError: names the place and the field.
    """
    return checked(LabelLine, row, where)


def checked(kind: type[ModelT], value: Any, where: str) -> ModelT:
    """What a file holds, as a model.

    Raises:
        UserError: names the place, the field, what was expected and what was found.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "row"
        problem = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            message = f"{where}: {field}: expected a value, got nothing; mend or remove it"
        else:
            got = excerpt(first["input"])
            message = f"{where}: {field}: {problem}, got {got}; mend or remove it"
        raise UserError(message) from None


def own_row(value: Any, where: str) -> Row:
    """A copy of our own row, carried along by another program, in the native format but for its
    judgements.

    Raises:
        UserError: it isn't such a row any more.
    """
    return checked(_OwnRow, value, where).model_dump(exclude_unset=True)


def by_another(row: Row, labeler: str | None) -> Row:
    """Our row as somebody else judged it in another program: a label of its own."""
    fields = {name: row[name] for name in _OF_THE_TASK if name in row}
    fields["completions"] = [
        {name: answer[name] for name in _OF_THE_ANSWER if name in answer}
        for answer in row.get("completions", [])
    ]
    return foreign_line(fields if labeler is None else fields | {"labeler": labeler})


def told_apart(lines: Iterable[LabelLine]) -> Iterator[LabelLine]:
    """Labels of nobody known that say the same, each with an id of its own.

    The id of a foreign label is made from what it says. For a labeler with a name that is right:
    the same row twice is one label. Two rows without a name may well be two people's.
    """
    times = Counter[str]()
    for line in lines:
        times[line.submission_id] += line.labeler is None
        nth = times[line.submission_id]
        name = str(uuid.uuid5(_NAMESPACE, f"{line.submission_id} {nth}"))
        yield line if nth < 2 else line.model_copy(update={"submission_id": name})


def without_judgements(line: LabelLine) -> Row:
    """All of a line but what was said of each answer, and what it corrects, which isn't there."""
    row = line.model_dump(exclude_none=True, exclude={"supersedes"})
    for answer in row.get("completions", []):
        for name in JUDGED:
            answer.pop(name, None)
    return row


def foreign_line(fields: Row) -> Row:
    """A label that another program made, as a native row; its id is a function of what it says."""
    content = json.dumps(fields, sort_keys=True, ensure_ascii=False)
    named = str(uuid.uuid5(_NAMESPACE, content))
    return {"format": LINE_FORMAT, "submission_id": named, "kind": "rank", **fields}


def user_id(labeler: str | None) -> str:
    """A UUID for a labeler, for programs that want one."""
    return str(uuid.uuid5(_NAMESPACE, labeler or ""))


def conversation(messages: Sequence[Message]) -> str:
    """A conversation as one text for people to read."""
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"{message.role.capitalize()}: {message.content}" for message in messages)


def read_array(path: Path) -> list[Any]:
    """A whole JSON file that holds an array.

    Raises:
        UserError: it isn't there, isn't JSON or holds something else.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; check the path") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, or not JSON
        raise UserError(f"{path}: expected JSON, got: {error}; write it again") from None
    if not isinstance(found, list):
        raise UserError(
            f"{path}: expected a JSON array of records, got {excerpt(found)}; export it again"
        )
    return found
