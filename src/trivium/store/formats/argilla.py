"""Argilla's folder of a dataset: records.json, and its settings and model under .argilla.

A ranking question of Argilla's loses ties in its SDK. So each answer has questions of its own: a
rating `rank_i` from 1 to K, a rating `likert_i` and a choice of flags `flags_i`. One record for
each label, answered by its labeler.

Source of the shapes: argilla 2.8.0, `Settings.serialize`, `DatasetModel` and `Record.to_dict`.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from trivium.data.convert import Row
from trivium.errors import UserError
from trivium.labels import LabelLine, Question
from trivium.labels.sheet import letter
from trivium.store.formats.plain import (
    conversation,
    foreign_line,
    read_json,
    to_line,
    user_id,
    without_judgements,
)

MOST_ANSWERS = 10
"""Options that a rating question of Argilla's may have."""
_QUESTIONS = {"rank": "rank", "likert": "rating", "flags": "flags"}
_UNSET = {"id": None, "inserted_at": None, "updated_at": None}


def records_of(lines: Iterable[LabelLine]) -> Iterator[Row]:
    """One record for each label.

    Raises:
        UserError: a set has more answers than Argilla's ratings have options.
    """
    for line in lines:
        answers = line.completions or []
        if len(answers) > MOST_ANSWERS:
            raise UserError(
                f"{line.id}: {len(answers)} answers, Argilla ranks up to {MOST_ANSWERS}; "
                "export another format"
            )
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
    """The dataset's fields and questions, for up to ``largest`` answers."""
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


def read(folder: Path) -> Iterator[LabelLine]:
    """The labels of a folder, written by us or by Argilla; records nobody answered are left out."""
    path = folder / "records.json"
    for number, record in enumerate(read_json(path), start=1):
        where = f"{path}: record {number}"
        match record:
            case {"metadata": {"trivium": str(rest)}, "responses": dict(responses)}:
                yield to_line(_judged(json.loads(rest), responses, 0), where)
            case {"fields": dict(), "responses": dict(responses)}:
                times = max((len(given) for given in responses.values()), default=0)
                for answered in range(times):
                    yield to_line(_foreign(record, responses, answered), where)
            case _:
                raise UserError(f"{where}: expected fields and responses; export it again")


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


def _judged(row: Row, responses: Row, answered: int) -> Row:
    """The row with one user's responses filled in."""
    for number, answer in enumerate(row.get("completions", []), start=1):
        for question, field in _QUESTIONS.items():
            given = responses.get(f"{question}_{number}", [])
            if len(given) > answered:
                answer[field] = given[answered]["value"]
    return row


def _foreign(record: Any, responses: Row, answered: int) -> Row:
    """A record that was made in Argilla, as one user answered it."""
    fields = record["fields"]
    count = sum(name.startswith("answer_") for name in fields)
    answers = [{"text": fields[f"answer_{number}"]} for number in range(1, count + 1)]
    prompt = [{"role": "user", "content": fields["prompt"]}]
    row: Row = {"id": str(record["id"]), "prompt": prompt, "completions": answers}
    users = {given[answered]["user_id"] for given in responses.values() if len(given) > answered}
    return foreign_line(_judged(row, responses, answered) | {"labeler": min(users)})


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
