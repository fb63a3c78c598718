"""What makes an answer valid, kind by kind."""

import subprocess
import sys

import pytest
from pydantic import BaseModel, ValidationError

from trivium.labels import Demonstration, Prompt, Ranking, Text, has_untied_pair

ASK = {"id": "a", "prompt": [{"role": "user", "content": "Name a colour."}]}


def ranking(*ranks: int) -> Ranking:
    completions = [{"text": f"answer {i}", "rank": rank} for i, rank in enumerate(ranks)]
    return Ranking.model_validate({**ASK, "completions": completions})


def test_the_contracts_rows_are_valid():
    whole = {**ASK, "author_id": "ann", "org_id": "org", "source": "api"}
    completion = {"text": "", "rank": 1, "id": "x", "model": "m", "rating": 7, "flags": ["rude"]}
    rows: list[tuple[type[BaseModel], dict]] = [
        (Prompt, whole),
        (Demonstration, {**whole, "completion": "Red.", "labeler": "lee"}),
        (Ranking, {**whole, "labeler": "lee", "completions": [completion, completion]}),
        (Text, {"text": "Once upon a time."}),
    ]
    for kind, row in rows:
        assert kind.model_validate(row).model_dump(exclude_none=True) == row


def test_all_ranks_equal_is_data_but_nothing_to_learn_from():
    assert not has_untied_pair(ranking(2, 2, 2))
    assert has_untied_pair(ranking(2, 2, 3))


ANSWER = {"text": "x", "rank": 1}


@pytest.mark.parametrize(
    ("kind", "change", "field"),
    [
        (Prompt, {"prompt": []}, "prompt"),
        (Prompt, {"prompt": [{"role": "assistant", "content": "Hello."}]}, "prompt"),
        (Prompt, {"prompt": [{"role": "robot", "content": "Hello."}]}, "prompt"),
        (Prompt, {"id": 7}, "id"),
        (Prompt, {"id": ""}, "id"),
        (Prompt, {"autor_id": "ann"}, "autor_id"),
        (Demonstration, {}, "completion"),
        (Demonstration, {"completion": " \n"}, "completion"),
        (Ranking, {"completions": [ANSWER]}, "completions"),
        (Ranking, {"completions": [ANSWER, {"text": "y", "rank": 0}]}, "completions"),
        (Ranking, {"completions": [ANSWER, {"text": "y", "rank": "2"}]}, "completions"),
        (Ranking, {"completions": [ANSWER, {**ANSWER, "rating": 8}]}, "completions"),
        (Ranking, {"completions": [ANSWER, {**ANSWER, "score": float("nan")}]}, "completions"),
    ],
)
def test_an_invalid_row_is_refused_at_its_field(kind: type[BaseModel], change: dict, field: str):
    with pytest.raises(ValidationError) as caught:
        kind.model_validate({**ASK, **change})
    assert [error["loc"][0] for error in caught.value.errors()] == [field]


def test_an_empty_text_is_refused():
    with pytest.raises(ValidationError):
        Text(text="")


def test_labels_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        ranking(1, 2).id = "b"  # pyright: ignore[reportAttributeAccessIssue]  # the point


def test_labels_and_the_data_verbs_load_no_heavy_library():
    code = "import sys, trivium.labels, trivium.data.commands; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "transformers", "datasets", "pyarrow", "matplotlib", "numpy"}
    assert heavy.isdisjoint(loaded.stdout.split())
    assert "pydantic" in loaded.stdout.split()
