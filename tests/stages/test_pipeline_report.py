"""A stage that fails says why, whatever becomes of its report."""

import pytest

from trivium.config import SFT
from trivium.errors import UserError
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
