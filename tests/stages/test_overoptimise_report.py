"""Curves, fits, table and figure of an over-optimisation study, from files written by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trivium.runs.overoptimise_figure import save_figure
from trivium.stages import overoptimise_report as report


def write_lines(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_ppo(folder: Path, *, alpha: float, beta: float) -> None:
    """30 steps of 8 episodes whose gold, in a unit of 0.5, is 0.4 + d (alpha - beta ln d)."""
    rows = []
    for step in range(30):
        d = step / 10
        gold = 0.5 * (0.4 + d * (alpha - beta * math.log(d or 1.0)))
        for episode in range(8):
            rest = (episode % 2 - 0.5) * 0.1  # cancels in the mean of a step
            parts = {"proxy": 2.0 * d + 3.0 + rest, "gold": gold + rest}
            rows.append({"step": step, "kl_nats": d * d + 10 * rest, "parts": parts})
    write_lines(folder / "samples.jsonl", rows)


def test_curves_of_ppo_are_means_of_steps_and_their_law_is_found(tmp_path):
    write_ppo(tmp_path, alpha=0.9, beta=0.6)
    found = report.ppo_curve(tmp_path, unit=4.0, gold_unit=0.5)
    distance = np.arange(30) / 10
    assert found["kl_nats"] == pytest.approx(distance**2)
    assert found["proxy"] == pytest.approx(0.5 * distance)  # 2 d over a unit of 4, from the start
    law = found["fit"]
    assert [law[name]["point"] for name in ("start", "alpha", "beta")] == pytest.approx(
        [0.4, 0.9, 0.6]
    )
    peak = math.exp(0.9 / 0.6 - 1)
    assert law["peak"]["point"] == pytest.approx(peak)
    assert law["height"]["point"] == pytest.approx(0.6 * peak)
    assert found["gold"][10] == pytest.approx(0.9)  # at d = 1 the logarithm is 0
    assert found["gold_end"]["point"] == pytest.approx(np.mean(found["gold"][-3:]))


def test_gold_counts_from_the_first_step_wherever_the_fitted_law_starts(tmp_path):
    """The first three steps, whose gold no law explains, pull the fit; the zero stays theirs."""
    write_ppo(tmp_path, alpha=0.9, beta=0.6)
    path = tmp_path / "samples.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row["parts"]["gold"] += 0.5 * (row["step"] < 3)  # a whole unit
    write_lines(path, rows)
    found = report.ppo_curve(tmp_path, unit=4.0, gold_unit=0.5)
    assert found["gold"][0] == pytest.approx(0.0)
    assert found["gold"][10] == pytest.approx(0.9 - 1.0)
    law = found["fit"]
    assert law["start"]["point"] < 1.4 - 0.05  # 0.4 and the unit is what the first step has
    assert law["gold"][0] == pytest.approx(law["start"]["point"] - 1.4)


def test_best_of_n_against_gold_that_is_the_proxy_and_gold_that_is_noise():
    """Where gold is the proxy the two rise together; where they are strangers gold stays."""
    proxy = np.random.default_rng(0).normal(size=(200, 32))
    found = report.best_of_n_curve(proxy, 3.0 * proxy + 1.0, unit=1.0, gold_unit=3.0)
    assert found["n"] == [1, 2, 3, 4, 6, 8, 11, 16, 23, 32]
    assert found["kl_nats"][1] == pytest.approx(math.log(2) - 0.5)
    assert found["gold"] == pytest.approx(found["proxy"])
    assert found["proxy"][1] == pytest.approx(math.pi**-0.5, abs=0.03)  # E max of two normals
    stranger = np.random.default_rng(1).normal(size=(200, 32))
    noise = report.best_of_n_curve(proxy, stranger, unit=1.0, gold_unit=1.0)
    assert abs(noise["gold_end"]["point"]) < 0.25


def test_pairs_are_counted_without_ties(tmp_path):
    rows = [{"completions": [{"rank": r} for r in ranks]} for ranks in ([1, 2, 2], [1, 2, 3, 4])]
    write_lines(tmp_path / "rankings.jsonl", rows)
    assert report.count_pairs(tmp_path / "rankings.jsonl") == 2 + 6


@pytest.fixture(scope="module")
def summary(tmp_path_factory) -> dict:
    """Two sizes: the smaller peaks at once and was also trained at another price."""
    tmp_path = tmp_path_factory.mktemp("ppo")
    rng = np.random.default_rng(3)
    proxy = rng.normal(size=(20, 16))
    write_ppo(tmp_path / "peaks", alpha=0.9, beta=0.6)
    write_ppo(tmp_path / "rises", alpha=0.9, beta=-0.1)

    def size(*ppo: tuple[str, str]) -> dict:
        return {
            "comparisons": 1234,
            "heldout_accuracy": {"point": 0.61, "low": 0.58, "high": 0.64},
            "best_of_n": report.best_of_n_curve(proxy, proxy, unit=1.0, gold_unit=1.0),
            "ppo": {
                beta: report.ppo_curve(tmp_path / name, unit=1.0, gold_unit=0.5)
                for beta, name in ppo
            },
        }

    return {"rankings": {"30": size(("0", "peaks"), ("0.1", "rises")), "300": size(("0", "rises"))}}


def test_the_table_says_where_gold_peaks_or_that_it_does_not(summary):
    rows = [dict(zip(report.HEADS, row, strict=True)) for row in report.cells(summary)]
    assert [row["optimised by"] for row in rows] == [
        "best of 16", "PPO, kl_coef 0", "PPO, kl_coef 0.1", "best of 16", "PPO, kl_coef 0",
    ]  # fmt: skip
    assert rows[1]["gold peaks at d"].startswith("1.65")  # exp(1/2)
    assert rows[1]["by"] == "0.989"
    assert (rows[2]["gold peaks at d"], rows[2]["by"]) == ("beyond", "")
    assert rows[0]["rankings"] == "30 (1,234 pairs)"
    lines = report.markdown(summary).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    json.dumps(summary, allow_nan=False)  # nothing infinite is left for the file


def test_the_figure_has_a_panel_for_prices_where_there_are_several(summary, tmp_path):
    save_figure(summary, tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as figure:
        assert figure.width == pytest.approx(3 * 5.4 * 110, abs=2)
