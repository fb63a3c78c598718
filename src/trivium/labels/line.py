"""A label line: everything about one label, in one line of JSON. The native format, version 1.

It stands alone: prompt, answers, who, when, in which order the answers were shown. So a file of
lines is an export, a backup and the journal at once, and a database can be built again from it.

Stored: fields that don't apply to the label's kind are left out.
Valid: a demonstration has a `completion`; a ranking has K >= 2 `completions`, all ranked or none;
a skip has a `skip`.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from trivium.labels.demonstration import Demonstration
from trivium.labels.prompt import Identifier, Messages, Words
from trivium.labels.ranking import Completion, Ranking
from trivium.labels.sheet import Milliseconds, dense_ranks

LINE_FORMAT = "trivium-label-1"
RankNumber = Annotated[int, Field(ge=1, lt=2**31)]
"""A rank; no greater than the columns of a Parquet file hold."""


class JudgedAnswer(BaseModel):
    """One answer of a ranking task and what was said of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    text: Words
    """The answer; may be empty."""

    rank: RankNumber | None = None
    """Dense rank, 1 is best; None in a skipped set or one that can't be ranked."""

    id: Identifier | None = None
    """Names the answer."""

    model: Identifier | None = None
    """What wrote the answer."""

    rating: Annotated[int, Field(ge=1, le=7)] | None = None
    """Overall quality."""

    flags: list[Words] | None = None
    """Ids of the question's flags; None where none was asked for."""

    score: FiniteFloat | None = None
    """A real-valued judgement that came with an imported ranking."""

    clicked: RankNumber | None = None
    """The rank that was clicked, or that an import had, where it differs from the dense one."""


class Skip(BaseModel):
    """Why a task was passed on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reason: Identifier
    """Id of one of the question's reasons."""


class LabelLine(BaseModel):
    """One label."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["trivium-label-1"]
    """Says how to read the rest."""

    submission_id: Identifier
    """Chosen by the labeler's browser; no two labels share it."""

    kind: Literal["rank", "demonstration"]
    """What was asked."""

    id: Identifier
    """Names the task's row, as in the contract's prompts and rankings."""

    prompt: Messages
    """The conversation so far."""

    completion: Words | None = None
    """Of a demonstration: the answer to imitate."""

    completions: list[JudgedAnswer] | None = None
    """Of a ranking task: its answers, in the task's own order, the same for every labeler."""

    author_id: Identifier | None = None
    """Who wrote the prompt."""

    org_id: Identifier | None = None
    """The organisation the author belongs to."""

    source: Identifier | None = None
    """The collection the prompt comes from."""

    labeler: Identifier | None = None
    """Who labeled, under the name that exports use."""

    order: list[int] | None = None
    """Places of `completions` in the order in which they were shown, copies of a text together."""

    not_rankable: bool = False
    """The labeler said that these answers can't be put in order."""

    skip: Skip | None = None
    """Why the task was passed on; the label then holds nothing else."""

    note: Words | None = None
    """What else the labeler said."""

    question_version: Identifier | None = None
    """Version of the rating scale and flags; None for labels that came from elsewhere."""

    late: bool = False
    """Handed in after the task had been given back."""

    counted: bool = True
    """Whether the label took one of the task's places; late ones may find them taken."""

    supersedes: Identifier | None = None
    """`submission_id` of the label that this one corrects."""

    saved_ms: Milliseconds | None = None
    """When it was stored, in milliseconds since 1970, UTC; None: it came from elsewhere."""

    lead_time_ms: Milliseconds | None = None
    """Time spent on the task."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.skip is not None and (self.completion is not None or self.not_rankable):
            raise ValueError("expected a skip or an answer, got both")
        if self.kind == "demonstration":
            if self.completions is not None:
                raise ValueError("expected a demonstration's completion, got completions")
            if self.skip is None and not (self.completion or "").strip():
                raise ValueError("expected an answer to imitate, got none")
        else:
            _check_answers(self)
        return self


def _check_answers(line: LabelLine) -> None:
    """Raise ValueError where a ranking line isn't whole."""
    answers = line.completions or []
    if len(answers) < 2 or line.completion is not None:
        raise ValueError(f"expected at least two answers to compare, got {len(answers)}")
    unranked = line.not_rankable or line.skip is not None
    if any((answer.rank is None) != unranked for answer in answers):
        wanted = "no ranks" if unranked else "a rank for every answer"
        raise ValueError(f"expected {wanted}")
    if line.order is not None and sorted(line.order) != list(range(len(answers))):
        raise ValueError(f"order: expected each place once, got {line.order}")


def with_dense_ranks(line: LabelLine) -> LabelLine:
    """The line with ranks 1..m and none left out; what they were before is in `clicked`."""
    ranks = [answer.rank for answer in line.completions or [] if answer.rank is not None]
    dense = dense_ranks(ranks)
    if line.completions is None or dense == ranks:
        return line
    completions = [
        answer
        if answer.rank == rank
        else answer.model_copy(update={"rank": rank, "clicked": answer.clicked or answer.rank})
        for answer, rank in zip(line.completions, dense, strict=True)
    ]
    return line.model_copy(update={"completions": completions})


def as_ranking(line: LabelLine) -> Ranking | None:
    """The line as the contract's ranking; None where nothing was ranked."""
    if line.kind != "rank" or line.skip is not None or line.not_rankable:
        return None
    completions = [
        Completion(
            text=answer.text,
            rank=answer.rank or 1,
            id=answer.id,
            model=answer.model,
            rating=answer.rating,
            flags=answer.flags,
            score=answer.score,
        )
        for answer in line.completions or []
    ]
    return Ranking(
        id=line.id,
        prompt=line.prompt,
        completions=completions,
        author_id=line.author_id,
        org_id=line.org_id,
        source=line.source,
        labeler=line.labeler,
    )


def as_demonstration(line: LabelLine) -> Demonstration | None:
    """The line as the contract's demonstration; None where nothing was written."""
    if line.kind != "demonstration" or line.completion is None:
        return None
    return Demonstration(
        id=line.id,
        prompt=line.prompt,
        completion=line.completion,
        author_id=line.author_id,
        org_id=line.org_id,
        source=line.source,
        labeler=line.labeler,
    )
