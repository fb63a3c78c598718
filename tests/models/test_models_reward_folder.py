"""A saved reward model gives plain transformers the same number, padded on either side."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from trivium.models import load_reward_model, save_reward_model
from trivium.models.load import new_reward_model
from trivium.rewards.model import score_texts
from trivium.text import encode_prompt, encode_response

QUESTIONS = ["Why?", "Wow!! List two fruits!", "Why is the sky blue?" * 4]
ANSWERS = ["Because.", "", "Apples and pears!! <b>the dog!</b>" * 3]
TALKS = [[{"role": "user", "content": q}] for q in QUESTIONS]
BODIES = [("llama", "plain"), ("qwen2", "chatml"), ("llama", "bos"), ("gpt2", "gpt2")]


@pytest.fixture(scope="module", params=BODIES, ids="-".join)
def reward(request, model_folder, cpu):
    return new_reward_model(str(model_folder(*request.param)), cpu, seed=5)


@pytest.fixture(scope="module")
def folder(reward, cpu, tmp_path_factory):
    place = tmp_path_factory.mktemp("reward")
    save_reward_model(reward, place, cpu, stage="reward")
    return place


@pytest.fixture(scope="module")
def rows(reward):
    return [
        encode_prompt(reward.codec, talk, where="row")
        + encode_response(reward.codec, answer, where="row")
        for talk, answer in zip(TALKS, ANSWERS, strict=True)
    ]


@pytest.mark.parametrize("side", ["right", "left"])
def test_plain_transformers_gives_the_same_scores(reward, folder, rows, cpu, side):
    ours = score_texts(reward, TALKS, ANSWERS, cpu)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side=side)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert tokenizer.pad_token_id == model.config.pad_token_id
    assert tokenizer.pad_token_id not in (tokenizer.eos_token_id, reward.codec.end_id)
    batch = tokenizer.pad({"input_ids": rows}, return_tensors="pt")
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    if model.config.model_type == "gpt2":  # learned positions count from the first real token
        inputs["position_ids"] = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        theirs = model(**inputs).logits.squeeze(-1)
        alone = [model(torch.tensor([row])).logits.item() for row in rows]
    torch.testing.assert_close(torch.tensor(ours), theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours, alone, rtol=1e-4, atol=1e-5)
    assert max(ours) - min(ours) > 0.1


def test_the_saved_tokenizer_cuts_texts_as_before(reward, folder):
    again = AutoTokenizer.from_pretrained(folder)
    for text in [*QUESTIONS, *ANSWERS, "Hello!! wow!! the cat?"]:
        expected = reward.codec.tokenizer.encode(text, add_special_tokens=False)
        assert again.encode(text, add_special_tokens=False) == expected


def test_loaded_again_it_is_the_same(reward, folder, cpu):
    again = load_reward_model(str(folder), cpu)
    assert again.codec.hash == reward.codec.hash
    expected = score_texts(reward, TALKS, ANSWERS, cpu)
    assert score_texts(again, TALKS, ANSWERS, cpu) == pytest.approx(expected, abs=1e-5)


def test_a_new_head_is_a_function_of_the_seed(model_folder, cpu):
    place = str(model_folder())
    heads = [new_reward_model(place, cpu, seed=seed).head.weight for seed in (1, 1, 2)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    many = torch.cat([new_reward_model(place, cpu, seed=s).head.weight[0] for s in range(12)])
    # 384 numbers of N(0, 1/33): the standard error of their deviation is 0.0063
    assert many.std().item() == pytest.approx(33**-0.5, abs=0.025)
