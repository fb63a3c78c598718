"""A demonstration: the answer a person would like the model to give.

Asked of a person: "here is a conversation; write the best answer you can".
Stored: the prompt's fields, the answer, and who wrote it.
Valid: the prompt is valid and the answer holds more than white space.
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from trivium.labels.prompt import Identifier, Messages, Words


def _not_blank(text: str) -> str:
    """Return ``text``, or raise ValueError where there is nothing to imitate."""
    if not text.strip():
        raise ValueError(f"expected an answer to imitate, got {text[:20]!r}")
    return text


class Demonstration(BaseModel):
    """A prompt and the answer to imitate."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Identifier
    """Names the row in reports."""

    prompt: Messages
    """The conversation so far."""

    completion: Annotated[Words, AfterValidator(_not_blank)]
    """The answer to imitate."""

    author_id: Identifier | None = None
    """Who wrote the prompt."""

    org_id: Identifier | None = None
    """The organisation the author belongs to."""

    source: Identifier | None = None
    """The collection the row comes from."""

    labeler: Identifier | None = None
    """Who wrote the answer."""
