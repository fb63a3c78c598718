"""Handing in: once, whatever happens; late, again, as a correction; and what the journal says."""

import json
import uuid

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from trivium.errors import UserError
from trivium.labels import DemonstrationSheet, Judgement, RankingSheet
from trivium.store import leases, maintenance, submit, tasks
from trivium.store.database import writing


def journal_lines(bench):
    content = bench.store.journal.read_bytes()
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content.splitlines()]


def one_answered(bench, **how):
    ann = bench.person()
    task = bench.task()
    lease = bench.lease(ann)
    return ann, task, lease, bench.rank(ann, lease, **how)


def test_a_label_is_in_the_journal_when_its_receipt_is_given(bench):
    _, task, lease, receipt = one_answered(bench)
    [line] = journal_lines(bench)
    assert line["submission_id"] == receipt.submission_id
    assert (receipt.task_id, receipt.late, receipt.counted, receipt.repeated) == (
        task,
        False,
        True,
        False,
    )
    assert (bench.row(task).taken, bench.row(task).done, bench.row(task).status) == (1, 1, "done")
    # Shown in the order A, B, C and ranked so: the stored ranks follow the texts shown.
    by_text = {answer["text"]: answer["rank"] for answer in line["completions"]}
    assert [by_text[answer.text] for answer in lease.answers] == [1, 2, 3]


def test_the_same_submission_again_gives_the_first_receipt(bench):
    ann, task, lease, receipt = one_answered(bench)
    bench.later(5)
    again = bench.rank(ann, lease, submission=receipt.submission_id)
    assert again.repeated
    assert (again.label_id, again.saved_ms) == (receipt.label_id, receipt.saved_ms)
    assert len(journal_lines(bench)) == 1
    assert bench.row(task).done == 1


def test_another_label_under_the_same_id_is_a_revision_saved_once(bench):
    ann, task, lease, first = one_answered(bench)
    name = first.submission_id
    backwards = {"A": 3, "B": 2, "C": 1}
    second = bench.rank(ann, lease, backwards, submission=name)
    assert (second.repeated, second.revises) == (False, first.label_id)
    again = bench.rank(ann, lease, backwards, submission=name)
    assert (again.repeated, again.label_id) == (True, second.label_id)
    assert bench.rank(ann, lease, submission=name).label_id == first.label_id
    skip = bench.skip(ann, lease, submission=name)
    assert bench.skip(ann, lease, submission=name).label_id == skip.label_id
    old, new, skipped = journal_lines(bench)
    by_text = {answer["text"]: answer["rank"] for answer in new["completions"]}
    assert [by_text[answer.text] for answer in lease.answers] == [3, 2, 1]
    assert (old["submission_id"], new["supersedes"]) == (name, name)
    assert skipped["skip"] == {"reason": "unclear"}
    assert len({line["submission_id"] for line in (old, new, skipped)}) == 3
    assert bench.row(task).skips == 1
    assert maintenance.verify(bench.store).good


def test_a_label_sent_again_may_have_taken_longer(bench):
    ann = bench.person()
    bench.task(texts=None)
    lease, name = bench.lease(ann), str(uuid.uuid4())
    for lead_time_ms in (1000, 9000):
        sheet = DemonstrationSheet(completion="Rain.", lead_time_ms=lead_time_ms)
        submit.submit_demonstration(bench.store, ann, lease.id, sheet, submission_id=name)
    [line] = journal_lines(bench)
    assert line["lead_time_ms"] == 1000


def test_another_label_on_the_same_task_is_a_revision(bench):
    ann, task, lease, first = one_answered(bench)
    second = bench.rank(ann, lease, {"A": 1, "B": 1, "C": 4})
    assert second.revises == first.label_id
    assert (bench.row(task).taken, bench.row(task).done) == (1, 1)
    old, new = journal_lines(bench)
    assert new["supersedes"] == old["submission_id"]
    assert sorted(a["rank"] for a in new["completions"]) == [1, 1, 2], "1, 1, 4 is dense 1, 1, 2"
    assert [a["clicked"] for a in new["completions"] if a["rank"] == 2] == [4]
    newest, oldest = submit.labels_of(bench.store, ann)
    assert (newest.id, oldest.id) == (second.label_id, first.label_id)


def test_identical_answers_come_back_as_ties(bench):
    ann = bench.person()
    bench.task(texts=["same", "other", "same"])
    lease = bench.lease(ann)
    bench.rank(ann, lease, {"A": 1, "B": 2})
    [line] = journal_lines(bench)
    ranks = {lease.answers[0].text: 1, lease.answers[1].text: 2}
    assert [a["rank"] for a in line["completions"]] == [ranks[t] for t in ("same", "other", "same")]


def test_a_late_label_is_kept_and_counts_if_the_task_lacks_one(bench):
    ann, bob, task = bench.person(), bench.person(), bench.task()
    lease = bench.lease(ann)
    bench.later(31)
    leases.sweep(bench.store, now_ms=bench.now_ms)
    late = bench.rank(ann, lease)
    assert (late.late, late.counted, bench.row(task).done) == (True, True, 1)
    assert bench.lease(bob).reason == "empty"


