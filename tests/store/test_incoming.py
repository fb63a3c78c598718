"""Prompts out of files: whose consent is needed, what is scrubbed, what is refused, caps."""

import json

import pytest

from trivium.cli import main
from trivium.errors import UserError
from trivium.labels import Message
from trivium.store import events, pii, transfer
from trivium.store.database import reading
from trivium.store.incoming import Manner
from trivium.store.schema import prompts, tasks

CARD = "4111 1111 1111 1111"  # a test number, Luhn-valid
AS_IT_IS = Manner(scrubbing="none")


@pytest.fixture(autouse=True)
def no_scrubber(monkeypatch):
    """As where the extra isn't installed."""
    monkeypatch.setattr(pii, "is_installed", lambda: False)


@pytest.fixture
def scrubber(monkeypatch, no_scrubber):
    """A scrubber that knows one address."""

    def scrub(messages):
        clean = [
            Message(role=m.role, content=m.content.replace("ann@x.org", "<E>")) for m in messages
        ]
        return clean, {"EMAIL_ADDRESS": sum("ann@x.org" in m.content for m in messages)}

    monkeypatch.setattr(pii, "is_installed", lambda: True)
    monkeypatch.setattr(pii, "scrub", scrub)


def bring(bench, folder, *rows, **more):
    path = folder / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return transfer.import_file(bench.store, path, **more)


def stored(bench):
    with reading(bench.store) as connection:
        return connection.execute(prompts.select().order_by(prompts.c.id)).all()


def person(text, author="ann", **more):
    return {"prompt": text, "author_id": author, "consent": True, **more}


def test_without_consent_nothing_of_a_person_comes_in(bench, tmp_path):
    rows = [
        person("Write a poem", consent=False),
        {"prompt": "No word on it", "author_id": "ann"},
        {"prompt": "Nor here", "org_id": "org", "completions": ["a", "b"]},
        {"prompt": "Nobody's", "consent": False},
    ]
    bare = [row for row in rows if "completions" not in row]
    report = bring(bench, tmp_path, *bare, manner=AS_IT_IS)
    assert (report.prompts, report.known) == (0, 0)
    assert report.left_out == {"without the author's consent": 3}
    report = bring(bench, tmp_path, rows[2], manner=AS_IT_IS)
    assert (report.tasks, report.left_out) == (0, {"without the author's consent": 1})
    assert stored(bench) == []
    consented = Manner(scrubbing="none", consent=True)
    assert bring(bench, tmp_path, *bare, manner=consented).prompts == 1, "a no stays a no"


@pytest.mark.parametrize("answers", [{}, {"completions": ["a", "b"]}])
def test_a_persons_prompt_is_scrubbed_or_refused(bench, tmp_path, answers):
    with pytest.raises(UserError, match=r"p.jsonl:1: prompt: can't be scrubbed.*--pii none") as no:
        bring(bench, tmp_path, person("Harmless") | answers)
    assert "\n" not in str(no.value)
    assert stored(bench) == []
    report = bring(bench, tmp_path, person("Mail ann@x.org") | answers, manner=AS_IT_IS)
    assert report.prompts + report.tasks == 1
    assert events.list_events(bench.store)[-1].details == {"file": "p.jsonl"}, "on record"
    bench.rules(pii="none")
    report = bring(bench, tmp_path, person("Mail bob@x.org", "bob") | answers)
    assert report.prompts + report.tasks == 1
    assert report.unsearched == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mail me at bob@example.com, please", "holds an e-mail address"),
        (f"my card {CARD}", "holds a card number"),
        (f"card:{CARD.replace(' ', '')}.", "holds a card number"),
        ("Amex 3782-822463-10005", "holds a card number"),  # American Express' own example
    ],
)
def test_what_plainly_is_personal_is_refused_whosever_it_is(bench, tmp_path, text, said):
    with pytest.raises(UserError, match=rf"p.jsonl:2: prompt: {said}.*\.\[pii\].*--pii none"):
        bring(bench, tmp_path, {"prompt": "Fine"}, {"prompt": text})
    assert text not in repr(stored(bench))


@pytest.mark.parametrize(
    "text",
    [
        "What does @property do in Python 3.11?",
        "Is 4111 1111 1111 1112 a card number?",  # no: the last digit is wrong
        "pi = 3.1415926535897932",
        "It was 1700000000000 ms, order 12345678901234567890",
        "w" * 200_000,
        "4 " * 100_000,
    ],
)
def test_what_plainly_is_not_comes_in(bench, tmp_path, text):
    report = bring(bench, tmp_path, {"prompt": text})
    assert (report.prompts, report.unsearched) == (1, 1)


