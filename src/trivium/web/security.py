"""Who is asking, and may they: sessions, tokens of forms, roles, and limits on haste."""

import hashlib
import hmac
import threading
from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic
from typing import Annotated

from fastapi import Depends, HTTPException, Request, Response
from starlette.datastructures import FormData

from trivium.store import people
from trivium.store.people import Role, Session
from trivium.web import shell

HOURS = 12.0
"""A session ends this long after it was last used."""
MOST_FIELDS = 600
MOST_CLIENTS = 50_000


class Limiter:
    """Counts events by name in a sliding window; old names are forgotten."""

    def __init__(self, *, most: int, seconds: float) -> None:
        self.most = most
        self.seconds = seconds
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, list[float]] = OrderedDict()

    def full(self, name: str, *, at: float | None = None) -> bool:
        """Whether `name` has used up what it may do."""
        with self._lock:
            return len(self._recent(name, monotonic() if at is None else at)) >= self.most

    def count(self, name: str, *, at: float | None = None) -> None:
        """Note one event."""
        moment = monotonic() if at is None else at
        with self._lock:
            self._seen[name] = [*self._recent(name, moment), moment]
            self._seen.move_to_end(name)
            while len(self._seen) > MOST_CLIENTS:
                self._seen.popitem(last=False)

    def _recent(self, name: str, moment: float) -> list[float]:
        return [at for at in self._seen.get(name, []) if moment - at < self.seconds]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How often things may be done; all of this process."""

    wrong_passphrases: Limiter
    """By name: guesses."""

    wrong_from_one_place: Limiter
    """By address: guesses at names, invitations and keys."""

    writes: Limiter
    """By session: drafts and submits."""

    prompts: Limiter
    """By intake key."""


def default_limits() -> Limits:
    """Far above what a person does, far below what a guesser needs."""
    return Limits(
        wrong_passphrases=Limiter(most=10, seconds=300),
        wrong_from_one_place=Limiter(most=30, seconds=60),
        writes=Limiter(most=600, seconds=60),
        prompts=Limiter(most=600, seconds=60),
    )


def place(request: Request) -> str:
    """The address a request comes from."""
    return request.client.host if request.client else "unknown"


def hold(limiter: Limiter, name: str) -> None:
    """Refuse with 429 where the limit is reached."""
    if limiter.full(name):
        wait = {"Retry-After": str(int(limiter.seconds))}
        raise HTTPException(429, "too many attempts; wait a few minutes", headers=wait)


def cookie_name(request: Request) -> str:
    """Under https the name itself makes the browser keep the cookie to this host."""
    return "__Host-trivium" if request.url.scheme == "https" else "trivium"


def set_session(request: Request, response: Response, person_id: int) -> None:
    """Open a new session and end the one the browser came with, so that none can be planted."""
    store = request.app.state.store
    if old := request.cookies.get(cookie_name(request)):
        people.end_session(store, old)
    token = people.open_session(store, person_id, hours=HOURS)
    response.set_cookie(
        cookie_name(request),
        token,
        path="/",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )


# What follows is asked for by the pages' signatures. Only `maybe_session` asks the database; the
# rest is async because it waits for nothing, and needs no thread.


def maybe_session(request: Request) -> Session | None:
    """The session of the request's cookie; None: there is none that holds."""
    token = request.cookies.get(cookie_name(request))
    return people.find_session(request.app.state.store, token) if token else None


async def signed_in(session: Annotated[Session | None, Depends(maybe_session)]) -> Session:
    """The session, or 401."""
    if session is None:
        raise HTTPException(401, "sign in first")
    return session


async def reviewing(session: Annotated[Session, Depends(signed_in)]) -> Session:
    """The session of a reviewer or an admin, or 403."""
    if session.person.role not in (Role.ADMIN, Role.REVIEWER):
        raise HTTPException(403, "this page is for reviewers and admins")
    return session


async def ruling(session: Annotated[Session, Depends(signed_in)]) -> Session:
    """The session of an admin, or 403."""
    if session.person.role is not Role.ADMIN:
        raise HTTPException(403, "this page is for admins")
    return session


def form_token(request: Request, session: Session) -> str:
    """What a form must carry: known to this session's pages and to nobody else."""
    key = request.app.state.secret.encode()
    return hmac.new(key, session.csrf.encode(), hashlib.sha256).hexdigest()


async def read_form(request: Request) -> FormData:
    """The fields of a form; uploads are refused. One field may take as much as `shell` let in."""
    return await request.form(
        max_files=0, max_fields=MOST_FIELDS, max_part_size=shell.MOST_FORM_BYTES
    )


def check_token(request: Request, session: Session, given: str) -> None:
    """Refuse with 403 what does not carry the session's token."""
    if not hmac.compare_digest(given.encode(), form_token(request, session).encode()):
        raise HTTPException(403, "the form is too old or not ours; reload the page and try again")
    request.app.state.limits.writes.count(str(session.id))


async def posted(
    request: Request,
    session: Annotated[Session, Depends(signed_in)],
    form: Annotated[FormData, Depends(read_form)],
) -> "Posted":
    """A form that this person's own page sent."""
    hold(request.app.state.limits.writes, str(session.id))
    check_token(request, session, request.headers.get("x-csrf-token") or text(form, "token"))
    return Posted(session=session, form=form)


async def posted_by_reviewer(sent: Annotated["Posted", Depends(posted)]) -> "Posted":
    """A form of a reviewer or an admin."""
    await reviewing(sent.session)
    return sent


async def posted_by_admin(sent: Annotated["Posted", Depends(posted)]) -> "Posted":
    """A form of an admin."""
    await ruling(sent.session)
    return sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A checked form and whose it is."""

    session: Session
    """Who sent it."""

    form: FormData
    """What was in it."""


def text(form: FormData, name: str) -> str:
    """One field as text, "" where it is missing; NUL, which no database stores, is dropped."""
    value = form.get(name)
    return value.replace("\0", "") if isinstance(value, str) else ""


def texts(form: FormData, name: str) -> list[str]:
    """All values of a field that may be ticked more than once."""
    return [value for value in form.getlist(name) if isinstance(value, str)]
