"""Who may come in: people and their roles, invites, sessions.

Secrets are drawn here, handed out once, and kept as hashes only: a passphrase as argon2id, anything
drawn from 32 random bytes as its SHA-256, which is enough for what nobody can guess.
"""

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from trivium.errors import UserError
from trivium.store import clock, events, leases, passphrases
from trivium.store.database import Store, reading, writing
from trivium.store.passphrases import hashed
from trivium.store.schema import AnyRow, invites, people, sessions

LONGEST_NAME = 100
_RENEWED_AFTER = 10 * clock.MINUTE
_LIVE_SESSION = (
    select(people, sessions.c.id.label("session_id"), sessions.c.expires_ms, sessions.c.lifetime_ms)
    .join(people, people.c.id == sessions.c.person_id)
    .where(
        sessions.c.token_hash == bindparam("token_hash"),
        sessions.c.ended_ms.is_(None),
        sessions.c.expires_ms > bindparam("at_ms"),
        people.c.active,
    )
)


class Role(StrEnum):
    """What somebody may do."""

    ADMIN = "admin"
    """Everything."""

    REVIEWER = "reviewer"
    """Labels, and looks at everybody's labels and figures."""

    LABELER = "labeler"
    """Labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who labels, or has labeled elsewhere."""

    id: int
    name: str | None
    """To sign in with; None: known from imported labels only."""
    alias: str
    """What exports call them."""
    role: Role
    active: bool
    daily_cap: int | None
    created_ms: int
    has_passphrase: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Invite:
    """A link to come in by, once."""

    token: str
    role: Role
    name: str | None
    expires_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteInfo:
    """What an invite that is still good is for."""

    id: int
    role: Role
    name: str | None
    expires_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Somebody who is signed in."""

    id: int
    person: Person
    expires_ms: int
    csrf: str
    """To be sent with every form; known only to who knows the session's token."""


def create_invite(
    store: Store,
    *,
    role: Role,
    name: str | None = None,
    daily_cap: int | None = None,
    days: float = 7,
    by: int | None = None,
    now_ms: int | None = None,
) -> Invite:
    """Draw an invite. Its token is returned here and kept nowhere.

    Raises:
        UserError: ``days`` isn't positive.
    """
    if days <= 0:
        raise UserError(f"days: expected more than 0, got {days}")
    at_ms = clock.now(now_ms)
    token, expires_ms = secrets.token_urlsafe(32), at_ms + int(days * clock.DAY)
    with writing(store) as connection:
        connection.execute(
            insert(invites).values(
                token_hash=hashed(token),
                role=role,
                name=name,
                daily_cap=daily_cap,
                created_ms=at_ms,
                created_by=by,
                expires_ms=expires_ms,
            )
        )
        events.remember_in(connection, "invite", by=by, details={"role": role, "name": name})
    return Invite(token=token, role=role, name=name, expires_ms=expires_ms)


def find_invite(store: Store, token: str, *, now_ms: int | None = None) -> InviteInfo | None:
    """What an invite is for; None if it is unknown, used or too old."""
    with reading(store) as connection:
        row = _good_invite(connection, token, clock.now(now_ms))
    if row is None:
        return None
    return _invite_info(row)


def open_invites(store: Store, *, now_ms: int | None = None) -> list[InviteInfo]:
    """Invites that are neither used nor too old, the newest first."""
    good = select(invites).where(
        invites.c.used_ms.is_(None), invites.c.expires_ms > clock.now(now_ms)
    )
    with reading(store) as connection:
        return [_invite_info(row) for row in connection.execute(good.order_by(invites.c.id.desc()))]


def revoke_invite(store: Store, invite_id: int, *, by: int | None) -> None:
    """Make an invite useless that nobody has used."""
    unused = (invites.c.id == invite_id) & invites.c.used_ms.is_(None)
    with writing(store) as connection:
        connection.execute(update(invites).where(unused).values(expires_ms=0))
        events.remember_in(connection, "invite revoked", by=by, details={"invite": invite_id})


