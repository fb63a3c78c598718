"""Details of docs/details.md that no other test holds: defaults, orders, dropout, whitening, K."""

import math

import pytest
import torch

from trivium.config import PPO, SFT, Reward
from trivium.labels import Demonstration, Ranking
from trivium.models import load_policy, response_logprobs
from trivium.models.load import new_reward_model
from trivium.rewards import score_texts
from trivium.stages.optimise import adamw
from trivium.stages.ppo import next_prompts
from trivium.stages.reward import learn
from trivium.stages.rows import Prompts, encode_demonstrations, encode_rankings, messages_of
from trivium.text import from_lists


def test_defaults_are_those_of_the_page():
    ppo = PPO(policy="p", reward=("r",), prompts="x")
    assert (ppo.gamma, ppo.lam, ppo.clip, ppo.value_clip, ppo.value_coef) == (
        1,
        0.95,
        0.2,
        0.2,
        0.1,
    )
    assert (ppo.kl_coef, ppo.kl_target_nats_per_response, ppo.kl_horizon_episodes) == (
        0.02, None, 10_000)  # fmt: skip
    assert (ppo.missing_eos_score, ppo.missing_eos) == (-1.0, "replace")
    assert (ppo.whiten_advantages, ppo.whiten_rewards, ppo.scale_rewards) == (True, False, False)
    assert (ppo.num_steps * ppo.episodes_per_step, ppo.inner_epochs) == (256_000, 1)
    assert (ppo.sampling.temperature, ppo.warmup_steps, ppo.ema_decay) == (1.0, 10, 0.992)
    assert (ppo.adam.eps, ppo.adam.betas, ppo.adam.max_grad_norm) == (1e-8, (0.9, 0.95), 1.0)
    assert SFT(model="m", demonstrations="d").loss_on_prompts is False
    assert Reward(model="m", rankings="r", demonstrations="d").num_epochs == 1


def test_prompts_come_back_shuffled_anew_when_all_were_used(config):
    prompts = Prompts(ids=list("abcdefghij"), messages=[[]] * 10, tokens=[[0]] * 10)
    cfg = config()  # 60 episodes a step, one for each prompt: six passes over ten
    passes = torch.tensor(next_prompts(cfg, prompts, 0)).view(6, 10)
    assert all(sorted(p.tolist()) == list(range(10)) for p in passes)
    assert len({tuple(p.tolist()) for p in passes}) == 6
    later = next_prompts(cfg, prompts, 25)
    assert later[:35] == passes.flatten().tolist()[25:]  # a step may end in the middle of a pass


def test_dropout_is_off_even_where_the_model_has_some(model_folder, cpu):
    policy = load_policy(str(model_folder("gpt2", "gpt2")), cpu)
    assert policy.model.config.resid_pdrop == 0.1
    batch = from_lists([[5, 6]] * 3, [[1, 7, 2, 40]] * 3)

    def logprobs() -> torch.Tensor:
        return response_logprobs(policy.model, batch, cpu, temperature=1.0)[0].detach()

    assert torch.equal(logprobs(), logprobs())
    policy.model.train()  # control: this is what a forgotten eval() looks like
    assert float((logprobs() - logprobs()).abs().max()) > 0.01


def test_demonstrations_end_with_their_end_and_are_dropped_rather_than_cut(
    model_folder, cpu, config
):
    codec = load_policy(str(model_folder("gpt2", "gpt2")), cpu).codec
    assert codec.end_id == codec.tokenizer.eos_token_id  # which is all the padding there is, too
    rows = [
        Demonstration(id="short", prompt=[{"role": "user", "content": "Hi"}], completion="Yes."),
        Demonstration(
            id="long", prompt=[{"role": "user", "content": "Hi"}], completion="a b " * 40
        ),
    ]
    sampling = config().sampling.__class__(max_response_tokens=16)
    sequences, report = encode_demonstrations(rows, codec, sampling)
    assert [row.id for row in report.dropped] == ["long"]
    trained = sequences.tokens[sequences.predicted()].tolist()
    assert trained[-1] == codec.end_id
    assert trained.count(codec.end_id) == 1


