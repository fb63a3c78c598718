"""The PPO step against definitions: accumulation, ptx, EMA, estimators, the first ratio."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trivium.config import PPO, Sampling
from trivium.models import Compute, load_policy, response_logprobs
from trivium.models.forward import token_losses
from trivium.runs.directory import open_run
from trivium.stages.ppo_experience import RewardScale, act, judge, penalise_missing_eos
from trivium.stages.ppo_learn import accumulate, accumulate_pretraining, check_first_ratio, take
from trivium.stages.ppo_models import load_networks
from trivium.stages.ppo_setup import load_data, make_optimizers, measure_scale

pytestmark = pytest.mark.xdist_group("tiny")
CPU = Compute(device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture
def config(tiny) -> PPO:
    return PPO(
        policy=str(tiny / "sft"),
        reward=(str(tiny / "reward"),),
        prompts=str(tiny / "pretrain" / "data" / "prompts.jsonl"),
        pretraining=str(tiny / "pretrain" / "data" / "pretraining.jsonl"),
        num_steps=1,
        episodes_per_step=8,
        episodes_per_minibatch=8,
        episodes_per_backward=8,
        sampling=Sampling(max_prompt_tokens=72, max_response_tokens=16),
        ptx_coef=3.0,
        ptx_examples_per_episode=0.5,
        ptx_tokens_per_example=32,
        accept_affected=True,
    )


def episodes_of(cfg: PPO, seed: int = 0):
    networks = load_networks(cfg, CPU, None)
    data = load_data(cfg, networks.policy)
    chosen = list(range(cfg.episodes_per_step // cfg.samples_per_prompt))
    generator = torch.Generator().manual_seed(seed)
    episodes = act(cfg, networks.policy, data.prompts, chosen, compute=CPU, generator=generator)
    experience = judge(
        cfg, networks, episodes, data.prompts, chosen,
        kl_coef=cfg.kl_coef, scale=RewardScale(mean=0.0, std=1.0), compute=CPU,
    )  # fmt: skip
    return networks, data, experience


def gradients(networks) -> list[torch.Tensor]:
    return [p.grad.clone() for p in networks.policy.model.parameters() if p.grad is not None]


def test_micro_batches_change_memory_and_not_the_gradient(config):
    networks, _, experience = episodes_of(config)
    batch = take(experience, experience.advantages, torch.arange(8))
    accumulate(config, networks, batch, klpen_coef=1.0, compute=CPU)
    whole = gradients(networks)
    networks.policy.model.zero_grad()
    small = replace(config, episodes_per_backward=1)
    accumulate(small, networks, batch, klpen_coef=1.0, compute=CPU)
    for a, b in zip(whole, gradients(networks), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_first_gradient_is_the_policy_gradient_token_by_token(config):
    """Ratio 1: minus the mean over response tokens of A_t grad log pi, one sequence at a time."""
    networks, _, experience = episodes_of(config)
    batch = take(experience, experience.advantages, torch.arange(8))
    metrics = accumulate(config, networks, batch, klpen_coef=1.0, compute=CPU)
    assert metrics["policy/ratio_deviation_first"] < 1e-5
    got = gradients(networks)

    model = load_policy(config.policy, CPU).model
    count, loss, start = int(experience.mask.sum()), torch.zeros(()), 0
    sequences = experience.episodes.sequences
    for row, (length, prompt) in enumerate(
        zip(sequences.lengths.tolist(), sequences.prompt_lengths.tolist(), strict=True)
    ):
        tokens = sequences.tokens[start : start + length]
        start += length
        logprobs = model(input_ids=tokens[None]).logits[0].double().log_softmax(-1)
        for t in range(prompt, length):
            advantage = experience.advantages[row, t - prompt].double()
            loss = loss - advantage * logprobs[t - 1, tokens[t]] / count
    loss.backward()
    expected = [p.grad for p in model.parameters() if p.grad is not None]
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_ptx_adds_gamma_times_the_gradient_of_the_token_mean(config):
    networks, data, experience = episodes_of(config)
    batch = take(experience, experience.advantages, torch.arange(8))
    accumulate(config, networks, batch, klpen_coef=1.0, compute=CPU)
    ppo = gradients(networks)
    assert data.stream is not None
    data.stream.load({"documents_read": 0, "buffer": []})
    metrics = accumulate_pretraining(config, networks, data.stream, CPU)
    both = gradients(networks)

    model = load_policy(config.policy, CPU).model
    data.stream.load({"documents_read": 0, "buffer": []})
    text = data.stream.take(4)  # 0.5 examples for each of 8 episodes
    rows = text.tokens.view(4, 32)
    logits = model(input_ids=rows).logits[:, :-1].double()
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
    (3.0 * loss).backward()
    assert metrics["ptx/loss"] == pytest.approx(float(loss.detach()), rel=1e-4)
    expected = [p.grad for p in model.parameters() if p.grad is not None]
    for total, a, b in zip(both, ppo, expected, strict=True):
        torch.testing.assert_close(total, a + b, rtol=1e-3, atol=1e-5)
    norm = torch.stack([g.norm() for g in expected]).norm()
    assert metrics["policy/ptx_grad_norm"] == pytest.approx(float(norm), rel=1e-3)


def test_shaped_rewards_sum_to_score_minus_beta_kl(config):
    _, _, experience = episodes_of(config)
    expected = experience.scores - config.kl_coef * experience.kl_nats
    torch.testing.assert_close(experience.rewards.sum(1), expected, rtol=1e-4, atol=1e-5)
    assert float(experience.kl_nats.abs().max()) < 1e-4  # policy and reference are one model


def test_reward_inside_ppo_equals_the_score_of_the_text_alone(config):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    _, _, experience = episodes_of(replace(config, missing_eos_score=None))
    folder = Path(config.reward[0]) / "model"
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for messages, text, score in zip(
        experience.prompts, experience.texts, experience.scores.tolist(), strict=True
    ):
        rendered = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
        ids = tokenizer(rendered + text + tokenizer.eos_token, add_special_tokens=False,
                        return_tensors="pt")  # fmt: skip
        with torch.no_grad():
            alone = float(model(input_ids=ids["input_ids"]).logits[0, 0])
        assert score == pytest.approx(alone, abs=1e-4)


def test_missing_eos_replaces_or_subtracts(config):
    scores, finished = torch.tensor([2.0, 3.0]), torch.tensor([True, False])
    assert penalise_missing_eos(config, scores, finished).tolist() == [2.0, -1.0]
    subtract = replace(config, missing_eos="subtract")
    assert penalise_missing_eos(subtract, scores, finished).tolist() == [2.0, 2.0]
    off = replace(config, missing_eos_score=None)
    assert penalise_missing_eos(off, scores, finished).tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    ("estimator", "value"),
    [("rewards_to_go", "none"), ("rewards_to_go", "separate"), ("batch_mean", "none"),
     ("rloo", "none"), ("grpo", "none"), ("bandit", "none"), ("gae", "shared")],
)  # fmt: skip
def test_every_estimator_runs_in_the_same_loop(estimator, value, config, tmp_path):
    from trivium.stages import ppo

    cfg = replace(config, estimator=estimator, value=value, samples_per_prompt=2, ptx_coef=0.0)
    ppo.run(cfg, tmp_path / "run")
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


def test_rloo_subtracts_the_other_answers_mean(config):
    cfg = replace(config, estimator="rloo", value="none", samples_per_prompt=4)
    _, _, experience = episodes_of(cfg)
    totals = experience.rewards.sum(1).double()
    for start in (0, 4):
        group = totals[start : start + 4]
        for i in range(4):
            others = torch.cat([group[:i], group[i + 1 :]]).mean()
            row = experience.advantages[start + i][experience.mask[start + i]].double()
            torch.testing.assert_close(
                row, (group[i] - others).expand_as(row), rtol=1e-4, atol=1e-5
            )


def test_entropy_bonus_pulls_towards_entropy(config):
    """One small step with a large bonus raises the entropy of the same states."""
    cfg = replace(config, entropy_coef=5.0, lr=1e-3, value="none", estimator="bandit")
    networks, _, experience = episodes_of(cfg)
    sequences = experience.episodes.sequences
    model = networks.policy.model

    def mean_entropy() -> float:
        with torch.no_grad():
            _, entropy = response_logprobs(
                model, sequences, CPU, temperature=1.0, with_entropy=True
            )
        return float(entropy.mean())

    before = mean_entropy()
    batch = take(experience, torch.zeros_like(experience.advantages), torch.arange(8))
    accumulate(cfg, networks, batch, klpen_coef=1.0, compute=CPU)
    make_optimizers(cfg, networks).policy.step()
    assert mean_entropy() > before


def test_scaling_the_reward_by_100_leaves_the_update_alone(config, tmp_path, monkeypatch):
    """Promise T4: with scale_rewards the unit of the reward doesn't matter."""
    (tmp_path / "two_rewards.py").write_text(
        "def once(prompts, responses):\n    return [float(len(r)) for r in responses]\n\n"
        "def hundredfold(prompts, responses):\n    return [100.0 * len(r) for r in responses]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    advantages = []
    for name in ("once", "hundredfold"):
        cfg = replace(config, reward=(f"two_rewards:{name}",), scale_rewards=True, lam=1.0,
                      scale_rewards_episodes=16, value_from=None)  # fmt: skip
        networks = load_networks(cfg, CPU, None)
        data = load_data(cfg, networks.policy)
        scale = measure_scale(cfg, networks, data.prompts, CPU)
        generator = torch.Generator().manual_seed(0)
        episodes = act(cfg, networks.policy, data.prompts, range(8), compute=CPU,
                       generator=generator)  # fmt: skip
        experience = judge(cfg, networks, episodes, data.prompts, range(8),
                           kl_coef=cfg.kl_coef, scale=scale, compute=CPU)  # fmt: skip
        advantages.append(experience.advantages)
    torch.testing.assert_close(advantages[0], advantages[1], rtol=1e-4, atol=1e-4)


def test_a_ratio_that_is_not_one_is_refused():
    check_first_ratio(5e-5, CPU)
    with pytest.raises(AssertionError, match="importance ratio"):
        check_first_ratio(2e-4, CPU)


def test_lr_zero_changes_nothing(config, tmp_path):
    from trivium.stages import ppo

    cfg = replace(config, lr=0.0, ptx_coef=0.0, num_steps=2)
    ppo.run(cfg, tmp_path / "run")
    before = load_policy(config.policy, CPU).model.state_dict()
    after = load_policy(str(tmp_path / "run"), CPU).model.state_dict()
    assert all(before[name].equal(after[name]) for name in before)


def test_ema_weights_are_saved_when_asked_for(config, tmp_path):
    """Decay 0: the average is the policy. Decay near 1: it hardly leaves the start."""
    from trivium.stages import ppo

    start = load_policy(config.policy, CPU).model.state_dict()
    moved = []
    for decay in (0.0, 0.999):
        cfg = replace(config, ema_decay=decay, save_weights="ema", lr=1e-3)
        ppo.run(cfg, tmp_path / str(decay))
        end = load_policy(str(tmp_path / str(decay)), CPU).model.state_dict()
        moved.append(sum(float((end[n] - start[n]).square().sum()) for n in start) ** 0.5)
    assert moved[1] < 0.01 * moved[0]


def test_next_token_loss_of_the_stage_equals_transformers(config):
    networks, data, _ = episodes_of(config)
    assert data.stream is not None
    text = data.stream.take(2)
    with torch.no_grad():
        got = token_losses(networks.policy.model, text, CPU)
        rows = text.tokens.view(2, 32)
        expected = networks.policy.model(input_ids=rows, labels=rows).loss
    assert float(got.mean()) == pytest.approx(float(expected), rel=1e-4)


def test_a_run_records_its_plan_and_keeps_it(tiny):
    import json

    for stage in ("sft", "reward", "ppo", "ppo_ptx"):
        summary = json.loads((tiny / stage / "summary.json").read_text())
        assert summary["executed"]
        for name, count in summary["executed"].items():
            assert summary["plan"][name] == count, (stage, name)


def test_open_run_refuses_a_second_writer(tiny, config, tmp_path):
    from trivium.errors import UserError

    with open_run(tmp_path / "o", stage="ppo", config=config) as run:
        with (
            pytest.raises(UserError, match="in use"),
            open_run(tmp_path / "o", stage="ppo", config=config, resume=True),
        ):
            pass
        run.finish({})


def test_klpen_adapts_to_the_kl_of_the_update_just_made(config, tmp_path):
    """One minibatch, one pass: before the update the KL is 0, after it is not."""
    import json

    from trivium.stages import ppo

    cfg = replace(config, loss="klpen", klpen_target=1e-9, lr=1e-3, ptx_coef=0.0, num_steps=2)
    ppo.run(cfg, tmp_path / "run")
    rows = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["policy/approx_kl"] < 1e-6
    assert rows[0]["policy/kl_after"] > 1.5e-9
    assert rows[1]["policy/klpen_coef"] == 2 * rows[0]["policy/klpen_coef"]
