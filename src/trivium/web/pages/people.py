"""Admins' pages about people: roles, invitations, intake keys."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from fastapi.responses import RedirectResponse

from trivium.store import keys, people
from trivium.store.people import Role, Session
from trivium.web import security
from trivium.web.rendering import page
from trivium.web.security import Posted, text

router = APIRouter(prefix="/admin")
Admin = Annotated[Session, Depends(security.ruling)]
Sent = Annotated[Posted, Depends(security.posted_by_admin)]
Id = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.get("/people")
def everybody(request: Request, session: Admin) -> Response:
    """Who may do what."""
    return _show(request, session)


@router.post("/people/invite")
def invite(request: Request, sent: Sent) -> Response:
    """Make an invitation; its address is shown this once."""
    made = people.create_invite(
        request.app.state.store,
        role=_role(sent),
        name=text(sent.form, "name").strip() or None,
        by=sent.session.person.id,
    )
    address = str(request.base_url.replace(path=f"/invite/{made.token}"))
    return _show(request, sent.session, invitation=address)


@router.post("/people/invites/{invite_id}/revoke")
def revoke_invite(request: Request, sent: Sent, invite_id: Id) -> Response:
    """Take an invitation back."""
    people.revoke_invite(request.app.state.store, invite_id, by=sent.session.person.id)
    return RedirectResponse("/admin/people", status_code=303)


@router.post("/people/keys")
def mint(request: Request, sent: Sent) -> Response:
    """Make an intake key; it is shown this once."""
    name = text(sent.form, "name").strip()
    if not name:
        raise HTTPException(422, "name: expected one, so that the key can be told from others")
    key = keys.mint_intake_key(
        request.app.state.store,
        name=name,
        org_id=text(sent.form, "org_id").strip() or None,
        by=sent.session.person.id,
    )
    return _show(request, sent.session, key=key)


@router.post("/people/keys/{key_id}/revoke")
def revoke_key(request: Request, sent: Sent, key_id: Id) -> Response:
    """Make a key useless."""
    keys.revoke_intake_key(request.app.state.store, key_id, by=sent.session.person.id)
    return RedirectResponse("/admin/people", status_code=303)


@router.post("/people/{person_id}")
def change(request: Request, sent: Sent, person_id: Id) -> Response:
    """Change a role or a daily cap, shut somebody out or let them in again."""
    store, by = request.app.state.store, sent.session.person.id
    if people.find_person(store, person_id) is None:
        raise HTTPException(404, "there is no such person")
    match text(sent.form, "do"):
        case "role":
            _not_oneself(sent, person_id)
            people.set_role(store, person_id, _role(sent), by=by)
        case "cap":
            people.set_daily_cap(store, person_id, _cap(sent), by=by)
        case "shut_out":
            _not_oneself(sent, person_id)
            people.set_active(store, person_id, False, by=by)
        case "let_in":
            people.set_active(store, person_id, True, by=by)
        case _:
            raise HTTPException(422, "expected role, cap, shut_out or let_in")
    return RedirectResponse("/admin/people", status_code=303)


def _show(
    request: Request, session: Session, *, invitation: str | None = None, key: str | None = None
) -> Response:
    store = request.app.state.store
    shown = {
        "people": people.all_people(store),
        "invites": people.open_invites(store),
        "keys": keys.all_intake_keys(store),
        "roles": list(Role),
        "invitation": invitation,
        "key": key,
    }
    return page(request, "admin/people.html", session, shown)


def _role(sent: Posted) -> Role:
    try:
        return Role(text(sent.form, "role"))
    except ValueError:
        raise HTTPException(422, "role: expected admin, reviewer or labeler") from None


def _cap(sent: Posted) -> int | None:
    value = text(sent.form, "cap").strip()
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 7):
        raise HTTPException(422, "cap: expected a number, or nothing for no cap")
    return int(value)


def _not_oneself(sent: Posted, person_id: int) -> None:
    """An admin who locks themselves out could leave nobody who can mend it."""
    if sent.session.person.id == person_id:
        raise HTTPException(422, "you can't change your own role or shut yourself out")
