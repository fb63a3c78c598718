"""What a reward model is worth: accuracy with intervals, beside the ruler and the labelers.

A prompt that several labelers ranked gives several rankings but was drawn once, so all intervals
draw prompts, with all rankings of each.
"""

from collections import defaultdict
from collections.abc import Sequence

from trivium.data import prompt_key
from trivium.evals import (
    LabelerRanking,
    Scored,
    accuracy,
    accuracy_by_gap,
    calibration,
    correlation,
    labeler_agreement,
    longer_wins,
    pair_outcomes,
    pair_probabilities,
)
from trivium.labels import Ranking
from trivium.models import Compute, RewardModel
from trivium.rewards import score_sequences
from trivium.stages.rows import Rankings


def heldout_figures(
    reward: RewardModel, data: Rankings, compute: Compute, *, seed: int
) -> dict[str, object] | None:
    """Accuracy by pair and by rank gap, the longer-answer ruler, calibration; None without rows."""
    if not len(data):
        return None
    scored = _scored(reward, data, compute)
    lengths = [
        ([float(len(text)) for text in texts], ranks.tolist())
        for texts, ranks in zip(data.texts, data.ranks, strict=True)
    ]
    by_gap = accuracy_by_gap(scored, seed=seed, prompts=data.prompt_keys)
    probabilities, outcomes = pair_probabilities(scored, seed=seed)
    return {
        "pairs": sum(row.pairs for row in by_gap),
        "rankings": len(data),
        "prompts": len(set(data.prompt_keys)),
        "accuracy": accuracy(scored, seed=seed, prompts=data.prompt_keys).as_dict(),
        "by_rank_gap": [row.as_dict() for row in by_gap],
        "longer_wins": longer_wins(lengths, seed=seed, prompts=data.prompt_keys).as_dict(),
        "score_length_correlation": correlation(
            [s for scores, _ in scored for s in scores], [n for row, _ in lengths for n in row]
        ),
        "calibration": calibration(probabilities, outcomes).as_dict(),
    }


def labeler_figures(
    reward: RewardModel, data: Rankings, compute: Compute, *, seed: int
) -> dict[str, object] | None:
    """Accuracy on rankings by labelers who were never trained on (paper E.2)."""
    if not len(data):
        return None
    scored = _scored(reward, data, compute)
    return {
        "accuracy": accuracy(scored, seed=seed, prompts=data.prompt_keys).as_dict(),
        "pairs": sum(len(pair_outcomes(scores, ranks)) for scores, ranks in scored),
        "rankings": len(data),
        "prompts": len(set(data.prompt_keys)),
    }


def agreement_figures(rows: Sequence[Ranking], *, seed: int) -> dict[str, float] | None:
    """How often two labelers of the same prompt agree; None where nobody ranked it twice."""
    by_prompt: defaultdict[str, list[LabelerRanking]] = defaultdict(list)
    for row in rows:
        if row.labeler is not None:
            keys = [c.text for c in row.completions]
            by_prompt[prompt_key(row.prompt)].append(
                (row.labeler, keys, [c.rank for c in row.completions])
            )
    agreement = labeler_agreement(by_prompt, seed=seed)
    return None if agreement is None else agreement.as_dict()


def _scored(reward: RewardModel, data: Rankings, compute: Compute) -> list[Scored]:
    """Scores and ranks of each ranking, of texts cut as in training."""
    flat = score_sequences(reward, data.sequences, compute)
    return [
        ([flat[row] for row in places.tolist()], ranks.tolist())
        for places, ranks in zip(data.completions, data.ranks, strict=True)
    ]
