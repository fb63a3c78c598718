"""Putting tasks in: a prompt to answer, or a prompt with K answers to rank.

The same prompt, or the same prompt with the same answers, is put in once, however often it comes:
both carry a digest of what they say.

Many are put in at once, with the same few statements as one, and all that can be worked out without
the database is worked out before: others wait while a transaction writes.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Insert, Select, Table, bindparam, insert, select

from trivium.data import prompt_key, side
from trivium.data.split import normalise
from trivium.labels import Message, Prompt
from trivium.store import clock
from trivium.store.schema import AnyRow, answers, people, prompts, tasks
from trivium.store.settings import Settings

Kind = Literal["rank", "demonstration"]
KINDS: tuple[Kind, ...] = ("rank", "demonstration")
# Built once: building a statement takes longer than running it.
_NEW_ANSWERS = insert(answers)
_WRITERS = select(people.c.alias, people.c.id).where(
    people.c.alias.in_(bindparam("models", expanding=True))
)


class NewAnswer(NamedTuple):
    """An answer to be ranked."""

    text: str
    key: str | None = None
    """Its id, where it has one."""
    model: str | None = None
    """What wrote it; the exports' name of a labeler for a demonstration."""


class Added(NamedTuple):
    """A row that is there now."""

    id: int
    new: bool


Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task before it is put in: rows as they will be stored, but for their ids."""

    prompt: Row
    task: Row
    answers: Sequence[NewAnswer]
    """Empty where a demonstration is asked for."""


class _Once(NamedTuple):
    """Statements for a table whose rows are known by their digests."""

    insert: Insert
    ids: "Select[Any, Any]"


def _once(table: Table) -> _Once:
    wanted = table.c.digest.in_(bindparam("digests", expanding=True))
    return _Once(insert(table), select(table.c.digest, table.c.id).where(wanted))


_PROMPTS, _TASKS = _once(prompts), _once(tasks)


def add_prompt(
    connection: Connection,
    prompt: Prompt,
    rules: Settings,
    *,
    taken_in: bool = False,
    pii: dict[str, int] | None = None,
    now_ms: int | None = None,
) -> Added:
    """Store a prompt."""
    row = _prompt_row(prompt, rules, clock.now(now_ms))
    row |= {"taken_in": taken_in, "pii": json.dumps(pii or {}, sort_keys=True)}
    known = _ids(connection, _PROMPTS, [row])
    return Added(_put(connection, _PROMPTS, known, [row])[row["digest"]], new=not known)


def add_prompts(connection: Connection, new: Sequence[NewTask]) -> int:
    """Store the prompts of tasks, without the tasks; how many were not there yet."""
    rows = [made.prompt for made in new]
    known = _ids(connection, _PROMPTS, rows)
    return len(_put(connection, _PROMPTS, known, rows)) - len(known)


def stored_prompts(connection: Connection, new: Sequence[NewTask]) -> set[str]:
    """Digests of those tasks' prompts that are stored, field by field."""
    return set(_ids(connection, _PROMPTS, [made.prompt for made in new]))


def add_task(
    connection: Connection,
    prompt: Prompt,
    candidates: Sequence[NewAnswer] | None,
    rules: Settings,
    *,
    need: int | None = None,
    priority: int = 0,
    now_ms: int | None = None,
) -> Added:
    """Store a task and its prompt.

    Args:
        connection: of a transaction that writes.
        prompt: what is answered.
        candidates: answers to rank; None: a demonstration is asked for.
        rules: of the project.
        need: how many people do it; None: as the rules say.
        priority: tasks of lower numbers come first.
        now_ms: the time.
    """
    made = new_task(prompt, candidates, rules, need=need, priority=priority, now_ms=now_ms)
    return add_tasks(connection, [made])[0]


def new_task(
    prompt: Prompt,
    candidates: Sequence[NewAnswer] | None,
    rules: Settings,
    *,
    need: int | None = None,
    priority: int = 0,
    now_ms: int | None = None,
) -> NewTask:
    """A task for `add_tasks`; arguments as of `add_task`."""
    at_ms = clock.now(now_ms)
    digest = _task_digest(prompt, candidates)
    row = {
        "kind": "demonstration" if candidates is None else "rank",
        "digest": digest,
        "status": "open",
        "need": drawn_need(digest, rules) if need is None else need,
        "taken": 0,
        "done": 0,
        "skips": 0,
        "priority": priority,
        "created_ms": at_ms,
    }
    return NewTask(prompt=_prompt_row(prompt, rules, at_ms), task=row, answers=candidates or ())


