"""How long a stage's passes and updates take: each is done once or a few times, and scaled.

A pass is tried on text as long and as ragged as the run's own. A model with many layers is tried
with one and with three of them: time is a straight line in layers, exactly, since they are alike.
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
from trivium.models.pace import random_model, wait
from trivium.models.shape import shape_of
from trivium.rollouts import generate
from trivium.stages.forecast import Forecast, Work
from trivium.stages.optimise import adamw
from trivium.text import Sequences, select

FEW_LAYERS = (1, 3)
WHOLE_LAYERS = 6
"""Models with no more layers are tried whole."""

CUT_TOKENS = 1024
"""Tokens of a pass through a model that is not whole; what more of them take is proportional."""

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
    """The networks that are tried, and what was found: works of equal shape are timed once.

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
        few = max(1, len(work.sample) // FEWER_SLOTS)
        many = _write_seconds(work, len(work.sample), trial)
        if few == len(work.sample):
            return work.passes * many
        each = max(0.0, (many - _write_seconds(work, few, trial)) / (len(work.sample) - few))
        fixed = max(0.0, many - each * len(work.sample))
        return work.passes * fixed + work.reading.tokens * each
    rows = _affordable(work)
    part = int(rows.lengths.sum()) / int(work.sample.lengths.sum())
    passes = work.reading.tokens / (part * work.once.tokens)
    predicted = work.reading.predicted > 0
    name = f"{work.kind} {predicted}"
    tried = {"learn": _learn, "read": _read, "fill": _fill}[work.kind]

    def one(model: PreTrainedModel) -> float:
        return _seconds(lambda: tried(model, rows, trial.compute, predicted), trial.compute)

    return passes * over_layers(work.model, name, _print(rows), one, trial)


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

        try:
            return _seconds(update, trial.compute)
        finally:
            network.zero_grad(set_to_none=True)

    return over_layers(model, "update", b"", one, trial)


def _write_seconds(work: Work, slots: int, trial: Trial) -> float:
    """Of one step of so many slots: what `WRITTEN` tokens take more than the first alone."""
    prompts = _prompts(select(work.sample, torch.arange(slots)))

    def one(model: PreTrainedModel) -> float:
        short, long = (
            _seconds(lambda n=n: _answers(model, prompts, n, trial.compute), trial.compute)
            for n in (1, WRITTEN + 1)
        )
        return max(0.0, long - short) / WRITTEN

    print_ = _print(work.sample) + slots.to_bytes(4, "little")
    return over_layers(work.model, "write", print_, one, trial)


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
    _answers(model, _prompts(rows), 1, compute)


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


def _prompts(rows: Sequences) -> list[list[int]]:
    return [piece.tolist() for piece in rows.tokens.split(rows.lengths.tolist())]


def _affordable(work: Work) -> Sequences:
    """The sample, or its first rows where the model is too large to be tried whole."""
    rows = work.sample
    if _layers(work.model.config) <= WHOLE_LAYERS:
        return rows
    inside = int((rows.lengths.cumsum(0) <= CUT_TOKENS).sum())
    return select(rows, torch.arange(max(1, inside)))


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


def _print(rows: Sequences) -> bytes:
    """What tells apart texts that take different times: the lengths of their parts."""
    return rows.lengths.numpy().tobytes() + rows.prompt_lengths.numpy().tobytes()


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
