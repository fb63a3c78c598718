"""How fast this machine reads, learns and writes with a model of a given shape, in two seconds.

The roof is what a plain product of matrices reaches. The model itself is timed too: its own layers,
one and three of them, on few and on many tokens. A straight line through those four times tells the
cost of a pass, of a layer, of a token; a run's time is then arithmetic (`trivium plan`).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from trivium.models.attention import Packed, run_trunk
from trivium.models.compute import Compute
from trivium.models.layout import pack
from trivium.models.memory import Writing, new_memory
from trivium.models.unembedding import chunked_logprobs
from trivium.text import from_lists

Kind = Literal["learn", "read", "write"]
"""With gradients; without; one token at a time, each drawn."""

LAYERS = (1, 3)
TOKENS: dict[str, tuple[int, int]] = {"learn": (64, 512), "read": (64, 512), "write": (8, 64)}
ROWS = (8, 64)
WORDS = 64
"""Vocabulary of the models whose layers are timed; the real table is timed on its own."""

UPDATED = 4_000_000
ENOUGH_SECONDS = 0.06
"""What is quick is timed often: the best of many is what the machine can do undisturbed."""
ROOF_SIDE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofs:
    """What the machine can do at best.

    Attributes:
        flops: products of matrices of 1,024 rows and columns, FLOP/s, by dtype.
        bytes: copying 256 MB, bytes read and written a second.
    """

    flops: dict[str, float]
    bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """fixed + each x."""

    fixed: float
    each: float

    def at(self, x: float) -> float:
        """Seconds for ``x``."""
        return self.fixed + self.each * x


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds of a model's parts on this machine.

    Attributes:
        layer: one layer of one pass, by tokens in it.
        rest: what a pass costs besides layers and tables, by tokens in it.
        table: a pass's gradient of the embedding; learning only.
        head: log-probabilities, or drawing, by rows; learning's with gradients.
        update: clip and AdamW, by parameters.
    """

    layer: dict[Kind, Line]
    rest: dict[Kind, Line]
    table: float
    head: dict[Kind, Line]
    update: float

    def seconds(self, kind: Kind, *, layers: int, passes: float, tokens: int, rows: int) -> float:
        """Of ``passes`` passes with ``tokens`` tokens and ``rows`` rows of logits in all."""
        if passes == 0:
            return 0.0
        one = layers * self.layer[kind].at(tokens / passes) + self.rest[kind].at(tokens / passes)
        one += self.table if kind == "learn" else 0.0
        if rows:
            one += self.head[kind].at(rows / passes)
        return passes * one


def measure_roofs(compute: Compute) -> Roofs:
    """Roofs of the device, in about half a second."""
    flops: dict[str, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.ones(ROOF_SIDE, ROOF_SIDE, dtype=dtype, device=compute.device) for _ in "ab")
        seconds = _best(lambda x=a, y=b: x @ y, compute)
        flops[str(dtype).removeprefix("torch.")] = 2 * ROOF_SIDE**3 / seconds
    source = torch.ones(64 * 2**20, dtype=torch.float32, device=compute.device)
    target = torch.zeros_like(source)
    seconds = _best(lambda: target.copy_(source), compute)
    return Roofs(flops=flops, bytes=2 * source.nbytes / seconds)


def measure_pace(config: PretrainedConfig, compute: Compute, *, stretch: int) -> Pace:
    """Time a model's parts.

    Args:
        config: of the model; only its shape matters.
        compute: device and dtype.
        stretch: tokens of a typical sequence: what attention looks back on.
    """
    text = config.get_text_config()
    models = [_small(config, layers).to(compute.device) for layers in LAYERS]
    layer: dict[Kind, Line] = {}
    rest: dict[Kind, Line] = {}
    times: dict[Kind, Callable[[PreTrainedModel, int], float]] = {
        "learn": lambda model, n: _trunk_time(model, n, stretch, compute, learn=True),
        "read": lambda model, n: _trunk_time(model, n, stretch, compute, learn=False),
        "write": lambda model, n: _step_time(model, n, stretch, compute),
    }
    for kind, timed in times.items():
        few, many = TOKENS[kind]
        (few1, many1), (few3, many3) = ([timed(m, n) for n in (few, many)] for m in models)
        per_layer = [(three - one) / 2 for one, three in ((few1, few3), (many1, many3))]
        layer[kind] = _line((few, many), per_layer)
        rest[kind] = _line((few, many), [few1 - per_layer[0], many1 - per_layer[1]])
    table, head = _measure_tables(text.vocab_size, text.hidden_size, compute)
    return Pace(layer=layer, rest=rest, table=table, head=head, update=_update_time(compute))


