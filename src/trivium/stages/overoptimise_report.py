"""What a study of over-optimisation found, read back from its folders: curves, fits, the table.

All scores are told in standard deviations among the SFT model's answers, from the SFT model's mean:
so proxy and gold stand on one axis, and gold catches up with the proxy only where the two agree.

Legend: P prompts, N answers to each; E episodes of a PPO step, S steps.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from trivium.evals import Fit, best_of_n, best_of_n_kl, bootstrap_mean, fit, sqrt_kl
from trivium.models import compute_for, load_reward_model
from trivium.rewards import score_sequences
from trivium.rewards.functions import call, load_function
from trivium.runs.atomic import write_json
from trivium.runs.directory import read_summary
from trivium.runs.drawing import format_number
from trivium.text import encode_prompt, encode_response, from_lists

Floats = NDArray[np.float64]
Figures = dict[str, Any]

GOLD_TIMEOUT_SECONDS = 600.0
LAST_SHARE = 0.1
"""The end of a PPO run is the mean of this share of its steps."""

HEADS = (
    *("rankings", "held-out accuracy", "optimised by", "d at the end", "proxy at the end"),
    *("gold at the end", "alpha", "beta", "gold peaks at d", "by"),
)
SHOWN = (0, 2, 3, 4, 5, 8)
"""Columns of `HEADS` that the terminal shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The SFT model's answers, judged by gold."""

    messages: list[list[dict[str, str]]]
    texts: list[list[str]]
    gold: Floats  # (P, N)


def folder_of(out: Path, size: int) -> Path:
    """Where everything with the proxy from ``size`` rankings lies."""
    return out / f"rankings-{size}"


def ppo_name(kl_coef: float) -> str:
    """The folder of a PPO run beside its reward model's."""
    return f"ppo-{kl_coef:g}"


def is_finished(folder: Path) -> bool:
    """Whether the stage there is done."""
    summary = read_summary(folder)
    return summary is not None and summary["status"] == "finished"


def summarise(out: Path, *, sizes: Sequence[int], kl_coefs: Sequence[float], gold: str) -> Figures:
    """All that is known so far, ready for JSON; the reward models must be finished."""
    answers = read_answers(out, gold)
    unit = float(answers.gold.std())
    asked = {size: kl_coefs if size == sizes[0] else kl_coefs[:1] for size in sizes}
    runs = {
        size: {beta: folder_of(out, size) / ppo_name(beta) for beta in betas}
        for size, betas in asked.items()
    }
    done = [is_finished(folder) for own in runs.values() for folder in own.values()]
    return {
        "status": "finished" if all(done) else "running",
        "prompts": len(answers.texts),
        "answers": len(answers.texts[0]),
        "gold": {"mean": float(answers.gold.mean()), "deviation": unit},
        "rankings": {
            str(size): size_figures(folder_of(out, size), runs[size], answers, gold_unit=unit)
            for size in sizes
        },
    }


def size_figures(
    folder: Path, runs: Mapping[float, Path], answers: Answers, *, gold_unit: float
) -> Figures:
    """One proxy: how good it is, and both ways of optimising it."""
    proxy = proxy_scores(folder, answers)
    unit = float(proxy.std())
    heldout = (read_summary(folder / "reward") or {})["heldout"]
    return {
        "comparisons": count_pairs(folder / "rankings.jsonl"),
        "heldout_accuracy": heldout["accuracy"],
        "correlation": float(np.corrcoef(proxy.ravel(), answers.gold.ravel())[0, 1]),
        "best_of_n": best_of_n_curve(proxy, answers.gold, unit=unit, gold_unit=gold_unit),
        "ppo": {
            f"{kl_coef:g}": ppo_curve(run, unit=unit, gold_unit=gold_unit)
            for kl_coef, run in runs.items()
            if is_finished(run)
        },
    }


