"""Two texts, word by word: what only the one has.

A longest common subsequence of the words, as whole rows of the usual table in one integer each: a
step costs a few operations on integers, whatever the texts say, where comparing block by block
takes seconds on texts that repeat themselves.

H. Hyyro, Bit-parallel LCS-length computation revisited, 2004, AWOCA.
"""

from collections import defaultdict
from itertools import groupby
from re import split

Pieces = list[tuple[bool, str]]
"""Text in order; True where the other side lacks it."""


def word_difference(left: str, right: str) -> tuple[Pieces, Pieces]:
    """What only the one has is marked; white space is kept, and not compared."""
    # Words stand at odd places, between them what separates them.
    a, b = (split(r"(\w+|[^\w\s])", text) for text in (left, right))
    common = common_words(a[1::2], b[1::2])
    return _pieces(a, {i for i, _ in common}), _pieces(b, {j for _, j in common})


def common_words(left: list[str], right: list[str]) -> list[tuple[int, int]]:
    """Places of a longest common subsequence, in order."""
    begin, most = 0, min(len(left), len(right))
    while begin < most and left[begin] == right[begin]:
        begin += 1
    end = 0
    while end < most - begin and left[-1 - end] == right[-1 - end]:
        end += 1
    middle = _aligned(left[begin : len(left) - end], right[begin : len(right) - end])
    return [
        *((i, i) for i in range(begin)),
        *((begin + i, begin + j) for i, j in middle),
        *((len(left) - k, len(right) - k) for k in range(end, 0, -1)),
    ]


def _aligned(left: list[str], right: list[str]) -> list[tuple[int, int]]:
    """`common_words`, without a look at the ends."""
    places: dict[str, int] = defaultdict(int)
    for j, word in enumerate(right):
        places[word] |= 1 << j
    # Bit j of row i is 0 where word j of the right makes the common part of the first i words of
    # the left and the first j + 1 of the right longer than without it.
    row = full = (1 << len(right)) - 1
    rows = [row]
    for word in left:
        found = row & places.get(word, 0)
        row = ((row + found) | (row - found)) & full
        rows.append(row)
    common: list[tuple[int, int]] = []
    i, j = len(left), len(right)
    while i and j:
        if rows[i] >> (j - 1) & 1:
            j -= 1
        elif rows[i - 1] >> (j - 1) & 1:
            i, j = i - 1, j - 1
            common.append((i, j))
        else:
            i -= 1
    return common[::-1]


def _pieces(parts: list[str], common: set[int]) -> Pieces:
    """Words and what separates them, joined; separators are marked between marked words."""
    count = len(parts) // 2
    marks = [False] * len(parts)
    for number in range(count):
        marks[2 * number + 1] = number not in common
    for place in range(2, len(parts) - 1, 2):
        marks[place] = marks[place - 1] and marks[place + 1]
    marked = [(mark, part) for mark, part in zip(marks, parts, strict=True) if part]
    return [
        (mark, "".join(part for _, part in group))
        for mark, group in groupby(marked, key=lambda pair: pair[0])
    ]
