"""A recipe: stages one after the other, each in its own folder, safe to stop and go on anywhere."""

import time
from collections.abc import Callable
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from trivium.config import PPO, SFT, Collect, Evaluate, Pretrain, Reward, StageConfig
from trivium.errors import UserError
from trivium.runs import config_file
from trivium.runs.atomic import CONFIG_NAME, RECIPE_NAME, write_json, write_text
from trivium.runs.directory import did_nothing, read_summary
from trivium.runs.pipeline_summary import summarise
from trivium.runs.plots import model_title
from trivium.runs.recipes import Entry, Recipe
from trivium.runs.report import write_pipeline_report, write_stage_report
from trivium.stages import collect, evaluate, ppo, pretrain, reward, sft
from trivium.stages.planning import outlook


def run(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    elsewhere: Callable[[Path], Recipe] | None = None,
) -> None:
    """Run every stage that is not finished yet, then write the summary and the report.

    Args:
        recipe: loaded for ``out``.
        out: folder of the run.
        resume: go on with what is there.
        elsewhere: loads the same recipe for another folder; given, the run begins with what it
            should take.

    Raises:
        UserError: ``out`` holds a recipe's run already and ``resume`` is False, or a stage failed.
    """
    began = time.monotonic()
    is_free = not (out / RECIPE_NAME).exists() or never_began(out)
    if not is_free and not resume:
        raise UserError(
            f"{out}: holds a run already; go on with `trivium resume {out}` or choose another --out"
        )
    if is_free:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / RECIPE_NAME, dump(recipe))
    console = Console(stderr=True)
    if elsewhere is not None:
        outlook.announce(elsewhere, out, console)
    for number, entry in enumerate(recipe.stages, 1):
        folder = out / entry.name
        if _status(folder) == "finished":
            continue
        console.rule(f"{number}/{len(recipe.stages)} {entry.name}", align="left")
        run_stage(entry.config, folder, resume=folder.exists())
    finish(recipe, out, began, console)


def never_began(out: Path) -> bool:
    """Whether the recipe there failed over its input in its first stage, with nothing to keep."""
    stages = [path.parent for path in out.glob(f"*/{CONFIG_NAME}")]
    return bool(stages) and all(map(did_nothing, stages))


def run_stage(config: StageConfig, out: Path, *, resume: bool) -> None:
    """Run one stage by its config's type, and write its report whatever becomes of it.

    A stage that failed says why it did, even where its report can't be written either. One that
    was refused its folder leaves that as it is: it holds another run, which may be under way.
    """
    try:
        _run_by_type(config, out, resume=resume)
    except BaseException as error:
        if isinstance(error, UserError) and error.refused:
            raise
        try:
            _report(out)
        except Exception as second:
            error.add_note(f"{out}: nor could the report be written: {second}")
        raise
    _report(out)


def _run_by_type(config: StageConfig, out: Path, *, resume: bool) -> None:
    match config:
        case Pretrain():
            pretrain.run(config, out, resume=resume)
        case SFT():
            sft.run(config, out, resume=resume)
        case Reward():
            reward.run(config, out, resume=resume)
        case PPO():
            ppo.run(config, out, resume=resume)
        case Collect():
            collect.run(config, out, resume=resume)
        case Evaluate():
            evaluate.run(config, out, resume=resume)


def _report(out: Path) -> None:
    if _status(out) is not None:
        write_stage_report(out)


def finish(recipe: Recipe, out: Path, began: float, console: Console) -> None:
    """The summary and the report of the whole; the seconds of an earlier part are kept."""
    seconds = {e.name: float((read_summary(out / e.name) or {})["seconds"]) for e in recipe.stages}
    summary = summarise(out, recipe=recipe.name, seed=recipe.seed, seconds=seconds)
    # Stages count their own time over resumes; what lies between them belongs to the whole.
    summary["seconds"] = round(max(time.monotonic() - began, sum(seconds.values())), 1)
    write_json(out / "summary.json", summary)
    write_pipeline_report(out)
    console.print(headline(summary))
    outlook.compare(recipe, out, console)
    console.print(f"report: {out / 'report.html'}", highlight=False)


def headline(summary: dict[str, object]) -> Table:
    """The models side by side, for the terminal."""
    title = f"Win rate against {model_title(str(summary['baseline']))} on held-out prompts"
    table = Table(title=title, title_justify="left")
    for column in ("model", "win rate", "95 % interval", "gold", "reward", "KL, nats", "text loss"):
        table.add_column(column, justify="left" if column == "model" else "right")
    models = summary["models"]
    assert isinstance(models, dict)
    for name, row in models.items():
        rate = row["win_rate_vs_sft"]
        table.add_row(
            name,
            _number(rate and rate["point"]),
            "" if rate is None else f"{rate['low']:.2f} to {rate['high']:.2f}",
            _number(row["gold_mean"]),
            _number(row["reward_mean"]),
            _number(row["kl_to_sft_nats"]),
            _number(row["pretraining_loss"]),
        )
    return table


def dump(recipe: Recipe) -> str:
    """The recipe with every reference resolved and every default written out."""
    stages = {e.name: {"stage": e.kind} | config_file.to_dict(e.config) for e in recipe.stages}
    whole = {"recipe": recipe.name, "about": recipe.about, "seed": recipe.seed, "stages": stages}
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=False)


def load(out: Path) -> Recipe:
    """The recipe that a folder was started with.

    Raises:
        UserError: the folder holds none.
    """
    path = out / RECIPE_NAME
    if not path.is_file():
        raise UserError(f"{out}: no {RECIPE_NAME} there; expected the folder of `trivium run`")
    whole = config_file.read_mapping(path)
    entries = []
    for name, fields in whole["stages"].items():
        kind = fields["stage"]
        values = {key: value for key, value in fields.items() if key != "stage"}
        cls = config_file.stage_class(kind, where=str(path))
        config = config_file.build(cls, values, where=f"{path}: {name}")
        entries.append(Entry(name=name, kind=kind, config=config))
    return Recipe(
        name=whole["recipe"], about=whole["about"], seed=whole["seed"], stages=tuple(entries)
    )


def _status(folder: Path) -> str | None:
    summary = read_summary(folder)
    return None if summary is None else str(summary["status"])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
