"""Over-optimisation on a finished run: proxies from few comparisons, pushed far, watched by gold.

Gao, Schulman and Hilton 2022, arXiv:2210.10760. Reward models are trained on more and more of the
run's rankings. Each is a proxy of gold, the function that the run's evaluation knows. Two ways of
optimising a proxy are followed: the best of n answers of the SFT model, and PPO.

    OUT/answers/                   N answers of the SFT model to each prompt
    OUT/rankings-SIZE/reward/      the proxy from that many rankings
    OUT/rankings-SIZE/ppo-BETA/    PPO against it, gold looked at with weight 0

What is finished is not run again: a study can be stopped, given again, and given more sizes.
"""

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console

from trivium.config import PPO, Collect, Evaluate, Reward, StageConfig
from trivium.data import read_rankings, split_without_leaks, write_jsonl
from trivium.errors import UserError
from trivium.labels import Ranking, has_untied_pair
from trivium.runs import config_file, recipes
from trivium.runs.atomic import write_json, write_text
from trivium.runs.directory import did_nothing, read_summary
from trivium.runs.overoptimise_figure import save_figure
from trivium.stages import overoptimise_report, pipeline

PROXY, GOLD = "proxy", "gold"
"""What the two rewards of a PPO run are called in its metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is asked for."""

    run: Path
    """Folder of a finished recipe: its SFT model, rankings, prompts, settings and gold."""

    rankings: tuple[int, ...]
    """Sizes: how many of the run's rankings each reward model learns from."""

    kl_coefs: tuple[float, ...]
    """beta of PPO: the first with every reward model, the others with the one from fewest rankings;
    none: no PPO."""

    best_of: int
    """N: answers to each prompt, and the largest n."""

    num_prompts: int
    """Held-out prompts that are answered N times."""

    changes: tuple[str, ...]
    """More settings: `reward.FIELD=VALUE`, `ppo.FIELD=VALUE`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What the finished run gives: fields of its stages, the study's changes made."""

    reward: dict[str, Any]
    ppo: dict[str, Any]
    prompts: str
    """Held-out prompts of its evaluation."""

    gold: str
    """Function package.module:function that knows the truth."""


def run(study: Study, out: Path) -> None:
    """Do what is not done yet; write the table, the figure and the summary.

    Raises:
        UserError: the run is no finished recipe with a gold function, there are fewer rankings than
            asked for, ``out`` holds stages with other settings, or a stage failed.
    """
    source, console = read_source(study), Console(stderr=True)
    stages = plan(study, source, out)
    for number, (folder, config) in enumerate(stages.items(), 1):
        check_same(folder, config)
        if overoptimise_report.is_finished(folder):
            continue
        title = f"{number}/{len(stages)} {folder.relative_to(out)}"
        console.rule(title, align="left", characters="=")
        pipeline.run_stage(config, folder, resume=folder.exists())
        if isinstance(config, PPO):
            conclude(study, source, out)
    summary = conclude(study, source, out)
    console.print(overoptimise_report.table(summary))
    console.print(f"wrote summary.json, table.md and figure.png in {out}", highlight=False)


def conclude(study: Study, source: Source, out: Path) -> dict[str, Any]:
    """Write what is known so far: summary.json, table.md and figure.png; returns the summary."""
    summary = overoptimise_report.summarise(
        out, sizes=sizes_of(study), kl_coefs=study.kl_coefs, gold=source.gold
    )
    write_json(out / "summary.json", summary)
    write_text(out / "table.md", overoptimise_report.markdown(summary))
    save_figure(summary, out / "figure.png")
    return summary


