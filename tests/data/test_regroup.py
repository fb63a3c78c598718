"""Pairs that one ranking was exported as are one ranking again; all else stays pairs."""

import json
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivium.data import read_prompts, read_rankings, side, write_jsonl, write_parquet
from trivium.data.commands import convert_file
from trivium.data.convert import to_trl_pairs
from trivium.errors import UserError
from trivium.labels import Ranking

SKY = [{"role": "user", "content": "What colour is the sky?"}]


def ranking(name: str, answers: list[tuple[str, int]], **fields: str) -> Ranking:
    completions = [{"text": text, "rank": rank} for text, rank in answers]
    row = {"id": name, "prompt": SKY, "completions": completions, **fields}
    return Ranking.model_validate(row)


def preferences(row: Ranking) -> Counter[tuple[str, str, int]]:
    """Every untied pair: the better answer, the worse one, and the ranks between them."""
    return Counter(
        (a.text, b.text, b.rank - a.rank) if a.rank < b.rank else (b.text, a.text, a.rank - b.rank)
        for a, b in combinations(row.completions, 2)
        if a.rank != b.rank
    )


def exported(path: Path, rows: list[Ranking]) -> Path:
    write = write_parquet if path.suffix == ".parquet" else write_jsonl
    write(path, (pair for row in rows for pair in to_trl_pairs(row)))
    return path


def pair(chosen: str, rejected: str, **columns: object) -> dict[str, object]:
    return {
        "prompt": SKY,
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
        **columns,
    }


def read(path: Path, *rows: dict[str, object]) -> list[Ranking]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return list(read_rankings(path))


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.parquet"])
def test_export_and_read_by_hand(tmp_path: Path, name: str):
    rows = [
        ranking("one", [("bad", 4), ("best", 1), ("also best", 1), ("", 2)], labeler="lee"),
        ranking("one", [("bad", 2), ("best", 1)], labeler="kim"),
        ranking("two", [("x", 3), ("y", 2)]),
    ]
    path = exported(tmp_path / name, rows)
    back = list(read_rankings(path))
    assert [(row.id, row.labeler) for row in back] == [
        ("one", "lee"),
        ("one", "kim"),
        ("two", None),
    ]
    assert [[(c.text, c.rank, c.score) for c in row.completions] for row in back] == [
        [("best", 1, 3.0), ("also best", 1, 3.0), ("", 2, 2.0), ("bad", 4, 0.0)],
        [("best", 1, 1.0), ("bad", 2, 0.0)],
        [("y", 1, 1.0), ("x", 2, 0.0)],
    ]
    assert [row.id for row in read_prompts(path)] == ["one", "one", "two"]


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.parquet"])
def test_the_way_to_trl_and_back_moves_no_row_to_the_other_side(tmp_path: Path, name: str):
    """An author has one side: so it must still be known whose prompt it is, though some are not."""
    rows = [
        {**ranking(f"r{i}", [("x", 1), ("y", 2)]).model_dump(exclude_none=True),
         "prompt": [{"role": "user", "content": f"Question {i}?"}]}
        for i in range(1400)
    ]  # fmt: skip
    for i, row in enumerate(rows[1100:]):  # more rows without an author than Parquet looks ahead
        row |= {"author_id": f"author {i % 30}", "source": "api"}
    source, pairs = tmp_path / "r.jsonl", tmp_path / name
    write_jsonl(source, rows)
    convert_file(source, "rankings", pairs, to="trl")
    there, back = list(read_rankings(source)), list(read_rankings(pairs))
    sides = [[side(row, salt="s", heldout_fraction=0.3) for row in part] for part in (there, back)]
    assert sides[0] == sides[1]
    assert [(r.id, r.author_id, r.source) for r in there] == [
        (r.id, r.author_id, r.source) for r in back
    ]


answers = st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.integers(1, 4)), min_size=2)


@settings(deadline=None)
@given(st.lists(answers.filter(lambda row: len({rank for _, rank in row}) > 1), min_size=1))
def test_export_and_read_gives_the_same_preferences(tmp_path_factory, rows):
    """With answers of one text too, at one rank or at several: each ranking comes back as one."""
    rankings = [ranking(f"r{i}", row) for i, row in enumerate(rows)]
    back = list(read_rankings(exported(tmp_path_factory.mktemp("r") / "p.jsonl", rankings)))
    assert [row.id for row in back] == [row.id for row in rankings]
    assert [preferences(row) for row in back] == [preferences(row) for row in rankings]


@pytest.mark.parametrize(
    "rows",
    [
        [("a", "b", 1.0), ("c", "d", 1.0)],  # who is better, a or c?
        [("a", "b", 1.0), ("b", "c", 1.0)],  # a against c is missing
        [("a", "b", 1.0), ("b", "a", 1.0)],  # a contradiction
        [("a", "b", 0.7), ("a", "c", 1.2), ("b", "c", 0.5)],  # margins that are no gaps of ranks
        [("a", "b", 1.0), ("a", "c", 3.0), ("b", "c", 1.0)],  # gaps that don't add up
        [("b", "c", 1.0), ("a", "c", 2.0), ("a", "b", 1.0)],  # another order than ours
    ],
)
def test_pairs_that_are_not_all_of_a_ranking_stay_pairs(tmp_path: Path, rows):
    pairs = [pair(a, b, margin=margin, group_id="g") for a, b, margin in rows]
    back = read(tmp_path / "p.jsonl", *pairs)
    found = [([c.text for c in row.completions], row.completions[0].score) for row in back]
    assert found == [([a, b], margin) for a, b, margin in rows]


def test_only_consecutive_pairs_of_one_prompt_and_labeler_belong_together(tmp_path: Path):
    first, *rest = (pair("a", text, margin=1.0, group_id="g", labeler="lee") for text in "bcd")
    other = pair("x", "y", margin=1.0, group_id="h")
    kim, asked = {**rest[0], "labeler": "kim"}, {**rest[1], "prompt": "Which sky?"}
    no_group = pair("a", "e", margin=1.0)
    back = read(tmp_path / "p.jsonl", first, rest[0], other, rest[1], kim, asked, no_group)
    assert [len(row.completions) for row in back] == [3, 2, 2, 2, 2, 2]


def test_a_broken_pair_is_still_named(tmp_path: Path):
    good = pair("a", "b", margin=1.0, group_id="g")
    for broken, line in (({**good, "margin": "wide"}, 2), ({**good, "chosen": 5}, 2)):
        with pytest.raises(UserError, match=rf"p\.jsonl:{line}: (margin|chosen)"):
            read(tmp_path / "p.jsonl", good, broken)


def test_a_group_of_any_size_needs_bounded_memory(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("trivium.data.regroup.MOST_PAIRS", 3)
    rows = [pair("a", text, margin=1.0, group_id="g") for text in "bcdefgh"]
    back = read(tmp_path / "p.jsonl", *rows)
    assert [len(row.completions) for row in back] == [4, 4, 2]