def test_nobodys_prompts_come_in_without_the_extra_unless_told_otherwise(bench, tmp_path):
    row = {"prompt": "Why?", "completions": ["Because.", "Mail bob@example.com."]}
    with pytest.raises(UserError, match=r"p.jsonl:1: prompt: can't be scrubbed"):
        bring(bench, tmp_path, row, manner=Manner(scrubbing="scrub"))
    assert bring(bench, tmp_path, row).tasks == 1, "answers are a model's"


@pytest.mark.usefixtures("scrubber")
def test_where_the_scrubber_is_every_prompt_goes_through_it(bench, tmp_path):
    rows = [{"prompt": "Mail ann@x.org"}, person("Call ann@x.org", id="mine")]
    report = bring(bench, tmp_path, *rows)
    assert (report.prompts, report.unsearched) == (2, 0)
    assert report.pii == {"EMAIL_ADDRESS": 2}
    nobodys, mine = stored(bench)
    assert "ann@x.org" not in nobodys.messages + mine.messages
    assert (nobodys.taken_in, mine.taken_in, mine.key) == (False, True, "mine")
    assert (nobodys.pii, mine.pii) == ('{"EMAIL_ADDRESS": 1}',) * 2
    # An id that was made from the text is made from what is stored: nothing of the address is left.
    alone = bring(bench, tmp_path, {"prompt": "Mail <E>"})
    assert (alone.prompts, alone.known) == (0, 1)
    again = bring(bench, tmp_path, *rows)
    assert (again.prompts, again.known, again.left_out) == (0, 2, {})
    report = bring(bench, tmp_path, *({**row, "completions": ["a", "b"]} for row in rows))
    assert report.tasks == 2
    assert "ann@x.org" not in repr(stored(bench))


def test_caps_and_collapse_hold_for_people(bench, tmp_path):
    bench.rules(author_cap=2, org_floor=1, org_share=0.1)
    long = "Translate this for me, please. " * 7  # 217 characters, of which 200 count
    rows = [
        person("One?"),
        person("one?", "bob"),  # says the same
        person(long + "One."),
        person(long + "Two.", "bob"),
        person("Three?"),
        person("Four?", "cy", org_id="org"),
        person("Five?", "di", org_id="org"),  # would be two of four
    ]
    report = bring(bench, tmp_path, *rows, manner=AS_IT_IS)
    assert (report.prompts, report.known) == (3, 1)
    assert report.left_out == {
        "with the long beginning of another": 1,
        "beyond what one author may hand in": 1,
        "beyond what one organisation may hand in": 1,
    }
    again = bring(bench, tmp_path, *rows, manner=AS_IT_IS)
    assert (again.prompts, again.known) == (0, 4)
    free = [{"prompt": long + str(n)} for n in range(5)]
    assert bring(bench, tmp_path, *free).prompts == 5, "the project's own aren't collapsed"


def test_answers_to_a_prompt_that_was_taken_in_need_no_consent_again(bench, tmp_path):
    """As `label generate`, or a program of one's own, gives them back."""
    bench.rules(author_cap=1)
    bring(bench, tmp_path, person("Why?"), manner=AS_IT_IS)
    asked = tmp_path / "asked.jsonl"
    transfer.export_prompts(bench.store, asked)
    row = json.loads(asked.read_text())
    assert row["author_id"] == "ann"
    assert bring(bench, tmp_path, row | {"answers": ["a", "b"]}).tasks == 1
    more = person("Why?", completions=["c", "d"])  # without the id: the author's own all the same
    assert bring(bench, tmp_path, more, manner=AS_IT_IS).tasks == 1
    theirs = person("Why?", "bob", completions=["c", "d"])
    report = bring(bench, tmp_path, theirs, manner=AS_IT_IS)
    assert report.left_out == {"whose prompt is there already": 1}


