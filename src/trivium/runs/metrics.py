"""Every metric a run may log: its unit, its meaning, and what it looks like when all is well.

docs/metrics.md is made from this table; a name that is not here cannot be logged.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from trivium.runs.config_file import nearest

TIMING_MARKS = ("seconds", "per_second", "bytes")


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table."""

    unit: str
    """Unit, "-" for a bare number; shares lie in [0, 1], reward is the reward model's unit."""

    meaning: str
    healthy: str
    """What a good run shows."""


METRICS: dict[str, Metric] = {
    "heldout/accuracy": Metric(
        "share",
        "Held-out pairs in which the completion ranked better scores higher.",
        "above the longer-answer-wins share; InstructGPT reports about 0.72",
    ),
    "heldout/kl_nats": Metric(
        "nats per response",
        "KL to the reference on held-out prompts: sum over tokens of log pi - log pi_ref.",
        "grows slowly; tens of nats call for a second look at the samples",
    ),
    "heldout/loss": Metric(
        "nats",
        "The stage's loss on held-out rows: per token, or per pair for a reward model.",
        "falls, then may rise: the paper's SFT overfits after one epoch",
    ),
    "heldout/response_tokens": Metric(
        "tokens",
        "Mean length of the answers to held-out prompts, EOS included.",
        "steady; steady growth beside the score hints at length bias",
    ),
    "heldout/rm_score": Metric(
        "reward",
        "Mean score of the answers to held-out prompts by the selecting reward model.",
        "may rise for epochs after the loss has turned",
    ),
    "heldout/score": Metric(
        "reward",
        "Mean score of the answers to held-out prompts, before any KL price.",
        "rises with objective/score, a little below it",
    ),
    "heldout/truncated_share": Metric(
        "share",
        "Answers to held-out prompts that were cut off before EOS.",
        "near 0",
    ),
    "episodes/prompt_tokens": Metric(
        "tokens",
        "Mean length of the step's prompts, template included.",
        "steady",
    ),
    "episodes/response_tokens": Metric(
        "tokens",
        "Mean length of the step's answers, EOS included.",
        "changes slowly",
    ),
    "episodes/score_length_correlation": Metric(
        "-",
        "Correlation of score and answer length over the step's episodes.",
        "near 0; near 1 means length is what is rewarded",
    ),
    "episodes/truncated_share": Metric(
        "share",
        "Answers of the step that were cut off before EOS.",
        "falls towards 0",
    ),
    "objective/entropy_nats": Metric(
        "nats per token",
        "Minus the mean log-probability of the sampled tokens: an estimate of the entropy.",
        "falls slowly; a collapse to 0 means one answer for all",
    ),
    "objective/kl_coef": Metric(
        "reward per nat",
        "beta: price of one nat of KL to the reference, as used in this step.",
        "constant, or settling when adaptive",
    ),
    "objective/kl_k3_nats": Metric(
        "nats per response",
        "KL to the reference by the estimator k3, which is never negative.",
        "close to objective/kl_nats",
    ),
    "objective/kl_nats": Metric(
        "nats per response",
        "KL to the reference by k1: sum over tokens of log pi - log pi_ref.",
        "0 at step 0, then grows slowly; never clearly negative",
    ),
    "objective/rlhf_reward": Metric(
        "reward",
        "Score minus beta times KL: what the policy maximises.",
        "rises",
    ),
    "objective/score": Metric(
        "reward",
        "Mean score of the step's answers, missing-EOS penalty included.",
        "rises",
    ),
    "objective/score_std": Metric(
        "reward",
        "Deviation of the score over the step's answers.",
        "steady; 0 leaves nothing to learn from",
    ),
    "policy/approx_kl": Metric(
        "nats per token",
        "KL of the sampling policy to the updated one over the step's minibatches (k3).",
        "0.0001 to 0.02; more: lower lr",
    ),
    "policy/clip_share": Metric(
        "share",
        "Tokens whose importance ratio lies outside 1 +- clip.",
        "0 to 0.2",
    ),
    "policy/entropy_nats": Metric(
        "nats per token",
        "Mean entropy of the next-token law on the step's answers.",
        "falls slowly",
    ),
    "policy/grad_norm": Metric(
        "-",
        "Norm of the whole gradient before clipping, mean over minibatches.",
        "steady; spikes are clipped",
    ),
    "policy/kl_after": Metric(
        "nats per token",
        "KL of the old from the new policy after the step's last update; adapts klpen_coef.",
        "near klpen_target",
    ),
    "policy/klpen_coef": Metric(
        "-",
        "Price of one nat of KL(old, new), as used in this step (loss = klpen).",
        "constant, or settling when adaptive",
    ),
    "policy/loss": Metric(
        "-",
        "The policy's loss, mean over tokens and minibatches.",
        "small, around 0; its trend says little",
    ),
    "policy/lr": Metric(
        "-",
        "Learning rate of the policy.",
        "climbs over the warm-up, then stays",
    ),
    "policy/ppo_grad_norm": Metric(
        "-",
        "Norm of the PPO part of the gradient.",
        "comparable to ptx_grad_norm",
    ),
    "policy/ptx_grad_norm": Metric(
        "-",
        "Norm of the pretraining part of the gradient, ptx_coef included.",
        "comparable to ppo_grad_norm",
    ),
    "policy/ratio_deviation_first": Metric(
        "-",
        "Largest deviation of the importance ratio from 1 in the first minibatch.",
        "below 0.0001 in float32, 0.01 in bfloat16; else two laws are in use",
    ),
    "policy/trpo_backtracks": Metric(
        "halvings",
        "How often the step was halved; one more than trpo_backtracks: no step was made (trpo).",
        "0 to 3; more: raise trpo_damping or lower trpo_max_kl",
    ),
    "policy/trpo_gain": Metric(
        "-",
        "What the step adds to the surrogate, mean of ratio times advantage (loss = trpo).",
        "above 0; 0 when no step was made",
    ),
    "policy/trpo_kl": Metric(
        "nats per token",
        "KL of the old from the new policy on the step's answers, over the whole vocabulary "
        "(loss = trpo).",
        "at most trpo_max_kl",
    ),
    "pretrain/grad_norm": Metric(
        "-",
        "Gradient norm before clipping.",
        "falls, then steady",
    ),
    "pretrain/loss": Metric(
        "nats per token",
        "Next-token loss of the base model.",
        "falls",
    ),
    "pretrain/lr": Metric(
        "-",
        "Learning rate.",
        "cosine to a tenth of the peak",
    ),
    "ptx/loss": Metric(
        "nats per token",
        "Next-token loss on the pretraining text mixed into PPO.",
        "steady: rising is the alignment tax",
    ),
    "reward/accuracy": Metric(
        "share",
        "Training pairs in which the completion ranked better scores higher.",
        "rises above 0.5; near 1 is overfitting",
    ),
    "reward/grad_norm": Metric(
        "-",
        "Gradient norm before clipping.",
        "steady",
    ),
    "reward/loss": Metric(
        "nats per pair",
        "-log sigmoid of the score difference, mean over pairs, then prompts.",
        "starts near log 2 = 0.693 and falls",
    ),
    "reward/lr": Metric(
        "-",
        "Learning rate.",
        "cosine to a tenth of the peak",
    ),
    "reward/pairs": Metric(
        "pairs",
        "Untied pairs in the step's batch.",
        "varies with K and ties",
    ),
    "reward/tokens": Metric(
        "tokens",
        "Tokens read in the step, prompts included.",
        "varies with length",
    ),
    "sft/grad_norm": Metric(
        "-",
        "Gradient norm before clipping.",
        "steady",
    ),
    "sft/loss": Metric(
        "nats per token",
        "Next-token loss on completions (and on prompts, with loss_on_prompts).",
        "falls; steps down at each epoch",
    ),
    "sft/lr": Metric(
        "-",
        "Learning rate.",
        "cosine to a tenth of the peak",
    ),
    "sft/ptx_loss": Metric(
        "nats per token",
        "Next-token loss on the web text mixed in.",
        "steady",
    ),
    "sft/tokens": Metric(
        "tokens",
        "Trained tokens in the step.",
        "varies with length",
    ),
    "value/clip_share": Metric(
        "share",
        "Tokens whose value moved further than value_clip and was held there.",
        "0 to 0.3",
    ),
    "value/explained_variance": Metric(
        "-",
        "1 - Var(return - value) / Var(return) before the update.",
        "rises towards 1; below 0 is worse than a constant",
    ),
    "value/grad_norm": Metric(
        "-",
        "Gradient norm of the value network before clipping.",
        "steady",
    ),
    "value/loss": Metric(
        "reward squared",
        "Half the squared error of the value, clipped, mean over tokens.",
        "falls",
    ),
    "value/lr": Metric(
        "-",
        "Learning rate of the value network.",
        "constant",
    ),
    "bytes/peak_rss": Metric(
        "bytes",
        "Largest memory of the stage so far.",
        "flat after the first steps",
    ),
    "seconds/judge": Metric(
        "s",
        "Time to score the step's answers: rewards, values, reference.",
        "steady",
    ),
    "seconds/learn": Metric(
        "s",
        "Time of the step's updates.",
        "steady",
    ),
    "seconds/sample": Metric(
        "s",
        "Time to sample the step's answers.",
        "follows the longest answer",
    ),
    "seconds/step": Metric(
        "s",
        "Time of the whole step.",
        "steady",
    ),
    "tokens_per_second": Metric(
        "tokens per s",
        "Tokens handled in the step by its time.",
        "steady",
    ),
}

