"""Presidio itself, on its blank pipeline: what it takes out, what it leaves, and no network.

`make test-pii` installs the extra and runs these.
"""

import socket

import pytest

from trivium.labels import Message
from trivium.store import intake, keys, pii
from trivium.store.database import reading
from trivium.store.schema import prompts

pytestmark = pytest.mark.pii


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Scrubbing must not reach out: neither for a model nor for a list of domains."""

    def refuse(*_args, **_more):
        raise AssertionError("the scrubber opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def scrubbed(text: str) -> tuple[str, dict[str, int]]:
    [message], found = pii.scrub([Message(role="user", content=text)])
    return message.content, found


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Write to ann.b@example.com please.", "EMAIL_ADDRESS"),
        ("My card is 4111 1111 1111 1111, charge it.", "CREDIT_CARD"),  # a test number, Luhn-valid
        ("Pay to DE89 3704 0044 0532 0130 00 today.", "IBAN_CODE"),  # the standard's own example
        ("The server is 192.0.2.17, I think.", "IP_ADDRESS"),  # RFC 5737: for documentation
        ("Call me at 212-555-0142 tonight.", "PHONE_NUMBER"),  # 555-01xx belongs to nobody
    ],
)
def test_what_is_taken_out(text, kind):
    clean, found = scrubbed(text)
    assert found == {kind: 1}
    before, after = text.split(" ")[0], text.split(" ")[-1]
    assert clean.startswith(before)
    assert clean.endswith(after)
    assert f"<{kind}>" in clean
    assert not any(word in clean for word in ("ann.b", "4111", "3704", "192.0", "0142"))


@pytest.mark.parametrize(
    "text",
    [
        "Why is the sea salt? In 1492 nobody knew.",
        "def f(x): return x * 3.14159  # version 1.2.3",
        "My name is Ann Smith.",  # names need a model: docs/labeling.md says so
        "",
    ],
)
def test_what_is_left_alone(text):
    assert scrubbed(text) == (text, {})


def test_intake_stores_the_scrubbed_text_alone(bench):
    key_id = keys.mint_intake_key(bench.store, name="form", by=None)
    incoming = intake.IncomingPrompt(
        prompt=[
            Message(role="user", content="Mail ann@example.com and bob@example.com."),
            Message(role="assistant", content="Done."),
            Message(role="user", content="Now call 212-555-0142."),
        ],
        author_id="ann",
        consent=True,
    )
    key = keys.find_intake_key(bench.store, key_id)
    taken = intake.take_prompt(bench.store, incoming, key=key)
    assert (taken.status, taken.pii) == ("stored", {"EMAIL_ADDRESS": 2, "PHONE_NUMBER": 1})
    with reading(bench.store) as connection:
        [row] = connection.execute(prompts.select()).all()
    assert "example.com" not in row.messages
    assert "0142" not in row.messages
    assert row.messages.count("<EMAIL_ADDRESS>") == 2
