"""A study turns one knob, runs each value once and says what it found; on the tiny recipe."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from trivium import cli
from trivium.stages import study, study_report

pytestmark = pytest.mark.xdist_group("tiny")

SMALL = ["--set", "ppo.num_steps=2", "evaluate.num_prompts=8"]


def words(tiny: Path, out: Path, *values: str) -> list[str]:
    return ["study", "kl-coef", "--run", str(tiny), "--out", str(out), "--values", *values]


@pytest.fixture(scope="module")
def studied(tiny, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("study")
    assert cli.main([*words(tiny, out, "0.5,0"), *SMALL]) == 0
    return out


def config(folder: Path) -> dict:
    return yaml.safe_load((folder / "config.yaml").read_text())


def differing(one: dict, other: dict) -> set[str]:
    assert one.keys() == other.keys()
    return {name for name in one if one[name] != other[name]}


def test_only_the_knob_differs(studied, tiny):
    none, half = (config(studied / value / "seed-0" / "ppo") for value in ("0", "0.5"))
    assert differing(none, half) == {"kl_coef"}
    assert (none["kl_coef"], half["kl_coef"]) == (0.0, 0.5)
    assert differing(half, config(tiny / "ppo")) == {"kl_coef", "num_steps"}
    own, source = (config(f / "evaluate") for f in (studied / "0" / "seed-0", tiny))
    assert differing(own, source) == {"models", "num_prompts"}
    assert own["models"]["sft"] == source["models"]["sft"]


def test_the_same_random_numbers_are_used_for_every_value(studied):
    """Before the first update the values are one policy: its answers and scores are the same."""

    def first(value: str) -> dict:
        log = studied / value / "seed-0" / "ppo" / "metrics.jsonl"
        return json.loads(log.read_text().splitlines()[0])

    none, half = first("0"), first("0.5")
    assert none["objective/score"] == half["objective/score"]
    assert none["episodes/response_tokens"] == half["episodes/response_tokens"]


def test_the_summary_the_table_and_the_figure(studied):
    summary = json.loads((studied / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert list(summary["values"]) == ["0", "0.5"]  # ascending, whatever was given
    for value, found in summary["values"].items():
        trial = json.loads((studied / value / "seed-0" / "evaluate" / "summary.json").read_text())
        own = trial["models"]["ppo"]
        for name in ("reward_mean", "gold_mean", "kl_to_sft_nats", "pretraining_loss"):
            assert found[name] == own[name]
        assert found["win_rate"] == own["win_rate_vs_sft"]["point"]
        assert summary["baseline"]["gold_mean"] == trial["models"]["sft"]["gold_mean"]
    rows = (studied / "table.md").read_text().splitlines()
    assert [row.split("|")[1].strip() for row in rows] == ["kl-coef", "---", "before", "0", "0.5"]
    assert len({row.count("|") for row in rows}) == 1
    with Image.open(studied / "figure.png") as figure:
        assert figure.width > 800


def test_more_values_run_alone_and_other_settings_are_refused(studied, tiny, tmp_path, capsys):
    out = tmp_path / "study"
    shutil.copytree(studied / "0.5", out / "0.5")  # its own paths still point to the first folder
    assert cli.main([*words(tiny, out, "0.5"), *SMALL]) == 2
    assert "holds a trial with other settings" in capsys.readouterr().err

    before = {
        path: path.stat().st_mtime_ns for path in studied.rglob("*") if "seed-0" in path.parts
    }
    assert cli.main([*words(tiny, studied, "0", "0.5"), *SMALL, "--seeds", "1"]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert cli.main(words(tiny, studied, "0", "0.5")) == 2  # without --set
    assert "holds a trial with other settings" in capsys.readouterr().err


def asked(tiny: Path, knob: str, *values: str, entry: str | None = None) -> study.Study:
    return study.Study(knob=knob, values=values, run=tiny, entry=entry, seeds=2, changes=())


def first_stages(tiny: Path, knob: str, *values: str) -> list:
    found = study.trials(asked(tiny, knob, *values), Path("out"))
    return [trial.recipe.stages[0].config for trial in found]


def test_every_knob_turns_its_own_field(tiny):
    assert [c.clip for c in first_stages(tiny, "clip-range", "0.1", "0.4")] == [0.1, 0.4] * 2
    assert [c.seed for c in first_stages(tiny, "clip-range", "0.1", "0.4")] == [0, 0, 1, 1]
    assert first_stages(tiny, "lambda", "1")[0].lam == 1.0
    assert first_stages(tiny, "epochs", "3")[0].inner_epochs == 3
    with_text = first_stages(tiny, "ptx-coef", "0", "2")
    assert [c.ptx_coef for c in with_text] == [0.0, 2.0] * 2
    assert all(c.pretraining for c in with_text)  # the run's ppo_ptx, not its ppo


def test_every_estimator_is_another_one_on_the_same_budget(tiny):
    configs = first_stages(tiny, "estimator", *study.ESTIMATORS)[: len(study.ESTIMATORS)]
    kinds = {(c.estimator, c.value, c.lam, c.loss) for c in configs}
    assert len(kinds) == len(study.ESTIMATORS)
    assert len({(c.num_steps, c.episodes_per_step) for c in configs}) == 1


def test_means_and_ranges_by_hand():
    whole = dict.fromkeys((*study_report.EVALUATED, *study_report.TRAINED), 1.0)
    found = study_report.mean([whole, whole | {"gold_mean": 2.0, "cloze_accuracy": None}])
    assert (found["gold_mean"], found["gold_mean_range"]) == (1.5, [1.0, 2.0])
    assert found["cloze_accuracy"] is None


@pytest.mark.parametrize(
    ("knob", "more", "says"),
    [
        ("estimator", ["--values", "rlo"], "--values rlo: no such estimator; did you mean 'rloo'?"),
        ("kl-coef", ["--values", "much"], "--values much: expected a number"),
        ("kl-coef", ["--values", "0.1", "0.10"], "a value is given twice"),
        ("kl-coef", ["--values", "-1"], "study kl-coef -1: kl_coef: expected >= 0, got -1.0"),
        ("epochs", ["--values", "1.5"], "study epochs 1.5: inner_epochs: expected a whole number"),
        ("lambda", ["--values", "2"], "lam: expected a number in [0, 1]"),
        (
            "lambda",
            ["--values", "1", "--stage", "sft"],
            "no PPO stage 'sft'; there is ppo, ppo_ptx",
        ),
        ("lambda", ["--values", "1", "--seeds", "0"], "--seeds 0: expected 1 or more"),
        ("lambda", ["--values", "1", "--set", "sft.lr=1"], "sft: no such stage"),
        ("beta", ["--values", "1"], "study:"),
    ],
)
def test_mistakes_are_one_line(knob, more, says, tiny, tmp_path, capsys):
    assert cli.main(["study", knob, "--run", str(tiny), "--out", str(tmp_path), *more]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_the_run_has_to_be_a_finished_recipe(tiny, tmp_path, capsys):
    assert cli.main(words(tmp_path, tmp_path / "out", "0")) == 2
    assert "no recipe.yaml there" in capsys.readouterr().err
    shutil.copy(tiny / "recipe.yaml", tmp_path)
    assert cli.main(words(tmp_path, tmp_path / "out", "0")) == 2
    assert "is not finished; finish it with `trivium resume" in capsys.readouterr().err
