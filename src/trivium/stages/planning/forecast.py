"""What a stage will do, in numbers: passes through models, memory, and how both are counted."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Literal

import torch
from transformers import PreTrainedModel

from trivium import cost
from trivium.config import LoRA, Sampling
from trivium.cost import Reading
from trivium.models import Compute, Policy
from trivium.models.forward import LOGIT_ELEMENTS
from trivium.models.lora import adapter_parameters
from trivium.models.reordered import reordered_bytes
from trivium.models.shape import shape_of
from trivium.models.working_copy import working_bytes
from trivium.rewards.model import TOKENS_AT_ONCE
from trivium.rollouts.native import slots_for
from trivium.stages.rows import Rankings
from trivium.text import Sequences, from_lists, select

Kind = Literal["learn", "read", "fill", "write"]
"""With gradients; without; prompts read into slots; one token a slot at a time, each drawn."""

SLACK = 1.2
"""What the allocator holds for a backward pass over what is alive by count: tensors of ever new
sizes leave gaps. 1.25 to 1.3 was seen in PPO and reward model, 0.9 in SFT (docs/performance.md)."""

DRAWS = 256
"""Micro-batches that are drawn to find a typical and a large one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Passes through one model.

    Attributes:
        kind: what a pass is.
        model: the one that does it; on the meta device.
        passes: how many.
        reading: what they read in all.
        sample: text of one of them, as long and as ragged as the run's own; for "write", rows as
            long as what each slot looks back on.
        once: what that reads, counted as `reading` is.
        largest: the most that a pass reads.
    """

    kind: Kind
    model: PreTrainedModel
    passes: float
    reading: Reading
    sample: Sequences
    once: Reading
    largest: Reading

    def flops(self) -> int:
        """At the least."""
        shape = shape_of(self.model)
        if self.kind == "learn":
            return cost.training_flops(shape, self.reading).total
        return cost.forward_flops(shape, self.reading).total


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes at the busiest moments.

    Attributes:
        weights: of all networks.
        gradients: from the first backward of a step to its update.
        optimizer: Adam's moments.
        activations: kept for the largest backward, its logits included; see `kept`.
        update: what an update needs besides.
        reading: what one layer holds while the largest text is read, and its logits.
        past: keys and values while answers are written, and the copy of the weights that writes.
        programs: what the processor's library keeps for products of few rows.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    update: int
    reading: int
    past: int
    programs: int

    def peak(self) -> int:
        """Texts are read and written while there are no gradients; an update follows backward."""
        learning = self.gradients + max(self.activations, self.update)
        busiest = max(learning, self.past + self.reading)
        return self.weights + self.optimizer + self.programs + busiest


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """One stage.

    Attributes:
        updates: optimizer steps.
        trained: the networks that each of them moves.
        episodes: answers written to learn from, to rank or to compare.
        works: passes.
        memory: bytes held.
    """

    updates: int
    trained: tuple[PreTrainedModel, ...]
    episodes: int
    works: tuple[Work, ...]
    memory: Memory

    def tokens(self) -> int:
        """Read or written, by all models."""
        return sum(work.reading.tokens for work in self.works)

    def flops(self) -> int:
        """Of all passes."""
        return sum(work.flops() for work in self.works)


def work(
    kind: Kind,
    model: PreTrainedModel,
    passes: float,
    reading: Reading,
    sample: Sequences,
    *,
    once: Reading | None = None,
    largest: Reading | None = None,
) -> Work:
    """A `Work`; without ``once`` rows share nothing, without ``largest`` all passes are alike."""
    once = once or of_sequences(sample, predicted=reading.predicted > 0)
    return Work(
        kind=kind,
        model=model,
        passes=passes,
        reading=reading,
        sample=sample,
        once=once,
        largest=largest or once,
    )


def sampling_work(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    lengths: Sequence[int],
    sampling: Sampling,
    compute: Compute,
    *,
    rounds: int,
) -> list[Work]:
    """Prompts read (equal neighbours once), answers written, in ``rounds`` equal batches.

    Args:
        policy: what writes.
        prompts: token ids, one prompt for each answer.
        lengths: tokens of each answer.
        sampling: its limits.
        compute: device and dtype, on which the number of slots depends.
        rounds: calls of the sampler.
    """
    at_once = math.ceil(len(prompts) / rounds)
    capacity = max(map(len, prompts)) + sampling.max_response_tokens
    slots = min(slots_for(policy.model, capacity, compute), at_once)
    steps = sum(
        cost.decode_steps(lengths[i : i + at_once], slots=slots)
        for i in range(0, len(lengths), at_once)
    )
    read = cost.total(cost.tree(len(p), [], predicted=1) for p in prompts)
    whole = cost.total(cost.sampled(len(p), [r]) for p, r in zip(prompts, lengths, strict=True))
    written = Reading(
        tokens=whole.tokens - read.tokens,
        pairs=whole.pairs - read.pairs,
        predicted=whole.predicted - read.predicted,
    )
    once = from_lists(prompts[:at_once], [[] for _ in prompts[:at_once]])
    behind = [(len(p) + r // 2) for p, r in zip(prompts[:slots], lengths[:slots], strict=True)]
    past = from_lists([[] for _ in behind], [[0] * n for n in behind])
    return [
        work("fill", policy.model, rounds, read, once),
        work("write", policy.model, steps, written, past),
    ]


def episodes(prompts: Sequence[Sequence[int]], lengths: Sequence[int]) -> Sequences:
    """Prompts with answers of these lengths, whatever they say."""
    return from_lists(prompts, [[0] * n for n in lengths])


def scoring_work(judge: PreTrainedModel, rows: Sequences, *, times_over: float = 1) -> Work:
    """Texts read by a reward model, each on its own, ``times_over`` times."""
    read = times(of_sequences(rows, predicted=False), times_over)
    passes = times_over * max(1, int(rows.lengths.sum()) / TOKENS_AT_ONCE)
    return work("read", judge, passes, read, _first_tokens(rows))


def scoring_rankings(judge: PreTrainedModel, rankings: Rankings) -> Work:
    """All answers read once by a reward model, each prompt once for its answers."""
    sample = _first_tokens(rankings.sequences)
    inside = [i for i in range(rankings.num_prompts) if rankings.rows(i).stop <= len(sample)] or [0]
    sample = select(rankings.sequences, torch.arange(rankings.starts[inside[-1] + 1]))
    once = cost.total(tree_of(rankings, i) for i in inside)
    read = of_rankings(rankings)
    return work("read", judge, max(1, read.tokens / TOKENS_AT_ONCE), read, sample, once=once)


def _first_tokens(rows: Sequences) -> Sequences:
    """As many rows as a reward model takes at once, one at least."""
    inside = int((rows.lengths.cumsum(0) <= TOKENS_AT_ONCE).sum())
    return select(rows, torch.arange(max(1, inside)))


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
    return cost.total(tree_of(rankings, i) for i in range(rankings.num_prompts))


def tree_of(rankings: Rankings, prompt: int) -> Reading:
    """One prompt with its answers."""
    rows = rankings.rows(prompt)
    sequences = rankings.sequences
    responses = (sequences.lengths - sequences.prompt_lengths)[rows.start : rows.stop]
    return cost.tree(int(sequences.prompt_lengths[rows.start]), responses.tolist())


def times(reading: Reading, times: float) -> Reading:
    """The same text ``times`` times."""
    return Reading(
        tokens=round(reading.tokens * times),
        pairs=round(reading.pairs * times),
        predicted=round(reading.predicted * times),
    )


def draws(sizes: Sequence[int], count: int) -> Iterator[list[int]]:
    """Micro-batches of ``count`` rows as shuffling makes them, row numbers each."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(DRAWS):
        yield torch.randperm(len(sizes), generator=generator)[:count].tolist()


