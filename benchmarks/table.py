"""The table of the README from what `bench.py` wrote: python benchmarks/table.py [FILE ...]"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "results"

WORDS = {
    "ppo_variable": "PPO iteration, answers that end where they end",
    "ppo_fixed": "PPO iteration, all answers equally long",
    "ppo_fp32": "PPO iteration, both sides in fp32",
    "rm_k9": "reward model, nine answers to a prompt",
    "sft": "SFT, lengths as they come",
    "sample_fixed": "sampling, all answers equally long",
    "sample_eos": "sampling, answers that end where they end",
    "ppo_memory": "PPO memory above weights, gradients and moments",
    "roof_sft": "SFT: share of the roof that real tokens use",
    "roof_rm": "reward model: the same",
    "roof_ppo": "PPO: the same",
    "growth_parameters": "time against parameters, 1 M to 134 M: exponent",
    "growth_batch": "time against the batch: exponent",
    "growth_context": "time's square term in the context over attention's own",
}
HEADER = "| row | against | measured | floor, target, moonshot | reached |"
PEERS = {"trl-1.12.0": "TRL 1.12.0", "trl": "TRL 1.16.0", "ours": "transformers' generate"}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Print the table of what bench.py wrote.")
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        help="default: all in benchmarks/results; of each row the newest measurement counts",
    )
    files = parser.parse_args().files or sorted(RESULTS.glob("*.json"))
    print(markdown([json.loads(path.read_text()) for path in files]))


def markdown(results: Sequence[dict]) -> str:
    """Lines before the table say hardware, dates and roofs; rows in the order of `WORDS`."""
    measured = sorted((r for r in results if "roofs" in r), key=_when)
    rows = {row["id"]: (row, found) for found in measured for row in found["rows"]}
    used = [found for found in measured if any(found is source for _, source in rows.values())]
    lines = [_machine(found) for found in used]
    lines += [
        "",
        "| row | against | measured | floor, target, moonshot | |",
        "|---|---|---|---|---|",
    ]
    shown = [(rows[name], words) for name, words in WORDS.items() if name in rows]
    lines += [_line(row, words, steady=found["steady"]) for (row, found), words in shown]
    lines += [f"\nNot measured: {', '.join(gone)}." for gone in [_missing(rows)] if gone]
    return "\n".join(lines)


def verdict(row: dict) -> str:
    """The highest goal that was reached; rows where less is better say so in ``at_most``."""
    sign = -1 if row.get("at_most") else 1
    reached = "below the floor"
    for name in ("floor", "target", "moonshot"):
        if sign * row["ratio"] >= sign * row[name]:
            reached = name
    return reached


def _when(found: dict) -> tuple[str, str]:
    return found["date"], found.get("time", "")


def _machine(found: dict) -> str:
    before, after = (found["roofs"][key]["gflops_fp32"] for key in ("before", "after"))
    moved = "" if found["steady"] else "; **the roof moved by more than 5 %: to be repeated**"
    ids = ", ".join(f"`{row['id']}`" for row in found["rows"])
    return (
        f"{found['hardware']}, torch {found['torch']}, {found['date']}: {ids}; fp32 matmul "
        f"{before:.0f} GFLOP/s before, {after:.0f} after{moved}."
    )


def _line(row: dict, words: str, *, steady: bool) -> str:
    if "refused" in row:
        return f"| `{row['id']}`: {words} | | not timed: {row['refused']} | | |"
    peer = PEERS.get(row["peer_name"], row["peer_name"])
    low, high = row["spread"] or (row["ratio"], row["ratio"])
    share = row["id"].startswith("roof_")
    shown = _number(row, share=share)
    between = "" if low == high else f" ({_figure(low, share)} to {_figure(high, share)})"
    goals = ", ".join(_figure(row[k], share) for k in ("floor", "target", "moonshot"))
    at_most = "at most " if row.get("at_most") else ""
    mark = "" if steady else " (unsteady)"
    return (
        f"| `{row['id']}`: {words} | {peer} | {shown}{between} | {at_most}{goals} "
        f"| {verdict(row)}{mark} |"
    )


def _number(row: dict, *, share: bool) -> str:
    times = "" if share or row.get("at_most") else "x"
    return f"**{_figure(row['ratio'], share)}{times}**"


def _figure(value: float, share: bool) -> str:
    return f"{100 * value:.0f} %" if share else f"{value:.2f}".rstrip("0").rstrip(".")


def _missing(rows: dict) -> list[str]:
    return [f"`{name}`" for name in WORDS if name not in rows]


if __name__ == "__main__":
    main()
