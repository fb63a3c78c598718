"""What labelers and admins do, as forms: nothing here needs a script."""

import random
import re
import time
from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivium.errors import UserError
from trivium.store import events, leases, people, statistics, submit, tasks
from trivium.store.people import Role
from trivium.store.settings import load_settings, save_settings
from trivium.web.difference import common_words, word_difference
from trivium.web.problems import status_of
from trivium.web.rendering import share, when
from trivium.web.server import check_secret


def checked(html: str) -> set[str]:
    """Names and values of everything that is ticked."""
    return {
        f"{name}={value}"
        for name, value in re.findall(r'name="([^"]+)" value="([^"]+)" checked', html)
    }


def problem(html: str) -> str:
    return re.search(r'role="alert">([^<]*)', html)[1]


def ranking(client):
    """Lease the next ranking task; its page."""
    page = client.get("/next?kind=rank")
    assert page.url.path.startswith("/tasks/")
    return page


def test_from_an_invitation_to_a_label(site, form):
    site.add_ranking()
    invite = people.create_invite(site.store, role=Role.LABELER)
    client = site.stranger()
    said = {"name": "newcomer", "passphrase": "quite a long one", "again": "quite a long one"}
    assert client.post(f"/invite/{invite.token}", data=said).url.path == "/"
    page = ranking(client)
    done = client.post(
        f"{page.url.path}/ranking", data=form(page.text, {"A": 2, "B": 1, "C": 2, "D": 4})
    )
    assert "Nothing to do right now" in done.text
    (label,) = submit.labels_of(site.store, 5)
    by_letter = [label.body["judgements"][place]["rank"] for place in label.body["order"]]
    assert by_letter == [2, 1, 2, 3]  # dense: nobody was third
    assert client.get(page.url.path).text.count(" checked") == 8


def test_what_is_missing_is_named_and_nothing_is_lost(site, form):
    site.add_ranking()
    client = site.client("ann")
    page = ranking(client)
    given = {**form(page.text, {"A": 1, "B": 2, "C": 2}), "rating.D": "7", "flag.B": ["opinion"]}
    refused = client.post(f"{page.url.path}/ranking", data=given)
    assert refused.status_code == 422
    assert problem(refused.text).startswith("answer D: expected a rank")
    kept = {"rank.A=1", "rank.B=2", "rank.C=2", "rating.D=7", "flag.B=opinion"}
    assert kept <= checked(refused.text)
    assert kept <= checked(client.get(page.url.path).text)  # and after the tab was closed


def test_a_draft_by_button(site, form):
    site.add_demonstration()
    client = site.client("ann")
    page = client.get("/next?kind=demonstration")
    given = {**form(page.text, {}), "completion": "Half a line <b>\r\nand more"}
    kept = client.post(f"{page.url.path}/draft", data=given)
    assert "kept as a draft" in kept.text
    assert kept.url.path == page.url.path
    assert "Half a line &lt;b&gt;" in client.get(page.url.path).text
    assert submit.labels_of(site.store, 1) == []


def test_an_older_draft_never_overwrites_a_newer_one(site, token):
    site.add_demonstration()
    client = site.client("ann")
    path = client.get("/next").url.path
    headers = {"X-CSRF-Token": token(client)}

    def put(sequence: int, text: str) -> dict:
        body = {"sequence": sequence, "body": {"completion": [text]}}
        return client.put(f"{path}/draft", json=body, headers=headers).json()

    assert put(7, "newer")["kept"]
    assert not put(6, "older")["kept"]
    assert "newer</textarea>" in client.get(path).text


def test_sending_twice_makes_one_label(site, form):
    site.add_ranking()
    client = site.client("ann")
    page = ranking(client)
    given = form(page.text, dict.fromkeys("ABCD", 1))
    json = {"Accept": "application/json"}
    first = client.post(f"{page.url.path}/ranking", data=given, headers=json).json()
    again = client.post(f"{page.url.path}/ranking", data=given, headers=json).json()
    assert first == again
    assert first["next"] == "/next?said=saved"
    assert len(submit.labels_of(site.store, 1)) == 1


