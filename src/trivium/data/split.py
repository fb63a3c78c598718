"""Which side of the train/held-out split a row falls on: a property of the row alone.

The side is a salted hash of the author (else of the prompt), so it needs no record: the same
prompt falls on the same side in every file, stage and round, and adding data never moves old
rows. One caution: a prompt asked by two authors goes with each of them; `trivium.data.leaks`
finds such pairs, and `trivium data split` keeps them out of train.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal, TypeVar

from trivium.errors import UserError
from trivium.labels import Label, Message, Text

LabelT = TypeVar("LabelT", bound=Label)


def normalise(text: str) -> str:
    """The text without what readers don't see: NFKC, case folded, white space collapsed."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def prompt_key(messages: Sequence[Message]) -> str:
    """What two prompts share when they count as the same prompt.

    One line for each message, `role: normalised content`.
    """
    return "\n".join(f"{message.role}: {normalise(message.content)}" for message in messages)


def row_key(row: Label) -> str:
    """`prompt_key` of the row's prompt; of a bare text, the text, normalised."""
    return normalise(row.text) if isinstance(row, Text) else prompt_key(row.prompt)


def author_of(row: Label) -> str | None:
    """Who wrote the prompt; None where that isn't known, as of every bare text."""
    return None if isinstance(row, Text) else row.author_id


def side(row: Label, *, salt: str, heldout_fraction: float) -> Literal["train", "heldout"]:
    """The side a row falls on.

    sha256(salt + (author_id or prompt_key)), read as a number in [0, 1), is below
    ``heldout_fraction`` for held-out rows. A greater fraction only adds to the held-out side.

    Raises:
        UserError: ``heldout_fraction`` is outside [0, 1].
    """
    if not 0 <= heldout_fraction <= 1:
        raise UserError(f"heldout_fraction: expected a share from 0 to 1, got {heldout_fraction}")
    digest = hashlib.sha256((salt + (author_of(row) or row_key(row))).encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    return "heldout" if position < heldout_fraction else "train"


def split(
    rows: Iterable[LabelT], *, salt: str, heldout_fraction: float
) -> tuple[list[LabelT], list[LabelT]]:
    """Train and held-out rows, each in the order they came.

    Raises:
        UserError: ``heldout_fraction`` is outside [0, 1].
    """
    train: list[LabelT] = []
    heldout: list[LabelT] = []
    for row in rows:
        where = side(row, salt=salt, heldout_fraction=heldout_fraction)
        (heldout if where == "heldout" else train).append(row)
    return train, heldout
