"""A report's tables: models by figure, what was planned and done, what became of the data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trivium.runs.drawing import format_column, format_number
from trivium.runs.pipeline_summary import StageRun, at, interval, number
from trivium.runs.plots import model_title
from trivium.runs.report_words import duration

_BASELINE = "baseline"
_INVARIANTS = ("step0_kl_per_token", "first_ratio_deviation")
_SKIPPED_FIGURES = (
    "status", "seconds", "peak_bytes", "stage", "template_hash", "plan", "executed", "error",
    "nothing_done",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of words: the first column names the row, the others are figures."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def headline_table(models: Mapping[str, dict[str, Any]], judge: str | None, baseline: str) -> Table:
    """Model by figure; a column that no model has is left out."""
    base = model_title(baseline)
    by = f", judged by {'the reward model' if judge == 'reward' else judge}" if judge else ""
    columns = {
        "Model": [model_title(name) for name in models],
        f"Win rate vs {base}": [_win_cell(n, baseline, found) for n, found in models.items()],
        "95 % interval": [_interval_cell(n, baseline, found) for n, found in models.items()],
        "Gold score": _column(models, "gold_mean"),
        "Reward score": _column(models, "reward_mean"),
        f"KL to {base} (nats / answer)": _column(models, "kl_to_sft_nats"),
        "Length (tokens)": _column(models, "response_tokens"),
        "Pretraining loss (nats / token)": _column(models, "pretraining_loss", digits=4),
        "Cloze accuracy": _column(models, "cloze_accuracy", share=True),
    }
    note = (
        f"Win rate: share of held-out prompts on which the model's answer beats {base}'s, "
        f"ties counting half{by}; 50 % is no difference. "
        f"KL: how far the model's answers have moved from {base}'s. "
        "Pretraining loss and cloze accuracy: what is left of the skill learned from ordinary text "
        "(loss: lower is better)."
    )
    return _without_empty(Table(title="The models", note=note, columns=(), rows=()), columns)


def gold_parts_table(models: Mapping[str, dict[str, Any]]) -> Table | None:
    """What the gold judgement is made of, by model; None where there is no gold."""
    parts: list[str] = []
    for figures in models.values():
        found = at(figures, "gold_parts")
        parts += [part for part in found or {} if part not in parts]
    if not parts:
        return None
    columns = {"Model": [model_title(name) for name in models]}
    for part in parts:
        values = [number(figures, "gold_parts", part) for figures in models.values()]
        columns[part.replace("_", " ").capitalize()] = format_column(values)
    note = "Means over held-out prompts, each between 0 and 1; higher is better."
    return _without_empty(Table(title="What gold judges", note=note, columns=(), rows=()), columns)


def _without_empty(table: Table, columns: Mapping[str, list[str]]) -> Table:
    dash = "\N{EN DASH}"
    kept = {
        name: cells
        for name, cells in columns.items()
        if any(cell not in (dash, _BASELINE) for cell in cells)
    }
    return Table(
        title=table.title,
        note=table.note,
        columns=tuple(kept),
        rows=tuple(zip(*kept.values(), strict=True)),
    )


def _column(
    models: Mapping[str, dict[str, Any]], figure: str, *, share: bool = False, digits: int = 3
) -> list[str]:
    values = [number(figures, figure) for figures in models.values()]
    return format_column(values, percent=share, digits=digits)


def _win_cell(name: str, baseline: str, figures: Mapping[str, Any]) -> str:
    rate = interval(figures, "win_rate_vs_sft")
    if name == baseline:
        return _BASELINE
    return format_number(rate["point"] if rate else None, percent=True)


def _interval_cell(name: str, baseline: str, figures: Mapping[str, Any]) -> str:
    rate = interval(figures, "win_rate_vs_sft")
    if name == baseline or not rate:
        return "\N{EN DASH}"
    return f"{100 * rate['low']:.1f} to {100 * rate['high']:.1f}"


def seconds_rows(seconds: Mapping[str, float]) -> list[tuple[str, str, float]]:
    """(stage, time in words, share of the whole) by stage."""
    whole = sum(seconds.values())
    return [(name, duration(s), s / whole if whole else 0.0) for name, s in seconds.items()]


def invariants_table(runs: Sequence[StageRun]) -> Table | None:
    """What every PPO run must satisfy before its figures mean anything."""
    rows = []
    for run in runs:
        found = [number(run.summary, "invariants", name) for name in _INVARIANTS]
        if run.kind == "ppo" and found != [None, None]:
            rows.append((model_title(run.name), *(format_number(value) for value in found)))
    if not rows:
        return None
    return Table(
        title="Checks made during training",
        note="Before the first update the policy is the SFT model, so the KL must vanish "
        "(below 1e-5 in float32, 1e-3 in bfloat16) and the importance ratio be 1 "
        "(within 1e-4 in float32, 1e-2 in bfloat16). "
        "A run that fails them stops.",
        columns=("Run", "KL at step 0 (nats / token)", "First ratio, distance from 1"),
        rows=tuple(rows),
    )


def data_table(runs: Sequence[StageRun]) -> Table | None:
    """Rows kept, truncated, dropped and left out, wherever a summary counts them."""
    found = _accounts(runs)
    if not found:
        return None
    columns = {"Stage": [name for name, _ in found]}
    for key in ("kept", "truncated", "dropped", "left_out"):
        columns[key.replace("_", " ")] = [_size(at(counts, key)) for _, counts in found]
    columns["dropped because"] = [_reasons(at(counts, "dropped_reasons")) for _, counts in found]
    note = (
        "Truncated: longer than the limit and cut. Dropped: could not be used. "
        "Left out: would have given a held-out row away."
    )
    return _without_empty(Table(title="Data", note=note, columns=(), rows=()), columns)


def left_out_table(runs: Sequence[StageRun]) -> Table | None:
    """A few of the rows that were left out of training, each with the row that it gives away."""
    rows = [
        (name, example["row"], example["shares"])
        for name, counts in _accounts(runs)
        for example in at(counts, "left_out_examples") or ()
    ]
    if not rows:
        return None
    return Table(
        title="Left out of training",
        note="The first few of each stage, with the held-out row that each would have given away.",
        columns=("Stage", "row", "what it shares"),
        rows=tuple(rows),
    )


def _accounts(runs: Sequence[StageRun]) -> list[tuple[str, Mapping[str, Any]]]:
    return [
        (f"{run.name}: {path}" if path else run.name, counts)
        for run in runs
        for path, counts in _counts("", at(run.summary, "data"))
    ]


def _reasons(counts: Mapping[str, int] | None) -> str:
    words = [f"{reason} ({count:,})" for reason, count in (counts or {}).items()]
    return ", ".join(words) or "\N{EN DASH}"


def _counts(path: str, data: Any) -> list[tuple[str, Mapping[str, Any]]]:
    if not isinstance(data, Mapping):
        return []
    own = [(path, data)] if "kept" in data else []
    parts = [_counts(f"{path} {key}".strip(), value) for key, value in data.items()]
    return own + [pair for part in parts for pair in part]


def _size(value: Any) -> str:
    if isinstance(value, list | Mapping):
        return f"{len(value):,}"
    return (
        "\N{EN DASH}" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    )


def plan_table(run: StageRun) -> Table | None:
    """What was planned beside what was executed."""
    plan, done = flat(at(run.summary, "plan")), flat(at(run.summary, "executed"))
    if not plan and not done:
        return None
    dash = "\N{EN DASH}"
    rows = []
    for name in dict.fromkeys([*plan, *done]):
        planned, executed = (at(side, name) or dash for side in (plan, done))
        differs = "" if planned == executed or dash in (planned, executed) else "differs"
        rows.append((name.replace("_", " "), planned, executed, differs))
    return Table(
        title="Plan and execution",
        note="",
        columns=("", "planned", "executed", ""),
        rows=tuple(rows),
    )


def figures_table(run: StageRun) -> Table | None:
    """Every other scalar of the stage's summary, as written there."""
    rest = {key: value for key, value in run.summary.items() if key not in _SKIPPED_FIGURES}
    rest = {key: value for key, value in rest.items() if key not in ("data", "models", "epochs")}
    rows = tuple(flat(rest).items())
    if not rows:
        return None
    return Table(title="All figures", note="", columns=("figure", "value"), rows=rows)


def flat(data: Any, prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted names and values in words; a list is one value, cut if long."""
    if not isinstance(data, Mapping):
        return {}
    found: dict[str, str] = {}
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{name}.")
        elif isinstance(value, bool | str) or value is None:
            found[name] = str(value)
        elif isinstance(value, int | float):
            found[name] = format_number(value, digits=4)
        else:
            text = json.dumps(value, ensure_ascii=False)
            found[name] = text if len(text) <= 200 else f"{text[:200]}\N{HORIZONTAL ELLIPSIS}"
    return found
