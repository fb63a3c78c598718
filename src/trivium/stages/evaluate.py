"""Compare models with the SFT baseline on held-out prompts, with error bars.

Win rate with ties as one half and a bootstrap over prompts, by gold where there is one and by the
reward model otherwise; length, KL to the baseline, and what it cost: next-token loss on pretraining
text and cloze accuracy, the miniature's public benchmarks (Ouyang et al. 2022, section 4.2).
"""

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch

from trivium.config import Evaluate
from trivium.data import prompt_key, read_cloze, read_prompts, read_texts, split
from trivium.errors import UserError
from trivium.evals import cloze_accuracy, win_rate
from trivium.labels import Label, Prompt, Text
from trivium.models import (
    Compute,
    Policy,
    compute_for,
    load_policy,
    load_reward_model,
    response_logprobs,
    token_losses,
)
from trivium.rewards import score_texts
from trivium.rewards.functions import call, load_function
from trivium.rollouts import generate
from trivium.runs.directory import Run, open_run
from trivium.stages import preflight
from trivium.stages.lineage import check_heldout, count_quoted
from trivium.stages.lm import mean_next_token_loss
from trivium.stages.rows import Prompts, encode_prompts
from trivium.text import Sequences, decode_response, from_lists, select

GOLD_TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Answers:
    """One model's answers to the prompts and what is known of them."""

    texts: list[str]
    reward: list[float] | None
    gold: list[float] | None
    gold_parts: dict[str, list[float]]
    figures: dict[str, float] = field(default_factory=dict)


def run(cfg: Evaluate, out: Path, *, resume: bool = False) -> None:
    """Evaluate into the run directory ``out``."""
    compute = compute_for(cfg.compute_dtype)
    with open_run(out, stage="evaluate", config=cfg, resume=resume) as run_:
        evaluate(cfg, run_, compute)


def evaluate(cfg: Evaluate, run: Run, compute: Compute) -> None:
    """Every model answers the same prompts; then all are compared with the baseline."""
    if cfg.reward is None and cfg.gold is None:
        raise UserError("reward: nothing to judge by; give --reward RUN or --gold module:function")
    rows = read_rows(cfg)
    overlap = check_heldout(
        rows,
        cfg.prompts,
        [*cfg.models.values(), *([] if cfg.reward is None else [cfg.reward])],
        accept=cfg.accept_overlap,
        say=run.say,
    )
    measured_on = [*rows, *measured_texts(cfg)]
    quoted = count_quoted(measured_on, list(cfg.models.values()), say=run.say)
    context = cfg.sampling.max_prompt_tokens + cfg.sampling.max_response_tokens
    baseline = load_policy(cfg.models[cfg.baseline], compute, context_tokens=context)
    prompts, report = encode_prompts(rows, baseline.codec, cfg.sampling)
    if not len(prompts):
        raise UserError(f"{cfg.prompts}: no prompt fits sampling.max_prompt_tokens")
    run.plan({"models": len(cfg.models), "prompts": len(prompts), "too_long": len(report.dropped)})
    answers: dict[str, Answers] = {}
    names = list(cfg.models)
    for number in run.steps(0, len(names), "evaluate"):
        name = names[number]
        policy = load_policy(cfg.models[name], compute, context_tokens=context)
        if policy.codec.hash != baseline.codec.hash:
            raise UserError(
                f"models: {name} has another tokenizer or chat template than {cfg.baseline} "
                f"({policy.codec.hash} against {baseline.codec.hash}); the two can't be compared"
            )
        answers[name] = answer(cfg, policy, baseline, prompts, compute)
    run.executed({"models": len(answers), "prompts": len(prompts)})
    run.show(0, sample_rows(prompts, answers))
    run.finish(
        {
            "template_hash": baseline.codec.hash,
            "baseline": cfg.baseline,
            "prompts": len(prompts),
            "trained_on": overlap.as_dict(),
            "quoted_in_pretraining": quoted.as_dict(),
            "data": preflight.data_figures(report, {}),
            "models": {name: summary(cfg, name, answers) for name in names},
        }
    )


def read_rows(cfg: Evaluate) -> list[Prompt]:
    """The prompts to answer, each once: rankings may hold a prompt several times.

    Raises:
        UserError: the split holds none out.
    """
    rows = list(read_prompts(cfg.prompts))
    if cfg.split is not None:
        how = cfg.split
        # Before copies are dropped: a prompt asked by two authors may be on both sides.
        heldout = split(rows, salt=how.salt, heldout_fraction=how.heldout_fraction)[1]
        if not heldout:
            raise UserError(
                f"{cfg.prompts}: expected held-out prompts, got none of {len(rows)}; "
                f"raise split.heldout_fraction or give more prompts"
            )
        rows = heldout
    once: dict[str, Prompt] = {}
    for row in rows:
        once.setdefault(prompt_key(row.prompt), row)
    return list(once.values())[: cfg.num_prompts]


def measured_texts(cfg: Evaluate) -> list[Label]:
    """Held-out web text and cloze questions, each with its right end, as texts."""
    questions = [] if cfg.cloze is None else read_cloze(cfg.cloze)
    texts: list[Label] = [Text(text=q.prefix + q.options[q.answer]) for q in questions]
    if cfg.pretraining is not None:
        texts += islice(read_texts(cfg.pretraining), cfg.pretraining_examples)
    return texts


