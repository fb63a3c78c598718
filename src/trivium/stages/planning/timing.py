"""How long a stage's passes and updates take: each is done once or a few times, and scaled.

A small model is tried whole, on text as long and as ragged as a pass of the run reads. A large one
is tried with one layer and with three of them, on some of that text: its time is a straight line in
layers, which are alike, and in tokens, which are many.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PretrainedConfig, PreTrainedModel

from trivium.config import Adam, Sampling
from trivium.cost import Shape
from trivium.models import Compute, response_logprobs
from trivium.models.forward import hidden_states
from trivium.models.layout import pack
from trivium.models.pace import random_model, wait
from trivium.models.shape import shape_of
from trivium.rollouts import generate
from trivium.stages.optimise import adamw
from trivium.stages.planning.forecast import Forecast, Work
from trivium.text import Sequences, select

FEW_LAYERS = (1, 3)
WHOLE_LAYERS = 6
"""Models with no more layers are tried whole."""

CUT_TOKENS = 768
"""Tokens that a model which is not whole is tried on."""

WRITTEN = 8
"""Tokens that each slot writes while writing is timed,"""

FEWER_SLOTS = 8
"""once in all slots and once in so many times fewer."""

ENOUGH_SECONDS = 0.15
"""What is quick is timed twice, after a first time that is not counted."""

NEVER = -1
"""Ends no answer."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The networks that are tried, and what was found: what is alike is timed once.

    Attributes:
        compute: device and dtype.
        models: by kind and shape.
        seconds: by kind, shape and what was done.
    """

    compute: Compute
    models: dict[tuple[str, Shape, int], PreTrainedModel]
    seconds: dict[tuple[str, Shape, str, bytes], float]


def new_trial(compute: Compute) -> Trial:
    """Nothing made, nothing timed."""
    return Trial(compute=compute, models={}, seconds={})


def stage_seconds(forecast: Forecast, trial: Trial) -> float:
    """Seconds of a stage's passes and updates."""
    updates = sum(update_seconds(model, trial) for model in forecast.trained)
    return forecast.updates * updates + sum(work_seconds(one, trial) for one in forecast.works)


def work_seconds(work: Work, trial: Trial) -> float:
    """Seconds of all passes of a work."""
    if work.passes == 0:
        return 0.0
    if work.kind == "write":
        return _writing(work, trial)
    if _layers(work.model.config) <= WHOLE_LAYERS:
        return _whole(work, trial)
    return _large(work, trial)


def _whole(work: Work, trial: Trial) -> float:
    """By a pass that reads the sample."""
    rows, predicted = work.sample, work.reading.predicted > 0
    tried = {"learn": _learn, "read": _read, "fill": _fill}[work.kind]

    def one(model: PreTrainedModel) -> float:
        return _seconds(lambda: tried(model, rows, trial.compute, predicted), trial.compute)

    lengths = rows.lengths.numpy().tobytes() + rows.prompt_lengths.numpy().tobytes()
    seconds = over_layers(work.model, f"{work.kind} {predicted}", lengths, one, trial)
    return seconds * work.reading.tokens / work.once.tokens


def _large(work: Work, trial: Trial) -> float:
    """By what a token takes in the layers and a predicted one in the head."""
    inside = int((work.sample.lengths.cumsum(0) <= CUT_TOKENS).sum())
    rows = select(work.sample, torch.arange(max(1, inside)))
    tokens = len(pack(rows).tokens)
    tried, kind = (_learn, "learn") if work.kind == "learn" else (_read, "read")

    def bare(model: PreTrainedModel) -> float:
        return _seconds(lambda: tried(model, rows, trial.compute, False), trial.compute) / tokens

    shared = b"tree" if tokens < len(rows.tokens) else b""
    seconds = work.reading.tokens * over_layers(work.model, kind, shared, bare, trial)
    if work.reading.predicted and len(rows.predicted()):
        seconds += work.reading.predicted * _head_seconds(work.model, kind, rows, trial)
    return seconds


def _head_seconds(model: PreTrainedModel, kind: str, rows: Sequences, trial: Trial) -> float:
    """Of a predicted token: what one layer takes more with the head than without."""
    tried = {"learn": _learn, "read": _read}[kind]

    def more(network: PreTrainedModel) -> float:
        without, with_head = (
            _seconds(lambda h=h: tried(network, rows, trial.compute, h), trial.compute)
            for h in (False, True)
        )
        return max(0.0, with_head - without) / len(rows.predicted())

    key = model.config.model_type, shape_of(model), f"{kind} head", b""
    if key not in trial.seconds:
        trial.seconds[key] = more(_made(model, FEW_LAYERS[0], trial))
    return trial.seconds[key]


