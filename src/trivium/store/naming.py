"""Answers that give away which model wrote them: the rule `model_words` lists what would."""

import re
from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import or_, select

from trivium.store.database import Store, reading
from trivium.store.schema import answers, tasks
from trivium.store.settings import read_settings


def words_in(text: str, words: Sequence[str]) -> list[str]:
    """Those of the words that stand in a text, as whole words; A to Z are a to z."""
    return [
        word
        for word in words
        if word and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.ASCII | re.IGNORECASE)
    ]


def tasks_that_name(store: Store) -> dict[int, list[str]]:
    """Open sets of answers of which one holds a word of the rules, and the words; reads them all.

    A set that is closed is out of the labelers' way.
    """
    found: dict[int, list[str]] = defaultdict(list)
    with reading(store) as connection:
        words = [word for word in read_settings(connection).model_words if word]
        if not words:
            return {}
        holds = or_(*(answers.c.text.icontains(word, autoescape=True) for word in words))
        rows = (
            select(answers.c.task_id, answers.c.text)
            .join(tasks, tasks.c.id == answers.c.task_id)
            .where(tasks.c.status == "open", holds)
            .order_by(answers.c.task_id, answers.c.place)
        )
        for row in connection.execute(rows):
            if named := words_in(row.text, words):
                found[row.task_id] += [word for word in named if word not in found[row.task_id]]
    return dict(found)
