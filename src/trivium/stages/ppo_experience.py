"""The first half of a PPO step: act, judge, assign credit.

Legend: B episodes, T the longest response among them, R response tokens in all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from trivium import maths
from trivium.config import PPO
from trivium.models import Compute, Policy, response_logprobs, response_values
from trivium.models.forward import hidden_states
from trivium.rollouts import Episodes, generate
from trivium.stages.ppo_models import Networks, judge_texts
from trivium.stages.rows import Messages, Prompts
from trivium.text import decode_response, select

SAMPLER_GAP_NATS = 0.1
"""Mean gap of a token's log-probability, sampled against scored, in bfloat16; 0.03 was seen with a
model of 135M parameters, and several tenths are what another temperature makes."""


@dataclass(frozen=True, slots=True)
class Experience:
    """Judged episodes, ready to learn from. Everything here is without gradient.

    Attributes:
        episodes: the ragged text.
        mask: (B, T) True on response tokens.
        old_logprobs: (B, T) log pi_old in nats.
        ref_logprobs: (B, T) log pi_SFT in nats.
        values: (B, T) V before each token; zeros without a critic.
        rewards: (B, T) shaped rewards: -beta log-ratio on every token, the score on the last.
        advantages: (B, T), not whitened yet.
        returns: (B, T) what the value function is to predict.
        scores: (B,) reward of each answer, penalty for a missing EOS included.
        parts: each reward by name, unweighted.
        texts: the answers as text.
        prompts: messages of each episode.
        ids: prompt id of each episode.
    """

    episodes: Episodes
    mask: Bool[Tensor, "B T"]
    old_logprobs: Float[Tensor, "B T"]
    ref_logprobs: Float[Tensor, "B T"]
    values: Float[Tensor, "B T"]
    rewards: Float[Tensor, "B T"]
    advantages: Float[Tensor, "B T"]
    returns: Float[Tensor, "B T"]
    scores: Float[Tensor, " B"]
    parts: dict[str, list[float]]
    texts: list[str]
    prompts: list[Messages]
    ids: list[str]

    @property
    def kl_nats(self) -> Float[Tensor, " B"]:
        """(B,) log(pi_old / pi_SFT) summed over each response: the k1 estimate of the KL."""
        return self._log_ratio().sum(dim=1)

    @property
    def kl_k3_nats(self) -> Float[Tensor, " B"]:
        """(B,) the k3 estimate, never negative."""
        k3 = maths.kl_k3(self.old_logprobs, self.ref_logprobs)
        return k3.masked_fill(~self.mask, 0.0).sum(dim=1)

    def _log_ratio(self) -> Float[Tensor, "B T"]:
        return maths.kl_k1(self.old_logprobs, self.ref_logprobs).masked_fill(~self.mask, 0.0)


@dataclass(frozen=True, slots=True)
class RewardScale:
    """What scores are shifted by and divided by: (score - mean) / std."""

    mean: float
    std: float


def act(
    cfg: PPO,
    policy: Policy,
    prompts: Prompts,
    chosen: Sequence[int],
    *,
    compute: Compute,
    generator: torch.Generator,
) -> Episodes:
    """Sample `samples_per_prompt` answers to each prompt; those of a prompt are neighbours."""
    rows = [i for i in chosen for _ in range(cfg.samples_per_prompt)]
    return generate(
        policy.model,
        [prompts.tokens[i] for i in rows],
        cfg.sampling,
        end_id=policy.codec.end_id,
        compute=compute,
        generator=generator,
    )


@torch.no_grad()
def judge(
    cfg: PPO,
    networks: Networks,
    episodes: Episodes,
    prompts: Prompts,
    chosen: Sequence[int],
    *,
    kl_coef: float,
    scale: RewardScale,
    compute: Compute,
) -> Experience:
    """Score the answers, compare with the reference, predict values, assign credit."""
    rows = [i for i in chosen for _ in range(cfg.samples_per_prompt)]
    messages = [prompts.messages[i] for i in rows]
    texts = [decode_response(networks.policy.codec, r) for r in episodes.responses()]
    totals, parts = judge_texts(networks.judge, messages, texts, compute)
    scores = (torch.tensor(totals) - scale.mean) / scale.std
    scores = penalise_missing_eos(cfg, scores, episodes.finished)

    old, ref, values = evaluate_tokens(cfg, networks, episodes, compute)
    mask = maths.length_mask(episodes.sequences.response_lengths, old.shape[1])
    rewards = maths.shape_rewards(scores, old, ref, mask, kl_coef=kl_coef)
    if cfg.whiten_rewards:
        rewards = maths.whiten(rewards, mask, shift_mean=False)
    advantages, returns = assign_credit(cfg, rewards, values, mask)
    return Experience(
        episodes=episodes,
        mask=mask,
        old_logprobs=old,
        ref_logprobs=ref,
        values=values,
        rewards=rewards,
        advantages=advantages,
        returns=returns,
        scores=scores,
        parts=parts,
        texts=texts,
        prompts=messages,
        ids=[prompts.ids[i] for i in rows],
    )


def penalise_missing_eos(
    cfg: PPO, scores: Float[Tensor, " B"], finished: Bool[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """An answer cut off before EOS gets a fixed score instead, or loses that much.

    Ziegler et al. 2019 and the N+ study replace, TRL subtracts; the paper does not say.
    """
    if cfg.missing_eos_score is None:
        return scores
    if cfg.missing_eos == "replace":
        return torch.where(finished, scores, torch.full_like(scores, cfg.missing_eos_score))
    return scores - (~finished).float() * abs(cfg.missing_eos_score)


def evaluate_tokens(
    cfg: PPO, networks: Networks, episodes: Episodes, compute: Compute
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    """log pi_old, log pi_SFT and V of every response token.

    In float32 log pi_old is what the sampler drew with: it is the policy in learning, and
    `check_first_ratio` holds learning's own forward pass against it. In bfloat16 two ways to the
    same logits differ by a rounding of the logits, a tenth of a nat and more, so the policy is read
    once more, in the way that the reference is read and that it will be read in learning.
    """
    read_again = compute.dtype is not torch.float32
    policy, critic = networks.policy.model, networks.critic
    temperature = cfg.sampling.temperature
    old, ref, values = [], [], []
    for rows in torch.arange(len(episodes)).split(cfg.episodes_per_backward):
        part = select(episodes.sequences, rows)
        hidden = hidden_states(policy, part, compute) if read_again else None
        if hidden is not None:
            old.append(
                response_logprobs(policy, part, compute, temperature=temperature, hidden=hidden)[0]
            )
        ref.append(
            response_logprobs(networks.reference.model, part, compute, temperature=temperature)[0]
        )
        if critic is None:
            values.append(torch.zeros_like(ref[-1]))
        else:
            known = hidden is not None and critic.shared
            trunk = hidden if known else hidden_states(critic.trunk, part, compute)
            values.append(response_values(critic.head, trunk, part))
    if read_again:
        check_sampler(episodes.sampler_logprobs, torch.cat(old).cpu())
    lengths = episodes.sequences.response_lengths
    flat_old = torch.cat(old).cpu() if read_again else episodes.sampler_logprobs
    flat = flat_old, torch.cat(ref).cpu(), torch.cat(values).cpu()
    old, ref, values = (to_rows(x, lengths) for x in flat)
    return old, ref, values


def check_sampler(sampled: Float[Tensor, " R"], scored: Float[Tensor, " R"]) -> None:
    """The sampler drew from the law that is scored, up to the rounding of bfloat16.

    Raises:
        AssertionError: they differ by more.
    """
    gap = float((sampled - scored).abs().mean())
    assert gap < SAMPLER_GAP_NATS, (
        f"sampled and scored log-probabilities differ by {gap:.2e} nats per token on average (at "
        f"most {SAMPLER_GAP_NATS}): dropout or sampling.temperature differs between them"
    )


def to_rows(flat: Float[Tensor, " R"], lengths: Int[Tensor, " B"]) -> Float[Tensor, "B T"]:
    """Response tokens as rows, 0 after the end of each."""
    return pad_sequence(list(flat.split(lengths.tolist())), batch_first=True)


def assign_credit(
    cfg: PPO,
    rewards: Float[Tensor, "B T"],
    values: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    """Advantages and the returns that the value function learns, by `cfg.estimator`."""
    if cfg.estimator == "gae":
        return maths.gae(rewards, values, mask, gamma=cfg.gamma, lam=cfg.lam)
    returns = maths.rewards_to_go(rewards, mask, gamma=cfg.gamma)
    if cfg.estimator == "rewards_to_go":
        return (returns - values).masked_fill(~mask, 0.0), returns
    if cfg.estimator == "bandit":
        # The row sums of the shaped rewards are score minus beta KL: `maths.bandit_advantages`.
        return maths.broadcast_to_tokens(rewards.sum(dim=1), mask), returns
    totals = rewards.sum(dim=1)
    if cfg.estimator == "batch_mean":
        per_response = maths.batch_mean_advantages(totals)
    elif cfg.estimator == "rloo":
        per_response = maths.rloo_advantages(totals, group_size=cfg.samples_per_prompt)
    else:
        per_response = maths.grpo_advantages(totals, group_size=cfg.samples_per_prompt)
    return maths.broadcast_to_tokens(per_response, mask), returns
