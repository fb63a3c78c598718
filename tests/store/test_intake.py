"""Prompts handed in: consent, caps, duplicates, personal data, sides."""

import importlib.util

import pytest

from trivium.data import side
from trivium.errors import UserError
from trivium.labels import Message, Prompt
from trivium.store import intake, keys, pii
from trivium.store.database import reading
from trivium.store.schema import prompts


def incoming(text, author="ann", **more):
    message = [Message(role="user", content=text)]
    return intake.IncomingPrompt(prompt=message, author_id=author, consent=True, **more)


@pytest.fixture
def site(bench):
    """A project that scrubs nothing, so that no extra is needed."""
    bench.rules(pii="none")
    return bench


def take(bench, text, author="ann", key=None, **more):
    return intake.take_prompt(bench.store, incoming(text, author, **more), key=key)


def stored(bench):
    with reading(bench.store) as connection:
        return connection.execute(prompts.select()).all()


def test_without_consent_nothing_is_stored(site):
    asked = incoming("P?").model_copy(update={"consent": False})
    with pytest.raises(UserError, match="consent"):
        intake.take_prompt(site.store, asked, key=None)
    assert stored(site) == []


def test_a_prompt_is_stored_and_asks_for_a_demonstration(site):
    result = take(site, "P?", org_id="org", source="form")
    assert result.status == "stored"
    lease = site.lease(site.person())
    assert (lease.kind, lease.prompt_id) == ("demonstration", result.prompt_id)
    [row] = stored(site)
    assert (row.author_id, row.org_id, row.source, row.taken_in) == ("ann", "org", "form", True)


def test_the_side_goes_by_the_author_as_training_splits(site):
    sides = {take(site, f"Prompt {n}?", "bob").side for n in range(10)}
    assert len(sides) == 1
    row = Prompt(id="x", prompt=[Message(role="user", content="Other")], author_id="bob")
    assert sides == {side(row, salt="trivium", heldout_fraction=0.1)}


def test_what_says_the_same_is_taken_once(site):
    assert take(site, "What is  Love?").status == "stored"
    assert take(site, "what is love?", "bob").status == "duplicate"
    long = "Translate this for me, please. " * 7  # 217 characters
    assert take(site, long + "One.").status == "stored"
    assert take(site, long + "Two.", "bob").status == "similar"
    # By hand: they part after 199 of the 200 characters that count.
    assert take(site, "x" * 199 + "a" * 50).status == "stored"
    assert take(site, "x" * 199 + "b" * 50).status == "stored"
    assert take(site, "x" * 198 + "y").status == "stored", "shorter than the prefix"


def test_an_author_may_hand_in_so_many(site):
    site.rules(author_cap=3)
    results = [take(site, f"Prompt {n}?").status for n in range(5)]
    assert results == ["stored"] * 3 + ["author_cap"] * 2
    assert take(site, "Prompt 0?").status == "duplicate", "duplicates don't count"
    assert take(site, "Of another", "bob").status == "stored"


def test_an_organisation_may_hand_in_such_a_share(site):
    site.rules(org_floor=2, org_share=0.5)
    of_org = lambda n: take(site, f"Prompt {n}?", f"a{n}", org_id="org").status  # noqa: E731
    # Two are always allowed; a third would be 3 of 3; two of others: 3 of 5; three: 3 of 6.
    assert [of_org(n) for n in range(3)] == ["stored", "stored", "org_cap"]
    for n in range(2):
        take(site, f"Else {n}?", f"e{n}")
    assert of_org(10) == "org_cap"
    take(site, "Else 2?", "e2")
    assert of_org(11) == "stored"


def test_the_keys_organisation_wins(site):
    keys.mint_intake_key(site.store, name="site", org_id="theirs")
    [key] = keys.all_intake_keys(site.store)
    take(site, "P?", key=key, org_id="claimed")
    assert stored(site)[0].org_id == "theirs"


def test_without_a_scrubber_intake_is_closed(bench, monkeypatch):
    """A store that is to scrub, where the extra isn't installed: refused, nothing stored."""
    real = importlib.util.find_spec
    missing = lambda name: None if name.startswith(("presidio", "spacy")) else real(name)  # noqa: E731
    monkeypatch.setattr(pii, "find_spec", missing)
    assert not intake.pii_ready(bench.store)
    with pytest.raises(UserError, match=r"pip install -c constraints.txt '\.\[pii\]'$"):
        take(bench, "Mail ann@example.com")
    assert stored(bench) == []
    bench.rules(pii="none")
    assert intake.pii_ready(bench.store)


def test_what_is_stored_and_compared_is_the_scrubbed_text(bench, monkeypatch):
    """The scrubber's place in the order: before the duplicate check and before storing."""

    def scrub(messages):
        clean = [
            Message(role=m.role, content=m.content.replace("ann@x.org", "<E>")) for m in messages
        ]
        return clean, {"EMAIL_ADDRESS": 1}

    monkeypatch.setattr(pii, "scrub", scrub)
    assert take(bench, "Mail ann@x.org").pii == {"EMAIL_ADDRESS": 1}
    assert take(bench, "Mail <E>", "bob").status == "duplicate"
    assert "ann@x.org" not in repr(stored(bench))
    assert stored(bench)[0].pii == '{"EMAIL_ADDRESS": 1}'
    assert take(bench, "Other", "bob@x.org", source="b@x.org").status == "stored"
    assert "@" not in repr(stored(bench)), "nor in the names that came with it"
