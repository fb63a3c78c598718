"""Several rewards into the one number that is maximised."""

import math
from collections.abc import Mapping, Sequence


def weighted_total(
    parts: Mapping[str, Sequence[float]], weights: Mapping[str, float]
) -> list[float]:
    """Sum of the named rewards of each response, r_i = sum_k w_k r_ki.

    Each sum is rounded once, at its end, so it does not depend on the order of the names.

    Args:
        parts: scores by reward name, lists of one length, aligned by response.
        weights: one for every name; 0 leaves a reward out of the sum.

    Raises:
        ValueError: no parts, names that differ between the two, or lists of different length.
    """
    if not parts or parts.keys() != weights.keys():
        raise ValueError(f"rewards {sorted(parts)} but weights for {sorted(weights)}")
    if len({len(scores) for scores in parts.values()}) > 1:
        raise ValueError(f"lengths differ: { {name: len(s) for name, s in parts.items()} }")
    return [
        math.fsum(weights[name] * score for name, score in zip(parts, scores, strict=True))
        for scores in zip(*parts.values(), strict=True)
    ]
