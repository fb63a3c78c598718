"""Prompts out of files, by the same rules as prompts that are handed in one by one.

A row with an author, an organisation or a word on consent was handed in by somebody. It needs the
consent, is scrubbed of personal data or refused, and caps, duplicates and long common beginnings
hold for it. Any other row is the project's own text: it is scrubbed where the scrubber is
installed; where it isn't, a row in which an e-mail address or a card number stands is refused, and
the others come in as they are and are counted. A prompt that the store has, field by field, has
been through this, and comes in again.

Answers are what models wrote, and stay as they are.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from sqlalchemy import Connection

from trivium.data import prompt_key
from trivium.data.convert import excerpt
from trivium.data.read import as_prompt
from trivium.data.sources import RawRow
from trivium.errors import UserError, install
from trivium.labels import Prompt
from trivium.store import events, intake, pii
from trivium.store.adding import (
    NewAnswer,
    NewTask,
    add_prompts,
    add_tasks,
    new_task,
    stored_prompts,
)
from trivium.store.database import Store, reading, writing
from trivium.store.settings import Settings, load_settings

Scrubbing = Literal["scrub", "none"] | None
"""`scrub`: every row, or none comes in; `none`: no row; None: as the project's rules say."""
_HELP = f"{install('pii')}; or say --pii none to take the file as it is"
_LEFT_OUT = {
    "duplicate": "whose prompt is there already",
    "similar": "with the long beginning of another",
    "author_cap": "beyond what one author may hand in",
    "org_cap": "beyond what one organisation may hand in",
}
NO_CONSENT = "without the author's consent"


class Incoming(NamedTuple):
    """A prompt as a file has it."""

    place: str
    """`file:line`, for error messages."""

    prompt: Prompt
    consent: bool | None
    """Whether its author agreed to its use; None: the row doesn't say."""

    named: bool
    """Whether it came with an id; else the id is made from what it says."""

    answers: Sequence[NewAnswer] | None = None
    """To be ranked; None: the prompt is bare."""


class Manner(NamedTuple):
    """How a file is taken in."""

    scrubbing: Scrubbing = None
    consent: bool = False
    """What holds where a row of an author doesn't say whether they agreed."""
    ask: bool = True
    """Ask for a demonstration of each bare prompt."""


BY_THE_RULES = Manner()


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of rows so far."""

    seen: int = 0
    new: int = 0
    left_out: Counter[str] = field(default_factory=Counter[str])
    """By reason, in words."""
    pii: Counter[str] = field(default_factory=Counter[str])
    """Personal data that was taken out, by type."""
    unsearched: int = 0
    """Rows stored without a search for personal data, for want of a scrubber."""


class _Ready(NamedTuple):
    made: NewTask
    prompt: Prompt
    bound: bool
    """Somebody's, and new: caps and the like hold for it."""


def incoming(raw: RawRow) -> Incoming:
    """A row as a bare prompt.

    Raises:
        UserError: names the place, the field, what was expected and what was found.
    """
    row = dict(raw.row)
    consent = row.pop("consent", None)
    if consent is not None and not isinstance(consent, bool):
        wanted = "consent: expected true or false"
        raise UserError(f"{raw.place}: {wanted}, got {excerpt(consent)}; mend or remove the row")
    prompt = as_prompt(RawRow(raw.place, row))
    return Incoming(raw.place, prompt, consent, str(row.get("id")) == prompt.id)


def is_somebodys(row: Incoming) -> bool:
    """Whether it was handed in by somebody, as far as the row says."""
    known = (row.prompt.author_id, row.prompt.org_id, row.consent)
    return any(field is not None for field in known)


def check(store: Store, rows: Sequence[Incoming]) -> None:
    """Say now, before any answer is written, what `take` would refuse or leave out.

    Raises:
        UserError: as `take`, or a row is without consent.
    """
    for row in rows:
        tally = Tally()
        _sorted_out(store, [row], BY_THE_RULES, tally)
        if tally.left_out:
            raise UserError(f"{row.place}: a prompt {NO_CONSENT}; leave it out")


