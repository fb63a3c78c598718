"""The native engine: sample answers from a Hugging Face model, token by token.

Answers are written in slots of a preallocated memory. A finished answer leaves its slot and a
waiting prompt takes it; a prompt with several answers is read once. The log-probability of every
token is taken from the very logits it was drawn from.

Legend: B prompts, A answers being written, T the longest answer allowed, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from trivium.config import Sampling
from trivium.models import Compute
from trivium.models.attention import run_trunk
from trivium.models.layout import pack
from trivium.models.memory import Filling, Memory, bytes_per_token, new_memory, writing
from trivium.models.reordered import reordered_weights
from trivium.models.working_copy import working_copy
from trivium.rollouts.episodes import Episodes
from trivium.text import from_lists

MEMORY_BYTES = {"cpu": 2**29, "cuda": 2**33}
"""Keys and values of all slots together; more slots would not make matrix products faster."""

MOST_SLOTS = 512
LEAST_SLOTS = 16

REFILL_SHARE = 0.25
"""New prompts enter when this share of the slots is free: read together, they cost less."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """What has been written so far, and the dice.

    Attributes:
        uniforms: (B, T) the number each token is drawn with, so that an answer does not depend on
            what is written beside it.
        tokens: (B, T) ids drawn.
        logprobs: (B, T) their log-probabilities, nats.
        lengths: (B,) tokens drawn.
    """

    uniforms: Float[Tensor, "B T"]
    tokens: Int[Tensor, "B T"]
    logprobs: Float[Tensor, "B T"]
    lengths: Int[Tensor, " B"]


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    end_id: int,
    compute: Compute,
    generator: torch.Generator,
    slots: int | None = None,
) -> Episodes:
    """Draw one answer per prompt from softmax(logits / temperature).

    Args:
        model: a causal language model in eval mode.
        prompts: B lists of token ids, none empty; equal neighbours share the reading.
        sampling: temperature and the longest answer.
        end_id: the token that ends an answer; it is part of the answer.
        compute: device and dtype, the same as in training.
        generator: the only source of randomness, on the CPU.
        slots: answers written at once; None: what `MEMORY_BYTES` holds.

    Returns:
        B episodes in the order of the prompts.
    """
    size = (len(prompts), sampling.max_response_tokens)
    device = compute.device
    sheet = Sheet(
        uniforms=torch.rand(size, dtype=torch.float64, generator=generator).to(device),
        tokens=torch.zeros(size, dtype=torch.int64, device=device),
        logprobs=torch.zeros(size, device=device),
        lengths=torch.zeros(len(prompts), dtype=torch.int64, device=device),
    )
    capacity = max(map(len, prompts)) + sampling.max_response_tokens
    slots = min(slots or slots_for(model, capacity, compute), len(prompts))
    memory = new_memory(slots=slots, capacity=capacity)
    head = model.get_output_embeddings()
    assert head is not None
    # Long prompts first: what is left at the end is short. Neighbours that are equal stay so.
    waiting = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    active: list[int] = []
    with working_copy(model, compute.dtype), reordered_weights(model):
        while waiting or active:
            free = slots - len(active)
            if waiting and (not active or free >= max(1, REFILL_SHARE * slots)):
                entering, waiting = waiting[:free], waiting[free:]
                states = _read(model, [prompts[i] for i in entering], memory, len(active), compute)
                first = len(active)
                active += entering
            else:
                states = _write(model, prompts, sheet, active, memory, compute)
                first = 0
            logits = head(states)
            rows = torch.tensor(active[first:], device=device)
            going = _draw_onto(sheet, rows, logits, sampling, end_id)
            _leave(prompts, sheet, active, first, going.tolist(), memory)
    lengths = sheet.lengths.tolist()
    tokens, logprobs = sheet.tokens.cpu(), sheet.logprobs.cpu()
    responses = [row[:n].tolist() for row, n in zip(tokens, lengths, strict=True)]
    return Episodes(
        sequences=from_lists(prompts, responses),
        sampler_logprobs=torch.cat([row[:n] for row, n in zip(logprobs, lengths, strict=True)]),
        finished=torch.tensor([row[-1] == end_id for row in responses], dtype=torch.bool),
    )


def slots_for(model: PreTrainedModel, capacity: int, compute: Compute) -> int:
    """Slots of ``capacity`` tokens that fit into `MEMORY_BYTES`."""
    fitting = MEMORY_BYTES[compute.device.type] // (
        capacity * bytes_per_token(model, compute.dtype)
    )
    return min(MOST_SLOTS, max(LEAST_SLOTS, fitting))


def draw(
    logits: Float[Tensor, "A V"], uniforms: Float[Tensor, " A"], *, temperature: float
) -> tuple[Int[Tensor, " A"], Float[Tensor, " A"]]:
    """One token per row from softmax(logits / temperature), and its log-probability.

    By the inverse of the cumulative distribution: one uniform number a row in place of one
    exponential per vocabulary entry, summed in float64 so that 50k entries lose nothing.
    """
    scaled = logits.float() / temperature
    scaled = scaled - scaled.amax(dim=-1, keepdim=True)
    cumulative = scaled.exp().cumsum(dim=-1, dtype=torch.float64)
    total = cumulative[:, -1:]
    # Rounded up to the total, the threshold would fall behind the last possible token.
    below_total = torch.nextafter(total, torch.zeros_like(total))
    threshold = torch.minimum(uniforms[:, None] * total, below_total)
    tokens = torch.searchsorted(cumulative, threshold, right=True)
    logprobs = scaled.gather(1, tokens).double() - total.log()
    return tokens.squeeze(1), logprobs.squeeze(1).float()


def _read(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    memory: Memory,
    first_slot: int,
    compute: Compute,
) -> Float[Tensor, "n d"]:
    """Read new prompts into the slots from ``first_slot`` on; their last states."""
    batch = from_lists(prompts, [[] for _ in prompts])
    forest = pack(batch).to(compute.device)
    slot = torch.arange(first_slot, first_slot + len(prompts)).repeat_interleave(batch.lengths)
    place = torch.cat([torch.arange(n) for n in batch.lengths.tolist()])
    filling = Filling(
        forest=forest,
        memory=memory,
        sources=forest.expand,
        rows=slot.to(compute.device),
        places=place.to(compute.device),
    )
    hidden = run_trunk(model, forest.tokens, forest.positions, filling, compute)
    last = (batch.offsets + batch.lengths - 1).to(compute.device)
    return hidden[forest.expand[last]]


def _write(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    sheet: Sheet,
    active: list[int],
    memory: Memory,
    compute: Compute,
) -> Float[Tensor, "A d"]:
    """Feed each answer's newest token; the states that the next ones are drawn from."""
    rows = torch.tensor(active, device=compute.device)
    written = sheet.lengths[rows]
    newest = sheet.tokens[rows, written - 1]
    prompt_lengths = torch.tensor([len(prompts[i]) for i in active], device=compute.device)
    past = prompt_lengths + written - 1
    return run_trunk(model, newest, past, writing(memory, past), compute)


def _draw_onto(
    sheet: Sheet,
    rows: Int[Tensor, " A"],
    logits: Float[Tensor, "A V"],
    sampling: Sampling,
    end_id: int,
) -> Tensor:
    """Draw the next token of the given answers; (A,) True where the answer goes on."""
    place = sheet.lengths[rows]
    tokens, logprobs = draw(logits, sheet.uniforms[rows, place], temperature=sampling.temperature)
    sheet.tokens[rows, place] = tokens
    sheet.logprobs[rows, place] = logprobs
    sheet.lengths[rows] = place + 1
    return (tokens != end_id) & (place + 1 < sampling.max_response_tokens)


def _leave(
    prompts: Sequence[Sequence[int]],
    sheet: Sheet,
    active: list[int],
    first: int,
    going: list[bool],
    memory: Memory,
) -> None:
    """Finished answers leave; the last slots in use move into theirs. ``active`` is changed."""
    for slot in reversed([first + i for i, goes_on in enumerate(going) if not goes_on]):
        last = len(active) - 1
        if slot != last:
            row = active[last]
            memory.move(last, slot, len(prompts[row]) + int(sheet.lengths[row]))
            active[slot] = row
        active.pop()