def test_a_change_is_a_new_version(site, form):
    site.add_ranking()
    client = site.client("ann")
    page = ranking(client)
    client.post(f"{page.url.path}/ranking", data=form(page.text, {"A": 1, "B": 2, "C": 3, "D": 4}))
    again = client.get(page.url.path)
    assert {"rank.A=1", "rank.D=4", "rating.A=4"} <= checked(again.text)
    assert "Save the change" in again.text
    client.post(f"{page.url.path}/ranking", data=form(again.text, {"A": 4, "B": 3, "C": 2, "D": 1}))
    newest, oldest = submit.labels_of(site.store, 1)
    assert newest.revises == oldest.id
    assert {"rank.A=4", "rank.D=1"} <= checked(client.get(page.url.path).text)
    listed = client.get("/labels").text
    assert listed.count("Look or change") == 2
    assert listed.count("Why is the sea salt?") == 2
    assert client.get("/").text.count("Why is the sea salt?") == 2


def test_late_work_is_taken_all_the_same(site, form):
    site.add_demonstration()
    client = site.client("ann")
    page = client.get("/next")
    leases.give_back(site.store, 1, 1)
    assert "time for this task has run out" in client.get(page.url.path).text
    given = {**form(page.text, {}), "completion": "Rain."}
    json = {"Accept": "application/json"}
    assert client.post(f"{page.url.path}/demonstration", data=given, headers=json).json()["late"]
    assert submit.labels_of(site.store, 1)[0].body["completion"] == "Rain."


def test_line_ends_of_a_demonstration_are_those_of_text(site, form):
    site.add_demonstration()
    client = site.client("ann")
    page = client.get("/next")
    given = {**form(page.text, {}), "completion": "One.\r\nTwo.\0"}
    client.post(f"{page.url.path}/demonstration", data=given)
    assert submit.labels_of(site.store, 1)[0].body["completion"] == "One.\nTwo."


@pytest.mark.parametrize(
    ("letter", "count", "status"),
    [("a", 200_001, 422), ("\u4f60", 200_000, 200), ("\U0001f600", 200_000, 200)],
)
def test_the_longest_answer_fits_in_any_script(site, form, letter, count, status):
    """In a form one of these takes 1, 9 or 12 bytes."""
    site.add_demonstration()
    client = site.client("ann")
    page = client.get("/next")
    assert 'maxlength="200000"' in page.text
    given = {**form(page.text, {}), "completion": count * letter}
    json = {"Accept": "application/json"}
    done = client.post(f"{page.url.path}/demonstration", data=given, headers=json)
    assert done.status_code == status, done.text
    kept = [len(label.body["completion"]) for label in submit.labels_of(site.store, 1)]
    assert kept == ([count] if status == 200 else [])


def test_identical_answers_are_shown_once_and_tied(site, form):
    site.add_ranking(("Same.", "Other.", "Same."))
    client = site.client("ann")
    page = ranking(client)
    assert page.text.count("given 2 times") == 1
    same = "A" if page.text.index("Same.") < page.text.index("Other.") else "B"
    other = "AB".replace(same, "")
    client.post(f"{page.url.path}/ranking", data=form(page.text, {same: 2, other: 1}))
    (label,) = submit.labels_of(site.store, 1)
    assert [said["rank"] for said in label.body["judgements"]] == [2, 1, 2]
    assert {f"rank.{same}=2", f"rank.{other}=1"} <= checked(client.get(page.url.path).text)


def test_each_labeler_has_an_order_of_their_own_and_keeps_it(site):
    texts = [f"Answer {i}." for i in range(9)]
    site.add_ranking(texts, need=4)
    orders = []
    for name in ("ann", "bob", "rita", "boss"):
        client = site.client(name)
        shown = [re.findall(r'"words">(Answer \d)', ranking(client).text) for _ in range(2)]
        assert shown[0] == shown[1]
        orders.append(tuple(shown[0]))
    assert len(set(orders)) > 1  # all four alike: once in 9!^3


def test_a_set_that_cannot_be_ranked(site, form):
    site.add_ranking()
    client = site.client("ann")
    page = ranking(client)
    given = {**form(page.text, dict.fromkeys("ABCD", 1)), "do": "not_rankable"}
    client.post(f"{page.url.path}/ranking", data=given)
    (label,) = submit.labels_of(site.store, 1)
    assert label.body["not_rankable"]
    assert not [said for said in label.body["judgements"] if "rank" in said]


