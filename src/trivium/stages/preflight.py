"""Checks before compute is spent: what a run is about to learn from, and whether it may."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch

from trivium.config import Split
from trivium.data import DataReport, Leak, refuse_leaks, split_without_leaks
from trivium.errors import UserError
from trivium.labels import Label
from trivium.models import Compute, RewardModel
from trivium.rewards import score_texts
from trivium.runs.directory import Run
from trivium.stages.rows import Messages
from trivium.text import Codec, Sequences, encode_prompt

LabelT = TypeVar("LabelT", bound=Label)


def split_or_check(
    rows: list[LabelT], heldout: list[LabelT] | None, how: Split, *, names: tuple[str, str]
) -> tuple[list[LabelT], list[LabelT], tuple[Leak, ...]]:
    """Train and held-out rows: split them, or refuse a held-out set that overlaps the training set.

    Returns:
        Train, held-out, and what a split left out of train.

    Raises:
        UserError: the held-out rows leak into the training rows, or nothing is left to train on.
    """
    left_out: list[Leak] = []
    if heldout is None:
        train, heldout, left_out = split_without_leaks(
            rows, salt=how.salt, heldout_fraction=how.heldout_fraction
        )
    else:
        train = rows
        refuse_leaks(train, heldout, names)
    if not train:
        raise UserError(f"{names[0]}: no row is left to train on after the split")
    return train, heldout, tuple(left_out)


def show_example(run: Run, codec: Codec, sequences: Sequences) -> None:
    """One decoded row with its special tokens, as the model will see it, and the EOS count."""
    first = sequences.tokens[: int(sequences.lengths[0])].tolist()
    text = codec.tokenizer.decode(first, skip_special_tokens=False)
    run.say(f"first row: {text!r}")
    last = sequences.offsets + sequences.lengths - 1
    ended = int((sequences.tokens[last] == codec.end_id).sum())
    run.say(f"rows with trained EOS: {ended}/{len(sequences)}")


def check_bos(codec: Codec, messages: Messages) -> None:
    """Exactly as many BOS tokens before a prompt's answer as the template writes.

    Raises:
        AssertionError: the counts differ.
    """
    if codec.bos_id is None or codec.bos_id == codec.tokenizer.eos_token_id:
        return
    hollow = [{"role": m["role"], "content": ""} for m in messages]
    text = codec.tokenizer.apply_chat_template(hollow, add_generation_prompt=True, tokenize=False)
    expected = str(text).count(str(codec.tokenizer.bos_token))
    got = encode_prompt(codec, messages, where="first prompt").count(codec.bos_id)
    assert got == expected, f"{got} BOS tokens where the template writes {expected}"


def check_scores_alone_and_together(
    reward: RewardModel, prompts: Sequence[Messages], responses: Sequence[str], compute: Compute
) -> None:
    """The score of a text alone equals its score in a batch with longer and shorter ones.

    Raises:
        UserError: they differ; the reward model then reads padding or neighbours.
    """
    together = score_texts(reward, prompts, responses, compute)
    alone = [
        score_texts(reward, [p], [r], compute)[0] for p, r in zip(prompts, responses, strict=True)
    ]
    tolerance = 1e-4 if compute.dtype is torch.float32 else 0.1
    for a, b in zip(alone, together, strict=True):
        if abs(a - b) > tolerance * (1 + abs(a)):
            raise UserError(
                f"reward model {reward.name}: a text scores {a:.5f} alone and {b:.5f} in a batch; "
                f"it depends on padding, so its scores mean nothing"
            )


def data_figures(report: DataReport, parts: Mapping[str, DataReport]) -> dict[str, object]:
    """The account of all rows as it stands in summary.json: those trained on, then other parts."""
    return report.as_dict() | {name: part.as_dict() for name, part in parts.items()}
