"""Keys with which programs hand in prompts."""

import secrets
from dataclasses import dataclass

from sqlalchemy import insert, select, update

from trivium.store import clock, events
from trivium.store.database import Store, reading, writing
from trivium.store.passphrases import hashed
from trivium.store.schema import intake_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeKey:
    """Who may hand in prompts."""

    id: int
    name: str
    org_id: str | None


def mint_intake_key(
    store: Store, *, name: str, org_id: str | None = None, by: int | None = None
) -> str:
    """Draw a key with which a program may hand in prompts. It is returned here and kept nowhere."""
    key = secrets.token_urlsafe(32)
    row = {"key_hash": hashed(key), "name": name, "org_id": org_id, "created_ms": clock.now()}
    with writing(store) as connection:
        connection.execute(insert(intake_keys).values(row))
        details = {"name": name, "org_id": org_id}
        events.remember_in(connection, "intake key", by=by, details=details)
    return key


def find_intake_key(store: Store, key: str) -> IntakeKey | None:
    """Whose key it is; None if it is nobody's, or not any more."""
    wanted = (intake_keys.c.key_hash == hashed(key)) & intake_keys.c.revoked_ms.is_(None)
    with reading(store) as connection:
        row = connection.execute(select(intake_keys).where(wanted)).one_or_none()
    return None if row is None else IntakeKey(id=row.id, name=row.name, org_id=row.org_id)


def all_intake_keys(store: Store) -> list[IntakeKey]:
    """Keys that are good."""
    good = select(intake_keys).where(intake_keys.c.revoked_ms.is_(None)).order_by(intake_keys.c.id)
    with reading(store) as connection:
        return [
            IntakeKey(id=row.id, name=row.name, org_id=row.org_id)
            for row in connection.execute(good)
        ]


def revoke_intake_key(store: Store, key_id: int, *, by: int | None) -> None:
    """Refuse a key from now on."""
    with writing(store) as connection:
        this = intake_keys.c.id == key_id
        connection.execute(update(intake_keys).where(this).values(revoked_ms=clock.now()))
        events.remember_in(connection, "intake key revoked", by=by, details={"key": key_id})