def test_skip_with_a_reason(site, form):
    site.add_ranking()
    client = site.client("ann")
    page = ranking(client)
    given = {**form(page.text, {}), "submission_id": str(uuid4())}
    refused = client.post(f"{page.url.path}/skip", data=given)
    assert "reason" in problem(refused.text)
    client.post(f"{page.url.path}/skip", data={**given, "reason": "pii", "note": "A phone number"})
    (label,) = submit.labels_of(site.store, 1)
    assert (label.skipped, label.body["skip"], label.body["note"]) == (
        True,
        "pii",
        "A phone number",
    )


def test_a_flag_reaches_the_admins_and_the_task_stays(site, form):
    site.add_ranking()
    client = site.client("ann")
    page = ranking(client)
    given = {**form(page.text, {}), "reason": "unsafe", "note": "Look at this"}
    told = client.post(f"{page.url.path}/flag", data=given)
    assert "task is still yours" in told.text
    assert told.url.path == page.url.path  # where a reload asks for a page, not for a form
    assert client.get(f"{page.url.path}/flag").url.path == page.url.path
    assert events.list_events(site.store)[0].task_id == 1
    boss = site.client("boss")
    site.add_ranking(prompt="Another?")
    assert "Look at this" in boss.get("/admin").text
    assert "Look at this" in boss.get("/admin/tasks/1").text
    assert "want to read or answer this" in boss.get("/admin/tasks/1").text  # the reason's text
    assert "What labelers told" not in boss.get("/admin/tasks/2").text
    flagged = boss.get("/admin?flagged=true").text.split("Lately")[0]
    assert re.findall(r'href="/admin/tasks/(\d+)"', flagged) == ["1"]
    assert re.search(r"Flagged by labelers</dt><dd>(\d+)", flagged)[1] == "1"
    assert ranking(client).url.path == page.url.path


def test_a_settled_flag_leaves_the_queue_until_the_next(site, form):
    site.add_ranking()
    client, boss = site.client("ann"), site.client("boss")
    page = ranking(client)
    given = {**form(page.text, {}), "note": "Look at this"}

    def flagged() -> tuple[str, list[str]]:
        text = boss.get("/admin?flagged=true").text.split("Lately")[0]
        count = re.search(r"Flagged by labelers</dt><dd>(\d+)", text)[1]
        return count, re.findall(r'href="/admin/tasks/(\d+)"', text)

    client.post(f"{page.url.path}/flag", data=given)
    client.post(f"{page.url.path}/flag", data=given)
    assert flagged() == ("1", ["1"])
    given_by_boss = {**form(boss.get("/admin/tasks/1").text, {}), "do": "settle"}
    settled = boss.post("/admin/tasks/1", data=given_by_boss)
    assert "Settled" in settled.text
    assert "by boss" in settled.text
    assert "Look at this" in settled.text  # what was told stays to be read
    assert flagged() == ("0", [])
    client.post(f"{page.url.path}/flag", data=given)
    assert flagged() == ("1", ["1"])
    assert "by boss" not in boss.get("/admin/tasks/1").text
    assert "Task 7: not found" in boss.post("/admin/tasks/7", data=given_by_boss).text


def test_a_flag_without_a_word_is_refused(site, form):
    site.add_ranking()
    client = site.client("ann")
    page = ranking(client)
    given = {**form(page.text, {}), "reason": "made_up", "note": "  "}
    refused = client.post(f"{page.url.path}/flag", data=given)
    assert refused.status_code == 422
    assert problem(refused.text).startswith("Tick a reason or write a note")
    assert "flag" not in [event.action for event in events.list_events(site.store)]


def test_what_happened_to_the_last_task_is_said_quietly(site, form):
    for prompt in ("One?", "Two?"):
        site.add_ranking(("a", "b"), prompt=prompt)
    client = site.client("ann")
    page = ranking(client)
    done = client.post(f"{page.url.path}/ranking", data=form(page.text, {"A": 1, "B": 2}))
    assert '<span class="saved" id="saved" role="status">the last one is saved</span>' in done.text
    given = {**form(done.text, {}), "reason": "pii"}
    skipped = client.post(f"{done.url.path}/skip", data=given)
    assert "The last one is skipped." in skipped.text
    assert "or are ones you have done or skipped" in skipped.text
    skip = site.client("boss").get("/admin/tasks/2").text
    assert "skipped: It names a private person or their data" in skip
    assert "<b>" not in client.get("/next?said=<b>x</b>").text


