"""Between a form's fields and what a labeler hands in.

A form names its fields `rank.KEY`, `rating.KEY` and `flag.KEY`, with the key of an answer, or
`completion`. Drafts keep the same names.
"""

from time import time

from starlette.datastructures import FormData

from trivium.errors import UserError
from trivium.labels.sheet import (
    MOST_TEXT,
    DemonstrationSheet,
    Judgement,
    RankingSheet,
    SkipSheet,
)
from trivium.store.desk import Assignment
from trivium.web.security import text, texts

PREFIXES = ("rank.", "rating.", "flag.")
LONGEST_LEAD_MS = 86_400_000


def fields_of_form(form: FormData) -> dict[str, list[str]]:
    """What a draft keeps of a form."""
    names = dict.fromkeys(name for name in form if name.startswith(PREFIXES))
    kept = {name: texts(form, name) for name in names}
    for name in ("completion", "reason"):
        if name in form:
            kept[name] = [text(form, name)]
    return kept


def fields_of_label(assignment: Assignment) -> dict[str, list[str]] | None:
    """The form as it was when the newest label was made; None: no label, or a later draft."""
    label, draft = assignment.label, assignment.draft
    if label is None or label.skipped:
        return None
    if draft is not None and draft.saved_ms > (label.saved_ms or 0):
        return None
    body = label.body
    if label.kind == "demonstration":
        return {"completion": [body["completion"]]}
    fields: dict[str, list[str]] = {}
    shown = iter(body["order"])
    for answer in assignment.answers:
        place, *_ = [next(shown) for _ in range(answer.copies)]
        judged = body["judgements"][place]
        for name in ("rank", "rating"):
            if name in judged:
                fields[f"{name}.{answer.key}"] = [str(judged[name])]
        if "flags" in judged:
            fields[f"flag.{answer.key}"] = judged["flags"]
    return fields


def ranking_sheet(form: FormData, assignment: Assignment) -> RankingSheet:
    """Ratings, flags and ranks of a form; ranks are left out of a set that can't be ranked.

    Raises:
        UserError: a field holds something that no page of ours sends.
    """
    not_rankable = text(form, "do") == "not_rankable"
    return RankingSheet(
        judgements=[
            Judgement(
                key=answer.key,
                rank=None if not_rankable else _number(form, f"rank.{answer.key}", 1000),
                rating=_number(form, f"rating.{answer.key}", 7),
                flags=texts(form, f"flag.{answer.key}"),
            )
            for answer in assignment.answers
        ],
        not_rankable=not_rankable,
        lead_time_ms=lead_time(form),
    )


def demonstration_sheet(form: FormData) -> DemonstrationSheet:
    """An answer as it was written; line ends are those of text, not those of HTTP."""
    written = text(form, "completion").replace("\r\n", "\n")
    _check_length(written)
    return DemonstrationSheet(completion=written, lead_time_ms=lead_time(form))


def skip_sheet(form: FormData) -> SkipSheet:
    """A reason, maybe with a note.

    Raises:
        UserError: no reason was ticked.
    """
    reason = text(form, "reason")
    if not reason:
        raise UserError("reason: expected one to be ticked; tick one, or close the skip form")
    note = text(form, "note")
    _check_length(note)
    return SkipSheet(reason=reason, note=note or None, lead_time_ms=lead_time(form))


def lead_time(form: FormData) -> int | None:
    """Milliseconds spent: as the page's script measured, else since the page was made."""
    measured, shown = text(form, "lead_ms"), text(form, "shown_ms")
    if _is_count(measured):
        return min(int(measured), LONGEST_LEAD_MS)
    if _is_count(shown):
        return min(max(0, round(time() * 1000) - int(shown)), LONGEST_LEAD_MS)
    return None


def later_than(sequence: int) -> int:
    """A sequence for a draft that was sent by button: the time, as scripts use it."""
    return max(round(time() * 1000), sequence + 1)


def _number(form: FormData, name: str, most: int) -> int | None:
    value = text(form, name)
    if not value:
        return None
    if not _is_count(value) or not 1 <= int(value) <= most:
        raise UserError(f"{name}: expected a number from 1 to {most}, got {value[:20]!r}")
    return int(value)


def _is_count(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) < 16


def _check_length(written: str) -> None:
    if len(written) > MOST_TEXT:
        raise UserError(f"text: expected {MOST_TEXT} characters at most, got {len(written)}")
