"""The table of metrics: complete, readable, and the docs made from it."""

from pathlib import Path

import pytest

from trivium.runs import metrics

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_docs_are_fresh():
    assert DOCS.read_text(encoding="utf-8") == metrics.markdown(), (
        "docs/metrics.md is stale: write trivium.runs.metrics.markdown() to it"
    )


def test_the_docs_have_a_row_for_every_name():
    rows = [line for line in metrics.markdown().splitlines() if line.startswith("| `")]
    assert len(rows) == len(metrics.METRICS) + len(metrics.PREFIXES)
    assert all(row.count("|") == 5 for row in rows)


@pytest.mark.parametrize("name", metrics.METRICS)
def test_every_metric_says_what_it_is(name):
    metric = metrics.METRICS[name]
    assert metric.meaning.endswith(".")
    assert metric.unit
    assert metric.healthy
    if "nats" in name:
        assert metric.unit.startswith("nats")


def test_known_names_pass():
    metrics.check(["sft/loss", "reward_part/length", "seconds/step"])


@pytest.mark.parametrize(
    ("name", "near"),
    [("sft/los", "sft/loss"), ("objective/kl", "objective/kl_nats"), ("reward_part/", "")],
)
def test_unknown_names_do_not(name, near):
    with pytest.raises(AssertionError, match=f"{name}: not in .*{near}"):
        metrics.check(["sft/loss", name])


def test_times_and_sizes_are_told_apart():
    timing = {name for name in metrics.METRICS if metrics.is_timing(name)}
    assert timing == {
        "seconds/sample",
        "seconds/judge",
        "seconds/learn",
        "seconds/step",
        "tokens_per_second",
        "bytes/peak_rss",
    }
