"""Held-out data that the model has in truth been trained on.

Three kinds of leak: the same prompt on both sides, the same author on both sides, and prompts
that begin alike for so long that one is the other with another ending (the later turns of one
conversation, one article with two questions). A fourth, pretraining text that quotes a held-out
row, is looked for in `trivium.data.passages`.

Templates are the hard case: prompts made from one form also begin alike. Three things keep them
apart: system messages don't count, the common beginning must cover most of the shorter prompt
(a form whose slot holds a fifth of the text or more is no leak), and it must be long in itself.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from trivium.data.split import LabelT, author_of, normalise, prompt_key, row_key, side
from trivium.errors import UserError
from trivium.labels import Label, Text

Reason = Literal["same prompt", "same author", "near-duplicate", "quotation"]
_SHARES = {
    "same prompt": "same prompt as",
    "same author": "same author as",
    "near-duplicate": "near-duplicate of",
    "quotation": "quotes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A training row, and a held-out row that it gives away."""

    reason: Reason
    """What the two share."""

    train_index: int
    """Position of the training row, from 0."""

    heldout_index: int
    """Position of the held-out row, from 0."""

    train_name: str
    """Its id; of a bare text, its first words."""

    heldout_name: str
    """The same of the held-out row."""

    def shares(self) -> str:
        """What the training row has of which held-out row, in words."""
        return f"{_SHARES[self.reason]} {self.heldout_name}"


def find_leaks(
    train: Sequence[Label],
    heldout: Sequence[Label],
    *,
    min_prefix_chars: int = 100,
    min_prefix_share: float = 0.8,
) -> list[Leak]:
    """Every training row that leaks, with one held-out row for each reason.

    Two prompts, normalised and without system messages, are near-duplicates when their common
    prefix is at least ``min_prefix_chars`` long and covers at least ``min_prefix_share`` of the
    shorter one. All such training rows are found, in O(n log n): in sorted order the rows that
    begin with a given prefix lie side by side. A training row with the very prompt of a held-out
    row is reported as that alone.

    Args:
        train: rows to train on.
        heldout: rows to measure on.
        min_prefix_chars: shortest common beginning that counts, in characters.
        min_prefix_share: smallest share of the shorter prompt that it covers, in (0, 1].

    Returns:
        Leaks by position in ``train``; leaving out their training rows leaves none.
    """
    by_prompt = {row_key(row): i for i, row in reversed(list(enumerate(heldout)))}
    authors = {author_of(row): i for i, row in reversed(list(enumerate(heldout)))}
    near = _near_duplicates(
        [_question(row) for row in train],
        [_question(row) for row in heldout],
        min_chars=min_prefix_chars,
        min_share=min_prefix_share,
    )
    leaks: list[Leak] = []
    for i, row in enumerate(train):
        found: list[tuple[Reason, int]] = []
        if (key := row_key(row)) in by_prompt:
            found.append(("same prompt", by_prompt[key]))
        elif i in near:
            found.append(("near-duplicate", near[i]))
        if (author := author_of(row)) is not None and author in authors:
            found.append(("same author", authors[author]))
        leaks += [
            Leak(
                reason=reason,
                train_index=i,
                heldout_index=j,
                train_name=name_of(row),
                heldout_name=name_of(heldout[j]),
            )
            for reason, j in found
        ]
    return leaks


