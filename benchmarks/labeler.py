"""A labeler who speaks HTTP: reads a task page as a browser would, and fills its form in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape

JSON = {"Accept": "application/json"}
"""What the pages' own script sends: answers to a submit come as JSON, not as the next page."""
COOKIE = "trivium"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A ranking task as its page shows it."""

    path: str
    """Of the task's page; the form goes to a path below it."""

    hidden: Mapping[str, str]
    """What a browser sends along without anybody typing: the form's token, the submission's id."""

    prompt: str
    """The last turn of the conversation."""

    answers: Mapping[str, str]
    """Letters to texts, in this labeler's order."""

    @property
    def submission_id(self) -> str:
        """What the label will be known by."""
        return self.hidden["submission_id"]


def read_sheet(path: str, page: str) -> Sheet | None:
    """The sheet on a page; None: there is nothing to do."""
    if 'data-kind="rank"' not in page:
        return None
    asked, _, answered = page.partition('<div class="answers">')
    form = answered.partition('id="skip"')[0]
    names = "token|submission_id|shown_ms"
    return Sheet(
        path=path,
        hidden=dict(re.findall(rf'name="({names})" value="([^"]*)"', asked)),
        prompt=_words(asked)[-1],
        answers=dict(zip(re.findall(r'data-letter="(.)"', form), _words(form), strict=True)),
    )


def filled(sheet: Sheet, ranks: Mapping[str, int]) -> dict[str, str]:
    """The form, with these ranks by letter and ratings that agree with them."""
    return {
        **sheet.hidden,
        **{f"rank.{letter}": str(rank) for letter, rank in ranks.items()},
        **{f"rating.{letter}": str(max(1, 8 - rank)) for letter, rank in ranks.items()},
    }


def _words(page: str) -> list[str]:
    found = re.findall(r'<div class="words(?: empty)?">(.*?)</div>', page, re.DOTALL)
    return [unescape(text) for text in found]
