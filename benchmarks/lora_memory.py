"""PPO with all weights and with adapters, in turns: the same episodes, peak memory and seconds.

    python benchmarks/lora_memory.py --model FOLDER [--rank 16] [--steps 2]

Each side is a process of its own. Resident memory is read after each step, and once more when the
process has ended: by then the adapter is merged and the model saved and loaded again.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from tasks import prepare

SIZES = {
    "iterations": 1,
    "batch": 2,
    "per_backward": 1,
    "max_prompt_tokens": 64,
    "max_response_tokens": 32,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--steps", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trivium-bench-") as folder:
        task = prepare("ppo_fixed", asked.model, Path(folder) / "task", **SIZES)
        sides = []
        for rank in (0, asked.rank):
            sides.append(measure(task, rank, asked.steps, Path(folder) / f"rank-{rank}"))
            print(f"rank {rank}: {sides[-1]}", flush=True)
    full, lora = sides
    for name in full:
        print(f"{name:24} {full[name]:10.3f} {lora[name]:10.3f} {lora[name] / full[name]:8.3f}")


def measure(task, rank: int, steps: int, out: Path) -> dict[str, float]:
    """Gigabytes and seconds of one side."""
    words = [
        *(sys.executable, "-m", "trivium", "ppo", "--out", str(out)),
        *("--policy", task.policy, "--reward", task.reward),
        *("--prompts", f"{task.folder}/rows.jsonl", "--split.heldout-fraction", "0"),
        *("--num-steps", str(steps), "--episodes-per-step", str(task.batch)),
        *("--episodes-per-minibatch", str(task.batch)),
        *("--episodes-per-backward", str(task.per_backward)),
        *("--sampling.max-prompt-tokens", str(task.max_prompt_tokens)),
        *("--sampling.max-response-tokens", str(task.max_response_tokens)),
        *("--heldout-every", "0", "--lora.rank", str(rank)),
        *("--compute-dtype", "float32", "--accept-affected"),
    ]
    process = os.posix_spawn(words[0], words, os.environ)
    _, status, used = os.wait4(process, 0)
    assert status == 0, f"rank {rank} ended with {status}"
    plan = json.loads((out / "plan.json").read_text())
    last = [json.loads(line) for line in (out / "metrics.jsonl").open()][-1]
    return {
        "trained (millions)": plan["trained_parameters"] / 1e6,
        "static GB": plan["static_bytes"] / 1e9,
        "peak GB of the steps": last["bytes/peak_rss"] / 1e9,
        "peak GB of the process": used.ru_maxrss * 1024 / 1e9,
        "seconds to sample": last["seconds/sample"],
        "seconds to judge": last["seconds/judge"],
        "seconds to learn": last["seconds/learn"],
    }


if __name__ == "__main__":
    main()
