"""`trivium label` when something is missing or wrong: one line, exit code 2, nothing written."""

import json
import sqlite3
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from trivium.cli import main

COMMANDS = {
    "serve": [],
    "invite": [],
    "import": ["candidates.jsonl"],
    "export": ["--out", "labels.jsonl"],
    "verify": [],
    "stats": [],
    "settings": [],
    "backup": ["copy.db"],
    "generate": ["--model", "runs/sft", "--out", "runs/answers"],
}
INSTALL = "in trivium's checkout: pip install -c constraints.txt"
WITHOUT = """
import json, sys
from pathlib import Path
for module in ("alembic argon2 evalica fastapi markdown_it multipart python_multipart nh3 pandas "
               "sqlalchemy starlette uvicorn").split():
    sys.modules[module] = None  # as if it were not installed
from trivium.cli import main
print(json.dumps([main(words) for words in json.loads(sys.argv[1])]))
"""
READ = """
from trivium.errors import UserError
from trivium.stages import sources
try:
    sources.kept("sqlite:///labels.db", Path("run"), "rankings")
except UserError as error:
    print(error)
"""


def run(folder, *words, script=WITHOUT):
    return subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=folder,
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_without_the_extra_one_line_says_what_to_install(tmp_path):
    (tmp_path / "candidates.jsonl").write_text('{"id":"a","prompt":"?","completions":["a","b"]}\n')
    before = set(tmp_path.rglob("*"))
    commands = [["label", verb, *words] for verb, words in COMMANDS.items()]
    done = run(tmp_path, json.dumps(commands))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [2] * len(commands)
    lines = done.stderr.splitlines()
    assert len(lines) == len(commands)
    assert all(f"{INSTALL} '.[label]'" in line for line in lines)
    assert set(tmp_path.rglob("*")) == before


