"""The figures of `describe`, worked out by hand or by numpy."""

import numpy as np

from trivium.data import describe
from trivium.labels import Completion, Demonstration, Message, Prompt, Ranking, Text


def ask(text: str) -> list[Message]:
    return [Message(role="user", content=text)]


def ranking(text: str, *answers: tuple[str, int], labeler: str = "lee") -> Ranking:
    completions = [Completion(text=answer, rank=rank) for answer, rank in answers]
    return Ranking(
        id="r", prompt=ask(text), completions=completions, author_id="ann", labeler=labeler
    )


def test_rankings_by_hand():
    rows = [
        ranking("aa", ("x", 1), ("", 1), labeler="kim"),
        ranking("AA ", ("x", 1), ("yy", 2), ("zzz", 2)),
        ranking("abcd", ("x", 1), ("yy", 2)),
    ]
    assert describe(rows) == {
        "rows": 3,
        "duplicates": 1,
        "authors": 1,
        "labelers": 2,
        "prompt_chars": {"min": 2, "q1": 2.5, "median": 3.0, "q3": 3.5, "max": 4},
        "answer_chars": {"min": 0, "q1": 1.0, "median": 1.0, "q3": 2.0, "max": 3},
        "k": {2: 2, 3: 1},
        "pairs": 5,
        "tied_share": 2 / 5,
        "without_untied_pair": 1,
        "empty_answers": 1,
    }


def test_quartiles_are_numpys():
    lengths = np.random.default_rng(0).integers(1, 500, size=101)
    figures = describe(Text(text="x" * int(n)) for n in lengths)["prompt_chars"]
    assert list(figures.values()) == [*np.quantile(lengths, [0, 0.25, 0.5, 0.75, 1])]


def test_other_kinds():
    one = describe([Demonstration(id="d", prompt=ask("abc"), completion="xy", labeler="lee")])
    assert one["answer_chars"] == {"min": 2, "q1": 2.0, "median": 2.0, "q3": 2.0, "max": 2}
    assert one["labelers"] == 1
    assert "k" not in one
    assert "answer_chars" not in describe([Prompt(id="p", prompt=ask("abc"))])
    assert describe([])["rows"] == 0
