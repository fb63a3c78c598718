"""How time grows: with parameters, with the batch, with the context. Random weights, our passes.

A power law is fitted on logarithms; the context gets a parabola, whose second term is compared
with what attention's FLOPs would take at the speed of the first.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from scipy import stats
from transformers import LlamaConfig, LlamaForCausalLM

from trivium import cost
from trivium.config import Adam
from trivium.models import Policy, compute_for
from trivium.models.compute import Compute
from trivium.models.shape import shape_of
from trivium.stages.lm import backward_next_token
from trivium.stages.optimise import adamw
from trivium.text import Sequences, from_lists

WORDS = 2048
HEAD = 64
SHAPES = ((128, 4), (192, 7), (256, 13), (384, 18), (512, 22), (640, 27))
"""Width and layers: 1.0, 3.5, 11, 33, 70 and 134 million parameters."""

MIDDLE = (256, 13)
PARAMETERS_TOKENS = 512
BATCHES = (4, 8, 16, 32, 64)
BATCH_TOKENS = 128
CONTEXTS = (128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
GOALS = {
    "growth_parameters": (1.05, 1.05, 1.0),
    "growth_batch": (1.02, 1.02, 1.0),
    "growth_context": (1.5, 1.2, 1.0),
}


@dataclass(frozen=True, slots=True)
class Fit:
    """A figure with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def exponent(xs: Sequence[float], seconds: Sequence[float]) -> Fit:
    """k of seconds = c x^k: least squares on logarithms, Student's interval."""
    line = stats.linregress(np.log(xs), np.log(seconds))
    half = float(stats.t.ppf(0.975, len(xs) - 2)) * float(line.stderr)
    return Fit(float(line.slope), float(line.slope) - half, float(line.slope) + half)


def parabola(xs: Sequence[float], seconds: Sequence[float]) -> tuple[float, Fit]:
    """a and b of seconds = c + a x + b x^2; relative errors weigh alike."""
    x, y = np.asarray(xs, dtype=float), np.asarray(seconds, dtype=float)
    columns = np.stack([np.ones_like(x), x, x * x], axis=1) / y[:, None]
    found, _, _, _ = np.linalg.lstsq(columns, np.ones_like(y), rcond=None)
    left = len(x) - 3
    error = np.ones_like(y) - columns @ found
    spread = np.linalg.inv(columns.T @ columns) * float(error @ error) / left
    half = float(stats.t.ppf(0.975, left)) * math.sqrt(float(spread[2, 2]))
    return float(found[1]), Fit(float(found[2]), float(found[2]) - half, float(found[2]) + half)


def run(name: str, iterations: int) -> dict:
    """Measure one of `GOALS`."""
    print(name, flush=True)
    compute = compute_for("auto")
    measured = {
        "growth_parameters": _parameters, "growth_batch": _batch, "growth_context": _context,
    }[name](compute, iterations)  # fmt: skip
    floor, target, moonshot = GOALS[name]
    return {
        "id": name, **measured, "floor": floor, "target": target, "moonshot": moonshot,
        "dtype": str(compute.dtype), "peer_name": "proportional", "at_most": True,
    }  # fmt: skip


def _parameters(compute: Compute, iterations: int) -> dict:
    models = [new_model(width, layers, compute) for width, layers in SHAPES]
    rows = texts(PARAMETERS_TOKENS // BATCH_TOKENS, BATCH_TOKENS)
    steps = [learning(model, rows, compute) for model in models]
    return _power([m.model.num_parameters() for m in models], in_rounds(steps, iterations))


def _batch(compute: Compute, iterations: int) -> dict:
    model = new_model(*MIDDLE, compute)
    steps = [learning(model, texts(n, BATCH_TOKENS), compute) for n in BATCHES]
    return _power(BATCHES, in_rounds(steps, iterations))


def _context(compute: Compute, iterations: int) -> dict:
    model = new_model(*MIDDLE, compute)
    steps = [learning(model, texts(1, n), compute) for n in CONTEXTS]
    seconds = in_rounds(steps, iterations)
    each, square = parabola(CONTEXTS, seconds)
    ideal = each * attention_share(model)
    ends = [square.low / ideal, square.high / ideal]
    return {
        "ours": square.value, "peer": ideal, "ratio": square.value / ideal, "spread": ends,
        "points": list(zip(CONTEXTS, seconds, strict=True)),
    }  # fmt: skip


def attention_share(policy: Policy) -> float:
    """FLOPs that grow with the square of the context over those that grow with it, per token^2."""
    n = 2**20  # long enough that half a token of the triangle does not count
    flops = cost.training_flops(shape_of(policy.model), cost.tree(0, [n], predicted=n))
    return flops.attention / n**2 / ((flops.layers + flops.head) / n)


def _power(xs: Sequence[float], seconds: Sequence[float]) -> dict:
    fit = exponent(xs, seconds)
    return {
        "ours": fit.value, "peer": 1.0, "ratio": fit.value, "spread": [fit.low, fit.high],
        "points": list(zip(xs, seconds, strict=True)),
    }  # fmt: skip


def in_rounds(steps: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Median seconds of each: all of them in turn, round after round; the first warms up."""
    times: list[list[float]] = [[] for _ in steps]
    for number in range(rounds + 1):
        for step, own in zip(steps, times, strict=True):
            began = time.perf_counter()
            step()
            if number:
                own.append(time.perf_counter() - began)
    return [median(own) for own in times]


def learning(policy: Policy, rows: Sequences, compute: Compute) -> Callable[[], None]:
    """One optimizer step on ``rows``, read in one pass."""
    parameters = list(policy.model.parameters())
    optimizer = adamw(parameters, Adam(), lr=0.0)

    def step() -> None:
        weight = 1 / len(rows.predicted())
        count = len(rows)
        backward_next_token(policy, rows, compute, rows_per_backward=count, weight=weight)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def texts(count: int, length: int) -> Sequences:
    """Random tokens; each row predicts all of its own but the first."""
    drawn = torch.randint(WORDS, (count, length), generator=torch.Generator().manual_seed(0))
    return from_lists([[] for _ in range(count)], drawn.tolist())


def new_model(width: int, layers: int, compute: Compute) -> Policy:
    """A Llama of this shape with random weights; nothing here needs its tokenizer."""
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=width, num_hidden_layers=layers,
        intermediate_size=8 * width // 3 // 16 * 16, num_attention_heads=width // HEAD,
        max_position_embeddings=max(CONTEXTS), tie_word_embeddings=True,
    )  # fmt: skip
    model = LlamaForCausalLM(config).to(compute.device).eval()
    return Policy(model=model, codec=None, name=f"{width} x {layers}")
