"""`trivium plan` against a finished run: what it counts is what was done."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from trivium import cli, cost
from trivium.cost import Reading
from trivium.models.pace import Line, Pace
from trivium.models.shape import shape_of
from trivium.runs import recipes
from trivium.stages import planning
from trivium.stages.forecast import Forecast

pytestmark = pytest.mark.xdist_group("tiny")


@pytest.fixture(scope="module")
def foreseen(tmp_path_factory) -> dict[str, Forecast]:
    """The forecast of every stage of the recipe that `tiny` is a run of."""
    folder = tmp_path_factory.mktemp("plan")
    return planning.foresee_all(recipes.load("tiny_cpu", out=folder), folder)


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def logged(run: Path, name: str) -> Iterator[float]:
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return (row[name] for row in rows if name in row)


def reading(forecast: Forecast, kind: str) -> Reading:
    return cost.total(w.reading for w in forecast.works if w.kind == kind)


@pytest.mark.parametrize("stage", ["pretrain", "sft", "reward"])
def test_updates_are_the_steps_that_were_made(tiny, foreseen, stage):
    assert foreseen[stage].updates == read(tiny / stage / "summary.json")["executed"]["steps"]


@pytest.mark.parametrize("stage", ["ppo", "ppo_ptx"])
def test_updates_and_episodes_of_ppo(tiny, foreseen, stage):
    done = read(tiny / stage / "summary.json")["executed"]
    assert foreseen[stage].updates == done["optimizer_updates"]
    assert foreseen[stage].episodes == done["episodes"]


def test_tokens_that_sft_learned(tiny, foreseen):
    """The run logs how many tokens each step predicted, web text included."""
    assert reading(foreseen["sft"], "learn").predicted == sum(logged(tiny / "sft", "sft/tokens"))


def test_tokens_of_pretraining(tiny, foreseen):
    done = read(tiny / "pretrain" / "summary.json")["executed"]
    assert reading(foreseen["pretrain"], "learn").tokens == done["tokens"]


def test_answers_that_collect_wrote(tiny, foreseen):
    done = read(tiny / "collect" / "summary.json")["executed"]
    assert foreseen["collect"].episodes == done["completions"]


def test_bytes_held_are_those_of_the_run_s_own_plan(tiny, foreseen):
    for stage in ("sft", "reward", "ppo"):
        memory = foreseen[stage].memory
        held = memory.weights + memory.gradients + memory.optimizer
        assert held == pytest.approx(read(tiny / stage / "plan.json")["static_bytes"], rel=0.01)


def test_flops_of_a_phase_are_those_of_its_texts(foreseen):
    """Pretraining by hand: 3 x 2 x N for each token read, and so on."""
    learn = next(w for w in foreseen["pretrain"].works if w.kind == "learn")
    shape, text = shape_of(learn.model), learn.reading
    attention = 4 * shape.layers * shape.query_width * text.pairs
    head = 2 * shape.vocabulary * shape.hidden * text.predicted
    assert learn.flops() == 3 * (2 * shape.matrices * text.tokens + attention + head)


def test_seconds_are_those_of_the_parts():
    one = {"learn": Line(fixed=1.0, each=0.1), "read": Line(fixed=0.0, each=0.0)}
    pace = Pace(
        layer=one | {"write": Line(fixed=0.5, each=0.25)},
        rest=one | {"write": Line(fixed=0.0, each=0.0)},
        table=3.0,
        head=one | {"write": Line(fixed=2.0, each=0.5)},
        update=1.0,
    )
    # two passes of 10 tokens: 4 layers of 1 + 1, the rest 2, the table 3, 5 rows 1 + 0.5
    assert pace.seconds("learn", layers=4, passes=2, tokens=20, rows=10) == 2 * (8 + 2 + 3 + 1.5)
    # nothing predicted: no head
    assert pace.seconds("learn", layers=4, passes=2, tokens=20, rows=0) == 2 * (8 + 2 + 3)
    # three steps of two slots: 4 layers of 0.5 + 0.5, head 2 + 1
    assert pace.seconds("write", layers=4, passes=3, tokens=6, rows=6) == 3 * (4 + 3)
    assert pace.seconds("write", layers=4, passes=0, tokens=0, rows=0) == 0


def test_the_command_prints_every_phase(capsys):
    assert cli.main(["plan", "tiny_cpu"]) == 0
    shown = capsys.readouterr().out
    for word in ("pretrain", "ppo_ptx", "evaluate", "TFLOP", "gradients", "GFLOP/s"):
        assert word in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan", "tiny_cpo"], "did you mean 'tiny_cpu'"),
        (["plan", "smollm2_cpu"], "--data"),
        (["plan", "smollm2_cpu", "--model", "/nowhere", "--data", "/nowhere"], "/nowhere"),
        (["plan", "tiny_cpu", "--set", "ppo.num_stepz=3"], "num_stepz"),
    ],
)
def test_what_does_not_fit_is_one_line(words, said, capsys):
    assert cli.main(words) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
