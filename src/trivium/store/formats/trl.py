"""TRL's preference pairs, and rankings made from them again.

All untied pairs of a ranking carry its id as `group_id`, and the rank gap as `margin`; so
`trivium.data` makes a file of them into the rankings again, ties included, as long as they prefer
anything to anything. Of several rankings of one id by one labeler, or by nobody known, the second
is ID#2 there, the third ID#3: their pairs would run into one another.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from trivium.data import read_rankings, to_trl_pairs
from trivium.data.convert import Row
from trivium.labels import LabelLine, Ranking, as_ranking, has_untied_pair
from trivium.store.formats.plain import foreign_line, to_line

_Name = tuple[str, str | None]


def pairs_of(lines: Iterable[LabelLine]) -> Iterator[Row]:
    """The pairs of every line that ranks anything; copies of a text that are tied count as one.

    Tied answers come in the order of their texts, so that the pairs don't depend on how the task
    happened to list its answers.
    """
    seen: dict[_Name, int] = {}
    for line in lines:
        ranking = as_ranking(line)
        if ranking is not None and has_untied_pair(ranking):
            group = _new_name((ranking.id, ranking.labeler), seen)
            alone = _without_copies(ranking).model_copy(update={"id": group})
            yield from to_trl_pairs(alone)


def read(path: Path) -> Iterator[LabelLine]:
    """Finished rankings of any shape that `trivium.data` reads, TRL's pairs among them."""
    return map(line_of, read_rankings(path))


def line_of(ranking: Ranking) -> LabelLine:
    """A finished ranking of the contract as a label line."""
    return to_line(foreign_line(ranking.model_dump(exclude_none=True)), f"ranking {ranking.id}")


def _new_name(wanted: _Name, seen: dict[_Name, int]) -> str:
    """The id, or the first of ID#2, ID#3 ... that the labeler's rankings don't have yet.

    Args:
        wanted: id and labeler.
        seen: names that are given away, and up to which number; the new one is added.
    """
    key, labeler = wanted
    name, number = key, seen.get(wanted, 1)
    while (name, labeler) in seen:
        number += 1
        name = f"{key}#{number}"
    seen |= {wanted: number, (name, labeler): 1}
    return name


def _without_copies(ranking: Ranking) -> Ranking:
    kept = {(answer.rank, answer.text): answer for answer in ranking.completions}
    return ranking.model_copy(update={"completions": [kept[key] for key in sorted(kept)]})