def _small(config: PretrainedConfig, layers: int) -> PreTrainedModel:
    """The model with few layers and few words."""
    values = type(config).from_dict(config.to_dict())
    values.num_hidden_layers, values.vocab_size = layers, WORDS
    values.bos_token_id = values.eos_token_id = values.pad_token_id = None
    return AutoModelForCausalLM.from_config(values, dtype=torch.float32).eval()


def _trunk_time(
    model: PreTrainedModel, tokens: int, stretch: int, compute: Compute, *, learn: bool
) -> float:
    lengths = [min(stretch, tokens)] * max(1, tokens // stretch)
    batch = from_lists([[] for _ in lengths], [[1] * n for n in lengths])
    forest = pack(batch).to(compute.device)

    def work() -> None:
        with torch.set_grad_enabled(learn), compute.autocast():
            hidden = run_trunk(model, forest.tokens, forest.positions, Packed(forest))
            if learn:
                hidden.float().sum().backward()

    return _best(work, compute) * tokens / len(batch.tokens)


@torch.no_grad()
def _step_time(model: PreTrainedModel, slots: int, past: int, compute: Compute) -> float:
    memory = new_memory(slots=slots, capacity=past + 1)
    lengths = torch.full((slots,), past, device=compute.device)
    tokens = torch.ones_like(lengths)

    def work() -> None:
        with compute.autocast():
            run_trunk(model, tokens, lengths, Writing(memory, lengths, past))

    return _best(work, compute)


def _measure_tables(words: int, width: int, compute: Compute) -> tuple[float, dict[Kind, Line]]:
    """Embedding's gradient; and the head's log-probabilities for learning, reading, drawing."""
    head = nn.Linear(width, words, bias=False, device="meta").to_empty(device=compute.device)
    nn.init.constant_(head.weight, 0.01)
    head.weight.grad = torch.zeros_like(head.weight)

    def table() -> None:
        ids = torch.arange(ROWS[0], device=compute.device)
        F.embedding(ids, head.weight).sum().backward()

    def logprobs(rows: int, *, learn: bool) -> None:
        states = torch.full((rows, width), 0.01, device=compute.device, requires_grad=learn)
        wanted = torch.ones(rows, dtype=torch.int64, device=compute.device)
        with torch.set_grad_enabled(learn), compute.autocast():
            made = chunked_logprobs(head, states, wanted, temperature=1.0, rows=rows)
        if learn:
            made.sum().backward()

    lines: dict[Kind, Line] = {}
    for kind in ("learn", "read"):
        times = [_best(lambda n=n, k=kind: logprobs(n, learn=k == "learn"), compute) for n in ROWS]
        lines[kind] = _line(ROWS, times)
    drawing = [_draw_time(words, rows, compute) for rows in ROWS]
    drawn = _line(ROWS, drawing)
    lines["write"] = Line(
        fixed=lines["read"].fixed + drawn.fixed, each=lines["read"].each + drawn.each
    )
    return _best(table, compute), lines


def _draw_time(words: int, rows: int, compute: Compute) -> float:
    """What drawing costs beyond logits: passes over (rows, words) in fp32 and float64."""
    logits = torch.zeros(rows, words, device=compute.device)
    uniforms = torch.full((rows, 1), 0.5, dtype=torch.float64, device=compute.device)

    def work() -> None:
        cumulative = (logits - logits.amax(-1, keepdim=True)).exp().cumsum(-1, dtype=torch.float64)
        torch.searchsorted(cumulative, uniforms * cumulative[:, -1:])

    return _best(work, compute)


def _update_time(compute: Compute) -> float:
    """Seconds a parameter."""
    weight = nn.Parameter(torch.ones(UPDATED, device=compute.device))
    weight.grad = torch.ones_like(weight)
    optimizer = torch.optim.AdamW([weight], lr=1e-9, foreach=True)

    def work() -> None:
        torch.nn.utils.clip_grad_norm_([weight], 1.0)
        optimizer.step()

    return _best(work, compute) / UPDATED


def _best(work: Callable[[], object], compute: Compute) -> float:
    """Seconds of ``work`` when nothing else runs: the best of three or more after one."""
    work()
    times: list[float] = []
    while len(times) < 3 or sum(times) < ENOUGH_SECONDS:
        _wait(compute)
        began = time.perf_counter()
        work()
        _wait(compute)
        times.append(time.perf_counter() - began)
    return min(times)


def _wait(compute: Compute) -> None:
    if compute.device.type == "cuda":
        torch.cuda.synchronize()


def _line(xs: tuple[int, int], seconds: list[float]) -> Line:
    """Through two points; neither part is ever negative, whatever the clock's noise."""
    each = max(0.0, (seconds[1] - seconds[0]) / (xs[1] - xs[0]))
    return Line(fixed=max(0.0, seconds[0] - each * xs[0]), each=each)
