"""A study: one knob of a finished run's PPO stage at several values, all else as it was.

Each value (and seed) is a trial: a recipe of two stages, `ppo` and `evaluate`, in a folder of its
own, OUT/VALUE/seed-N. A trial that is finished is not run again, so a study can be stopped, given
again, and given more values.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from trivium.config import PPO, Evaluate
from trivium.errors import UserError
from trivium.runs import config_file, recipes
from trivium.runs.atomic import RECIPE_NAME, write_json, write_text
from trivium.runs.directory import read_summary
from trivium.runs.recipes import Entry, Recipe
from trivium.runs.study_figure import save_figure
from trivium.stages import pipeline, study_report

FIELDS = {
    "clip-range": "clip",
    "kl-coef": "kl_coef",
    "ptx-coef": "ptx_coef",
    "lambda": "lam",
    "epochs": "inner_epochs",
}
"""Knobs that are one number: the field of `config.PPO` that each turns."""

NO_CRITIC = {"value": "none", "value_from": None}
SIBLINGS = {**NO_CRITIC, "samples_per_prompt": 4}
ESTIMATORS: dict[str, dict[str, Any]] = {
    "reinforce": {"estimator": "bandit", **NO_CRITIC},
    "reward-to-go": {"estimator": "rewards_to_go", **NO_CRITIC},
    "baseline": {"estimator": "rewards_to_go"},
    "actor-critic": {"estimator": "gae", "lam": 0.0},
    "rloo": {"estimator": "rloo", **SIBLINGS},
    "grpo": {"estimator": "grpo", **SIBLINGS},
    "ppo-clip": {"estimator": "gae", "loss": "clip"},
    "ppo-kl": {"estimator": "gae", "loss": "klpen"},
    "trpo": {"estimator": "gae", "loss": "trpo"},
}
"""Values of the knob `estimator`: how credit is assigned, and the loss, as fields of `config.PPO`.