def test_an_address_in_place_of_a_name_is_hidden(bench, tmp_path):
    mails = {"author_id": "Joe@Example.com", "org_id": "x@org.example", "source": "to me@x.org"}
    rows = [{"prompt": f"Why {n}?", "consent": True} | mails for n in range(2)]
    rows[1]["author_id"] = "joe@example.com"
    bench.rules(org_floor=9)
    with pytest.raises(UserError):
        bring(bench, tmp_path, *rows)
    pii_free = Manner(scrubbing=None)
    bench.rules(pii="presidio")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pii, "is_installed", lambda: True)
        patched.setattr(pii, "scrub", lambda messages: (messages, {}))
        assert bring(bench, tmp_path, *rows, manner=pii_free).prompts == 2
    first, second = stored(bench)
    assert "@" not in repr(first) + repr(second)
    assert first.author_id == second.author_id, "one person, however the address is spelt"
    assert len({first.author_id, first.org_id, first.source}) == 3


@pytest.mark.parametrize("consent", ["yes", 1, [True]])
def test_consent_is_yes_or_no(bench, tmp_path, consent):
    with pytest.raises(UserError, match=r"p.jsonl:1: consent: expected true or false, got"):
        bring(bench, tmp_path, person("P?", consent=consent), manner=AS_IT_IS)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "P?", "completion": "A."},
        {"prompt": "P?", "completions": [{"text": "a", "rank": 1}, {"text": "b", "rank": 2}]},
        {"prompt": "P?", "chosen": "a", "rejected": "b"},
    ],
)
def test_a_finished_label_whose_author_said_no_is_refused(bench, tmp_path, row):
    with pytest.raises(UserError, match=r"p.jsonl:2: consent: false; remove the row"):
        bring(bench, tmp_path, row, {**row, "consent": False})
    assert stored(bench) == []


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"completions": ["a", "b"]}, "candidates"),
        ({"answers": ["a", "b"]}, "candidates"),
        ({"completions": [{"text": "a", "rank": 1}, {"text": "b", "rank": 2}]}, "rankings"),
        ({"completion": "A."}, "demonstrations"),
        ({"chosen": "a", "rejected": "b"}, "trl"),
    ],
)
def test_answers_after_a_bare_prompt_are_not_dropped(bench, tmp_path, more, kind):
    rows = [{"prompt": "P?"}, {"prompt": "Q?", "completions": None, **more}]
    wanted = rf"p.jsonl:2: expected a bare prompt as in the first row, got a row of {kind}"
    with pytest.raises(UserError, match=wanted):
        bring(bench, tmp_path, *rows)
    assert bring(bench, tmp_path, *rows, format="prompts").prompts == 2, "as it was asked for"


def test_a_conversation_that_is_answered_is_a_demonstration(bench, tmp_path):
    said = [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "A."}]
    assert bring(bench, tmp_path, {"messages": said}).labels == 1


def test_the_command_says_what_it_did(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [person("Write a poem", "joe@example.com", consent=False), {"prompt": "Why?"}]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["label", "import", "p.jsonl"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "new: 1 prompt, 0 sets of answers to rank, 0 labels; known already: 0",
        "left out: 1 without the author's consent",
        "not searched for personal data: 1 without an author (the extra pii does; "
        "in trivium's checkout: pip install -c constraints.txt '.[pii]')",
    ]
    (tmp_path / "p.jsonl").write_text(json.dumps(person("Why not?")) + "\n")
    assert main(["label", "import", "p.jsonl"]) == 2
    assert "--pii none" in capsys.readouterr().err
    assert main(["label", "import", "p.jsonl", "--pii", "none"]) == 0
    assert "new: 1 prompt," in capsys.readouterr().out


def test_generate_asks_before_it_writes(bench, tmp_path):
    """Hours of sampling must not end in a refusal."""
    path = tmp_path / "p.jsonl"
    for row, said in (
        (person("Why?"), "p.jsonl:1: prompt: can't be scrubbed"),
        ({"prompt": "Why?", "author_id": "ann"}, "without the author's consent"),
        ({"prompt": "Mail bob@example.com"}, "holds an e-mail address"),
    ):
        path.write_text(json.dumps(row) + "\n")
        with pytest.raises(UserError, match=said):
            transfer.check_prompts(bench.store, path)
    rows = [{"prompt": "Fine"}, {"prompt": "Fine too"}, {"prompt": "Why?", "author_id": "ann"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"p\.jsonl:3: a prompt without"):
        transfer.check_prompts(bench.store, path)
    path.write_text(json.dumps({"prompt": "Why?"}) + "\n")
    transfer.check_prompts(bench.store, path)
    with reading(bench.store) as connection:
        assert connection.execute(tasks.select()).all() == []
