"""Rooms import only along the arrows of ARCHITECTURE.md, and light rooms stay light."""

import ast
import re
import subprocess
import sys

import pytest
from house_source import COMMAND_LINE, FILES, ROOT, TREES, at, imported, nodes, room

# room -> rooms it may import. A room that is not listed may not exist.
ARROWS = {
    "errors": set(),
    "config": set(),
    "cost": set(),
    "maths": set(),
    "classic": {"maths"},
    "labels": set(),
    "hub": set(),
    "data": {"labels", "hub"},
    "text": {"labels"},
    "models": {"config", "cost", "maths", "text", "hub"},
    "rollouts": {"config", "maths", "text", "models"},
    "rewards": {"models", "text"},
    "evals": {"maths", "text", "models", "labels"},
    "runs": {"config"},
    "store": {"labels", "data"},
    "web": {"store", "labels", "config"},
    "miniature": {"labels"},
    "stages": {
        *("config", "cost", "data", "evals", "labels", "maths", "miniature"),
        *("models", "rewards", "rollouts", "runs", "store", "text"),
    },
    "cli": {"classic", "config", "data", "models", "runs", "stages", "store", "web"},
}
FREE = {"errors"}
HEAVY = {"torch", "transformers", "datasets", "matplotlib"}
LIGHT_ROOMS = {"config", "errors", "labels", "cli"}


def test_rooms_import_only_along_the_arrows():
    wrong = []
    for file, node in nodes(ast.Import, ast.ImportFrom):
        for name in imported(node):
            if not name.startswith("trivium."):
                continue
            target = name.split(".")[1]
            target = "cli" if target in COMMAND_LINE else target
            if target not in {room(file), *FREE, *ARROWS.get(room(file), set())}:
                wrong.append(f"{at(file, node)}: {room(file)} may not import {target}")
    assert not wrong, "\n".join(wrong)


def test_every_room_is_in_the_table():
    rooms = {room(file) for file in FILES} - {"__init__"}
    assert rooms <= set(ARROWS), f"rooms without a row: {sorted(rooms - set(ARROWS))}"
    assert set(ARROWS) <= rooms, f"rows without a room: {sorted(set(ARROWS) - rooms)}"


def test_architecture_shows_the_same_table():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", text, re.MULTILINE)
    shown = {name: set(targets.replace("-", "").split()) for name, targets in rows}
    assert shown == ARROWS


def test_the_arrows_have_no_circle():
    done: set[str] = set()
    while len(done) < len(ARROWS):
        ready = {name for name, targets in ARROWS.items() if targets <= done} - done
        assert ready, f"a circle among {sorted(set(ARROWS) - done)}"
        done |= ready


def test_light_rooms_load_heavy_libraries_inside_functions_at_most():
    for file, tree in TREES.items():
        if room(file) not in LIGHT_ROOMS:
            continue
        for statement in tree.body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                found = {name.split(".")[0] for name in imported(statement)} & HEAVY
                assert not found, f"{at(file, statement)}: {found} at the top level"


def test_the_command_line_imports_other_rooms_inside_functions_only():
    allowed = {"config", "errors", "cli"}
    for file, tree in TREES.items():
        if room(file) != "cli":
            continue
        for statement in tree.body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                ours = [n.split(".")[1] for n in imported(statement) if n.startswith("trivium.")]
                for name in ours:
                    target = "cli" if name in COMMAND_LINE else name
                    assert target in allowed, f"{at(file, statement)}: {name} at the top level"


def test_no_relative_imports():
    assert not [at(f, n) for f, n in nodes(ast.ImportFrom) if n.level]


@pytest.mark.parametrize("module", ["config", "errors", "labels", "cli", "data.read", "miniature"])
def test_importing_it_does_not_load_torch(module):
    code = f"import trivium.{module}, sys; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, env=environment())
    assert done.returncode == 0, f"importing trivium.{module} loads torch"


def environment() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"}