def read_answers(out: Path, gold: str) -> Answers:
    """What the SFT model wrote, and what it is worth."""
    lines = (out / "answers" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    messages = [row["prompt"] for row in rows]
    texts = [[answer["text"] for answer in row["answers"]] for row in rows]

    def judge() -> list[float]:
        return call(
            load_function(gold),
            [one for one, some in zip(messages, texts, strict=True) for _ in some],
            [text for some in texts for text in some],
            name=gold,
            timeout_seconds=GOLD_TIMEOUT_SECONDS,
        )

    scores = np.array(_kept(out / "gold_scores.json", judge))
    return Answers(messages=messages, texts=texts, gold=scores.reshape(len(texts), -1))


def proxy_scores(folder: Path, answers: Answers) -> Floats:
    """(P, N) scores by the reward model of a size."""
    scores = _kept(folder / "answer_scores.json", lambda: score(folder / "reward", answers))
    return np.array(scores).reshape(answers.gold.shape)


def _kept(path: Path, make: Callable[[], list[float]]) -> list[float]:
    """Scores of all answers from a file; they take a while, so they are made once."""
    if not path.is_file():
        write_json(path, make())
    return json.loads(path.read_text(encoding="utf-8"))


def score(reward: Path, answers: Answers) -> list[float]:
    """Scores by a trained reward model, prompt after prompt; each different answer is read once."""
    compute = compute_for("auto")
    model = load_reward_model(str(reward), compute)
    prompts, responses, places = [], [], []
    for messages, texts in zip(answers.messages, answers.texts, strict=True):
        prompt = encode_prompt(model.codec, messages, where="answers")
        different = {text: len(prompts) + i for i, text in enumerate(dict.fromkeys(texts))}
        places += [different[text] for text in texts]
        prompts += [prompt] * len(different)
        responses += [encode_response(model.codec, text, where="answers") for text in different]
    scores = score_sequences(model, from_lists(prompts, responses), compute)
    return [scores[place] for place in places]


def count_pairs(path: Path) -> int:
    """Comparisons in a file of rankings: pairs with different ranks."""
    count = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        ranks = [answer["rank"] for answer in json.loads(line)["completions"]]
        count += sum(a < b for a in ranks for b in ranks)
    return count


def best_of_n_curve(proxy: Floats, gold: Floats, *, unit: float, gold_unit: float) -> Figures:
    """Proxy and gold of the best of n answers, for n from 1 to N in steps of about a half."""
    ns = sorted({round(2 ** (i / 2)) for i in range(2 * proxy.shape[1].bit_length())})
    ns = [n for n in ns if n <= proxy.shape[1]]
    kl = [best_of_n_kl(n) for n in ns]
    by_prompt = np.stack([best_of_n(proxy, gold, n) for n in ns], axis=1)
    by_prompt = (by_prompt - gold.mean()) / gold_unit
    law = fit("best_of_n", np.tile(kl, (len(by_prompt), 1)), by_prompt, seed=0)
    rise = [float(best_of_n(proxy, proxy, n).mean() - proxy.mean()) / unit for n in ns]
    gains = by_prompt - by_prompt[:, :1]
    return {
        "n": ns,
        "kl_nats": kl,
        "proxy": rise,
        "gold": by_prompt.mean(0).tolist(),
        "gold_end": bootstrap_mean(gains[:, -1].tolist(), seed=0).as_dict(),
        "fit": _fit_figures(law, math.sqrt(kl[-1]), zero=law.start.point),
    }


def ppo_curve(folder: Path, *, unit: float, gold_unit: float) -> Figures:
    """Proxy and gold along a PPO run, each step the mean of its episodes.

    Both count from the first step, whose answers are the SFT model's; the law's own start, which is
    fitted, may lie elsewhere.
    """
    steps: dict[int, list[Figures]] = {}
    for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        steps.setdefault(row["step"], []).append(row)
    rows = [steps[step] for step in sorted(steps)]
    kl = np.array([[one["kl_nats"] for one in step] for step in rows]).T  # (E, S)
    proxy, gold = (
        np.array([[one["parts"][name] for one in step] for step in rows]).T
        for name in ("proxy", "gold")
    )
    law = fit("rl", kl, gold / gold_unit, seed=0)
    zero = float(gold[:, 0].mean()) / gold_unit
    gains = gold / gold_unit - zero
    last = max(1, round(LAST_SHARE * len(rows)))
    distance = [sqrt_kl(x) for x in kl.mean(0).tolist()]
    return {
        "kl_nats": kl.mean(0).tolist(),
        "proxy": ((proxy.mean(0) - proxy[:, 0].mean()) / unit).tolist(),
        "gold": gains.mean(0).tolist(),
        "gold_end": bootstrap_mean(gains[:, -last:].mean(1).tolist(), seed=0).as_dict(),
        "fit": _fit_figures(law, max(distance), zero=zero),
    }


def _fit_figures(law: Fit, reach: float, *, zero: float) -> Figures:
    """The fit for JSON, where infinity is None, and its curve less ``zero`` to the data's end."""
    places = [reach * i / 40 for i in range(41)]
    figures: Figures = {
        name: {key: _finite(value) for key, value in asdict(interval).items()}
        for name, interval in (
            *(("start", law.start), ("alpha", law.alpha), ("beta", law.beta)),
            *(("peak", law.peak), ("height", law.height)),
        )
    }
    curve = [value - zero for value in law.at(places)]
    return {"law": law.law, **figures, "reach": reach, "distance": places, "gold": curve}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def cells(summary: Figures) -> list[tuple[str, ...]]:
    """The table, a row for each proxy and way of optimising it, under `HEADS`."""
    rows = []
    for size, found in summary["rankings"].items():
        ways = {f"best of {found['best_of_n']['n'][-1]}": found["best_of_n"]}
        ways |= {f"PPO, kl_coef {beta}": curve for beta, curve in found["ppo"].items()}
        for name, curve in ways.items():
            law = curve["fit"]
            last = 1 if "n" in curve else max(1, round(LAST_SHARE * len(curve["proxy"])))
            proxy = sum(curve["proxy"][-last:]) / last
            rows.append(
                (
                    f"{size} ({found['comparisons']:,} pairs)",
                    format_number(found["heldout_accuracy"]["point"]),
                    name,
                    format_number(law["reach"]),
                    format_number(proxy),
                    _interval(curve["gold_end"]),
                    _interval(law["alpha"]),
                    _interval(law["beta"]),
                    _peak(law["peak"], law["reach"]),
                    format_number(law["height"]["point"])
                    if _within(law["peak"]["point"], law["reach"])
                    else "",
                )
            )
    return rows


def _within(peak: float | None, reach: float) -> bool:
    return peak is not None and peak <= reach


def _peak(peak: Figures, reach: float) -> str:
    """Where gold is highest by the fit; beyond what was measured a fit says little."""
    ends = [peak["low"], peak["high"]]
    low, high = (format_number(e) if _within(e, reach) else "beyond" for e in ends)
    point = format_number(peak["point"]) if _within(peak["point"], reach) else "beyond"
    return point if low == high == point else f"{point} ({low} to {high})"


def _interval(interval: Figures) -> str:
    point, low, high = (format_number(interval[key]) for key in ("point", "low", "high"))
    return f"{point} ({low} to {high})"


def table(summary: Figures) -> Table:
    """For the terminal, which has no room for every column."""
    title = "Gold and proxy, in standard deviations of the SFT model's answers"
    shown = Table(title=title, title_justify="left")
    for place in SHOWN:
        shown.add_column(HEADS[place], justify="left" if place in (0, 2) else "right")
    for row in cells(summary):
        shown.add_row(*(row[place] for place in SHOWN))
    return shown


def markdown(summary: Figures) -> str:
    """For a page."""
    lines = [HEADS, ("---",) * len(HEADS), *cells(summary)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
