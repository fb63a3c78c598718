"""Which prompts an evaluation answers."""

import json

import pytest

from trivium.config import Evaluate, Split
from trivium.data import read_prompts, split_without_leaks
from trivium.errors import UserError
from trivium.stages.evaluate import read_rows

HOW = Split(heldout_fraction=0.4, salt="s")


def config(path, rows, how: Split | None) -> Evaluate:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Evaluate(models={"sft": "m"}, prompts=str(path), split=how)


def test_a_prompt_of_two_authors_is_held_out_where_training_gave_way(tmp_path):
    """One author of it is trained on, the other is not: training lost the row, so it is asked."""
    authors = [f"author {i}" for i in range(20)]
    rows = [{"id": f"{a} {i}", "prompt": f"Question {i}?", "author_id": a}
            for i in range(3) for a in (authors if i else authors[::-1])]  # fmt: skip
    rows += [{"prompt": f"Own question {a}?", "author_id": a} for a in authors]
    cfg = config(tmp_path / "p.jsonl", rows, HOW)
    everything = list(read_prompts(cfg.prompts))
    train, heldout, _ = split_without_leaks(everything, salt="s", heldout_fraction=0.4)
    asked = [row.prompt[0].content for row in read_rows(cfg)]
    assert len(asked) == len(set(asked))
    assert set(asked) == {row.prompt[0].content for row in heldout}
    assert set(asked).isdisjoint(row.prompt[0].content for row in train)
    assert {f"Question {i}?" for i in range(3)} < set(asked)


def test_a_split_that_holds_nothing_out_says_so(tmp_path):
    cfg = config(tmp_path / "p.jsonl", [{"prompt": "Why?"}], Split(heldout_fraction=0.0))
    with pytest.raises(UserError, match="expected held-out prompts, got none of 1"):
        read_rows(cfg)
    assert len(read_rows(config(tmp_path / "q.jsonl", [{"prompt": "Why?"}] * 2, None))) == 1
