"""Pages of reviewers and admins: the queue, one task, quality, export."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, get_args

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi import Path as PathField
from fastapi.responses import RedirectResponse, StreamingResponse

from trivium.labels import Question
from trivium.store import events, naming, statistics, tasks, transfer
from trivium.store.people import Session
from trivium.store.settings import current_question, load_settings
from trivium.web import security
from trivium.web.rendering import page
from trivium.web.security import Posted, text

router = APIRouter(prefix="/admin")
Reviewer = Annotated[Session, Depends(security.reviewing)]
Admin = Annotated[Session, Depends(security.ruling)]
SentByAdmin = Annotated[Posted, Depends(security.posted_by_admin)]
Id = Annotated[int, PathField(ge=1, le=2**31 - 1)]
Status = Literal["open", "done", "quarantined", "closed"]
Kind = Literal["rank", "demonstration"]
PAGE = 50
CHUNK = 1 << 16


@router.get("")
def queue(
    request: Request,
    session: Reviewer,
    status: Status | None = None,
    kind: Kind | None = None,
    flagged: bool = False,
    after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
) -> Response:
    """What waits, what is being done, what is done, what nobody could do."""
    store = request.app.state.store
    rows = tasks.list_tasks(
        store, status=status, kind=kind, flagged=flagged, after=after, limit=PAGE
    )
    shown = {
        "counts": tasks.queue_counts(store),
        "rows": rows,
        "status": status,
        "kind": kind,
        "flagged": flagged,
        "statuses": get_args(Status),
        "kinds": get_args(Kind),
        "after": rows[-1].id if len(rows) == PAGE else None,
        "events": events.list_events(store, limit=15),
        "reasons": _texts(current_question(store)),
    }
    return page(request, "admin/queue.html", session, shown)


@router.get("/tasks/{task_id}")
def one(request: Request, session: Reviewer, task_id: Id) -> Response:
    """One task with its labels, and what labelers told of it."""
    store = request.app.state.store
    found = tasks.find_task(store, task_id)
    if found is None:
        raise HTTPException(404, "there is no such task")
    told = events.list_events(store, task_id=task_id, action="flag")
    settled = events.list_events(store, task_id=task_id, action="settle", limit=1)
    words = load_settings(store).model_words
    named = [naming.words_in(answer.text, words) for answer in found.answers]
    shown = {
        "task": found,
        "named": named,
        "told": told,
        "settled": next((event for event in settled if told and event.id > told[0].id), None),
        "texts": _texts(current_question(store)),
    }
    return page(request, "admin/task.html", session, shown)


@router.post("/tasks/{task_id}")
def change(request: Request, sent: SentByAdmin, task_id: Id) -> Response:
    """Open or close a task, settle what was told of it, change how many people it needs and when
    it comes, or make it one with a known answer.
    """
    store, by = request.app.state.store, sent.session.person.id
    match text(sent.form, "do"):
        case "open":
            tasks.set_status(store, task_id, "open", by=by)
        case "close":
            tasks.set_status(store, task_id, "closed", by=by)
        case "settle":
            tasks.settle(store, task_id, by=by)
        case "need":
            tasks.set_need(store, task_id, _number(sent, "need", low=1, high=100), by=by)
        case "priority":
            value = _number(sent, "priority", low=-1000, high=1000)
            tasks.set_priority(store, task_id, value, by=by)
        case "screening":
            ranks = [_whole(word, "ranks") for word in text(sent.form, "ranks").split()]
            tasks.set_screening(store, task_id, ranks or None, by=by)
        case _:
            raise HTTPException(422, "expected open, close, settle, need, priority or screening")
    return RedirectResponse(f"/admin/tasks/{task_id}", status_code=303)


@router.get("/quality")
def quality(request: Request, session: Reviewer) -> Response:
    """How far people agree, with each other and with themselves."""
    store = request.app.state.store
    shown = {
        "agreement": statistics.agreement(store),
        "progress": statistics.labeler_progress(store),
        "cases": statistics.contradiction_cases(store, limit=PAGE),
        "model_words": load_settings(store).model_words,
        "named": naming.tasks_that_name(store),
        "most": PAGE,
    }
    return page(request, "admin/quality.html", session, shown)


class Format(NamedTuple):
    """A file that labels can be taken away in."""

    name: str
    about: str


FORMATS = (
    Format("native", "One line of JSON for each label, with everything; can be imported again."),
    Format("rankings", "Rankings as trivium trains on them."),
    Format("demonstrations", "Demonstrations as trivium trains on them."),
    Format("parquet", "Parquet for the datasets library, all answers of a prompt in one row."),
    Format("trl", "Pairs for TRL: chosen, rejected and a margin."),
    Format("argilla", "A folder for Argilla."),
    Format("labelstudio", "Tasks and results for Label Studio."),
)


@router.get("/export")
def export(request: Request, session: Admin) -> Response:
    """The formats to choose from."""
    return page(request, "admin/export.html", session, {"formats": FORMATS})


@router.get("/export/{name}")
def download(request: Request, session: Admin, name: str) -> Response:
    """All labels in one file; a format that is a folder comes as a zip."""
    chosen = {known.name: known for known in FORMATS}
    if name not in chosen:
        raise HTTPException(404, "there is no such format")
    store = request.app.state.store
    folder = tempfile.TemporaryDirectory(prefix="trivium-export-")
    try:
        path = transfer.export_download(store, Path(folder.name), name)
    except BaseException:
        folder.cleanup()
        raise
    events.remember(store, "export", by=session.person.id, details={"format": name})
    headers = {"Content-Disposition": f'attachment; filename="labels-{name}{path.suffix}"'}
    return StreamingResponse(
        _chunks(path, folder), media_type="application/octet-stream", headers=headers
    )


def _chunks(path: Path, folder: "tempfile.TemporaryDirectory[str]") -> Iterator[bytes]:
    with folder, path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _texts(question: Question) -> dict[str, str]:
    """What labelers read, by the ids that are stored."""
    return {choice.id: choice.text for choice in (*question.flags, *question.skip_reasons)}


def _number(sent: Posted, name: str, *, low: int, high: int) -> int:
    value = _whole(text(sent.form, name).strip(), name)
    if not low <= value <= high:
        raise HTTPException(422, f"{name}: expected a number from {low} to {high}")
    return value


def _whole(word: str, name: str) -> int:
    digits = word.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 6):
        raise HTTPException(422, f"{name}: expected a number")
    return int(word)
