"""How errors are told: as a page to people, as JSON to programs."""

from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException

from trivium.errors import UserError
from trivium.store.database import is_busy, is_no_room
from trivium.web import rendering


def status_of(error: UserError) -> int:
    """422 for what the person can mend, 507 for a full disk, 503 for a busy database."""
    if is_no_room(error):
        return 507
    return 503 if is_busy(error) else 422


def wants_json(request: Request) -> bool:
    """Whether a program asks: the API, or a page's script."""
    accepts = request.headers.get("accept", "")
    return request.url.path.startswith("/api/") or accepts.startswith("application/json")


SENTENCES = {
    404: "there is no such page",
    405: "this address takes only what a form sends; go back to the page with the form",
}
"""For refusals of the framework, which says no more than the status."""


def user_error(request: Request, error: UserError) -> Response:
    """What the person can mend, and what the machine lacks."""
    return _tell(request, status_of(error), str(error))


def http_error(request: Request, error: HTTPException) -> Response:
    """Refusals; who has to sign in is led there."""
    if error.status_code == 401 and not wants_json(request):
        return RedirectResponse("/login", status_code=303)
    problem = str(error.detail)
    if problem == HTTPStatus(error.status_code).phrase:
        problem = SENTENCES.get(error.status_code, problem)
    return _tell(request, error.status_code, problem, headers=error.headers)


def invalid(request: Request, error: RequestValidationError) -> Response:
    """Fields and addresses of the wrong shape."""
    first = error.errors()[0]
    if first["loc"][0] == "path":
        return _tell(request, 404, SENTENCES[404])
    field = ".".join(str(step) for step in first["loc"][1:])
    return _tell(request, 422, f"{field or 'the request'}: {first['msg']}")


def bug(request: Request, error: Exception) -> Response:
    """A bug: its traceback is for the server's log, not for strangers."""
    del error
    return _tell(request, 500, "something went wrong here; nothing you typed was thrown away")


def _tell(request: Request, status: int, problem: str, *, headers: Any = None) -> Response:
    if wants_json(request):
        return JSONResponse({"problem": problem}, status_code=status, headers=headers)
    shown = {"problem": problem, "title": HTTPStatus(status).phrase}
    response = rendering.page(request, "problem.html", None, shown, status=status)
    response.headers.update(headers or {})
    return response
