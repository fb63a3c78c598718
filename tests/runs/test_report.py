"""Reports and the pipeline summary, on run directories made up here with figures known by hand."""

import json
import math
import random
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from trivium.errors import UserError
from trivium.runs.pipeline_summary import StageRun, read_lines, read_stages, summarise
from trivium.runs.plots import save_result_plot
from trivium.runs.report import write_pipeline_report, write_stage_report
from trivium.runs.report_samples import pair_groups
from trivium.runs.report_tables import data_table, left_out_table

SECONDS = {"pretrain": 61.0, "sft": 20.5, "answers": 9.0, "reward": 31.0, "ppo": 70.0,
           "ppo_ptx": 90.0, "evaluate": 12.5}  # fmt: skip
ATTACK = "<script>alert(1)</script>"
VOID = {"meta", "br", "img", "hr", "input", "link"}


def ci(point: float, half: float = 0.03, **more: int) -> dict:
    return {"point": point, "low": point - half, "high": point + half, **more}


def write_stage(
    folder: Path, kind: str, config: dict, summary: dict, metrics: list, samples: list | None = None
) -> None:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({"stage": kind, "seed": 0, **config}))
    (folder / "env.json").write_text(json.dumps({"python": "3.11", "cpu": {"count": 2}}, indent=2))
    head = {"status": "finished", "seconds": 12.5, "stage": kind, "template_hash": "ab12"}
    head |= {"plan": {"steps": 4, "episodes": 256}, "executed": {"steps": 4, "episodes": 250}}
    (folder / "summary.json").write_text(json.dumps(head | summary))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
    if samples is not None:
        (folder / "samples.jsonl").write_text("".join(json.dumps(r) + "\n" for r in samples))


def pretrain_metrics(steps: int) -> list[dict]:
    rows = [
        {"step": s, "pretrain/loss": 2.0 + 5 * math.exp(-s / 30), "pretrain/lr": 1e-3}
        for s in range(steps)
    ]
    return [*rows, {"step": steps, "heldout/loss": 2.125}]


def ppo_metrics(steps: int, gain: float, seed: int) -> list[dict]:
    noise = random.Random(seed)
    rows = []
    for s in range(steps):
        part = 1 - math.exp(-3 * s / steps)
        row = {
            "step": s,
            "objective/score": 0.1 + gain * part + noise.gauss(0, 0.08),
            "objective/kl_nats": 9 * part + abs(noise.gauss(0, 0.3)) * (s > 0),
            "episodes/response_tokens": 24 + 3 * part + noise.gauss(0, 1),
            "episodes/truncated_share": 0.02,
            "policy/entropy_nats": 1.5 - 0.5 * part,
            "policy/clip_share": 0.1,
            "value/clip_share": 0.05,
            "value/explained_variance": 0.7 * part,
            "policy/grad_norm": 1.0,
            "value/grad_norm": 2.0,
            "seconds/sample": 0.5,
            "seconds/judge": 0.1,
            "seconds/learn": 0.6,
        }
        if s % 10 == 0:
            row["heldout/score"] = 0.1 + gain * part
        rows.append(row)
    return rows


def ppo_samples(steps: int) -> list[dict]:
    token = {"text": "Hi", "logprob": -0.5, "ref_logprob": -0.75, "kl": 0.25, "reward": 0.0,
             "value": 0.125, "advantage": 1.5}  # fmt: skip
    return [
        {
            "step": step,
            "id": f"p{step}-{i}",
            "prompt": [{"role": "user", "content": f"List {i + 2} fruits."}],
            "response": f"Answer {i} of step {step}: apple, pear.",
            "score": step * 0.01 + i,
            "parts": {"rm": 0.5},
            "kl_nats": 3.25,
            "finished": i != 1,
            "tokens": [token],
        }
        for step in range(0, steps, 5)
        for i in range(3)
    ]


