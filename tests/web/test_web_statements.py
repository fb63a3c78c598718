"""How often a request asks the database: each statement takes the one Python that serves everybody
about a quarter of a millisecond, and a hundred labelers make seventy requests a second.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from trivium.labels import Message, Prompt
from trivium.store import adding
from trivium.store.database import writing
from trivium.store.settings import Settings


@contextmanager
def statements(store) -> Iterator[list[str]]:
    """What the database is asked meanwhile, but for the bounds of transactions."""
    asked: list[str] = []

    def hear(_connection, _cursor, statement, _parameters, _context, _many):
        if not statement.startswith("BEGIN"):
            asked.append(statement)

    event.listen(store.engine, "before_cursor_execute", hear)
    yield asked
    event.remove(store.engine, "before_cursor_execute", hear)


def test_a_cycle_asks_the_database_27_times(site, form):
    site.add_ranking()
    client = site.client("ann")
    with statements(site.store) as asked:
        page = client.get("/next?kind=rank")
        # To /next: the session; the person with all rules; a lease they have; the next task; its
        # place; the answers' texts; the assignment. To the page: session, assignment, answers.
        assert len(asked) == 7 + 3
        asked.clear()
        filled = form(page.text, {"A": 1, "B": 2, "C": 2, "D": 3})
        headers = {"X-CSRF-Token": filled["token"], "Accept": "application/json"}
        draft = {"sequence": 1, "body": {"rank.A": ["1"]}}
        assert client.put(f"{page.url.path}/draft", json=draft, headers=headers).is_success
        # The session; the assignment; its lease; the draft.
        assert len(asked) == 4
        asked.clear()
        client.post(f"{page.url.path}/ranking", data=filled, headers=headers).raise_for_status()
        # The session; assignment and answers to read the form by; the assignment again, now held;
        # the submission's id; the answers; an older label; the label, the assignment's state, the
        # task's counts, the event; the label and its answers once more, for the journal.
        assert len(asked) == 1 + 2 + 8 + 2


@pytest.mark.parametrize("count", [1, 40])
def test_a_batch_of_tasks_takes_as_many_statements_as_one(site, count):
    """Two look-ups and an insert for prompts and for tasks, one for answers and who wrote them."""
    answers = [adding.NewAnswer("Yes.", model="m"), adding.NewAnswer("No.", model="m")]
    asked_of = [[Message(role="user", content=f"Is it {number}?")] for number in range(count)]
    made = [
        adding.new_task(Prompt(id=f"p{number}", prompt=asked), answers, Settings())
        for number, asked in enumerate(asked_of)
    ]
    with statements(site.store) as asked, writing(site.store) as connection:
        added = adding.add_tasks(connection, made)
    assert len(asked) == 3 + 3 + 2
    assert [row.id for row in added] == sorted(row.id for row in added), "in the file's order"
