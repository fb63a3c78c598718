"""`trivium label serve` as a program."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
from labeler import filled, read_sheet

from trivium.data import read_rankings
from trivium.store import transfer
from trivium.store.database import close_store, open_store

ROOT = Path(__file__).parents[2]


def serve(folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "trivium", "label", "serve", "--port", "0", *more]
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": os.environ["PATH"]}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # Started from a shell's background job the child would inherit an ignored SIGINT.
    hear = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes, **hear)


def test_the_first_start_prints_the_admins_way_in(tmp_path):
    with serve(tmp_path) as process:
        where = process.stdout.readline()
        link = re.search(r"http://127\.0\.0\.1:\d+/invite/\S+", process.stdout.readline())[0]
        page = httpx.get(link, trust_env=False)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)
    assert "sqlite:///labels.db" in where
    assert page.status_code == 200
    assert "as an admin" in page.text
    assert process.returncode == 130
    assert "Traceback" not in said[1]
    assert (tmp_path / "labels.db").is_file()


def test_a_start_says_what_it_put_back(tmp_path):
    rows = [
        {"id": f"p{n}", "prompt": [{"role": "user", "content": "?"}], "labeler": "e"}
        | {"completions": [{"text": "a", "rank": 1}, {"text": "b", "rank": 2}]}
        for n in range(2)
    ]
    (tmp_path / "rankings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    store = open_store(f"sqlite:///{tmp_path / 'labels.db'}")
    transfer.import_file(store, tmp_path / "rankings.jsonl")
    close_store(store)
    (tmp_path / "labels.journal.jsonl").unlink()
    with serve(tmp_path) as process:
        process.stdout.readline()
        said = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert "put back 2 labels in the journal and 0 in the database" in said
    assert len((tmp_path / "labels.journal.jsonl").read_text().splitlines()) == 2


def test_an_open_host_without_a_secret_is_one_line(tmp_path):
    with serve(tmp_path, "--host", "0.0.0.0") as process:
        out, error = process.communicate(timeout=20)
    assert process.returncode == 2
    assert out == ""
    assert error.count("\n") == 1
    assert "TRIVIUM_SECRET" in error
    assert not list(tmp_path.iterdir())


def test_the_readmes_way_from_nothing_to_a_ranked_set(tmp_path):
    """Import, serve, the admin's link, rank what there is, export: nothing else is needed."""
    words = [sys.executable, "-m", "trivium", "label"]
    settings = {"cwd": tmp_path, "env": {"PYTHONPATH": str(ROOT / "src")}}
    subprocess.run(
        [*words, "import", ROOT / "examples" / "candidates.jsonl"], check=True, **settings
    )
    with serve(tmp_path) as process:
        process.stdout.readline()
        link = re.search(r"http://\S+/invite/\S+", process.stdout.readline())[0]
        with httpx.Client(follow_redirects=True, trust_env=False, timeout=30) as client:
            secret = "a passphrase of my own"
            client.post(link, data={"name": "me", "passphrase": secret, "again": secret})
            site = link.partition("/invite")[0]
            sheets = iter(lambda: next_sheet(client, site), None)
            for sheet in sheets:
                ranks = dict.fromkeys(sheet.answers, 1) | {"A": 2}
                sent = client.post(site + sheet.path + "/ranking", data=filled(sheet, ranks))
                assert sent.status_code == 200
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    export = ["export", "--format", "rankings", "--out", "rankings.jsonl"]
    subprocess.run([*words, *export], check=True, **settings)
    rankings = list(read_rankings(tmp_path / "rankings.jsonl"))
    assert sorted(row.id for row in rankings) == ["cat", "rewrite", "sea"]
    assert all({answer.rank for answer in row.completions} == {1, 2} for row in rankings)


def next_sheet(client, site):
    page = client.get(f"{site}/next?kind=rank")
    return read_sheet(page.url.path, page.text)
