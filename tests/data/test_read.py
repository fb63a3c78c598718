"""Reading: every kind of file, lazily, and one clear line for every kind of mistake."""

import gzip
import hashlib
import json
import sys
from itertools import islice
from pathlib import Path

import pytest

from trivium.data import (
    read_cloze,
    read_demonstrations,
    read_prompts,
    read_rankings,
    read_texts,
)
from trivium.data.sources import raw_rows
from trivium.data.write import write_jsonl, write_parquet
from trivium.errors import UserError

ASK = [{"role": "user", "content": "Name a colour."}]
DEMONSTRATION = {"id": "d", "prompt": ASK, "completion": "Red.", "labeler": "lee"}
RANKING = {
    "id": "r",
    "prompt": ASK,
    "completions": [{"text": "", "rank": 2}, {"text": "Red.", "rank": 1, "score": 1.5}],
    "labeler": "lee",
}


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def complaint(path: Path | str, read=read_prompts) -> str:
    with pytest.raises(UserError) as caught:
        list(read(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_native_rows_come_back_as_they_are(tmp_path: Path):
    (demonstration,) = read_demonstrations(jsonl(tmp_path / "d.jsonl", DEMONSTRATION))
    (ranking,) = read_rankings(jsonl(tmp_path / "r.jsonl", RANKING))
    assert demonstration.model_dump(exclude_none=True) == DEMONSTRATION
    assert ranking.model_dump(exclude_none=True) == RANKING  # an empty answer is data


def test_prompts_are_read_out_of_demonstrations_and_rankings(tmp_path: Path):
    path = jsonl(tmp_path / "both.jsonl", DEMONSTRATION, RANKING, {"prompt": "Hi"})
    prompts = [prompt.model_dump(exclude_none=True) for prompt in read_prompts(path)]
    assert prompts[:2] == [{"id": "d", "prompt": ASK}, {"id": "r", "prompt": ASK}]
    assert prompts[2]["prompt"] == [{"role": "user", "content": "Hi"}]


def test_a_row_without_id_is_named_by_what_it_says(tmp_path: Path):
    bare = {"prompt": ASK}
    answered = {"prompt": ASK, "completion": "Red."}
    shouted = {"prompt": "NAME  a\ncolour."}
    path = jsonl(tmp_path / "a.jsonl", bare, answered, {**answered, "completion": "Blue."}, shouted)
    ids = [row.id for row in read_prompts(path)]
    # by hand: sha256 of the normalised prompt
    name = hashlib.sha256(b"user: name a colour.").hexdigest()[:12]
    assert ids[0] == ids[3] == name
    assert [i[:13] for i in ids[1:3]] == [name + "-"] * 2
    assert len({len(i) for i in ids[1:3]}) == 1
    assert len(set(ids)) == 3
    moved = jsonl(tmp_path / "b.jsonl", {"prompt": "another"}, answered)
    assert next(iter(read_demonstrations(jsonl(tmp_path / "c.jsonl", answered)))).id == ids[1]
    assert [row.id for row in read_prompts(moved)][1] == ids[1]


def test_gzip_parquet_and_folders(tmp_path: Path):
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / "README.md").write_text("not data")
    (folder / "notes.txt").write_text("not data either")
    jsonl(folder / "b.jsonl", {**DEMONSTRATION, "id": "2"})
    (folder / "a.jsonl.gz").write_bytes(
        gzip.compress(json.dumps({**DEMONSTRATION, "id": "1"}).encode())
    )
    write_parquet(folder / "c.parquet", [{**DEMONSTRATION, "id": "3"}])
    assert [row.id for row in read_demonstrations(folder)] == ["1", "2", "3"]
    assert [row.id for row in read_demonstrations(str(folder / "a.jsonl.gz"))] == ["1"]


def test_texts(tmp_path: Path):
    path = tmp_path / "book.txt"
    path.write_text("\n\nFirst line,\nsecond line.\n\n \n\nNext document.", encoding="utf-8")
    texts = ["First line,\nsecond line.", "Next document."]
    assert [row.text for row in read_texts(path)] == texts
    assert [row.place for row in raw_rows(path)] == [f"{path}:3", f"{path}:8"]
    assert [row.text for row in read_texts(tmp_path)] == texts  # a folder of nothing but .txt
    crawled = jsonl(tmp_path / "c4.jsonl", {"text": "A page.", "url": "u", "timestamp": 1})
    assert [row.text for row in read_texts(crawled)] == ["A page."]


def test_the_hub_is_streamed_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # a local folder owner/name goes through the same load_dataset call as a name on the hub
    (tmp_path / "owner" / "name").mkdir(parents=True)
    jsonl(tmp_path / "owner" / "name" / "train.jsonl", {"prompt": "Hi"}, {"prompt": "Ho"})
    monkeypatch.chdir(tmp_path)
    for address in ("hf://owner/name?split=train", Path("hf://owner/name")):
        assert [row.prompt[0].content for row in read_prompts(address)] == ["Hi", "Ho"]
    assert "split" in complaint("hf://owner/name?splitt=train")
    assert "validation" in complaint("hf://owner/name?split=validation")


def test_thirty_thousand_rows_need_no_more_memory_than_ten(tmp_path: Path):
    path = tmp_path / "big.jsonl"
    line = json.dumps({"id": "a", "prompt": ASK}) + "\n"
    path.write_text(line * 30_000)
    list(islice(read_prompts(path), 10))  # what is built once, is built
    before = sys.getallocatedblocks()  # of CPython's heap: a row takes a dozen
    rows = read_prompts(path)
    assert sum(1 for _ in islice(rows, 29_990)) == 29_990
    assert sys.getallocatedblocks() - before < 1000
    assert len(list(rows)) == 10


def test_reading_is_lazy(tmp_path: Path):
    rows = read_prompts(jsonl(tmp_path / "p.jsonl", {"prompt": "Hi"}, {"prompt": 5}))
    assert next(rows).prompt[0].content == "Hi"
    with pytest.raises(UserError, match=r"p\.jsonl:2: prompt: expected"):
        next(rows)


def test_missing_file_names_its_nearest_neighbour_at_once(tmp_path: Path):
    jsonl(tmp_path / "rankings.jsonl", RANKING)
    with pytest.raises(UserError) as caught:
        read_rankings(tmp_path / "ranking.jsonl")  # before the first row is asked for
    assert str(tmp_path / "ranking.jsonl") in str(caught.value)
    assert "not found" in str(caught.value)
    assert f"did you mean {tmp_path / 'rankings.jsonl'}?" in str(caught.value)
    assert f"{tmp_path} has rankings.jsonl" in complaint(tmp_path / "x.jsonl")


def test_a_missing_file_is_not_mistaken_for_another_kind(tmp_path: Path):
    (tmp_path / "x.json").write_text("{}")
    assert "check the path" in complaint(tmp_path / "x.jsonl")
    assert "the folder" in complaint(tmp_path / "nowhere" / "rankings.jsonl")


@pytest.mark.parametrize(
    ("second_line", "expected"),
    [
        (b'{"prompt": "Hi"', "broken JSON"),
        (b'["prompt"]', "expected a JSON object, got list"),
        (b'{"prompt": NaN}', "NaN"),
        (b'{"prompt": "\xff"}', "expected UTF-8"),
        (b'{"prompt": "\\ud800"}', "prompt[0].content"),
        (b'{"question": "Hi"}', "got question"),
        (b'{"prompt": []}', "prompt: expected at least one message"),
        (b'{"prompt": [{"role": "user"}]}', "prompt[0].content: expected a value, got nothing"),
        (b'{"prompt": [{"role": "bot", "content": "x"}]}', "got 'bot'"),
        (
            b'{"prompt": [{"role": "user", "content": 5}]}',
            "prompt[0].content: expected a valid str",
        ),
        (b'{"prompt": [{"role": "user", "content": "x", "rol": 1}]}', "did you mean role?"),
        (b'{"prompt": [{"role": "user", "content": "x"}], "autor_id": "a"}', "mean author_id?"),
        (b'{"id": "", "prompt": [{"role": "user", "content": "x"}]}', "id: expected at least 1"),
        (b'{"text": "a document"}', "read the file as texts"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, second_line: bytes, expected: str):
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"prompt": "Hi"}\n' + second_line + b"\n")
    message = complaint(path)
    assert message.startswith(f"{path}:2: ")
    assert expected in message
    assert len(message) < len(str(path)) + 250


@pytest.mark.parametrize(
    ("row", "read", "expected"),
    [
        ({**DEMONSTRATION, "completion": " "}, read_demonstrations, "completion: expected an ans"),
        ({**DEMONSTRATION, "completion": 5}, read_demonstrations, "completion: expected a valid s"),
        ({"prompt": "Hi"}, read_demonstrations, "completion: expected a value, got nothing"),
        (RANKING, read_demonstrations, "expected a demonstration, got a row of shape ranking"),
        (DEMONSTRATION, read_rankings, "expected a ranking, got a row of shape demonstration"),
        ({**RANKING, "completions": RANKING["completions"][:1]}, read_rankings, "at least two"),
        (
            {**RANKING, "completions": [{"text": "a", "rank": "1"}] * 2},
            read_rankings,
            "completions[0].rank: expected a valid integer, got '1'",
        ),
        (DEMONSTRATION, read_texts, "text: expected a column of this name"),
        ({"text": ""}, read_texts, "text: expected a document"),
    ],
)
def test_a_bad_label_is_named(tmp_path: Path, row: dict, read, expected: str):
    message = complaint(jsonl(tmp_path / "x.jsonl", row), read)
    assert message.startswith(f"{tmp_path / 'x.jsonl'}:1: ")
    assert expected in message


def test_all_ranks_equal_is_read(tmp_path: Path):
    tied = {**RANKING, "completions": [{"text": "a", "rank": 1}, {"text": "b", "rank": 1}]}
    (row,) = read_rankings(jsonl(tmp_path / "tied.jsonl", tied))
    assert [completion.rank for completion in row.completions] == [1, 1]


def test_empty_and_foreign_files(tmp_path: Path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n \n")
    assert "empty file" in complaint(empty)
    table = tmp_path / "table.csv"
    table.write_text("prompt\nHi\n")
    assert ".jsonl" in complaint(table)
    (tmp_path / "none").mkdir()
    assert "got none" in complaint(tmp_path / "none")
    for name in ("torn.parquet", "torn.jsonl.gz"):
        (tmp_path / name).write_bytes(b"these are not the bytes")
        assert str(tmp_path / name) in complaint(tmp_path / name)
    whole = gzip.compress(b'{"prompt": "Hi"}\n')
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    assert "whole gzip" in complaint(tmp_path / "cut.jsonl.gz")


def test_a_bad_row_of_parquet_is_named_by_its_number(tmp_path: Path):
    path = tmp_path / "p.parquet"
    write_parquet(path, [{"prompt": "Hi"}] * 1500 + [{"prompt": ""}, {}])
    assert complaint(path).startswith(f"{path}:1502: columns: expected")


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path):
    path = tmp_path / "bom.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"prompt": "Hi"}\r\n')
    assert len(list(read_prompts(path))) == 1
    write_jsonl(path, read_prompts(path))
    assert not path.read_bytes().startswith(b"\xef")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prefix": "It is", "options": [" a", " b"], "answer": 2}, "below 2, got 2"),
        ({"prefix": "It is", "options": [" a", " b"], "answer": -1}, "answer"),
        ({"prefix": "It is", "options": [" a"], "answer": 0}, "options"),
        ({"prefix": "It is", "options": [" a", ""], "answer": 0}, r"options\[1\]"),
        ({"prefix": "", "options": [" a", " b"], "answer": 0}, "prefix"),
        ({"prefix": "It is", "options": [" a", " b"]}, "answer: expected a value"),
    ],
)
def test_cloze_questions_that_cannot_be_asked(tmp_path: Path, row, said):
    good = {"prefix": "It is", "options": [" a", " b"], "answer": 1}
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps(good) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(UserError, match=rf"c\.jsonl:2: .*{said}") as error:
        list(read_cloze(path))
    assert "\n" not in str(error.value)
    path.write_text(json.dumps(good) + "\n")
    assert [question.model_dump() for question in read_cloze(path)] == [good]
