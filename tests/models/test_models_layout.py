"""Packing and prefix trees: exact forward and gradient, and no token computed twice."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM, BloomConfig

from trivium.errors import UserError
from trivium.models import layout
from trivium.models.attention import Law, attend_forest, use_layouts
from trivium.models.forward import hidden_states
from trivium.models.layout import pack
from trivium.text import from_lists

VOCAB = 50
ARCHITECTURES = ["llama", "gpt2", "gpt_neox", "qwen2", "mistral"]  # mistral looks back 6 tokens


def words(generator, count):
    return torch.randint(0, VOCAB, (count,), generator=generator).tolist()


@pytest.fixture
def trees():
    """Three answers to one prompt, four to another, strangers between, empty answers, no prompt."""
    g = torch.Generator().manual_seed(5)
    one, two, lone = words(g, 11), words(g, 3), words(g, 6)
    prompts = [one, two, lone, one, two, [], one, two, [], two]
    lengths = [4, 7, 5, 0, 1, 8, 13, 2, 3, 2]
    return prompts, [words(g, n) for n in lengths]


def loop_in_float64(model, prompts, responses):
    """Every sequence alone through transformers: states (N, d) and the model that made them."""
    exact = copy.deepcopy(model).double()
    exact.set_attn_implementation("eager")
    rows = [
        exact(torch.tensor([p + r]), output_hidden_states=True).hidden_states[-1][0]
        for p, r in zip(prompts, responses, strict=True)
    ]
    return torch.cat(rows), exact


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("min_block_tokens", [0, 512])
def test_states_and_gradients_equal_a_loop(
    tiny_model, cpu, trees, architecture, min_block_tokens, monkeypatch
):
    monkeypatch.setattr(layout, "MIN_BLOCK_TOKENS", min_block_tokens)
    model = tiny_model(architecture, VOCAB)
    expected, exact = loop_in_float64(model, *trees)
    got = hidden_states(model, from_lists(*trees), cpu)
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-4)

    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(6))
    (expected * weights.double()).sum().backward()
    model.zero_grad()
    (got * weights).sum().backward()
    for (name, mine), theirs in zip(
        model.base_model.named_parameters(), exact.base_model.parameters(), strict=True
    ):
        torch.testing.assert_close(
            mine.grad.double(), theirs.grad, rtol=1e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_gradients_are_the_same_bits_however_many_threads_add_them(tiny_model, cpu):
    """Eighty answers share a prompt: what flows back into its keys has one order."""
    model, g = tiny_model("llama", VOCAB), torch.Generator().manual_seed(5)
    prompt = words(g, 40)
    rows = from_lists([prompt] * 80, [words(g, 5 + i % 7) for i in range(80)])
    before, seen = torch.get_num_threads(), set()
    torch.set_num_threads(4)
    try:
        for _ in range(8):
            model.zero_grad()
            hidden_states(model, rows, cpu).square().sum().backward()
            grads = [p.grad.flatten() for p in model.base_model.parameters() if p.grad is not None]
            seen.add(torch.cat(grads).numpy().tobytes())
    finally:
        torch.set_num_threads(before)
    assert len(seen) == 1


def test_a_shared_prompt_is_computed_once(trees):
    prompts, responses = trees
    forest = pack(from_lists(prompts, responses))
    # 11 and 3 are shared, 6 stands alone, two have no prompt: P of each once, every response once.
    assert len(forest.tokens) == 11 + 3 + 6 + sum(map(len, responses))
    flat = [t for p, r in zip(prompts, responses, strict=True) for t in p + r]
    assert forest.tokens[forest.expand].tolist() == flat
    positions = [i for p, r in zip(prompts, responses, strict=True) for i in range(len(p) + len(r))]
    assert forest.positions[forest.expand].tolist() == positions


def test_nine_answers_cost_one_prompt_and_nine_answers():
    forest = pack(from_lists([[1] * 40] * 9, [[2] * n for n in range(10, 19)]))
    assert len(forest.tokens) == 40 + sum(range(10, 19))


def test_attention_equals_one_dense_mask(trees):
    """The oracle: M x M, True where a token may look, straight from the sequences."""
    forest = pack(from_lists(*trees))
    m, heads, groups, e = len(forest.tokens), 4, 2, 8
    dense = torch.zeros(m, m, dtype=torch.bool)
    start = 0
    for p, r in zip(*trees, strict=True):
        places = forest.expand[start : start + len(p) + len(r)].tolist()
        start += len(places)
        for i, q in enumerate(places):
            dense[q, places[: i + 1]] = True
    g = torch.Generator().manual_seed(7)
    query = torch.randn(m, heads, e, generator=g, dtype=torch.float64)
    key, value = (torch.randn(m, groups, e, generator=g, dtype=torch.float64) for _ in range(2))
    wide_k, wide_v = (x.repeat_interleave(heads // groups, dim=1) for x in (key, value))
    scores = torch.einsum("qhe,khe->hqk", query, wide_k) * 0.3
    scores = scores.masked_fill(~dense, -torch.inf)
    expected = torch.einsum("hqk,khe->qhe", scores.softmax(-1), wide_v)
    got = attend_forest(forest, query, key, value, Law(scale=0.3, dropout=0.0, window=None))
    torch.testing.assert_close(got, expected)


def test_equal_lengths_are_not_gathered():
    forest = pack(from_lists([[]] * 3, [[1, 2], [3, 4], [5, 6]]))
    assert [b.whole for b in forest.blocks] == [(0, 3, 2)]


def test_an_architecture_without_exchangeable_attention_is_refused():
    model = AutoModelForCausalLM.from_config(
        BloomConfig(vocab_size=VOCAB, hidden_size=16, n_layer=1, n_head=2)
    )
    with pytest.raises(UserError, match=r"Bloom.*attention"):
        use_layouts(model)
