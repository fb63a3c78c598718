"""A store of one's own, made once and copied, and short words for what tests do with it."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from trivium.labels import DemonstrationSheet, Judgement, Message, Prompt, RankingSheet, SkipSheet
from trivium.store import leases, people, settings, submit, tasks
from trivium.store.database import Store, close_store, open_store, writing
from trivium.store.schema import people as people_table

START_MS = 1_700_000_000_000  # 2023-11-14 22:13:20 UTC
MINUTE = 60_000


@dataclass
class Bench:
    """A store, a clock that stands still until it is turned, and short words."""

    store: Store
    now_ms: int = START_MS
    names: list[int] = field(default_factory=list)

    def person(self, role: str = "labeler") -> int:
        """Somebody new; without a passphrase, which takes long to lock."""
        with writing(self.store) as connection:
            name = f"person-{len(self.names)}"
            row = {"name": name, "alias": f"alias-{name}", "role": role, "active": True}
            made = people_table.insert().values(**row, created_ms=self.now_ms)
            self.names.append(connection.execute(made).inserted_primary_key[0])
        return self.names[-1]

    def task(
        self, texts=("one", "two", "three"), *, need: int | None = 1, key: str | None = None
    ) -> int:
        """A task: to rank these texts, or, None, to write a demonstration."""
        key = key or f"p{uuid.uuid4().hex[:8]}"
        prompt = Prompt(id=key, prompt=[Message(role="user", content=f"Say {key}.")])
        answers = (
            None
            if texts is None
            else [tasks.NewAnswer(text, f"{key}-{i}", f"model-{i}") for i, text in enumerate(texts)]
        )
        with writing(self.store) as connection:
            rules = settings.read_settings(connection)
            return tasks.add_task(connection, prompt, answers, rules, need=need).id

    def lease(self, person: int, kind=None):
        """What `lease_next` gives now."""
        return leases.lease_next(self.store, person, kind=kind, now_ms=self.now_ms)

    def rank(self, person: int, assignment, ranks=None, *, submission=None, ratings=None, flags=()):
        """Hand in ranks by letter: {"A": 1, "B": 1}; the order shown if None."""
        keys = [answer.key for answer in assignment.answers]
        ranks = ranks or {key: place for place, key in enumerate(keys, start=1)}
        sheet = RankingSheet(
            judgements=[
                Judgement(
                    key=key, rank=ranks[key], rating=(ratings or {}).get(key, 4), flags=list(flags)
                )
                for key in keys
            ]
        )
        return submit.submit_ranking(
            self.store,
            person,
            assignment.id,
            sheet,
            submission_id=submission or str(uuid.uuid4()),
            now_ms=self.now_ms,
        )

    def write(self, person: int, assignment, text="An answer.", *, submission=None):
        """Hand in a demonstration."""
        return submit.submit_demonstration(
            self.store,
            person,
            assignment.id,
            DemonstrationSheet(completion=text),
            submission_id=submission or str(uuid.uuid4()),
            now_ms=self.now_ms,
        )

    def skip(self, person: int, assignment, reason="unclear", *, submission=None):
        """Pass a task on."""
        return submit.submit_skip(
            self.store,
            person,
            assignment.id,
            SkipSheet(reason=reason),
            submission_id=submission or str(uuid.uuid4()),
            now_ms=self.now_ms,
        )

    def row(self, task_id: int):
        """The task as admins see it."""
        return tasks.find_task(self.store, task_id).row

    def later(self, minutes: float) -> None:
        """Turn the clock."""
        self.now_ms += int(minutes * MINUTE)

    def rules(self, **changes) -> None:
        """Change the project's settings."""
        now = settings.load_settings(self.store).model_dump()
        changed = settings.Settings.model_validate(now | changes)
        settings.save_settings(self.store, changed, by=None)

    def join(self, name: str, role=people.Role.LABELER, passphrase="correct horse battery"):
        """Somebody who has accepted an invite."""
        invite = people.create_invite(self.store, role=role, now_ms=self.now_ms)
        return people.accept_invite(
            self.store, invite.token, name=name, passphrase=passphrase, now_ms=self.now_ms
        )


@pytest.fixture
def new_store(new_url, tmp_path) -> Iterator[Callable[..., Store]]:
    """Return a function that opens a new store of a given name, its journal in `tmp_path`."""
    opened: list[Store] = []

    def open_named(name: str = "labels") -> Store:
        opened.append(open_store(new_url(name), journal=tmp_path / f"{name}.journal.jsonl"))
        return opened[-1]

    yield open_named
    for store in opened:
        close_store(store)


@pytest.fixture
def bench(new_store) -> Iterator[Bench]:
    """An empty store."""
    made = Bench(new_store())
    yield made
    close_store(made.store)  # a test may have opened it again


@pytest.fixture
def make_bench(new_store) -> Callable[[str], Bench]:
    """Return a function that gives a bench with a store of its own."""
    return lambda name: Bench(new_store(name))
