"""env.json: what it says is so."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from trivium.runs import environment


def test_it_describes_this_process():
    env = json.loads(json.dumps(environment.describe()))
    assert env["argv"] == sys.argv
    assert env["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert env["packages"]["torch"] == version("torch")
    assert env["threads"]["torch"] == torch.get_num_threads()
    assert env["cpu"]["count"] >= env["cpu"]["usable"] >= 1


def test_it_loads_nothing_heavy():
    code = (
        "import sys; from trivium.runs import environment; environment.describe();"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_and_whether_files_differ_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "CHECKOUT", tmp_path)
    assert environment.describe()["git"] is None
    git(tmp_path, "init", "-q")
    assert environment.describe()["git"] is None  # no commit yet
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "one")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert environment.describe()["git"] == {"commit": commit, "dirty": False}
    (tmp_path / "a").write_text("2")
    assert environment.describe()["git"] == {"commit": commit, "dirty": True}
