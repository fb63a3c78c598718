"""How far labelers agree with one another: the ceiling a reward model is measured against."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from trivium.evals.intervals import Interval, bootstrap_share

LabelerRanking = tuple[str, Sequence[str], Sequence[int]]
"""Labeler, keys of the completions ranked (ids, or texts), and their ranks, aligned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Share of comparisons that two labelers made alike."""

    share: Interval
    """Agreeing comparisons over all comparisons."""

    pairs: int
    """Comparisons: pairs of completions, once for each two labelers who both ordered them."""

    def as_dict(self) -> dict[str, float]:
        """Point, low, high and pairs, ready for JSON."""
        return self.share.as_dict() | {"pairs": self.pairs}


def labeler_agreement(
    rankings_by_prompt: Mapping[str, Sequence[LabelerRanking]], *, seed: int
) -> Agreement | None:
    """How often two labelers order the same two completions of a prompt the same way.

        agreement = #(both say a > b, or both say b > a) / #(neither ties a with b)

    over all prompts, all two different labelers of a prompt and all two completions that both
    ranked. A pair that either of them ties is left out, whether the other ties it or not: chance
    is then 0.5, and a labeler who ties often is not punished. Two rankings by one labeler are not
    compared. Interval: bootstrap over prompts.

    Yardstick: training labelers of InstructGPT agreed 72.6 +- 1.5 % of the time (Ouyang et al.
    2022, section 3.4).

    Args:
        rankings_by_prompt: for each prompt its rankings. A key that comes twice in one ranking is
            ambiguous (the same text sampled twice) and not compared there.
        seed: of the bootstrap.

    Returns:
        None if no two labelers ordered the same two completions.
    """
    agreed: list[float] = []
    prompts: list[str] = []
    for prompt, rankings in rankings_by_prompt.items():
        for (labeler_a, keys_a, ranks_a), (labeler_b, keys_b, ranks_b) in combinations(rankings, 2):
            if labeler_a != labeler_b:
                same = _same_order(_rank_of(keys_a, ranks_a), _rank_of(keys_b, ranks_b))
                agreed.extend(same)
                prompts.extend([prompt] * len(same))
    if not agreed:
        return None
    return Agreement(share=bootstrap_share(agreed, seed=seed, groups=prompts), pairs=len(agreed))


def _rank_of(keys: Sequence[str], ranks: Sequence[int]) -> dict[str, int]:
    """Rank of each completion whose key is unique in its ranking."""
    times = Counter(keys)
    return {key: rank for key, rank in zip(keys, ranks, strict=True) if times[key] == 1}


def _same_order(a: Mapping[str, int], b: Mapping[str, int]) -> list[float]:
    """1.0 or 0.0 for each pair of shared keys that neither side ties."""
    shared = [key for key in a if key in b]
    return [
        float((a[x] < a[y]) == (b[x] < b[y]))
        for x, y in combinations(shared, 2)
        if a[x] != a[y] and b[x] != b[y]
    ]
