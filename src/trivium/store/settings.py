"""The rules of a labeling project: in its database, changed by its admin, every change on record.

These defaults stand here and not in `trivium.config`, because they belong to the database and not
to a run: a store keeps the rules with which it was started.
"""

import json
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection, bindparam, insert, select, update

from trivium.errors import UserError
from trivium.labels import Question, default_question
from trivium.labels.question import read_question as read_question_file
from trivium.store import clock, events
from trivium.store.database import Store, reading, writing
from trivium.store.schema import questions
from trivium.store.schema import settings as table

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
_VALUE = select(table.c.value).where(table.c.name == bindparam("name"))
# Every request needs the rules: as columns of a query that it makes anyway they cost nothing.
RULES = select(table.c.value).where(table.c.name == "settings").scalar_subquery()
"""The rules as a column of another query; `parsed_settings` reads it."""
QUESTION = select(table.c.value).where(table.c.name == "question").scalar_subquery()
"""The version of the current question, as a column of another query."""


class Settings(BaseModel):
    """The rules of a project."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    lease_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = 30
    """How long a task is kept for a labeler who doesn't type."""

    overlap_share: Share = 0.1
    """Share of the tasks, chosen by a hash, that several people label, to measure agreement."""

    overlap_need: Annotated[int, Field(ge=1, le=100)] = 3
    """How many people label such a task."""

    quarantine_skips: Annotated[int, Field(ge=1)] = 5
    """After how many skips a task waits for an admin."""

    daily_cap: Annotated[int, Field(ge=1)] | None = None
    """Labels a day for a person without a cap of their own; None: no cap."""

    rank_weight: Count = 10
    """How often "any task" is a ranking, against `demonstration_weight`."""

    demonstration_weight: Count = 1
    """How often "any task" is a demonstration."""

    pii: Literal["presidio", "none"] = "presidio"
    """What scrubs personal data from prompts that are taken in; `none`: nothing does."""

    author_cap: Annotated[int, Field(ge=1)] = 200
    """Prompts taken in from one author. Ouyang et al. 2022, section 3.2: 200."""

    org_share: Share = 0.1
    """Largest share of the prompts taken in that may come from one organisation."""

    org_floor: Count = 50
    """Prompts that any organisation may give, however small the pool is yet."""

    prefix_chars: Annotated[int, Field(ge=20)] = 200
    """Prompts whose texts share a beginning of this many characters are collapsed."""

    split_salt: str = "trivium"
    """Of the hash of authors that puts prompts on the train or the held-out side."""

    heldout_fraction: Share = 0.1
    """Share of the authors on the held-out side."""

    model_words: list[str] = Field(default_factory=list)
    """Words that would give away which model wrote an answer: the page "Quality" lists the tasks
    in which an answer holds one (`trivium.store.naming`)."""


def load_settings(store: Store) -> Settings:
    """The rules as they are now."""
    with reading(store) as connection:
        return read_settings(connection)


def save_settings(store: Store, settings: Settings, *, by: int | None) -> None:
    """Change the rules, from now on."""
    with writing(store) as connection:
        write_value(connection, "settings", settings.model_dump_json())
        events.remember_in(connection, "settings", by=by, details=settings.model_dump())


def changed_settings(now: Settings, path: Path) -> Settings:
    """The rules with those that a YAML file names put in their place.

    Raises:
        UserError: the file isn't there, isn't a YAML mapping, or a rule isn't valid.
    """
    try:
        wanted = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; check the path") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: expected YAML, got: {' '.join(str(error).split())}") from None
    if not isinstance(wanted, dict):
        raise UserError(f"{path}: expected rules such as `overlap_share: 0.2`, one a line")
    try:
        return Settings.model_validate(now.model_dump() | wanted)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        rule = ".".join(map(str, first["loc"]))
        known = f"the rules are {', '.join(Settings.model_fields)}"
        if first["type"] != "extra_forbidden":
            raise UserError(f"{path}: {rule}: {first['msg']}; {known}") from None
        near = get_close_matches(rule, Settings.model_fields, n=1)
        hint = f"did you mean {near[0]}?" if near else known
        raise UserError(f"{path}: {rule}: no such rule; {hint}") from None


def read_settings(connection: Connection) -> Settings:
    """The rules, within a transaction."""
    return parsed_settings(read_value(connection, "settings"))


@lru_cache(maxsize=8)
def parsed_settings(value: str | None) -> Settings:
    """The rules from stored text; None: nobody has changed any."""
    return Settings() if value is None else Settings.model_validate_json(value)


def read_value(connection: Connection, name: str) -> str | None:
    """A stored text; None if there is none."""
    return connection.execute(_VALUE, {"name": name}).scalar()


def write_value(connection: Connection, name: str, value: str) -> None:
    """Store a text under a name."""
    row = {"value": value, "changed_ms": clock.now()}
    done = connection.execute(update(table).where(table.c.name == name).values(row))
    if done.rowcount == 0:
        connection.execute(insert(table).values(name=name, **row))


def current_question(store: Store) -> Question:
    """What labelers are asked now."""
    with reading(store) as connection:
        return read_question(connection)


def question(store: Store, version: str) -> Question | None:
    """What was asked under a version; None if there never was such a version."""
    with reading(store) as connection:
        body = connection.execute(
            select(questions.c.body).where(questions.c.version == version)
        ).scalar()
    return None if body is None else parsed_question(body)


def save_question(store: Store, new: Question, *, by: int | None) -> None:
    """Ask something else from now on. Tasks that are being worked on keep their question.

    Raises:
        UserError: the version has been used for another question.
    """
    with writing(store) as connection:
        add_question(connection, new)
        events.remember_in(connection, "question", by=by, details={"version": new.version})


def save_question_file(store: Store, path: Path, *, by: int | None) -> None:
    """`save_question` of a YAML file.

    Raises:
        UserError: as `save_question`; or the file isn't there, or doesn't hold a question.
    """
    save_question(store, read_question_file(path), by=by)


def add_question(connection: Connection, new: Question) -> None:
    """`save_question` within a transaction, off the record."""
    body = new.model_dump_json()
    known = select(questions.c.body).where(questions.c.version == new.version)
    found = connection.execute(known).scalar()
    if found is not None and json.loads(found) != json.loads(body):
        raise UserError(
            f"question {new.version}: this version asks something else; give it another"
        )
    if found is None:
        row = {"version": new.version, "body": body, "created_ms": clock.now()}
        connection.execute(insert(questions).values(row))
    write_value(connection, "question", new.version)


def read_question(connection: Connection, version: str | None = None) -> Question:
    """The question of a version that is known to exist; None: the current one."""
    wanted = read_value(connection, "question") if version is None else version
    if wanted is None:  # nobody has opened the store to write yet
        return default_question()
    rows = select(questions.c.body).where(questions.c.version == wanted)
    return parsed_question(connection.execute(rows).scalar_one())


@lru_cache(maxsize=32)
def parsed_question(body: str) -> Question:
    """A question from stored text."""
    return Question.model_validate_json(body)
