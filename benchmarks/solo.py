"""One of our stages alone against the roof: the share of it that real tokens use.

What counts is `trivium.cost`'s minimum: no padding, shared prompts read once, nothing computed
twice. Time is that of a whole iteration, its updates and all that is not arithmetic included.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from race import alternate, start
from roof import SIDE, SMALL, matmul
from tasks import Task, prepare

from trivium import cost
from trivium.cost import Shape
from trivium.models import compute_for
from trivium.models.load import load_blank
from trivium.models.shape import shape_of

Lengths = Sequence[tuple[int, Sequence[int]]]
"""Of each prompt, and of the answers to it."""


@dataclass(frozen=True, slots=True)
class Solo:
    """A stage, and the shares it has to reach: floor, target, moonshot."""

    kind: str
    goals: tuple[float, float, float]
    sizes: dict[str, int]


SOLO = {
    "roof_sft": Solo(
        "sft",
        (0.55, 0.70, 0.80),
        {"batch": 16, "per_backward": 8, "max_prompt_tokens": 128, "max_response_tokens": 192},
    ),
    "roof_rm": Solo(
        "reward",
        (0.55, 0.70, 0.80),
        {"batch": 4, "per_backward": 2, "max_prompt_tokens": 64, "max_response_tokens": 64},
    ),
    "roof_ppo": Solo(
        "ppo",
        (0.40, 0.55, 0.65),
        {"batch": 16, "per_backward": 8, "max_prompt_tokens": 112, "max_response_tokens": 64},
    ),
}


def run(name: str, model: str, iterations: int, python: str) -> dict:
    """Time iterations of one stage, the roof before and after each of them."""
    row = SOLO[name]
    dtype = compute_for("auto").dtype
    side = SIDE if dtype is torch.float32 else SMALL
    roofs: list[float] = []
    with tempfile.TemporaryDirectory(prefix="trivium-bench-") as folder:
        print(name, flush=True)
        task = prepare(row.kind, model, Path(folder) / name, iterations=iterations, **row.sizes)
        stage = start(
            python, "ours.py", str(Path(task.folder) / "task.json"), "auto",
            log=Path(folder) / "ours.log",
        )  # fmt: skip
        try:
            (heard,) = alternate([stage], iterations, lambda: roofs.append(matmul(side, dtype)))
        finally:
            stage.stop()
        shape = shape_of(load_blank(task.policy).model)
        flops = [minimum(task.kind, shape, rows) for rows in read(task, heard)]
    rates = [n / m["seconds"] / 1e9 for n, m in zip(flops, heard, strict=True)]
    found = shares(rates, roofs)
    floor, target, moonshot = row.goals
    return {
        "id": name, "ours": median(rates), "peer": median(roofs), "ratio": median(found),
        "spread": [min(found), max(found)], "floor": floor, "target": target,
        "moonshot": moonshot, "dtype": str(dtype), "peer_name": f"matmul of {side}",
        "roofs": roofs, "rates": rates,
        "seconds": median(m["seconds"] for m in heard),
    }  # fmt: skip


def shares(rates: Sequence[float], roofs: Sequence[float]) -> list[float]:
    """Each iteration's rate over the mean of the roofs before and after it.

    A host that others use changes its speed from minute to minute, and the roof with it.
    """
    return [rate / ((a + b) / 2) for rate, (a, b) in zip(rates, pairwise(roofs), strict=True)]


def read(task: Task, heard: Sequence[dict]) -> list[Lengths]:
    """What each timed iteration read: as it says itself, or by the order of the file."""
    if task.kind == "ppo":
        return [message["lengths"] for message in heard]
    lines = (Path(task.folder) / "tokens.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    lengths = [(len(row["prompt"]), [len(r) for r in row["responses"]]) for row in rows]
    # The first batch warmed up and was not timed.
    starts = range(task.batch, task.batch * (len(heard) + 1), task.batch)
    return [lengths[start : start + task.batch] for start in starts]


def minimum(kind: str, shape: Shape, lengths: Lengths) -> int:
    """FLOPs that an iteration needs at the least.

    sft learns every answer; reward learns trees and has no logits; PPO writes its answers, reads
    them with reference, reward model and critic, and learns them with policy and critic.
    """
    scored = cost.total(cost.tree(p, rs) for p, rs in lengths)
    if kind == "reward":
        return cost.training_flops(shape, scored).total
    predicted = cost.total(cost.tree(p, rs, predicted=sum(rs)) for p, rs in lengths)
    learned = cost.training_flops(shape, predicted).total
    if kind == "sft":
        return learned
    assert kind == "ppo", kind
    written = cost.total(cost.sampled(p, rs) for p, rs in lengths)
    read_only = [written, predicted, scored, scored]
    passes = sum(cost.forward_flops(shape, reading).total for reading in read_only)
    return passes + learned + cost.training_flops(shape, scored).total
