"""`trivium plan` against a finished run: what it counts is what was done."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console

from trivium import cli, cost
from trivium.config import Sampling
from trivium.cost import Reading
from trivium.models import Compute, compute_for
from trivium.models.load import load_blank
from trivium.models.reordered import PROGRAM_BYTES
from trivium.models.shape import shape_of
from trivium.runs import recipes
from trivium.stages.planning import command, outlook, timing
from trivium.stages.planning.forecast import (
    SLACK,
    Forecast,
    Memory,
    kept,
    large,
    of_sequences,
    typical,
    work,
    writing_bytes,
)
from trivium.text import from_lists

pytestmark = pytest.mark.xdist_group("tiny")


@pytest.fixture(scope="module")
def foreseen(tmp_path_factory) -> dict[str, Forecast]:
    """The forecast of every stage of the recipe that `tiny` is a run of."""
    folder = tmp_path_factory.mktemp("plan")
    foreseen = command.foresee_all(recipes.load("tiny_cpu", out=folder), folder)
    return {name: forecast for name, (forecast, _) in foreseen.items()}


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


def test_what_is_tried_is_a_micro_batch_of_the_run(foreseen):
    """Rows of the recipe's own size, and their tokens are what an average pass reads."""
    sizes = {"pretrain": 8, "sft": 128, "ppo": 8}
    for stage, rows in sizes.items():
        learn = next(w for w in foreseen[stage].works if w.kind == "learn")
        assert len(learn.sample) == rows, stage
        mean = learn.reading.tokens / learn.passes
        assert learn.once.tokens == pytest.approx(mean, rel=0.1), stage
        assert learn.largest.tokens >= learn.once.tokens, stage


def test_a_typical_batch_and_a_large_one():
    sizes = [1] * 50 + [101] * 50
    assert sum(sizes[i] for i in typical(sizes, 10)) == 10 * 51
    most, one = (sum(sizes[i] for i in large(sizes, 10, passes=n)) for n in (256, 1))
    assert 10 * 51 < most <= 1010
    assert one < most  # a run of one step does not meet the largest of many
    assert sorted(typical([3, 4], 10)) == [0, 1]  # a data set smaller than its batch


def test_the_busiest_moment():
    held = {"weights": 60, "gradients": 10, "optimizer": 20, "programs": 40}
    learning = Memory(**held, activations=7, update=5, reading=4, past=12)
    assert learning.peak() == 100 + 20 + 10 + 7
    updating = Memory(**held, activations=7, update=8, reading=4, past=12)
    assert updating.peak() == 100 + 20 + 10 + 8
    writing = Memory(**held, activations=7, update=5, reading=4, past=14)
    assert writing.peak() == 100 + 20 + 4 + 14


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bytes_of_writing_and_of_backward_by_hand(model_folder, dtype):
    """Two layers, d = 32, four heads of 8 of which two have keys, a feed-forward of 48."""
    policy = load_blank(str(model_folder()))
    compute = Compute(device=torch.device("cpu"), dtype=dtype)
    past, programs = writing_bytes(policy, Sampling(max_response_tokens=8), 12, 5, compute)
    held = 2 * dtype.itemsize * 2 * 16 * 5 * (12 + 8)  # keys and values, layers, width, slots, room
    matrices = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48) + 32 * policy.model.config.vocab_size
    # query and output; key and value; gate and up; down; the unembedding: five shapes, five rows.
    reorders = torch.backends.mkl.is_available() and dtype is torch.float32
    assert (past, programs) == (held + reorders * 4 * matrices, reorders * 25 * PROGRAM_BYTES)

    rows = from_lists([[0]], [[0] * 10])
    one = work("learn", policy.model, 1, of_sequences(rows), rows)
    number = dtype.itemsize * 11 * (6 * 32 + 3 * 32 + 2 * 16 + 4 * 48)  # of one layer
    logits = 2 * 4 * 10 * policy.model.config.vocab_size
    copy = 0 if dtype is torch.float32 else 2 * policy.model.num_parameters()
    assert kept(one, dtype, layers=1) == copy + number + logits
    assert kept(one, dtype) == round(SLACK * (copy + 3 * number + logits))


