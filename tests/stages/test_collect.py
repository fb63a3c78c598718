"""What a collection writes: whose prompts they were, and what a ranking function may return."""

import pytest

from trivium.config import Collect
from trivium.data import side
from trivium.errors import UserError
from trivium.labels import Message, Prompt
from trivium.stages.collect import ranked

CFG = Collect(models=("m",), prompts="p", labelers="pkg.module:rank")
ROWS = [
    Prompt(id=f"p{i}", prompt=[Message(role="user", content=f"Question {i}?")],
           author_id=f"author {i % 7}", org_id="acme", source="api")
    for i in range(40)
]  # fmt: skip
ANSWERS = [[{"text": "a", "model": "m"}, {"text": "b", "model": "m"}] for _ in ROWS]


def twice(prompts, answers, *, seed, overlap):
    return [[("lee", [2, 1]), ("kim", [1, 1])] for _ in prompts]


def test_a_ranking_falls_on_the_side_of_its_prompt():
    found = ranked(CFG, twice, ROWS, ANSWERS)
    assert [(r.id, r.labeler) for r in found[:2]] == [("p0", "lee"), ("p0", "kim")]
    assert [c.rank for c in found[0].completions] == [2, 1]
    assert {r.author_id for r in found} == {row.author_id for row in ROWS}
    for row, ranking in zip(ROWS, found[::2], strict=True):
        assert (ranking.org_id, ranking.source) == ("acme", "api")
        sides = [side(one, salt="s", heldout_fraction=0.4) for one in (row, ranking)]
        assert sides[0] == sides[1]


@pytest.mark.parametrize(
    ("rank", "said"),
    [
        (lambda *rows, **how: 1 / 0, "ZeroDivisionError"),
        (lambda *rows, **how: [[("lee", [1, 2])]], "argument"),  # one prompt's rankings of forty
        (lambda prompts, answers, **how: [[("lee", [1])] for _ in prompts], "argument"),
        (lambda prompts, answers, **how: [[("lee", [0, 1])] for _ in prompts], "greater than"),
        (lambda prompts, answers, **how: [[(3, [1, 2])] for _ in prompts], "string"),
        (lambda *rows, **how: None, "TypeError"),
    ],
)
def test_what_the_function_gets_wrong_is_said_in_one_line(rank, said):
    with pytest.raises(UserError, match=r"labelers pkg\.module:rank: ") as error:
        ranked(CFG, rank, ROWS, ANSWERS)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_somebody_must_answer():
    with pytest.raises(UserError, match="models: expected at least one"):
        Collect(models=(), prompts="p")
