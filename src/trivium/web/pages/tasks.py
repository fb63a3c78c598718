"""A labeler's pages: home, the next task, drafts, submits, and one's own labels."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal
from uuid import uuid4

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from trivium.errors import UserError
from trivium.labels.prompt import Words
from trivium.labels.question import skip_ids
from trivium.store import events, leases, statistics, submit, tasks
from trivium.store.adding import Kind
from trivium.store.desk import Assignment
from trivium.store.leases import NoTask
from trivium.store.people import Session
from trivium.store.submit import Receipt
from trivium.web import security, sheets
from trivium.web.difference import word_difference
from trivium.web.problems import status_of, wants_json
from trivium.web.rendering import page, part
from trivium.web.security import Posted, text
from trivium.web.views import Fields, task_page

router = APIRouter()
Me = Annotated[Session, Depends(security.signed_in)]
Sent = Annotated[Posted, Depends(security.posted)]
Id = Annotated[int, Path(ge=1, le=2**31 - 1)]
Verb = Literal["draft", "ranking", "demonstration", "skip", "flag"]
MOST_COMPARED = 12_000
"""Characters of each answer that are compared, which takes 0.1 s at most."""
PAGE = 50
SAID = {
    "saved": "the last one is saved",
    "skipped": "the last one is skipped",
    "draft": "kept as a draft",
}
"""What happened on the page before, by the word for it in the address; said quietly."""
FLAGGED = "The admins will see it. The task is still yours."


class DraftBody(BaseModel):
    """A form as it stands, and the place of this version among the others."""

    model_config = ConfigDict(extra="forbid")

    sequence: Annotated[int, Field(ge=0, le=2**53)]
    """Grows with every change; an older one never overwrites a newer one."""

    body: Annotated[dict[Words, list[Words]], Field(max_length=security.MOST_FIELDS)]
    """Every field with its values."""


@router.get("/")
def home(request: Request, session: Me) -> Response:
    """Where a labeler starts: how far one is, and the way to the next task."""
    store = request.app.state.store
    recent = submit.labels_of(store, session.person.id, limit=5)
    shown = {
        "progress": statistics.progress_of(store, session.person.id),
        "recent": recent,
        "excerpts": tasks.excerpts(store, {label.task_id for label in recent}),
    }
    return page(request, "home.html", session, shown)


@router.get("/next")
def next_task(
    request: Request, session: Me, kind: Kind | None = None, said: str | None = None
) -> Response:
    """Lease a task and go to it; ``said`` is what happened to the one before."""
    given = leases.lease_id(request.app.state.store, session.person.id, kind=kind)
    if isinstance(given, NoTask):
        shown = {"reason": given.reason, "said": SAID.get(said or "")}
        return page(request, "nothing.html", session, shown)
    return _to_task(given, said)


@router.get("/tasks/{assignment_id}")
def task(request: Request, session: Me, assignment_id: Id, said: str | None = None) -> Response:
    """One task, with whatever was kept of it."""
    found = _find(request, session, assignment_id)
    notice = FLAGGED if said == "flagged" else None
    filled = sheets.fields_of_label(found)
    return _show(request, session, found, filled=filled, notice=notice, said=SAID.get(said or ""))


@router.get("/tasks/{assignment_id}/compare")
def compare(
    request: Request,
    session: Me,
    assignment_id: Id,
    a: Annotated[str, Query(max_length=3)] = "A",
    b: Annotated[str, Query(max_length=3)] = "B",
    part_only: Annotated[bool, Query(alias="part")] = False,
) -> Response:
    """Two answers of a task, word by word."""
    found = _find(request, session, assignment_id)
    by_letter = {answer.letter: answer.text for answer in found.answers}
    if a not in by_letter or b not in by_letter:
        raise HTTPException(404, "there are no such two answers")
    both = by_letter[a], by_letter[b]
    left, right = word_difference(*(text[:MOST_COMPARED] for text in both))
    cut = MOST_COMPARED if max(map(len, both)) > MOST_COMPARED else None
    shown = {"id": found.id, "a": a, "b": b, "left": left, "right": right, "cut": cut}
    if part_only:
        return part("difference.html", shown)
    return page(request, "compare.html", session, {**shown, "answers": found.answers})


@router.put("/tasks/{assignment_id}/draft")
def keep_draft(request: Request, session: Me, assignment_id: Id, draft: DraftBody) -> Response:
    """Keep what a page's script sends as it is typed; renews the lease."""
    security.hold(request.app.state.limits.writes, str(session.id))
    security.check_token(request, session, request.headers.get("x-csrf-token") or "")
    body = {
        name: [value.replace("\0", "") for value in values] for name, values in draft.body.items()
    }
    kept = leases.save_draft(
        request.app.state.store, session.person.id, assignment_id, body, sequence=draft.sequence
    )
    if kept is None:
        raise HTTPException(404, "there is no such task of yours")
    return JSONResponse({"saved_ms": kept.saved_ms, "live": kept.live, "kept": kept.kept})


@router.post("/tasks/{assignment_id}/draft")
def keep_draft_form(request: Request, sent: Sent, assignment_id: Id) -> Response:
    """Keep a draft by button, for pages without script."""
    found = _find(request, sent.session, assignment_id)
    _keep(request, sent.session, found, sheets.fields_of_form(sent.form))
    return _to_task(found.id, "draft")


