"""A cloze question: a text with its end left open, and what it might end with.

Asked of a model: which option is the likeliest, by its mean log-probability a token?
Stored: the beginning, the options, and which one is right.
Valid: the beginning holds something, for the first token of an option is predicted from it; at
least two options, none of them empty; the answer is one of them.
"""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trivium.labels.prompt import Words

Written = Annotated[Words, Field(min_length=1)]


class ClozeQuestion(BaseModel):
    """A fact with its end left open."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    prefix: Written
    """The text before the gap."""

    options: Annotated[list[Written], Field(min_length=2)]
    """What may fill it; each as it would stand in the text, its leading space included."""

    answer: Annotated[int, Field(ge=0)]
    """Index of the right option, from 0."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.answer >= len(self.options):
            raise ValueError(
                f"answer: expected an index below {len(self.options)}, got {self.answer}"
            )
        return self
