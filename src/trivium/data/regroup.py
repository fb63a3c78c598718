"""TRL pairs that came out of one ranking, made into that ranking again.

`to_trl_pairs` writes the pairs of a ranking one after the other under one `group_id`. Read back as
so many rankings with K = 2, a prompt with nine answers would weigh 36 times what a pair weighs, and
each answer would be scored in eight rows. So consecutive pairs of one group become one ranking,
where it has exactly these pairs; whatever else shares a `group_id` is left as it is.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import NamedTuple

from trivium.data.convert import Row, from_trl_preference, without_nulls
from trivium.data.sources import RawRow
from trivium.errors import UserError

MOST_PAIRS = 4096
"""Pairs held in memory; a longer group (K above 91) stays pairs."""

_COLUMNS = ("group_id", "prompt", "chosen", "rejected", "margin")
_SHARED = ("group_id", "prompt", "labeler", "author_id", "org_id", "source")


class _Pair(NamedTuple):
    """One comparison, and by how many ranks it was won."""

    chosen: str
    rejected: str
    margin: float


def regrouped(rows: Iterator[RawRow]) -> Iterator[RawRow]:
    """The same rows in the same order, the pairs of one ranking as one native row.

    The ranking has the group's id, its answers from best to worst with rank 1 for the best, and
    scores whose differences are the margins. Memory: one group.
    """
    group: list[RawRow] = []
    for raw in rows:
        if group and not _belongs(raw.row, group):
            yield from _whole_or_pairs(group)
            group = []
        if _is_grouped(raw.row):
            group.append(raw)
        else:
            yield raw
    yield from _whole_or_pairs(group)


def _is_grouped(row: Row) -> bool:
    return all(row.get(name) is not None for name in _COLUMNS)


def _belongs(row: Row, group: list[RawRow]) -> bool:
    first = group[0].row
    alike = all(row.get(name) == first.get(name) for name in _SHARED)
    return alike and _is_grouped(row) and len(group) < MOST_PAIRS


def _whole_or_pairs(group: list[RawRow]) -> Iterator[RawRow]:
    """The ranking with exactly these pairs, or the pairs."""
    rows: list[Row] = []
    try:
        rows += [from_trl_preference(without_nulls(raw.row)) for raw in group]
        ranks = _ranks([_pair(row) for row in rows])
    except UserError:  # a row is broken: its reader will say which, and how
        ranks = []
    if not ranks:
        yield from group
        return
    worst = ranks[-1][1]
    answers = [{"text": text, "rank": rank, "score": float(worst - rank)} for text, rank in ranks]
    whole = {**rows[0], "id": str(group[0].row["group_id"]), "completions": answers}
    yield RawRow(group[0].place, whole)


def _pair(native: Row) -> _Pair:
    better, worse = native["completions"]
    if not isinstance(better["text"], str) or not isinstance(worse["text"], str):
        raise UserError("chosen: expected two texts")
    return _Pair(better["text"], worse["text"], better["score"])


def _ranks(pairs: list[_Pair]) -> list[tuple[str, int]]:
    """The answers of the ranking whose pairs these are, best first; none if there is no such."""
    longest = 0  # the first answer's own pairs go no further: same answer, growing margins
    for before, pair in pairwise([*pairs[:1], *pairs]):
        if pair.chosen != before.chosen or pair.margin < before.margin:
            break
        longest += 1
    # Where two answers of one text are tied for the best place, the first one's are fewer.
    for length in range(longest, 0, -1):
        if ranks := _ranks_from(pairs, length):
            return ranks
    return []


def _ranks_from(pairs: list[_Pair], length: int) -> list[tuple[str, int]]:
    """`_ranks`, if the first answer beats ``length`` others.

    Its pairs name every worse answer and its distance. Then follow, with the same worse answers and
    distances, the pairs of the answers tied with it. That is all there is to know; the rest must be
    what `to_trl_pairs` makes of it.
    """
    worse = [(pair.rejected, pair.margin) for pair in pairs[:length]]
    if not all(margin >= 1 and margin.is_integer() for _, margin in worse):
        return []
    best: list[str] = []
    for start in range(0, len(pairs), length):
        block = pairs[start : start + length]
        same = [(pair.rejected, pair.margin) for pair in block] == worse
        if not same or any(pair.chosen != block[0].chosen for pair in block):
            break
        best.append(block[0].chosen)
    ranks = [*((text, 1) for text in best), *((text, 1 + int(margin)) for text, margin in worse)]
    level_sizes = Counter(rank for _, rank in ranks).values()
    if len(ranks) ** 2 - sum(size**2 for size in level_sizes) != 2 * len(pairs):
        return []
    made = [
        _Pair(a, b, float(rank_b - rank_a))
        for (a, rank_a), (b, rank_b) in combinations(ranks, 2)
        if rank_a < rank_b
    ]
    return ranks if made == pairs else []