def accept_invite(
    store: Store, token: str, *, name: str, passphrase: str, now_ms: int | None = None
) -> Person:
    """Become one of the people of the project; the invite is spent.

    Raises:
        UserError: the invite isn't good any more, the name is taken or empty, or the passphrase is
            too short.
    """
    at_ms, name = clock.now(now_ms), name.strip()
    if not 0 < len(name) <= LONGEST_NAME:
        raise UserError(f"name: expected 1 to {LONGEST_NAME} characters, got {len(name)}")
    locked = passphrases.lock(passphrase)  # slow, so outside of the transaction
    with writing(store) as connection:
        invite = _good_invite(connection, token, at_ms)
        if invite is None:
            raise UserError("invite: used, too old or mistyped; ask for a new one")
        try:
            person_id = _add_person(connection, name, locked, invite, at_ms)
        except IntegrityError:
            raise UserError(f"name: {name!r} is taken; choose another") from None
        spent = update(invites).where(invites.c.id == invite.id)
        connection.execute(spent.values(used_ms=at_ms, person_id=person_id))
        events.remember_in(connection, "joined", by=person_id, details={"role": invite.role})
        person = _person(connection, person_id)
    assert person is not None
    return person


def sign_in(store: Store, name: str, passphrase: str) -> Person | None:
    """Who this is; None if name and passphrase don't fit. An unknown name takes as long."""
    with reading(store) as connection:
        row = connection.execute(select(people).where(people.c.name == name.strip())).one_or_none()
    locked = passphrases.nobody() if row is None else row.passphrase or passphrases.nobody()
    if not passphrases.fits(locked, passphrase) or row is None or not row.active:
        return None
    if passphrases.is_dated(row.passphrase):
        with writing(store) as connection:
            _write(connection, row.id, {"passphrase": passphrases.lock(passphrase)})
    return _as_person(row)


def change_passphrase(store: Store, person_id: int, *, old: str, new: str) -> None:
    """Choose a new passphrase; all sessions of this person end.

    Raises:
        UserError: the old one doesn't fit, or the new one is too short.
    """
    with reading(store) as connection:
        row = connection.execute(select(people).where(people.c.id == person_id)).one()
    if not passphrases.fits(row.passphrase or passphrases.nobody(), old):
        raise UserError("old passphrase: doesn't fit; type it again")
    locked = passphrases.lock(new)
    with writing(store) as connection:
        _write(connection, person_id, {"passphrase": locked})
        _end_sessions(connection, person_id)
        events.remember_in(connection, "passphrase", by=person_id)


def open_session(
    store: Store, person_id: int, *, hours: float = 12, now_ms: int | None = None
) -> str:
    """The token of a new session, for the cookie; it is kept nowhere."""
    at_ms, lifetime_ms = clock.now(now_ms), int(hours * clock.HOUR)
    token = secrets.token_urlsafe(32)
    with writing(store) as connection:
        connection.execute(
            insert(sessions).values(
                token_hash=hashed(token),
                person_id=person_id,
                created_ms=at_ms,
                expires_ms=at_ms + lifetime_ms,
                lifetime_ms=lifetime_ms,
            )
        )
        events.remember_in(connection, "signed in", by=person_id)
    return token


def find_session(store: Store, token: str, *, now_ms: int | None = None) -> Session | None:
    """Who is signed in with a token; None if nobody is, any more.

    A session that is used lives on; that is written down every ten minutes at most.
    """
    at_ms = clock.now(now_ms)
    wanted = {"token_hash": hashed(token), "at_ms": at_ms}
    with reading(store) as connection:
        row = connection.execute(_LIVE_SESSION, wanted).one_or_none()
    if row is None:
        return None
    expires_ms = at_ms + row.lifetime_ms
    if expires_ms - row.expires_ms > _RENEWED_AFTER:
        with writing(store) as connection:
            this = sessions.c.id == row.session_id
            connection.execute(update(sessions).where(this).values(expires_ms=expires_ms))
    else:
        expires_ms = row.expires_ms
    csrf = hashed("csrf " + token)
    return Session(id=row.session_id, person=_as_person(row), expires_ms=expires_ms, csrf=csrf)


def end_session(store: Store, token: str, *, now_ms: int | None = None) -> None:
    """Sign out."""
    with writing(store) as connection:
        live = (sessions.c.token_hash == hashed(token)) & sessions.c.ended_ms.is_(None)
        connection.execute(update(sessions).where(live).values(ended_ms=clock.now(now_ms)))


def end_sessions_of(store: Store, person_id: int) -> int:
    """Sign somebody out everywhere; how many sessions that ended."""
    with writing(store) as connection:
        return _end_sessions(connection, person_id)


