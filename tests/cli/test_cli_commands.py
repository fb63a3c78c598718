"""The light commands do their work, and the doctor sees what is wrong."""

import json

import pytest
import yaml

from trivium import cli, doctor


def test_recipes_are_listed_shown_and_copied(tmp_path, capsys):
    assert cli.main(["recipe", "list"]) == 0
    listed = capsys.readouterr().out
    assert "tiny_cpu" in listed
    assert cli.main(["recipe", "show", "tiny_cpu"]) == 0
    shown = capsys.readouterr().out
    assert yaml.safe_load(shown)["about"] in listed
    file = tmp_path / "mine.yaml"
    assert cli.main(["recipe", "copy", "tiny_cpu", str(file)]) == 0
    assert file.read_text() == shown


@pytest.fixture
def rankings(tmp_path):
    """Ten rankings by ten authors."""
    path = tmp_path / "rankings.jsonl"
    rows = [
        {
            "id": f"r{i}",
            "author_id": f"author-{i}",
            "prompt": [{"role": "user", "content": f"Say the number {i} in another way."}],
            "completions": [{"text": "yes", "rank": 1}, {"text": "no", "rank": 2}],
        }
        for i in range(10)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_data_check_counts_rows(rankings, capsys):
    assert cli.main(["data", "check", str(rankings), "--kind", "rankings"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["rows"] == 10


def test_data_check_names_file_and_line_of_a_bad_row(rankings, capsys):
    rankings.write_text(rankings.read_text() + "{broken\n")
    assert cli.main(["data", "check", str(rankings), "--kind", "rankings"]) == 2
    assert "rankings.jsonl:11" in capsys.readouterr().err


def test_split_has_no_leak_and_a_file_leaks_into_itself(rankings, tmp_path, capsys):
    words = ["--kind", "rankings", "--heldout-fraction", "0.4"]
    out = tmp_path / "parts"
    assert cli.main(["data", "split", str(rankings), str(out), *words]) == 0
    sides = yaml.safe_load(capsys.readouterr().out)
    assert sides["train"] + sides["heldout"] == 10
    train, heldout = str(out / "train.jsonl"), str(out / "heldout.jsonl")
    assert cli.main(["data", "leak-check", train, heldout]) == 0
    assert "no overlap" in capsys.readouterr().out
    assert cli.main(["data", "leak-check", train, str(rankings)]) == 2
    printed = capsys.readouterr()
    assert "same prompt" in printed.out
    assert printed.err.count("\n") == 1


def test_convert_writes_pairs_for_trl(rankings, tmp_path, capsys):
    target = tmp_path / "pairs.jsonl"
    words = ["data", "convert", str(rankings), str(target), "--kind", "rankings", "--to", "trl"]
    assert cli.main(words) == 0
    assert yaml.safe_load(capsys.readouterr().out) == {"read": 10, "written": 10}
    assert {"chosen", "rejected"} <= json.loads(target.read_text().splitlines()[0]).keys()


def test_doctor_says_what_is_missing_and_how_to_get_it():
    found = doctor.package("no-such-package", "no_such_package", "1.2.3")
    assert found.found == "not installed"
    assert found.fix == "pip install 'no-such-package==1.2.3'"


def test_doctor_sees_a_package_that_does_not_load():
    found = doctor.package("pyyaml", "no_such_module_in_pyyaml", "6.0")
    assert "does not load: ModuleNotFoundError" in found.found
    assert "--force-reinstall" in found.fix


def test_doctor_mentions_another_version_without_blaming_it():
    found = doctor.package("pyyaml", "yaml", "0.0.1")
    assert "tested with 0.0.1" in found.found
    assert found.fix is None


def test_doctor_reads_the_constraints(tmp_path):
    file = tmp_path / "constraints.txt"
    file.write_text("# torch==1.0\nPyYAML==6.0.3\ntorch==2.13.0\n")
    assert doctor.tested_versions(file) == {"pyyaml": "6.0.3", "torch": "2.13.0"}
    assert doctor.tested_versions(tmp_path / "none") == {}


def test_doctor_wants_memory_and_disk():
    assert doctor.memory(0.5).fix is not None
    assert doctor.memory(16.0).fix is None
    assert doctor.memory(None).fix is None
    assert doctor.disk(0.1).fix is not None
    assert doctor.disk(50.0).fix is None


def test_doctor_ends_with_code_2_when_something_is_wrong(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "MIN_DISK_GB", 1e9)
    assert cli.main(["doctor"]) == 2
    printed = capsys.readouterr()
    assert "!!  disk" in printed.out
    assert "fix: free 1e+09 GB" in printed.out
    assert printed.err.startswith("trivium: doctor: problems: ")
