"""The room's front door."""

import subprocess
import sys

import trivium.evals


def test_public_names_are_complete_and_sorted() -> None:
    names = trivium.evals.__all__
    assert names == sorted(names)
    public = {
        name
        for name, thing in vars(trivium.evals).items()
        if not name.startswith("_") and not isinstance(thing, type(sys))
    }
    assert public | {"calibration"} == set(names)


def test_figures_need_no_torch() -> None:
    code = "import sys, trivium.evals; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