MODELS = {
    "base": {"gold_mean": 0.113, "win_rate_vs_sft": ci(0.087, wins=21, ties=10, losses=269),
             "reward_mean": -2.31, "kl_to_sft_nats": 31.5, "pretraining_loss": 2.125,
             "cloze_accuracy": 0.715, "response_tokens": 41.5,
             "gold_parts": {"instruction_following": 0.09, "truthful": 0.31, "decent": 0.62}},
    "sft": {"gold_mean": 0.541, "win_rate_vs_sft": None, "reward_mean": 0.04,
            "kl_to_sft_nats": 0.0, "pretraining_loss": 2.2, "cloze_accuracy": 0.693,
            "response_tokens": 24.25,
            "gold_parts": {"instruction_following": 0.51, "truthful": 0.61, "decent": 0.913}},
    "ppo": {"gold_mean": 0.688, "win_rate_vs_sft": ci(0.742), "reward_mean": 1.32,
            "kl_to_sft_nats": 8.75, "pretraining_loss": 2.6, "cloze_accuracy": 0.641,
            "response_tokens": 27.5,
            "gold_parts": {"instruction_following": 0.67, "truthful": 0.64, "decent": 0.971}},
    "ppo_ptx": {"gold_mean": 0.701, "win_rate_vs_sft": ci(0.763), "reward_mean": 1.27,
                "kl_to_sft_nats": 8.25, "pretraining_loss": 2.3, "cloze_accuracy": 0.687,
                "response_tokens": 27.25,
                "gold_parts": {"instruction_following": 0.69, "truthful": 0.66, "decent": 0.97}},
}  # fmt: skip

REWARD = {
    "heldout": {
        "pairs": 1873, "prompts": 120, "accuracy": ci(0.7125, 0.02),
        "by_rank_gap": [{"gap": g, "pairs": 300, **ci(0.6 + 0.05 * g, 0.04)} for g in range(1, 6)],
        "longer_wins": ci(0.553, 0.02), "score_length_correlation": 0.213,
        "calibration": {"ece": 0.031, "brier": 0.19, "log_loss": 0.56, "bins": [
            {"low": lo / 10, "high": lo / 10 + 0.1, "predicted": lo / 10 + 0.05,
             "observed": lo / 10 + 0.04, "pairs": 200 + 37 * lo} for lo in range(5, 10)]},
    },
    "heldout_labelers": {"accuracy": ci(0.6975), "pairs": 411},
    "labeler_agreement": ci(0.7335, 0.025, pairs=902),
    "demonstration_mean": -1.5e-9, "bias_fold_error": 2e-8,
    "data": {"rankings": {"kept": 1200, "truncated": 3, "dropped": ["r7", "r9"]}},
}  # fmt: skip


def evaluation_samples(count: int) -> list[dict]:
    kinds = ("Write two sentences about a lighthouse.", "What is the capital of Peru?",
             "List three things found in a kitchen, each in capitals.")  # fmt: skip
    return [
        {
            "id": f"e{i:03d}",
            "prompt": [{"role": "user", "content": f"{kinds[i % 3]} ({i})"}],
            "responses": {
                "base": "What is the capital of Chile? What is the capital of Rome?",
                "sft": f"The answer of sft to {i}, in a sentence or two of ordinary length.",
                "ppo": "LAMP, SPOON, KETTLE.",
                "ppo_ptx": "SPOON, KETTLE and TABLE. That is all.",
            },
            "scores": {"base": -2.0, "sft": 0.0, "ppo": 1.0, "ppo_ptx": 1.1},
            "gold": {"base": 0.0, "sft": 0.5, "ppo": 0.75, "ppo_ptx": 0.5 + (i - 10) / 100},
        }
        for i in range(count)
    ]


