"""A site with a store of its own, people who are signed in, and a real browser."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile

import httpx
import pytest
import uvicorn

from trivium.labels import Message, Prompt
from trivium.store import adding, people
from trivium.store.database import Store, close_store, open_store, writing
from trivium.store.people import Role
from trivium.store.settings import read_settings
from trivium.web.app import create_app

PEOPLE = {
    "ann": Role.LABELER,
    "bob": Role.LABELER,
    "rita": Role.REVIEWER,
    "boss": Role.ADMIN,
}
"""Who is there from the start: hashing a passphrase takes longer than most tests."""
PASSPHRASE = "correct horse battery staple"
ANSWERS = (
    "The sea is salt because rivers carry salt into it.",
    "The sea is salt because rivers bring a little salt and the sun takes only water away.",
    "Fish.",
    "I am glad that you ask. There are many reasons. Salt is one of them.",
    "Salt comes from rocks. Rain washes it out, rivers carry it, and it stays in the sea.",
    "Nobody knows.",
    "Because of whales and what they do there.",
    "It is salt because it is not sweet.",
    "Rocks, rain, rivers: in that order.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A running site."""

    store: Store
    url: str
    clients: list[httpx.Client] = field(default_factory=list)
    """To be closed."""

    def add_ranking(
        self, texts=ANSWERS[:4], *, need: int = 1, prompt="Why is the sea salt?"
    ) -> int:
        """A task to rank these answers; its id."""
        candidates = [
            adding.NewAnswer(text, key=f"secret-key-{i}", model=f"secret-model-{i}")
            for i, text in enumerate(texts)
        ]
        return self._add(prompt, candidates, need)

    def add_demonstration(self, *, need: int = 1, prompt="Write a line about rain.") -> int:
        """A task to write an answer; its id."""
        return self._add(prompt, None, need)

    def _add(self, prompt, candidates, need):
        row = Prompt(id=f"prompt-{prompt}", prompt=[Message(role="user", content=prompt)])
        with writing(self.store) as connection:
            rules = read_settings(connection)
            return adding.add_task(connection, row, candidates, rules, need=need).id

    def person(self, name: str) -> int:
        """The id of somebody in `PEOPLE`."""
        return list(PEOPLE).index(name) + 1

    def stranger(self) -> httpx.Client:
        """Somebody who has not signed in."""
        client = httpx.Client(base_url=self.url, follow_redirects=True, trust_env=False, timeout=30)
        self.clients.append(client)
        return client

    def client(self, name: str) -> httpx.Client:
        """Somebody in `PEOPLE`, in a session of their own."""
        client = self.stranger()
        client.cookies.set("trivium", people.open_session(self.store, self.person(name)))
        return client


@pytest.fixture(scope="session")
def peopled_store(tmp_path_factory) -> Path:
    """A database to copy, with `PEOPLE` in it: quicker than making one for each test."""
    path = tmp_path_factory.mktemp("store") / "labels.db"
    store = open_store(f"sqlite:///{path}")
    for name, role in PEOPLE.items():
        invite = people.create_invite(store, role=role)
        people.accept_invite(store, invite.token, name=name, passphrase=PASSPHRASE)
    close_store(store)
    return path


@pytest.fixture
def serve(peopled_store, tmp_path) -> Iterator[Callable[..., Site]]:
    """Return a function that starts a site; its arguments go to `create_app`."""
    stop = []

    def start(**settings) -> Site:
        copyfile(peopled_store, tmp_path / "labels.db")
        store = open_store(f"sqlite:///{tmp_path / 'labels.db'}")
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(store, **settings), log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        made = Site(store=store, url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        stop.append((made, server, thread, listener))
        return made

    yield start
    for made, server, thread, listener in stop:
        for client in made.clients:
            client.close()
        server.should_exit = True
        thread.join(10)
        close_store(made.store)
        listener.close()


@pytest.fixture
def site(serve) -> Site:
    """A site with people and nothing to do."""
    return serve()


def hidden_fields(html: str) -> dict[str, str]:
    """What a browser would send along with the page's main form without anybody typing."""
    names = "token|submission_id|shown_ms"
    return dict(re.findall(rf'name="({names})" value="([^"]*)"', html.split('id="skip"')[0]))


def filled(html: str, ranks: dict[str, int], ratings: dict[str, int] | None = None) -> dict:
    """A task page's form, filled in; letters to numbers."""
    given = ratings or dict.fromkeys(ranks, 4)
    return {
        **hidden_fields(html),
        **{f"rank.{letter}": str(rank) for letter, rank in ranks.items()},
        **{f"rating.{letter}": str(rating) for letter, rating in given.items()},
    }


@pytest.fixture
def form() -> Callable[..., dict]:
    """Return `filled`."""
    return filled


@pytest.fixture
def token() -> Callable[[httpx.Client], str]:
    """Return a function from a client to the token of its session's forms."""
    return lambda client: hidden_fields(client.get("/me").text)["token"]
