"""What the benchmarks make of times and bytes: fits, shares, verdicts, the table."""

import sys

import bench
import growth
import numpy as np
import pytest
import race
import solo
import table

from trivium.cost import Shape

# One layer, d = 2, one head of size 2, N = 34, five words: as in tests/cost.
TINY = Shape(
    layers=1,
    hidden=2,
    query_width=2,
    key_width=2,
    inner=3,
    vocabulary=5,
    matrices=34,
    parameters=50,
)


def test_an_exact_power_law_is_found_exactly():
    xs = [1.0, 2.0, 5.0, 10.0]
    fit = growth.exponent(xs, [3 * x**0.9 for x in xs])
    assert (fit.value, fit.low, fit.high) == pytest.approx((0.9, 0.9, 0.9))


def test_the_interval_of_an_exponent_is_student_s():
    # Logarithms 0, 1, 2 with errors +e, -2e, +e: the slope stays 1. Residual variance 6 e^2 / 1,
    # divided by sum (x - mean)^2 = 2: standard error e sqrt 3; t for one degree is 12.706.
    e = 0.01
    fit = growth.exponent(np.exp([0, 1, 2]), np.exp([0 + e, 1 - 2 * e, 2 + e]))
    assert fit.value == pytest.approx(1.0)
    assert fit.high - fit.value == pytest.approx(12.7062 * e * 3**0.5, rel=1e-4)


def test_the_table_says_how_it_is_called(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["table.py", "--help"])
    with pytest.raises(SystemExit) as stopped:
        table.main()
    assert stopped.value.code == 0
    assert "benchmarks/results" in capsys.readouterr().out


def test_a_parabola_is_taken_apart():
    xs = [1.0, 2.0, 4.0, 8.0, 16.0]
    each, square = growth.parabola(xs, [7 + 3 * x + 0.25 * x * x for x in xs])
    assert each == pytest.approx(3.0)
    assert (square.value, square.low, square.high) == pytest.approx((0.25, 0.25, 0.25))


def test_rounds_leave_the_first_out():
    calls: list[str] = []
    steps = [lambda: calls.append("a"), lambda: calls.append("b")]
    assert len(growth.in_rounds(steps, 2)) == 2
    assert calls == ["a", "b"] * 3


def test_the_least_that_an_iteration_needs():
    # Prompt of 2, answers of 1 and 2: 5 tokens, 13 pairs, 3 predicted; a token 2 x 34 FLOPs,
    # a pair 8, a logit row 20. As two sequences: 7 tokens, 6 + 10 pairs.
    trunk = 68 * 5 + 8 * 13
    assert solo.minimum("reward", TINY, [(2, [1, 2])]) == 3 * trunk
    assert solo.minimum("sft", TINY, [(2, [1, 2])]) == 3 * (trunk + 20 * 3)
    # PPO with one answer of 3: written 4 tokens and 10 pairs, read 5 tokens and 15 pairs
    written, read, logits = 68 * 4 + 8 * 10, 68 * 5 + 8 * 15, 20 * 3
    expected = (written + logits) + (read + logits) + 2 * read + 3 * (read + logits) + 3 * read
    assert solo.minimum("ppo", TINY, [(2, [3])]) == expected


def test_a_share_is_of_the_roof_around_its_iteration():
    assert solo.shares([60.0, 60.0], [90.0, 110.0, 130.0]) == pytest.approx([0.6, 0.5])
    with pytest.raises(ValueError, match="shorter"):
        solo.shares([60.0, 60.0], [90.0, 110.0])  # none after the last


def test_sides_take_turns_and_the_roof_is_measured_around_each_counted_round(tmp_path):
    order = tmp_path / "order"
    program = f"""
import sys
sys.path.insert(0, {str(race.HERE)!r})
from turns import turn
for _ in range(4):
    turn()
    open({str(order)!r}, "a").write(sys.argv[1])
"""
    (tmp_path / "side.py").write_text(program)
    sides = [
        race.start(sys.executable, str(tmp_path / "side.py"), name, log=tmp_path / f"{name}.log")
        for name in "ab"
    ]
    try:
        heard = race.alternate(sides, 2, lambda: order.write_text(order.read_text() + "|"))
    finally:
        for side in sides:
            side.stop()
    assert order.read_text() == "ab|ab|ab|"
    assert [len(side) for side in heard] == [2, 2]


