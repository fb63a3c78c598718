"""What the trials of a study found, read back from their folders: figures, means, the table."""

import statistics
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.table import Table

from trivium.runs.drawing import format_number
from trivium.runs.pipeline_summary import number, read_stage

STUDIED = "ppo"
"""What a trial's evaluation calls its policy."""

EVALUATED = (
    "reward_mean",
    "gold_mean",
    "kl_to_sft_nats",
    "response_tokens",
    "truncated_share",
    "pretraining_loss",
    "cloze_accuracy",
)
"""Figures of a model that are read from an evaluation; None where it did not measure one."""

TRAINED = ("win_rate", "kl_jump_max", "step_seconds", "ppo_seconds")
"""Figures of a trial besides. A step's seconds are the median: others may use the machine too."""

Figures = dict[str, Any]
COLUMNS = {
    "reward_mean": "reward",
    "gold_mean": "gold",
    "win_rate": "win rate",
    "kl_to_sft_nats": "KL, nats",
    "response_tokens": "tokens",
    "pretraining_loss": "text loss",
    "cloze_accuracy": "cloze",
    "kl_jump_max": "largest jump, nats",
    "step_seconds": "seconds a step",
}
"""Figure and how the table calls it."""


def read(folder: Path, *, seed: int) -> Figures:
    """The figures of a finished trial."""
    ppo, evaluation = read_stage(folder / "ppo"), read_stage(folder / "evaluate")
    found = evaluation.summary["models"][STUDIED]
    kl = [number(row, "objective/kl_nats") for row in ppo.metrics]
    return {
        "seed": seed,
        **{name: number(found, name) for name in EVALUATED},
        "win_rate": number(found, "win_rate_vs_sft", "point"),
        "win_rate_low": number(found, "win_rate_vs_sft", "low"),
        "win_rate_high": number(found, "win_rate_vs_sft", "high"),
        "win_rate_by": found["win_rate_by"],
        "kl_jump_max": largest_jump([nats for nats in kl if nats is not None]),
        "step_seconds": statistics.median(row["seconds/step"] for row in ppo.metrics),
        "ppo_seconds": ppo.summary["seconds"],
        "seconds": ppo.summary["seconds"] + evaluation.summary["seconds"],
    }


def largest_jump(values: Sequence[float]) -> float | None:
    """The most that a series rises from one step to the next; None for fewer than two.

    Of the KL to the SFT model on each step's fresh answers: what an update did to whole answers,
    told in the same way whatever the estimator and the loss.
    """
    return max((now - was for was, now in pairwise(values)), default=None)


def baseline(folder: Path) -> Figures:
    """The figures of the model that all trials started from, as a trial's evaluation has them."""
    summary = read_stage(folder / "evaluate").summary
    found = summary["models"][summary["baseline"]]
    return {name: number(found, name) for name in EVALUATED} | {"win_rate": 0.5}


def mean(runs: Sequence[Figures]) -> Figures:
    """Mean of each figure over the seeds, and its range; None where a seed lacks it."""
    means: Figures = {}
    for name in (*EVALUATED, *TRAINED):
        known = [one[name] for one in runs if one[name] is not None]
        whole = len(known) == len(runs)
        means[name] = statistics.fmean(known) if whole else None
        means[f"{name}_range"] = [min(known), max(known)] if whole else None
    return means


def cells(summary: Figures) -> list[tuple[str, ...]]:
    """The table: a row for the baseline, one for each value, under the knob and `COLUMNS`."""
    rows = {"before": summary["baseline"], **summary["values"]}
    several = summary["seeds"] > 1
    return [
        (value, *(_cell(found, name, several=several) for name in COLUMNS))
        for value, found in rows.items()
        if found
    ]


def _cell(found: Figures, name: str, *, several: bool) -> str:
    if name not in found:  # the baseline was not trained here
        return ""
    text = format_number(found[name])
    if several and found.get(f"{name}_range"):
        low, high = (format_number(end) for end in found[f"{name}_range"])
        text += f" ({low} to {high})"
    return text


def table(summary: Figures) -> Table:
    """For the terminal."""
    shown = Table(title=f"Study of {summary['knob']} on {summary['run']}", title_justify="left")
    for place, head in enumerate((summary["knob"], *COLUMNS.values())):
        shown.add_column(head, justify="right" if place else "left")
    for row in cells(summary):
        shown.add_row(*row)
    return shown


def markdown(summary: Figures) -> str:
    """For a page."""
    heads = (summary["knob"], *COLUMNS.values())
    lines = [heads, ("---",) * len(heads), *cells(summary)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