def typical(sizes: Sequence[int], count: int) -> list[int]:
    """The micro-batch, of those drawn, whose size is nearest to the mean."""
    wanted = min(count, len(sizes)) * sum(sizes) / len(sizes)
    return min(draws(sizes, count), key=lambda rows: abs(sum(sizes[i] for i in rows) - wanted))


def large(sizes: Sequence[int], count: int, *, passes: float) -> list[int]:
    """The largest of those drawn, of which there are no more than the run has."""
    drawn = islice(draws(sizes, count), max(1, round(passes)))
    return max(drawn, key=lambda rows: sum(sizes[i] for i in rows))


def typical_rows(sequences: Sequences, count: int) -> Sequences:
    """`typical`, of sequences."""
    return select(sequences, torch.tensor(typical(sequences.lengths.tolist(), count)))


def large_rows(sequences: Sequences, count: int, *, passes: float) -> Sequences:
    """`large`, of sequences."""
    rows = large(sequences.lengths.tolist(), count, passes=passes)
    return select(sequences, torch.tensor(rows))


def equal_rows(count: int, length: int) -> Sequences:
    """Packed examples of a stream."""
    return from_lists([[] for _ in range(count)], [[0] * length for _ in range(count)])


def repeated(works: Sequence[Work], number: float) -> list[Work]:
    """The same works ``number`` times, or a part of them."""
    return [
        replace(one, passes=one.passes * number, reading=times(one.reading, number))
        for one in works
    ]