All sample the same number of episodes; rloo and grpo spend them on a quarter of the prompts.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is studied."""

    knob: str
    """A key of `FIELDS`, or `estimator`."""

    values: tuple[str, ...]
    """As they were given."""

    run: Path
    """Folder of a finished recipe: its SFT and reward models, prompts and settings are used."""

    entry: str | None
    """Its PPO stage that is varied; None: the first (for ptx-coef, the first with web text)."""

    seeds: int
    """Trials of each value, with the seeds of the run, the next, ..."""

    changes: tuple[str, ...]
    """More settings of all trials: `ppo.FIELD=VALUE`, `evaluate.FIELD=VALUE`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One value with one seed."""

    value: str
    """The value, as its folder is named."""

    seed: int
    folder: Path
    recipe: Recipe


def run(study: Study, out: Path) -> None:
    """Run the trials that are not finished yet; write the table, the figure and the summary.

    Raises:
        UserError: the run is no finished recipe, a value does not fit the knob, ``out`` holds
            trials with other settings, or a stage failed.
    """
    todo = trials(study, out)
    for trial in todo:
        check_same(trial)
    console = Console(stderr=True)
    for number, trial in enumerate(todo, 1):
        if is_finished(trial):
            continue
        console.rule(
            f"trial {number}/{len(todo)}: {study.knob} {trial.value}, seed {trial.seed}",
            align="left",
            characters="=",
        )
        pipeline.run(trial.recipe, trial.folder, resume=trial.folder.exists())
        conclude(study, out, todo)
    summary = conclude(study, out, todo)
    save_figure(summary, out / "figure.png")
    Console().print(study_report.table(summary))
    console.print(f"wrote summary.json, table.md and figure.png in {out}", highlight=False)


def trials(study: Study, out: Path) -> list[Trial]:
    """Every value with every seed, in the order they run: all values of a seed first."""
    source = read_source(study)
    settings = settings_of(study)
    return [
        trial_of(study, value, fields, source, source["ppo"]["seed"] + number, out)
        for number in range(study.seeds)
        for value, fields in settings.items()
    ]


def trial_of(
    study: Study,
    value: str,
    fields: Mapping[str, Any],
    source: Mapping[str, dict[str, Any]],
    seed: int,
    out: Path,
) -> Trial:
    """The recipe of one trial."""
    folder, baseline = out / value / f"seed-{seed}", source["evaluate"]["baseline"]
    models = {
        baseline: source["evaluate"]["models"][baseline],
        study_report.STUDIED: str(folder / "ppo"),
    }
    where = f"study {study.knob} {value}"
    stages = (
        _entry("ppo", PPO, {**source["ppo"], **fields, "seed": seed}, where),
        _entry("evaluate", Evaluate, {**source["evaluate"], "models": models}, where),
    )
    about = f"{study.knob} {value} on {study.run}, seed {seed}"
    recipe = Recipe(name=where, about=about, seed=seed, stages=stages)
    return Trial(value=value, seed=seed, folder=folder, recipe=recipe)


def _entry(name: str, cls: type[PPO | Evaluate], values: Mapping[str, Any], where: str) -> Entry:
    return Entry(name=name, kind=name, config=config_file.build(cls, values, where=where))


def read_source(study: Study) -> dict[str, dict[str, Any]]:
    """Fields of the run's PPO stage and of its evaluation, the study's own changes made.

    Raises:
        UserError: the folder is no finished recipe, or has no such stage.
    """
    recipe = pipeline.load(study.run)
    summary = read_summary(study.run)
    if summary is None or summary["status"] != "finished":
        raise UserError(
            f"{study.run}: is not finished; finish it with `trivium resume {study.run}` first"
        )
    evaluations = [entry.config for entry in recipe.stages if entry.kind == "evaluate"]
    if not evaluations:
        raise UserError(
            f"{study.run}: has no evaluate stage, whose prompts and judges a study uses"
        )
    entries = {
        "ppo": config_file.to_dict(choose_entry(study, recipe).config),
        "evaluate": config_file.to_dict(evaluations[-1]),
    }
    for change in study.changes:
        recipes.set_field(entries, change)
    return entries


def choose_entry(study: Study, recipe: Recipe) -> Entry:
    """The PPO stage that is varied.

    Raises:
        UserError: there is none that will do.
    """
    found: dict[str, Entry] = {}
    with_text: dict[str, Entry] = {}
    for entry in recipe.stages:
        if isinstance(entry.config, PPO):
            found[entry.name] = entry
            if entry.config.pretraining is not None:
                with_text[entry.name] = entry
    if study.entry is not None:
        if study.entry not in found:
            known = ", ".join(found) or "none"
            raise UserError(f"{study.run}: no PPO stage {study.entry!r}; there is {known}")
        return found[study.entry]
    fitting = with_text if study.knob == "ptx-coef" else found
    if not fitting:
        what = "PPO stage with web text (field pretraining)" if found else "PPO stage"
        raise UserError(f"{study.run}: has no {what}; start from a recipe that has one")
    return next(iter(fitting.values()))


def settings_of(study: Study) -> dict[str, dict[str, Any]]:
    """By value: the fields that it sets. Numbers ascend, whatever order they were given in.

    Raises:
        UserError: a value is unknown, no number, or given twice.
    """
    words = [word for value in study.values for word in value.split(",") if word]
    if not words:
        raise UserError("--values: expected at least one value, such as --values 0 0.02 0.1")
    if study.knob == "estimator":
        for word in words:
            if word not in ESTIMATORS:
                close = config_file.nearest(word, ESTIMATORS)
                raise UserError(f"--values {word}: no such estimator{close}")
        settings = {word: ESTIMATORS[word] for word in words}
    else:
        numbers = sorted(_number(word) for word in words)
        settings = {f"{number:g}": {FIELDS[study.knob]: number} for number in numbers}
    if len(settings) < len(words):
        raise UserError(f"--values {' '.join(words)}: a value is given twice")
    return settings


def _number(word: str) -> float | int:
    """A number; a whole one without a point, so that it fits fields that count."""
    try:
        number = float(word)
    except ValueError as error:
        raise UserError(f"--values {word}: expected a number") from error
    if not math.isfinite(number):
        raise UserError(f"--values {word}: expected a finite number")
    return int(number) if number.is_integer() else number


def check_same(trial: Trial) -> None:
    """Refuse a folder with a trial of other settings.

    Raises:
        UserError: it holds one.
    """
    if not (trial.folder / RECIPE_NAME).exists() or pipeline.never_began(trial.folder):
        return
    if pipeline.load(trial.folder).stages != trial.recipe.stages:
        raise UserError(
            f"{trial.folder}: holds a trial with other settings; choose another --out, or remove it"
        )


def is_finished(trial: Trial) -> bool:
    """Whether both of its stages are done."""
    summary = read_summary(trial.folder)
    return summary is not None and summary["status"] == "finished"


def conclude(study: Study, out: Path, todo: Sequence[Trial]) -> dict[str, Any]:
    """Write what is known so far: summary.json and table.md; returns the summary."""
    done = [trial for trial in todo if is_finished(trial)]
    values = list(dict.fromkeys(trial.value for trial in todo))
    runs = {
        value: [study_report.read(t.folder, seed=t.seed) for t in done if t.value == value]
        for value in values
    }
    summary = {
        "status": "finished" if len(done) == len(todo) else "running",
        "seconds": round(sum(one["seconds"] for some in runs.values() for one in some), 1),
        "knob": study.knob,
        "run": str(study.run),
        "seeds": study.seeds,
        "baseline": study_report.baseline(done[0].folder) if done else {},
        "values": {value: study_report.mean(some) for value, some in runs.items() if some},
        "runs": runs,
    }
    write_json(out / "summary.json", summary)
    write_text(out / "table.md", study_report.markdown(summary))
    return summary
