"""What a stage will do, in numbers: passes through models, memory, and how both are counted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import torch
from transformers import PreTrainedModel

from trivium import cost
from trivium.config import LoRA, Sampling
from trivium.cost import Reading
from trivium.models import Policy
from trivium.models.forward import LOGIT_ELEMENTS
from trivium.models.lora import adapter_parameters
from trivium.models.pace import Kind
from trivium.models.shape import shape_of
from trivium.rewards.model import TOKENS_AT_ONCE
from trivium.rollouts.native import slots_for
from trivium.stages.rows import Rankings
from trivium.text import Sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Passes through one model.

    Attributes:
        kind: with gradients, without, or a token at a time.
        model: the one that does it; on the meta device.
        passes: forward passes.
        reading: what they read in all.
    """

    kind: Kind
    model: PreTrainedModel
    passes: float
    reading: Reading

    def flops(self) -> int:
        """At the least."""
        shape = shape_of(self.model)
        if self.kind == "learn":
            return cost.training_flops(shape, self.reading).total
        return cost.forward_flops(shape, self.reading).total


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes at the busiest moment; `past` is keys and values, and sampling frees it."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    past: int

    def peak(self) -> int:
        """Activations and the past are never held together."""
        held = self.weights + self.gradients + self.optimizer
        return held + max(self.activations, self.past)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """One stage. ``updated`` is parameters moved, over all updates."""

    updates: int
    updated: int
    episodes: int
    works: tuple[Work, ...]
    memory: Memory

    def tokens(self) -> int:
        """Read or written, by all models."""
        return sum(work.reading.tokens for work in self.works)

    def flops(self) -> int:
        """Of all passes."""
        return sum(work.flops() for work in self.works)


def sampling_work(
    policy: Policy,
    prompts: Sequence[int],
    lengths: Sequence[int],
    sampling: Sampling,
    *,
    rounds: int,
) -> list[Work]:
    """Prompts read (equal neighbours once), answers written, in ``rounds`` equal batches."""
    at_once = math.ceil(len(prompts) / rounds)
    slots = min(_slots(policy, max(prompts) + sampling.max_response_tokens), at_once)
    steps = sum(
        cost.decode_steps(lengths[i : i + at_once], slots=slots)
        for i in range(0, len(lengths), at_once)
    )
    read = cost.total(cost.tree(p, [], predicted=1) for p in prompts)
    whole = cost.total(cost.sampled(p, [r]) for p, r in zip(prompts, lengths, strict=True))
    written = Reading(
        tokens=whole.tokens - read.tokens,
        pairs=whole.pairs - read.pairs,
        predicted=whole.predicted - read.predicted,
    )
    fillings = rounds * max(1, 4 * (at_once - slots) // slots + 1)
    return [
        work("read", policy.model, fillings, read),
        work("write", policy.model, steps, written),
    ]


def scoring_work(
    judge: PreTrainedModel, prompts: Sequence[int], lengths: Sequence[int], *, rounds: int = 1
) -> Work:
    """Answers read once by a reward model."""
    read = cost.total(cost.tree(p, [r]) for p, r in zip(prompts, lengths, strict=True))
    return work("read", judge, max(rounds, read.tokens / TOKENS_AT_ONCE), read)


def answer_lengths(sampling: Sampling, known: Sequence[int], count: int) -> list[int]:
    """Lengths of ``count`` answers."""
    cut = [min(n, sampling.max_response_tokens) for n in known] or [sampling.max_response_tokens]
    return list(islice(cycle(cut), count))


def of_sequences(
    sequences: Sequences, *, prompts_too: bool = False, predicted: bool = True
) -> Reading:
    """Each row read on its own."""
    pairs = zip(sequences.prompt_lengths.tolist(), sequences.lengths.tolist(), strict=True)
    read = cost.total(cost.tree(p, [n - p]) for p, n in pairs)
    count = len(sequences.predicted(prompts_too=prompts_too)) if predicted else 0
    return Reading(tokens=read.tokens, pairs=read.pairs, predicted=count)


def of_rankings(rankings: Rankings) -> Reading:
    """Each prompt read once for all its answers."""
    responses = rankings.sequences.response_lengths.tolist()
    prompts = rankings.sequences.prompt_lengths.tolist()
    rows = [rankings.rows(i) for i in range(len(rankings))]
    return cost.total(cost.tree(prompts[r[0]], [responses[i] for i in r]) for r in rows)


def times(reading: Reading, times: float) -> Reading:
    """The same text ``times`` times."""
    return Reading(
        tokens=round(reading.tokens * times),
        pairs=round(reading.pairs * times),
        predicted=round(reading.predicted * times),
    )


def work(kind: Kind, model: PreTrainedModel, passes: float, reading: Reading) -> Work:
    """A `Work`, in one line."""
    return Work(kind=kind, model=model, passes=passes, reading=reading)


def _slots(policy: Policy, capacity: int) -> int:
    return slots_for(policy.model, capacity, _device())


def past_bytes(policy: Policy, sampling: Sampling, longest_prompt: int, at_once: int) -> int:
    """Bytes of keys and values while ``at_once`` answers are wanted."""
    capacity = longest_prompt + sampling.max_response_tokens
    slots = min(_slots(policy, capacity), at_once)
    return cost.memory_bytes(shape_of(policy.model), slots=slots, capacity=capacity, number_bytes=4)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def forecast(
    updates: int,
    episodes: int,
    works: Sequence[Work],
    *,
    trained: Sequence[PreTrainedModel],
    frozen: Sequence[PreTrainedModel],
    lora: LoRA | None = None,
    spare: int = 0,
    past: int = 0,
) -> Forecast:
    """A stage that trains some networks and holds others, each fp32; ``spare`` bytes besides.

    With ``lora`` of the trained ones only the adapters count: their trunks are among the frozen.
    """
    moved = sum(learned_parameters(model, lora) for model in trained)
    still = sum(model.num_parameters() for model in frozen)
    return Forecast(
        updates=updates,
        updated=updates * moved,
        episodes=episodes,
        works=tuple(works),
        memory=Memory(
            weights=4 * (moved + still),
            gradients=4 * moved,
            optimizer=8 * moved,
            activations=spare + _activations(works, len(trained)),
            past=past,
        ),
    )


def learned_parameters(model: PreTrainedModel, lora: LoRA | None) -> int:
    """Numbers that an optimizer moves: all, or those of an adapter."""
    if lora is None or not lora.rank:
        return model.num_parameters()
    return adapter_parameters(model, lora)


def _activations(works: Sequence[Work], networks: int) -> int:
    """Of the largest micro-batch; policy and critic are held together until their backward."""
    largest = 0
    for work in works:
        if work.kind == "learn":
            shape, tokens = shape_of(work.model), math.ceil(work.reading.tokens / work.passes)
            rows = math.ceil(work.reading.predicted / work.passes)
            kept = cost.activation_bytes(shape, tokens, number_bytes=4)
            logits = 2 * cost.logit_bytes(shape, rows, most=LOGIT_ELEMENTS)
            largest = max(largest, max(1, networks) * kept + logits)
    return largest
