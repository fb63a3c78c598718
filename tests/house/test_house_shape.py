"""Sizes, inheritance, signatures, docstrings, words: what keeps the code readable."""

import ast
import re

from house_source import FILES, ROOT, SRC, TREES, at, nodes

MAX_FILE_LINES = 400
LONGER = {SRC / "config.py": 720}
"""One table of knobs, one sentence each: two files would be harder to search, not easier."""
MAX_FUNCTION_LINES = 80
MAY_INHERIT = {
    *("Module", "Protocol", "Exception", "NamedTuple", "StrEnum", "BaseModel"),
    *("Env", "VectorEnv"),  # Gymnasium's way to be an environment
    "Generic",  # a type parameter, not a parent
    "Function",  # torch's way to write a backward of one's own
}
EVERYWHERE = [
    path
    for folder in ("src", "tests", "docs", "examples", "benchmarks", ".ci")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".md", ".yaml", ".html", ".css", ".txt", ".sh"}
] + sorted(ROOT.glob("*.md"))


def test_files_stay_small():
    sizes = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    most = dict.fromkeys(FILES, MAX_FILE_LINES) | LONGER
    assert not {str(f.relative_to(SRC)): n for f, n in sizes.items() if n > most[f]}


def test_functions_stay_small():
    functions = nodes(ast.FunctionDef, ast.AsyncFunctionDef)
    long = [at(f, n) for f, n in functions if n.end_lineno - n.lineno + 1 > MAX_FUNCTION_LINES]
    assert not long


def test_nobody_inherits_from_our_own_classes():
    for file, node in nodes(ast.ClassDef):
        for base in node.bases:
            name = ast.unparse(base).split("[")[0].split(".")[-1]
            assert name in MAY_INHERIT, f"{at(file, node)}: {node.name} inherits from {name}"


def test_no_kwargs_tunnels():
    """One exception: transformers calls an attention function with whatever a model passes on."""
    functions = nodes(ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    found = [at(f, n).rsplit(":", 1)[0] for f, n in functions if n.args.kwarg]
    assert found == ["src/trivium/models/attention.py"]


def test_no_getattr_with_a_default_and_no_hasattr():
    """`getattr(x, "y")` with a constant name is a plain attribute; hasattr hides a type."""
    calls = [(f, n) for f, n in nodes(ast.Call) if isinstance(n.func, ast.Name)]
    assert not [at(f, n) for f, n in calls if n.func.id == "hasattr"]


def test_everything_public_has_a_docstring():
    missing = []
    for file, tree in TREES.items():
        if not ast.get_docstring(tree):
            missing.append(str(file.relative_to(ROOT)))
        for node in tree.body:
            public = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if public and not node.name.startswith("_") and not ast.get_docstring(node):
                missing.append(f"{at(file, node)}: {node.name}")
    assert not missing, "\n".join(missing)


def test_no_unfinished_business():
    words = re.compile(r"\b(TO" + "DO|FIX" + "ME|XX" + r"X)\b")
    assert not [str(f) for f in EVERYWHERE if words.search(f.read_text(encoding="utf-8"))]


def test_no_paths_of_one_machine():
    """A path that starts in somebody's home or work folder, in code or in prose."""
    homes = re.compile(r"(?<![\w.~/}])/(home|root|Users|work|mnt|tmp)/\w")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in EVERYWHERE
        for line in path.read_text(encoding="utf-8").splitlines()
        if homes.search(line)
    ]
    assert not found, "\n".join(found)


def test_no_test_is_skipped():
    tests = sorted((ROOT / "tests").rglob("*.py"))
    skips = re.compile(
        r"pytest\.(skip|importorskip|xfail)|mark\.(skip|skipif|xfail)\b|unittest\.skip"
    )
    own = ROOT / "tests" / "house"
    guilty = [p for p in tests if own not in p.parents and skips.search(p.read_text("utf-8"))]
    assert not guilty


def test_test_files_have_names_of_their_own():
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names)), sorted({n for n in names if names.count(n) > 1})


def constants_classes_functions(name: str) -> tuple[int, str]:
    """The order ruff's RUF022 keeps."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_all_is_sorted_and_true():
    for file, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names = [ast.literal_eval(item) for item in node.value.elts]
                assert names == sorted(names, key=constants_classes_functions), at(file, node)
                assert len(names) == len(set(names)), at(file, node)


def test_the_package_is_marked_as_typed():
    assert (SRC / "py.typed").is_file()
