"""The reward model as a callable on text, against plain transformers, one text at a time."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from trivium.errors import UserError
from trivium.models import load_policy, load_reward_model, save_reward_model
from trivium.models.load import new_reward_model
from trivium.rewards import model as rewards_model
from trivium.rewards.model import read_out, score_sequences, score_texts
from trivium.text import decode_response, encode_prompt, encode_response, from_lists

ANSWERS = ["Because.", "", "The cat saw the dog. " * 6, "No!!", "Pears", "Hello!! wow!! " * 3] * 2
TALKS = [
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why? " * (1 + i % 5)}]
    for i in range(len(ANSWERS))
]


@pytest.fixture(scope="module")
def folder(model_folder, cpu, tmp_path_factory):
    """A reward model with the ChatML template, its tokenizer padding with EOS at first."""
    place = tmp_path_factory.mktemp("reward")
    reward = new_reward_model(str(model_folder("qwen2", "chatml")), cpu, seed=5)
    save_reward_model(reward, place, cpu, stage="reward")
    return place


@pytest.fixture(scope="module")
def reward(folder, cpu):
    return load_reward_model(str(folder), cpu)


@pytest.fixture(scope="module")
def expected(folder):
    """Text written by hand, tokenised and scored by transformers, no batch and no padding."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    scores = []
    for talk, answer in zip(TALKS, ANSWERS, strict=True):
        turns = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in talk)
        ids = tokenizer.encode(turns + "<|im_start|>assistant\n")
        ids += tokenizer.encode(answer + "<|im_end|>")
        with torch.no_grad():
            scores.append(model(torch.tensor([ids])).logits.item())
    return scores


def test_scores_in_their_order(reward, expected, cpu):
    got = score_texts(reward, TALKS, ANSWERS, cpu)
    assert len(set(expected)) == len(expected)
    assert got == pytest.approx(expected, abs=1e-4)
    backwards = score_texts(reward, TALKS[::-1], ANSWERS[::-1], cpu)
    assert backwards == pytest.approx(expected[::-1], abs=1e-4)


@pytest.mark.parametrize("tokens", [1, 150, 400])
def test_small_batches_give_the_same(reward, expected, cpu, monkeypatch, tokens):
    seen = []

    def watch(model, inputs, options):
        seen.append(options["inputs_embeds"].shape[:2])

    monkeypatch.setattr(rewards_model, "TOKENS_AT_ONCE", tokens)
    hook = reward.model.base_model.register_forward_pre_hook(watch, with_kwargs=True)
    got = score_texts(reward, TALKS, ANSWERS, cpu)
    hook.remove()
    assert got == pytest.approx(expected, abs=1e-4)
    assert all(rows == 1 for rows, _ in seen)  # packed: no padding
    assert len(seen) == len(ANSWERS) if tokens == 1 else 1 < len(seen) < len(ANSWERS)


def test_a_policy_with_another_tokenizer(reward, model_folder, cpu):
    """What another family samples is scored as the text it is."""
    policy = load_policy(str(model_folder("llama", "bos")), cpu)
    sampled = encode_response(policy.codec, "Apples and pears.", where="row")
    text = decode_response(policy.codec, sampled)
    prompt = [{"role": "user", "content": "List two fruits."}]
    (in_loop,) = score_texts(reward, [prompt], [text], cpu)
    (alone,) = score_texts(reward, [prompt], ["Apples and pears."], cpu)
    assert in_loop == pytest.approx(alone, abs=1e-6)
    ids = from_lists([encode_prompt(policy.codec, prompt, where="row")], [sampled])
    (nonsense,) = score_sequences(reward, ids, cpu)  # ids fed straight in are another text
    assert abs(nonsense - alone) > 1e-3


def test_read_out_is_what_the_head_reads(reward, expected, cpu):
    prompts = [encode_prompt(reward.codec, talk, where="row") for talk in TALKS]
    answers = [encode_response(reward.codec, answer, where="row") for answer in ANSWERS]
    states = read_out(reward, from_lists(prompts, answers), cpu)
    assert states.shape == (len(ANSWERS), 32)
    assert states.dtype == torch.float32
    scores = states @ reward.head.weight.detach()[0]
    torch.testing.assert_close(scores, torch.tensor(expected), rtol=0, atol=1e-4)


def test_a_text_beyond_the_context_is_refused_and_one_at_its_end_is_not(reward, cpu):
    """256 positions; one token of the sequence is the prompt's."""
    fits = from_lists([[5]], [[7] * 255])
    score_sequences(reward, fits, cpu)
    with pytest.raises(UserError, match="257 of its tokens is longer than its context of 256"):
        score_sequences(reward, from_lists([[5], [5]], [[7], [7] * 256]), cpu)


def test_an_answer_beyond_the_context_is_cut_there_and_a_prompt_that_fills_it_is_refused(
    reward, cpu
):
    """A policy may write up to its own context, and the end-of-turn token comes on top."""
    question = [{"role": "user", "content": "Why?"}]
    prompt = encode_prompt(reward.codec, question, where="x")
    answer = "The cat saw the dog. " * 60
    whole = encode_response(reward.codec, answer, where="x")
    assert len(prompt) + len(whole) > 256
    cut = from_lists([prompt], [whole[: 256 - len(prompt)]])
    (got,) = score_texts(reward, [question], [answer], cpu)
    assert got == pytest.approx(score_sequences(reward, cut, cpu)[0], abs=1e-5)
    filled = [{"role": "user", "content": answer}]
    with pytest.raises(UserError, match=r"fills its context of 256; lower sampling\.max_prompt"):
        score_texts(reward, [filled], ["Yes."], cpu)