def test_refusals_are_sentences(site):
    client = site.client("ann")
    wrong = client.get("/logout")
    assert wrong.status_code == 405
    assert "This address takes only what a form sends" in wrong.text
    assert wrong.text.count("Method Not Allowed") == 2  # title and heading
    assert "There is no such page" in client.get("/nowhere").text


def test_the_time_spent_is_stored(site, form):
    site.add_ranking()
    client = site.client("ann")
    page = ranking(client)
    given = {**form(page.text, dict.fromkeys("ABCD", 1)), "lead_ms": "4321"}
    client.post(f"{page.url.path}/ranking", data=given)
    assert submit.labels_of(site.store, 1)[0].body["lead_time_ms"] == 4321


def test_no_more_than_the_daily_cap(site, form):
    site.add_ranking(prompt="One?")
    site.add_ranking(prompt="Two?")
    save_settings(
        site.store, load_settings(site.store).model_copy(update={"daily_cap": 1}), by=None
    )
    client = site.client("ann")
    page = ranking(client)
    assert "of 1 today" in page.text
    done = client.post(f"{page.url.path}/ranking", data=form(page.text, dict.fromkeys("ABCD", 1)))
    assert "That was it for today" in done.text


def test_older_labels_are_on_the_next_page(site, form):
    for i in range(51):
        site.add_ranking(("a", "b"), prompt=f"{i}?")
        page = leases.lease_next(site.store, 1)
        sheet = submit.SkipSheet(reason="other")
        submit.submit_skip(site.store, 1, page.id, sheet, submission_id=str(uuid4()))
    client = site.client("ann")
    first = client.get("/labels").text
    assert first.count("Look or change") == 50
    older = re.search(r'href="(/labels\?before=\d+)"', first)[1]
    assert client.get(older).text.count("Look or change") == 1


# Admins


def test_an_admin_invites_and_the_address_is_shown_once(site, token):
    boss = site.client("boss")
    given = {"token": token(boss), "role": "reviewer", "name": "carol"}
    shown = boss.post("/admin/people/invite", data=given).text
    address = re.search(r'value="(http://[^"]+/invite/[^"]+)"', shown)[1]
    assert "as a reviewer" in site.stranger().get(address).text
    page = boss.get("/admin/people").text
    assert address not in page
    revoke = re.search(r'action="(/admin/people/invites/\d+/revoke)"', page)[1]
    boss.post(revoke, data={"token": token(boss)})
    assert site.stranger().get(address).status_code == 404


def test_an_admin_changes_roles_caps_and_keys(site, token):
    boss = site.client("boss")
    sent = {"token": token(boss)}
    boss.post("/admin/people/1", data={**sent, "do": "role", "role": "reviewer"})
    boss.post("/admin/people/1", data={**sent, "do": "cap", "cap": "12"})
    ann = people.find_person(site.store, 1)
    assert (ann.role, ann.daily_cap) == (Role.REVIEWER, 12)
    boss.post("/admin/people/1", data={**sent, "do": "cap", "cap": ""})
    assert people.find_person(site.store, 1).daily_cap is None
    for wrong in ({"do": "cap", "cap": "-3"}, {"do": "role", "role": "king"}, {"do": "nothing"}):
        assert boss.post("/admin/people/1", data={**sent, **wrong}).status_code == 422
    assert boss.post("/admin/people/99", data={**sent, "do": "let_in"}).status_code == 404
    shown = boss.post("/admin/people/keys", data={**sent, "name": "app"}).text
    assert re.search(r'value="([^"]{40,})" aria-label="Intake key"', shown)
    boss.post("/admin/people/keys/1/revoke", data=sent)
    assert "/admin/people/keys/1/revoke" not in boss.get("/admin/people").text


