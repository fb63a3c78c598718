"""The labeling site as people run it: the program, in a process of its own."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from trivium.store import people
from trivium.store.database import Store
from trivium.store.people import Role

SOURCE = Path(__file__).resolve().parents[1] / "src"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A running server."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self.process.terminate()
        self.process.communicate(timeout=30)

    def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        self.process.communicate(timeout=30)


def command(*words: str) -> list[str]:
    """The command line of `trivium label ...`."""
    return [sys.executable, "-m", "trivium", "label", *words]


def environment() -> dict[str, str]:
    """With this checkout's source, whatever is installed."""
    return os.environ | {"PYTHONPATH": str(SOURCE)}


def start(*, db: str, journal: Path, port: int = 0) -> Site:
    """Start the server and wait until it listens.

    Raises:
        RuntimeError: it ended instead; with what it said.
    """
    words = command("serve", "--db", db, "--journal", str(journal), "--port", str(port))
    process = subprocess.Popen(
        words,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    where = re.search(r"http://\S+", said)
    if where is None:
        raise RuntimeError(said + process.communicate()[1])
    return Site(process=process, url=where[0])


def join(store: Store, name: str, role: Role = Role.LABELER) -> str:
    """A new person's session, as their cookie holds it."""
    invite = people.create_invite(store, role=role)
    person = people.accept_invite(store, invite.token, name=name, passphrase=f"secret of {name}")
    return people.open_session(store, person.id)
