"""Out and in again: byte-identical in every format, ties kept; and what other programs give us."""

import json
import zipfile
from collections import Counter
from itertools import chain
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from trivium.data import read_demonstrations, read_rankings, to_trl_pairs
from trivium.errors import UserError
from trivium.labels import Message, Prompt
from trivium.store import leases, maintenance, tasks, transfer
from trivium.store.database import reading, writing
from trivium.store.incoming import Manner
from trivium.store.leases import NoTask
from trivium.store.schema import prompts
from trivium.store.settings import Settings

FORMATS = {
    "native": "labels.jsonl",
    "rankings": "rankings.jsonl",
    "demonstrations": "demonstrations.jsonl",
    "parquet": "labels.parquet",
    "trl": "pairs.jsonl",
    "argilla": "folder",
    "labelstudio": "tasks.json",
}


def add(bench, key, texts, *, need=1, about=None):
    """A task whose prompt has a history and all the fields a prompt can have."""
    messages = [
        Message(role="system", content="Be \u2028 brief."),
        Message(role="user", content="Hi"),
        Message(role="assistant", content=""),
        Message(role="user", content=about or f"Say {key} \\ \U0001f600"),
    ]
    row = Prompt(id=key, prompt=messages, author_id="ann o'x", org_id="org", source="demo")
    candidates = None
    if texts is not None:
        candidates = [tasks.NewAnswer(t, f"{key}.{i}", f"m{i}") for i, t in enumerate(texts)]
    with writing(bench.store) as connection:
        return tasks.add_task(connection, row, candidates, Settings(), need=need).id


@pytest.fixture
def full(make_bench):
    """A store with every kind of label: ties, copies, skips, late ones, corrections, notes."""
    bench = make_bench("full")
    ann, bob = bench.person(), bench.person()
    add(bench, "r1", ["a", "b", "a", "", "e" * 50], need=2)
    add(bench, "r2", ["x <b>", 'y "q"'])
    add(bench, "r3", ["three", "four", "five"])
    add(bench, "d1", None)
    for person in (ann, bob):
        bench.later(1)
        lease = bench.lease(person, "rank")
        bench.rank(person, lease, {"A": 2, "B": 1, "C": 2, "D": 9}, flags=["opinion", "sexual"])
        bench.rank(person, lease, {"A": 1, "B": 1, "C": 5, "D": 9}, ratings={"A": 7})
    bench.skip(ann, bench.lease(ann, "rank"), reason="language")
    late = bench.lease(bob, "rank")
    bench.later(31)
    leases.sweep(bench.store, now_ms=bench.now_ms)
    bench.rank(bob, late, {"A": 2, "B": 1})
    bench.write(ann, bench.lease(ann, "demonstration"), "Mine.\n\u2028\n")
    return bench


@pytest.fixture
def odd(make_bench, tmp_path):
    """A store of rankings that came from elsewhere, with all that makes them hard to tell apart."""
    bench = make_bench("odd")
    rankings = [
        ("r", "ann", {"a": 1, "b": 1, "c": 5}),  # holes
        ("r", "ann", {"d": 3, "e": 4, "f": 9}),  # another set of the same prompt, same labeler
        ("r", "ann", {"g": 3, "h": 3}),  # no pair
        ("r", None, {"a": 2, "b": 1, "c": 1}),
        ("r", None, {"a": 2, "b": 1, "c": 1}),  # somebody else who says the same
        ("r#2", "ann", {"a": 1, "b": 2}),  # a name that might have been made up
    ]
    rows = [
        {
            "id": key,
            "prompt": [{"role": "user", "content": "P?"}],
            "completions": [{"text": text, "rank": rank} for text, rank in ranks.items()],
            "labeler": labeler,
        }
        for key, labeler, ranks in rankings
    ]
    path = write_lines(tmp_path / "odd.jsonl", rows)
    assert transfer.import_file(bench.store, path).labels == 6
    said = {"id": "d", "prompt": [{"role": "user", "content": "Q?"}], "completion": "A."}
    path = write_lines(tmp_path / "demonstrations.jsonl", [said, said])
    assert transfer.import_file(bench.store, path).labels == 2, "two people may say the same"
    return bench


