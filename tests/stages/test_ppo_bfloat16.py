"""PPO in bfloat16, where the sampler's log-probabilities and learning's differ by a rounding."""

import pytest
import torch

from trivium.config import PPO, Sampling
from trivium.models import Compute, load_policy
from trivium.rewards.spec import RewardSpec
from trivium.stages.ppo import check_step_zero
from trivium.stages.ppo_experience import RewardScale, act, check_sampler, judge
from trivium.stages.ppo_learn import accumulate, check_first_ratio, take
from trivium.stages.ppo_models import Judge, Networks
from trivium.stages.rows import Prompts
from trivium.text import encode_prompt

ASKED = ["Why is the sky blue?", "List two fruits.", "Who saw the cat?", "Hello!! wow!!"]


def networks_of(folder, compute) -> Networks:
    def length(prompts, responses):
        return [float(len(text)) for text in responses]

    spec = RewardSpec(name="length", weight=1.0, target="pkg.module:length")
    rewards = Judge(specs=(spec,), models={}, functions={"length": length}, timeout_seconds=60)
    policy, reference = (load_policy(str(folder), compute) for _ in range(2))
    return Networks(policy=policy, reference=reference, critic=None, judge=rewards, average=None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_first_step_starts_at_rest(model_folder, dtype):
    """No KL to the reference and ratios of 1, in minibatches cut otherwise than the judge's."""
    compute = Compute(device=torch.device("cpu"), dtype=dtype)
    networks = networks_of(model_folder(), compute)
    cfg = PPO(policy="p", reward=("m:f",), prompts="x", episodes_per_step=16,
              episodes_per_minibatch=8, episodes_per_backward=4, value="none", kl_coef=0.1,
              estimator="batch_mean", sampling=Sampling(max_response_tokens=24))  # fmt: skip
    messages = [[{"role": "user", "content": text}] for text in ASKED]
    tokens = [encode_prompt(networks.policy.codec, m, where="x") for m in messages]
    prompts = Prompts(ids=ASKED, messages=messages, tokens=tokens)
    chosen = [*range(4)] * 4
    generator = torch.Generator().manual_seed(0)
    episodes = act(cfg, networks.policy, prompts, chosen, compute=compute, generator=generator)
    scale = RewardScale(mean=0.0, std=1.0)
    seen = judge(cfg, networks, episodes, prompts, chosen, kl_coef=cfg.kl_coef, scale=scale,
                 compute=compute)  # fmt: skip
    check_step_zero(seen, compute)
    batch = take(seen, seen.advantages, torch.randperm(16, generator=generator)[:8])
    metrics = accumulate(cfg, networks, batch, klpen_coef=0.0, compute=compute)
    check_first_ratio(metrics["policy/ratio_deviation_first"], compute)
    gap = (seen.old_logprobs[seen.mask] - episodes.sampler_logprobs).abs()
    # In float32 they are the same numbers; in bfloat16 the test would prove nothing if they were.
    assert float(gap.max()) == 0 if dtype is torch.float32 else float(gap.max()) > 1e-2


def test_a_sampler_of_another_law_is_found():
    scored = torch.log_softmax(torch.randn(50, 9, generator=torch.Generator().manual_seed(1)), -1)
    check_sampler(scored[:, 0] + 0.09, scored[:, 0])
    with pytest.raises(AssertionError, match=r"sampling\.temperature"):
        check_sampler(scored[:, 0] - 0.11, scored[:, 0])
