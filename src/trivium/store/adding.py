"""Putting tasks in: a prompt to answer, or a prompt with K answers to rank.

The same prompt, or the same prompt with the same answers, is put in once, however often it comes:
both carry a digest of what they say.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Literal, NamedTuple

from sqlalchemy import Connection, bindparam, insert, select

from trivium.data import prompt_key, side
from trivium.data.split import normalise
from trivium.labels import Message, Prompt
from trivium.store import clock
from trivium.store.schema import AnyRow, answers, people, prompts, tasks
from trivium.store.settings import Settings

Kind = Literal["rank", "demonstration"]
KINDS: tuple[Kind, ...] = ("rank", "demonstration")
# Built once: building a statement takes longer than running it.
_KNOWN_PROMPT = select(prompts.c.id).where(prompts.c.digest == bindparam("digest"))
_KNOWN_TASK = select(tasks.c.id).where(tasks.c.digest == bindparam("digest"))
_NEW_PROMPT = insert(prompts).returning(prompts.c.id)
_NEW_TASK = insert(tasks).returning(tasks.c.id)
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
    digest = _digest(prompt.model_dump(exclude_none=True))
    found = connection.execute(_KNOWN_PROMPT, {"digest": digest}).scalar()
    if found is not None:
        return Added(found, new=False)
    row = {
        "digest": digest,
        "key": prompt.id,
        "messages": dump_messages(prompt.prompt),
        "author_id": prompt.author_id,
        "org_id": prompt.org_id,
        "source": prompt.source,
        "text_hash": text_hash(prompt.prompt),
        "prefix_hash": prefix_hash(prompt.prompt, rules.prefix_chars),
        "side": side(prompt, salt=rules.split_salt, heldout_fraction=rules.heldout_fraction),
        "taken_in": taken_in,
        "pii": json.dumps(pii or {}, sort_keys=True),
        "created_ms": clock.now(now_ms),
    }
    return Added(connection.execute(_NEW_PROMPT, row).scalar_one(), new=True)


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
    kind: Kind = "demonstration" if candidates is None else "rank"
    digest = task_digest(prompt, candidates)
    found = connection.execute(_KNOWN_TASK, {"digest": digest}).scalar()
    if found is not None:
        return Added(found, new=False)
    row = {
        "kind": kind,
        "prompt_id": add_prompt(connection, prompt, rules, now_ms=now_ms).id,
        "digest": digest,
        "status": "open",
        "need": _need(digest, rules) if need is None else need,
        "taken": 0,
        "done": 0,
        "skips": 0,
        "priority": priority,
        "created_ms": clock.now(now_ms),
    }
    task_id = connection.execute(_NEW_TASK, row).scalar_one()
    if candidates:
        _add_answers(connection, task_id, candidates)
    return Added(task_id, new=True)


def task_digest(prompt: Prompt, candidates: Sequence[NewAnswer] | None) -> str:
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


def _need(digest: str, rules: Settings) -> int:
    """How many people do a task: a property of the task alone."""
    overlaps = int(digest[:13], 16) / 16**13 < rules.overlap_share
    return rules.overlap_need if overlaps else 1


def _add_answers(connection: Connection, task_id: int, candidates: Sequence[NewAnswer]) -> None:
    models = {answer.model for answer in candidates if answer.model is not None}
    writers: dict[str, int | None] = dict.fromkeys(models)
    if models:
        writers |= {
            row.alias: row.id for row in connection.execute(_WRITERS, {"models": list(models)})
        }
    connection.execute(
        _NEW_ANSWERS,
        [
            {
                "task_id": task_id,
                "place": place,
                "key": answer.key,
                "text": answer.text,
                "model": answer.model,
                "person_id": None if answer.model is None else writers[answer.model],
            }
            for place, answer in enumerate(candidates)
        ],
    )


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