@pytest.mark.parametrize("labels", ["full", "odd"])
@pytest.mark.parametrize("format", FORMATS)
def test_out_in_and_out_again_gives_the_same_bytes(request, labels, make_bench, tmp_path, format):
    full = request.getfixturevalue(labels)
    first, second = (tmp_path / folder / FORMATS[format] for folder in ("first", "second"))
    count = transfer.export_labels(full.store, first, format)
    empty = make_bench("empty")
    report = transfer.import_file(empty.store, first, format=format)
    assert report.labels > 0
    assert transfer.export_labels(empty.store, second, format) == count
    files = [first] if first.is_file() else sorted(p for p in first.rglob("*") if p.is_file())
    assert files
    for file in files:
        twin = tmp_path / "second" / file.relative_to(tmp_path / "first")
        assert twin.read_bytes() == file.read_bytes()
    again = transfer.import_file(empty.store, first, format=format)
    assert (again.labels, again.known) == (0, report.labels), "nothing comes in twice"
    assert maintenance.verify(empty.store).good


@pytest.mark.parametrize("format", [f for f in FORMATS if f != "demonstrations"])
def test_auto_tells_the_format(full, make_bench, tmp_path, format):
    path = tmp_path / FORMATS[format]
    transfer.export_labels(full.store, path, format)
    by_hand, by_itself = make_bench("by_hand"), make_bench("by_itself")
    expected = transfer.import_file(by_hand.store, path, format=format)
    assert transfer.import_file(by_itself.store, path) == expected


def test_ranks_come_in_dense_and_their_numbers_are_kept(odd, tmp_path):
    transfer.export_labels(odd.store, tmp_path / "l.jsonl", "native")
    first = json.loads((tmp_path / "l.jsonl").read_bytes().splitlines()[0])["completions"]
    assert [(a["rank"], a.get("clicked")) for a in first] == [(1, None), (1, None), (2, 5)]


def test_trl_keeps_sets_of_one_prompt_apart(odd, tmp_path):
    transfer.export_labels(odd.store, tmp_path / "p.jsonl", "trl")
    found = list(read_rankings(tmp_path / "p.jsonl"))
    # By hand: ann's first two sets, two of nobody known, ann's last; the set of ties has no pair.
    assert [(r.labeler, "".join(c.text for c in r.completions)) for r in found] == [
        ("ann", "abc"),
        ("ann", "def"),
        (None, "bca"),
        (None, "bca"),
        ("ann", "ab"),
    ]
    assert [[c.rank for c in r.completions] for r in found[:2]] == [[1, 1, 2], [1, 2, 3]]
    assert [r.id for r in found] == ["r", "r#2", "r", "r#2", "r#2#2"]


def test_native_holds_history_the_others_what_stands(full, tmp_path):
    counts = {
        name: transfer.export_labels(full.store, tmp_path / file, name)
        for name, file in FORMATS.items()
    }
    # By hand: two rankings of r1, each corrected once, a skip, a late ranking, a demonstration.
    assert counts["native"] == 7
    assert counts["parquet"] == counts["argilla"] == counts["labelstudio"] == 5
    assert (counts["rankings"], counts["demonstrations"]) == (3, 1)


