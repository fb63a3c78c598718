"""Held-out words in pretraining text: a page that quotes a held-out row is not trained on.

Web text is streamed and may have no end, so it can't be compared with the held-out rows before the
start, as `trivium.data.leaks` compares rows. Each page is looked at when it is read, and left out
like the training rows that a split leaves out.

A page quotes a row if it holds the beginning of what a user said in it, or of its demonstrated
answer, word for word: the first max(13, 80 %) of its words, whatever their case, punctuation and
white space. Of shorter passages nothing is said: "What is the capital of France?" stands on many
an honest page. Thirteen words are what GPT-3's authors looked for, and left out, in its training
text (Brown et al. 2020, arXiv:2005.14165, appendix C).
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from trivium.data.leaks import Leak, name_of
from trivium.data.report import DataReport
from trivium.data.split import normalise
from trivium.labels import Demonstration, Label, Text

FEWEST_WORDS = 13
LEAST_SHARE = 0.8
_WORD = re.compile(r"\w+")

_Opening = tuple[str, str, str]


class Passage(NamedTuple):
    """Words to look for, and the held-out row that they come from."""

    words: list[str]
    """Normalised."""

    row: int
    """The row's position, from 0."""

    name: str
    """Its id; of a bare text, its first words."""


@dataclass(frozen=True, slots=True)
class Passages:
    """What held-out rows say, ready to be found in text. Made by `passages_of`."""

    by_opening: Mapping[_Opening, list[Passage]]
    """Each under its first three words."""

    def all_in(self, text: str) -> Iterator[Passage]:
        """The passages that the text holds; in time that grows with the text alone."""
        words = _WORD.findall(normalise(text))
        for start, opening in enumerate(zip(words, words[1:], words[2:], strict=False)):
            for passage in self.by_opening.get(opening, ()):
                if words[start : start + len(passage.words)] == passage.words:
                    yield passage


def passages_of(rows: Iterable[Label]) -> Passages:
    """The beginnings of what users say in ``rows``, of demonstrated answers, and of bare texts."""
    found: defaultdict[_Opening, list[Passage]] = defaultdict(list)
    for index, row in enumerate(rows):
        for said in _said_in(row):
            words = _WORD.findall(normalise(said))
            length = max(FEWEST_WORDS, math.ceil(LEAST_SHARE * len(words)))
            if length <= len(words):
                passage = Passage(words[:length], index, name_of(row))
                found[words[0], words[1], words[2]].append(passage)
    return Passages(dict(found))


@dataclass(slots=True)
class Screen:
    """Lets pages through that quote no held-out row, and counts the others."""

    passages: Passages
    pages_read: int = 0
    """Different pages looked at."""

    left_out: dict[int, Leak] = field(default_factory=dict[int, Leak])
    """By position in the source, from 0: what a page was left out for."""

    def through(self, pages: Iterable[Text]) -> Iterator[str]:
        """The pages that may be trained on, from the beginning of their source."""
        for position, page in enumerate(pages):
            self.pages_read = max(self.pages_read, position + 1)
            quoted = next(self.passages.all_in(page.text), None)
            if quoted is None:
                yield page.text
                continue
            self.left_out[position] = Leak(
                reason="quotation",
                train_index=position,
                heldout_index=quoted.row,
                train_name=name_of(page),
                heldout_name=quoted.name,
            )

    def report(self) -> DataReport:
        """What became of the pages read so far."""
        return DataReport(
            kept=self.pages_read - len(self.left_out),
            truncated=(),
            dropped=(),
            left_out=tuple(self.left_out[position] for position in sorted(self.left_out)),
        )


def _said_in(row: Label) -> list[str]:
    if isinstance(row, Text):
        return [row.text]
    said = [message.content for message in row.prompt if message.role == "user"]
    return [*said, row.completion] if isinstance(row, Demonstration) else said
