"""Proof 2 on the stage itself: `trivium ppo` on a small transformer ends at the closed form.

Nothing is replaced: sampler, text, reward function, critic, optimizers, averaged weights, the saved
folder. The policy can say 57 things, so its distance to pi* is summed and not estimated.
"""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from trivium.config import PPO, Adam, Sampling
from trivium.models import load_policy
from trivium.stages import ppo

pytestmark = pytest.mark.learn
WORDS = ["<end>", "ant", "bee", "cat", "dog", "eel", "fox", "gnu"]
BETA, PROMPT = 0.3, "dog fox"
REWARD = """
import zlib


def liked(prompts, responses):
    return [(zlib.crc32(r.encode()) % 1000) / 1000 for r in responses]
"""


@pytest.fixture
def folder(tmp_path, tiny_model, monkeypatch) -> Path:
    """A language of seven words, a model of it, a prompt, and a reward."""
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="ant"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] }}"
        "{% if m['role'] == 'assistant' %} <end>{% endif %}{% endfor %}"
    )
    tokenizer.save_pretrained(tmp_path / "start")
    tiny_model("llama", len(WORDS), seed=4).save_pretrained(tmp_path / "start")
    for name, content in (("prompts", PROMPT), ("heldout", "gnu eel")):
        row = {"id": name, "prompt": [{"role": "user", "content": content}]}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "words_we_like.py").write_text(REWARD)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def settings(folder: Path) -> PPO:
    return PPO(
        policy=str(folder / "start"),
        reward=("words_we_like:liked",),
        prompts=str(folder / "prompts.jsonl"),
        heldout=str(folder / "heldout.jsonl"),
        heldout_every=0,
        checkpoint_every=1000,
        num_steps=150,
        episodes_per_step=256,
        episodes_per_minibatch=128,
        episodes_per_backward=128,
        inner_epochs=2,
        sampling=Sampling(max_prompt_tokens=4, max_response_tokens=2),
        kl_coef=BETA,
        missing_eos_score=None,
        whiten_advantages=False,
        lr=2e-3,
        value_lr=3e-3,
        value_clip=1.0,
        adam=Adam(eps=1e-5),
        ema_decay=0.99,
        save_weights="ema",
    )


def all_logprobs(world, place: Path | str, cpu) -> Tensor:
    """(N,) log-probability of everything there is to say, by transformers in float64."""
    policy = load_policy(str(place), cpu)
    prompt = policy.codec.tokenizer.encode(PROMPT)
    model = copy.deepcopy(policy.model).double()
    ids = torch.cat([torch.tensor(prompt).expand(len(world), -1), world.tokens], 1)
    with torch.no_grad():
        logprobs = model(input_ids=ids).logits[:, len(prompt) - 1 : -1].log_softmax(-1)
    chosen = logprobs.gather(2, world.tokens[:, :, None]).squeeze(2)
    return chosen.masked_fill(~world.mask, 0.0).sum(1)


def optimum(world, log_q: Tensor) -> tuple[Tensor, Tensor]:
    """log pi* of each response, and J*."""
    scope: dict[str, object] = {}
    exec(REWARD, scope)
    texts = [" ".join(WORDS[t] for t in y if t) for y in world.responses]
    scores = torch.tensor(scope["liked"]([], texts), dtype=torch.float64)
    value = BETA * torch.logsumexp(log_q + scores / BETA, 0)
    return log_q + (scores - value) / BETA, value


@pytest.mark.parametrize("algorithm", ["ppo", "ppo-kl", "rloo"])
def test_the_stage_reaches_the_optimum(world, folder, cpu, algorithm):
    sayings = world(ends_early=True, vocabulary=len(WORDS), width=2)
    assert len(sayings) == 1 + 7 * 8
    cfg = settings(folder)
    if algorithm == "ppo-kl":
        cfg = replace(cfg, loss="klpen")
    if algorithm == "rloo":
        cfg = replace(cfg, estimator="rloo", value="none", samples_per_prompt=8)
    ppo.run(cfg, folder / "run")

    log_q = all_logprobs(sayings, folder / "start", cpu)
    log_star, value = optimum(sayings, log_q)
    log_p = all_logprobs(sayings, folder / "run", cpu)
    kl = float((log_p.exp() * (log_p - log_star)).sum())
    reached = float(value) - BETA * kl  # J = J* - beta KL(pi || pi*)
    start = float(value) - BETA * float((log_q.exp() * (log_q - log_star)).sum())
    assert kl < 1e-3
    assert reached == pytest.approx(float(value), rel=0.005)
    assert start < 0.95 * float(value)
