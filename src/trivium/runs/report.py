"""report.html: what a run found, on one page that needs no network and no explanation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from trivium.runs.atomic import RECIPE_NAME, write_text
from trivium.runs.config_file import read_mapping
from trivium.runs.drawing import PALETTE
from trivium.runs.pipeline_summary import (
    StageRun,
    at,
    evaluated_models,
    evaluation_baseline,
    last_of,
    number,
    read_json,
    read_lines,
    read_stage,
    read_stages,
    summarise,
)
from trivium.runs.plots import Plot
from trivium.runs.report_figures import (
    frontier_plots,
    learning_plots,
    model_plots,
    reward_plots,
    stage_plots,
    tax_plots,
)
from trivium.runs.report_samples import Group, episode_groups, pair_groups
from trivium.runs.report_tables import (
    Table,
    data_table,
    figures_table,
    gold_parts_table,
    headline_table,
    invariants_table,
    left_out_table,
    plan_table,
    seconds_rows,
)
from trivium.runs.report_words import abstract, duration, findings, stage_words

_FAINT = ("A faint line is every step; the strong line over it is its running mean.",)
_TITLES = {
    "pretrain": "Pretraining",
    "sft": "Supervised fine-tuning",
    "reward": "Reward model",
    "ppo": "Reinforcement learning",
    "collect": "Collected answers",
    "evaluate": "Evaluation",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading with what belongs under it, in this order."""

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    groups: tuple[Group, ...] = ()
    times: tuple[tuple[str, str, float], ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.tables or self.plots or self.groups or self.times or self.paragraphs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All that the template shows."""

    title: str
    facts: tuple[str, ...]
    """Small print under the title: recipe, seed, status, time."""

    problem: str | None
    abstract: str
    findings: tuple[str, ...]
    sections: tuple[Section, ...]
    files: tuple[tuple[str, str], ...]
    """(name, text) of configs and environments, folded away."""


def write_stage_report(run_dir: Path) -> None:
    """Write report.html of one stage's run into its run directory, finished or not.

    Raises:
        UserError: `run_dir` is no run directory.
    """
    run = read_stage(run_dir)
    name = f"{at(_TITLES, run.kind) or run.kind}: {run.name}"
    tables = (
        plan_table(run),
        data_table([run]),
        left_out_table([run]),
        invariants_table([run]),
        figures_table(run),
    )
    models, baseline = evaluated_models([run]), evaluation_baseline([run])
    curves = stage_plots(run)
    page = Page(
        title=name,
        facts=_facts(run.kind, at(run.config, "seed"), run.status, number(run.summary, "seconds")),
        problem=at(run.summary, "error"),
        abstract="",
        findings=tuple(stage_words(run)),
        sections=_kept(
            Section(title="Result", tables=_result_tables(models, baseline)),
            Section(title="Curves", paragraphs=_FAINT if curves else (), plots=tuple(curves)),
            Section(title="Answers", groups=_stage_groups(run)),
            Section(title="The run", tables=_there(tables)),
        ),
        files=_files([run], with_name=False),
    )
    _write(run_dir, page)


def write_pipeline_report(dir: Path) -> None:
    """Write report.html of a whole recipe into its folder; stages that are missing are left out.

    Args:
        dir: folder of the recipe, with a run directory per stage and, at the end, summary.json.
    """
    summary = read_json(dir / "summary.json")
    recipe_file = dir / RECIPE_NAME
    recipe = read_mapping(recipe_file) if recipe_file.exists() else {}
    runs = read_stages(dir, order=tuple(at(summary, "stages") or at(recipe, "stages") or ()))
    if not summary:
        seconds = {run.name: number(run.summary, "seconds") or 0.0 for run in runs}
        name, seed = at(recipe, "recipe") or dir.name, number(recipe, "seed") or 0
        summary = summarise(dir, recipe=name, seed=int(seed), seconds=seconds)
        if len(runs) < len(at(recipe, "stages") or ()) and summary["status"] == "finished":
            summary["status"] = "running"
    models, baseline = evaluated_models(runs), evaluation_baseline(runs)
    judge = _judge(models)
    evaluation = last_of(runs, "evaluate")
    prompts = number(evaluation.summary, "prompts") if evaluation else None
    reward = last_of(runs, "reward")
    seed = int(number(summary, "seed") or 0)
    curves = learning_plots(runs)
    page = Page(
        title="Learning to follow instructions from human feedback",
        facts=_facts(
            str(at(summary, "recipe")), seed, str(at(summary, "status")), number(summary, "seconds")
        ),
        problem=_problem(runs),
        abstract=abstract(runs, judge, int(prompts) if prompts else None, baseline),
        findings=tuple(findings(models, runs, baseline)),
        sections=_kept(
            Section(
                title="Result",
                tables=_result_tables(models, baseline),
                plots=(*model_plots(models, baseline), *frontier_plots(runs)),
            ),
            Section(title="Answers before and after", groups=_pairs(evaluation, seed)),
            Section(
                title="The reward model",
                paragraphs=tuple(stage_words(reward)) if reward else (),
                plots=tuple(reward_plots(reward)) if reward else (),
            ),
            Section(
                title="Alignment tax: what was forgotten",
                plots=tuple(tax_plots(models, baseline)),
            ),
            Section(
                title="Learning curves",
                paragraphs=_FAINT if curves else (),
                plots=tuple(curves),
            ),
            Section(
                title="The run",
                times=tuple(seconds_rows(at(summary, "stages"))),
                tables=_there((invariants_table(runs), data_table(runs), left_out_table(runs))),
            ),
        ),
        files=_files(runs, with_name=True),
    )
    _write(dir, page)


def _write(folder: Path, page: Page) -> None:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = _prose
    template = environment.get_template("report.html")
    write_text(folder / "report.html", template.render(page=page, palette=PALETTE))


def _prose(text: str) -> str:
    """Our own sentences with the apostrophe of print; never a model's text."""
    return text.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")


def _facts(what: str, seed: Any, status: str, seconds: float | None) -> tuple[str, ...]:
    facts = [what, status]
    if seed is not None:
        facts.insert(1, f"seed {seed}")
    return (*facts, duration(seconds)) if seconds else tuple(facts)


def _problem(runs: Sequence[StageRun]) -> str | None:
    found = [f"{run.name}: {error}" for run in runs if (error := at(run.summary, "error"))]
    return "; ".join(found) or None


def _judge(models: dict[str, dict[str, Any]]) -> str | None:
    found = [at(figures, "win_rate_by") for figures in models.values()]
    return next((str(judge) for judge in found if judge is not None), None)


def _there(tables: Sequence[Table | None]) -> tuple[Table, ...]:
    return tuple(table for table in tables if table is not None)


def _kept(*sections: Section) -> tuple[Section, ...]:
    return tuple(section for section in sections if not section.is_empty)


def _result_tables(models: dict[str, dict[str, Any]], baseline: str) -> tuple[Table, ...]:
    if not models:
        return ()
    return _there((headline_table(models, _judge(models), baseline), gold_parts_table(models)))


def _stage_groups(run: StageRun) -> tuple[Group, ...]:
    if run.kind == "evaluate":
        return _pairs(run, int(number(run.config, "seed") or 0))
    rows = read_lines(run.folder / "samples.jsonl") if run.kind == "ppo" else []
    return tuple(episode_groups(rows))


def _pairs(run: StageRun | None, seed: int) -> tuple[Group, ...]:
    rows = read_lines(run.folder / "samples.jsonl") if run else []
    if run is None or not rows:
        return ()
    baseline = evaluation_baseline([run])
    names = [name for name in at(rows[0], "responses") or {} if name != baseline]
    target = "ppo_ptx" if "ppo_ptx" in names else names[-1] if names else baseline
    return tuple(pair_groups(rows, baseline=baseline, target=target, seed=seed))


def _files(runs: Sequence[StageRun], *, with_name: bool) -> tuple[tuple[str, str], ...]:
    """Configs, and each different environment once."""
    found: dict[str, str] = {}
    for run in runs:
        for file in ("config.yaml", "env.json"):
            path = run.folder / file
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            if text and text not in found.values():
                found[f"{run.name}/{file}" if with_name else file] = text
    return tuple(found.items())
