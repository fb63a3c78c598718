"""A prompt: what is asked of the model.

Asked of a person: "write something you would ask an assistant" (or a user of the product
already has).
Stored: the conversation so far, and who wrote it.
Valid: at least one message, and the last one is the user's, so that it is the model's turn.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Identifier = Annotated[str, Field(min_length=1)]
"""An id: any text that is not empty."""


def _encodable(text: str) -> str:
    """Return ``text``, or raise ValueError where no file and no tokenizer could take it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can spell half a surrogate pair, UTF-8 cannot
        half = text[error.start]
        raise ValueError(f"expected Unicode text, got half a surrogate pair, {half!r}") from None
    return text


Words = Annotated[str, AfterValidator(_encodable)]
"""What somebody wrote; may be empty."""


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    role: Literal["system", "user", "assistant"]
    """Whose turn it is."""

    content: Words
    """What was said; may be empty."""


def _ends_with_the_user(messages: list[Message]) -> list[Message]:
    """Return ``messages``, or raise ValueError where it isn't the model's turn."""
    if not messages:
        raise ValueError("expected at least one message, got none")
    if messages[-1].role != "user":
        raise ValueError(f"expected the last message to be the user's, got {messages[-1].role}'s")
    return messages


Messages = Annotated[list[Message], AfterValidator(_ends_with_the_user)]
"""A conversation in which it is the model's turn."""


class Prompt(BaseModel):
    """A conversation that waits for the model's answer."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Identifier
    """Names the row in reports."""

    prompt: Messages
    """The conversation so far."""

    author_id: Identifier | None = None
    """Who wrote the prompt; the train/held-out split goes by it where it is known."""

    org_id: Identifier | None = None
    """The organisation the author belongs to."""

    source: Identifier | None = None
    """The collection the prompt comes from."""
