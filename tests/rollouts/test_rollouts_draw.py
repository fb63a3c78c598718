"""One token at a time: the law of `draw`, against softmax and a chi-square test."""

import pytest
import torch
from scipy.stats import chisquare

from trivium.rollouts.native import draw

LOGITS = torch.tensor([1.5, -0.3, 0.0, 2.2, -1.0, 0.7, 1.1, -2.0])
DRAWS = 20_000


def dice(count, generator):
    return torch.rand(count, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_draws_follow_softmax_of_logits_over_temperature(temperature):
    generator = torch.Generator().manual_seed(11)
    tokens, _ = draw(LOGITS.expand(DRAWS, -1), dice(DRAWS, generator), temperature=temperature)
    law = torch.softmax(LOGITS.double() / temperature, 0)
    counts = torch.bincount(tokens, minlength=len(LOGITS)).numpy()
    assert chisquare(counts, (law / law.sum()).numpy() * DRAWS).pvalue > 1e-3
    other = torch.softmax(LOGITS.double() / (temperature + 0.1), 0)  # the test would see a tenth
    assert chisquare(counts, (other / other.sum()).numpy() * DRAWS).pvalue < 1e-3


def test_rows_are_drawn_independently():
    """Pairs of two rows follow the product of the two laws."""
    generator = torch.Generator().manual_seed(12)
    law = torch.softmax(LOGITS.double(), 0)
    tokens, _ = draw(LOGITS.expand(2 * DRAWS, -1), dice(2 * DRAWS, generator), temperature=1.0)
    a, b = tokens.view(2, DRAWS)
    pairs = torch.bincount(a * len(LOGITS) + b, minlength=len(LOGITS) ** 2).numpy()
    expected = torch.outer(law, law).flatten()
    assert chisquare(pairs, (expected / expected.sum()).numpy() * DRAWS).pvalue > 1e-3


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_of_what_was_drawn(temperature):
    generator = torch.Generator().manual_seed(13)
    logits = 4 * torch.randn(64, 1000, generator=generator)
    tokens, logprobs = draw(logits, dice(64, generator), temperature=temperature)
    expected = torch.log_softmax(logits.double() / temperature, -1).gather(1, tokens[:, None])
    torch.testing.assert_close(logprobs.double(), expected.squeeze(1), rtol=1e-5, atol=1e-5)


def test_a_token_of_probability_zero_is_never_drawn():
    logits = torch.full((2_000, 5), float("-inf"))
    logits[:, 2] = 0.0
    logits[:, 3] = 1.0
    uniforms = dice(2_000, torch.Generator().manual_seed(14))
    uniforms[:2] = torch.tensor([0.0, 1.0 - 2**-53])  # the very ends of what a generator gives
    tokens, _ = draw(logits, uniforms, temperature=1.0)
    assert set(tokens.tolist()) == {2, 3}