def test_an_admin_opens_closes_and_moves_a_task(site, token):
    site.add_ranking()
    boss = site.client("boss")
    for change in (
        {"do": "need", "need": "3"},
        {"do": "priority", "priority": "-5"},
        {"do": "close"},
    ):
        boss.post("/admin/tasks/1", data={**change, "token": token(boss)})
    row = tasks.find_task(site.store, 1).row
    assert (row.need, row.priority, row.status) == (3, -5, "closed")
    assert "Open it again" in boss.get("/admin/tasks/1").text
    assert "secret-model-2" in boss.get("/admin/tasks/1").text  # admins may know
    assert "/admin/tasks/1" in boss.get("/admin?status=closed&kind=rank").text.split("Lately")[0]
    listed = boss.get("/admin?status=open").text.split("Lately")[0]
    assert "/admin/tasks/1" not in listed
    assert boss.get("/admin/tasks/2").status_code == 404


def test_a_task_with_known_ranks_comes_first_and_is_counted(site, form, token):
    site.add_ranking(prompt="An ordinary one?")
    texts = ["the best", "the next", "a bad one", "as bad"]
    screening = site.add_ranking(texts, prompt="A known one?")
    boss = site.client("boss")
    address, sent = f"/admin/tasks/{screening}", {"token": token(boss), "do": "screening"}
    for wrong in ("1 2 3", "1 2 3 x", "0 1 2 3"):
        assert boss.post(address, data={**sent, "ranks": wrong}).status_code == 422
    assert "known rank 1" in boss.post(address, data={**sent, "ranks": "1 2 3 3"}).text
    ann = site.client("ann")
    page = ranking(ann)
    assert "A known one?" in page.text
    order = [texts.index(text) for text in re.findall(r'class="words">([^<]*)', page.text)[1:]]
    ranks = {letter: place + 1 for letter, place in zip("ABCD", order, strict=True)}
    ann.post(f"{page.url.path}/ranking", data=form(page.text, ranks))
    (row,) = [row for row in statistics.labeler_progress(site.store) if row.person.name == "ann"]
    # Of six pairs the two last are tied in the known order: five are looked at, all are right.
    assert (row.screening_right, row.screening_seen) == (5, 5)
    assert "known rank 1" not in boss.post(address, data={**sent, "ranks": ""}).text
    assert tasks.find_task(site.store, screening).screening is None


@pytest.mark.parametrize("name", ["native", "rankings", "parquet", "trl", "argilla", "labelstudio"])
def test_every_format_can_be_taken_away(site, form, name):
    site.add_ranking()
    ann = site.client("ann")
    page = ranking(ann)
    ann.post(f"{page.url.path}/ranking", data=form(page.text, {"A": 1, "B": 2, "C": 3, "D": 4}))
    file = site.client("boss").get(f"/admin/export/{name}")
    assert file.status_code == 200
    assert file.headers["content-disposition"].startswith(f'attachment; filename="labels-{name}.')
    begins = {"parquet": b"PAR1", "argilla": b"PK", "labelstudio": b"PK"}
    assert file.content.startswith(begins.get(name, b"{"))


def test_demonstrations_can_be_taken_away(site, form):
    site.add_demonstration()
    ann = site.client("ann")
    page = ann.get("/next?kind=demonstration")
    given = {**form(page.text, {}), "completion": "Drops on the pane."}
    ann.post(f"{page.url.path}/demonstration", data=given)
    (line,) = site.client("boss").get("/admin/export/demonstrations").text.splitlines()
    assert "Drops on the pane." in line


def test_quality_shows_agreement_of_two(site, form):
    for i in range(6):
        site.add_ranking(prompt=f"{i}?", need=2)
    for name in ("ann", "bob"):
        client = site.client(name)
        for _ in range(6):
            page = ranking(client)
            by_text = sorted(
                re.findall(r'data-letter="(.)".*?"words">([^<]*)', page.text, re.DOTALL),
                key=lambda pair: pair[1],
            )
            ranks = {letter: rank for rank, (letter, _) in enumerate(by_text, start=1)}
            client.post(f"{page.url.path}/ranking", data=form(page.text, ranks))
    html = site.client("rita").get("/admin/quality").text
    assert "100.0 %" in html  # both sorted the answers by their texts
    assert "Kendall" in html