def answer(
    cfg: Evaluate, policy: Policy, baseline: Policy, prompts: Prompts, compute: Compute
) -> Answers:
    """Sample, judge, and measure one model. All models draw with the same random numbers."""
    episodes = generate(
        policy.model,
        prompts.tokens,
        cfg.sampling,
        end_id=policy.codec.end_id,
        compute=compute,
        generator=torch.Generator().manual_seed(cfg.seed),
    )
    texts = [decode_response(policy.codec, r) for r in episodes.responses()]
    figures = {
        "response_tokens": float(episodes.sequences.response_lengths.float().mean()),
        "truncated_share": float((~episodes.finished).float().mean()),
        "kl_to_sft_nats": kl_nats(policy, baseline, episodes.sequences, cfg, compute),
    }
    if cfg.pretraining is not None:
        documents = pretraining_sequences(cfg, cfg.pretraining, policy)
        figures["pretraining_loss"] = mean_next_token_loss(policy, documents, compute)
    if cfg.cloze is not None:
        figures["cloze_accuracy"] = cloze(cfg, cfg.cloze, policy, compute)
    return Answers(
        texts=texts,
        reward=None
        if cfg.reward is None
        else score_texts(load_reward_model(cfg.reward, compute), prompts.messages, texts, compute),
        gold=None if cfg.gold is None else by_function(cfg.gold, prompts, texts),
        gold_parts={
            name: by_function(target, prompts, texts) for name, target in cfg.gold_parts.items()
        },
        figures=figures,
    )


def by_function(target: str, prompts: Prompts, texts: list[str]) -> list[float]:
    """Scores of a gold function."""
    return call(
        load_function(target),
        prompts.messages,
        texts,
        name=target,
        timeout_seconds=GOLD_TIMEOUT_SECONDS,
    )


@torch.no_grad()
def kl_nats(
    policy: Policy, baseline: Policy, sequences: Sequences, cfg: Evaluate, compute: Compute
) -> float:
    """Mean over answers of log(pi / pi_baseline) summed over the answer, on the model's samples."""
    total = 0.0
    for rows in torch.arange(len(sequences)).split(cfg.prompts_per_batch):
        part = select(sequences, rows)
        temperature = cfg.sampling.temperature
        new = response_logprobs(policy.model, part, compute, temperature=temperature)[0]
        old = response_logprobs(baseline.model, part, compute, temperature=temperature)[0]
        total += float((new - old).sum())
    return total / len(sequences)


def pretraining_sequences(cfg: Evaluate, source: str, policy: Policy) -> Sequences:
    """Held-out documents, each on its own, cut to the context."""
    limit = cfg.sampling.max_prompt_tokens + cfg.sampling.max_response_tokens
    rows = []
    for row in islice(read_texts(source), cfg.pretraining_examples):
        tokens = policy.codec.tokenizer.encode(row.text, add_special_tokens=False)
        rows.append([*tokens, int(policy.codec.tokenizer.eos_token_id)][:limit])
    return from_lists([[] for _ in rows], rows)


@torch.no_grad()
def cloze(cfg: Evaluate, source: str, policy: Policy, compute: Compute) -> float:
    """Share of questions whose right option has the highest mean log-probability per token."""
    questions = list(read_cloze(source))
    prefixes, options = [], []
    for question in questions:
        prefix = policy.codec.tokenizer.encode(question.prefix, add_special_tokens=False)
        for option in question.options:
            prefixes.append(prefix)
            options.append(policy.codec.tokenizer.encode(option, add_special_tokens=False))
    sequences = from_lists(prefixes, options)
    means: list[float] = []
    for rows in torch.arange(len(sequences)).split(256):
        part = select(sequences, rows)
        losses = token_losses(policy.model, part, compute).cpu()
        means += [-float(x.mean()) for x in losses.split(part.response_lengths.tolist())]
    grouped, start = [], 0
    for question in questions:
        grouped.append(means[start : start + len(question.options)])
        start += len(question.options)
    answers = [question.answer for question in questions]
    return cloze_accuracy(grouped, answers, seed=cfg.seed).point


def summary(cfg: Evaluate, name: str, answers: dict[str, Answers]) -> dict[str, object]:
    """One model's row of the table."""
    own, base = answers[name], answers[cfg.baseline]
    by = "gold" if cfg.gold is not None else "reward"
    own_scores = own.gold if by == "gold" else own.reward
    base_scores = base.gold if by == "gold" else base.reward
    assert own_scores is not None
    assert base_scores is not None
    row: dict[str, object] = {
        "reward_mean": _mean(own.reward),
        "gold_mean": _mean(own.gold),
        "gold_parts": {part: _mean(scores) for part, scores in own.gold_parts.items()},
        "win_rate_vs_sft": win_rate(own_scores, base_scores, seed=cfg.seed).as_dict(),
        "win_rate_by": by,
    }
    return row | own.figures


def sample_rows(prompts: Prompts, answers: dict[str, Answers]) -> list[dict[str, object]]:
    """Every prompt with every model's answer, side by side."""
    return [
        {
            "id": prompts.ids[i],
            "prompt": prompts.messages[i],
            "responses": {name: a.texts[i] for name, a in answers.items()},
            "scores": {name: a.reward[i] for name, a in answers.items() if a.reward is not None},
            "gold": {name: a.gold[i] for name, a in answers.items() if a.gold is not None},
        }
        for i in range(len(prompts))
    ]


def _mean(values: list[float] | None) -> float | None:
    return None if values is None else sum(values) / len(values)
