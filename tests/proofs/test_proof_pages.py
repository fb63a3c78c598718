"""docs/proofs.md and docs/details.md name tests: every one of them exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "proofs.md", ROOT / "docs" / "details.md"]
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def named_in(page: Path) -> list[tuple[str, str]]:
    return NAMED.findall(page.read_text(encoding="utf-8"))


def functions_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {n.name for n in tree.body if isinstance(n, ast.FunctionDef) and "test" in n.name}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_is_named_exists(page):
    named = named_in(page)
    assert len(named) > 20
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).is_file() or (name and name not in functions_in(ROOT / file))
    ]
    assert not missing


def test_every_mistake_of_the_proofs_is_in_the_table():
    """A control that is written is a row; `test_mistake_...` is how they are called."""
    named = {name for _, name in named_in(PAGES[0])}
    written = {
        name
        for file in sorted(Path(__file__).parent.glob("test_*.py"))
        for name in functions_in(file)
        if name.startswith("test_mistake")
    }
    assert written
    assert written <= named, sorted(written - named)


def test_every_row_of_the_details_says_what_holds_it():
    rows = [
        line
        for line in PAGES[1].read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and not line.startswith(("| #", "|--"))
    ]
    assert len(rows) > 30
    silent = [row for row in rows if not NAMED.search(row) and "no test" not in row.lower()]
    assert not silent, "\n".join(silent)
