"""A stage that fails says why, whatever becomes of its report."""

from dataclasses import replace

import pytest

from trivium.config import SFT, Pretrain
from trivium.errors import UserError
from trivium.runs.directory import open_run
from trivium.runs.recipes import Entry, Recipe
from trivium.stages import overoptimise, pipeline, study
from trivium.stages.pipeline import run_stage


def failing(tmp_path) -> SFT:
    return SFT(model=str(tmp_path / "no-model"), demonstrations=str(tmp_path / "none.jsonl"))


def test_the_report_of_a_failed_stage_is_written(tmp_path):
    with pytest.raises(UserError, match="no-model"):
        run_stage(failing(tmp_path), tmp_path / "run", resume=False)
    assert "no-model" in (tmp_path / "run" / "report.html").read_text()


def test_a_report_that_cannot_be_written_does_not_hide_what_stopped_the_stage(tmp_path):
    (tmp_path / "run" / "report.html").mkdir(parents=True)  # no file can take its place
    with pytest.raises(UserError, match="no-model") as error:
        run_stage(failing(tmp_path), tmp_path / "run", resume=False)
    assert "report" in error.value.__notes__[0]


def snapshot(folder) -> dict[str, tuple[bytes, int]]:
    """Every file's bytes and time of writing, in nanoseconds."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_stage_that_is_refused_a_folder_writes_nothing_into_it(tmp_path):
    """Another run is under way there; then, when it has ended, it is there still."""
    out = tmp_path / "run"
    with open_run(out, stage="sft", config=failing(out)) as other:
        (out / "report.html").write_text("the other run's")
        before = snapshot(out)
        for resume in (False, True):
            with pytest.raises(UserError, match="in use by another run"):
                run_stage(failing(tmp_path), out, resume=resume)
        assert snapshot(out) == before
        other.finish({})
    (out / ".lock").unlink()  # it names the process that looked last
    before = snapshot(out)
    for config, resume, reason in (
        (failing(tmp_path), False, "holds a run already"),
        (failing(tmp_path), True, "only with its own config"),
        (Pretrain(), True, "holds a sft run"),
    ):
        with pytest.raises(UserError, match=reason):
            run_stage(config, out, resume=resume)
        (out / ".lock").unlink()
        assert snapshot(out) == before


def test_a_recipe_that_is_refused_a_stage_writes_nothing_either(tmp_path):
    entry = Entry(name="sft", kind="sft", config=failing(tmp_path))
    recipe = Recipe(name="r", about="a", seed=0, stages=(entry,))
    with pytest.raises(UserError, match="no-model"):
        pipeline.run(recipe, tmp_path / "runs")
    out = tmp_path / "runs" / "sft"
    with open_run(out, stage="sft", config=entry.config, resume=True) as other:
        before = snapshot(tmp_path / "runs")
        with pytest.raises(UserError, match="in use by another run"):
            pipeline.run(pipeline.load(tmp_path / "runs"), tmp_path / "runs", resume=True)
        assert snapshot(tmp_path / "runs") == before
        other.finish({})


def recipe_of(config: SFT) -> Recipe:
    return Recipe(
        name="r", about="a", seed=0, stages=(Entry(name="sft", kind="sft", config=config),)
    )


def test_a_study_whose_first_stage_failed_over_its_input_can_be_corrected(tmp_path):
    """Neither kind of study takes the folder for one of other settings; one that ran is kept."""
    out = tmp_path / "trial"
    wrong = failing(tmp_path)
    other = replace(wrong, demonstrations="other.jsonl")
    with pytest.raises(UserError, match="no-model"):
        pipeline.run(recipe_of(wrong), out)
    trial = study.Trial(value="0", seed=0, folder=out, recipe=recipe_of(other))
    study.check_same(trial)
    overoptimise.check_same(out / "sft", other)
    with pytest.raises(UserError, match="no-model"):
        pipeline.run(recipe_of(other), out, resume=True)
    assert pipeline.load(out).stages == recipe_of(other).stages
    with open_run(out / "sft", stage="sft", config=wrong) as run:
        run.finish({})
    with pytest.raises(UserError, match="other settings"):
        overoptimise.check_same(out / "sft", other)
    with pytest.raises(UserError, match="other settings"):
        study.check_same(replace(trial, recipe=recipe_of(wrong)))
