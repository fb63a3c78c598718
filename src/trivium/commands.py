"""What each command does, as functions: their parameters are its arguments and flags.

Rooms are imported inside the functions: the help, and a mistyped flag, must not wait for torch.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from trivium.config import StageConfig
from trivium.errors import UserError

Kind = Literal["prompts", "demonstrations", "rankings", "texts"]
Knob = Literal["clip-range", "kl-coef", "ptx-coef", "lambda", "epochs", "estimator"]
LEAKS_SHOWN = 20


def quickstart(*, out: Path = Path("runs/quickstart"), seed: int = 0) -> None:
    """The whole method on a small world, in minutes, on a laptop, with nothing to download.

    Args:
        out: Folder of the run; report.html and summary.json appear in it.
        seed: Seeds the world, the training and the sampling.
    """
    run("quickstart", out=out, seed=seed)


def run(
    recipe: str,
    /,
    *,
    out: Path,
    model: str | None = None,
    data: str | None = None,
    seed: int | None = None,
    set: tuple[str, ...] = (),
) -> None:
    """Run all stages of a recipe, one after the other.

    Args:
        recipe: A name from `trivium recipe list`, or a YAML file.
        out: Folder of the run; each stage gets a run directory in it.
        model: Model to start from: a folder or a hub name; None: the recipe's own.
        data: Where the recipe's data lies; None: the recipe's own.
        seed: Seed of every stage that does not set one; None: the recipe's own.
        set: Changes to stages, ENTRY.FIELD=VALUE: --set ppo.num_steps=5 sft.lr=1e-5
    """
    from trivium.runs import recipes

    def load(folder: Path) -> recipes.Recipe:
        return recipes.load(recipe, out=folder, model=model, data=data, seed=seed, overrides=set)

    loaded = load(out)
    from trivium.stages import pipeline

    with resumable(out):
        pipeline.run(loaded, out, elsewhere=load)


def plan(
    recipe: str,
    /,
    *,
    model: str | None = None,
    data: str | None = None,
    seed: int | None = None,
    set: tuple[str, ...] = (),
) -> None:
    """Say what a recipe will take on this machine, phase by phase, and run none of it.

    Updates, episodes, tokens, FLOPs, memory, and the time by what the machine is timed to do now.

    Args:
        recipe: A name from `trivium recipe list`, or a YAML file.
        model: Model to start from: a folder or a hub name; None: the recipe's own.
        data: Where the recipe's data lies; None: the recipe's own.
        seed: Seed of every stage that does not set one; None: the recipe's own.
        set: Changes to stages, ENTRY.FIELD=VALUE: --set ppo.num_steps=5 sft.lr=1e-5
    """
    from trivium.runs import recipes

    def load(out: Path) -> recipes.Recipe:
        return recipes.load(recipe, out=out, model=model, data=data, seed=seed, overrides=set)

    load(Path("plan"))  # a mistake in the recipe is told before torch is loaded
    from trivium.stages.planning import command

    command.run(load)


def resume(run: Path, /) -> None:
    """Go on with a run that was stopped or killed, exactly where it was.

    Args:
        run: Run directory of a stage, or the folder of a whole recipe.
    """
    from trivium.runs import config_file
    from trivium.runs.directory import read_summary

    if not run.is_dir():
        raise UserError(f"{run}: no such folder; expected the folder of a run to go on with")
    if (run / "config.yaml").is_file():
        if (read_summary(run) or {"status": None})["status"] == "finished":
            print(f"{run}: finished already, nothing to do")
            return
        _, config = config_file.load(run / "config.yaml")
        run_stage(config, run, resume=True)
        return
    from trivium.stages import pipeline

    with resumable(run):
        pipeline.run(pipeline.load(run), run, resume=True)


def run_stage(config: StageConfig, out: Path, *, resume: bool = False) -> None:
    """Run one stage into ``out``."""
    from trivium.stages import pipeline

    with resumable(out):
        pipeline.run_stage(config, out, resume=resume)


@contextmanager
def resumable(out: Path) -> Iterator[None]:
    """On Ctrl-C, say how to go on."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"go on with: trivium resume {out}") from error


