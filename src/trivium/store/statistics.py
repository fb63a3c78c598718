"""Figures about labelers, from the labels that stand: progress, agreement, contradictions."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, select

from trivium.labels.sheet import contradictions, merge_identical
from trivium.store import agreement as measures
from trivium.store import clock, people
from trivium.store.agreement import Compared, Interval, Judgement, PositionBias
from trivium.store.database import Store, reading
from trivium.store.people import Person
from trivium.store.schema import answers, labels, tasks
from trivium.store.schema import people as people_table
from trivium.store.settings import read_question

RECENT = 300
"""So many of a labeler's newest labels tell how they work now."""
_EXCERPT = 160
_NEWER = labels.alias("newer")
_STANDS = ~select(_NEWER.c.id).where(_NEWER.c.supersedes == labels.c.id).exists()
_RANKED = (labels.c.kind == "rank") & ~labels.c.skipped
_BATCH = 500
_WITH_COPIES = (
    select(answers.c.task_id)
    .where(answers.c.task_id.in_(bindparam("task_ids", expanding=True)))
    .group_by(answers.c.task_id)
    .having(func.count() > func.count(answers.c.text.distinct()))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one labeler is, and how they work."""

    person: Person
    today: int
    """Labels since midnight, UTC, as the daily cap counts them."""
    total: int
    """Labels, without corrections and skips."""
    skips: int
    late: int
    revisions: int
    median_lead_ms: int | None
    """Of the newest labels."""
    contradiction_rate: float | None
    """Share of the newest rankings that contradict their ratings by 2 points; None: none rated."""
    screening_right: int
    """Pairs of answers of screening tasks that were ordered as they should be."""
    screening_seen: int
    """Pairs of answers of screening tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementReport:
    """How far labelers agree, with each other and with themselves."""

    pairwise: Interval | None
    """Share of comparisons of two answers on which two labelers agree."""
    pairs: int
    """Such comparisons."""
    kendall_tau_b: float | None
    alpha_rating: Interval | None
    alpha_flags: float | None
    against_rest: list[tuple[str, Interval, int]]
    """Each labeler against the mean of the others, and on how many comparisons."""
    position: PositionBias | None
    contradictions: tuple[int, int]
    """Rankings whose ratings contradict them, of all that were rated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContradictionCase:
    """Two answers, the one ranked better and rated worse."""

    label_id: int
    task_id: int
    alias: str | None
    better_text: str
    better_rating: int
    worse_text: str
    worse_rating: int
    saved_ms: int | None


def labeler_progress(store: Store, *, now_ms: int | None = None) -> list[Progress]:
    """Everybody who has labeled, or could."""
    everybody = people.all_people(store)
    with reading(store) as connection:
        return [_progress(connection, person, clock.now(now_ms)) for person in everybody]


def progress_of(store: Store, person_id: int, *, now_ms: int | None = None) -> Progress:
    """One labeler."""
    person = people.find_person(store, person_id)
    assert person is not None
    with reading(store) as connection:
        return _progress(connection, person, clock.now(now_ms))


def agreement(store: Store) -> AgreementReport:
    """All the figures of agreement; takes seconds on a hundred thousand labels."""
    judged: dict[int, list[Judgement]] = defaultdict(list)
    ratings: dict[str, dict[str, int]] = defaultdict(dict)
    marks: dict[str, dict[str, int]] = defaultdict(dict)
    firsts: list[tuple[int, int]] = []
    contradicting = rated = 0
    with reading(store) as connection:
        flags = [choice.id for choice in read_question(connection).flags]
        for row, body in _rankings(connection):
            ranks, points = _column(body, "rank"), _column(body, "rating")
            labeler = row.alias or ""
            judged[row.task_id].append(Judgement(labeler, ranks))
            if (position := _first_position(body)) is not None:
                firsts.append((len(ranks), position))
            if any(point is not None for point in points):
                rated += 1
                contradicting += bool(contradictions(ranks, points))
            for place, judgement in enumerate(body["judgements"]):
                unit = f"{row.task_id}.{place}"
                if "rating" in judgement:
                    ratings[labeler][unit] = judgement["rating"]
                given = judgement.get("flags", [])
                marks[labeler] |= {f"{unit}.{flag}": int(flag in given) for flag in flags}
    compared = measures.between_labelers(judged)
    rest = measures.against_the_rest(judged)
    shares = {labeler: measures.share(against) for labeler, against in sorted(rest.items())}
    return AgreementReport(
        pairwise=measures.share(compared),
        pairs=len(compared.agreed),
        kendall_tau_b=measures.kendall_tau_b(judged),
        alpha_rating=measures.alpha_of_ratings(ratings),
        alpha_flags=measures.alpha_of_marks(marks),
        against_rest=[
            (labeler, share, len(rest[labeler].agreed))
            for labeler, share in shares.items()
            if share is not None
        ],
        position=measures.position_bias(firsts),
        contradictions=(contradicting, rated),
    )


def contradiction_cases(store: Store, *, limit: int = 50) -> list[ContradictionCase]:
    """The newest rankings that contradict their ratings, one pair of answers of each."""
    found: list[ContradictionCase] = []
    with reading(store) as connection:
        for row, body in _rankings(connection, newest_first=True):
            points = _column(body, "rating")
            pairs = contradictions(_column(body, "rank"), points)
            if not pairs:
                continue
            better, worse = pairs[0]
            texts = list(dict.fromkeys(_texts(connection, row.task_id)))
            found.append(
                ContradictionCase(
                    label_id=row.id,
                    task_id=row.task_id,
                    alias=row.alias,
                    better_text=texts[better][:_EXCERPT],
                    better_rating=points[better],
                    worse_text=texts[worse][:_EXCERPT],
                    worse_rating=points[worse],
                    saved_ms=row.saved_ms,
                )
            )
            if len(found) == limit:
                break
    return found


def _progress(connection: Connection, person: Person, at_ms: int) -> Progress:
    first = labels.c.supersedes.is_(None) & ~labels.c.skipped
    today = first & (labels.c.saved_ms >= clock.start_of_day(at_ms))
    counts = connection.execute(
        select(
            _how_many(today).label("today"),
            _how_many(first).label("total"),
            _how_many(labels.c.skipped).label("skips"),
            _how_many(labels.c.late).label("late"),
            _how_many(labels.c.supersedes.is_not(None)).label("revisions"),
        ).where(labels.c.person_id == person.id)
    ).one()
    bodies = [json.loads(body) for body in _recent(connection, person.id)]
    leads = [body["lead_time_ms"] for body in bodies if "lead_time_ms" in body]
    rated = [body for body in bodies if any("rating" in j for j in body.get("judgements", []))]
    wrong = sum(
        bool(contradictions(_column(body, "rank"), _column(body, "rating"))) for body in rated
    )
    right, seen = _screening(connection, person.id)
    return Progress(
        person=person,
        today=counts.today,
        total=counts.total,
        skips=counts.skips,
        late=counts.late,
        revisions=counts.revisions,
        median_lead_ms=round(median(leads)) if leads else None,
        contradiction_rate=wrong / len(rated) if rated else None,
        screening_right=right,
        screening_seen=seen,
    )


def _how_many(condition: Any) -> Any:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _recent(connection: Connection, person_id: int) -> Sequence[str]:
    newest = select(labels.c.body).where(labels.c.person_id == person_id, ~labels.c.skipped)
    rows = newest.order_by(labels.c.id.desc()).limit(RECENT)
    return list(connection.execute(rows).scalars())


def _screening(connection: Connection, person_id: int) -> tuple[int, int]:
    """Pairs ordered as they should be, and all pairs, of this person's screening tasks."""
    rows = (
        select(labels.c.body, tasks.c.screening)
        .join(tasks, tasks.c.id == labels.c.task_id)
        .where(labels.c.person_id == person_id, tasks.c.screening.is_not(None), _RANKED, _STANDS)
    )
    found = Compared([], [])
    seen = 0
    for number, row in enumerate(connection.execute(rows)):
        known, ranks = json.loads(row.screening), _column(json.loads(row.body), "rank")
        if None in ranks:
            continue
        judged = [Judgement("known", known), Judgement("labeler", ranks)]
        compared = measures.between_labelers({number: judged})
        found.agreed.extend(compared.agreed)
        seen += sum(a != b for i, a in enumerate(known) for b in known[:i])
    return round(sum(found.agreed)), seen


def _rankings(
    connection: Connection, *, newest_first: bool = False
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Standing rankings that order their answers, with their bodies. Answers that say the same were
    shown and judged as one: they have one place here, that of the first.
    """
    rows = (
        select(*(labels.c.id, labels.c.task_id, labels.c.body, labels.c.saved_ms))
        .add_columns(people_table.c.alias)
        .outerjoin(people_table, people_table.c.id == labels.c.person_id)
        .where(_RANKED, _STANDS)
        .order_by(labels.c.id.desc() if newest_first else labels.c.id)
        .execution_options(yield_per=_BATCH)
    )
    for batch in connection.execute(rows).partitions():
        wanted = {"task_ids": list({row.task_id for row in batch})}
        with_copies = set(connection.execute(_WITH_COPIES, wanted).scalars())
        for row in batch:
            body = json.loads(row.body)
            if row.task_id in with_copies:
                body = _one_of_each(body, merge_identical(_texts(connection, row.task_id)))
            if "not_rankable" not in body:
                yield row, body


def _one_of_each(body: dict[str, Any], groups: list[list[int]]) -> dict[str, Any]:
    """A ranking's body as if each group of places that hold the same text were one place."""
    number = {place: one for one, group in enumerate(groups) for place in group}
    merged = {**body, "judgements": [body["judgements"][first] for first, *_ in groups]}
    if "order" in body:
        merged["order"] = list(dict.fromkeys(number[place] for place in body["order"]))
    return merged


def _column(body: dict[str, Any], name: str) -> list[Any]:
    return [judgement.get(name, None) for judgement in body["judgements"]]


def _first_position(body: dict[str, Any]) -> int | None:
    """Where on the page the best answer stood; None if several share the first rank."""
    if "order" not in body:
        return None
    best = [place for place, rank in enumerate(_column(body, "rank")) if rank == 1]
    return body["order"].index(best[0]) if len(best) == 1 else None


def _texts(connection: Connection, task_id: int) -> list[str]:
    rows = select(answers.c.text).where(answers.c.task_id == task_id).order_by(answers.c.place)
    return list(connection.execute(rows).scalars())