def test_a_late_label_is_kept_even_if_somebody_else_was_faster(bench):
    ann, bob, task = bench.person(), bench.person(), bench.task()
    lease = bench.lease(ann)
    bench.later(31)
    bench.rank(bob, bench.lease(bob))
    late = bench.rank(ann, lease)
    assert (late.late, late.counted) == (True, False)
    assert (bench.row(task).taken, bench.row(task).done) == (1, 1)
    assert len(journal_lines(bench)) == 2


def test_a_label_after_a_skip_and_a_skip_after_a_label(bench):
    ann, task = bench.person(), bench.task()
    lease = bench.lease(ann)
    bench.skip(ann, lease)
    assert (bench.row(task).taken, bench.row(task).done) == (0, 0)
    bench.rank(ann, lease)
    assert (bench.row(task).taken, bench.row(task).done) == (1, 1)
    bench.skip(ann, lease, reason="pii")
    assert (bench.row(task).taken, bench.row(task).done) == (0, 0)
    assert journal_lines(bench)[2]["skip"] == {"reason": "pii"}


def test_a_demonstration_is_kept_to_the_letter(bench):
    ann = bench.person()
    bench.task(texts=None)
    words = '  Zeilen\n\nund \u2028 Zeichen \U0001f600 \\ " </script>\t'
    bench.write(ann, bench.lease(ann), words)
    assert journal_lines(bench)[0]["completion"] == words


def test_not_rankable_keeps_ratings_without_ranks(bench):
    ann = bench.person()
    bench.task()
    lease = bench.lease(ann)
    sheet = RankingSheet(
        judgements=[Judgement(key=a.key, rating=3) for a in lease.answers], not_rankable=True
    )
    submit.submit_ranking(bench.store, ann, lease.id, sheet, submission_id=str(uuid.uuid4()))
    [line] = journal_lines(bench)
    assert line["not_rankable"]
    assert [answer["rating"] for answer in line["completions"]] == [3, 3, 3]
    assert not any("rank" in answer for answer in line["completions"])


def test_contradictions_are_told_and_never_refused(bench):
    _, _, _, receipt = one_answered(
        bench, ranks={"A": 1, "B": 2, "C": 3}, ratings={"A": 3, "B": 4, "C": 5}
    )
    # Two points or more: C is rated 5, A, two ranks better, 3. B to A and to C: one point.
    assert receipt.contradictions == (("A", "C"),)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ranks": {"A": 1, "B": 2, "C": None}}, "answer C: expected a rank"),
        ({"ratings": {"A": None, "B": 1, "C": 1}}, "answer A: expected a rating from 1 to 7"),
        ({"flags": ["rude"]}, "unknown flag 'rude'"),
        ({"submission": "7"}, "expected a UUID, got '7'"),
    ],
)
def test_a_sheet_that_is_not_whole_is_refused_by_name(bench, change, said):
    ann = bench.person()
    task = bench.task()
    lease = bench.lease(ann)
    with pytest.raises(UserError, match=said):
        bench.rank(ann, lease, **change)
    assert (bench.row(task).taken, bench.row(task).done) == (1, 0)
    assert not bench.store.journal.exists() or not journal_lines(bench)


def test_a_sheet_of_another_kind_is_refused(bench):
    ann = bench.person()
    bench.task()
    lease = bench.lease(ann)
    with pytest.raises(UserError, match="expected a rank"):
        bench.write(ann, lease)


def test_a_submission_id_belongs_to_one_label(bench):
    ann, _, _, receipt = one_answered(bench)
    bench.task()
    with pytest.raises(UserError, match="names another label"):
        bench.rank(ann, bench.lease(ann), submission=receipt.submission_id)


@pytest.mark.parametrize("table", ["labels", "events"])
@pytest.mark.parametrize("verb", ["DELETE FROM {}", "UPDATE {} SET id = id + 100"])
def test_records_are_never_changed(bench, table, verb):
    one_answered(bench)
    refused = pytest.raises(DBAPIError, match=f"{table} are never changed")
    with refused, writing(bench.store) as connection:
        connection.execute(text(verb.format(table)))
    assert maintenance.verify(bench.store).good


def test_verify_finds_what_is_wrong(bench):
    for _ in range(3):
        one_answered(bench)
    assert maintenance.verify(bench.store).good
    first, second, third = bench.store.journal.read_bytes().splitlines(keepends=True)
    stranger = json.loads(first) | {"submission_id": "stranger"}
    changed = second.replace(b'"rank": 1', b'"rank": 2')
    rows = [first, first, changed, b"{}\n", json.dumps(stranger).encode() + b"\n", b'{"torn']
    bench.store.journal.write_bytes(b"".join(rows))
    found = maintenance.verify(bench.store)
    name = lambda line: json.loads(line)["submission_id"]  # noqa: E731
    assert not found.good
    assert found.repeated == (name(first),)
    assert found.different == (name(second),)
    assert found.missing_in_journal == (name(third),)
    assert found.missing_in_database == ("stranger",)
    assert found.unreadable == (4,)
    assert found.torn


def test_the_detail_of_a_task_shows_models_and_labels_to_admins(bench):
    _, task, _, receipt = one_answered(bench)
    found = tasks.find_task(bench.store, task)
    assert [answer.model for answer in found.answers] == ["model-0", "model-1", "model-2"]
    assert [line.submission_id for line in found.labels] == [receipt.submission_id]
