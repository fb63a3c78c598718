"""Small tools for plain English: words, sentences, articles, templates to write and to read."""

import re
from functools import cache, lru_cache

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def words(text: str) -> list[str]:
    """Lower-case words and punctuation marks, in order."""
    return re.findall(r"[a-z']+|[.,!?:]", text.lower())


def sentences(text: str) -> list[str]:
    """Split at full stops, question and exclamation marks; a tail without a mark counts too."""
    return [part.strip() for part in re.findall(r"[^.!?]+[.!?]*", text) if words(part)]


def finished(text: str) -> bool:
    """True when the text stops at the end of a sentence."""
    return text.rstrip().endswith((".", "!", "?"))


@lru_cache(maxsize=100_000)
def bare(sentence: str) -> str:
    """The sentence in lower case, without its final mark, with every 'an' written 'a'."""
    return re.sub(r"\ban (?=[aeiou])", "a ", sentence.lower().strip().rstrip(".!?").strip())


def polish(text: str) -> str:
    """Write 'an' before vowels and begin every sentence with a capital letter."""
    text = re.sub(r"\b([Aa]) (?=[aeiouAEIOU])", r"\1n ", text)
    return re.sub(r"(^|[.!?] )([a-z])", lambda m: m[1] + m[2].upper(), text)


def listed(items: list[str]) -> str:
    """Join as 'dog, cat and fox'."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else items[0]


def holds(text: str, phrase: str) -> bool:
    """True when the words of ``phrase`` stand in ``text`` next to one another."""
    return f" {' '.join(words(phrase))} " in f" {' '.join(words(text))} "


@cache
def _reader(template: str) -> re.Pattern[str]:
    pieces = re.split(r"\{(\w+)\}", bare(template))
    pattern = "".join(
        f"(?P<{piece}>[a-z' ]+?)" if odd else re.escape(piece)
        for odd, piece in ((i % 2, piece) for i, piece in enumerate(pieces))
    )
    return re.compile(pattern)


def read(template: str, text: str) -> dict[str, str] | None:
    """The slots of ``template`` that make it equal ``text`` (case, final mark and a/an aside)."""
    found = _reader(template).fullmatch(bare(text))
    return found.groupdict() if found else None
