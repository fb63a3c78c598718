"""Writing: the same bytes again, and a whole file or none."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivium.data import read_rankings, write_jsonl, write_parquet
from trivium.errors import UserError
from trivium.labels import Demonstration, Label, Message, Prompt, Ranking, Text

texts = st.text(st.characters(codec="utf-8"), max_size=12)
names = st.none() | st.text("abc", min_size=1, max_size=3)
completions = st.fixed_dictionaries(
    {"text": texts, "rank": st.integers(1, 9)},
    optional={
        "id": names,
        "rating": st.integers(1, 7),
        "flags": st.lists(texts, max_size=2),
        "score": st.floats(allow_nan=False, allow_infinity=False),
    },
)
rankings = st.fixed_dictionaries(
    {
        "id": st.text("xyz", min_size=1, max_size=3),
        "prompt": texts.map(lambda text: [{"role": "user", "content": text}]),
        "completions": st.lists(completions, min_size=2, max_size=4),
        "author_id": names,
        "labeler": names,
    }
).map(Ranking.model_validate)


@settings(max_examples=30, deadline=None)
@given(st.lists(rankings, min_size=1, max_size=4))
def test_every_ranking_survives_jsonl_and_parquet(tmp_path_factory, rows: list[Ranking]):
    folder = tmp_path_factory.mktemp("trip")
    assert write_jsonl(folder / "a.jsonl", rows) == len(rows)
    assert list(read_rankings(folder / "a.jsonl")) == rows
    write_parquet(folder / "b.parquet", read_rankings(folder / "a.jsonl"))
    assert list(read_rankings(folder / "b.parquet")) == rows
    write_jsonl(folder / "c.jsonl", read_rankings(folder / "b.parquet"))
    assert (folder / "c.jsonl").read_bytes() == (folder / "a.jsonl").read_bytes()


def test_the_line_by_hand(tmp_path: Path):
    row = Prompt(id="a", prompt=[Message(role="user", content="Où?")])
    foreign = {"x": None, "y": [{"z": None}]}
    write_jsonl(tmp_path / "a.jsonl", [row, foreign])
    assert (tmp_path / "a.jsonl").read_text("utf-8") == (
        '{"id": "a", "prompt": [{"role": "user", "content": "Où?"}]}\n{"y": [{}]}\n'
    )


def test_gzip_is_a_function_of_the_rows(tmp_path: Path):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_jsonl(tmp_path / name, [{"prompt": "Hi"}])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    # RFC 1952: two magic bytes, deflate, no flags, and four bytes of time, which must not be there
    assert (tmp_path / "a.jsonl.gz").read_bytes()[:8] == b"\x1f\x8b\x08\0\0\0\0\0"


def test_parquet_has_all_columns_of_a_label_however_late_they_come(tmp_path: Path):
    ask = [Message(role="user", content="Hi")]
    rows: list[Label] = [Demonstration(id=str(i), prompt=ask, completion="x") for i in range(2000)]
    rows.append(Demonstration(id="last", prompt=ask, completion="x", labeler="lee"))
    assert write_parquet(tmp_path / "d.parquet", rows) == 2001
    table = pq.read_table(tmp_path / "d.parquet")
    assert table.column_names == list(Demonstration.model_fields)
    assert table["labeler"].to_pylist()[-1] == "lee"
    assert pq.ParquetFile(tmp_path / "d.parquet").num_row_groups == 2  # streamed in batches


@pytest.mark.parametrize("late", [{"b": 1}, {"a": "text where numbers were"}])
def test_parquet_refuses_dicts_that_change_their_columns(tmp_path: Path, late: dict):
    with pytest.raises(UserError, match=r"d\.parquet"):
        write_parquet(tmp_path / "d.parquet", [*[{"a": 1}] * 1024, late])
    with pytest.raises(UserError, match="got none"):
        write_parquet(tmp_path / "d.parquet", [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [write_jsonl, write_parquet])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, write):
    def rows() -> Iterator[Text]:
        yield from [Text(text="new")] * 3000
        raise OSError("No space left on device")

    path = tmp_path / "deep" / "rows.data"
    write(path, [Text(text="old")])
    before = path.read_bytes()
    with pytest.raises(OSError, match="No space"):
        write(path, rows())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("write", [write_jsonl, write_parquet])
def test_a_reader_of_the_old_file_never_sees_the_new_one(tmp_path: Path, write):
    path = tmp_path / "rows.data"
    write(path, [Text(text="old")])
    old = path.read_bytes()
    with path.open("rb") as reader:
        write(path, [Text(text="new")])
        assert reader.read() == old
    assert path.read_bytes() != old


def test_a_file_can_be_rewritten_from_itself(tmp_path: Path):
    path = tmp_path / "r.jsonl"
    answers = [{"text": "a", "rank": 1}, {"text": "b", "rank": 2}]
    write_jsonl(path, [{"prompt": "Hi", "completions": answers}] * 5)
    assert write_jsonl(path, read_rankings(path)) == 5
    assert len(list(read_rankings(path))) == 5