def take(store: Store, rows: Sequence[Incoming], manner: Manner, tally: Tally) -> None:
    """Store what the rules allow, in one transaction, and count it.

    Raises:
        UserError: a row can't be scrubbed; nothing of these rows is stored.
    """
    before = replace(tally, left_out=Counter(tally.left_out), pii=Counter(tally.pii))
    rules, ready = _sorted_out(store, rows, manner, tally)
    anybodys = any(map(is_somebodys, rows))
    with writing(store) as connection:
        if anybodys:
            intake.hold_caps(connection)
            for row, one in ready:
                if not one.bound or _is_let_in(connection, row, one, rules, tally):
                    tally.new += _put(connection, [one.made], manner)
            details = {
                "stored": tally.new - before.new,
                "left_out": dict(tally.left_out - before.left_out),
                "pii": dict(tally.pii - before.pii),
            }
            events.remember_in(connection, "intake of a file", by=None, details=details)
        else:
            tally.new += _put(connection, [one.made for _, one in ready], manner)
    tally.seen += len(rows)


def _sorted_out(
    store: Store, rows: Sequence[Incoming], manner: Manner, tally: Tally
) -> tuple[Settings, list[tuple[Incoming, _Ready]]]:
    """Those that may come in, scrubbed. Outside the transaction: scrubbing takes a while."""
    rules, installed = load_settings(store), pii.is_installed()
    made = [new_task(row.prompt, row.answers, rules) for row in rows]
    with reading(store) as connection:
        known = stored_prompts(connection, made)
    ready: list[tuple[Incoming, _Ready]] = []
    for row, task in zip(rows, made, strict=True):
        somebodys = is_somebodys(row)
        is_known = task.prompt["digest"] in known
        agreed = manner.consent or is_known if row.consent is None else row.consent
        if somebodys and not agreed:
            tally.left_out[NO_CONSENT] += 1
        elif is_known or (manner.scrubbing or rules.pii) == "none":
            bound = somebodys and not is_known
            made_now = _marked(task, {}) if bound else task
            ready.append((row, _Ready(made_now, row.prompt, bound)))
        else:
            tally.unsearched += not installed
            prompt, found = _clean(row, rules, manner, installed=installed)
            tally.pii.update(found)
            again = new_task(prompt, row.answers, rules)
            ready.append((row, _Ready(_marked(again, found, somebodys), prompt, somebodys)))
    return rules, ready


def _clean(
    row: Incoming, rules: Settings, manner: Manner, *, installed: bool
) -> tuple[Prompt, dict[str, int]]:
    """The prompt without personal data, and what was taken out."""
    messages, found = list(row.prompt.prompt), dict[str, int]()
    if installed:
        messages, found = pii.scrub(messages)
    elif is_somebodys(row) or manner.scrubbing == "scrub":
        raise UserError(f"{row.place}: prompt: can't be scrubbed of personal data; {_HELP}")
    elif what := pii.plain(messages):
        raise UserError(f"{row.place}: prompt: holds {what}, which can't be taken out; {_HELP}")
    prompt = intake.without_addresses(row.prompt, rules)
    if messages == row.prompt.prompt:
        return prompt, found
    clean = prompt.model_copy(update={"prompt": messages})
    if not row.named:  # the id was a digest of what was taken out
        digest = hashlib.sha256(prompt_key(messages).encode()).hexdigest()
        clean = clean.model_copy(update={"id": digest[:12] + clean.id[12:]})
    return clean, found


def _marked(made: NewTask, found: dict[str, int], taken_in: bool = True) -> NewTask:
    marks = {"taken_in": taken_in, "pii": json.dumps(found, sort_keys=True)}
    return replace(made, prompt=made.prompt | marks)


def _is_let_in(
    connection: Connection, row: Incoming, one: _Ready, rules: Settings, tally: Tally
) -> bool:
    if stored_prompts(connection, [one.made]):
        return True  # the scrubbed prompt is there: the file comes a second time
    answered = row.answers is not None
    status = intake.refusal(connection, one.prompt, rules, answered=answered)
    if status is None:
        return True
    if answered or status != "duplicate":  # a bare duplicate is simply known
        tally.left_out[_LEFT_OUT[status]] += 1
    return False


def _put(connection: Connection, made: Sequence[NewTask], manner: Manner) -> int:
    """Store tasks, or bare prompts alone where nobody is asked; how many were new."""
    bare = [one for one in made if one.task["kind"] == "demonstration"]
    if manner.ask or not bare:
        return sum(added.new for added in add_tasks(connection, made))
    return add_prompts(connection, bare)
