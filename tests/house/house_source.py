"""The source as trees: what the house tests read. Nothing of ours is imported, so torch isn't."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "trivium"
FILES = sorted(SRC.rglob("*.py"))
TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}
COMMAND_LINE = {
    "cli",
    "arguments",
    "commands",
    "label_commands",
    "classic_commands",
    "doctor",
    "__main__",
}
"""Modules that make up one room, `cli`."""


def room(path: Path) -> str:
    """`maths` for maths/kl.py, `config` for config.py, `cli` for all of the command line."""
    name = path.relative_to(SRC).parts[0].removesuffix(".py")
    return "cli" if name in COMMAND_LINE else name


def nodes(*kinds: type[ast.AST]) -> Iterator[tuple[Path, ast.AST]]:
    """Every node of these kinds, with its file."""
    for file, tree in TREES.items():
        yield from ((file, node) for node in ast.walk(tree) if isinstance(node, kinds))


def at(path: Path, node: ast.AST) -> str:
    """file:line, for messages."""
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Dotted names an import statement brings in."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if node.module == "trivium":
        return [f"trivium.{alias.name}" for alias in node.names]
    return [node.module or ""]