def test_answers_that_give_their_model_away_are_shown_to_admins(site, token):
    site.add_ranking(("As a Quill-2 model I", "I am quill-2.", "Quills are feathers."), prompt="1?")
    site.add_ranking(("Quills.", "A quill-25."), prompt="2?")
    boss = site.client("boss")
    quality = boss.get("/admin/quality").text
    assert "lists no words" in quality
    assert "gives the model away" not in boss.get("/admin/tasks/1").text
    rules = load_settings(site.store).model_copy(update={"model_words": ["Quill-2", ""]})
    save_settings(site.store, rules, by=None)
    quality = boss.get("/admin/quality").text
    listed = re.findall(r'href="(/admin/tasks/\d+)">Task \d+</a>: ([^<]*)', quality)
    assert listed == [("/admin/tasks/1", "Quill-2")]
    assert boss.get("/admin/tasks/1").text.count("says Quill-2, which gives the model away") == 2
    assert "gives the model away" not in site.client("ann").get("/next?kind=rank").text
    boss.post("/admin/tasks/1", data={"token": token(boss), "do": "close"})
    assert "None of the open tasks" in boss.get("/admin/quality").text


# Small parts


def test_differences_word_by_word():
    left, right = word_difference("The cat  sat.", "The dog  sat!")
    assert left == [(False, "The "), (True, "cat"), (False, "  sat"), (True, ".")]
    assert right == [(False, "The "), (True, "dog"), (False, "  sat"), (True, "!")]
    assert word_difference("", "") == ([], [])
    assert word_difference(" a b c ", "x") == (
        [(False, " "), (True, "a b c"), (False, " ")],
        [(True, "x")],
    )


def longest_common(left, right):
    """Length of the longest common subsequence, from the table of its definition."""
    above = [0] * (len(right) + 1)
    for word in left:
        row = [0]
        for j, other in enumerate(right):
            row.append(above[j] + 1 if word == other else max(above[j + 1], row[j]))
        above = row
    return above[-1]


@settings(max_examples=50, deadline=None)
@given(st.text("abc", max_size=40), st.text("abcd", max_size=40))
def test_the_words_in_common_are_as_many_as_there_can_be(left, right):
    common = common_words(list(left), list(right))
    assert [left[i] for i, _ in common] == [right[j] for _, j in common]
    assert all(i < k and j < m for (i, j), (k, m) in pairwise(common))
    assert len(common) == longest_common(left, right)


@settings(max_examples=50, deadline=None)
@given(st.text("ab .,", max_size=40), st.text("ab .\n", max_size=40))
def test_a_difference_holds_both_texts(left, right):
    sides = word_difference(left, right)
    assert ["".join(piece for _, piece in side) for side in sides] == [left, right]


@pytest.mark.parametrize("words", ["!?.", ["a ", "b "]])
def test_comparing_is_quick_whatever_the_texts_say(words):
    """Block by block this took 3 to 24 s for ordinary texts of 20,000 characters."""
    rng = random.Random(0)
    texts = ["".join(rng.choices(words, k=12_000))[:12_000] for _ in range(2)]
    begin = time.process_time()
    word_difference(*texts)
    assert time.process_time() - begin < 1.0  # about 0.1


def test_a_comparison_of_long_answers_says_that_it_stops(site):
    site.add_ranking(("a " * 6001, "b"))
    client = site.client("ann")
    shown = client.get(f"{ranking(client).url.path}/compare?a=A&b=B").text
    assert "only the first 12000 characters" in shown
    site.add_ranking(("a " * 6000, "b"), prompt="Another?")
    client = site.client("bob")
    shown = client.get(f"{ranking(client).url.path}/compare?a=A&b=B").text
    assert "only the first" not in shown


def test_numbers_are_written_for_people():
    assert share(0.7261) == "72.6 %"
    assert share(None) == "-"
    assert when(1_795_264_080_000) == "2026-11-21 12:28 UTC"


def test_a_full_disk_and_a_busy_database_ask_the_outbox_to_wait():
    assert status_of(UserError("db: there is no room on the disk; nothing was changed")) == 507
    assert status_of(UserError("db: another program keeps the database busy; again")) == 503
    assert status_of(UserError("answer A: expected a rank")) == 422


def test_other_hosts_need_a_secret():
    check_secret("127.0.0.1", None)
    check_secret("0.0.0.0", "s" * 16)
    for secret in (None, "", "too short"):
        with pytest.raises(UserError, match=r"--host 0\.0\.0\.0 .* TRIVIUM_SECRET"):
            check_secret("0.0.0.0", secret)
