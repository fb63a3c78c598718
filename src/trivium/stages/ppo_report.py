"""What a PPO step tells: metrics, answers in words, and looks at held-out prompts."""

import math

import torch

from trivium import maths
from trivium.config import PPO
from trivium.evals import correlation
from trivium.models import Compute, Policy, response_logprobs
from trivium.rollouts import generate
from trivium.runs import resident
from trivium.stages.ppo_experience import Experience, RewardScale, penalise_missing_eos
from trivium.stages.ppo_models import Networks, judge_texts
from trivium.stages.rows import Prompts
from trivium.text import decode_response, select

EPISODES_IN_FULL = 2
"""Episodes of a step whose every token is stored, for `trivium inspect`."""


def step_metrics(experience: Experience, kl_coef: float, klpen_coef: float) -> dict[str, float]:
    """What the episodes of a step look like, before learning from them."""
    scores, kl, mask = experience.scores, experience.kl_nats, experience.mask
    lengths = experience.episodes.sequences.response_lengths.float()
    flat_old = experience.old_logprobs[mask]
    metrics = {
        "objective/score": float(scores.mean()),
        "objective/score_std": float(scores.std(correction=0)),
        "objective/kl_nats": float(kl.mean()),
        "objective/kl_k3_nats": float(experience.kl_k3_nats.mean()),
        "objective/rlhf_reward": float((scores - kl_coef * kl).mean()),
        "objective/kl_coef": kl_coef,
        "objective/entropy_nats": float(-flat_old.mean()),
        "episodes/response_tokens": float(lengths.mean()),
        "episodes/prompt_tokens": float(
            experience.episodes.sequences.prompt_lengths.float().mean()
        ),
        "episodes/truncated_share": float((~experience.episodes.finished).float().mean()),
        "episodes/score_length_correlation": correlation(scores.tolist(), lengths.tolist()),
        "policy/klpen_coef": klpen_coef,
        "bytes/peak_rss": float(resident.peak_bytes()),
    }
    explained = float(maths.explained_variance(experience.values, experience.returns, mask))
    if math.isfinite(explained):  # it has no value where the returns don't vary
        metrics["value/explained_variance"] = explained
    return metrics | {
        f"reward_part/{name}": sum(values) / len(values)
        for name, values in experience.parts.items()
    }


def sample_rows(experience: Experience, policy: Policy) -> list[dict[str, object]]:
    """Every answer of the step in words; the first few token by token."""
    kl = experience.kl_nats.tolist()
    responses = experience.episodes.responses()
    rows: list[dict[str, object]] = []
    for i, text in enumerate(experience.texts):
        row: dict[str, object] = {
            "id": experience.ids[i],
            "prompt": experience.prompts[i],
            "response": text,
            "score": float(experience.scores[i]),
            "parts": {name: values[i] for name, values in experience.parts.items()},
            "kl_nats": kl[i],
            "finished": bool(experience.episodes.finished[i]),
        }
        if i < EPISODES_IN_FULL:
            row["tokens"] = _token_rows(experience, policy, i, responses[i])
        rows.append(row)
    return rows


def _token_rows(
    experience: Experience, policy: Policy, row: int, response: list[int]
) -> list[dict[str, object]]:
    columns = {
        "logprob": experience.old_logprobs,
        "ref_logprob": experience.ref_logprobs,
        "kl": experience.old_logprobs - experience.ref_logprobs,
        "reward": experience.rewards,
        "value": experience.values,
        "advantage": experience.advantages,
    }
    rows: list[dict[str, object]] = []
    for t, token in enumerate(response):
        numbers = {name: float(column[row, t]) for name, column in columns.items()}
        rows.append({"text": policy.codec.tokenizer.decode([token]), **numbers})
    return rows


def figures(
    kept: dict[str, float], experience: Experience, metrics: dict[str, float]
) -> dict[str, float]:
    """The summary's figures after a step: firsts stay, lasts and worsts move on."""
    tokens = float(experience.mask.sum())
    firsts = {
        "score_first": metrics["objective/score"],
        "step0_kl_per_token": abs(float(experience.kl_nats.sum())) / tokens,
    }
    return (
        firsts
        | kept
        | {
            "score_last": metrics["objective/score"],
            "kl_nats_last": metrics["objective/kl_nats"],
            "response_tokens_last": metrics["episodes/response_tokens"],
            "first_ratio_deviation": max(
                kept["first_ratio_deviation"] if kept else 0.0,
                metrics["policy/ratio_deviation_first"],
            ),
        }
    )


@torch.no_grad()
def heldout_metrics(
    cfg: PPO, networks: Networks, heldout: Prompts, scale: RewardScale, compute: Compute
) -> dict[str, float]:
    """Score, KL and length on held-out prompts, drawn with the same random numbers each time."""
    rows = range(min(cfg.heldout_episodes, len(heldout)))
    policy = networks.policy
    episodes = generate(
        policy.model,
        [heldout.tokens[i] for i in rows],
        cfg.sampling,
        end_id=policy.codec.end_id,
        compute=compute,
        generator=torch.Generator().manual_seed(cfg.seed),
    )
    texts = [decode_response(policy.codec, r) for r in episodes.responses()]
    totals, _ = judge_texts(networks.judge, [heldout.messages[i] for i in rows], texts, compute)
    scores = (torch.tensor(totals) - scale.mean) / scale.std
    scores = penalise_missing_eos(cfg, scores, episodes.finished)
    kl = 0.0
    for part in torch.arange(len(rows)).split(cfg.episodes_per_backward):
        sequences = select(episodes.sequences, part)
        temperature = cfg.sampling.temperature
        new = response_logprobs(policy.model, sequences, compute, temperature=temperature)[0]
        ref = response_logprobs(
            networks.reference.model, sequences, compute, temperature=temperature
        )[0]
        kl += float((new - ref).sum())
    return {
        "heldout/score": float(scores.mean()),
        "heldout/kl_nats": kl / len(rows),
        "heldout/response_tokens": float(episodes.sequences.response_lengths.float().mean()),
        "heldout/truncated_share": float((~episodes.finished).float().mean()),
    }
