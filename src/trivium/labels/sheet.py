"""What a labeler hands in, and what makes it valid.

Asked of a person: a sheet of the task's kind: the order of K answers with a rating and flags for
each, or an answer of one's own, or a reason to pass the task on.
Valid: every answer that was shown is judged once, with a rank unless the set can't be ranked, a
rating on the question's scale where it is required, and flags the question knows.

Ranks may have holes when they are handed in: 1, 1, 4 is stored as the dense 1, 1, 2.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from trivium.errors import UserError
from trivium.labels.prompt import Identifier, Words
from trivium.labels.question import Question, flag_ids, skip_ids

Milliseconds = Annotated[int, Field(ge=0, lt=2**63)]
"""A time; no greater than the columns of a database hold."""
MOST_TEXT = 200_000
"""Longest text that is taken from a labeler, in characters."""
CONTRADICTION = 2
"""Points by which the worse-ranked answer must be rated better to be called a contradiction."""


class Judgement(BaseModel):
    """What was said of one answer that was shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    key: Identifier
    """Which answer."""

    rank: Annotated[int, Field(ge=1, le=1000)] | None = None
    """1 is best; equal ranks are a tie."""

    rating: Annotated[int, Field(ge=1, le=7)] | None = None
    """Overall quality."""

    flags: list[Identifier] = Field(default_factory=list)
    """Ids of the question's flags."""


class RankingSheet(BaseModel):
    """K answers, judged."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    judgements: list[Judgement]
    """One for each answer that was shown, in any order."""

    not_rankable: bool = False
    """The answers can't be put in any order; ranks are then left out."""

    note: Annotated[Words, Field(max_length=MOST_TEXT)] | None = None
    """Whatever else the labeler wants to say."""

    lead_time_ms: Milliseconds | None = None
    """Time spent on the task."""


class DemonstrationSheet(BaseModel):
    """The answer the labeler would like the model to give."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    completion: Annotated[Words, Field(max_length=MOST_TEXT)]
    """The answer."""

    note: Annotated[Words, Field(max_length=MOST_TEXT)] | None = None
    """Whatever else the labeler wants to say."""

    lead_time_ms: Milliseconds | None = None
    """Time spent on the task."""


class SkipSheet(BaseModel):
    """Why the task is passed on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reason: Identifier
    """Id of one of the question's reasons."""

    note: Annotated[Words, Field(max_length=MOST_TEXT)] | None = None
    """Whatever else the labeler wants to say."""

    lead_time_ms: Milliseconds | None = None
    """Time spent on the task."""


Sheet = RankingSheet | DemonstrationSheet | SkipSheet


def check_ranking(sheet: RankingSheet, question: Question, keys: Sequence[str]) -> None:
    """Refuse a sheet that isn't whole.

    Args:
        sheet: what was handed in.
        question: what was asked.
        keys: the answers in the order in which they were shown, A first.

    Raises:
        UserError: names the answer by its letter and says what is missing.
    """
    _check_keys([judgement.key for judgement in sheet.judgements], keys)
    names = {key: f"answer {letter(place)}" for place, key in enumerate(keys)}
    for judgement in sorted(sheet.judgements, key=lambda judged: keys.index(judged.key)):
        name = names[judgement.key]
        if judgement.rank is None and not sheet.not_rankable:
            raise UserError(
                f"{name}: expected a rank; give it one, or say that the set can't be ranked"
            )
        if judgement.rank is not None and sheet.not_rankable:
            raise UserError(
                f"{name}: got a rank in a set that can't be ranked; take one of them back"
            )
        _check_rating(name, judgement.rating, question)
        if unknown := sorted(set(judgement.flags) - flag_ids(question)):
            raise UserError(f"{name}: unknown flag {unknown[0]!r}; reload the page")


def check_demonstration(sheet: DemonstrationSheet) -> None:
    """Refuse an empty demonstration.

    Raises:
        UserError: it holds white space alone.
    """
    if not sheet.completion.strip():
        raise UserError("your answer: expected some text, got none; write it or skip the task")


def check_skip(sheet: SkipSheet, question: Question) -> None:
    """Refuse a reason that isn't one of the question's.

    Raises:
        UserError: names the reasons.
    """
    if sheet.reason not in skip_ids(question):
        known = ", ".join(choice.id for choice in question.skip_reasons)
        raise UserError(f"reason: expected one of {known}, got {sheet.reason!r}")


def letter(place: int) -> str:
    """How an answer is called on the page: A, B, ... Z, AA, AB, ..."""
    name = ""
    place += 1
    while place:
        place, digit = divmod(place - 1, 26)
        name = chr(ord("A") + digit) + name
    return name


def dense_ranks(ranks: Sequence[int]) -> list[int]:
    """The same order and ties with ranks 1..m and none left out: 2, 2, 7 gives 1, 1, 2."""
    places = {rank: place for place, rank in enumerate(sorted(set(ranks)), start=1)}
    return [places[rank] for rank in ranks]


def merge_identical(texts: Sequence[str]) -> list[list[int]]:
    """Places that hold the same text, grouped; groups in the order of their first place."""
    groups: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        groups.setdefault(text, []).append(place)
    return list(groups.values())


def contradictions(
    ranks: Sequence[int | None], ratings: Sequence[int | None]
) -> list[tuple[int, int]]:
    """Pairs (i, j) with i ranked better than j and rated at least `CONTRADICTION` points worse.

    Of the same people, ratings and rankings disagree often (arXiv:2308.15812): worth a question,
    never a refusal.
    """
    judged = [
        (place, rank, rating)
        for place, (rank, rating) in enumerate(zip(ranks, ratings, strict=True))
        if rank is not None and rating is not None
    ]
    return [
        (better, worse)
        for (better, rank, rating), (worse, other_rank, other_rating) in permutations(judged, 2)
        if rank < other_rank and other_rating - rating >= CONTRADICTION
    ]


def _check_keys(got: Sequence[str], keys: Sequence[str]) -> None:
    if repeated := [key for key, times in Counter(got).items() if times > 1]:
        raise UserError(f"answers: expected one judgement each, got {repeated[0]!r} twice")
    if strange := [key for key in got if key not in keys]:
        raise UserError(f"answers: {strange[0]!r} isn't one of those shown; reload the page")
    if missing := [letter(place) for place, key in enumerate(keys) if key not in got]:
        raise UserError(f"answers: expected a judgement of each, got none of answer {missing[0]}")


def _check_rating(name: str, rating: int | None, question: Question) -> None:
    scale = question.rating
    if rating is None:
        if question.rating_required:
            raise UserError(f"{name}: expected a rating from {scale.low} to {scale.high}; rate it")
    elif not scale.low <= rating <= scale.high:
        raise UserError(f"{name}: expected a rating from {scale.low} to {scale.high}, got {rating}")
