"""The split is a property of the row: stable, shared by files, salted, of the right size."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivium.data import prompt_key, side, split
from trivium.errors import UserError
from trivium.labels import Demonstration, Message, Prompt, Text


def prompt(text: str, author: str | None = None, name: str = "x") -> Prompt:
    return Prompt(id=name, prompt=[Message(role="user", content=text)], author_id=author)


def test_prompt_key_by_hand():
    messages = [
        Message(role="system", content="Be  brief."),
        Message(role="user", content="\t\uff2eame\n a STRASSE, straße \ufb01rst"),
    ]
    assert prompt_key(messages) == "system: be brief.\nuser: name a strasse, strasse first"


def test_roles_keep_prompts_apart():
    asked = [Message(role="user", content="a"), Message(role="user", content="b")]
    answered = [Message(role="assistant", content="a"), Message(role="user", content="b")]
    assert prompt_key(asked) != prompt_key(answered)


def test_the_side_by_definition():
    for row, secret in [(prompt("Hi"), "user: hi"), (prompt("Hi", author="ann"), "ann")]:
        number = int(hashlib.sha256(b"salt" + secret.encode()).hexdigest(), 16) / 2**256
        assert side(row, salt="salt", heldout_fraction=number + 1e-6) == "heldout"
        assert side(row, salt="salt", heldout_fraction=number - 1e-6) == "train"


contents = st.text(max_size=20)


@settings(max_examples=40, deadline=None)
@given(st.lists(contents, max_size=20), st.lists(contents, max_size=20), st.text(max_size=5))
def test_adding_data_never_moves_old_rows(old: list[str], new: list[str], salt: str):
    before = split([prompt(text) for text in old], salt=salt, heldout_fraction=0.5)
    after = split([prompt(text) for text in [*new, *old]], salt=salt, heldout_fraction=0.5)
    for rows_before, rows_after in zip(before, after, strict=True):
        where = [row.prompt[0].content for row in rows_after]
        assert where[len(where) - len(rows_before) :] == [r.prompt[0].content for r in rows_before]
    assert sum(map(len, after)) == len(old) + len(new)


@given(contents, st.text("salt", max_size=3))
def test_a_prompt_falls_on_one_side_in_every_file_and_however_it_is_typed(text: str, salt: str):
    typed = prompt(f"  {text}\n", name="other")
    demonstration = Demonstration(id="d", prompt=typed.prompt, completion="x")
    rows = [prompt(text), typed, demonstration]
    assert len({side(row, salt=salt, heldout_fraction=0.5) for row in rows}) == 1


@given(contents, st.floats(0, 1), st.floats(0, 1))
def test_a_greater_fraction_only_adds_to_the_heldout_side(text: str, a: float, b: float):
    if side(prompt(text), salt="s", heldout_fraction=min(a, b)) == "heldout":
        assert side(prompt(text), salt="s", heldout_fraction=max(a, b)) == "heldout"


def test_size_salt_and_authors():
    rows = [prompt(f"question {i}", name=str(i)) for i in range(4000)]
    train, heldout = split(rows, salt="a", heldout_fraction=0.2)
    # 800 expected, standard deviation sqrt(4000 * 0.2 * 0.8) = 25
    assert abs(len(heldout) - 800) < 5 * 25
    assert len(train) + len(heldout) == 4000
    again = split(rows, salt="b", heldout_fraction=0.2)[1]
    both = {row.id for row in heldout} & {row.id for row in again}
    assert abs(len(both) - 160) < 5 * 12  # independent: 20 % of 800
    sides = {side(prompt(str(i), "ann"), salt="a", heldout_fraction=0.5) for i in range(50)}
    assert len(sides) == 1


def test_texts_are_split_by_what_they_say():
    rows = [Text(text=f"page {i}") for i in range(100)]
    train, heldout = split(rows, salt="a", heldout_fraction=0.3)
    assert train
    assert heldout
    assert side(Text(text="PAGE  0"), salt="a", heldout_fraction=0.3) == side(
        rows[0], salt="a", heldout_fraction=0.3
    )


def test_ends_of_the_scale():
    rows = [prompt(str(i)) for i in range(20)]
    assert split(rows, salt="a", heldout_fraction=0.0) == (rows, [])
    assert split(rows, salt="a", heldout_fraction=1.0) == ([], rows)
    for fraction in (-0.1, 1.1, float("nan")):
        with pytest.raises(UserError, match="heldout_fraction"):
            split(rows, salt="a", heldout_fraction=fraction)
