"""A ranking: K answers to one prompt, put in order by a person.

Asked of a person: "here are a conversation and K answers; rank them, ties allowed", and, if the
study wants it, a 1..7 rating and flags for each.
Stored: the prompt's fields, every answer with its rank, and who ranked.
Valid: K >= 2. Rank 1 is best, equal ranks are a tie. An empty answer is data: models give some.
So is a ranking of ties alone, although no pair can be learnt from it (`has_untied_pair`).

Source: K = 4..9 answers ranked at once, Ouyang et al. 2022, arXiv:2203.02155, section 3.5;
ties and the 1..7 rating, the labeling interface of its appendix.
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from trivium.labels.prompt import Identifier, Messages, Words


class Completion(BaseModel):
    """One answer and what was said of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    text: Words
    """The answer; may be empty."""

    rank: Annotated[int, Field(ge=1)]
    """1 is best; equal ranks are a tie."""

    id: Identifier | None = None
    """Names the answer."""

    model: Identifier | None = None
    """What wrote the answer."""

    rating: Annotated[int, Field(ge=1, le=7)] | None = None
    """Overall quality, 1 (worst) to 7 (best)."""

    flags: list[Words] | None = None
    """What the labeler marked the answer with, such as "fails to follow the instruction"."""

    score: FiniteFloat | None = None
    """A real-valued judgement in the judge's own unit; higher is better."""


def _at_least_two(completions: list[Completion]) -> list[Completion]:
    """Return ``completions``, or raise ValueError where there is nothing to compare."""
    if len(completions) < 2:
        raise ValueError(f"expected at least two answers to compare, got {len(completions)}")
    return completions


class Ranking(BaseModel):
    """A prompt and K >= 2 ranked answers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Identifier
    """Names the row in reports."""

    prompt: Messages
    """The conversation so far."""

    completions: Annotated[list[Completion], AfterValidator(_at_least_two)]
    """The ranked answers, in any order."""

    author_id: Identifier | None = None
    """Who wrote the prompt."""

    org_id: Identifier | None = None
    """The organisation the author belongs to."""

    source: Identifier | None = None
    """The collection the row comes from."""

    labeler: Identifier | None = None
    """Who ranked."""


def has_untied_pair(ranking: Ranking) -> bool:
    """Whether the ranking prefers any answer to any other; False when all ranks are equal."""
    return len({completion.rank for completion in ranking.completions}) > 1
