"""Argilla's folder of a dataset: records.json, and its settings and model under .argilla.

A ranking question of Argilla's loses ties in its SDK. So each answer has questions of its own: a
rating `rank_i` from 1 to K, a rating `likert_i` and a choice of flags `flags_i`. One record for
each label, answered by its labeler.

Source of the shapes: argilla 2.8.0, `Settings.serialize`, `DatasetModel` and `Record.to_dict`.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from trivium.data.convert import Row, excerpt
from trivium.errors import UserError
from trivium.labels import LabelLine, Question
from trivium.labels.sheet import letter
from trivium.store.formats.plain import (
    LeftOut,
    by_another,
    checked,
    conversation,
    foreign_line,
    own_row,
    read_array,
    to_line,
    user_id,
    without_judgements,
)

MOST_ANSWERS = 10
"""Options that a rating question of Argilla's may have."""
_QUESTIONS = {"rank": "rank", "likert": "rating", "flags": "flags"}
_UNSET = {"id": None, "inserted_at": None, "updated_at": None}
_ANSWER = re.compile(r"answer_([1-9][0-9]{0,2})")


class _Response(BaseModel):
    """What one person said to one question."""

    value: Any
    user_id: Any = None


class _Record(BaseModel):
    """As much of a record as is read."""

    id: Any = None
    fields: dict[str, Any]
    responses: dict[str, list[_Response] | None] | None = None
    metadata: dict[str, Any] | None = None


Responses = dict[str, dict[str | None, Any]]
"""By question and person, what they said."""


def records_of(lines: Iterable[LabelLine]) -> Iterator[Row]:
    """One record for each label; `settings_of` says whether Argilla can hold them."""
    for line in lines:
        answers = line.completions or []
        rest = json.dumps(without_judgements(line), ensure_ascii=False)
        fields = {"prompt": conversation(line.prompt)}
        fields |= {f"answer_{n}": answer.text for n, answer in enumerate(answers, start=1)}
        yield {
            "id": line.submission_id,
            "fields": fields,
            "metadata": {"trivium": rest, "group_id": line.id},
            "suggestions": {},
            "responses": _responses(line),
            "vectors": {},
            "_server_id": None,
        }


def settings_of(largest: int, question: Question) -> Row:
    """The dataset's fields and questions, for up to ``largest`` answers.

    Raises:
        UserError: Argilla's ratings have fewer options than that.
    """
    if largest > MOST_ANSWERS:
        raise UserError(
            f"a set has {largest} answers, and Argilla ranks up to {MOST_ANSWERS}; "
            "export another format"
        )
    fields = [_field("prompt", "Prompt", required=True)]
    questions: list[Row] = []
    scale = question.rating
    for number in range(1, largest + 1):
        name = letter(number - 1)
        fields.append(_field(f"answer_{number}", f"Answer {name}", required=False))
        ranks, ratings = range(1, max(largest, 2) + 1), range(scale.low, scale.high + 1)
        questions.append(_rating(f"rank_{number}", f"Rank of {name}", ranks))
        questions.append(_rating(f"likert_{number}", f"Rating of {name}", ratings))
        questions.append(_flags(f"flags_{number}", f"Flags of {name}", question))
    questions.append(
        _question("completion", "Your own answer", {"type": "text", "use_markdown": False})
    )
    return {
        "guidelines": "Rank 1 is best; equal ranks are a tie.",
        "questions": questions,
        "fields": fields,
        "vectors": [],
        "metadata": [],
        "allow_extra_metadata": True,
        "distribution": {"strategy": "overlap", "min_submitted": 1},
        "mapping": None,
    }


def dataset_model() -> Row:
    """The dataset itself."""
    own = {"name": "trivium", "status": "draft", "guidelines": None, "allow_extra_metadata": True}
    return {**_UNSET, **own, "distribution": None, "workspace_id": None, "last_activity_at": None}


def read(folder: Path) -> Iterator[LabelLine | LeftOut]:
    """The labels of a folder, written by us or by Argilla: one for each person of each record."""
    path = folder / "records.json"
    for number, found in enumerate(read_array(path), start=1):
        where = f"{path}: record {number}"
        record = checked(_Record, found, where)
        responses = {
            question: {
                _user(given.user_id): given.value
                for given in answered or ()
                if given.value is not None
            }
            for question, answered in (record.responses or {}).items()
        }
        if "trivium" in (record.metadata or {}):
            yield from _own(record, responses, where)
            continue
        asked, users = _asked(record, where), _users(responses)
        if not users:
            yield LeftOut("not labeled")
        for user in users:
            if _has_ranked(responses, user):
                row = {"id": str(number) if record.id is None else str(record.id)}
                row |= _judged(asked, responses, user)
                yield to_line(foreign_line(row if user is None else row | {"labeler": user}), where)
            else:
                yield LeftOut("not ranked")


