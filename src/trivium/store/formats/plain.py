"""What the formats share: lines as plain JSON, judgements apart from the rest, errors by place."""

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trivium.data.convert import Row, excerpt
from trivium.errors import UserError
from trivium.labels import LabelLine, Message
from trivium.labels.line import LINE_FORMAT

JUDGED = ("rank", "rating", "flags")
_NAMESPACE = uuid.UUID("6f1c1f0e-6b0e-5a6e-9d0a-2f3b8d1b6c11")  # of ids for labels that have none


def to_line(row: Row, where: str) -> LabelLine:
    """A row in the native format, checked.

    Raises:
        UserError: names the place and the field.
    """
    try:
        return LabelLine.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "row"
        problem = first["msg"].removeprefix("Value error, ")
        message = f"{where}: {field}: {problem}, got {excerpt(first['input'])}; mend or remove it"
        raise UserError(message) from None


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


def read_json(path: Path) -> Any:
    """A whole JSON file.

    Raises:
        UserError: it isn't there or isn't JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; check the path") from None
    except ValueError as error:  # not UTF-8, or not JSON
        raise UserError(f"{path}: expected JSON, got: {error}; write it again") from None