def make_pipeline(folder: Path, *, steps: int = 60) -> Path:
    figures = {"heldout_loss": 2.125}
    write_stage(folder / "pretrain", "pretrain", {}, figures, pretrain_metrics(steps))
    epochs = [
        {"epoch": 1, "train_loss": 1.9, "heldout_loss": 1.41, "rm_score": -0.1},
        {"epoch": 2, "train_loss": 1.2, "heldout_loss": 1.4625, "rm_score": 0.2},
    ]
    sft = [{"step": s, "sft/loss": 2.1 - s / 100, "sft/lr": 1e-4} for s in range(steps)]
    sft[-1]["heldout/loss"] = 1.4625
    data = {"kept": 987, "truncated": 4, "dropped": 1}
    figures = {"heldout_loss": 1.4625, "epochs": epochs, "chosen_epoch": 2, "data": data}
    write_stage(folder / "sft", "sft", {"model": "@pretrain"}, figures, sft)
    write_stage(folder / "answers", "collect", {"labelers": "miniature:rank"}, {}, [])
    reward = [
        {"step": s, "reward/loss": 0.7 - s / 300, "reward/accuracy": 0.5 + s / 250}
        for s in range(steps)
    ]
    write_stage(folder / "reward", "reward", {}, REWARD, reward)
    for name, gain, deviation in (("ppo", 1.3, 3e-7), ("ppo_ptx", 1.2, -6e-7)):
        figures = {
            "invariants": {"step0_kl_per_token": 2e-8, "first_ratio_deviation": deviation},
            "score_first": 0.11, "score_last": 1.37, "kl_nats_last": 8.61,
            "response_tokens_last": 27.125, "kl_coef_last": 0.02,
        }  # fmt: skip
        config = {"ptx_coef": 27.8 if name == "ppo_ptx" else 0.0}
        metrics = ppo_metrics(steps, gain, seed=len(name))
        write_stage(folder / name, "ppo", config, figures, metrics, ppo_samples(steps))
    figures = {"baseline": "sft", "prompts": 300, "models": {
        name: {"win_rate_by": "gold", "truncated_share": 0.0, **found}
        for name, found in MODELS.items()}}  # fmt: skip
    write_stage(folder / "evaluate", "evaluate", {}, figures, [], evaluation_samples(30))
    finish(folder)
    return folder


def finish(folder: Path) -> None:
    summary = summarise(folder, recipe="quickstart", seed=3, seconds=SECONDS)
    (folder / "summary.json").write_text(json.dumps(summary))


