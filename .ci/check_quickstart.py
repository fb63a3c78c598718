"""Hold a quickstart's summary.json against what the quickstart promises; print every figure.

python .ci/check_quickstart.py runs/quickstart/summary.json

Exit code 1 if one promise is broken, or a figure it needs is not there.
"""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

PROMISED_SECONDS = 300
"""On two cores of a plain machine; said, not enforced, since machines differ."""
MAX_SECONDS = 900

PROMISED_WIN = 0.65
"""The figure that is aimed at. One run draws 256 prompts and its own noise, and other machines
round otherwise, so what is enforced is that the interval reaches it and excludes a coin."""

PROMISED_GAP, MAX_GAP = 0.05, 0.07
"""Between a reward model's accuracy on new labelers and their agreement; the difference has a
standard error of 0.015, and other machines round otherwise."""


class Promise(NamedTuple):
    """One thing that must hold, with the figures that show it."""

    name: str
    holds: bool
    figures: str


def promises(summary: dict[str, Any]) -> Iterator[Promise]:
    """Every promise, in the order of the method."""
    models, seconds = summary["models"], summary["seconds"]
    yield Promise("finished", summary["status"] == "finished", summary["status"])
    late = "" if seconds <= PROMISED_SECONDS else f", promised {PROMISED_SECONDS}"
    yield Promise("in time", seconds <= MAX_SECONDS, f"{seconds:.0f} s{late}")
    yield from wins(models)
    yield from reward_model(summary["reward_model"])
    yield from alignment_tax(models)
    yield from invariants(summary["invariants"])


def wins(models: dict[str, Any]) -> Iterator[Promise]:
    """PPO-ptx beats SFT on held-out instructions, judged by gold; the base is far below it."""
    ppo_ptx, base = models["ppo_ptx"]["win_rate_vs_sft"], models["base"]["win_rate_vs_sft"]
    ok = ppo_ptx["high"] >= PROMISED_WIN and ppo_ptx["low"] > 0.5
    short = "" if ppo_ptx["point"] >= PROMISED_WIN else f", promised {PROMISED_WIN}"
    said = f"{interval(ppo_ptx)}{short}, needs high >= {PROMISED_WIN} and low > 0.5"
    yield Promise("ppo_ptx beats sft", ok, said)
    base_gold, sft_gold = models["base"]["gold_mean"], models["sft"]["gold_mean"]
    far = base["high"] < 0.4 and base_gold < sft_gold / 2
    gold = f"gold {base_gold:.3f} against {sft_gold:.3f}, needs half at most"
    yield Promise("base far below sft", far, f"{interval(base)}, needs high < 0.4; {gold}")


def interval(rate: dict[str, float]) -> str:
    """A rate with its 95 % interval."""
    return f"{rate['point']:.3f} ({rate['low']:.3f} .. {rate['high']:.3f})"


def reward_model(figures: dict[str, float]) -> Iterator[Promise]:
    """It agrees with labelers it never saw about as well as labelers agree with one another."""
    accuracy, agreement = figures["heldout_labeler_accuracy"], figures["labeler_agreement"]
    gap = abs(accuracy - agreement)
    far = "" if gap <= PROMISED_GAP else f", promised {PROMISED_GAP}"
    text = f"{accuracy:.3f} and {agreement:.3f}{far}, at most {MAX_GAP} apart"
    yield Promise("reward model as a labeler", gap <= MAX_GAP, text)
    mean = figures["demonstration_mean"]
    yield Promise("demonstrations score 0", abs(mean) < 1e-2, f"mean {mean:.2e}")


def alignment_tax(models: dict[str, Any]) -> Iterator[Promise]:
    """On the loss or on the cloze test, PPO loses something and PPO-ptx wins half of it back."""
    loss = {name: models[name]["pretraining_loss"] for name in ("sft", "ppo", "ppo_ptx")}
    cloze = {name: -models[name]["cloze_accuracy"] for name in ("sft", "ppo", "ppo_ptx")}
    shares = {"pretraining loss": won_back(loss), "cloze accuracy": won_back(cloze)}
    text = "; ".join(
        f"{measure}: " + (f"{share:.0%} won back" if share is not None else "PPO lost nothing")
        for measure, share in shares.items()
    )
    figures = ", ".join(f"{k} {loss[k]:.3f} nats {-cloze[k]:.3f}" for k in loss)
    ok = any(share is not None and share >= 0.5 for share in shares.values())
    yield Promise("tax paid by ppo, won back by ppo_ptx", ok, f"{text} ({figures})")


def won_back(cost: dict[str, float]) -> float | None:
    """Share of what PPO lost that PPO-ptx didn't lose; None if PPO lost nothing."""
    lost = cost["ppo"] - cost["sft"]
    return (cost["ppo"] - cost["ppo_ptx"]) / lost if lost > 0 else None


def invariants(figures: dict[str, float]) -> Iterator[Promise]:
    """Looser bounds where bfloat16 is in use are the run's own affair: it would have stopped."""
    kl, ratio = figures["step0_kl_per_token"], figures["first_ratio_deviation"]
    yield Promise("step-0 KL is 0", math.isfinite(kl) and abs(kl) < 1e-3, f"{kl:.2e} nats a token")
    yield Promise("first ratio is 1", math.isfinite(ratio) and ratio < 1e-2, f"off by {ratio:.2e}")


def main() -> int:
    """Print a line per promise; 1 if one is broken."""
    path = Path(sys.argv[1])
    summary = json.loads(path.read_text(encoding="utf-8"))
    broken = 0
    try:
        for promise in promises(summary):
            print(f"{'ok    ' if promise.holds else 'BROKEN'}  {promise.name}: {promise.figures}")
            broken += not promise.holds
    except (KeyError, TypeError) as error:
        print(f"BROKEN  {path} lacks a figure: {type(error).__name__}: {error}")
        return 1
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
