"""The one forward pass, against transformers' own in float64, one sequence at a time."""

import copy

import pytest
import torch
from torch import nn

from trivium.models import (
    forward,
    layout,
    response_logprobs,
    response_values,
    sequence_scores,
    token_losses,
)
from trivium.models.forward import hidden_states
from trivium.text import from_lists

VOCAB = 50
ARCHITECTURES = ["llama", "gpt2", "gpt_neox", "qwen2", "mistral"]  # mistral looks back 6 tokens


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request, tiny_model):
    return tiny_model(request.param, VOCAB)


@pytest.fixture(scope="module")
def llama(tiny_model):
    return tiny_model("llama", VOCAB)


@pytest.fixture(scope="module")
def rows():
    """Prompts and responses of many lengths, some empty; token 0, the padding, is among them."""
    generator = torch.Generator().manual_seed(1)
    lengths = [(3, 9), (12, 1), (0, 4), (20, 7), (5, 0), (1, 1), (40, 13)]
    return [
        [torch.randint(0, VOCAB, (n,), generator=generator).tolist() for n in pair]
        for pair in lengths
    ]


@pytest.fixture(scope="module")
def batch(rows):
    return from_lists([p for p, _ in rows], [r for _, r in rows])


def exact_logits(model, tokens):
    """(n, V) float64."""
    with torch.no_grad():
        return copy.deepcopy(model).double()(torch.tensor([tokens])).logits[0]


def exact_states(model, tokens):
    """(n, d) float64."""
    with torch.no_grad():
        output = copy.deepcopy(model).double()(torch.tensor([tokens]), output_hidden_states=True)
    return output.hidden_states[-1][0]


def exact_logprobs(model, rows, temperature, *, prompts_too=False):
    logprobs, entropies = [], []
    for prompt, response in rows:
        tokens = prompt + response
        logits = exact_logits(model, tokens) / temperature
        for i in range(1 if prompts_too else max(1, len(prompt)), len(tokens)):
            logprobs.append(torch.log_softmax(logits[i - 1], -1)[tokens[i]].item())
            entropies.append(torch.distributions.Categorical(logits=logits[i - 1]).entropy().item())
    return torch.tensor(logprobs), torch.tensor(entropies)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_and_entropy(model, rows, batch, cpu, temperature):
    expected, expected_entropy = exact_logprobs(model, rows, temperature)
    with torch.no_grad():
        got, entropy = response_logprobs(
            model, batch, cpu, temperature=temperature, with_entropy=True
        )
    assert got.dtype == torch.float32
    assert expected.std() > 0.5  # these distributions are not flat
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(entropy, expected_entropy, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prompts_too", [False, True])
def test_next_token_losses(model, rows, batch, cpu, prompts_too):
    expected, _ = exact_logprobs(model, rows, 1.0, prompts_too=prompts_too)
    with torch.no_grad():
        got = token_losses(model, batch, cpu, prompts_too=prompts_too)
    torch.testing.assert_close(got, -expected, rtol=1e-4, atol=1e-4)


def test_logits_in_small_chunks_change_nothing(llama, rows, batch, cpu, monkeypatch):
    expected, expected_entropy = exact_logprobs(llama, rows, 1.0)
    monkeypatch.setattr(forward, "LOGIT_ELEMENTS", 3 * VOCAB)
    with torch.no_grad():
        got, entropy = response_logprobs(llama, batch, cpu, temperature=1.0, with_entropy=True)
        losses = token_losses(llama, batch, cpu)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(entropy, expected_entropy, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(losses, -expected, rtol=1e-4, atol=1e-4)


def test_known_hidden_states_are_used(llama, batch, cpu):
    with torch.no_grad():
        hidden = hidden_states(llama, batch, cpu)
        direct, none = response_logprobs(llama, batch, cpu, temperature=1.0)
        given, _ = response_logprobs(llama, batch, cpu, temperature=1.0, hidden=hidden)
        flat, _ = response_logprobs(llama, batch, cpu, temperature=1.0, hidden=0 * hidden)
    assert none is None
    torch.testing.assert_close(given, direct)
    # no bias in the unembedding: zero states give every token the same probability
    torch.testing.assert_close(flat, torch.full_like(flat, -torch.tensor(float(VOCAB)).log()))


def test_nothing_but_empty_responses(llama, cpu):
    logprobs, _ = response_logprobs(llama, from_lists([[1, 2]], [[]]), cpu, temperature=1.0)
    assert logprobs.shape == (0,)


@pytest.mark.parametrize("min_block_tokens", [0, 30, 100_000])
def test_hidden_states_whatever_runs_together(
    model, rows, batch, cpu, monkeypatch, min_block_tokens
):
    monkeypatch.setattr(layout, "MIN_BLOCK_TOKENS", min_block_tokens)
    expected = torch.cat([exact_states(model, p + r) for p, r in rows])
    with torch.no_grad():
        got = hidden_states(model, batch, cpu)
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-4)


def test_values_and_scores_are_read_where_a_loop_reads_them(model, rows, batch, cpu):
    torch.manual_seed(3)
    head = nn.Linear(32, 1)
    exact_head = copy.deepcopy(head).double()
    values, scores = [], []
    for prompt, response in rows:
        outputs = exact_head(exact_states(model, prompt + response)).squeeze(-1)
        values += [
            outputs[i - 1].item() for i in range(max(1, len(prompt)), len(prompt) + len(response))
        ]
        scores.append(outputs[-1].item())
    with torch.no_grad():
        hidden = hidden_states(model, batch, cpu)
        got_values = response_values(head, hidden, batch)
        got_scores = sequence_scores(head, hidden, batch)
    torch.testing.assert_close(got_values, torch.tensor(values), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got_scores, torch.tensor(scores), rtol=1e-4, atol=1e-4)


def test_gradients_do_not_depend_on_the_company(llama, rows, batch, cpu):
    """A batch's gradient is the sum of its rows' gradients: padding takes no part."""

    def gradient(batches):
        llama.zero_grad()
        for part in batches:
            token_losses(llama, part, cpu).sum().backward()
        return [p.grad.clone() for p in llama.parameters()]

    together = gradient([batch])
    alone = gradient([from_lists([p], [r]) for p, r in rows])
    llama.zero_grad()
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