def test_the_export_is_what_training_reads(full, tmp_path):
    transfer.export_labels(full.store, tmp_path / "r.jsonl", "rankings")
    transfer.export_labels(full.store, tmp_path / "d.jsonl", "demonstrations")
    rankings = list(read_rankings(tmp_path / "r.jsonl"))
    assert [ranking.id for ranking in rankings] == ["r1", "r1", "r2"]
    # Of r1's five answers two are copies: four are shown, ranked 1 1 5 9, which is dense 1 1 2 3.
    for ranking in rankings[:2]:
        rank_of = {answer.text: answer.rank for answer in ranking.completions}
        assert sorted(rank_of.values()) == [1, 1, 2, 3]
        assert [a.rank for a in ranking.completions if a.text == "a"] == [rank_of["a"]] * 2
    assert rankings[0].author_id == "ann o'x"
    [demonstration] = read_demonstrations(tmp_path / "d.jsonl")
    assert demonstration.completion == "Mine.\n\u2028\n"


def test_trl_pairs_leave_ties_out_and_say_the_gap(full, tmp_path):
    transfer.export_labels(full.store, tmp_path / "r.jsonl", "rankings")
    transfer.export_labels(full.store, tmp_path / "p.jsonl", "trl")
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_bytes().splitlines()]
    # Four answers with ranks 1 1 2 3: 5 untied pairs with gaps 1 1 1 2 2; two with ranks 1 2: one.
    assert Counter(row["margin"] for row in rows) == {1.0: 3 + 3 + 1, 2.0: 2 + 2}
    assert {row["group_id"] for row in rows} == {"r1", "r2"}


def test_parquet_has_the_columns_that_the_docs_promise(full, tmp_path):
    transfer.export_labels(full.store, tmp_path / "l.parquet", "parquet")
    rows = pq.read_table(tmp_path / "l.parquet").to_pylist()
    skipped = [row for row in rows if row["skipped"]]
    assert [row["skipped"] for row in skipped] == ["language"]
    ranked = rows[0]
    assert ranked["split"] in ("train", "heldout")
    assert ranked["group_id"] == "r1"
    assert sorted(r["display_position"] for r in ranked["responses"]) == [0, 1, 2, 3, 4]
    assert len(ranked["ranks"]) == 5


def test_argilla_keeps_ties_in_questions_of_their_own(full, tmp_path):
    transfer.export_labels(full.store, tmp_path / "folder", "argilla")
    record = json.loads((tmp_path / "folder" / "records.json").read_text("utf-8"))[0]
    ranks = [record["responses"][f"rank_{n}"][0]["value"] for n in range(1, 6)]
    assert min(ranks) == 1
    assert len(set(ranks)) < 5, "ties are there"
    settings = json.loads((tmp_path / "folder" / ".argilla" / "settings.json").read_text("utf-8"))
    names = [question["name"] for question in settings["questions"]]
    assert names[:3] == ["rank_1", "likert_1", "flags_1"]
    assert len(settings["questions"][2]["settings"]["options"]) == 11
    user = {given["user_id"] for given in record["responses"]["rank_1"]}
    assert len(user) == 1


def test_label_studio_puts_ties_into_one_bucket(full, tmp_path):
    transfer.export_labels(full.store, tmp_path / "t.json", "labelstudio")
    first = json.loads((tmp_path / "t.json").read_text("utf-8"))[0]
    ranker = next(r for r in first["annotations"][0]["result"] if r["type"] == "ranker")
    buckets = ranker["value"]["ranker"]
    assert sorted(chain(*buckets.values())) == ["a", "b", "c", "d", "e"]
    assert max(len(items) for items in buckets.values()) >= 2
    assert '<Bucket name="rank_5"' in (tmp_path / "t.xml").read_text("utf-8")


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_label_studios_own_rankings_and_pairs(bench, tmp_path):
    ranked = {
        "id": 7,
        "data": {
            "prompt": "P?",
            "items": [{"id": n, "body": f"body {n}"} for n in ("x", "y", "z")],
        },
        "annotations": [
            {
                "completed_by": 3,
                "result": [
                    {"type": "ranker", "value": {"ranker": {"rank_1": ["z"], "rank_3": ["x", "y"]}}}
                ],
            }
        ],
    }
    pair = {
        "id": 8,
        "data": {"prompt": "Q?", "answer1": "left", "answer2": "right"},
        "annotations": [{"result": [{"type": "pairwise", "value": {"selected": "right"}}]}],
    }
    (tmp_path / "ls.json").write_text(json.dumps([ranked, pair]), "utf-8")
    assert transfer.import_file(bench.store, tmp_path / "ls.json").labels == 2
    transfer.export_labels(bench.store, tmp_path / "out.jsonl", "rankings")
    first, second = read_rankings(tmp_path / "out.jsonl")
    assert {c.text: c.rank for c in first.completions} == {"body x": 2, "body y": 2, "body z": 1}
    assert first.labeler == "label-studio-3"
    assert {c.text: c.rank for c in second.completions} == {"left": 2, "right": 1}