@router.get("/tasks/{assignment_id}/{verb}")
def back(assignment_id: Id, verb: Verb) -> Response:
    """Where a form was sent to there is nothing to read: lead who opens it to the task."""
    del verb
    return _to_task(assignment_id)


@router.post("/tasks/{assignment_id}/ranking")
def rank(request: Request, sent: Sent, assignment_id: Id) -> Response:
    """Submit ratings and ranks."""
    found = _find(request, sent.session, assignment_id)
    sheet = partial(sheets.ranking_sheet, sent.form, found)
    return _hand_in(request, sent, found, submit.submit_ranking, sheet)


@router.post("/tasks/{assignment_id}/demonstration")
def demonstrate(request: Request, sent: Sent, assignment_id: Id) -> Response:
    """Submit an answer of one's own."""
    found = _find(request, sent.session, assignment_id)
    sheet = partial(sheets.demonstration_sheet, sent.form)
    return _hand_in(request, sent, found, submit.submit_demonstration, sheet)


@router.post("/tasks/{assignment_id}/skip")
def skip(request: Request, sent: Sent, assignment_id: Id) -> Response:
    """Pass a task on, with the reason."""
    found = _find(request, sent.session, assignment_id)
    sheet = partial(sheets.skip_sheet, sent.form)
    return _hand_in(request, sent, found, submit.submit_skip, sheet)


@router.post("/tasks/{assignment_id}/flag")
def flag(request: Request, sent: Sent, assignment_id: Id) -> Response:
    """Tell the admins of a task and keep it."""
    found = _find(request, sent.session, assignment_id)
    reason, note = text(sent.form, "reason"), text(sent.form, "note").strip()[:2000]
    if reason not in skip_ids(found.question):
        reason = ""
    if not reason and not note:
        problem = "Tick a reason or write a note, so that the admins know what to look at."
        return _show(request, sent.session, found, problem=problem, status=422)
    details = {"reason": reason, "note": note}
    events.remember(
        request.app.state.store,
        "flag",
        by=sent.session.person.id,
        task_id=found.task_id,
        details=details,
    )
    return _to_task(found.id, "flagged")


@router.get("/labels")
def mine(
    request: Request,
    session: Me,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> Response:
    """One's own labels, newest first, each open to a change."""
    store = request.app.state.store
    labels = submit.labels_of(store, session.person.id, limit=PAGE, before=before)
    shown = {
        "labels": labels,
        "older": labels[-1].id if len(labels) == PAGE else None,
        "excerpts": tasks.excerpts(store, {label.task_id for label in labels}),
    }
    return page(request, "labels.html", session, shown)


def _find(request: Request, session: Session, assignment_id: int) -> Assignment:
    """The person's own assignment, or 404: others' are not told apart from none."""
    found = leases.find_assignment(request.app.state.store, session.person.id, assignment_id)
    if found is None:
        raise HTTPException(404, "there is no such task of yours")
    return found


def _show(
    request: Request,
    session: Session,
    found: Assignment,
    *,
    filled: Fields | None = None,
    problem: str | None = None,
    notice: str | None = None,
    said: str | None = None,
    status: int = 200,
) -> Response:
    template = "rank.html" if found.kind == "rank" else "demonstrate.html"
    shown = {
        "page": task_page(found, filled),
        "problem": problem,
        "notice": notice,
        "said": said,
    }
    return page(request, template, session, shown, status=status)


def _to_task(assignment_id: int, said: str | None = None) -> Response:
    """To a task's own address, which may be opened again; with a word on what happened."""
    word = f"?said={said}" if said in (*SAID, "flagged") else ""
    return RedirectResponse(f"/tasks/{assignment_id}{word}", status_code=303)


def _keep(request: Request, session: Session, found: Assignment, filled: Fields) -> None:
    body = {name: list(values) for name, values in filled.items()}
    sequence = sheets.later_than(found.draft.sequence if found.draft else 0)
    leases.save_draft(request.app.state.store, session.person.id, found.id, body, sequence=sequence)


def _hand_in(
    request: Request,
    sent: Posted,
    found: Assignment,
    take: Callable[..., Receipt | None],
    sheet: Callable[[], object],
) -> Response:
    """Read the form and store it; a form that can't be read is shown again."""
    submission_id = text(sent.form, "submission_id") or str(uuid4())
    store, person_id = request.app.state.store, sent.session.person.id
    try:
        receipt = take(store, person_id, found.id, sheet(), submission_id=submission_id)
    except UserError as error:
        return _refused(request, sent, found, error)
    return _saved(request, receipt)


def _refused(request: Request, sent: Posted, found: Assignment, error: UserError) -> Response:
    """Say what is missing; what was filled in stays."""
    filled = sheets.fields_of_form(sent.form)
    status = status_of(error)
    if wants_json(request) or status != 422:
        raise error
    if "reason" not in filled:
        _keep(request, sent.session, found, filled)
        return _show(request, sent.session, found, filled=filled, problem=str(error), status=status)
    return _show(request, sent.session, found, problem=str(error), status=status)


def _saved(request: Request, receipt: Receipt | None) -> Response:
    """Only what is in the database and in the journal gets this far."""
    if receipt is None:
        raise HTTPException(404, "there is no such task of yours")
    onwards = f"/next?said={'skipped' if request.url.path.endswith('/skip') else 'saved'}"
    if wants_json(request):
        return JSONResponse({"next": onwards, "label": receipt.label_id, "late": receipt.late})
    return RedirectResponse(onwards, status_code=303)
