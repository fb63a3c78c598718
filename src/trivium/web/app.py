"""The application: routes, static files, error handlers."""

from collections.abc import Awaitable, Callable
from typing import cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from trivium.errors import UserError
from trivium.store.database import Store
from trivium.web import problems, rendering, security
from trivium.web.pages import admin, api, entry, people, tasks
from trivium.web.shell import App, shell

Handler = Callable[[Request, Exception], Response | Awaitable[Response]]


def create_app(store: Store, *, secret: str = "", limits: security.Limits | None = None) -> App:
    """The site as an ASGI application.

    Args:
        store: an open store; the caller closes it.
        secret: keys the tokens of forms. "": the site answers to this computer's names only.
        limits: on haste; None: `security.default_limits()`.
    """
    app = FastAPI(
        title="trivium",
        summary="Prompts go in by key; people answer and rank them in the browser.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # the interactive pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.store = store
    app.state.secret = secret
    app.state.limits = limits or security.default_limits()
    for router in (entry.router, tasks.router, admin.router, people.router):
        app.include_router(router, include_in_schema=False)
    app.include_router(api.router)
    app.mount("/static", StaticFiles(directory=rendering.STATIC), name="static")
    for kind, handler in (
        (UserError, problems.user_error),
        (HTTPException, problems.http_error),
        (RequestValidationError, problems.invalid),
        (Exception, problems.bug),
    ):
        app.add_exception_handler(kind, cast(Handler, handler))
    return shell(cast(App, app), any_host=bool(secret))