def test_label_studios_skips_and_repeats(bench, tmp_path):
    """A cancelled annotation is left out, an unsorted item has no rank, copies have one id each."""
    items = [{"id": 1, "body": "one"}, {"id": 2, "body": "two"}]
    ranker = lambda buckets: [{"type": "ranker", "value": {"ranker": buckets}}]  # noqa: E731
    annotations = [
        {"completed_by": {"id": 4, "email": "ann@x.org"}, "result": [], "was_cancelled": True},
        {"completed_by": {"id": 5, "email": "bob@x.org"}, "was_cancelled": False}
        | {"result": ranker({"_": [], "rank_1": [], "rank_2": [2], "rank_4": [1]})},
    ]
    ranked = {"id": 7, "data": {"prompt": "P?", "items": items}, "annotations": annotations}
    bare = ranked | {"annotations": []}
    (tmp_path / "ls.json").write_text(json.dumps([ranked, bare]), "utf-8")
    report = transfer.import_file(bench.store, tmp_path / "ls.json")
    assert (report.labels, report.left_out) == (1, {"skipped": 1, "not labeled": 1})
    transfer.export_labels(bench.store, tmp_path / "out.jsonl", "rankings")
    [ranking] = read_rankings(tmp_path / "out.jsonl")
    assert ranking.labeler == "label-studio-5"
    assert {c.text: c.rank for c in ranking.completions} == {"one": 2, "two": 1}


@pytest.mark.parametrize("format", ["labelstudio", "argilla"])
def test_what_others_add_to_our_tasks_is_theirs(full, make_bench, tmp_path, format):
    """A second annotation of a task of ours is a label of its own, of the other person."""
    path = tmp_path / FORMATS[format]
    transfer.export_labels(full.store, path, format)
    file = path / "records.json" if format == "argilla" else path
    task = json.loads(file.read_text("utf-8"))[0]
    if format == "argilla":
        for number in range(1, 6):
            task["responses"][f"rank_{number}"].append({"value": number, "user_id": "else"})
    else:
        buckets = {f"rank_{place}": [item] for place, item in enumerate("abcde", start=1)}
        ranked = {"type": "ranker", "value": {"ranker": buckets}}
        task["annotations"].append({"completed_by": 9, "result": [ranked]})
    file.write_text(json.dumps([task]), "utf-8")
    empty = make_bench("empty")
    assert transfer.import_file(empty.store, path).labels == 2
    transfer.export_labels(empty.store, tmp_path / "out.jsonl", "rankings")
    ours, theirs = read_rankings(tmp_path / "out.jsonl")
    assert [c.rank for c in theirs.completions] == [1, 2, 3, 4, 5]
    assert theirs.labeler == ("else" if format == "argilla" else "label-studio-9")
    assert max(c.rank for c in ours.completions) == 3
    assert ours.labeler != theirs.labeler


