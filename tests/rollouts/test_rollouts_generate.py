"""Whole answers: a rigged model that counts, and sampler against training forward."""

import pytest
import torch

from trivium.config import Sampling
from trivium.models import response_logprobs
from trivium.rollouts import Episodes, generate, take_episodes
from trivium.text import from_lists

VOCAB, END = 24, 20


@pytest.fixture(scope="module")
def counter(tiny_model):
    """After token v it says v + 1: the layers add nothing, and v's row points at v + 1."""
    model = tiny_model("llama", VOCAB)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        one_hot = torch.eye(VOCAB, 32)
        model.model.embed_tokens.weight.copy_(one_hot)
        model.lm_head.weight.copy_(20 * one_hot.roll(1, dims=0))  # logits 113 against 0
    return model


def sample(model, prompts, cpu, *, most=10, temperature=1.0, seed=0, **options):
    return generate(
        model,
        prompts,
        Sampling(max_response_tokens=most, temperature=temperature),
        end_id=END,
        compute=cpu,
        generator=torch.Generator().manual_seed(seed),
        **options,
    )


COUNTED = {  # prompt -> answer of at most 10 tokens
    (3, 17): [18, 19, 20],
    (5,): [6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    (20, 20, 1, 19): [20],  # an end in the prompt ends nothing
    (9, 9, 9, 9, 9, 9, 9, 10): [11, 12, 13, 14, 15, 16, 17, 18, 19, 20],
    (2, 22): [23, 0, 1, 2, 3, 4, 5, 6, 7, 8],
    (0, 1, 14): [15, 16, 17, 18, 19, 20],
}


@pytest.mark.parametrize("slots", [1, 2, 4, 128])
def test_a_model_that_counts(counter, cpu, slots):
    prompts = [list(p) for p in COUNTED]
    episodes = sample(counter, prompts, cpu, slots=slots)
    assert episodes.responses() == list(COUNTED.values())
    # the fourth is done with its very last token, the second and fifth were cut off
    assert episodes.finished.tolist() == [True, False, True, True, False, True]
    rows = episodes.sequences.tokens.split(episodes.sequences.lengths.tolist())
    heads = zip(rows, episodes.sequences.prompt_lengths.tolist(), strict=True)
    assert [row[:n].tolist() for row, n in heads] == prompts
    torch.testing.assert_close(
        episodes.sampler_logprobs, torch.zeros(sum(map(len, COUNTED.values())))
    )


@pytest.mark.parametrize("most", [1, 3])
def test_answers_are_no_longer_than_asked(counter, cpu, most):
    episodes = sample(counter, [list(p) for p in COUNTED], cpu, most=most)
    assert episodes.responses() == [answer[:most] for answer in COUNTED.values()]


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "qwen2", "mistral"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_sampler_and_the_training_forward_agree(tiny_model, cpu, architecture, temperature):
    """A memory, answers that leave and prompts that enter change no log-probability."""
    model = tiny_model(architecture, VOCAB, seed=3)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(0.4)  # flat enough that some rows end
    generator = torch.Generator().manual_seed(7)
    prompts = [
        torch.randint(0, VOCAB, (n,), generator=generator).tolist()
        for n in (1, 13, 4, 4, 9, 2, 30, 7, 5, 6, 3, 11)
    ]
    episodes = sample(model, prompts, cpu, most=14, temperature=temperature, slots=8, seed=2)
    lengths = episodes.sequences.response_lengths
    assert len(set(lengths.tolist())) > 2  # they end at different times
    assert 0 < episodes.finished.sum() < len(prompts)
    with torch.no_grad():
        expected, _ = response_logprobs(model, episodes.sequences, cpu, temperature=temperature)
    assert expected.std() > 0.3
    torch.testing.assert_close(episodes.sampler_logprobs, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "mistral"])
def test_an_answer_does_not_depend_on_its_neighbours(tiny_model, cpu, architecture):
    """Slots, refills and prompts that are read once for several answers: the same answers."""
    model = tiny_model(architecture, VOCAB, seed=3)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(0.4)
    prompts = [[1, 2, 3]] * 5 + [[4] * 9, [7, 7]] * 2 + [[5, 6, 7, 8]] * 4
    alone = sample(model, prompts, cpu, slots=1)
    for slots in (2, 3, 5, 13):
        beside = sample(model, prompts, cpu, slots=slots)
        assert beside.responses() == alone.responses()
        torch.testing.assert_close(beside.sampler_logprobs, alone.sampler_logprobs)
    assert len({tuple(r) for r in alone.responses()[:5]}) > 1


def test_answers_end_at_the_first_end(tiny_model, cpu):
    episodes = sample(tiny_model("llama", VOCAB, seed=3), [[1, 2]] * 40, cpu)
    for response, finished in zip(episodes.responses(), episodes.finished.tolist(), strict=True):
        assert END not in response[:-1]
        assert finished == (response[-1] == END)
        assert finished or len(response) == 10


def test_a_seed_is_a_batch(tiny_model, cpu):
    model, prompts = tiny_model("llama", VOCAB), [[1, 2, 3], [4], [5, 6]]
    first, again, other = (sample(model, prompts, cpu, seed=seed) for seed in (1, 1, 2))
    assert first.responses() == again.responses()
    assert torch.equal(first.sampler_logprobs, again.sampler_logprobs)
    assert first.responses() != other.responses()


def test_global_randomness_is_neither_used_nor_touched(tiny_model, cpu):
    model = tiny_model("llama", VOCAB)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = sample(model, [[1, 2, 3], [4]], cpu)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert sample(model, [[1, 2, 3], [4]], cpu).responses() == first.responses()


def test_taking_episodes():
    episodes = Episodes(
        sequences=from_lists([[1], [2, 3], [4]], [[5, 6], [], [7, 8, 9]]),
        sampler_logprobs=torch.tensor([-0.5, -0.6, -0.7, -0.8, -0.9]),
        finished=torch.tensor([True, False, True]),
    )
    taken = take_episodes(episodes, torch.tensor([2, 0]))
    assert taken.responses() == [[7, 8, 9], [5, 6]]
    assert taken.sequences.prompt_lengths.tolist() == [1, 1]
    assert taken.sampler_logprobs.tolist() == pytest.approx([-0.7, -0.8, -0.9, -0.5, -0.6])
    assert taken.finished.tolist() == [True, True]
    assert len(taken) == 2
    none = take_episodes(episodes, torch.tensor([], dtype=torch.int64))
    assert (len(none), len(none.sampler_logprobs)) == (0, 0)
