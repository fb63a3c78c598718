"""Submits one label after the other and prints the id of each that was acknowledged."""

import sys
import uuid
from pathlib import Path

from trivium.labels import Judgement, RankingSheet
from trivium.store import leases, submit
from trivium.store.database import open_store


def main(url: str, journal: str, people: list[int]) -> None:
    store = open_store(url, journal=Path(journal))
    while True:
        for person in people:
            lease = leases.lease_next(store, person)
            if isinstance(lease, leases.NoTask):
                continue
            ranks = [Judgement(key=a.key, rank=1, rating=1) for a in lease.answers]
            name = str(uuid.uuid4())
            submit.submit_ranking(
                store, person, lease.id, RankingSheet(judgements=ranks), submission_id=name
            )
            print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [int(word) for word in sys.argv[3:]])
