"""What a finished stage leaves behind."""

import shutil
from collections.abc import Callable
from pathlib import Path

from trivium.runs.atomic import replace_folder
from trivium.runs.directory import Run


def write_model(run: Run, write: Callable[[Path], None]) -> None:
    """Make ``write``'s folder the run's model/: whole or not at all."""
    half = run.dir / ".model.tmp"
    if half.exists():
        shutil.rmtree(half)
    half.mkdir()
    write(half)
    replace_folder(half, run.dir / "model")