def test_training_from_a_store_without_the_extra_says_it_too(tmp_path):
    script = WITHOUT.partition("from trivium.cli")[0] + READ
    done = run(tmp_path, script=script)
    assert done.returncode == 0, done.stderr
    assert f"{INSTALL} '.[label]'" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_without_psycopg_one_line_says_what_to_install(tmp_path):
    script = "import sys; sys.modules['psycopg'] = None\nfrom trivium.cli import main\n"
    script += "sys.exit(main(sys.argv[1:]))"
    done = run(tmp_path, "label", "stats", "--db", "postgresql://u@h/n", script=script)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{INSTALL} '.[label,postgres]'" in done.stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("labels.db", "expected a URL such as sqlite:///labels.db"),
        ("", "expected a URL such as sqlite:///labels.db"),
        ("sqlite://", "expected a file"),
        ("sqlite:///:memory:", "expected a file"),
        ("sqlite:///labels.db?mode=ro", "expected nothing after the file's name"),
        ("sqlite:///nowhere/labels.db", "isn't there; make it first"),
        ("sqlite:///notes.txt", "file is not a database"),
        ("sqlite:///folder", "can't be used as a database"),
        ("sqlite:///other.db", "another program's database"),
        ("mysql://host/name", "expected sqlite or postgresql, got mysql"),
    ],
)
def test_a_wrong_url_is_one_line(tmp_path, monkeypatch, capsys, url, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("Not a database. " * 100)
    (tmp_path / "folder").mkdir()
    with sqlite3.connect("other.db") as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(["label", "settings", "--db", url]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert "try again" not in error, "that would be of no use"
    assert "+pysqlite" not in error, "the URL as it was given"
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before, "nothing was made, and nothing of others was changed"


@pytest.mark.parametrize("verb", ["export", "verify", "stats", "backup", "invite"])
def test_reading_a_store_that_is_not_there_does_not_make_one(tmp_path, monkeypatch, capsys, verb):
    monkeypatch.chdir(tmp_path)
    assert main(["label", verb, *COMMANDS[verb]]) == 2
    assert "sqlite:///labels.db: not found" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_there_makes_no_store(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["label", "import", "nofile.jsonl"]) == 2
    assert capsys.readouterr().err == "trivium: nofile.jsonl: not found; check the path\n"
    assert list(tmp_path.iterdir()) == []


RANKING = {
    "id": "sea",
    "prompt": [{"role": "user", "content": "Why is the sea salt?"}],
    "completions": [{"text": "Because of rivers.", "rank": 1}, {"text": "Fish.", "rank": 2}],
}


@pytest.fixture
def one_ranking(tmp_path, monkeypatch, capsys):
    """A store with one finished ranking, in the working folder; what its import printed."""
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text(json.dumps(RANKING) + "\n")
    assert main(["label", "import", "in.jsonl"]) == 0
    return capsys.readouterr().out


def test_one_is_not_many(one_ranking, capsys):
    assert "0 sets of answers to rank, 1 label;" in one_ranking
    assert main(["label", "export", "--format", "rankings", "--out", "out.jsonl"]) == 0
    assert capsys.readouterr().out == "wrote 1 row to out.jsonl\n"
    assert main(["label", "verify"]) == 0
    assert capsys.readouterr().out.startswith("1 label, each once")


@pytest.mark.usefixtures("one_ranking")
@pytest.mark.parametrize(
    ("format", "name", "ending"),
    [
        ("native", "x.rankings", ".jsonl or .jsonl.gz"),
        ("rankings", "x.rankings", ".jsonl or .jsonl.gz"),
        ("rankings", "x.parquet", ".jsonl or .jsonl.gz"),
        ("trl", "x.json", ".jsonl or .jsonl.gz"),
        ("parquet", "x.jsonl", ".parquet"),
        ("labelstudio", "x.xml", ".json"),
    ],
)
def test_no_export_gets_a_name_that_nobody_reads(capsys, format, name, ending):
    before = set(Path().iterdir())
    assert main(["label", "export", "--format", format, "--out", name]) == 2
    said = f"trivium: {name}: expected a file whose name ends in {ending}\n"
    assert capsys.readouterr().err == said
    assert set(Path().iterdir()) == before


@pytest.mark.usefixtures("one_ranking")
@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_what_is_exported_is_read(capsys, name):
    assert main(["label", "export", "--format", "rankings", "--out", name]) == 0
    capsys.readouterr()
    assert main(["data", "check", name, "--kind", "rankings"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["rows"] == 1


def test_rules_and_question_are_changed_by_files_and_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["label", "settings"]) == 0
    before = yaml.safe_load(capsys.readouterr().out)
    assert (before["rules"]["overlap_share"], before["rules"]["overlap_need"]) == (0.1, 3)
    Path("rules.yaml").write_text("overlap_share: 0.5\npii: none\n")
    asked = yaml.safe_load((files("trivium.labels") / "question.yaml").read_text())
    asked |= {"version": "ours-1", "flags": [{"id": "rude", "text": "Rude"}]}
    Path("question.yaml").write_text(yaml.safe_dump(asked))
    words = ["label", "settings", "--rules", "rules.yaml", "--question", "question.yaml"]
    assert main(words) == 0
    capsys.readouterr()
    assert main(["label", "settings"]) == 0
    after = yaml.safe_load(capsys.readouterr().out)
    assert after["rules"] == before["rules"] | {"overlap_share": 0.5, "pii": "none"}
    assert after["question"]["flags"] == [{"id": "rude", "text": "Rude"}]
    for wrong, said in {
        "overlap_share: 2\n": "overlap_share: Input should be less than or equal to 1",
        "overlap_ned: 1\n": "overlap_ned: no such rule; did you mean overlap_need?\n",
        "zzz: 1\n": "zzz: no such rule; the rules are lease_minutes, overlap_share, ",
        "- 1\n": "expected rules such as",
        "a: [\n": "expected YAML",
    }.items():
        Path("rules.yaml").write_text(wrong)
        assert main(["label", "settings", "--rules", "rules.yaml"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert f"rules.yaml: {said}" in error
    assert main(["label", "settings"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == after


def test_the_figures_of_two_rankings_of_one_set_can_be_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = {"id": "p", "prompt": [{"role": "user", "content": "?"}]}
    said = [{"text": "a", "rank": 1}, {"text": "b", "rank": 2}]
    rows = [asked | {"completions": said, "labeler": labeler} for labeler in ("e1", "e2")]
    Path("rankings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["label", "import", "rankings.jsonl"]) == 0
    capsys.readouterr()
    assert main(["label", "stats"]) == 0
    pairwise = yaml.safe_load(capsys.readouterr().out)["agreement"]["pairwise"]
    # Wilson's lower end for 1 of 1: n / (n + z^2) = 1 / 4.8415.
    assert pairwise == {"point": 1.0, "low": pytest.approx(1 / (1 + 1.959964**2)), "high": 1.0}


def some_labels(folder, count=8):
    """A store with labels; its journal's lines."""
    asked = {"prompt": [{"role": "user", "content": "?"}]}
    said = [{"text": "a", "rank": 1}, {"text": "b", "rank": 2}]
    rows = [asked | {"id": f"p{n}", "completions": said, "labeler": "e"} for n in range(count)]
    Path("rankings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["label", "import", "rankings.jsonl"]) == 0
    return (folder / "labels.journal.jsonl").read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (slice(0, 1), "7 missing in the journal"),
        (slice(1, 8), "1 missing in the journal"),
        (None, "not found, and the database has 8 labels"),
    ],
)
def test_verify_says_what_the_journal_lacks_and_changes_nothing(
    tmp_path, monkeypatch, capsys, kept, said
):
    monkeypatch.chdir(tmp_path)
    lines = some_labels(tmp_path)
    journal = tmp_path / "labels.journal.jsonl"
    assert main(["label", "verify"]) == 0
    assert "8 labels, each once" in capsys.readouterr().out
    if kept is None:
        journal.unlink()
    else:
        journal.write_bytes(b"".join(lines[kept]))
    left = b"" if kept is None else journal.read_bytes()
    for verb in ("stats", "export", "backup"):
        assert main(["label", verb, *COMMANDS[verb]]) == 0
    assert main(["label", "verify"]) == 2
    assert main(["label", "verify"]) == 2, "and again: nothing was mended"
    assert said in capsys.readouterr().err
    assert (journal.read_bytes() if journal.exists() else b"") == left
    assert main(["label", "verify", "--mend"]) == 0
    missing = 8 - len(left.splitlines())
    out = capsys.readouterr().out
    assert f"put back {missing} labels in the journal and 0 in the database" in out
    assert sorted(journal.read_bytes().splitlines(keepends=True)) == sorted(lines)
    assert main(["label", "verify"]) == 0


def test_verify_puts_labels_back_into_a_database(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    some_labels(tmp_path, 2)
    assert main(["label", "backup", "copy.db"]) == 0
    some_labels(tmp_path, 5)
    for file in tmp_path.glob("labels.db*"):
        file.unlink()
    Path("copy.db").rename("labels.db")
    assert main(["label", "verify"]) == 2
    assert "3 missing in the database" in capsys.readouterr().err
    assert main(["label", "verify", "--mend"]) == 0
    assert "put back 0 labels in the journal and 3 in the database" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["export", "verify", "stats", "backup"])
def test_reading_an_empty_database_does_not_fill_it(tmp_path, monkeypatch, capsys, verb):
    monkeypatch.chdir(tmp_path)
    Path("labels.db").touch()
    assert main(["label", verb, *COMMANDS[verb]]) == 2
    assert "an empty database" in capsys.readouterr().err
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [("labels.db", 0)]
