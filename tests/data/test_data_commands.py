"""The verbs of `trivium data`, on small files."""

import json
import re
from pathlib import Path

import pytest

from trivium.data import commands, read_demonstrations, read_rankings
from trivium.errors import UserError

ANSWERS = [("good", 1), ("fair", 2), ("also fair", 2)]


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def ranking(name: str, text: str, answers: list[tuple[str, int]] = ANSWERS) -> dict:
    completions = [{"text": answer, "rank": rank} for answer, rank in answers]
    return {"id": name, "prompt": text, "completions": completions}


def test_check_counts_every_row_or_stops_at_the_first_bad_one(tmp_path: Path):
    rows = [ranking("a", "one"), ranking("a", "two"), ranking("b", "three", [("x", 1), ("y", 1)])]
    path = write(tmp_path / "r.jsonl", rows)
    counts = {"rows": 3, "repeated_ids": 1, "without_untied_pair": 1}
    assert commands.check(path, "rankings") == counts
    assert commands.check(path, "prompts") == {"rows": 3, "repeated_ids": 1}
    assert commands.check(write(tmp_path / "t.jsonl", [{"text": "x"}]), "texts") == {"rows": 1}
    write(path, [*rows, ranking("c", "four", ANSWERS[:1])])
    with pytest.raises(UserError, match=r"r\.jsonl:4: completions: expected at least two"):
        commands.check(path, "rankings")


def test_convert_to_trl_and_back(tmp_path: Path):
    source = write(tmp_path / "r.jsonl", [ranking("a", "one"), ranking("b", "two")])
    for name in ("pairs.jsonl", "pairs.parquet"):
        counts = commands.convert_file(source, "rankings", tmp_path / name, to="trl")
        assert counts == {"read": 2, "written": 4}  # 3 pairs each, 1 tied
        back = list(read_rankings(tmp_path / name))  # the pairs of a group_id are one ranking
        assert [row.id for row in back] == ["a", "b"]
        assert [c.text for c in back[1].completions] == ["good", "fair", "also fair"]
        assert [c.score for c in back[1].completions] == [1.0, 0.0, 0.0]
    with pytest.raises(UserError, match="expected rankings, got prompts"):
        commands.convert_file(source, "prompts", tmp_path / "x.jsonl", to="trl")
    assert not (tmp_path / "x.jsonl").exists()


def test_convert_to_native_and_parquet_and_back_is_the_same_file(tmp_path: Path):
    rows = [{"instruction": f"Count to {i}.", "output": "1, 2, 3"} for i in range(5)]
    source = write(tmp_path / "alpaca.jsonl", rows)
    native, parquet, again = (tmp_path / n for n in ("n.jsonl", "p.parquet", "again.jsonl"))
    counts = commands.convert_file(source, "demonstrations", native, to="native")
    assert counts == {"read": 5, "written": 5}
    commands.convert_file(native, "demonstrations", parquet, to="parquet")
    commands.convert_file(parquet, "demonstrations", again, to="native")
    assert native.read_bytes() == again.read_bytes()
    assert next(read_demonstrations(native)).prompt[0].content == "Count to 0."


def test_split_leaves_no_leak_behind(tmp_path: Path):
    story = "The fox went over the hill to see what he could see, and found a lantern there. " * 3
    rows = [ranking(f"r{i}", f"Question {i}: why?") for i in range(100)]
    rows += [ranking(f"s{i}", f"{story} {i}") for i in range(20)]  # near one another
    rows += [{**ranking(f"a{i}", "Asked by many."), "author_id": f"author {i}"} for i in range(20)]
    source = write(tmp_path / "r.jsonl", rows)
    out = tmp_path / "out"
    counts = commands.split_file(source, "rankings", out, salt="s", heldout_fraction=0.3)
    train, heldout = out / "train.jsonl", out / "heldout.jsonl"
    assert commands.leak_check(train, heldout) == []
    assert counts["train"] == commands.check(train, "rankings")["rows"]
    assert counts["heldout"] == commands.check(heldout, "rankings")["rows"]
    assert counts["train"] + counts["heldout"] + counts["left_out"] == 140
    # what was left out stood among the forty rows that are alike, and was meant for train
    assert counts["left_out"] > commands.LEFT_OUT_SHOWN == len(counts["examples"])
    shares = "near-duplicate of s|same prompt as a"
    for example in counts["examples"]:
        row, name = re.match(rf"row (\d+) \((\w+)\): (?:{shares})\d+$", example).groups()
        assert int(row) > 100
        assert rows[int(row) - 1]["id"] == name
    kept = {row.id for side in (train, heldout) for row in read_rankings(side)}
    assert kept.isdisjoint(re.findall(r"\((\w+)\)", " ".join(counts["examples"])))


def test_leak_check_finds_the_same_prompt_in_files_of_two_kinds(tmp_path: Path):
    train = write(tmp_path / "d.jsonl", [{"prompt": "Why?", "completion": "So."}])
    heldout = write(tmp_path / "r.jsonl", [ranking("h", "WHY?")])
    (leak,) = commands.leak_check(train, heldout)
    assert (leak.reason, leak.heldout_name) == ("same prompt", "h")
    texts = write(tmp_path / "t.jsonl", [{"text": "one page"}])
    assert len(commands.leak_check(texts, texts, kind="texts")) == 1


def test_a_split_needs_rows_on_both_sides(tmp_path: Path):
    source = write(tmp_path / "r.jsonl", [ranking("a", "one")])
    with pytest.raises(UserError, match="held-out side"):
        commands.split_file(source, "rankings", tmp_path, salt="s", heldout_fraction=0.0)


def test_stats(tmp_path: Path):
    figures = commands.stats(write(tmp_path / "r.jsonl", [ranking("a", "one")]), "rankings")
    assert figures["k"] == {3: 1}
    assert figures["tied_share"] == 1 / 3