def writing_bytes(
    policy: Policy, sampling: Sampling, longest_prompt: int, at_once: int, compute: Compute
) -> tuple[int, int]:
    """Bytes while ``at_once`` answers are written, besides weights as they are read; what stays.

    The first are keys, values and reordered weights, the second the programs that multiply these.
    """
    capacity, dtype = longest_prompt + sampling.max_response_tokens, compute.dtype
    slots = min(slots_for(policy.model, capacity, compute), at_once)
    shape = shape_of(policy.model)
    past = cost.memory_bytes(shape, slots=slots, capacity=capacity, number_bytes=dtype.itemsize)
    copy, programs = reordered_bytes(policy.model, compute.device, dtype, rows=slots)
    return past + copy, programs


def forecast(  # noqa: PLR0913 - a stage in numbers
    updates: int,
    episodes: int,
    works: Sequence[Work],
    *,
    trained: Sequence[PreTrainedModel],
    frozen: Sequence[PreTrainedModel],
    compute: Compute,
    lora: LoRA | None = None,
    activations: int = 0,
    update: int = 0,
    writing: tuple[int, int] = (0, 0),
) -> Forecast:
    """A stage that trains some networks and holds others, each fp32.

    Without ``activations`` they are those of the largest pass that learns. With ``lora`` of the
    trained ones only the adapters count: their trunks are among the frozen.
    """
    moved = sum(learned_parameters(model, lora) for model in trained)
    still = sum(model.num_parameters() for model in frozen)
    learning = [kept(w, compute.dtype) for w in works if w.kind == "learn"]
    reading = [kept(w, compute.dtype, layers=1) for w in works if w.kind in {"read", "fill"}]
    return Forecast(
        updates=updates,
        # An adapter is updated in no time worth counting.
        trained=() if lora is not None and lora.rank else tuple(trained),
        episodes=episodes,
        works=tuple(works),
        memory=Memory(
            weights=4 * (moved + still),
            gradients=4 * moved,
            optimizer=8 * moved,
            activations=activations or max(learning, default=0),
            update=update,
            reading=max(reading, default=0),
            past=writing[0],
            programs=writing[1],
        ),
    )


def kept(work: Work, dtype: torch.dtype, *, layers: int | None = None) -> int:
    """Bytes that the largest pass of a work holds, logits, their copy and that of weights included.

    ``layers``: of how many; without backward one layer's are held at a time. None: of all, and one
    layer's once more, for the gradients that backward makes on its way, with the allocator's gaps.
    """
    shape, largest = shape_of(work.model), work.largest
    logits = cost.logit_bytes(shape, largest.predicted, most=LOGIT_ELEMENTS)
    whole = cost.activation_bytes(shape, largest.tokens, number_bytes=dtype.itemsize)
    at_once = whole * (layers or shape.layers + 1) // shape.layers
    alive = working_bytes(work.model, dtype) + at_once + 2 * logits
    return alive if layers else round(SLACK * alive)


def learned_parameters(model: PreTrainedModel, lora: LoRA | None) -> int:
    """Numbers that an optimizer moves: all, or those of an adapter."""
    if lora is None or not lora.rank:
        return model.num_parameters()
    return adapter_parameters(model, lora)