def test_time_of_many_layers_from_that_of_few(tiny_model):
    """Whatever is a straight line in layers is found exactly."""
    trial = timing.new_trial(compute_for("float32"))
    model, tried = tiny_model("llama", 50), []

    def seconds(network) -> float:
        tried.append(network.config.num_hidden_layers)
        return 2 + 3 * network.config.num_hidden_layers

    for layers in (4, 31, 31):
        model.config.num_hidden_layers = layers
        assert timing.over_layers(model, "any", b"", seconds, trial) == 2 + 3 * layers
    assert tried == [4, *timing.FEW_LAYERS]  # what was found is not looked for again


def test_a_run_begins_with_its_plan_and_keeps_it(tiny):
    """Memory does not depend on what else the machine does, so it can be held against the run."""
    plan = read(tiny / "plan.json")["stages"]
    assert list(plan) == list(read(tiny / "summary.json")["stages"])
    for stage, expected in plan.items():
        assert expected["seconds"] > 0
        was = read(tiny / stage / "summary.json")["peak_bytes"]
        assert expected["peak_bytes"] == pytest.approx(was, rel=0.3), stage


def test_the_command_prints_every_phase(capsys):
    assert cli.main(["plan", "tiny_cpu"]) == 0
    shown = capsys.readouterr().out
    for word in ("pretrain", "ppo_ptx", "evaluate", "TFLOP", "grads", "GFLOP/s"):
        assert word in shown
    work, _, memory = shown.partition("memory, MB")
    cells = [
        {words[0]: words[1:] for line in part.splitlines() if (words := line.split())}["pretrain"]
        for part in (work, memory)
    ]
    # Tied embeddings of 512 words and one layer, d = 32: 16,384 + 4 * 1,024 + 3 * 2,048 weights in
    # matrices, 96 in norms. 6 steps of 8 * 128 tokens at 6 FLOPs a weight, the rest of them, held
    # out, at 2; attention's scores come on top.
    least = 26_624 * (6 * 6_144 + 2 * (15_360 - 6_144)) / 1e12
    assert least < float(cells[0][3]) < 1.5 * least
    assert cells[1][0] == f"{4 * (26_624 + 96) / 1e6:.2f}"


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


def test_what_was_planned_stands_beside_what_it_took(tmp_path):
    recipe = recipes.load("tiny_cpu", out=tmp_path)
    names = [entry.name for entry in recipe.stages]
    plan = {name: {"seconds": 10.0, "peak_bytes": 2_000_000_000} for name in names}
    (tmp_path / "plan.json").write_text(json.dumps({"stages": plan}))
    for name in names[1:]:  # the first was never run
        (tmp_path / name).mkdir()
        summary = {"seconds": 7.0, "peak_bytes": 1_500_000_000}
        (tmp_path / name / "summary.json").write_text(json.dumps(summary))
    console = Console(width=100, record=True, file=io.StringIO())
    outlook.compare(recipe, tmp_path, console)
    text = console.export_text()
    lines = [line.split() for line in text.splitlines()]
    rows = {line[0]: line for line in lines if len(line) > 3}
    assert rows["sft"] == ["sft", "10", "s", "7", "s", "2.00", "1.50"]
    assert rows["pretrain"] == ["pretrain", "10", "s", "2.00"]
    assert "1 min 10 s" in text
    assert "42 s" in text


def test_a_recipe_that_is_not_foreseen_says_so_and_is_run(tmp_path):
    def load(folder: Path) -> recipes.Recipe:
        return recipes.load("smollm2_cpu", out=folder, model="/nowhere", data="/nowhere")

    console = Console(width=200, record=True, file=io.StringIO())
    outlook.announce(load, tmp_path, console)
    assert "no forecast: /nowhere" in console.export_text()
    assert not (tmp_path / "plan.json").exists()
    outlook.compare(load(tmp_path), tmp_path, console)  # nothing was expected, nothing is said
