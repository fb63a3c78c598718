"""Taking personal data out of prompts before they are stored: e-mail, phone, card, IBAN, IP.

Presidio finds them by their patterns, on a blank spaCy pipeline: nothing is downloaded. Names of
people need a model and are not found. Without the extra `pii` nothing is taken in, unless an admin
has said that no scrubbing is wanted.
"""

# The extra `pii` isn't among the libraries that the code is checked with.
# pyright: reportMissingImports=false

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

from trivium.errors import UserError, install
from trivium.labels import Message

LIKELY = 0.4
"""Presidio's score from which a match counts; context words add to a pattern's own."""
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(\.[\w-]{1,63})+")
_CARD = re.compile(
    r"(?<![\d.])([3-6]\d{3}[ -]?\d{4}[ -]?\d{4}[ -]?\d{4}|3\d{3}[ -]?\d{6}[ -]?\d{5})(?!\d)"
)


def is_installed() -> bool:
    """Whether the scrubber can run."""
    needed = ("presidio_analyzer", "presidio_anonymizer", "spacy")
    return all(find_spec(name) is not None for name in needed)


def scrub(messages: Sequence[Message]) -> tuple[list[Message], dict[str, int]]:
    """The messages, `<EMAIL_ADDRESS>` and the like for personal data, and counts by type.

    Raises:
        UserError: the extra isn't installed.
    """
    if not is_installed():
        raise UserError(
            f"prompts: can't be scrubbed of personal data; let an admin set pii to none, or "
            f"{install('pii')}"
        )
    counts: Counter[str] = Counter()
    clean = [Message(role=m.role, content=_scrubbed(m.content, counts)) for m in messages]
    return clean, dict(counts)


def plain(messages: Sequence[Message]) -> str | None:
    """What personal data anybody can see in the messages, scrubber or not; None: nothing.

    A last look where the scrubber isn't installed, and no substitute for it.
    """
    for message in messages:
        if _MAIL.search(message.content):
            return "an e-mail address"
        if any(_is_card(found[1]) for found in _CARD.finditer(message.content)):
            return "a card number"
    return None


def pseudonym(name: str | None, salt: str) -> str | None:
    """Who or what it names; instead of an e-mail address a name that stays the same.

    Whoever knows the salt and guesses the address can find out that it is this one.
    """
    if name is None or not _MAIL.search(name):
        return name
    return f"hidden-{hashlib.sha256((salt + name.strip().casefold()).encode()).hexdigest()[:16]}"


def _is_card(number: str) -> bool:
    """Luhn's check."""
    digits = [int(digit) for digit in reversed(number) if digit.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _scrubbed(text: str, counts: Counter[str]) -> str:
    analyzer, anonymizer = _engines()
    found = analyzer.analyze(text=text, language="en", score_threshold=LIKELY)
    done = anonymizer.anonymize(text=text, analyzer_results=found)
    counts.update(item.entity_type for item in done.items)
    return done.text


@cache
def _engines() -> tuple[Any, Any]:
    """Presidio's two halves, made to work offline."""
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from presidio_anonymizer import AnonymizerEngine

    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())
    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
    engine.nlp = {"en": spacy.blank("en")}
    return AnalyzerEngine(nlp_engine=engine, supported_languages=["en"]), AnonymizerEngine()