def test_argilla_gives_each_person_their_own(bench, tmp_path):
    """Answers to one question come in any order, and not from everybody."""
    said = lambda user, value: {"user_id": user, "value": value}  # noqa: E731
    record = {
        "id": "rec",
        "fields": {"prompt": "P?", "answer_1": "one", "answer_2": "two", "answer_3": None},
        "responses": {
            "rank_1": [said("uA", 1), said("uB", 2)],
            "rank_2": [said("uB", 1), said("uA", 2)],
            "likert_1": [said("uB", 2), said("uC", 5)],
            "flags_1": [said("uB", ["opinion"])],
        },
    }
    (tmp_path / "records.json").write_text(json.dumps([record]), "utf-8")
    report = transfer.import_file(bench.store, tmp_path)
    assert (report.labels, report.left_out) == (2, {"not ranked": 1})
    transfer.export_labels(bench.store, tmp_path / "out.jsonl", "rankings")
    found = {r.labeler: r.completions for r in read_rankings(tmp_path / "out.jsonl")}
    assert [(c.text, c.rank, c.rating, c.flags) for c in found["uA"]] == [
        ("one", 1, None, None),
        ("two", 2, None, None),
    ]
    assert [(c.text, c.rank, c.rating, c.flags) for c in found["uB"]] == [
        ("one", 2, 2, ["opinion"]),
        ("two", 1, None, None),
    ]


def test_an_argilla_folder_that_was_answered_there(bench, tmp_path):
    record = {
        "id": "rec",
        "fields": {"prompt": "P?", "answer_1": "one", "answer_2": "two"},
        "responses": {
            "rank_1": [{"value": 2, "user_id": "u1"}, {"value": 1, "user_id": "u2"}],
            "rank_2": [{"value": 1, "user_id": "u1"}, {"value": 1, "user_id": "u2"}],
        },
    }
    (tmp_path / "records.json").write_text(json.dumps([record]), "utf-8")
    assert transfer.import_file(bench.store, tmp_path).labels == 2
    transfer.export_labels(bench.store, tmp_path / "out.jsonl", "rankings")
    found = [
        (r.labeler, {c.text: c.rank for c in r.completions})
        for r in read_rankings(tmp_path / "out.jsonl")
    ]
    assert found == [("u1", {"one": 2, "two": 1}), ("u2", {"one": 1, "two": 1})]


def test_rankings_of_one_set_by_several_labelers_are_one_task(bench, tmp_path):
    answers = [{"text": "a", "rank": 1}, {"text": "b", "rank": 2}]
    row = {"id": "p", "prompt": [{"role": "user", "content": "P?"}], "completions": answers}
    rows = [
        {**row, "labeler": "l1"},
        {**row, "labeler": "l2", "completions": [answers[1], {"text": "a", "rank": 2}]},
    ]
    report = transfer.import_file(bench.store, write_lines(tmp_path / "r.jsonl", rows))
    assert report.labels == 2
    [task] = tasks.list_tasks(bench.store)
    assert (task.need, task.done, task.status) == (2, 2, "done")
    first, second = tasks.find_task(bench.store, task.id).labels
    assert [c.rank for c in first.completions] == [1, 2]
    assert [(c.text, c.rank) for c in second.completions] == [("a", 1), ("b", 1)], "dense"


def test_candidates_become_tasks_once(bench, tmp_path):
    message = [{"role": "user", "content": "P?"}]
    rows = [
        {"id": "p", "prompt": message, "completions": [{"text": "a", "model": "m"}, "b"]},
        {"id": "q", "prompt": "Q?", "answers": ["c", "d", "e"], "author_id": "x", "consent": True},
    ]
    path = write_lines(tmp_path / "c.jsonl", rows)
    unscrubbed = Manner(scrubbing="none")
    assert transfer.import_file(bench.store, path, manner=unscrubbed).tasks == 2
    assert transfer.import_file(bench.store, path, manner=unscrubbed).known == 2
    somebody = bench.person()
    assert {a.text for a in bench.lease(somebody).answers} == {"a", "b"}
    with reading(bench.store) as connection:
        authors = list(connection.execute(prompts.select()).scalars("author_id"))
    assert authors == [None, "x"]