def split_without_leaks(
    rows: Sequence[LabelT], *, salt: str, heldout_fraction: float
) -> tuple[list[LabelT], list[LabelT], list[Leak]]:
    """`split`, less the training rows that would give a held-out row away all the same.

    Such are near-duplicates and prompts asked by two authors. It is train that loses them: the
    held-out side is the yardstick and must not depend on what else is in the file.

    Returns:
        Train, held-out, and a leak for each row left out, by its position; positions are those in
        ``rows``.

    Raises:
        UserError: ``heldout_fraction`` is outside [0, 1].
    """
    sides = [side(row, salt=salt, heldout_fraction=heldout_fraction) for row in rows]
    train = [i for i, where in enumerate(sides) if where == "train"]
    held = [i for i, where in enumerate(sides) if where == "heldout"]
    heldout = [rows[i] for i in held]
    # An author has one side, so no row leaks for two reasons.
    left_out = [
        replace(
            leak,
            train_index=train[leak.train_index],
            heldout_index=held[leak.heldout_index],
        )
        for leak in find_leaks([rows[i] for i in train], heldout)
    ]
    lost = {leak.train_index for leak in left_out}
    return [rows[i] for i in train if i not in lost], heldout, left_out


def refuse_leaks(train: Sequence[Label], heldout: Sequence[Label], names: tuple[str, str]) -> None:
    """Stop where the held-out rows overlap the training rows.

    Args:
        train: rows to train on.
        heldout: rows to measure on.
        names: what to call the two in the message, usually their paths.

    Raises:
        UserError: there is a leak; names their number and the first.
    """
    leaks = find_leaks(train, heldout)
    if not leaks:
        return
    rows, first = len({leak.train_index for leak in leaks}), leaks[0]
    raise UserError(
        f"{names[1]}: expected no overlap with {names[0]}, got {rows} of its {len(train)} rows; "
        f"first: {first.reason}, train {first.train_name} and held-out {first.heldout_name}; "
        "make both with `trivium data split`"
    )


def _question(row: Label) -> str:
    """What near-duplicates are sought in: the prompt without the system's words.

    A system message is a setting that all prompts may share, not a question.
    """
    if isinstance(row, Text):
        return normalise(row.text)
    asked = prompt_key([message for message in row.prompt if message.role != "system"])
    return asked.removeprefix("user: ")


def name_of(row: Label) -> str:
    """The id of a row; of a bare text, which has none, its first words."""
    return repr(row.text[:30]) if isinstance(row, Text) else row.id


def _near_duplicates(
    train: list[str], heldout: list[str], *, min_chars: int, min_share: float
) -> dict[int, int]:
    """Position of each training text with a near-duplicate -> position of one in ``heldout``.

    Let n(s) = max(min_chars, ceil(min_share |s|)). A pair, s the shorter, is near when the other
    begins with s[:n(s)]. So each text in turn plays s: a training text asks whether any held-out
    text begins so (if that one is the shorter, it needed no more, and they are near all the
    same); a held-out text marks all training texts that begin so.
    """

    def stem(text: str) -> str | None:
        length = max(min_chars, math.ceil(min_share * len(text)))
        return text[:length] if length <= len(text) else None  # too short to be judged

    train_order = sorted(range(len(train)), key=train.__getitem__)
    heldout_order = sorted(range(len(heldout)), key=heldout.__getitem__)
    sorted_train, sorted_heldout = sorted(train), sorted(heldout)
    near: dict[int, int] = {}
    for i, text in enumerate(train):
        if (prefix := stem(text)) is not None:
            low, high = _beginning_with(prefix, sorted_heldout)
            if low < high:
                near[i] = heldout_order[low]
    stems = [(prefix, j) for j, text in enumerate(heldout) if (prefix := stem(text)) is not None]
    ranges = [(*_beginning_with(prefix, sorted_train), j) for prefix, j in stems]
    marked = 0  # ranges are disjoint or nested; with the wider first, each row is marked once
    for low, high, j in sorted(ranges, key=lambda found: (found[0], -found[1])):
        for position in range(max(low, marked), high):
            near.setdefault(train_order[position], j)
        marked = max(marked, high)
    return near


def _beginning_with(prefix: str, ordered: list[str]) -> tuple[int, int]:
    """The range of positions, in a sorted list, of the texts that begin with ``prefix``."""
    low = bisect_left(ordered, prefix)
    return low, bisect_right(ordered, prefix, lo=low, key=lambda text: text[: len(prefix)])
