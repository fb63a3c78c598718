"""Label Studio's JSON: one task for each label, ranked into buckets, which carry ties.

Each annotation holds a ranker with the buckets rank_1 .. rank_K and, for each answer, a rating and
the flags as choices. The labeling interface that shows them is in `interface`.

Source of the ranker's shape: HumanSignal/label-studio-sdk, pull request 699.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

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
    without_judgements,
)

_UNSORTED = "_"
"""The bucket of the items that nobody has put into another."""


class _Annotation(BaseModel):
    """What one person did with a task."""

    result: list[dict[str, Any]]
    was_cancelled: bool = False
    completed_by: Any = None


class _Task(BaseModel):
    """As much of a task as is read."""

    data: dict[str, Any]
    annotations: list[_Annotation]
    meta: dict[str, Any] = {}
    id: Any = None


class _Item(BaseModel):
    """An answer."""

    id: str | int
    body: str


class _Items(BaseModel):
    """Of `data`, where answers are ranked."""

    prompt: str
    items: list[_Item]


class _Pair(BaseModel):
    """Of `data`, where one of two answers is chosen."""

    prompt: str
    answer1: str
    answer2: str


def tasks_of(lines: Iterable[LabelLine]) -> Iterator[Row]:
    """One task with one annotation for each label."""
    for line in lines:
        answers = line.completions or []
        items = [
            {"id": _item(place), "title": letter(place), "body": answer.text}
            for place, answer in enumerate(answers)
        ]
        annotation: Row = {"result": _results(line), "was_cancelled": line.skip is not None}
        if line.lead_time_ms is not None:
            annotation["lead_time"] = line.lead_time_ms / 1000
        yield {
            "data": {"prompt": conversation(line.prompt), "items": items},
            "annotations": [annotation],
            "meta": {"trivium": without_judgements(line), "labeler": line.labeler},
        }


def interface(largest: int, question: Question) -> str:
    """The labeling interface that fits the tasks, for up to ``largest`` answers."""
    buckets = "".join(
        f'\n    <Bucket name="rank_{rank}" title="Rank {rank}"/>' for rank in range(1, largest + 1)
    )
    choices = "".join(
        f"\n    <Choice value={quoteattr(flag.id)} hint={quoteattr(flag.text)}/>"
        for flag in question.flags
    )
    return (
        '<View>\n  <Text name="prompt" value="$prompt"/>\n'
        '  <List name="answers" value="$items" title="Answers"/>\n'
        f'  <Ranker name="rank" toName="answers">{buckets}\n  </Ranker>\n'
        f'  <Rating name="rating" toName="answers" maxRating="{question.rating.high}" '
        'perItem="true"/>\n'
        f'  <Choices name="flags" toName="answers" choice="multiple" perItem="true">{choices}\n'
        '  </Choices>\n  <TextArea name="completion" toName="prompt"/>\n</View>\n'
    )


def read(path: Path) -> Iterator[LabelLine | LeftOut]:
    """The labels of a file, ours or Label Studio's: rankers, and pairwise choices as K = 2."""
    for number, found in enumerate(read_array(path), start=1):
        where = f"{path}: task {number}"
        task = checked(_Task, found, where)
        if not task.annotations:
            yield LeftOut("not labeled")
        for nth, annotation in enumerate(task.annotations):
            row = _own(task, annotation, where)
            if annotation.was_cancelled and (row is None or "skip" not in row or nth):
                yield LeftOut("skipped")
            elif row is None:
                yield to_line(_foreign(task, annotation, number, where), where)
            elif nth:  # ours is the first; somebody else did the task again
                yield to_line(by_another(row, _labeler(annotation)), where)
            else:
                yield to_line(row, where)


def _item(place: int) -> str:
    return letter(place).lower()


def _results(line: LabelLine) -> list[Row]:
    answers = line.completions or []
    results: list[Row] = []
    if any(answer.rank is not None for answer in answers):
        buckets: dict[str, list[str]] = {}
        for rank in sorted({answer.rank for answer in answers if answer.rank is not None}):
            places = [place for place, answer in enumerate(answers) if answer.rank == rank]
            buckets[f"rank_{rank}"] = [_item(place) for place in places]
        results.append(_result("rank", "answers", "ranker", {"ranker": buckets}))
    for place, answer in enumerate(answers):
        item = {"item": _item(place)}
        if answer.rating is not None:
            value = {"rating": answer.rating}
            results.append(_result("rating", "answers", "rating", value) | item)
        if answer.flags is not None:
            value = {"choices": answer.flags}
            results.append(_result("flags", "answers", "choices", value) | item)
    if line.completion is not None:
        value = {"text": [line.completion]}
        results.append(_result("completion", "prompt", "textarea", value))
    return results


