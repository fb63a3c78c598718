"""Forward passes over ragged text, packed: matrix products see real tokens alone.

Legend: B sequences, N tokens in all, R predicted tokens in all, d hidden size, V vocabulary.
Logits at position p describe token p + 1; the value of the state before token p + 1 is read there
too. So everything about a response token is read one position before it.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from trivium.maths import entropy
from trivium.models.attention import Packed, run_trunk
from trivium.models.compute import Compute
from trivium.models.layout import pack
from trivium.models.unembedding import chunked_logprobs, logits_of
from trivium.text import Sequences

LOGIT_ELEMENTS = 32_000_000
"""Logits are made in chunks of about this many numbers (128 MB in fp32)."""


def hidden_states(
    model: PreTrainedModel, sequences: Sequences, compute: Compute
) -> Float[Tensor, "N d"]:
    """Last hidden state of every token, flat; a prompt that several sequences share is run once."""
    forest = pack(sequences).to(compute.device)
    hidden = run_trunk(model, forest.tokens, forest.positions, Packed(forest), compute)
    # Not hidden[...]: threads would add up its gradient in whatever order they come.
    return hidden.index_select(0, forest.expand)


def response_logprobs(
    model: PreTrainedModel,
    sequences: Sequences,
    compute: Compute,
    *,
    temperature: float,
    with_entropy: bool = False,
    hidden: Float[Tensor, "N d"] | None = None,
) -> tuple[Float[Tensor, " R"], Float[Tensor, " R"] | None]:
    """log pi(y_t | x, y_<t) of every response token in nats, flat, fp32.

    Args:
        model: a causal language model.
        sequences: B prompts with responses.
        compute: device, and dtype of the pass.
        temperature: divides the logits; the one the responses were sampled with.
        with_entropy: also return the entropy of each token's distribution, in nats.
        hidden: the trunk's hidden states if they are known already.

    Returns:
        (R,) log-probabilities, and (R,) entropies or None.
    """
    if hidden is None:
        hidden = hidden_states(model, sequences, compute)
    positions = sequences.predicted().to(compute.device)
    targets = sequences.tokens.to(compute.device)[positions]
    states, head, rows = hidden[positions - 1], _unembedding(model), _rows_at_once(model)
    logprobs = chunked_logprobs(head, states, targets, temperature=temperature, rows=rows)
    if not with_entropy:
        return logprobs, None
    parts = [_entropy(head, part, temperature) for part in states.split(rows)]
    return logprobs, torch.cat(parts)


def response_logits(
    model: PreTrainedModel, sequences: Sequences, compute: Compute, *, temperature: float
) -> Float[Tensor, "R V"]:
    """The logits that each response token was drawn with, fp32: the whole law of each state.

    Made at once: V numbers a token, so the caller passes few sequences.
    """
    hidden = hidden_states(model, sequences, compute)
    positions = sequences.predicted().to(compute.device)
    return logits_of(_unembedding(model), hidden[positions - 1]).float() / temperature


def token_losses(
    model: PreTrainedModel, sequences: Sequences, compute: Compute, *, prompts_too: bool = False
) -> Float[Tensor, " R"]:
    """-log p of every predicted token at temperature 1, flat, fp32: the next-token loss."""
    hidden = hidden_states(model, sequences, compute)
    positions = sequences.predicted(prompts_too=prompts_too).to(compute.device)
    targets = sequences.tokens.to(compute.device)[positions]
    head, rows = _unembedding(model), _rows_at_once(model)
    return -chunked_logprobs(head, hidden[positions - 1], targets, temperature=1.0, rows=rows)


def response_values(
    head: nn.Module, hidden: Float[Tensor, "N d"], sequences: Sequences
) -> Float[Tensor, " R"]:
    """V(s_t) before each response token is emitted, flat, fp32."""
    positions = sequences.predicted().to(hidden.device)
    # The head stays fp32, whatever the trunk's dtype: values are.
    return head(hidden[positions - 1].float()).squeeze(-1)


def sequence_scores(
    head: nn.Module, hidden: Float[Tensor, "N d"], sequences: Sequences
) -> Float[Tensor, " B"]:
    """The reward model's score, read at each sequence's last token, fp32."""
    last = (sequences.offsets + sequences.lengths - 1).to(hidden.device)
    return head(hidden[last].float()).squeeze(-1)


def _entropy(head: nn.Linear, hidden: Float[Tensor, "n d"], temperature: float) -> Tensor:
    """Entropies of one chunk; its logits are made again for backward."""

    def of(states: Tensor) -> Tensor:
        return entropy(logits_of(head, states), temperature=temperature)

    return checkpoint(of, hidden, use_reentrant=False)  # pyright: ignore[reportReturnType]


def _unembedding(model: PreTrainedModel) -> nn.Linear:
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Linear), f"{type(model).__name__} has no linear unembedding"
    return head


def _rows_at_once(model: PreTrainedModel) -> int:
    return max(1, LOGIT_ELEMENTS // _unembedding(model).weight.shape[0])
