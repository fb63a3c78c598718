"""TRL's preference pairs, and rankings made from them again.

All untied pairs of a ranking carry its id as `group_id`, and the rank gap as `margin`; so
`trivium.data` makes a file of them into the rankings again, ties included, as long as they prefer
anything to anything.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from trivium.data import read_rankings, to_trl_pairs
from trivium.data.convert import Row
from trivium.labels import LabelLine, Ranking, as_ranking
from trivium.store.formats.plain import foreign_line, to_line


def pairs_of(lines: Iterable[LabelLine]) -> Iterator[Row]:
    """The pairs of every line that ranks anything; copies of a text that are tied count as one.

    Tied answers come in the order of their texts, so that the pairs don't depend on how the task
    happened to list its answers.
    """
    for line in lines:
        if (ranking := as_ranking(line)) is not None:
            yield from to_trl_pairs(_without_copies(ranking))


def read(path: Path) -> Iterator[LabelLine]:
    """Finished rankings of any shape that `trivium.data` reads, TRL's pairs among them."""
    return map(line_of, read_rankings(path))


def line_of(ranking: Ranking) -> LabelLine:
    """A finished ranking of the contract as a label line."""
    return to_line(foreign_line(ranking.model_dump(exclude_none=True)), f"ranking {ranking.id}")


def _without_copies(ranking: Ranking) -> Ranking:
    kept = {(answer.rank, answer.text): answer for answer in ranking.completions}
    return ranking.model_copy(update={"completions": [kept[key] for key in sorted(kept)]})
