"""Every foreign shape, with the row worked out by hand; and the way out to TRL."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.data.convert import Shape, detect, to_native, to_trl_pairs
from trivium.errors import UserError
from trivium.labels import Ranking

SKY = [{"role": "user", "content": "What colour is the sky?"}]
PAIR = [{"text": "Blue.", "rank": 1}, {"text": "Green.", "rank": 2}]


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "What colour is the sky?", "chosen": "Blue.", "rejected": "Green."},
        {
            "chosen": "What colour is the sky? Blue.",
            "rejected": "What colour is the sky? Green.",
        },
        {"prompt": SKY, "chosen": [assistant("Blue.")], "rejected": [assistant("Green.")]},
        {"chosen": [*SKY, assistant("Blue.")], "rejected": [*SKY, assistant("Green.")]},
        {  # both at once, as some published sets have it
            "prompt": "What colour is the sky?",
            "chosen": [*SKY, assistant("Blue.")],
            "rejected": [*SKY, assistant("Green.")],
        },
    ],
)
def test_trl_preference_in_every_shape(row: dict):
    assert detect(row) is Shape.TRL_PREFERENCE
    assert to_native(row) == {"prompt": SKY, "completions": PAIR}


def test_equal_conversations_keep_their_last_turn():
    both = [*SKY, assistant("Blue.")]
    equal = [{"text": "Blue.", "rank": 1}, {"text": "Blue.", "rank": 2}]
    assert to_native({"chosen": both, "rejected": both}) == {"prompt": SKY, "completions": equal}


def test_a_margin_becomes_the_difference_of_scores():
    row = {"prompt": SKY, "chosen": "Blue.", "rejected": "Green.", "margin": 3, "group_id": "g"}
    better, worse = to_native(row)["completions"]
    assert (better["score"], worse["score"]) == (3.0, 0.0)


def test_implicit_text_is_cut_at_a_whole_word():
    # "bl" is common to blue and black, and belongs to the answers
    row = {"chosen": "The sky is blue", "rejected": "The sky is black"}
    assert to_native(row) == {
        "prompt": [user("The sky is")],
        "completions": [{"text": "blue", "rank": 1}, {"text": "black", "rank": 2}],
    }


def test_a_rejected_answer_may_be_empty():
    row = {"chosen": "Name a colour. Red.", "rejected": "Name a colour."}
    assert [c["text"] for c in to_native(row)["completions"]] == ["Red.", ""]


def test_hh_transcripts():
    start = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: A colour, please.\n\nAssistant:"
    row = {"chosen": f"{start} Red.", "rejected": f"{start} Read a book."}
    assert detect(row) is Shape.TRANSCRIPTS
    assert to_native(row) == {
        "prompt": [user("Hi"), assistant("Hello."), user("A colour, please.")],
        "completions": [{"text": "Red.", "rank": 1}, {"text": "Read a book.", "rank": 2}],
    }


def test_hh_answers_that_are_equal_keep_their_last_turn():
    text = "\n\nHuman: Hi\n\nAssistant: Hello."
    assert to_native({"chosen": text, "rejected": text}) == {
        "prompt": [user("Hi")],
        "completions": [{"text": "Hello.", "rank": 1}, {"text": "Hello.", "rank": 2}],
    }


def test_hh_conversations_that_part_early_compare_the_answers_at_the_parting():
    row = {
        "chosen": "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Bye\n\nAssistant: Bye.",
        "rejected": "\n\nHuman: Hi\n\nAssistant: What?\n\nHuman: Bye\n\nAssistant: No.",
    }
    assert to_native(row) == {
        "prompt": [user("Hi")],
        "completions": [{"text": "Hello.", "rank": 1}, {"text": "What?", "rank": 2}],
    }


def test_alpaca_with_and_without_input():
    row = {"instruction": "Translate.", "input": "Haus", "output": "House", "text": "Below is"}
    assert detect(row) is Shape.ALPACA
    assert to_native(row) == {"prompt": [user("Translate.\n\nHaus")], "completion": "House"}
    short = {"instruction": "Name a colour.", "input": "", "output": "Red"}
    assert to_native(short) == {"prompt": [user("Name a colour.")], "completion": "Red"}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "What colour is the sky?", "completion": "Blue."},
        {"prompt": SKY, "completion": [assistant("Blue.")]},
        {"messages": [*SKY, assistant("Blue.")]},
    ],
)
def test_trl_demonstrations(row: dict):
    assert to_native(row) == {"prompt": SKY, "completion": "Blue."}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "What colour is the sky?"},
        {"prompt": "\n\nHuman: What colour is the sky?\n\nAssistant:"},
        {"messages": SKY},
        {"instruction": "What colour is the sky?"},
    ],
)
def test_prompts_alone(row: dict):
    assert to_native(row) == {"prompt": SKY}


def test_null_columns_are_absent_columns():
    row = {"prompt": SKY, "completion": None, "chosen": None, "rejected": None, "text": None}
    assert to_native(row) == {"prompt": SKY}


def test_columns_of_ours_are_carried_over_and_others_left_behind():
    row = {"id": 7, "labeler": "lee", "prompt": "Hi", "chosen": "a", "rejected": "b", "lang": "en"}
    assert to_native(row) == {
        "id": "7",
        "labeler": "lee",
        "prompt": [user("Hi")],
        "completions": [{"text": "a", "rank": 1}, {"text": "b", "rank": 2}],
    }


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({}, "columns"),
        ({"question": "Hi"}, "question"),
        ({"chosen": "a", "rejected": [assistant("b")]}, "chosen"),
        ({"chosen": "Yes.", "rejected": "No."}, "chosen"),
        ({"chosen": "same words", "rejected": "same words"}, "chosen"),
        ({"prompt": "Hi", "chosen": "a", "rejected": "b", "margin": "wide"}, "margin"),
        ({"prompt": "Hi", "completion": [assistant("a"), user("b")]}, "completion"),
        ({"messages": "Hi"}, "messages"),
        ({"instruction": ["Hi"]}, "instruction"),
        (
            {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: c\n\nAssistant: b"},
            "chosen",
        ),
    ],
)
def test_what_no_converter_can_read_names_its_column(row: dict, named: str):
    with pytest.raises(UserError, match=named) as caught:
        to_native(row)
    assert "\n" not in str(caught.value)


def test_trl_pairs_by_hand():
    answers = [("bad", 3), ("best", 1), ("also best", 1)]
    row = {
        "id": "r",
        "prompt": SKY,
        "labeler": "lee",
        "author_id": "ann",
        "org_id": "acme",
        "source": "web",
        "completions": [{"text": text, "rank": rank} for text, rank in answers],
    }
    common = {"prompt": SKY, "margin": 2.0, "group_id": "r", "labeler": "lee"}
    common |= {"author_id": "ann", "org_id": "acme", "source": "web"}
    assert to_trl_pairs(Ranking.model_validate(row)) == [
        {**common, "chosen": [assistant("best")], "rejected": [assistant("bad")]},
        {**common, "chosen": [assistant("also best")], "rejected": [assistant("bad")]},
    ]


words = st.text("abc é\n", max_size=8)
rankings = st.lists(st.tuples(words, st.integers(1, 4)), min_size=2, max_size=6)


@given(rankings)
def test_a_ranking_survives_the_way_to_trl_and_back(answers: list[tuple[str, int]]):
    completions = [{"text": text, "rank": rank} for text, rank in answers]
    row = Ranking.model_validate({"id": "r", "prompt": SKY, "completions": completions})
    back = [to_native(pair) for pair in to_trl_pairs(row)]
    preferred = sorted(
        sorted([(a, b), (b, a)], key=lambda pair: pair[0][1])[0]
        for a, b in combinations(answers, 2)
        if a[1] != b[1]
    )
    assert len(back) == len(preferred)
    for native in back:
        assert native["prompt"] == SKY
        assert [c["rank"] for c in native["completions"]] == [1, 2]
    found = [(*(c["text"] for c in n["completions"]), n["completions"][0]["score"]) for n in back]
    assert sorted(found) == sorted((a[0], b[0], float(b[1] - a[1])) for a, b in preferred)