def _responses(line: LabelLine) -> Row:
    given: Row = {}
    user = user_id(line.labeler)
    for number, answer in enumerate(line.completions or [], start=1):
        judged = {"rank": answer.rank, "likert": answer.rating, "flags": answer.flags}
        for name, value in judged.items():
            if value is not None:
                given[f"{name}_{number}"] = [{"value": value, "user_id": user}]
    if line.completion is not None:
        given["completion"] = [{"value": line.completion, "user_id": user}]
    return given


def _own(record: _Record, responses: Responses, where: str) -> Iterator[LabelLine]:
    """The label that came from us, and those that others made of the same record since."""
    assert record.metadata is not None
    place = f"{where}: metadata.trivium"
    try:
        rest = json.loads(record.metadata["trivium"])
    except (TypeError, ValueError, RecursionError):
        got = excerpt(record.metadata["trivium"])
        raise UserError(f"{place}: expected our own JSON, got {got}; export it again") from None
    users = _users(responses)
    ours = user_id(own_row(rest, place).get("labeler"))
    if ours not in users and users and "skip" not in rest:
        ours = users[0]  # Argilla's users have taken the place of the ids that we wrote
    yield to_line(_judged_own(rest, place, responses, ours), where)
    for user in users:
        if user != ours and _has_ranked(responses, user):
            row = _judged_own(rest, place, responses, user)
            yield to_line(by_another(row, user), where)


def _judged_own(rest: Any, where: str, responses: Responses, user: str | None) -> Row:
    row = own_row(rest, where)
    for number, answer in enumerate(row.get("completions", []), start=1):
        _judge(answer, number, responses, user)
    return row


def _asked(record: _Record, where: str) -> Row:
    """A record that was made in Argilla: a prompt, and answers by their numbers."""
    given = record.fields.get("prompt")
    if not isinstance(given, str | list):  # Argilla's chats are lists of messages
        got = "nothing" if given is None else excerpt(given)
        raise UserError(f"{where}: fields.prompt: expected text, got {got}; name a field prompt")
    prompt = [{"role": "user", "content": given}] if isinstance(given, str) else given
    matches = [_ANSWER.fullmatch(name) for name, text in record.fields.items() if text is not None]
    numbers = sorted(int(match[1]) for match in matches if match is not None)
    shown = {n: {"text": record.fields[f"answer_{n}"]} for n in numbers}
    return {"prompt": prompt, "completions": shown}


def _judged(asked: Row, responses: Responses, user: str | None) -> Row:
    """The same with one person's responses filled in."""
    answers = {number: dict(answer) for number, answer in asked["completions"].items()}
    for number, answer in answers.items():
        _judge(answer, number, responses, user)
    return asked | {"completions": list(answers.values())}


def _judge(answer: Row, number: int, responses: Responses, user: str | None) -> None:
    for question, field in _QUESTIONS.items():
        said = responses.get(f"{question}_{number}", {})
        if user in said:
            answer[field] = said[user]


def _user(given: Any) -> str | None:
    return None if given is None else str(given)


def _users(responses: Responses) -> list[str | None]:
    """Everybody who answered anything, in the order in which they turn up."""
    return list(dict.fromkeys(user for answered in responses.values() for user in answered))


def _has_ranked(responses: Responses, user: str | None) -> bool:
    """Whether they ranked any answer; who only rated has not made a label."""
    return any(user in said for name, said in responses.items() if name.startswith("rank_"))


def _field(name: str, title: str, *, required: bool) -> Row:
    settings = {"type": "text", "use_markdown": False}
    shape = {"required": required, "description": None, "dataset_id": None, "type": "text"}
    return {**_UNSET, "name": name, "settings": settings, "title": title, **shape}


def _question(name: str, title: str, settings: Row) -> Row:
    shape = {"required": False, "dataset_id": None, "type": settings["type"]}
    return {
        **_UNSET,
        "name": name,
        "settings": settings,
        "title": title,
        "description": None,
        **shape,
    }


def _rating(name: str, title: str, values: range) -> Row:
    options = [{"value": value} for value in values]
    return _question(name, title, {"type": "rating", "options": options})


def _flags(name: str, title: str, question: Question) -> Row:
    options = [{"value": choice.id, "text": choice.text} for choice in question.flags]
    shape = {"visible_options": None, "options_order": "natural"}
    return _question(name, title, {"type": "multi_label_selection", "options": options, **shape})