def page_of(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


class Strict:
    """Collects what html.parser sees and refuses tags that do not nest."""

    def __init__(self, page: str) -> None:
        self.open: list[str] = []
        self.words: list[str] = []
        self.ids: Counter[str] = Counter()
        self.references: set[str] = set()
        self.loads: list[str] = []
        parser = HTMLParser()
        parser.handle_starttag = self.start  # type: ignore[method-assign]
        parser.handle_endtag = self.end  # type: ignore[method-assign]
        parser.handle_startendtag = self.alone  # type: ignore[method-assign]
        parser.handle_data = self.words.append  # type: ignore[method-assign]
        parser.feed(page)
        parser.close()
        assert self.open == []
        self.text = re.sub(r"[ \n]+", " ", " ".join(self.words))

    def start(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.alone(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def end(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def alone(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe", "object"), f"<{tag}> in a report"
        for name, value in attributes:
            assert not name.startswith("on"), f"{name} in a report"
            if name == "id":
                self.ids[value or ""] += 1
            if name in ("href", "xlink:href", "src"):
                self.loads.append(value or "")
            self.references |= set(re.findall(r"url\(#([^)]*)\)", value or ""))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_pipeline(tmp_path_factory.mktemp("runs") / "quickstart")
    write_pipeline_report(folder)
    return folder


def test_pipeline_page_nests_and_loads_nothing(recipe: Path) -> None:
    seen = Strict(page_of(recipe))
    assert all(target.startswith("#") for target in seen.loads)
    doubled = [name for name, count in seen.ids.items() if count > 1]
    assert doubled == []
    inside = {target.removeprefix("#") for target in seen.loads} | seen.references
    assert inside
    assert inside <= set(seen.ids)


@pytest.mark.parametrize(
    "figure",
    [
        "76.3\N{NO-BREAK SPACE}%",  # PPO-ptx's win rate
        "73.3 to 79.3",  # its interval
        "8.7\N{NO-BREAK SPACE}%",  # base's win rate
        "0.541",  # SFT's gold
        "71.5\N{NO-BREAK SPACE}%",  # base's cloze accuracy
        "won back 75\N{NO-BREAK SPACE}%",  # (2.6 - 2.3) / (2.6 - 2.2)
        "71.2\N{NO-BREAK SPACE}% (95",  # the reward model's accuracy, 0.7125 rounded to even
        "1,873 held-out pairs from 120 prompts",
        "labelers agree with one another in 73\N{NO-BREAK SPACE}%",
        "\N{MINUS SIGN}6.0e\N{MINUS SIGN}07",  # ppo_ptx's first ratio deviation
        "answered 300 instructions",
        "1 min 1 s",  # pretraining's time
        "seed 3",
        "Simulated labelers",
        "987",  # demonstrations kept
        "Demonstrations score 0.000 on average",
    ],
)
def test_pipeline_page_says(recipe: Path, figure: str) -> None:
    assert figure in Strict(page_of(recipe)).text


def test_pipeline_page_has_every_figure(recipe: Path) -> None:
    text = Strict(page_of(recipe)).text
    for title in (
        "Win rate against SFT", "KL against reward", "Pretraining loss", "SFT loss",
        "SFT loss by epoch", "Reward model.s score by epoch", "Reward model loss",
        "Reward model accuracy", "Score", "Divergence from SFT", "Answer length",
        "Agreement with the labelers", "Accuracy by distance in rank",
        "Calibration of the reward model", "Pretraining loss by model", "Cloze accuracy by model",
    ):  # fmt: skip
        assert re.search(rf"Figure \d+\. {title}\.", text), title


def test_samples_are_best_worst_and_random(recipe: Path) -> None:
    """Gain of ppo_ptx on sft is (i - 10) / 100 for prompt i of 30, so 29 is best and 0 is worst."""
    text = Strict(page_of(recipe)).text
    best = text[text.index("Largest gains") : text.index("Largest losses")]
    worst = text[text.index("Largest losses") : text.index("The reward model The reward")]
    assert re.findall(r"of sft to (\d+),", best) == ["29", "28", "27"]
    assert re.findall(r"of sft to (\d+),", worst) == ["0", "1", "2"]


def test_random_samples_follow_the_seed() -> None:
    rows = evaluation_samples(30)

    def drawn(seed: int) -> list[str]:
        groups = pair_groups(rows, baseline="sft", target="ppo_ptx", seed=seed)
        return [one.prompt[0][1] for one in groups[0].exchanges]

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)


def test_page_is_a_function_of_the_run(recipe: Path) -> None:
    before = page_of(recipe)
    write_pipeline_report(recipe)
    assert page_of(recipe) == before


def test_model_text_stays_text(tmp_path: Path) -> None:
    rows = evaluation_samples(4)
    for row in rows:
        row["responses"]["ppo_ptx"] = ATTACK
        row["prompt"][0]["content"] = f"</p>{ATTACK}"
    figures = {"baseline": "sft", "prompts": 4, "models": {ATTACK: MODELS["ppo"], **MODELS}}
    write_stage(tmp_path / "evaluate", "evaluate", {"note": ATTACK}, figures, [], rows)
    write_stage(tmp_path / "ppo", "ppo", {}, {"status": "failed", "error": ATTACK}, [],
                [{**row, "response": ATTACK} for row in ppo_samples(6)])  # fmt: skip
    write_pipeline_report(tmp_path)
    for folder in (tmp_path, tmp_path / "evaluate", tmp_path / "ppo"):
        if folder != tmp_path:
            write_stage_report(folder)
        page = page_of(folder)
        assert "<script" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert ATTACK in Strict(page).text


def test_a_long_run_stays_small(tmp_path: Path) -> None:
    folder = make_pipeline(tmp_path / "long", steps=2000)
    rows = evaluation_samples(200)
    for row in rows:
        row["responses"] = dict.fromkeys(row["responses"], "word " * 5000)
    (folder / "evaluate" / "samples.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    write_pipeline_report(folder)
    write_stage_report(folder / "ppo")
    assert (folder / "report.html").stat().st_size <= 1_500_000
    assert (folder / "ppo" / "report.html").stat().st_size <= 1_500_000
    assert "more characters" in page_of(folder)


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("pretrain", "In 60 steps the loss on ordinary text went from 7.00 to 2.70 nats"),
        ("sft", "Of 2 epochs, epoch 2 was kept."),
        ("answers", "Collected answers: answers"),
        ("reward", "always taking the longer answer would give 55"),
        ("ppo", "The mean score went from 0.110 to 1.37."),
        ("evaluate", "Every model answered 300 held-out prompts."),
    ],
)
def test_stage_page(recipe: Path, stage: str, words: str) -> None:
    write_stage_report(recipe / stage)
    seen = Strict(page_of(recipe / stage))
    assert words in seen.text
    assert re.search(r"episodes 256 250 differs", seen.text)
    assert "python" in seen.text
    assert all(count == 1 for count in seen.ids.values())


def test_ppo_page_shows_first_last_best_and_worst(recipe: Path) -> None:
    """Score is step / 100 + i over steps 0, 5, .., 55: best is i = 2 at 55, worst i = 0 at 0."""
    write_stage_report(recipe / "ppo")
    text = Strict(page_of(recipe / "ppo")).text
    parts = re.split("First step|Last step|Best scores|Worst scores", text)[-4:]
    assert [re.findall(r"Answer (\d) of step (\d+)", part)[0] for part in parts] == [
        ("0", "0"), ("0", "55"), ("2", "55"), ("0", "0")]  # fmt: skip
    assert "cut off" in parts[0]
    assert "Token by token" in parts[0]


def test_unfinished_recipe_shows_what_is_there(tmp_path: Path) -> None:
    full = make_pipeline(tmp_path / "run")
    for stage in ("evaluate", "ppo_ptx", "reward"):
        for file in (full / stage).iterdir():
            file.unlink()
        (full / stage).rmdir()
    (full / "summary.json").unlink()
    (full / "ppo" / "summary.json").unlink()
    with (full / "ppo" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 60, "objective/sc')
    (full / "recipe.yaml").write_text("recipe: mine\nseed: 5\nstages: {ppo: {}, reward: {}}\n")
    write_pipeline_report(full)
    text = Strict(page_of(full)).text
    assert "mine · seed 5 · running" in text
    assert "Score." in text
    assert "Calibration" not in text
    assert "PPO-ptx" not in text


def test_recipe_without_gold_base_or_pretraining(tmp_path: Path) -> None:
    unknown = {"gold_mean": None, "gold_parts": {}, "cloze_accuracy": None,
               "pretraining_loss": float("nan")}  # fmt: skip
    known = {"win_rate_by": "reward", "response_tokens": 90.0, "reward_mean": 0.8}
    models = {
        "sft": {**unknown, **known, "kl_to_sft_nats": 0.0, "win_rate_vs_sft": ci(0.5)},
        "tuned": {**unknown, **known, "kl_to_sft_nats": 4.5, "win_rate_vs_sft": ci(0.515)},
    }
    figures = {"baseline": "sft", "prompts": 50, "models": models}
    rows = [{k: v for k, v in row.items() if k != "gold"} for row in evaluation_samples(6)]
    write_stage(tmp_path / "evaluate", "evaluate", {}, figures, [], rows)
    summary = summarise(tmp_path, recipe="own", seed=0, seconds={"evaluate": 3.0})
    assert summary["models"]["tuned"]["pretraining_loss"] is None
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    write_pipeline_report(tmp_path)
    text = Strict(page_of(tmp_path)).text
    assert "51.5\N{NO-BREAK SPACE}%" in text
    assert "not told apart from half" in text
    assert "judged by the reward model" in text
    assert "Gold score" not in text
    assert "Cloze accuracy by model" not in text


def test_summary_has_the_schema_and_the_figures(recipe: Path) -> None:
    summary = json.loads((recipe / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["seconds"] == 294.0  # 61 + 20.5 + 9 + 31 + 70 + 90 + 12.5
    assert summary["seed"] == 3
    assert summary["recipe"] == "quickstart"
    assert summary["stages"] == SECONDS
    assert list(summary["models"]) == ["base", "sft", "ppo", "ppo_ptx"]
    ptx = summary["models"]["ppo_ptx"]
    assert ptx["win_rate_vs_sft"] == pytest.approx({"point": 0.763, "low": 0.733, "high": 0.793})
    assert {k: v for k, v in ptx.items() if k != "win_rate_vs_sft"} == {
        "gold_mean": 0.701, "kl_to_sft_nats": 8.25, "instruction_following": 0.69,
        "truthful": 0.66, "decent": 0.97, "pretraining_loss": 2.3, "cloze_accuracy": 0.687,
        "reward_mean": 1.27, "response_tokens": 27.25}  # fmt: skip
    assert summary["models"]["sft"]["win_rate_vs_sft"] is None
    assert summary["reward_model"] == {
        "heldout_accuracy": 0.7125, "heldout_labeler_accuracy": 0.6975,
        "labeler_agreement": 0.7335, "demonstration_mean": -1.5e-9}  # fmt: skip
    assert summary["invariants"] == {"step0_kl_per_token": 2e-8, "first_ratio_deviation": 6e-7}


def test_summary_status(tmp_path: Path) -> None:
    folder = make_pipeline(tmp_path / "run")

    def status() -> str:
        return summarise(folder, recipe="r", seed=0, seconds=SECONDS)["status"]

    (folder / "ppo" / "summary.json").unlink()
    assert status() == "running"
    (folder / "ppo" / "summary.json").write_text('{"status": "failed"}')
    assert status() == "failed"


def test_stages_come_in_the_recipes_order(recipe: Path) -> None:
    assert [run.name for run in read_stages(recipe)] == list(SECONDS)
    names = [run.name for run in read_stages(recipe, order=("ppo_ptx", "ppo"))]
    assert names[:3] == ["ppo_ptx", "ppo", "pretrain"]


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0}\n{"st\n{"step": 2}\n')
    with pytest.raises(UserError, match="line 2"):
        read_lines(path)
    path.write_text('{"step": 0}\n{"st')
    assert read_lines(path) == [{"step": 0}]


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run directory"):
        write_stage_report(tmp_path)


def test_result_plot_is_a_png_for_the_readme(recipe: Path, tmp_path: Path) -> None:
    path = tmp_path / "result.png"
    save_result_plot(recipe, path)
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(head[16:20], "big") == 1800
    assert [file.name for file in tmp_path.iterdir()] == ["result.png"]


def test_the_baseline_may_have_any_name(tmp_path: Path) -> None:
    """The stage's `baseline` is the yardstick: it has no row of its own, and SFT is not named."""
    rate = {"wins": 5, "ties": 2, "losses": 3}
    rows = {
        "start": {"win_rate_vs_sft": ci(0.5, **rate), "pretraining_loss": 2.0},
        "ppo": {"win_rate_vs_sft": ci(0.8125, **rate), "pretraining_loss": 2.5},
        "sft": {"win_rate_vs_sft": ci(0.6875, **rate), "pretraining_loss": 1.5},
    }
    models = {name: {"win_rate_by": "gold", **found} for name, found in rows.items()}
    figures = {"baseline": "start", "prompts": 40, "models": models}
    write_stage(tmp_path / "evaluate", "evaluate", {}, figures, [])
    summary = summarise(tmp_path, recipe="own", seed=0, seconds={"evaluate": 1.0})
    assert summary["baseline"] == "start"
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    write_pipeline_report(tmp_path)
    write_stage_report(tmp_path / "evaluate")
    for page in (page_of(tmp_path), page_of(tmp_path / "evaluate")):
        text = Strict(page).text
        assert "Win rate vs start" in text
        assert "Win rate against start" in text
        assert re.search(r"start baseline", text)
        assert re.search(r"SFT 68\.8", text)  # here SFT is one of the others
        assert "PPO\u2019s answers were preferred to start\u2019s in 81" in text
        assert "SFT\u2019s answers were preferred to start\u2019s" in text
        assert re.search(r"from 2\.?0* to 2\.50* nats per token", text)
        assert "against SFT" not in text
        assert "vs SFT" not in text


def test_every_part_of_the_data_is_counted() -> None:
    counts = {"kept": 5, "truncated": 1, "dropped": 2, "dropped_ids": ["x", "y"]}
    data = {**counts, "heldout": {"kept": 7, "truncated": 0, "dropped": 0}}
    run = StageRun(name="reward", kind="reward", folder=Path(), config={},
                   summary={"data": data}, metrics=[])  # fmt: skip
    table = data_table([run])
    assert table is not None
    assert table.columns == ("Stage", "kept", "truncated", "dropped")
    assert table.rows == (("reward", "5", "1", "2"), ("reward: heldout", "7", "0", "0"))
    assert left_out_table([run]) is None


def test_what_was_dropped_and_left_out_says_why(tmp_path) -> None:
    """In the page as a reader sees it."""
    data = {
        "kept": 1200,
        "truncated": 0,
        "dropped": 5,
        "left_out": 2,
        "dropped_reasons": {"too long": 3, "all answers tied": 2},
        "left_out_examples": [{"row": "p: 7", "shares": "near-duplicate of h<9>"}],
        "heldout": {"kept": 40, "truncated": 0, "dropped": 0, "left_out": 0},
    }
    write_stage(tmp_path / "reward", "reward", {}, {**REWARD, "data": data}, [])
    write_stage_report(tmp_path / "reward")
    text = Strict(page_of(tmp_path / "reward")).text
    assert "1,200 0 5 2 too long (3), all answers tied (2)" in text
    assert re.search(r"p: 7 near-duplicate of h<9>", text)
