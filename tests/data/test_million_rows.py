"""A million rows through readers, converters and writers, in the memory of twenty thousand."""

import filecmp
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROWS, FEW = 1_000_000, 20_000
SCRIPT = """
import resource, sys
from trivium.data.commands import convert_file
source, target, to = sys.argv[1:]
counts = convert_file(source, "rankings", target, to=to)
# ru_maxrss is in KiB on Linux
print(counts["read"], counts["written"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def rankings(path: Path, count: int) -> Path:
    """Rankings with K = 3, about 300 bytes each, no two alike."""
    with path.open("w") as file:
        for i in range(count):
            answers = [{"text": f"Answer {k} to question {i}.", "rank": k} for k in (1, 2, 3)]
            prompt = [{"role": "user", "content": f"Please answer question number {i}, briefly."}]
            row = {"id": f"r{i}", "prompt": prompt, "completions": answers, "labeler": "lee"}
            file.write(json.dumps(row) + "\n")
    return path


def convert(source: Path, target: Path, to: str) -> tuple[int, int, int]:
    """Rows read, rows written, and the largest memory of the process that did it, MiB."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(source), str(target), to],
        capture_output=True,
        text=True,
        env=os.environ,
        check=True,
    )
    read, written, peak = map(int, done.stdout.split())
    return read, written, peak


def peaks(folder: Path, count: int) -> dict[str, int]:
    """Memory of each way through the formats; what comes back must be what went in."""
    folder.mkdir()
    source = rankings(folder / "source.jsonl", count)
    found = {}
    for name, from_, target, to, rows in (
        ("JSONL to Parquet", source, folder / "r.parquet", "parquet", count),
        ("Parquet to JSONL", folder / "r.parquet", folder / "back.jsonl", "native", count),
        ("JSONL to TRL pairs", source, folder / "pairs.jsonl", "trl", 3 * count),
        ("TRL pairs to JSONL", folder / "pairs.jsonl", folder / "again.jsonl", "native", count),
    ):
        read, written, found[name] = convert(from_, target, to)
        assert (read, written) == (count, rows), name
    assert filecmp.cmp(source, folder / "back.jsonl", shallow=False)
    shutil.rmtree(folder)  # 2 GB of the large one
    return found


@pytest.mark.learn
def test_a_million_rows_need_no_more_memory_than_twenty_thousand(tmp_path: Path):
    """320 MB of JSONL. Held in memory, the rows alone would be more than a gigabyte."""
    few, many = peaks(tmp_path / "few", FEW), peaks(tmp_path / "many", ROWS)
    grown = {name: many[name] - few[name] for name in many}
    assert max(grown.values()) < 64, grown
