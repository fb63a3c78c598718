"""What the stages of a recipe found, read back from their run directories and put together.

A run directory may belong to a run that is still going or was cut off, so everything that a run
has not written yet is read as None, and a torn last line of a .jsonl file is left out.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trivium.errors import UserError
from trivium.runs.config_file import read_mapping

_KINDS = ("pretrain", "sft", "collect", "reward", "ppo", "evaluate")
_GOLD_PARTS = ("instruction_following", "truthful", "decent")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """One stage's run directory, read."""

    name: str
    """Folder name: the entry of the recipe."""

    kind: str
    """Stage kind: sft, reward, ppo, ..."""

    folder: Path
    config: dict[str, Any]
    summary: dict[str, Any]
    metrics: list[dict[str, Any]]

    @property
    def status(self) -> str:
        return str(at(self.summary, "status") or "running")


def at(data: Any, *path: str) -> Any:
    """Follow keys into nested mappings; None where a run has not got that far."""
    for key in path:
        if not isinstance(data, Mapping) or key not in data:
            return None
        data = data[key]
    return data


def number(data: Any, *path: str) -> float | None:
    """As `at`, for a finite number; NaN, infinities and anything else are None."""
    value = at(data, *path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty when the file is not there yet."""
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: expected one JSON object, {error}; write it anew") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a .jsonl file; a last line that was being written when the run stopped is left out.

    Raises:
        UserError: a line before the last is not JSON.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    rows = []
    for index, line in enumerate(lines):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            if index == len(lines) - 1:
                break
            raise UserError(
                f"{path}, line {index + 1}: expected a JSON object, {error}; remove the line"
            ) from error
    return rows


def read_stage(folder: Path) -> StageRun:
    """Read a stage's run directory.

    Raises:
        UserError: the folder has no config.yaml, or a file in it cannot be read.
    """
    path = folder / "config.yaml"
    if not path.exists():
        raise UserError(f"{folder}: expected a run directory with a config.yaml; give another path")
    config = read_mapping(path)
    summary = read_json(folder / "summary.json")
    return StageRun(
        name=folder.name,
        kind=str(at(config, "stage") or at(summary, "stage") or "unknown"),
        folder=folder,
        config=config,
        summary=summary,
        metrics=read_lines(folder / "metrics.jsonl"),
    )


def read_stages(folder: Path, *, order: Sequence[str] = ()) -> list[StageRun]:
    """Run directories of the stages: those named in `order` first, the rest by kind."""
    runs = [
        read_stage(child)
        for child in sorted(folder.iterdir())
        if child.is_dir() and (child / "config.yaml").exists()
    ]

    def place(run: StageRun) -> tuple[int, int]:
        if run.name in order:
            return list(order).index(run.name), 0
        return len(order), _KINDS.index(run.kind) if run.kind in _KINDS else len(_KINDS)

    return sorted(runs, key=place)


def evaluated_models(runs: Sequence[StageRun]) -> dict[str, dict[str, Any]]:
    """Figures of every model that an `evaluate` stage measured; a later stage wins."""
    models: dict[str, dict[str, Any]] = {}
    for run in runs:
        found = at(run.summary, "models") if run.kind == "evaluate" else None
        models |= found if isinstance(found, dict) else {}
    return models


def evaluation_baseline(runs: Sequence[StageRun]) -> str:
    """Name of the model that the last `evaluate` stage compared the others with."""
    run = last_of(runs, "evaluate")
    found = at(run.summary, "baseline") or at(run.config, "baseline") if run else None
    return str(found or "sft")


def last_of(runs: Sequence[StageRun], kind: str) -> StageRun | None:
    """The last stage of a kind that has written a summary, or None."""
    found = [run for run in runs if run.kind == kind and run.summary]
    return found[-1] if found else None


def interval(data: Any, *path: str) -> dict[str, float] | None:
    """{point, low, high} under `path`, or None."""
    point, low, high = (number(data, *path, name) for name in ("point", "low", "high"))
    if point is None or low is None or high is None:
        return None
    return {"point": point, "low": low, "high": high}


def summarise(
    dir: Path,
    *,
    recipe: str,
    seed: int,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """The summary.json of a whole recipe.

    Args:
        dir: folder of the recipe; each stage's run directory is a folder in it.
        recipe: name or path of the recipe.
        seed: the recipe's seed.
        seconds: wall-clock time by entry name, in the recipe's order.

    Returns:
        status ("finished" when every entry is), seconds, seed, recipe, stages, and the figures of
        models, reward model and invariants; a figure that is not known is None.
    """
    runs = read_stages(dir, order=tuple(seconds))
    return {
        "status": _status(runs, tuple(seconds)),
        "seconds": sum(seconds.values()),
        "seed": seed,
        "recipe": recipe,
        "stages": dict(seconds),
        "baseline": evaluation_baseline(runs),
        "models": {name: _model(found) for name, found in evaluated_models(runs).items()},
        "reward_model": _reward_model(last_of(runs, "reward")),
        "invariants": {
            name: _largest(runs, name) for name in ("step0_kl_per_token", "first_ratio_deviation")
        },
    }


def _status(runs: Sequence[StageRun], expected: Sequence[str]) -> str:
    found = {run.name: run.status for run in runs}
    for bad in ("failed", "interrupted"):
        if bad in found.values():
            return bad
    done = bool(found) and set(expected) <= set(found)
    return "finished" if done and set(found.values()) == {"finished"} else "running"


def _model(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        "gold_mean": number(figures, "gold_mean"),
        "win_rate_vs_sft": interval(figures, "win_rate_vs_sft"),
        "kl_to_sft_nats": number(figures, "kl_to_sft_nats"),
        **{part: number(figures, "gold_parts", part) for part in _GOLD_PARTS},
        "pretraining_loss": number(figures, "pretraining_loss"),
        "cloze_accuracy": number(figures, "cloze_accuracy"),
        "reward_mean": number(figures, "reward_mean"),
        "response_tokens": number(figures, "response_tokens"),
    }


def _reward_model(run: StageRun | None) -> dict[str, float | None]:
    figures = run.summary if run else {}
    return {
        "heldout_accuracy": number(figures, "heldout", "accuracy", "point"),
        "heldout_labeler_accuracy": number(figures, "heldout_labelers", "accuracy", "point"),
        "labeler_agreement": number(figures, "labeler_agreement", "point"),
        "demonstration_mean": number(figures, "demonstration_mean"),
    }


def _largest(runs: Sequence[StageRun], name: str) -> float | None:
    """The invariant of the worst PPO run, so that one good run cannot hide a bad one."""
    found = [number(run.summary, "invariants", name) for run in runs if run.kind == "ppo"]
    return max((abs(value) for value in found if value is not None), default=None)
