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

for place in sys.argv[1:]:
    began = time.monotonic()
    try:
        if place.startswith("hf://"):
            next(read_prompts(place))
        else:
            load_policy(place, compute_for("float32"))
    except UserError as error:
        print(f"{time.monotonic() - began:.2f} {error}")
    else:
        print("0 loaded")
"""
DATA = "hf://owner/rows?split=train"
NOBODY = "http://127.0.0.1:9"


def refusals(*places: str, **environment: str) -> list[tuple[float, str]]:
    """What a process says that asks the hub for models and data, and after how long."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *places],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=100,
        check=True,
    )
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    return [(float(seconds), text) for seconds, text in lines]


@pytest.fixture
def cache(model_folder, tmp_path: Path) -> str:
    """With owner/kept as huggingface_hub lays it out: refs/main names the snapshot."""
    repository = tmp_path / "hub" / "models--owner--kept"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    shutil.copytree(model_folder(), repository / "snapshots" / ("a" * 40))
    return str(tmp_path)


def test_a_port_where_nobody_listens(cache: str):
    """And a cached model needs nobody to."""
    places = ("owner/name", DATA, "owner/kept")
    *found, kept = refusals(*places, HF_ENDPOINT=NOBODY, HF_HOME=cache)
    assert [text.split(":")[0] for _, text in found] == ["owner/name", "owner/rows"]
    for seconds, text in found:
        assert seconds < 8  # it was 47 and 25; most of what is left is importing
        assert f"the hub at {NOBODY} can't be reached" in text
    assert kept == (0.0, "loaded")


def test_a_host_that_never_answers(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = refusals("owner/name", DATA, HF_ENDPOINT=address, HF_HOME=str(tmp_path),
                         HF_HUB_ETAG_TIMEOUT="1")  # fmt: skip
    for seconds, text in found:
        assert 0.9 < seconds < 9
        assert "can't be reached" in text


def test_a_cached_model_is_loaded_offline(cache: str):
    asked = refusals("owner/kept", HF_ENDPOINT=NOBODY, HF_HOME=cache, HF_HUB_OFFLINE="1")
    assert asked == [(0.0, "loaded")]
