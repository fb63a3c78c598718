"""What is asked about answers: the rating scale, the flags, the reasons to skip. Data, in YAML.

Every label stores the version of the question it answers, so that a list may change in mid-study
without old labels changing their meaning.

Source of the list that ships: Ouyang et al. 2022, arXiv:2203.02155, Table 3.
"""

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from trivium.errors import UserError
from trivium.labels.prompt import Identifier, Words


class Choice(BaseModel):
    """One thing that can be ticked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """What is stored."""

    text: Identifier
    """What the labeler reads."""


class Scale(BaseModel):
    """A rating in whole points; the types of the stored label allow 1 to 7."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    low: Annotated[int, Field(ge=1, le=6)]
    """The worst rating."""

    high: Annotated[int, Field(ge=2, le=7)]
    """The best rating."""

    low_text: Words
    """What the worst rating means."""

    high_text: Words
    """What the best rating means."""


def _distinct(choices: list[Choice]) -> list[Choice]:
    ids = [choice.id for choice in choices]
    if repeated := sorted({name for name in ids if ids.count(name) > 1}):
        raise ValueError(f"expected different ids, got {repeated[0]} twice")
    return choices


class Question(BaseModel):
    """All that is asked about the answers to one prompt, besides their order."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Identifier
    """Stored in every label."""

    rating: Scale
    """The scale of the overall rating."""

    rating_required: bool
    """Whether every answer needs a rating before the label is whole."""

    flags: Annotated[list[Choice], AfterValidator(_distinct)]
    """Yes-or-no marks of one answer."""

    skip_reasons: Annotated[list[Choice], Field(min_length=1), AfterValidator(_distinct)]
    """Why somebody may pass a task on."""


def flag_ids(question: Question) -> set[str]:
    """What a label may carry as flags."""
    return {choice.id for choice in question.flags}


def skip_ids(question: Question) -> set[str]:
    """What a skip may give as its reason."""
    return {choice.id for choice in question.skip_reasons}


@cache
def default_question() -> Question:
    """The question that ships with the package."""
    text = resources.files("trivium.labels").joinpath("question.yaml").read_text("utf-8")
    return Question.model_validate(yaml.safe_load(text))


def read_question(path: Path) -> Question:
    """A question of one's own.

    Raises:
        UserError: the file isn't there, isn't YAML, or doesn't hold a question.
    """
    try:
        return Question.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; check the path") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: expected YAML, got: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{path}: {where}: {first['msg']}; see trivium/labels/question.yaml"
        ) from None
