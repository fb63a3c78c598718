"""The native engine: sample answers from a Hugging Face model, token by token, with a KV cache.

Prompts are padded on the left inside this file and nowhere else. Finished rows leave the batch, so
that no time goes into rows that are done. The log-probability of every token is taken from the very
logits it was drawn from.

Legend: B prompts, A rows still being written, V vocabulary.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from trivium.config import Sampling
from trivium.models import Compute
from trivium.rollouts.episodes import Episodes
from trivium.text import from_lists


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    end_id: int,
    compute: Compute,
    generator: torch.Generator,
    rows_at_once: int = 128,
) -> Episodes:
    """Draw one answer per prompt from softmax(logits / temperature).

    Args:
        model: a causal language model in eval mode.
        prompts: B lists of token ids.
        sampling: temperature and the longest answer.
        end_id: the token that ends an answer; it is part of the answer.
        compute: device and dtype, the same as in training.
        generator: the only source of randomness, on the CPU.
        rows_at_once: prompts in one batch; longest prompts first, to waste little padding.

    Returns:
        B episodes in the order of the prompts.
    """
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    responses: list[list[int]] = [[] for _ in prompts]
    logprobs: list[list[float]] = [[] for _ in prompts]
    for start in range(0, len(order), rows_at_once):
        rows = order[start : start + rows_at_once]
        tokens, logps = _generate_batch(
            model, [prompts[i] for i in rows], sampling, end_id, compute, generator
        )
        for i, row_tokens, row_logps in zip(rows, tokens, logps, strict=True):
            responses[i], logprobs[i] = row_tokens, row_logps
    return Episodes(
        sequences=from_lists(prompts, responses),
        sampler_logprobs=torch.tensor([x for row in logprobs for x in row], dtype=torch.float32),
        finished=torch.tensor([row[-1] == end_id for row in responses], dtype=torch.bool),
    )


def draw(
    logits: Float[Tensor, "A V"], generator: torch.Generator, *, temperature: float
) -> tuple[Int[Tensor, " A"], Float[Tensor, " A"]]:
    """One token per row from softmax(logits / temperature), and its log-probability.

    By the inverse of the cumulative distribution: one uniform number a row in place of one
    exponential per vocabulary entry, summed in float64 so that 50k entries lose nothing.
    """
    logprobs = torch.log_softmax(logits.float() / temperature, dim=-1)
    cumulative = logprobs.double().exp().cumsum(dim=-1)
    uniform = torch.rand(len(logits), 1, dtype=torch.float64, generator=generator)
    threshold = uniform.to(logits.device) * cumulative[:, -1:]
    tokens = torch.searchsorted(cumulative, threshold, right=True).clamp(max=logits.shape[-1] - 1)
    return tokens.squeeze(1), logprobs.gather(1, tokens).squeeze(1)


def _generate_batch(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    end_id: int,
    compute: Compute,
    generator: torch.Generator,
) -> tuple[list[list[int]], list[list[float]]]:
    ids, attention = _pad_left(prompts, compute)
    positions = (attention.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    active = torch.arange(len(prompts), device=compute.device)
    responses: list[list[int]] = [[] for _ in prompts]
    logprobs: list[list[float]] = [[] for _ in prompts]
    for _ in range(sampling.max_response_tokens):
        with compute.autocast():
            logits = model(
                input_ids=ids,
                attention_mask=attention,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
        tokens, logps = draw(logits, generator, temperature=sampling.temperature)
        for row, token, logp in zip(active.tolist(), tokens.tolist(), logps.tolist(), strict=True):
            responses[row].append(token)
            logprobs[row].append(logp)
        going = (tokens != end_id).nonzero().squeeze(1)
        if len(going) == 0:
            break
        if len(going) < len(active):
            cache.batch_select_indices(going)
            active, attention = active[going], attention[going]
            tokens, positions = tokens[going], positions[going]
        ids = tokens[:, None]
        attention = torch.cat([attention, attention.new_ones(len(active), 1)], dim=1)
        positions = positions[:, -1:] + 1
    return responses, logprobs


def _pad_left(
    prompts: Sequence[Sequence[int]], compute: Compute
) -> tuple[Int[Tensor, "B P"], Int[Tensor, "B P"]]:
    width = max(len(p) for p in prompts)
    ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts])
    attention = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    return ids.to(compute.device), attention.to(compute.device)