def study(
    knob: Knob,
    /,
    *,
    run: Path,
    values: tuple[str, ...],
    out: Path,
    stage: str | None = None,
    seeds: int = 1,
    set: tuple[str, ...] = (),
) -> None:
    """Turn one knob of a finished run's PPO stage, and see what each value gains and costs.

    Each value is one PPO stage and one evaluation on the run's held-out prompts, in OUT/VALUE. Give
    the same command again to go on, or to add values: what is finished is not run again.

    Args:
        knob: What is varied; all else is as in the run.
        run: Folder of a finished recipe.
        values: Values of the knob, apart or with commas: 0 0.02 0.1. For estimator any of reinforce
            reward-to-go baseline actor-critic rloo grpo ppo-clip ppo-kl trpo.
        out: Folder for summary.json, table.md, figure.png and the trials.
        stage: The run's PPO stage to vary; None: its first (for ptx-coef: the first with web text).
        seeds: Trials of each value: the run's seed, the next, ...
        set: Changes to all trials, ENTRY.FIELD=VALUE: --set ppo.num_steps=5 evaluate.num_prompts=64
    """
    if seeds < 1:
        raise UserError(f"--seeds {seeds}: expected 1 or more")
    from trivium.stages import study as studies

    asked = studies.Study(knob=knob, values=values, run=run, entry=stage, seeds=seeds, changes=set)
    try:
        studies.run(asked, out)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("go on by giving the same command again") from error


def overoptimise(
    *,
    run: Path,
    out: Path,
    rankings: tuple[int, ...] = (30, 300),
    kl_coefs: tuple[float, ...] = (0.0, 0.1),
    best_of: int = 256,
    num_prompts: int = 96,
    set: tuple[str, ...] = (),
) -> None:
    """Push reward models from few rankings too far, and see what people wanted rise and fall.

    Each size is one reward model; the best of n answers and PPO optimise it while the run's gold
    function looks on. Give the same command again to go on, or to add sizes.

    Args:
        run: Folder of a finished recipe whose evaluation has a gold function.
        out: Folder for summary.json, table.md, figure.png and the stages.
        rankings: How many of the run's rankings each reward model learns from.
        kl_coefs: Prices of divergence in PPO: the first with every reward model, the others with
            the one from fewest rankings. None given: best of n alone.
        best_of: Answers of the SFT model to each prompt; n goes up to this.
        num_prompts: Held-out prompts that are answered so often.
        set: Changes to all stages: --set ppo.num_steps=60 reward.num_epochs=2
    """
    if min(rankings, default=0) < 1:
        raise UserError(f"--rankings {' '.join(map(str, rankings))}: expected numbers above 0")
    if best_of < 4:
        raise UserError(f"--best-of {best_of}: expected 4 or more, for a curve")
    from trivium.stages import overoptimise as studies

    asked = studies.Study(
        run=run,
        rankings=rankings,
        kl_coefs=kl_coefs,
        best_of=best_of,
        num_prompts=num_prompts,
        changes=set,
    )
    try:
        studies.run(asked, out)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("go on by giving the same command again") from error


def chat(run: str, /, *, temperature: float = 1.0) -> None:
    """Talk with the model of a run.

    Args:
        run: Run directory, model folder or hub name.
        temperature: Divides the logits; lower is tamer.
    """
    from trivium.stages import chat as stage

    stage.run(run, temperature)


def inspect(target: str, /) -> None:
    """Look at a batch or at episodes in colour: what is trained, what is prompt, what is padding.

    Args:
        target: A run directory or a data file.
    """
    from trivium.stages import inspect as stage

    stage.run(target)


def doctor() -> None:
    """Say what is installed and what the machine can do; each problem with its fix."""
    from trivium import doctor as examination

    examination.run()


