"""Pretraining text that quotes held-out rows: found against the definition, and left out."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivium.data import Screen, passages
from trivium.data.passages import passages_of
from trivium.labels import Demonstration, Label, Message, Prompt, Text

TALE = "Tell me in one or two plain sentences why the old ferryman never takes a coin from the girl"


def prompt(name: str, text: str) -> Prompt:
    return Prompt(id=name, prompt=[Message(role="user", content=text)])


def found(rows: list[Label], page: str) -> list[str]:
    return [passage.name for passage in passages_of(rows).all_in(page)]


def test_a_quotation_whatever_its_case_punctuation_and_white_space():
    rows = [prompt("other", TALE.replace("girl", "boy")[5:]), prompt("tale", f"{TALE}.")]
    page = f"Somebody asked: “{TALE.upper().replace(' ', chr(10))}”, and nobody knew."
    assert found(rows[1:], page) == ["tale"]
    assert found(rows, page) == ["tale", "other"]  # its end is another, beyond four fifths
    assert found(rows, page.replace("FERRYMAN", "MAN")) == []
    assert found(rows, " ".join(reversed(page.split()))) == []


def test_thirteen_words_are_judged_and_twelve_are_not():
    words = TALE.split()
    assert found([prompt("p", " ".join(words[:13]))], TALE) == ["p"]
    assert found([prompt("p", " ".join(words[:12]))], TALE) == []


def test_what_is_looked_for_in_each_kind_of_row():
    asked = [Message(role="system", content=f"system {TALE}"),
             Message(role="user", content=f"first {TALE}"),
             Message(role="assistant", content=f"reply {TALE}"),
             Message(role="user", content=f"last {TALE}")]  # fmt: skip
    shown = Demonstration(id="d", prompt=asked, completion=f"answer {TALE}")
    pages = ("system", "first", "reply", "last", "answer")
    hits = {page: found([shown], f"{page} {TALE}") for page in pages}
    assert hits == {"system": [], "first": ["d"], "reply": [], "last": ["d"], "answer": ["d"]}
    assert found([Text(text=TALE)], TALE) == [repr(TALE[:30])]


texts = st.lists(st.lists(st.sampled_from("abc"), max_size=9).map(" ".join), max_size=6)


@settings(max_examples=100, deadline=None)
@given(rows=texts, pages=texts)
def test_every_quotation_is_found_and_no_other(rows: list[str], pages: list[str]):
    def quotes(page: str, row: str) -> bool:  # the definition, place by place
        there, wanted = page.split(), row.split()
        length = max(3, math.ceil(0.8 * len(wanted)))
        places = range(len(there) - length + 1)
        return len(wanted) >= length and any(
            there[i : i + length] == wanted[:length] for i in places
        )

    heldout = [Text(text=text) for text in rows if text]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passages, "FEWEST_WORDS", 3)
        known = passages_of(heldout)
    for page in pages:
        expected = {i for i, row in enumerate(heldout) if quotes(page, row.text)}
        assert {passage.row for passage in known.all_in(page)} == expected


def test_a_screen_lets_the_other_pages_through_and_counts_each_page_once():
    pages = [Text(text=t) for t in ("one", f"two {TALE}", "three", f"four {TALE}")]
    screen = Screen(passages_of([prompt("tale", TALE)]))
    assert screen.report().kept == 0
    assert list(screen.through(pages)) == ["one", "three"]
    assert list(screen.through(pages)) == ["one", "three"]  # a second pass over the text
    report = screen.report()
    assert (report.kept, len(report.left_out)) == (2, 2)
    assert [leak.train_index for leak in report.left_out] == [1, 3]
    assert [leak.shares() for leak in report.left_out] == ["quotes tale"] * 2
    assert report.affected_share == 0
