"""Between label lines and rows: the line a stored label is, and the rows a line becomes."""

import json
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, insert, select, update

from trivium.labels import LabelLine, Prompt
from trivium.labels.line import JudgedAnswer, Skip
from trivium.store import clock
from trivium.store.adding import NewAnswer, add_task, load_messages
from trivium.store.schema import AnyRow, answers, assignments, labels, people, prompts, tasks
from trivium.store.settings import Settings, read_settings

_BATCH = 500
_OLDER = labels.alias("older")
# Statements that every request runs are built once: building one takes longer than running it.
_ALL = (
    select(
        labels,
        people.c.alias,
        _OLDER.c.submission_id.label("older_id"),
        *(prompts.c.key, prompts.c.messages),
        *(prompts.c.author_id, prompts.c.org_id, prompts.c.source),
    )
    .select_from(labels)
    .join(tasks, tasks.c.id == labels.c.task_id)
    .join(prompts, prompts.c.id == tasks.c.prompt_id)
    .outerjoin(people, people.c.id == labels.c.person_id)
    .outerjoin(_OLDER, _OLDER.c.id == labels.c.supersedes)
)
_ROWS = _ALL.where(labels.c.id > bindparam("after")).order_by(labels.c.id).limit(_BATCH)
_ROW = _ALL.where(labels.c.id == bindparam("label"))
_ANSWERS = (
    select(answers)
    .where(answers.c.task_id.in_(bindparam("task_ids", expanding=True)))
    .order_by(answers.c.task_id, answers.c.place)
)
_ANSWERS_OF_ONE = (
    select(answers).where(answers.c.task_id == bindparam("task")).order_by(answers.c.place)
)
_JUDGED = ("rank", "rating", "flags", "score", "clicked")
_PLAIN = ("completion", "order", "note", "question_version", "lead_time_ms")


def body_of(line: LabelLine) -> dict[str, Any]:
    """What was said, without what the task and the columns of the label say already."""
    fields = line.model_dump(exclude_none=True)
    body = {name: fields[name] for name in _PLAIN if name in fields}
    if line.completions is not None:
        body["judgements"] = [
            {name: answer[name] for name in _JUDGED if name in answer}
            for answer in fields["completions"]
        ]
    if line.skip is not None:
        body["skip"] = line.skip.reason
    if line.not_rankable:
        body["not_rankable"] = True
    return body


def lines_of(
    connection: Connection, where: ColumnElement[bool] | None = None, *, after: int = 0
) -> Iterator[tuple[int, LabelLine]]:
    """Stored labels and their ids, oldest first, a batch at a time.

    Args:
        connection: to read from.
        where: a condition on `labels`; None: all.
        after: only labels with greater ids.
    """
    rows = _ROWS if where is None else _ROWS.where(where)
    while batch := connection.execute(rows, {"after": after}).all():
        of_task = answers_of(connection, {row.task_id for row in batch if row.kind == "rank"})
        for row in batch:
            yield row.id, _line(row, of_task[row.task_id])
        after = batch[-1].id


def line_of(connection: Connection, label_id: int) -> tuple[LabelLine, int | None]:
    """One stored label, and the id of the one that it corrects."""
    row = connection.execute(_ROW, {"label": label_id}).one()
    candidates = answers_of_one(connection, row.task_id) if row.kind == "rank" else ()
    return _line(row, candidates), row.supersedes


def answers_of(connection: Connection, task_ids: set[int]) -> dict[int, list[AnyRow]]:
    """Rows of `answers` by task, in their places; an empty list for any other task."""
    found: dict[int, list[AnyRow]] = defaultdict(list)
    for row in connection.execute(_ANSWERS, {"task_ids": list(task_ids)}):
        found[row.task_id].append(row)
    return found


def answers_of_one(connection: Connection, task_id: int) -> Sequence[AnyRow]:
    """Rows of `answers` of one task, in their places."""
    return connection.execute(_ANSWERS_OF_ONE, {"task": task_id}).all()


def _line(row: AnyRow, candidates: Sequence[AnyRow]) -> LabelLine:
    body = json.loads(row.body)
    plain = {name: body[name] for name in _PLAIN if name in body}
    judged = None
    if row.kind == "rank":
        judged = [
            JudgedAnswer(text=answer.text, id=answer.key, model=answer.model, **judgement)
            for answer, judgement in zip(candidates, body["judgements"], strict=True)
        ]
    return LabelLine(
        format="trivium-label-1",
        submission_id=row.submission_id,
        kind=row.kind,
        id=row.key,
        prompt=load_messages(row.messages),
        completions=judged,
        author_id=row.author_id,
        org_id=row.org_id,
        source=row.source,
        labeler=row.alias,
        not_rankable="not_rankable" in body,
        skip=Skip(reason=body["skip"]) if "skip" in body else None,
        late=row.late,
        counted=row.counted,
        supersedes=row.older_id,
        saved_ms=row.saved_ms,
        **plain,
    )