def update_seconds(model: PreTrainedModel, trial: Trial) -> float:
    """Seconds of a clip and a step of AdamW."""

    def one(network: PreTrainedModel) -> float:
        parameters = list(network.parameters())
        optimizer = adamw(parameters, Adam(), lr=0.0)
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)

        def update() -> None:
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()

        update()  # makes the moments
        seconds = _seconds(update, trial.compute)
        network.zero_grad(set_to_none=True)
        return seconds

    return over_layers(model, "update", b"", one, trial)


def _writing(work: Work, trial: Trial) -> float:
    """By what a step takes, and what each slot in it; both are found once for a model."""
    fixed, each = (_step_part(work, name, trial) for name in ("write", "write slot"))
    return work.passes * fixed + work.reading.tokens * each


def _step_part(work: Work, name: str, trial: Trial) -> float:
    key = work.model.config.model_type, shape_of(work.model), name, b""
    if key not in trial.seconds:
        slots = len(work.sample)
        few = max(1, slots // FEWER_SLOTS)
        many = _step_seconds(work, slots, trial)
        each = (
            max(0.0, many - _step_seconds(work, few, trial)) / (slots - few) if slots > few else 0.0
        )
        trial.seconds[(*key[:2], "write slot", b"")] = each
        trial.seconds[(*key[:2], "write", b"")] = max(0.0, many - each * slots)
    return trial.seconds[key]


def _step_seconds(work: Work, slots: int, trial: Trial) -> float:
    """Of one step of so many slots: what `WRITTEN` tokens take more than the first alone."""
    rows = select(work.sample, torch.arange(slots))
    prompts = [piece.tolist() for piece in rows.tokens.split(rows.lengths.tolist())]

    def one(model: PreTrainedModel) -> float:
        short, long = (
            _seconds(lambda n=n: _answers(model, prompts, n, trial.compute), trial.compute)
            for n in (1, WRITTEN + 1)
        )
        return max(0.0, long - short) / WRITTEN

    return over_layers(work.model, "step", slots.to_bytes(4, "little"), one, trial)


def _learn(model: PreTrainedModel, rows: Sequences, compute: Compute, predicted: bool) -> None:
    _forward(model, rows, compute, predicted).sum().backward()
    model.zero_grad(set_to_none=True)


@torch.no_grad()
def _read(model: PreTrainedModel, rows: Sequences, compute: Compute, predicted: bool) -> None:
    _forward(model, rows, compute, predicted)


def _forward(
    model: PreTrainedModel, rows: Sequences, compute: Compute, predicted: bool
) -> torch.Tensor:
    if predicted:
        return response_logprobs(model, rows, compute, temperature=1.0)[0]
    return hidden_states(model, rows, compute)[rows.offsets].float()


def _fill(model: PreTrainedModel, rows: Sequences, compute: Compute, predicted: bool) -> None:  # noqa: ARG001 - as the others
    prompts = [piece.tolist() for piece in rows.tokens.split(rows.lengths.tolist())]
    _answers(model, prompts, 1, compute)


def _answers(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], length: int, compute: Compute
) -> None:
    limits = Sampling(max_prompt_tokens=max(map(len, prompts)), max_response_tokens=length)
    generate(
        model,
        prompts,
        limits,
        end_id=NEVER,
        compute=compute,
        generator=torch.Generator().manual_seed(0),
    )


def over_layers(
    model: PreTrainedModel,
    name: str,
    text: bytes,
    one: Callable[[PreTrainedModel], float],
    trial: Trial,
) -> float:
    """Seconds with all layers, from a few where there are many."""
    layers = _layers(model.config)
    key = model.config.model_type, shape_of(model), name, text
    if key not in trial.seconds:
        if layers <= WHOLE_LAYERS:
            trial.seconds[key] = one(_made(model, layers, trial))
        else:
            few, more = (one(_made(model, n, trial)) for n in FEW_LAYERS)
            each = max(0.0, more - few) / (FEW_LAYERS[1] - FEW_LAYERS[0])
            trial.seconds[key] = few + (layers - FEW_LAYERS[0]) * each
    return trial.seconds[key]


def _made(model: PreTrainedModel, layers: int, trial: Trial) -> PreTrainedModel:
    key = model.config.model_type, shape_of(model), layers
    if key not in trial.models:
        trial.models[key] = random_model(model.config, layers).to(trial.compute.device)
    return trial.models[key]


def _layers(config: PretrainedConfig) -> int:
    return config.get_text_config().num_hidden_layers


def _seconds(work: Callable[[], object], compute: Compute) -> float:
    """Of what takes long, once; else the mean of two after one that is not counted."""
    first = _once(work, compute)
    if first > ENOUGH_SECONDS:
        return first
    return (_once(work, compute) + _once(work, compute)) / 2


def _once(work: Callable[[], object], compute: Compute) -> float:
    wait(compute)
    began = time.perf_counter()
    work()
    wait(compute)
    return time.perf_counter() - began
