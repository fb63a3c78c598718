"""What a file of labels holds, in figures, for `trivium data stats`."""

import statistics
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from itertools import combinations
from typing import Any

from trivium.data.split import author_of, row_key
from trivium.labels import Demonstration, Label, Ranking, Text


def describe(rows: Iterable[Label]) -> dict[str, Any]:
    """Figures of a set of labels, in one pass; holds a few numbers for each row, never its text.

    Returns:
        `rows`; `duplicates`, rows whose prompt (or text), normalised, came before; `authors`
        and `labelers`, how many different ones are named; `prompt_chars` and `answer_chars`
        (answers only where there are any), `{min, q1, median, q3, max}` in characters, all
        messages of a prompt together. For rankings also `k`, how many rows have K answers;
        `pairs`; `tied_share`, ties as a share of them; `without_untied_pair`, rows that no
        pair can be learnt from; `empty_answers`.
    """
    seen: set[bytes] = set()
    authors: set[str] = set()
    labelers: set[str] = set()
    prompts: list[int] = []
    answers: list[int] = []
    ks: Counter[int] = Counter()
    ties, duplicates, all_tied = 0, 0, 0
    for row in rows:
        digest = blake2b(row_key(row).encode(), digest_size=16).digest()
        duplicates += digest in seen
        seen.add(digest)
        authors |= _named(author_of(row))
        prompts.append(_prompt_chars(row))
        answers += [len(text) for text in _answers(row)]
        if isinstance(row, Demonstration | Ranking):
            labelers |= _named(row.labeler)
        if isinstance(row, Ranking):
            k, tied = len(row.completions), _tied_pairs(row)
            ks[k] += 1
            ties += tied
            all_tied += tied == k * (k - 1) // 2
    figures: dict[str, Any] = {
        "rows": len(prompts),
        "duplicates": duplicates,
        "authors": len(authors),
        "labelers": len(labelers),
        "prompt_chars": _quartiles(prompts),
    }
    if answers:
        figures["answer_chars"] = _quartiles(answers)
    if ks:
        pairs = sum(rows * k * (k - 1) // 2 for k, rows in ks.items())
        figures |= {"k": dict(sorted(ks.items())), "pairs": pairs, "tied_share": ties / pairs}
        figures |= {"without_untied_pair": all_tied, "empty_answers": answers.count(0)}
    return figures


def _named(name: str | None) -> set[str]:
    return set() if name is None else {name}


def _prompt_chars(row: Label) -> int:
    if isinstance(row, Text):
        return len(row.text)
    return sum(len(message.content) for message in row.prompt)


def _answers(row: Label) -> list[str]:
    if isinstance(row, Ranking):
        return [completion.text for completion in row.completions]
    return [row.completion] if isinstance(row, Demonstration) else []


def _tied_pairs(ranking: Ranking) -> int:
    return sum(a.rank == b.rank for a, b in combinations(ranking.completions, 2))


def _quartiles(lengths: list[int]) -> dict[str, float]:
    """Minimum, quartiles (linear between order statistics, as numpy's) and maximum."""
    if not lengths:
        return {}
    if len(lengths) > 1:
        q1, median, q3 = statistics.quantiles(lengths, n=4, method="inclusive")
    else:
        q1 = median = q3 = float(lengths[0])
    return {"min": min(lengths), "q1": q1, "median": median, "q3": q3, "max": max(lengths)}