def recipe_list() -> None:
    """List the recipes that come with the package."""
    from trivium.runs import recipes
    from trivium.runs.config_file import parse_mapping

    for name in recipes.names():
        about = parse_mapping(recipes.read_text(name), where=name)["about"]
        print(f"{name:<16} {about}")


def recipe_show(name: str, /) -> None:
    """Print a recipe.

    Args:
        name: A name from `trivium recipe list`.
    """
    from trivium.runs import recipes

    print(recipes.read_text(name), end="")


def recipe_copy(name: str, file: Path, /) -> None:
    """Copy a recipe into a file of your own, to change and to run.

    Args:
        name: A name from `trivium recipe list`.
        file: Where to; a file that is there already is left alone.
    """
    from trivium.runs import recipes
    from trivium.runs.atomic import write_text

    if file.exists():
        raise UserError(f"{file}: is there already; choose another name or remove it")
    write_text(file, recipes.read_text(name))
    print(f"wrote {file}; run it with: trivium run {file} --out DIR")


def data_check(path: str, /, *, kind: Kind) -> None:
    """Read every row of a file; stop at the first bad one and say where it is.

    Args:
        path: A .jsonl or .parquet file, a folder of them, or hf://owner/name?split=train.
        kind: What its rows are.
    """
    from trivium.data import commands

    _show(commands.check(path, kind))


def data_stats(path: str, /, *, kind: Kind) -> None:
    """Count what is in a file: rows, lengths, labelers, ties.

    Args:
        path: A .jsonl or .parquet file, a folder of them, or hf://owner/name?split=train.
        kind: What its rows are.
    """
    from trivium.data import commands

    _show(commands.stats(path, kind))


def data_convert(
    source: str,
    target: Path,
    /,
    *,
    kind: Kind,
    to: Literal["native", "parquet", "trl"] = "native",
) -> None:
    """Read any shape of file that trivium knows, and write it in one.

    Args:
        source: TRL preferences, hh-rlhf transcripts, Alpaca rows, plain text or our own rows.
        target: File to write.
        kind: What the rows are read as.
        to: Our own rows as JSONL or Parquet, or TRL's preference pairs (from rankings).
    """
    from trivium.data import commands

    _show(commands.convert_file(source, kind, target, to=to))


def data_split(
    path: str,
    out: Path,
    /,
    *,
    kind: Kind,
    heldout_fraction: float = 0.1,
    salt: str = "trivium",
) -> None:
    """Write train.jsonl and heldout.jsonl: by author, else by prompt, without a leak.

    Args:
        path: File to split.
        out: Folder for the two files.
        kind: What its rows are.
        heldout_fraction: Share of authors or prompts that is held out.
        salt: Changes which; the same salt holds out the same prompts in every file.
    """
    from trivium.data import commands

    _show(commands.split_file(path, kind, out, salt=salt, heldout_fraction=heldout_fraction))


def data_leak_check(train: str, heldout: str, /, *, kind: Kind = "prompts") -> None:
    """Compare a training file with a held-out one; exit code 2 if they share anything.

    Args:
        train: Training file.
        heldout: Held-out file.
        kind: What the rows of both are; `prompts` compares prompts only.
    """
    from trivium.data import commands

    leaks = commands.leak_check(train, heldout, kind=kind)
    for leak in leaks[:LEAKS_SHOWN]:
        print(f"{leak.reason}: {leak.train_name} (train) and {leak.heldout_name} (held out)")
    if leaks:
        rows = len({leak.train_index for leak in leaks})
        raise UserError(
            f"{train} and {heldout}: {rows} training rows give held-out rows away; "
            f"remove them, or make both files with `trivium data split`"
        )
    print("no overlap")


def _show(figures: Mapping[str, Any]) -> None:
    import yaml

    yaml.safe_dump(dict(figures), sys.stdout, sort_keys=False, allow_unicode=True)