@pytest.mark.parametrize("prompts_per_backward", [1, 4])
def test_the_reward_stage_weighs_every_ranking_the_same(model_folder, cpu, prompts_per_backward):
    """One forward pass per completion; the mean over rankings of the mean over pairs."""
    reward = new_reward_model(str(model_folder()), cpu, seed=5)
    answers = ["Yes.", "No.", "Apples.", "", "The cat saw the dog.", "Why?"]
    rows = [
        Ranking(
            id=f"{number}",
            prompt=[{"role": "user", "content": f"List {number} fruits."}],
            completions=[{"text": a, "rank": i + 1} for i, a in enumerate(answers[:k])],
        )
        for number, k in enumerate((2, 3, 6, 2))
    ]
    data, _ = encode_rankings(rows, reward.codec, max_prompt_tokens=99, max_response_tokens=99)
    pairs = []
    for row in rows:
        texts = [c.text for c in row.completions]
        s = score_texts(reward, [messages_of(row)] * len(texts), texts, cpu)
        pairs.append(
            [math.log1p(math.exp(s[j] - s[i])) for i in range(len(s)) for j in range(i + 1, len(s))]
        )
    expected = sum(sum(p) / len(p) for p in pairs) / 4
    pooled = [x for p in pairs for x in p]

    cfg = Reward(
        model="m", rankings="r", demonstrations="d",
        prompts_per_step=4, prompts_per_backward=prompts_per_backward,
    )  # fmt: skip
    optimizer = adamw(reward.model.parameters(), cfg.adam, lr=0.0)
    metrics = learn(
        cfg, reward, optimizer, data, [0, 1, 2, 3], run=None, compute=cpu, step=0, lr=0.0
    )  # fmt: skip
    assert metrics["reward/loss"] == pytest.approx(expected, abs=1e-5)
    assert abs(metrics["reward/loss"] - sum(pooled) / len(pooled)) > 1e-3
    assert metrics["reward/tokens"] == len(data.sequences.tokens)
    assert metrics["reward/pairs"] == 1 + 3 + 15 + 1


@pytest.mark.parametrize("prompts_per_backward", [1, 2])
def test_several_rankings_of_a_prompt_share_the_forward_pass(
    model_folder, cpu, prompts_per_backward
):
    """Three people rank four answers, two of them alike; a fourth ranks others to that prompt."""
    reward = new_reward_model(str(model_folder()), cpu, seed=5)

    def row(name, prompt, *answers):
        completions = [{"text": text, "rank": rank} for text, rank in answers]
        return Ranking(
            id=name, prompt=[{"role": "user", "content": prompt}], completions=completions
        )

    rows = [
        row("lee", "Hi", ("Yes.", 1), ("No.", 2), ("Why?", 3), ("No.", 2)),
        row("alone", "Go", ("Apples.", 2), ("", 1)),
        row("kim", "Hi", ("Why?", 1), ("Yes.", 1), ("No.", 2), ("No.", 2)),
        row("ann", "Hi", ("Cats.", 2), ("Yes.", 1)),
    ]
    data, _ = encode_rankings(rows, reward.codec, max_prompt_tokens=99, max_response_tokens=99)
    assert data.ids == ["lee", "kim", "ann", "alone"]  # those of one prompt together
    assert (data.num_prompts, len(data), len(data.sequences)) == (2, 4, 4 + 2)

    losses = []
    for ranking in rows:
        texts, ranks = [c.text for c in ranking.completions], [c.rank for c in ranking.completions]
        s = score_texts(reward, [messages_of(ranking)] * len(texts), texts, cpu)
        pairs = [(a, b) for a in range(len(s)) for b in range(len(s)) if ranks[a] < ranks[b]]
        losses.append(sum(math.log1p(math.exp(s[b] - s[a])) for a, b in pairs) / len(pairs))

    cfg = Reward(
        model="m", rankings="r", demonstrations="d",
        prompts_per_step=2, prompts_per_backward=prompts_per_backward,
    )  # fmt: skip
    optimizer = adamw(reward.model.parameters(), cfg.adam, lr=0.0)
    metrics = learn(cfg, reward, optimizer, data, [0, 1], run=None, compute=cpu, step=0, lr=0.0)
    assert metrics["reward/loss"] == pytest.approx(sum(losses) / 4, abs=1e-5)
    assert metrics["reward/tokens"] == len(data.sequences.tokens)
    assert metrics["reward/pairs"] == 5 + 4 + 1 + 1