def test_bare_prompts_ask_for_demonstrations(bench, tmp_path):
    rows = [{"prompt": "P?"}, {"prompt": "Q?"}]
    path = write_lines(tmp_path / "p.jsonl", rows)
    assert transfer.import_file(bench.store, path, manner=Manner(ask=False)).prompts == 2
    assert isinstance(bench.lease(bench.person()), NoTask)
    transfer.import_file(bench.store, path)
    assert bench.lease(bench.person()).kind == "demonstration"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"prompt": "P?", "completions": ["only one"]},
            r"c.jsonl:2: completions: expected at least",
        ),
        ({"prompt": "P?", "completions": [{"txt": "a"}, "b"]}, r"c.jsonl:2: completions\.t"),
        ({"prompt": 3, "completions": ["a", "b"]}, r"c.jsonl:2: prompt"),
    ],
)
def test_a_bad_row_is_named_by_its_place(bench, tmp_path, row, said):
    good = {"id": "g", "prompt": "G?", "completions": ["a", "b"]}
    with pytest.raises(UserError, match=said):
        transfer.import_file(bench.store, write_lines(tmp_path / "c.jsonl", [good, row]))


TASK = {"data": {"prompt": "P?", "items": [{"id": "a", "body": "x"}, {"id": "b", "body": "y"}]}}
RESULT = {"type": "ranker", "value": {"ranker": {"rank_1": ["a", "b"]}}}
RECORD = {"fields": {"prompt": "P?"}, "responses": {"rank_1": [{"value": 1, "user_id": "u"}]}}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, r"f.json: expected a JSON array of records, got None"),
        ({"data": {}}, r"f.json: expected a JSON array"),
        (["x"], r"f.json: task 1: row: .*got 'x'"),
        ([TASK], r"task 1: annotations: expected a value, got nothing"),
        ([TASK | {"annotations": [{}]}], r"task 1: annotations.0.result: expected a value"),
        ([TASK | {"annotations": [{"result": ["x"]}]}], r"annotations.0.result.0: .*got 'x'"),
        ([TASK | {"annotations": [{"result": []}]}], r"task 1: .*a rank for every answer"),
        (
            [{"data": {"prompt": "P?", "items": [{"id": 1}]}, "annotations": [{"result": []}]}],
            r"task 1: data: items.0.body: expected a value, got nothing",
        ),
        (
            [{"data": {"prompt": "P?", "items": ["x", "y"]}, "annotations": [{"result": []}]}],
            r"task 1: data: items.0: .*dictionary.*got 'x'",
        ),
        (
            [{"data": {"prompt": "P?"}, "annotations": [{"result": []}]}],
            r"task 1: data: expected items, or answer1 and answer2, got prompt",
        ),
        (
            [TASK | {"annotations": [{"result": [RESULT | {"value": {"ranker": {"rank_1": 5}}}]}]}],
            r"task 1: rank_1: expected a list of items, got 5",
        ),
        (
            [TASK | {"annotations": [{"result": []}], "meta": {"trivium": {"completions": ["x"]}}}],
            r"task 1: meta.trivium: completions.0: .*got 'x'",
        ),
        (
            [TASK | {"annotations": [{"result": []}], "meta": {"trivium": 3}}],
            r"task 1: meta.trivium: row: .*got 3",
        ),
    ],
)
def test_a_bad_label_studio_file_is_one_line(bench, tmp_path, found, said):
    (tmp_path / "f.json").write_text(json.dumps(found), "utf-8")
    with pytest.raises(UserError, match=said) as refused:
        transfer.import_file(bench.store, tmp_path / "f.json")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, r"records.json: expected a JSON array"),
        ([RECORD | {"fields": {"answer_1": "x"}}], r"record 1: fields.prompt: .*got nothing"),
        ([RECORD | {"fields": {"prompt": 3}}], r"record 1: fields.prompt: .*got 3"),
        ([RECORD | {"fields": None}], r"record 1: fields: .*got None"),
        ([RECORD | {"responses": {"rank_1": [3]}}], r"record 1: responses.rank_1.0: .*got 3"),
        ([RECORD | {"metadata": {"trivium": "{"}}], r"record 1: metadata.trivium: expected our"),
        ([RECORD | {"metadata": {"trivium": "3"}}], r"record 1: metadata.trivium: row: .*got 3"),
        (
            [RECORD | {"metadata": {"trivium": '{"completions": ["x"]}'}}],
            r"record 1: metadata.trivium: completions.0: .*got 'x'",
        ),
        ([RECORD], r"record 1: row: expected at least two answers"),
    ],
)
def test_a_bad_argilla_record_is_one_line(bench, tmp_path, found, said):
    (tmp_path / "records.json").write_text(json.dumps(found), "utf-8")
    with pytest.raises(UserError, match=said) as refused:
        transfer.import_file(bench.store, tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("change", [{"saved_ms": 10**30}, {"lead_time_ms": 10**30}])
def test_a_number_that_no_column_holds_is_one_line(full, bench, tmp_path, change):
    transfer.export_labels(full.store, tmp_path / "l.jsonl", "native")
    row = json.loads((tmp_path / "l.jsonl").read_bytes().splitlines()[0]) | change
    path = write_lines(tmp_path / "wrong.jsonl", [row])
    [name] = change
    with pytest.raises(UserError, match=rf"wrong.jsonl:1: {name}: .*got 10000"):
        transfer.import_file(bench.store, path)


@pytest.mark.parametrize("end", ["", "-wal", "-shm", "-journal"])
def test_an_export_spares_the_store_itself(bench, end):
    if bench.store.engine.dialect.name == "sqlite":
        own = Path(bench.store.engine.url.database + end)
        before = own.read_bytes() if own.exists() else None
        for path in (own, own.parent / "." / own.name):
            with pytest.raises(UserError, match="a file of the store itself; give another path"):
                transfer.export_labels(bench.store, path, "native")
        assert (own.read_bytes() if own.exists() else None) == before
    with pytest.raises(UserError, match="a file of the store itself"):
        transfer.export_labels(bench.store, bench.store.journal, "rankings")


def test_argilla_is_refused_whole(bench, tmp_path):
    """Its ratings go up to ten: nothing is written for a set of eleven."""
    answers = [{"text": f"a{n}", "rank": n} for n in range(1, 12)]
    row = {"id": "p", "prompt": "P?", "completions": answers}
    transfer.import_file(bench.store, write_lines(tmp_path / "r.jsonl", [row]))
    with pytest.raises(UserError, match="a set has 11 answers, and Argilla ranks up to 10"):
        transfer.export_labels(bench.store, tmp_path / "folder", "argilla")
    assert not (tmp_path / "folder").exists()


def test_a_download_is_one_file(full, tmp_path):
    for format in FORMATS:
        folder = tmp_path / f"download-{format}"
        folder.mkdir()
        path = transfer.export_download(full.store, folder, format)
        assert path.is_file()
        if format in ("argilla", "labelstudio"):
            assert zipfile.ZipFile(path).testzip() is None
    with pytest.raises(UserError, match="format: expected one of"):
        transfer.export_download(full.store, tmp_path, "../../etc")


def test_pairs_of_the_export_are_those_of_its_rankings(full, tmp_path):
    """No answer of `full`'s second set is a copy, so its pairs are plainly `to_trl_pairs`."""
    transfer.export_labels(full.store, tmp_path / "r.jsonl", "rankings")
    transfer.export_labels(full.store, tmp_path / "p.jsonl", "trl")
    last = list(read_rankings(tmp_path / "r.jsonl"))[-1]
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_bytes().splitlines()]
    assert rows[-1:] == to_trl_pairs(last)