def insert_lines(connection: Connection, lines: Sequence[LabelLine]) -> list[LabelLine]:
    """Store labels that came from elsewhere, with all that they need: tasks, people, assignments.

    Returns:
        Those that were not there yet, as they are stored.
    """
    rules = read_settings(connection)
    ids = [line.submission_id for line in lines]
    known = _known(connection, ids)
    new: list[LabelLine] = []
    for line in lines:
        if line.submission_id in known:
            continue
        known.add(line.submission_id)
        _insert_line(connection, line, rules)
        new.append(line)
    stored = labels.c.submission_id.in_([line.submission_id for line in new])
    return [line for _, line in lines_of(connection, stored)] if new else []


def _known(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of the submission ids that are stored."""
    column = labels.c.submission_id
    return set(connection.execute(select(column).where(column.in_(ids))).scalars())


def _insert_line(connection: Connection, line: LabelLine, rules: Settings) -> None:
    prompt = Prompt(
        id=line.id,
        prompt=line.prompt,
        author_id=line.author_id,
        org_id=line.org_id,
        source=line.source,
    )
    candidates = None
    if line.completions is not None:
        candidates = [NewAnswer(a.text, a.id, a.model) for a in line.completions]
    task = add_task(connection, prompt, candidates, rules, need=0, now_ms=line.saved_ms)
    if candidates is not None and not task.new:
        line = _in_places(line, answers_of_one(connection, task.id))
    person_id = None if line.labeler is None else person_of_alias(connection, line.labeler)
    older = _superseded(connection, line)
    had = older is not None and older.counted and not older.skipped
    has = line.counted and line.skip is None
    _move_places(connection, task.id, int(has) - int(had))
    assignment_id = None
    if person_id is not None:
        assignment_id = _assignment(connection, task.id, person_id, line)
    connection.execute(
        insert(labels).values(
            submission_id=line.submission_id,
            task_id=task.id,
            person_id=person_id,
            assignment_id=assignment_id,
            kind=line.kind,
            skipped=line.skip is not None,
            late=line.late,
            counted=line.counted,
            supersedes=None if older is None else older.id,
            saved_ms=line.saved_ms,
            body=json.dumps(body_of(line), ensure_ascii=False),
        )
    )


def _in_places(line: LabelLine, candidates: Sequence[AnyRow]) -> LabelLine:
    """The line with its answers in the order in which the task has them."""
    assert line.completions is not None
    waiting: dict[NewAnswer, deque[int]] = defaultdict(deque)
    for place, answer in enumerate(line.completions):
        waiting[NewAnswer(answer.text, answer.id, answer.model)].append(place)
    old_places = [waiting[NewAnswer(c.text, c.key, c.model)].popleft() for c in candidates]
    if old_places == sorted(old_places):
        return line
    new_places = {old: new for new, old in enumerate(old_places)}
    order = None if line.order is None else [new_places[place] for place in line.order]
    completions = [line.completions[place] for place in old_places]
    return line.model_copy(update={"completions": completions, "order": order})


def person_of_alias(connection: Connection, alias: str) -> int:
    """Who carries the name that exports use; somebody new, who can't sign in, if nobody does."""
    found = connection.execute(select(people.c.id).where(people.c.alias == alias)).scalar()
    if found is not None:
        return found
    row = {"alias": alias, "role": "labeler", "active": False, "created_ms": clock.now()}
    return connection.execute(insert(people).values(row).returning(people.c.id)).scalar_one()


def _superseded(connection: Connection, line: LabelLine) -> AnyRow | None:
    """The label that the line corrects, if it is there and nothing else corrects it."""
    newer = labels.alias("newer")
    return connection.execute(
        select(labels.c.id, labels.c.counted, labels.c.skipped).where(
            labels.c.submission_id == line.supersedes,
            ~select(newer.c.id).where(newer.c.supersedes == labels.c.id).exists(),
        )
    ).one_or_none()


def _move_places(connection: Connection, task_id: int, places: int) -> None:
    """So many labels of the task more, or fewer; its need grows if it has no place left."""
    task = connection.execute(
        select(tasks.c.need, tasks.c.taken).where(tasks.c.id == task_id).with_for_update()
    ).one()
    taken = task.taken + places
    values = {"taken": taken, "done": tasks.c.done + places, "need": max(task.need, taken)}
    connection.execute(update(tasks).where(tasks.c.id == task_id).values(values))


def _assignment(connection: Connection, task_id: int, person_id: int, line: LabelLine) -> int:
    """The assignment on which the label was made: the person's only one of this task."""
    mine = (assignments.c.task_id == task_id) & (assignments.c.person_id == person_id)
    found = connection.execute(select(assignments.c.id).where(mine)).scalar()
    if found is not None:
        return found
    at_ms = clock.now(line.saved_ms)
    order = line.order or list(range(len(line.completions or [])))
    row = insert(assignments).values(
        task_id=task_id,
        person_id=person_id,
        state="submitted" if line.skip is None else "skipped",
        answer_order=json.dumps(order),
        question_version=line.question_version or "",
        leased_ms=at_ms,
        expires_ms=at_ms,
    )
    return connection.execute(row.returning(assignments.c.id)).scalar_one()
