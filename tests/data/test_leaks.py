"""Leaks: found against the definition checked pair by pair, templates spared, runs refused."""

import math
import time
from itertools import takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivium.data import find_leaks, refuse_leaks, split, split_without_leaks
from trivium.errors import UserError
from trivium.labels import Message, Prompt, Text

STORY = (
    "A traveller comes to a river that has no bridge and asks the old ferryman for a passage. " * 3
)


def prompt(text: str, name: str, author: str | None = None, system: str = "") -> Prompt:
    messages = [Message(role="user", content=text)]
    if system:
        messages = [Message(role="system", content=system), *messages]
    return Prompt(id=name, prompt=messages, author_id=author)


def reasons(train: list[Prompt], heldout: list[Prompt]) -> list[tuple[str, str, str]]:
    leaks = find_leaks(train, heldout)
    return [(leak.reason, leak.train_name, leak.heldout_name) for leak in leaks]


def test_the_three_reasons():
    train = [
        prompt("clean", "t0"),
        prompt("NAME a  colour.", "t1"),
        prompt("clean too", "t2", author="ann"),
        prompt(STORY + "What does he pay?", "t3", author="bob"),
    ]
    heldout = [
        prompt("Name a colour.", "h0"),
        prompt("quite another", "h1", author="ann"),
        prompt(STORY + "Who is the ferryman?", "h2"),
    ]
    assert reasons(train, heldout) == [
        ("same prompt", "t1", "h0"),
        ("same author", "t2", "h1"),
        ("near-duplicate", "t3", "h2"),
    ]
    assert reasons(train[:1], heldout) == []


def test_a_form_with_a_long_slot_is_no_leak_and_one_with_a_short_slot_is():
    form = (
        "Summarise the following article in one sentence, in plain words, for a reader of twelve: "
    )
    article = (
        "The council met on Monday to vote on the new road past the school. It was voted down."
    )
    other = (
        "Scientists found a beetle in the north that lives on nothing but old paper and glue too."
    )
    assert reasons([prompt(form + article, "t")], [prompt(form + other, "h")]) == []
    near = [prompt(form + "the tale of the fox", "t")], [prompt(form + "the tale of the hen", "h")]
    assert [reason for reason, *_ in reasons(*near)] == ["near-duplicate"]


def test_a_shared_system_message_is_no_leak():
    train = [prompt("Name a colour.", "t", system=STORY)]
    assert reasons(train, [prompt("Name a town.", "h", system=STORY)]) == []


def test_short_prompts_are_not_near_one_another():
    assert reasons([prompt("Name one bird.", "t")], [prompt("Name one birds.", "h")]) == []


def test_the_numbers_are_settable():
    pair = [Text(text="aaaabbbb")], [Text(text="aaaacccccccc")]
    assert len(find_leaks(*pair, min_prefix_chars=4, min_prefix_share=0.5)) == 1
    assert find_leaks(*pair, min_prefix_chars=5, min_prefix_share=0.5) == []
    assert find_leaks(*pair, min_prefix_chars=4, min_prefix_share=0.51) == []


small = st.lists(st.text("ab", min_size=1, max_size=12), max_size=12)


@settings(max_examples=300, deadline=None)
@given(small, small)
def test_every_leaking_row_is_found_and_no_other(train: list[str], heldout: list[str]):
    def leaks(a: str, b: str) -> bool:  # the definition, pair by pair
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
        return a == b or common >= max(3, math.ceil(0.6 * min(len(a), len(b))))

    found = find_leaks(
        [Text(text=text) for text in train],
        [Text(text=text) for text in heldout],
        min_prefix_chars=3,
        min_prefix_share=0.6,
    )
    expected = [i for i, a in enumerate(train) if any(leaks(a, b) for b in heldout)]
    assert [leak.train_index for leak in found] == expected
    for leak in found:
        assert leaks(train[leak.train_index], heldout[leak.heldout_index])
        same = train[leak.train_index] in heldout
        assert leak.reason == ("same prompt" if same else "near-duplicate")


def test_many_rows_alike_take_no_quadratic_time():
    rows = [Text(text=f"{STORY[:110]}{i}") for i in range(24_000)]
    start = time.process_time()
    assert len(find_leaks(rows[:12_000], rows[12_000:])) == 12_000
    assert time.process_time() - start < 5  # about 0.5 s; pair by pair, 144 million, over 10 s


def test_a_split_without_leaks_loses_training_rows_only():
    rows = [prompt(f"Question {i}?", str(i)) for i in range(50)]
    rows += [prompt(f"{STORY}{i}", f"near {i}") for i in range(10)]
    plain_train, plain_heldout = split(rows, salt="s", heldout_fraction=0.4)
    train, heldout, left_out = split_without_leaks(rows, salt="s", heldout_fraction=0.4)
    assert heldout == plain_heldout
    near = [row for row in plain_train if row.id.startswith("near")]
    assert 0 < len(near) < 10  # the plain split has them on both sides
    assert [rows[leak.train_index] for leak in left_out] == near
    for leak in left_out:
        assert rows[leak.heldout_index] in heldout
        assert rows[leak.heldout_index].id == leak.heldout_name
        assert leak.shares() == f"near-duplicate of {leak.heldout_name}"
    assert train == [row for row in plain_train if row not in near]
    assert find_leaks(train, heldout) == []


def test_refuse_leaks_names_number_first_example_and_remedy():
    train = [prompt("clean", "t0"), prompt("Hi", "t1"), prompt("Ho", "t2")]
    heldout = [prompt("hi", "h0"), prompt("ho", "h1")]
    with pytest.raises(UserError) as caught:
        refuse_leaks(train, heldout, ("train.jsonl", "heldout.jsonl"))
    for words in ("heldout.jsonl", "2 of its 3 rows", "t1", "h0", "same prompt", "data split"):
        assert words in str(caught.value)
    refuse_leaks(train[:1], heldout, ("train.jsonl", "heldout.jsonl"))