PREFIXES: dict[str, Metric] = {
    "reward_part/": Metric(
        "reward",
        "Mean of one of several rewards, by its name, before its weight.",
        "no part rises while another that matters falls",
    ),
}


def check(names: Iterable[str]) -> None:
    """Refuse names that are not in the table.

    Raises:
        AssertionError: with the name and the nearest known one; a bug, not a user's mistake.
    """
    for name in names:
        prefixed = any(name.startswith(p) and len(name) > len(p) for p in PREFIXES)
        if name not in METRICS and not prefixed:
            raise AssertionError(f"{name}: not in trivium.runs.metrics{nearest(name, METRICS)}")


def is_timing(name: str) -> bool:
    """Whether a metric is a time or a size, free to differ between runs of one seed."""
    return any(mark in name for mark in TIMING_MARKS)


def markdown() -> str:
    """The table for docs/metrics.md."""
    rows = [*METRICS.items(), *((f"{prefix}NAME", metric) for prefix, metric in PREFIXES.items())]
    lines = [
        "# Metrics",
        "",
        "One row for each name in `metrics.jsonl`, made by `trivium.runs.metrics.markdown`.",
        "Names with `seconds`, `per_second` or `bytes` are times and sizes; all others are a",
        "function of the seed.",
        "",
        "| name | unit | meaning | healthy |",
        "|---|---|---|---|",
        *(f"| `{name}` | {m.unit} | {m.meaning} | {m.healthy} |" for name, m in sorted(rows)),
    ]
    return "\n".join(lines) + "\n"
