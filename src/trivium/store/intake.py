"""Prompts that people hand in: with consent, without personal data, no author too often.

Ouyang et al. 2022, section 3.2: at most 200 prompts of one user, prompts with a long common
beginning collapsed, splits by user, personal data filtered.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, func, select, text

from trivium.errors import UserError
from trivium.labels import Prompt
from trivium.labels.prompt import Identifier, Messages
from trivium.store import clock, events, pii
from trivium.store.adding import add_prompt, add_task, prefix_hash, text_hash
from trivium.store.database import Store, writing
from trivium.store.keys import IntakeKey
from trivium.store.schema import prompts
from trivium.store.settings import Settings, load_settings, read_settings

Status = Literal["stored", "duplicate", "similar", "author_cap", "org_cap"]
_TAKEN_IN = text("taken_in")


class IncomingPrompt(BaseModel):
    """A prompt as it is handed in."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    prompt: Annotated[Messages, Field(max_length=200)]
    """The conversation so far."""

    author_id: Annotated[Identifier, Field(max_length=200)]
    """Who wrote it: a pseudonym is enough, and better."""

    consent: bool = False
    """Whether the author agreed to its use; without that it is stored nowhere."""

    org_id: Annotated[Identifier, Field(max_length=200)] | None = None
    """The organisation the author belongs to; a key of an organisation wins over it."""

    source: Annotated[Identifier, Field(max_length=200)] | None = None
    """Where it was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeResult:
    """What became of a prompt."""

    status: Status
    prompt_id: str | None
    """None: it wasn't stored."""
    side: str | None
    """`train` or `heldout`, by its author."""
    pii: dict[str, int]
    """Personal data that was taken out, by type."""


def take_prompt(
    store: Store, incoming: IncomingPrompt, *, key: IntakeKey | None, now_ms: int | None = None
) -> IntakeResult:
    """Store a prompt, and ask for a demonstration of it, if all the rules allow it.

    Raises:
        UserError: no consent was given, or personal data can't be taken out.
    """
    if not incoming.consent:
        raise UserError("consent: expected the author's; without it nothing is stored")
    rules = load_settings(store)
    messages, found = list(incoming.prompt), dict[str, int]()
    if rules.pii != "none":
        messages, found = pii.scrub(messages)  # before the transaction: it takes a while
    digest = text_hash(messages)
    prompt = Prompt(
        id=f"intake-{digest[:16]}",
        prompt=messages,
        author_id=incoming.author_id,
        org_id=incoming.org_id,
        source=incoming.source,
    )
    if rules.pii != "none":
        prompt = without_addresses(prompt, rules)
    if key is not None and key.org_id is not None:
        prompt = prompt.model_copy(update={"org_id": key.org_id})
    with writing(store) as connection:
        rules = read_settings(connection)
        hold_caps(connection)
        status = refusal(connection, prompt, rules)
        details = {"status": status or "stored", "pii": found}
        if key is not None:
            details["key"] = key.id
        events.remember_in(connection, "intake", by=None, details=details)
        if status is not None:
            return IntakeResult(status=status, prompt_id=None, side=None, pii=found)
        at_ms = clock.now(now_ms)
        added = add_prompt(connection, prompt, rules, taken_in=True, pii=found, now_ms=at_ms)
        add_task(connection, prompt, None, rules, now_ms=at_ms)
        where = select(prompts.c.side).where(prompts.c.id == added.id)
        side = connection.execute(where).scalar_one()
    return IntakeResult(status="stored", prompt_id=prompt.id, side=side, pii=found)


def pii_ready(store: Store) -> bool:
    """Whether prompts can be taken in: scrubbing works, or none is wanted."""
    return load_settings(store).pii == "none" or pii.is_installed()


def without_addresses(prompt: Prompt, rules: Settings) -> Prompt:
    """The prompt with pseudonyms where an author, an organisation or a source is an e-mail
    address.
    """
    named = {"author_id": prompt.author_id, "org_id": prompt.org_id, "source": prompt.source}
    hidden = {field: pii.pseudonym(name, rules.split_salt) for field, name in named.items()}
    return prompt.model_copy(update=hidden)


def hold_caps(connection: Connection) -> None:
    """Let others who count caps wait until the transaction ends; SQLite does so by itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(7412)"))


def refusal(
    connection: Connection, prompt: Prompt, rules: Settings, *, answered: bool = False
) -> Status | None:
    """Why a prompt isn't taken in; duplicates first, so that they don't use up anybody's cap.

    Args:
        connection: of a transaction that writes, after `hold_caps`.
        prompt: scrubbed.
        rules: of the project.
        answered: it comes with answers to rank; then its author's own prompt may be there already.
    """
    same_text = prompts.c.text_hash == text_hash(prompt.prompt)
    if answered and _count(connection, same_text, prompts.c.author_id == prompt.author_id):
        return None
    if _count(connection, same_text):
        return "duplicate"
    prefix = prefix_hash(prompt.prompt, rules.prefix_chars)
    if prefix is not None and _count(connection, prompts.c.prefix_hash == prefix):
        return "similar"
    return _cap_reached(connection, prompt, rules)


def _cap_reached(connection: Connection, prompt: Prompt, rules: Settings) -> Status | None:
    if prompt.author_id is not None:
        of_author = _count(connection, _TAKEN_IN, prompts.c.author_id == prompt.author_id)
        if of_author >= rules.author_cap:
            return "author_cap"
    if prompt.org_id is not None:
        of_org = _count(connection, _TAKEN_IN, prompts.c.org_id == prompt.org_id)
        pool = _count(connection, _TAKEN_IN)
        if of_org >= rules.org_floor and of_org + 1 > rules.org_share * (pool + 1):
            return "org_cap"
    return None


def _count(connection: Connection, *where: "object") -> int:
    rows = select(func.count()).select_from(prompts)
    for condition in where:
        rows = rows.where(condition)  # pyright: ignore[reportArgumentType] - a column's or text's
    return connection.execute(rows).scalar_one()
