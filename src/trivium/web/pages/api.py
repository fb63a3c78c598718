"""The interface for programs: prompts come in with an intake key."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from trivium.errors import install
from trivium.store import intake, keys
from trivium.store.intake import IncomingPrompt
from trivium.store.keys import IntakeKey
from trivium.web import security

router = APIRouter(prefix="/api/v1", tags=["prompts"])
bearer = HTTPBearer(auto_error=False, description="An intake key, made by an admin.")


class Taken(BaseModel):
    """What became of a prompt."""

    status: str
    """stored, duplicate, similar, author_cap or org_cap; only a stored one was kept."""

    prompt_id: str | None
    """Names the prompt in exports."""

    pii: dict[str, int]
    """How many personal details of each kind were taken out before it was stored."""


class Problem(BaseModel):
    """Why a request was refused."""

    problem: str
    """One line: where, what was expected, what to do."""


REFUSALS: dict[int | str, dict[str, object]] = {
    400: {"model": Problem, "description": "The body is no JSON."},
    401: {"model": Problem, "description": "The key is missing, unknown or revoked."},
    413: {"description": "The body is longer than a megabyte."},
    422: {"model": Problem, "description": "A field is wrong, or consent is missing."},
    429: {"model": Problem, "description": "Too many requests; see Retry-After."},
    503: {"model": Problem, "description": "Personal details can't be taken out now."},
    507: {"model": Problem, "description": "The disk is full."},
}


def intake_key(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> IntakeKey:
    """The key of the request, or 401."""
    limits = request.app.state.limits
    where = security.place(request)
    security.hold(limits.wrong_from_one_place, where)
    given = credentials.credentials if credentials else ""
    key = keys.find_intake_key(request.app.state.store, given) if given else None
    if key is None:
        limits.wrong_from_one_place.count(where)
        ask = {"WWW-Authenticate": "Bearer"}
        raise HTTPException(401, "expected an intake key: Authorization: Bearer KEY", headers=ask)
    security.hold(limits.prompts, f"key {key.id}")
    limits.prompts.count(f"key {key.id}")
    return key


@router.post(
    "/prompts",
    status_code=status.HTTP_200_OK,
    responses=REFUSALS,
    summary="Hand in a prompt",
)
def take_prompt(
    request: Request, incoming: IncomingPrompt, key: Annotated[IntakeKey, Depends(intake_key)]
) -> Taken:
    """Store one prompt of one author who has agreed to it.

    Personal details are taken out first; without the means to do so nothing is stored (503).
    """
    store = request.app.state.store
    if not intake.pii_ready(store):
        raise HTTPException(503, f"personal details can't be taken out; {install('pii')}")
    taken = intake.take_prompt(store, incoming, key=key)
    return Taken(status=taken.status, prompt_id=taken.prompt_id, pii=taken.pii)
