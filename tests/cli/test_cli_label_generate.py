"""`trivium label generate`: models write the answers that people will rank."""

import json
from collections import Counter

import pytest

from trivium.cli import main
from trivium.errors import UserError
from trivium.label_commands import parse_k, weighted_models
from trivium.store.database import close_store, open_store, reading
from trivium.store.schema import answers, tasks


def test_two_models_by_weight_write_answers_to_rank(model_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [{"id": f"p{n}", "prompt": f"Why {n}?", "author_id": f"a{n}"} for n in range(6)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["label", "import", "prompts.jsonl", "--pii", "none", "--consent"]) == 0
    often, seldom = str(model_folder()), str(model_folder("qwen2", "chatml"))
    words = ["label", "generate", "--model", f"{often}:3", seldom, "--k", "4", "--out", "written"]
    words += ["--max-response-tokens", "6"]
    assert main(words) == 0
    assert "6 sets of answers to rank; 0 were there already" in capsys.readouterr().out
    store = open_store("sqlite:///labels.db", create=False)
    with reading(store) as connection:
        sets = connection.execute(tasks.select().where(tasks.c.kind == "rank")).all()
        wrote = connection.execute(answers.select()).all()
    close_store(store)
    assert len(sets) == 6
    assert Counter(row.task_id for row in wrote) == dict.fromkeys([s.id for s in sets], 4)
    # Three of four by the one, one of four by the other, in each set.
    assert Counter(row.model for row in wrote) == {often: 18, seldom: 6}
    assert main([*words[:-3], "again", *words[-2:]]) == 2
    assert "every prompt has answers to rank" in capsys.readouterr().err


def test_k_and_weights_as_they_are_written():
    assert parse_k("4..9") == (4, 9)
    assert parse_k("5") == (5, 5)
    for wrong in ("", "1", "9..4", "4-9", "4..", "1..3"):
        with pytest.raises(UserError, match="--k: expected a number from 2 or a range"):
            parse_k(wrong)
    assert weighted_models(("a:2", "b", "c:0")) == ("a", "a", "b")
    with pytest.raises(UserError, match="weight above 0"):
        weighted_models(("a:0",))
