"""Cheap signs that answers have degenerated: loops, one answer for everything, empty answers.

Words are what white space separates, in lower case.
"""

from collections.abc import Sequence


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Different n-grams over all n-grams of all texts; falls when a policy says one thing always.

    It falls with the amount of text too: compare equal numbers of answers of like length.

    Returns:
        In (0, 1]; 0.0 where no text has n words.

    Source: Li et al. 2016, arXiv:1510.03055 (distinct-1, distinct-2).
    """
    grams = [gram for text in texts for gram in _ngrams(text, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def repetition_share(texts: Sequence[str], *, n: int = 4) -> float:
    """Share of n-grams that came before in the same text; near 0 in prose, near 1 in a loop.

    Pooled over texts. Words only: a run of one letter without spaces is a single word.

    Returns:
        In [0, 1); 0.0 where no text has n words.
    """
    grams = [_ngrams(text, n) for text in texts]
    total = sum(len(of_text) for of_text in grams)
    new = sum(len(set(of_text)) for of_text in grams)
    return (total - new) / total if total else 0.0


def mean_words(texts: Sequence[str]) -> float:
    """Mean length in words; an empty text counts as 0.

    Raises:
        ValueError: no texts.
    """
    if not texts:
        raise ValueError("no texts to measure")
    return sum(len(text.split()) for text in texts) / len(texts)


def _ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """All runs of n words, in order."""
    words = text.lower().split()
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
