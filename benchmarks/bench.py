"""Our stages against their peers on the same work, in turns. See docs/performance.md.

python benchmarks/bench.py --model FOLDER [--rows sft rm_k9 ...] [--iterations 5]
"""

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import growth
import solo
import torch
from race import Refused, Result, alternate, compare, kl_is_zero, same_figures, start
from roof import Roof, measure
from tasks import Task, prepare

from trivium.models import compute_for
from trivium.models.load import load_blank
from trivium.runs.atomic import write_text

ROOFS_AGREE = 0.05
"""Roofs before and after may differ by this much; else other work ran beside."""


@dataclass(frozen=True, slots=True)
class Row:
    """A benchmark and what it has to reach: floor, target and moonshot of the ratio."""

    kind: str
    goals: tuple[float, float, float]
    dtype: str
    sizes: dict[str, int]
    peer: str
    script: str


PPO_SIZES = {"batch": 16, "per_backward": 8, "max_prompt_tokens": 112, "max_response_tokens": 64}
RM_SIZES = {"batch": 2, "per_backward": 2, "max_prompt_tokens": 64, "max_response_tokens": 64}
SFT_SIZES = {"batch": 16, "per_backward": 8, "max_prompt_tokens": 128, "max_response_tokens": 192}
SAMPLE_SIZES = PPO_SIZES | {"batch": 32}
PPO, NEWEST = ("trl-1.12.0", "peer_ppo.py"), ("trl", "peer_train.py")
HF = ("ours", "peer_generate.py")
ROWS = {
    "ppo_variable": Row("ppo", (3, 5, 7), "auto", PPO_SIZES, *PPO),
    "ppo_fixed": Row("ppo_fixed", (2, 3, 4), "auto", PPO_SIZES | {"max_prompt_tokens": 64}, *PPO),
    "ppo_fp32": Row("ppo", (1.5, 2.2, 3), "float32", PPO_SIZES, *PPO),
    "rm_k9": Row("reward", (8, 14, 25), "auto", RM_SIZES, *NEWEST),
    "sft": Row("sft", (1.3, 1.8, 2.5), "auto", SFT_SIZES, *NEWEST),
    "sample_fixed": Row("sample_fixed", (1.3, 2, 3), "auto", SAMPLE_SIZES, *HF),
    "sample_eos": Row("sample", (1.5, 3, 5), "auto", SAMPLE_SIZES, *HF),
}
MEMORY = {"ppo_memory": ("ppo_variable", (0.6, 0.35, 0.2))}
"""Rows that another race tells too: bytes above the static ones, ours over the peer's."""

SAME = {"ppo_fp32": "ppo_variable"}
"""Rows that are another one's race where the default dtype is fp32 anyway."""

ALL = [*ROWS, *MEMORY, *solo.SOLO, *growth.GOALS]


def main() -> None:
    """Run the rows asked for, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="folder of SmolLM2-135M-Instruct")
    parser.add_argument("--rows", nargs="+", choices=ALL, default=ALL)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--python", nargs="*", default=[], metavar="PEER=PYTHON")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    pythons = dict(pair.split("=", 1) for pair in given.python) | {"ours": sys.executable}
    before = measure()
    print(f"roofs: {_words(before)}", flush=True)
    rows: list[dict] = []
    for name in given.rows:
        rows.append(make(name, rows, given.model, given.iterations, pythons))
        print(json.dumps(rows[-1], indent=1), flush=True)
    after = measure()
    print(f"roofs: {_words(after)}")
    steady = abs(after.gflops_fp32 / before.gflops_fp32 - 1) <= ROOFS_AGREE
    if not steady:
        print("the roofs moved by more than 5 %: other work ran beside; run it again")
    now = datetime.now(UTC)
    stamp = now.strftime("%Y-%m-%d")
    hardware = f"{_processor()}, {torch.get_num_threads()} threads"
    found = {
        "hardware": hardware, "date": stamp, "time": now.strftime("%H:%M:%S"),
        "torch": torch.__version__, "steady": steady,
        "roofs": {"before": asdict(before), "after": asdict(after)}, "rows": rows,
    }  # fmt: skip
    given.out.mkdir(parents=True, exist_ok=True)
    name = f"{stamp}-{hardware.split(',')[0].replace(' ', '_')}-{now.strftime('%H%M%S')}.json"
    write_text(given.out / name, json.dumps(found, indent=1) + "\n")
    table(rows)


def make(
    name: str, before: list[dict], model: str, iterations: int, pythons: dict[str, str]
) -> dict:
    """One row, whatever it is measured by; ``before``: the rows there are already."""
    if name in solo.SOLO:
        return solo.run(name, model, iterations, pythons["ours"])
    if name in growth.GOALS:
        return growth.run(name, iterations)
    for row in before:
        if row["id"] == SAME.get(name) and row.get("dtype") == "torch.float32":
            floor, target, moonshot = ROWS[name].goals
            return row | {"id": name, "floor": floor, "target": target, "moonshot": moonshot}
    if name in ROWS:
        return run(name, ROWS[name], model, iterations, pythons)
    source, goals = MEMORY[name]
    raced = [row for row in before if row["id"] == source]
    raced = raced or [run(source, ROWS[source], model, iterations, pythons)]
    return memory_row(name, raced[0], goals)


def memory_row(name: str, raced: dict, goals: tuple[float, float, float]) -> dict:
    """Peak memory above what both sides have to hold, ours over the peer's."""
    if "refused" in raced:
        return raced | {"id": name}
    peak = raced["peak_bytes"]
    ours, peer = peak["ours"] - peak["static"], peak["peer"] - peak["static"]
    floor, target, moonshot = goals
    return {
        "id": name, "ours": ours, "peer": peer, "ratio": ours / peer, "spread": None,
        "gate": raced["gate"], "floor": floor, "target": target, "moonshot": moonshot,
        "at_most": True, "dtype": raced["dtype"], "peer_name": raced["peer_name"],
    }  # fmt: skip


