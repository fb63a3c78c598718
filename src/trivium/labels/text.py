"""A text: what a language model is pretrained on, and what PPO-ptx mixes in.

Asked of a person: nothing; it was found.
Stored: the text.
Valid: it is not empty.
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from trivium.labels.prompt import Words


def _not_empty(text: str) -> str:
    """Return ``text``, or raise ValueError where there is nothing to read."""
    if not text:
        raise ValueError("expected a document, got an empty text")
    return text


class Text(BaseModel):
    """One document."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    text: Annotated[Words, AfterValidator(_not_empty)]
    """The document."""
