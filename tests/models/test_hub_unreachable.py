"""No network costs seconds, not a minute: one clear line, or the copy in the cache.

Each case is a process of its own, because the hub's address is read once, at import.
"""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys, time
from trivium.data import read_prompts
from trivium.errors import UserError
from trivium.models import load_policy
from trivium.models.compute import compute_for

def refusal(act):
    began = time.monotonic()
    try:
        act()
    except UserError as error:
        print(f"{time.monotonic() - began:.2f} {error}")
    else:
        print("0 loaded")

place, data = sys.argv[1:]
refusal(lambda: load_policy(place, compute_for("float32")))
refusal(lambda: next(read_prompts(data)))
"""
DATA = "hf://owner/rows?split=train"


def refusals(place: str, data: str, **environment: str) -> list[tuple[float, str]]:
    """What a process says that asks the hub for a model and for data, and after how long."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, place, data],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=100,
        check=True,
    )
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    return [(float(seconds), text) for seconds, text in lines]


def test_a_port_where_nobody_listens(tmp_path: Path):
    found = refusals("owner/name", DATA, HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path))
    assert [text.split(":")[0] for _, text in found] == ["owner/name", "owner/rows"]
    for seconds, text in found:
        assert seconds < 8  # it was 47 and 25; most of what is left is importing
        assert "the hub at http://127.0.0.1:9 can't be reached" in text


def test_a_host_that_never_answers(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = refusals("owner/name", DATA, HF_ENDPOINT=address, HF_HOME=str(tmp_path),
                         HF_HUB_ETAG_TIMEOUT="1")  # fmt: skip
    for seconds, text in found:
        assert 0.9 < seconds < 9
        assert "can't be reached" in text


@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_cached_model_needs_no_network(model_folder, tmp_path: Path, offline: str):
    """The cache as huggingface_hub lays it out: refs/main names the snapshot."""
    repository = tmp_path / "hub" / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    shutil.copytree(model_folder(), repository / "snapshots" / ("a" * 40))
    (model, _) = refusals("owner/name", DATA, HF_ENDPOINT="http://127.0.0.1:9",
                          HF_HOME=str(tmp_path), HF_HUB_OFFLINE=offline)  # fmt: skip
    assert model == (0.0, "loaded")