def has_admin(store: Store) -> bool:
    """Whether anybody can run the project yet."""
    admin = (people.c.role == Role.ADMIN) & people.c.active & people.c.passphrase.is_not(None)
    with reading(store) as connection:
        return connection.execute(select(people.c.id).where(admin).limit(1)).first() is not None


def all_people(store: Store) -> list[Person]:
    """Everybody, in the order in which they came."""
    with reading(store) as connection:
        return [_as_person(row) for row in connection.execute(select(people).order_by(people.c.id))]


def find_person(store: Store, person_id: int) -> Person | None:
    """Somebody."""
    with reading(store) as connection:
        return _person(connection, person_id)


def set_role(store: Store, person_id: int, role: Role, *, by: int | None) -> None:
    """Give somebody another role. Their sessions end, so that no page of the old role stays open.

    Raises:
        UserError: the project would be left without an admin.
    """
    with writing(store) as connection:
        _require_another_admin(connection, person_id, still=role is Role.ADMIN)
        _write(connection, person_id, {"role": role})
        _end_sessions(connection, person_id)
        details = {"person": person_id, "role": role}
        events.remember_in(connection, "role", by=by, details=details)


def set_active(store: Store, person_id: int, active: bool, *, by: int | None) -> None:
    """Let somebody in or keep them out; what they had on their desk goes back.

    Raises:
        UserError: the project would be left without an admin.
    """
    with writing(store) as connection:
        _require_another_admin(connection, person_id, still=active)
        _write(connection, person_id, {"active": active})
        if not active:
            _end_sessions(connection, person_id)
            leases.give_back_all(connection, person_id)
        details = {"person": person_id, "active": active}
        events.remember_in(connection, "active", by=by, details=details)


def set_daily_cap(store: Store, person_id: int, cap: int | None, *, by: int | None) -> None:
    """Set how many labels somebody may make a day; None: as the project's rules say.

    Raises:
        UserError: the cap is less than 1.
    """
    if cap is not None and cap < 1:
        raise UserError(f"daily cap: expected 1 or more, got {cap}")
    with writing(store) as connection:
        _write(connection, person_id, {"daily_cap": cap})
        details = {"person": person_id, "cap": cap}
        events.remember_in(connection, "daily cap", by=by, details=details)


def _good_invite(connection: Connection, token: str, at_ms: int) -> AnyRow | None:
    good = select(invites).where(
        invites.c.token_hash == hashed(token),
        invites.c.used_ms.is_(None),
        invites.c.expires_ms > at_ms,
    )
    return connection.execute(good.with_for_update()).one_or_none()


def _invite_info(row: AnyRow) -> InviteInfo:
    role = Role(row.role)
    return InviteInfo(id=row.id, role=role, name=row.name, expires_ms=row.expires_ms)


def _add_person(
    connection: Connection, name: str, passphrase: str, invite: AnyRow, at_ms: int
) -> int:
    row = insert(people).values(
        name=name,
        alias=f"labeler-{secrets.token_hex(4)}",
        role=invite.role,
        active=True,
        passphrase=passphrase,
        daily_cap=invite.daily_cap,
        created_ms=at_ms,
    )
    return connection.execute(row.returning(people.c.id)).scalar_one()


def _person(connection: Connection, person_id: int) -> Person | None:
    row = connection.execute(select(people).where(people.c.id == person_id)).one_or_none()
    return None if row is None else _as_person(row)


def _as_person(row: AnyRow) -> Person:
    return Person(
        id=row.id,
        name=row.name,
        alias=row.alias,
        role=Role(row.role),
        active=row.active,
        daily_cap=row.daily_cap,
        created_ms=row.created_ms,
        has_passphrase=row.passphrase is not None,
    )


def _write(connection: Connection, person_id: int, columns: dict[str, Any]) -> None:
    connection.execute(update(people).where(people.c.id == person_id).values(columns))


def _end_sessions(connection: Connection, person_id: int) -> int:
    live = (sessions.c.person_id == person_id) & sessions.c.ended_ms.is_(None)
    return connection.execute(update(sessions).where(live).values(ended_ms=clock.now())).rowcount


def _require_another_admin(connection: Connection, person_id: int, *, still: bool) -> None:
    """Refuse to take the last admin's rights away."""
    if still:
        return
    known = people.c.passphrase.is_not(None)
    admins = select(people.c.id).where(people.c.role == Role.ADMIN, people.c.active, known)
    if list(connection.execute(admins.with_for_update()).scalars()) == [person_id]:
        raise UserError("role: the last admin stays one; make somebody else an admin first")
