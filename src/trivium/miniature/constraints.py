"""Wishes about the form of an answer that go with any kind of instruction."""

import random
from dataclasses import dataclass

from trivium.miniature import english
from trivium.miniature.english import NUMBERS
from trivium.miniature.facts import CAPITALS, NAMES

OPENERS = ("Well", "Look", "Sure", "Listen")
CLOSERS = {"friend": "my friend", "sir": "dear sir", "indeed": "indeed"}
"""A last word to the words that end an answer with it."""
PROPER = frozenset((*NAMES, *CAPITALS.table, *CAPITALS.table.values()))

_ONE_SENTENCE = ("Use one sentence.", "Keep it to one sentence.")
_COUNTS = ("Use {n} sentences.", "Keep it to {n} sentences.")
_MENTIONS = ("Mention a {w}.", "Do not forget a {w}.")
_ENDINGS = ("End with the word {w}.", "The last word must be {w}.")
_BEGINNINGS = ("Begin with the word {w}.", "Start with the word {w}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """What the answer must look like; None means no wish."""

    sentences: int | None = None
    mention: str | None = None
    ending: str | None = None
    beginning: str | None = None

    def phrase(self, rng: random.Random) -> list[str]:
        """The wishes as sentences, in random order."""
        said: list[str] = []
        if self.sentences == 1:
            said.append(rng.choice(_ONE_SENTENCE))
        elif self.sentences is not None:
            said.append(rng.choice(_COUNTS).format(n=NUMBERS[self.sentences]))
        if self.mention is not None:
            said.append(english.polish(rng.choice(_MENTIONS).format(w=self.mention)))
        if self.ending is not None:
            said.append(rng.choice(_ENDINGS).format(w=self.ending))
        if self.beginning is not None:
            said.append(rng.choice(_BEGINNINGS).format(w=self.beginning))
        rng.shuffle(said)
        return said

    def kept(self, response: str) -> float | None:
        """Mean of how far each wish is kept, in [0, 1]; None when there is no wish."""
        marks: list[float] = []
        said = [word for word in english.words(response) if word[0].isalpha()]
        if self.sentences is not None:
            off = abs(len(english.sentences(response)) - self.sentences)
            marks.append((1.0, 0.4, 0.1)[off] if off < 3 else 0.0)
        if self.mention is not None:
            marks.append(float(self.mention in said))
        if self.ending is not None:
            last = bool(said) and said[-1] == self.ending
            marks.append(1.0 if last else 0.3 * (self.ending in said))
        if self.beginning is not None:
            first = self.beginning.lower()
            marks.append(1.0 if said[:1] == [first] else 0.2 * (first in said))
        return sum(marks) / len(marks) if marks else None


def _word(templates: tuple[str, ...], sentence: str) -> str | None:
    for template in templates:
        found = english.read(template, sentence)
        if found:
            return next(iter(found.values()))
    return None


def join(core: str, wishes: list[str], rng: random.Random) -> str:
    """An instruction: the core with the wishes behind it or, one time in three, before it."""
    parts = [*wishes, core] if rng.random() < 1 / 3 else [core, *wishes]
    return english.polish(" ".join(parts))


def parse(instruction: str) -> tuple[str, Constraints]:
    """Take the wishes out of an instruction: what is left of it, and they."""
    count: int | None = None
    mention = ending = beginning = None
    core: list[str] = []
    for sentence in english.sentences(instruction):
        number = _word(_COUNTS, sentence)
        if any(english.bare(sentence) == english.bare(text) for text in _ONE_SENTENCE):
            count = 1
        elif number in NUMBERS:
            count = NUMBERS.index(number)
        elif word := _word(_MENTIONS, sentence):
            mention = word
        elif word := _word(_ENDINGS, sentence):
            ending = word
        elif word := _word(_BEGINNINGS, sentence):
            beginning = word.capitalize()
        else:
            core.append(sentence)
    return " ".join(core), Constraints(
        sentences=count, mention=mention, ending=ending, beginning=beginning
    )


def frame(answer: str, wishes: Constraints) -> str:
    """One or two sentences with the wished first word before them and the last word behind."""
    if wishes.beginning is not None:
        first, rest = answer.split(" ", 1)
        answer = f"{wishes.beginning}, {first if first in PROPER else first.lower()} {rest}"
    if wishes.ending is not None:
        answer = f"{answer.removesuffix('.')}, {CLOSERS[wishes.ending]}."
    return answer
