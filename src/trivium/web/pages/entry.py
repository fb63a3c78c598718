"""Coming in and going out: invitations, signing in, one's own account."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from trivium.errors import UserError
from trivium.store import people
from trivium.store.people import Session
from trivium.web import security
from trivium.web.rendering import page
from trivium.web.security import Posted, text

router = APIRouter()
Form = Annotated[FormData, Depends(security.read_form)]


@router.get("/login")
def login_page(
    request: Request, session: Annotated[Session | None, Depends(security.maybe_session)]
) -> Response:
    """Where a name and a passphrase are asked for."""
    if session:
        return RedirectResponse("/", status_code=303)
    return page(request, "login.html", None, {"name": ""})


@router.post("/login")
def login(request: Request, form: Form) -> Response:
    """Sign in; guesses are counted by name and by address."""
    name = text(form, "name")
    limits = request.app.state.limits
    where = security.place(request)
    security.hold(limits.wrong_from_one_place, where)
    security.hold(limits.wrong_passphrases, name.casefold())
    person = people.sign_in(request.app.state.store, name, text(form, "passphrase"))
    if person is None:
        limits.wrong_from_one_place.count(where)
        limits.wrong_passphrases.count(name.casefold())
        problem = "Name or passphrase is wrong."
        return page(request, "login.html", None, {"name": name, "problem": problem}, status=401)
    return _welcome(request, person.id)


@router.post("/logout")
def logout(request: Request, sent: Annotated[Posted, Depends(security.posted)]) -> Response:
    """End the session."""
    del sent  # checked, which was its purpose
    name = security.cookie_name(request)
    people.end_session(request.app.state.store, request.cookies[name])
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(name, path="/", secure=name.startswith("__Host-"), httponly=True)
    return response


@router.get("/invite/{token}")
def invite_page(request: Request, token: str) -> Response:
    """Where an invited person picks a name and a passphrase; looking does not use it up."""
    security.hold(request.app.state.limits.wrong_from_one_place, security.place(request))
    invite = people.find_invite(request.app.state.store, token)
    if invite is None:
        return _no_invite(request)
    return page(request, "invite.html", None, {"invite": invite, "name": invite.name or ""})


@router.post("/invite/{token}")
def accept(request: Request, token: str, form: Form) -> Response:
    """Use an invitation, once."""
    store = request.app.state.store
    security.hold(request.app.state.limits.wrong_from_one_place, security.place(request))
    invite = people.find_invite(store, token)
    if invite is None:
        return _no_invite(request)
    name, passphrase = text(form, "name"), text(form, "passphrase")
    try:
        if passphrase != text(form, "again"):
            raise UserError("the two passphrases differ; type the same one twice")
        person = people.accept_invite(store, token, name=name, passphrase=passphrase)
    except UserError as error:
        shown = {"invite": invite, "name": name, "problem": str(error)}
        return page(request, "invite.html", None, shown, status=422)
    return _welcome(request, person.id)


@router.get("/me")
def me(request: Request, session: Annotated[Session, Depends(security.signed_in)]) -> Response:
    """One's own account."""
    return page(request, "me.html", session)


@router.post("/me/passphrase")
def change(request: Request, sent: Annotated[Posted, Depends(security.posted)]) -> Response:
    """Change one's passphrase; all other sessions end."""
    store, person = request.app.state.store, sent.session.person
    limits, name = request.app.state.limits, (person.name or "").casefold()
    security.hold(limits.wrong_passphrases, name)
    try:
        if text(sent.form, "new") != text(sent.form, "again"):
            raise UserError("the two new passphrases differ; type the same one twice")
        people.change_passphrase(
            store, person.id, old=text(sent.form, "old"), new=text(sent.form, "new")
        )
    except UserError as error:
        limits.wrong_passphrases.count(name)
        return page(request, "me.html", sent.session, {"problem": str(error)}, status=422)
    return _welcome(request, person.id)


def _welcome(request: Request, person_id: int) -> Response:
    response = RedirectResponse("/", status_code=303)
    security.set_session(request, response, person_id)
    return response


def _no_invite(request: Request) -> Response:
    request.app.state.limits.wrong_from_one_place.count(security.place(request))
    problem = "This invitation was used, has run out, or never was. Ask for a new one."
    shown = {"title": "No invitation", "problem": problem}
    return page(request, "problem.html", None, shown, status=404)
