"""Proxies from few rankings, pushed by best of n and by PPO while gold looks on; tiny recipe.

The command as a whole is run by `make learn`; what it computes is in test_overoptimise_report.py.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from trivium import cli
from trivium.miniature import gold
from trivium.models import load_reward_model
from trivium.rewards import score_texts

pytestmark = pytest.mark.xdist_group("tiny")

FEWER = ["reward.num_epochs=1", "ppo.num_steps=3", "ppo.heldout_every=0"]
SMALL = ["--best-of", "6", "--num-prompts", "4", "--set", *FEWER]


def words(tiny: Path, out: Path, *sizes: str) -> list[str]:
    return ["overoptimise", "--run", str(tiny), "--out", str(out), "--rankings", *sizes, *SMALL]


@pytest.fixture(scope="module")
def studied(tiny, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("overoptimise")
    assert cli.main([*words(tiny, out, "16", "4"), "--kl-coefs", "0.5", "0"]) == 0
    return out


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def config(folder: Path) -> dict:
    return yaml.safe_load((folder / "config.yaml").read_text())


@pytest.mark.learn
def test_the_smaller_rankings_are_among_the_larger_and_none_is_held_out(studied, tiny):
    small, large = (
        {row["id"] for row in lines(studied / f"rankings-{size}" / "rankings.jsonl")}
        for size in (4, 16)
    )
    heldout = {row["id"] for row in lines(studied / "heldout.jsonl")}
    assert len(small) <= 4
    assert small < large
    assert heldout
    assert not heldout & large
    known = {row["id"]: row for row in lines(tiny / "collect" / "rankings.jsonl")}
    assert large | heldout <= known.keys()


@pytest.mark.learn
def test_only_what_is_studied_differs_from_the_run(studied, tiny):
    source = config(tiny / "ppo")
    for size, beta in ((4, 0.5), (4, 0.0), (16, 0.5)):
        own = config(studied / f"rankings-{size}" / f"ppo-{beta:g}")
        differing = {k for k in own if own[k] != source[k]}
        assert differing == {"reward", "kl_coef", "num_steps", "heldout_every"}
        assert own["kl_coef"] == beta
        reward = studied / f"rankings-{size}" / "reward"
        assert own["reward"] == [f"proxy={reward}", "gold=0*trivium.miniature.gold:score"]
    assert not (studied / "rankings-16" / "ppo-0").exists()  # other prices: the smallest alone


def by_reward_model(place: Path, rows: list[dict], cpu) -> np.ndarray:
    model = load_reward_model(str(place), cpu)
    scores = [
        score_texts(model, [row["prompt"]], [one["text"]], cpu)[0]
        for row in rows
        for one in row["answers"]
    ]
    return np.array(scores).reshape(len(rows), -1)


@pytest.mark.learn
def test_figures_are_those_of_the_files(studied, cpu):
    """Best of n by hand from answers.jsonl; PPO's curves from its metrics."""
    summary = json.loads((studied / "summary.json").read_text())
    rows = lines(studied / "answers" / "answers.jsonl")
    assert (
        (summary["prompts"], summary["answers"]) == (len(rows), len(rows[0]["answers"])) == (4, 6)
    )
    marks = np.array(
        [[gold.judge(r["prompt"], a["text"]).score for a in r["answers"]] for r in rows]
    )
    assert summary["gold"]["mean"] == pytest.approx(marks.mean())
    unit = marks.std()
    assert summary["gold"]["deviation"] == pytest.approx(unit)
    found = summary["rankings"]["4"]
    assert list(summary["rankings"]) == ["4", "16"]
    assert found["best_of_n"]["n"] == [1, 2, 3, 4, 6]
    assert found["best_of_n"]["gold"][0] == pytest.approx(0.0, abs=1e-12)
    proxy = by_reward_model(studied / "rankings-4" / "reward", rows, cpu)
    tops = proxy > proxy.max(axis=1, keepdims=True) - 1e-6  # the same text, more than once
    best = ((marks * tops).sum(1) / tops.sum(1)).mean()
    assert found["best_of_n"]["gold"][-1] == pytest.approx((best - marks.mean()) / unit)
    rise = (proxy.max(axis=1).mean() - proxy.mean()) / proxy.std()
    assert found["best_of_n"]["proxy"][-1] == pytest.approx(rise, rel=1e-4)

    metrics = lines(studied / "rankings-4" / "ppo-0.5" / "metrics.jsonl")
    curve = found["ppo"]["0.5"]
    kl = [row["objective/kl_nats"] for row in metrics]
    assert curve["kl_nats"] == pytest.approx(kl, abs=1e-5)
    moved = np.array([row["reward_part/gold"] for row in metrics]) / unit
    assert np.diff(curve["gold"]) == pytest.approx(np.diff(moved), abs=1e-5)
    law = curve["fit"]
    assert law["reach"] == pytest.approx(math.sqrt(max(kl)), abs=1e-5)
    assert curve["gold"][0] == pytest.approx(0.0, abs=1e-6)
    assert law["gold"][0] == pytest.approx(law["start"]["point"] - moved[0], abs=1e-5)


@pytest.mark.learn
def test_the_proxy_alone_is_trained_on(studied):
    rows = lines(studied / "rankings-4" / "ppo-0" / "samples.jsonl")
    finished = [row for row in rows if row["finished"]]
    assert finished
    for row in finished:
        assert row["score"] == pytest.approx(row["parts"]["proxy"], abs=1e-5)


@pytest.mark.learn
def test_the_table_and_the_figure(studied):
    table = (studied / "table.md").read_text().splitlines()
    assert len(table) == 2 + 2 + 3  # heads, best of n for each size, PPO
    assert len({row.count("|") for row in table}) == 1
    with Image.open(studied / "figure.png") as figure:
        assert figure.width > 1500  # three panels


@pytest.mark.learn
def test_again_runs_nothing_again_and_other_settings_are_refused(studied, tiny, capsys):
    def times() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in studied.rglob("metrics.jsonl")}

    before = times()
    assert cli.main([*words(tiny, studied, "4", "16"), "--kl-coefs", "0.5", "0"]) == 0
    assert times() == before
    assert cli.main([*words(tiny, studied, "4")[:-1], "ppo.lr=1"]) == 2
    error = capsys.readouterr().err
    assert "holds a stage with other settings" in error.splitlines()[-1]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--rankings", "100000"], "--rankings 100000:"),
        (["--rankings", "0", "4"], "--rankings 0 4: expected numbers above 0"),
        (["--best-of", "2"], "--best-of 2: expected 4 or more"),
        (["--set", "evaluate.seed=1"], "evaluate: no such stage"),
        (["--kl-coefs", "-1"], "kl_coef: expected >= 0"),
    ],
)
def test_mistakes_are_one_line(more, says, tiny, tmp_path, capsys):
    given = ["overoptimise", "--run", str(tiny), "--out", str(tmp_path / "out")]
    few = [] if "--rankings" in more else ["--rankings", "4"]
    assert cli.main([*given, *few, *more]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