def test_memory_is_compared_above_what_both_must_hold():
    raced = {
        "id": "ppo_variable", "gate": "g", "dtype": "d", "peer_name": "trl-1.12.0",
        "peak_bytes": {"ours": 7, "peer": 15, "static": 5},
    }  # fmt: skip
    row = bench.memory_row("ppo_memory", raced, (0.6, 0.35, 0.2))
    assert row["ratio"] == pytest.approx(2 / 10)
    assert table.verdict(row) == "moonshot"
    refused = {"id": "ppo_variable", "refused": "KL", "log": ""}
    assert bench.memory_row("ppo_memory", refused, (1, 1, 1)) == refused | {"id": "ppo_memory"}


def test_a_race_already_run_in_fp32_is_not_run_again():
    """What is missing of its arguments shows that nothing was started."""
    raced = {"id": "ppo_variable", "ratio": 1.6, "dtype": "torch.float32", "floor": 3}
    row = bench.make("ppo_fp32", [raced], "no model", 5, {})
    assert (row["id"], row["ratio"], row["floor"], row["target"]) == ("ppo_fp32", 1.6, 1.5, 2.2)
    with pytest.raises(Exception, match="no model"):
        bench.make("ppo_fp32", [raced | {"dtype": "torch.bfloat16"}], "no model", 5, {})


@pytest.mark.parametrize(
    ("ratio", "at_most", "reached"),
    [
        (1.2, False, "below the floor"),
        (1.3, False, "floor"),
        (2.0, False, "target"),
        (9.0, False, "moonshot"),
        (9.0, True, "below the floor"),
        (1.5, True, "target"),
    ],
)
def test_the_highest_goal_reached(ratio, at_most, reached):
    goals = {"floor": 1.3, "target": 1.8, "moonshot": 2.5}
    if at_most:
        goals = {"floor": 2.5, "target": 1.8, "moonshot": 1.3}
    assert table.verdict({"ratio": ratio, "at_most": at_most, **goals}) == reached


def found(row: dict, time: str, *, steady: bool = True) -> dict:
    roof = {"gflops_fp32": 170.4}
    return {
        "hardware": "Two cores", "date": "2026-11-21", "time": time, "torch": "2.13.0",
        "steady": steady, "roofs": {"before": roof, "after": roof}, "rows": [row],
    }  # fmt: skip


def test_of_each_row_the_newest_measurement_stands_in_the_table():
    goals = {"floor": 1.3, "target": 1.8, "moonshot": 2.5, "peer_name": "trl"}
    old, new = ({"id": "sft", "ratio": r, "spread": [r, r + 0.5], **goals} for r in (1.9, 1.4))
    share = {
        "id": "roof_sft", "ratio": 0.613, "spread": [0.6, 0.62], "peer_name": "matmul of 4096",
        "floor": 0.55, "target": 0.7, "moonshot": 0.8,
    }  # fmt: skip
    text = table.markdown([found(new, "20:00:00"), found(share, "20:01:00"), found(old, "19:00")])
    assert "| TRL 1.16.0 | **1.4x** (1.4 to 1.9) | 1.3, 1.8, 2.5 | floor |" in text
    assert "| matmul of 4096 | **61 %** (60 % to 62 %) | 55 %, 70 %, 80 % | floor |" in text
    assert text.count("Two cores") == 2  # the older file tells nothing any more
    assert "Not measured: `ppo_variable`" in text


def test_what_was_measured_beside_other_work_is_marked():
    row = {"id": "sft", "refused": "loss: 1 against 2"}
    text = table.markdown([found(row, "20:00:00", steady=False)])
    assert "not timed: loss: 1 against 2" in text
    assert "to be repeated" in text


def test_every_row_has_words():
    assert list(table.WORDS) == bench.ALL
