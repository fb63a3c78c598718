"""Label Studio's JSON: one task for each label, ranked into buckets, which carry ties.

Each annotation holds a ranker with the buckets rank_1 .. rank_K and, for each answer, a rating and
the flags as choices. The labeling interface that shows them is in `interface`.

Source of the ranker's shape: HumanSignal/label-studio-sdk, pull request 699.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from trivium.data.convert import Row
from trivium.errors import UserError
from trivium.labels import LabelLine, Question
from trivium.labels.sheet import letter
from trivium.store.formats.plain import (
    conversation,
    foreign_line,
    read_json,
    to_line,
    without_judgements,
)


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


def read(path: Path) -> Iterator[LabelLine]:
    """The labels of a file, ours or Label Studio's: rankers, and pairwise choices as K = 2."""
    for number, task in enumerate(read_json(path), start=1):
        where = f"{path}: task {number}"
        match task:
            case {"data": dict(), "annotations": [*annotations]}:
                for annotation in annotations:
                    yield to_line(_row(task, annotation, where), where)
            case _:
                raise UserError(f"{where}: expected data and annotations; export it as JSON")


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


def _row(task: Any, annotation: Any, where: str) -> Row:
    results = annotation["result"]
    match task:
        case {"meta": {"trivium": dict(rest)}}:
            answers = rest.get("completions", [])
            _judge(answers, results, where)
            return rest
        case {"data": {"prompt": str(prompt), "items": [*items]}}:
            answers = [{"text": item["body"]} for item in items]
            _judge(answers, results, where, [str(item["id"]) for item in items])
        case {"data": {"prompt": str(prompt), "answer1": str(left), "answer2": str(right)}}:
            answers = _chosen(left, right, results, where)
        case _:
            wanted = "expected data.prompt with data.items, or with answer1 and answer2"
            raise UserError(f"{where}: {wanted}; export it as JSON")
    fields: Row = {
        "id": str(task["id"]) if "id" in task else where.rpartition(" ")[2],
        "prompt": [{"role": "user", "content": prompt}],
        "completions": answers,
    }
    if "completed_by" in annotation:
        fields["labeler"] = f"label-studio-{annotation['completed_by']}"
    return foreign_line(fields)


def _judge(
    answers: list[Row], results: Sequence[Any], where: str, names: Sequence[str] | None = None
) -> None:
    """Write ranks, ratings and flags into the answers."""
    items = [_item(place) for place in range(len(answers))] if names is None else names
    by_item = dict(zip(items, answers, strict=True))
    for result in results:
        match result:
            case {"type": "ranker", "value": {"ranker": dict(buckets)}}:
                for rank, bucket in enumerate(sorted(buckets, key=_number), start=1):
                    for item in buckets[bucket]:
                        _of(by_item, item, where)["rank"] = rank
            case {"type": "rating", "item": item, "value": {"rating": rating}}:
                _of(by_item, item, where)["rating"] = rating
            case {"type": "choices", "item": item, "value": {"choices": flags}}:
                _of(by_item, item, where)["flags"] = flags
            case _:
                continue


def _of(by_item: dict[str, Row], item: object, where: str) -> Row:
    if str(item) not in by_item:
        raise UserError(f"{where}: {item!r} isn't one of data.items; export it again")
    return by_item[str(item)]


def _number(bucket: str) -> int:
    digits = bucket.rpartition("_")[2]
    return int(digits) if digits.isdecimal() else 0


def _chosen(left: str, right: str, results: Sequence[Any], where: str) -> list[Row]:
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