def run(name: str, row: Row, model: str, iterations: int, pythons: dict[str, str]) -> dict:
    """Race one row; a gate that fails is a row without a time."""
    with tempfile.TemporaryDirectory(prefix="trivium-bench-") as folder:
        print(name, flush=True)
        task = prepare(row.kind, model, Path(folder) / name, iterations=iterations, **row.sizes)
        arguments = str(Path(task.folder) / "task.json")
        sides = []
        try:
            log = Path(folder) / "ours.log"
            sides.append(start(pythons["ours"], "ours.py", arguments, row.dtype, log=log))
            log = Path(folder) / "peer.log"
            sides.append(start(pythons[row.peer], row.script, arguments, log=log))
            ours, peer = alternate(sides, iterations)
            result = GATES[task.kind](ours, peer)
        except (Refused, RuntimeError) as error:
            logs = "".join(path.read_text()[-2000:] for path in Path(folder).glob("*.log"))
            return {"id": name, "refused": str(error), "log": logs}
        finally:
            for side in sides:
                side.stop()
        static = static_bytes(task)
    floor, target, moonshot = row.goals
    return {
        "id": name, "ours": result.ours, "peer": result.peer, "ratio": result.ratio,
        "spread": result.spread, "gate": result.gate, "floor": floor, "target": target,
        "moonshot": moonshot, "dtype": str(compute_for(row.dtype).dtype), "peer_name": row.peer,
        "peak_bytes": {
            "ours": median(m["peak_bytes"] for m in ours),
            "peer": median(m["peak_bytes"] for m in peer),
            "static": static,
        },
        **lengths(ours),
    }  # fmt: skip


def _sft(ours: list[dict], peer: list[dict]) -> Result:
    return compare(ours, peer, same_figures(ours, peer, ("sft/loss", "sft/grad_norm"), 1e-4))


def _reward(ours: list[dict], peer: list[dict]) -> Result:
    return compare(ours, peer, same_figures(ours, peer, ("reward/loss", "reward/grad_norm"), 1e-4))


def _ppo(ours: list[dict], peer: list[dict]) -> Result:
    return compare(ours, peer, kl_is_zero((ours, peer), 1e-3))


def _sample(ours: list[dict], peer: list[dict]) -> Result:
    gate = "the law of the sampler is held by tests/rollouts"
    return compare(ours, peer, gate, per="tokens")


GATES: dict[str, Callable[[list[dict], list[dict]], Result]] = {
    "sft": _sft, "reward": _reward, "ppo": _ppo, "sample": _sample,
}  # fmt: skip


def static_bytes(task: Task) -> int:
    """fp32 weights; with gradients and two moments where a model is trained."""
    copies = {"sft": 16, "reward": 16, "ppo": 16 + 16 + 4 + 4, "sample": 4}
    return copies[task.kind] * load_blank(task.policy).model.num_parameters()


def lengths(ours: list[dict]) -> dict[str, float]:
    """Mean tokens, where a stage says them."""
    names = ("episodes/prompt_tokens", "episodes/response_tokens", "sft/tokens", "reward/tokens")
    return {n: median(m[n] for m in ours) for n in names if n in ours[0]}


def table(rows: list[dict]) -> None:
    """One line a row."""
    for row in rows:
        if "refused" in row:
            print(f"{row['id']:17} not timed: {row['refused']}")
            continue
        low, high = row["spread"] or (row["ratio"], row["ratio"])
        goals = f"floor {row['floor']} target {row['target']} moonshot {row['moonshot']}"
        print(f"{row['id']:17} {row['ratio']:5.2f} ({low:.2f} to {high:.2f})  {goals}")


def _words(roof: Roof) -> str:
    return f"fp32 {roof.gflops_fp32:.0f}, bf16 {roof.gflops_bf16:.0f} GFLOP/s, copy {roof.copy_gb_per_second:.0f} GB/s"  # noqa: E501


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].split("@")[0].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