def add_tasks(connection: Connection, new: Sequence[NewTask]) -> list[Added]:
    """Store tasks, with their prompts and answers; of two that say the same the first."""
    known = _ids(connection, _TASKS, [made.task for made in new])
    fresh: dict[str, NewTask] = {}
    for made in new:
        if (digest := made.task["digest"]) not in known:
            fresh.setdefault(digest, made)
    asked = [made.prompt for made in fresh.values()]
    prompt_ids = _put(connection, _PROMPTS, _ids(connection, _PROMPTS, asked), asked)
    rows = [made.task | {"prompt_id": prompt_ids[made.prompt["digest"]]} for made in fresh.values()]
    ids = _put(connection, _TASKS, known, rows)
    _add_answers(connection, [(ids[digest], made.answers) for digest, made in fresh.items()])
    done: list[Added] = []
    for digest in (made.task["digest"] for made in new):
        done.append(Added(ids[digest], new=fresh.pop(digest, None) is not None))
    return done


def _ids(connection: Connection, table: _Once, rows: Sequence[Row]) -> dict[str, int]:
    """Ids by digest, of those rows that are there."""
    if not rows:
        return {}
    found = connection.execute(table.ids, {"digests": [row["digest"] for row in rows]})
    return {row.digest: row.id for row in found}


def _put(
    connection: Connection, table: _Once, known: dict[str, int], rows: Sequence[Row]
) -> dict[str, int]:
    """Ids by digest of all rows, of which those that aren't known are put in."""
    new = {row["digest"]: row for row in rows if row["digest"] not in known}
    if not new:
        return known
    connection.execute(table.insert, list(new.values()))
    return known | _ids(connection, table, list(new.values()))


def _prompt_row(prompt: Prompt, rules: Settings, at_ms: int) -> Row:
    return {
        "digest": _digest(prompt.model_dump(exclude_none=True)),
        "key": prompt.id,
        "messages": dump_messages(prompt.prompt),
        "author_id": prompt.author_id,
        "org_id": prompt.org_id,
        "source": prompt.source,
        "text_hash": text_hash(prompt.prompt),
        "prefix_hash": prefix_hash(prompt.prompt, rules.prefix_chars),
        "side": side(prompt, salt=rules.split_salt, heldout_fraction=rules.heldout_fraction),
        "taken_in": False,
        "pii": "{}",
        "created_ms": at_ms,
    }


def _task_digest(prompt: Prompt, candidates: Sequence[NewAnswer] | None) -> str:
    """The same for the same prompt with the same answers, in whatever order they come."""
    found = None if candidates is None else sorted(map(json.dumps, candidates))
    return _digest([prompt.model_dump(exclude_none=True), found])


def dump_messages(messages: Sequence[Message]) -> str:
    """A conversation as stored text."""
    return json.dumps([message.model_dump() for message in messages], ensure_ascii=False)


def load_messages(text: str) -> list[Message]:
    """A conversation from stored text."""
    return [Message(role=row["role"], content=row["content"]) for row in json.loads(text)]


def prompt_of(row: AnyRow) -> Prompt:
    """A row of `prompts` as the contract's prompt."""
    return Prompt(
        id=row.key,
        prompt=load_messages(row.messages),
        author_id=row.author_id,
        org_id=row.org_id,
        source=row.source,
    )


def text_hash(messages: Sequence[Message]) -> str:
    """The same for prompts that say the same, after `trivium.data.split.normalise`."""
    return _digest(prompt_key(messages))


def prefix_hash(messages: Sequence[Message], chars: int) -> str | None:
    """The same for prompts that share a beginning of at least ``chars`` characters.

    Two texts share such a beginning exactly if their first ``chars`` characters are equal, so no
    neighbours need be compared. Instructions of the system, which a whole product shares, don't
    count. None for a text that is shorter.
    """
    text = "\n".join(normalise(m.content) for m in messages if m.role != "system")
    return _digest([chars, text[:chars]]) if len(text) >= chars else None


def drawn_need(digest: str, rules: Settings) -> int:
    """How many people do a task: a property of the task alone."""
    overlaps = int(digest[:13], 16) / 16**13 < rules.overlap_share
    return rules.overlap_need if overlaps else 1


def _add_answers(connection: Connection, sets: Iterable[tuple[int, Sequence[NewAnswer]]]) -> None:
    """Store the answers of tasks. Who is called like a model wrote it: a labeler, who won't rank
    their own.
    """
    rows = [
        {"task_id": task_id, "place": place, **answer._asdict()}
        for task_id, candidates in sets
        for place, answer in enumerate(candidates)
    ]
    models = list({row["model"] for row in rows if row["model"] is not None})
    writers: dict[str | None, int] = {}
    if models:
        found = connection.execute(_WRITERS, {"models": models})
        writers = {row.alias: row.id for row in found}
    if rows:
        written = [row | {"person_id": writers.get(row["model"])} for row in rows]
        connection.execute(_NEW_ANSWERS, written)


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
