"""No dead flags: every config field is read, every option is one that was agreed on."""

import ast
import subprocess
import sys

import pytest
from house_source import ROOT, TREES, nodes, room


def config_fields() -> list[tuple[str, str]]:
    """Class and name of every knob."""
    return [
        (node.name, statement.target.id)
        for file, tree in TREES.items()
        if room(file) == "config"
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
    ]


def read_names() -> set[str]:
    """Attributes that are read anywhere outside config."""
    return {
        node.attr
        for file, node in nodes(ast.Attribute)
        if room(file) != "config" and isinstance(node.ctx, ast.Load)
    }


READ = read_names()


@pytest.mark.parametrize(("section", "name"), config_fields())
def test_every_config_field_is_read_somewhere(section, name):
    assert name in READ, f"{section}.{name} is a dead flag: nothing outside config reads it"


def test_every_config_field_says_what_it_is():
    for file, tree in TREES.items():
        if room(file) != "config":
            continue
        for node in [n for n in tree.body if isinstance(n, ast.ClassDef)]:
            for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
                if isinstance(statement, ast.AnnAssign) and not is_section(statement):
                    said = isinstance(following, ast.Expr) and isinstance(
                        following.value, ast.Constant
                    )
                    assert said, f"{node.name}.{statement.target.id} has no sentence"


def is_section(statement: ast.AnnAssign) -> bool:
    """`adam: Adam = ...`: its own class says what it is."""
    return statement.value is not None and "default_factory" in ast.unparse(statement.value)


def test_generated_files_are_fresh():
    """docs/cli.md, docs/metrics.md and options.txt. An option that came or went is a change for
    users: run `make docs`, read the difference of options.txt, and say it in CHANGELOG.md."""
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"],
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