def read_source(study: Study) -> Source:
    """The stages of the run that are used.

    Raises:
        UserError: it is no finished recipe, or lacks one of them.
    """
    recipe, summary = pipeline.load(study.run), read_summary(study.run)
    if summary is None or summary["status"] != "finished":
        raise UserError(
            f"{study.run}: is not finished; finish it with `trivium resume {study.run}` first"
        )
    found: dict[type, Any] = {}
    for entry in recipe.stages:
        found.setdefault(type(entry.config), entry.config)
    missing = [kind.__name__.lower() for kind in (Reward, PPO, Evaluate) if kind not in found]
    if missing:
        raise UserError(f"{study.run}: has no {missing[0]} stage; start from a recipe that has one")
    if found[Evaluate].gold is None:
        raise UserError(
            f"{study.run}: its evaluate stage has no gold function, so nobody knows what is "
            f"wanted; give it one, as the quickstart has"
        )
    entries = {
        "reward": config_file.to_dict(found[Reward]),
        "ppo": config_file.to_dict(found[PPO]),
    }
    for change in study.changes:
        recipes.set_field(entries, change)
    return Source(
        reward=entries["reward"],
        ppo=entries["ppo"],
        prompts=found[Evaluate].prompts,
        gold=found[Evaluate].gold,
    )


def sizes_of(study: Study) -> list[int]:
    """Ascending, each once."""
    return sorted(set(study.rankings))


def plan(study: Study, source: Source, out: Path) -> dict[Path, StageConfig]:
    """Every stage by its folder, in the order they run. Writes the files with the rankings.

    What is cheap comes first, and the first price of divergence before the others.
    """
    sizes = sizes_of(study)
    files, heldout = write_rankings(source, sizes, out)
    answers = {
        "models": [source.ppo["policy"]],
        "prompts": source.prompts,
        "num_prompts": study.num_prompts,
        "min_completions": study.best_of,
        "max_completions": study.best_of,
        "sampling": source.ppo["sampling"],
        "seed": source.ppo["seed"],
    }
    stages: dict[Path, StageConfig] = {
        out / "answers": config_file.build(Collect, answers, where="answers")
    }
    for size in sizes:
        folder = overoptimise_report.folder_of(out, size) / "reward"
        own = {"rankings": str(files[size]), "heldout": str(heldout), "heldout_labelers": []}
        stages[folder] = config_file.build(Reward, source.reward | own, where=folder.parent.name)
    everywhere = [(size, beta) for beta in study.kl_coefs[:1] for size in sizes]
    for size, kl_coef in everywhere + [(sizes[0], beta) for beta in study.kl_coefs[1:]]:
        parent = overoptimise_report.folder_of(out, size)
        rewards = [f"{PROXY}={parent / 'reward'}", f"{GOLD}=0*{source.gold}"]
        folder = parent / overoptimise_report.ppo_name(kl_coef)
        own = {"reward": rewards, "kl_coef": kl_coef}
        where = f"{parent.name}/{folder.name}"
        stages[folder] = config_file.build(PPO, source.ppo | own, where=where)
    return stages


def write_rankings(source: Source, sizes: list[int], out: Path) -> tuple[dict[int, Path], Path]:
    """One file for each size, the smaller within the larger, and one that all are measured on.

    Rankings by the run's held-out labelers are left out, and so are those without an untied pair.

    Raises:
        UserError: there are fewer rankings than the largest size.
    """
    strangers = source.reward["heldout_labelers"]
    rows = [
        row
        for row in read_rankings(source.reward["rankings"])
        if row.labeler not in strangers and has_untied_pair(row)
    ]
    how = source.reward["split"]
    train, heldout, _ = split_without_leaks(
        rows, salt=how["salt"], heldout_fraction=how["heldout_fraction"]
    )
    if sizes[-1] > len(train):
        raise UserError(
            f"--rankings {sizes[-1]}: {source.reward['rankings']} has only {len(train)} to train on"
        )
    Random(source.reward["seed"]).shuffle(train)
    files = {size: overoptimise_report.folder_of(out, size) / "rankings.jsonl" for size in sizes}
    for size, path in files.items():
        _write(path, train[:size])
    _write(out / "heldout.jsonl", heldout)
    return files, out / "heldout.jsonl"


def _write(path: Path, rows: list[Ranking]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, rows)


def check_same(folder: Path, config: StageConfig) -> None:
    """Refuse a folder with a stage of other settings.

    Raises:
        UserError: it holds one.
    """
    path = folder / "config.yaml"
    if did_nothing(folder):
        return
    if path.is_file() and config_file.load(path)[1] != config:
        raise UserError(
            f"{folder}: holds a stage with other settings; choose another --out, or remove it"
        )