def _result(name: str, shown: str, kind: str, value: Row) -> Row:
    return {"from_name": name, "to_name": shown, "type": kind, "value": value}


def _own(task: _Task, annotation: _Annotation, where: str) -> Row | None:
    """The row that came from us, with its judgements; None if the task isn't ours."""
    if "trivium" not in task.meta:
        return None
    row = own_row(task.meta["trivium"], f"{where}: meta.trivium")
    answers: list[Row] = row.get("completions", [])
    by_item = {_item(place): answer for place, answer in enumerate(answers)}
    _judge(by_item, annotation.result, where)
    return row


def _foreign(task: _Task, annotation: _Annotation, number: int, where: str) -> Row:
    """A task that was made in Label Studio, as one person did it."""
    if "items" in task.data:
        data = checked(_Items, task.data, f"{where}: data")
        by_item: dict[str, Row] = {str(item.id): {"text": item.body} for item in data.items}
        if len(by_item) < len(data.items):
            raise UserError(f"{where}: data.items: expected different ids; export it again")
        _judge(by_item, annotation.result, where)
        answers = list(by_item.values())
    elif "answer1" in task.data:
        data = checked(_Pair, task.data, f"{where}: data")
        answers = _chosen(data.answer1, data.answer2, annotation.result, where)
    else:
        wanted = "expected items, or answer1 and answer2"
        raise UserError(f"{where}: data: {wanted}, got {', '.join(task.data)}; export it as JSON")
    fields: Row = {
        "id": str(number) if task.id is None else str(task.id),
        "prompt": [{"role": "user", "content": data.prompt}],
        "completions": answers,
    }
    labeler = _labeler(annotation)
    return foreign_line(fields if labeler is None else fields | {"labeler": labeler})


def _labeler(annotation: _Annotation) -> str | None:
    match annotation.completed_by:
        case None:
            return None
        case {"id": name} | name:  # some exports hold the whole person, e-mail address included
            return f"label-studio-{name}"


def _judge(by_item: Mapping[str, Row], results: Sequence[Row], where: str) -> None:
    """Write ranks, ratings and flags into the answers."""
    for result in results:
        match result:
            case {"type": "ranker", "value": {"ranker": dict(buckets)}}:
                filled = [name for name in buckets if buckets[name] and name != _UNSORTED]
                for rank, bucket in enumerate(sorted(filled, key=_number), start=1):
                    for item in _items_in(buckets[bucket], f"{where}: {bucket}"):
                        _of(by_item, item, where)["rank"] = rank
            case {"type": "rating", "item": item, "value": {"rating": rating}}:
                _of(by_item, item, where)["rating"] = rating
            case {"type": "choices", "item": item, "value": {"choices": flags}}:
                _of(by_item, item, where)["flags"] = flags
            case _:
                continue


def _items_in(bucket: Any, where: str) -> list[Any]:
    if not isinstance(bucket, list):
        raise UserError(
            f"{where}: expected a list of items, got {excerpt(bucket)}; export it again"
        )
    return bucket


def _of(by_item: Mapping[str, Row], item: object, where: str) -> Row:
    if str(item) not in by_item:
        raise UserError(f"{where}: {excerpt(item)} isn't one of data.items; export it again")
    return by_item[str(item)]


def _number(bucket: str) -> int:
    digits = bucket.rpartition("_")[2]
    return int(digits) if digits.isdecimal() and len(digits) < 10 else 0


def _chosen(left: str, right: str, results: Sequence[Row], where: str) -> list[Row]:
    """Two answers of a pairwise task; nothing selected, or both, is a tie."""
    for result in results:
        match result:
            case {"type": "pairwise", "value": {"selected": "left"}}:
                ranks = (1, 2)
            case {"type": "pairwise", "value": {"selected": "right"}}:
                ranks = (2, 1)
            case {"type": "pairwise"}:
                ranks = (1, 1)
            case _:
                continue
        return [{"text": t, "rank": r} for t, r in zip((left, right), ranks, strict=True)]
    raise UserError(f"{where}: expected a pairwise result; leave tasks without one out")
