"""Stage 2: learn from rankings which answer people like better.

Ouyang et al. 2022, section 3.5, eq. 1 and C.2: the trunk of the SFT model with its unembedding
removed and a scalar head read at the last token. All comparisons of a prompt are one batch element
with one forward pass per completion; the loss is the mean over a ranking's untied pairs, then over
rankings, so that every ranking weighs the same whatever its K. Afterwards a bias makes
demonstrations score 0 on average, and is folded into the head.

In the paper one labeler ranks a prompt. Where several did, their rankings share the forward pass
and each has its own term in the loss: the prompt weighs as much as people looked at it, and
labelers who disagree are not averaged before the loss sees them. Such rankings are not independent,
so intervals draw prompts again, not rankings.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from trivium.config import Reward, Sampling
from trivium.data import (
    DataReport,
    Dropped,
    find_leaks,
    prompt_key,
    read_demonstrations,
    read_rankings,
    require_acceptable,
)
from trivium.errors import UserError
from trivium.labels import Demonstration, Ranking, has_untied_pair
from trivium.maths import cosine_to, ranking_loss
from trivium.models import (
    Compute,
    RewardModel,
    adapt_reward_model,
    compute_for,
    fold_bias,
    load_reward_model,
    sequence_scores,
    trained,
)
from trivium.models.forward import hidden_states
from trivium.models.load import new_reward_model
from trivium.rewards import read_out, score_sequences
from trivium.runs.checkpoint import load_optimizer, optimizer_tensors
from trivium.runs.directory import Run, open_run
from trivium.stages import preflight, sources
from trivium.stages.artifacts import keep_reward_model, write_reward_model
from trivium.stages.optimise import Learner, adamw, static_bytes, update
from trivium.stages.reward_report import agreement_figures, heldout_figures, labeler_figures
from trivium.stages.rows import (
    Rankings,
    encode_demonstrations,
    encode_rankings,
    epoch_order,
    messages_of,
    require_ids_inside,
)
from trivium.text import Sequences, select

SEEN = "its prompt is trained on"

CALIBRATION_TEXTS = 1024
"""Texts that the direction of the bias is fitted to, demonstrations included."""


@dataclass(frozen=True, slots=True)
class Data:
    """What the reward model learns from and is measured on.

    Attributes:
        train: rankings with an untied pair by labelers in training.
        heldout: rankings of held-out prompts by the same labelers.
        strangers: rankings by held-out labelers, of prompts that are not trained on.
        demonstrations: those that fit; their mean score becomes 0.
        demonstration_rows: the same, as they were read.
        rankings: every row as it was read, for the labelers' agreement.
        report: what became of the training rows.
        other_reports: what became of the rows that are measured on, by their part of the data.
    """

    train: Rankings
    heldout: Rankings
    strangers: Rankings
    demonstrations: Sequences
    demonstration_rows: list[Demonstration]
    rankings: list[Ranking]
    report: DataReport
    other_reports: dict[str, DataReport]


def run(cfg: Reward, out: Path, *, resume: bool = False) -> None:
    """Train a reward model into the run directory ``out``."""
    compute = compute_for(cfg.compute_dtype)
    with open_run(out, stage="reward", config=cfg, resume=resume) as run_:
        cfg = replace(
            cfg,
            rankings=sources.kept(cfg.rankings, out, "rankings"),
            demonstrations=sources.kept(cfg.demonstrations, out, "demonstrations"),
        )
        torch.manual_seed(cfg.seed)
        train(cfg, run_, compute)


def train(cfg: Reward, run: Run, compute: Compute) -> None:
    """Shuffle rankings, score all completions, compare, update; then set the bias and measure."""
    checkpoint = run.checkpoint
    reward = open_reward_model(cfg, checkpoint.path / "reward" if checkpoint else None, compute)
    data = load_data(cfg, reward)
    require_ids_inside(data.train.sequences, reward.model)
    steps_per_epoch = math.ceil(data.train.num_prompts / cfg.prompts_per_step)
    num_steps = steps_per_epoch * cfg.num_epochs
    optimizer = adamw(trained(reward.model), cfg.adam, lr=cfg.lr)
    preflight.show_example(run, reward.codec, data.train.sequences)
    run.plan(plan(cfg, data, reward, num_steps))

    first_step = 0
    done = dict.fromkeys(("steps", "prompts", "rankings", "completions"), 0)
    if checkpoint:
        load_optimizer(optimizer, checkpoint.tensors(), "optimizer")
        first_step, done = checkpoint.step, dict(checkpoint.state["done"])

    for step in run.steps(first_step, num_steps, "reward"):
        epoch, position = divmod(step, steps_per_epoch)
        order = epoch_order(data.train.num_prompts, seed=cfg.seed, epoch=epoch)
        prompts = order[position * cfg.prompts_per_step :][: cfg.prompts_per_step].tolist()
        lr = cfg.lr * cosine_to(step, num_steps=num_steps)
        metrics = learn(
            cfg, reward, optimizer, data.train, prompts, run=run, compute=compute, step=step, lr=lr
        )
        done["steps"] += 1
        done["prompts"] += len(prompts)
        done["rankings"] += sum(len(data.train.ranked[i]) for i in prompts)
        done["completions"] += sum(len(data.train.rows(i)) for i in prompts)
        epoch_ends = position + 1 == steps_per_epoch
        if epoch_ends and len(data.heldout):
            metrics |= heldout_metrics(reward, data.heldout, compute)
        run.log(step, metrics)
        if epoch_ends or (cfg.checkpoint_every and (step + 1) % cfg.checkpoint_every == 0):
            run.save(
                step + 1,
                write_models=lambda folder: keep_reward_model(
                    reward, folder / "reward", compute, stage="reward"
                ),
                tensors=optimizer_tensors(optimizer, "optimizer"),
                state={"done": done},
            )
    run.executed(done)
    finish(cfg, run, reward, data, compute)


def open_reward_model(cfg: Reward, saved: Path | None, compute: Compute) -> RewardModel:
    """What is trained: as it starts, or as a checkpoint saved it."""
    if saved is not None and not cfg.lora.rank:
        return load_reward_model(str(saved), compute)
    context = cfg.max_prompt_tokens + cfg.max_response_tokens
    reward = new_reward_model(cfg.model, compute, seed=cfg.seed, context_tokens=context)
    if not cfg.lora.rank:
        return reward
    return adapt_reward_model(reward, cfg.lora, seed=cfg.seed, saved=saved)


def load_data(cfg: Reward, reward: RewardModel) -> Data:
    """Read, split, encode and check everything before the first update."""
    rows = list(read_rankings(cfg.rankings))
    heldout = None if cfg.heldout is None else list(read_rankings(cfg.heldout))
    known = {row.labeler for row in [*rows, *(heldout or [])]}
    for name in cfg.heldout_labelers:
        if name not in known:
            raise UserError(
                f"heldout_labelers: no ranking by {name!r} in {cfg.rankings}; "
                f"its labelers are {', '.join(sorted(str(k) for k in known)[:8])}"
            )
    strangers, insiders = by_labeler(cfg, rows)
    if heldout is not None:
        more_strangers, heldout = by_labeler(cfg, heldout)
        strangers += more_strangers
    names = (cfg.rankings, cfg.heldout or "the held-out part")
    train, heldout, left_out = preflight.split_or_check(insiders, heldout, cfg.split, names=names)
    if not any(map(has_untied_pair, train)):
        raise UserError(
            f"{cfg.rankings}: every ranking is one big tie, so there is no pair to learn from"
        )
    preflight.check_bos(reward.codec, messages_of(train[0]))
    encoded, report = _encode(cfg, reward, train)
    require_acceptable(report, stage="reward", accept=cfg.accept_affected)
    if cfg.use_margins and not any(encoded.scores):
        raise UserError(
            f"use_margins: no ranking of {cfg.rankings} that is trained on has a score for each of "
            f"its completions; give them one (completions[].score), or leave use_margins out"
        )
    measured, heldout_report = _encode(cfg, reward, heldout)
    seen, new = told_apart(strangers, train, trained_on=set(encoded.prompt_keys))
    unseen, strangers_report = _encode(cfg, reward, new)
    demonstrations = list(read_demonstrations(cfg.demonstrations))
    limits = Sampling(
        max_prompt_tokens=cfg.max_prompt_tokens, max_response_tokens=cfg.max_response_tokens
    )
    sequences, demonstrations_report = encode_demonstrations(demonstrations, reward.codec, limits)
    too_long = {row.id for row in demonstrations_report.dropped}
    return Data(
        train=encoded,
        heldout=measured,
        strangers=unseen,
        demonstrations=sequences,
        demonstration_rows=[row for row in demonstrations if row.id not in too_long],
        rankings=rows,
        report=replace(report, left_out=left_out),
        other_reports={
            "heldout": heldout_report,
            "heldout_labelers": replace(strangers_report, dropped=strangers_report.dropped + seen),
            "demonstrations": demonstrations_report,
        },
    )


def by_labeler(cfg: Reward, rows: list[Ranking]) -> tuple[list[Ranking], list[Ranking]]:
    """The rankings by held-out labelers, and the others."""
    strangers = [row for row in rows if row.labeler in cfg.heldout_labelers]
    return strangers, [row for row in rows if row.labeler not in cfg.heldout_labelers]


def told_apart(
    strangers: list[Ranking], train: list[Ranking], *, trained_on: set[str]
) -> tuple[tuple[Dropped, ...], list[Ranking]]:
    """Held-out labelers' rankings of prompts that are trained on, or nearly so, and the others."""
    learned = [row for row in train if prompt_key(row.prompt) in trained_on]
    leaks = [leak for leak in find_leaks(strangers, learned) if leak.reason != "same author"]
    seen = {leak.train_index for leak in leaks}
    dropped = tuple(Dropped(strangers[i].id, SEEN) for i in sorted(seen))
    return dropped, [row for i, row in enumerate(strangers) if i not in seen]


def _encode(cfg: Reward, reward: RewardModel, rows: list[Ranking]) -> tuple[Rankings, DataReport]:
    return encode_rankings(
        rows,
        reward.codec,
        max_prompt_tokens=cfg.max_prompt_tokens,
        max_response_tokens=cfg.max_response_tokens,
    )


def plan(cfg: Reward, data: Data, reward: RewardModel, num_steps: int) -> dict[str, int]:
    """What will be done, in numbers; `run.executed` must give the same at the end."""
    return {
        "steps": num_steps,
        "prompts": data.train.num_prompts * cfg.num_epochs,
        "rankings": len(data.train) * cfg.num_epochs,
        "completions": len(data.train.sequences) * cfg.num_epochs,
        "heldout_prompts": data.heldout.num_prompts,
        "parameters": reward.model.num_parameters(),
        "trained_parameters": sum(p.numel() for p in trained(reward.model)),
        "static_bytes": static_bytes([reward.model], trained(reward.model)),
    }


def learn(  # noqa: PLR0913 - the body of the loop, cut out to stay readable
    cfg: Reward,
    reward: RewardModel,
    optimizer: torch.optim.AdamW,
    data: Rankings,
    prompts: list[int],
    *,
    run: Run,
    compute: Compute,
    step: int,
    lr: float,
) -> dict[str, float]:
    """One optimizer step on the mean over rankings of eq. 1."""
    loss_sum, right, pairs, tokens = 0.0, 0.0, 0, 0
    rankings = sum(len(data.ranked[i]) for i in prompts)
    for start in range(0, len(prompts), cfg.prompts_per_backward):
        part = prompts[start : start + cfg.prompts_per_backward]
        scores = score_rankings(reward, data, part, compute)
        losses = [
            ranking_loss(s, data.ranks[i], margins=margins_of(cfg, data, i))
            for i, s in scores.items()
        ]
        loss = torch.stack(losses).sum() / rankings
        loss.backward()
        loss_sum += float(loss.detach())
        tokens += len(completions_of(data, part).tokens)
        for i, s in scores.items():
            won, count = pairs_right(s.detach(), data.ranks[i])
            right, pairs = right + won, pairs + count
    (norm,) = update(
        [Learner(optimizer, lr)],
        max_grad_norm=cfg.adam.max_grad_norm,
        run=run,
        step=step,
        batch=completions_of(data, prompts),
    )
    return {
        "reward/loss": loss_sum,
        "reward/accuracy": right / pairs,
        "reward/pairs": float(pairs),
        "reward/tokens": float(tokens),
        "reward/lr": lr,
        "reward/grad_norm": norm,
    }


def score_rankings(
    reward: RewardModel, data: Rankings, prompts: list[int], compute: Compute
) -> dict[int, Float[Tensor, " K"]]:
    """Each ranking's scores, on the CPU: one forward pass per completion of the given prompts."""
    batch = completions_of(data, prompts)
    hidden = hidden_states(reward.model, batch, compute)
    scores = sequence_scores(reward.head, hidden, batch).cpu()
    parts = scores.split([len(data.rows(i)) for i in prompts])
    return {
        ranking: part[data.completions[ranking] - data.starts[prompt]]
        for prompt, part in zip(prompts, parts, strict=True)
        for ranking in data.ranked[prompt]
    }


def completions_of(data: Rankings, prompts: list[int]) -> Sequences:
    """All completions of the given prompts, prompt by prompt."""
    return select(data.sequences, torch.tensor([row for i in prompts for row in data.rows(i)]))


def margins_of(cfg: Reward, data: Rankings, ranking: int) -> Float[Tensor, "K K"] | None:
    """The judge's score gaps as margins, where asked for and known; never negative."""
    scores = data.scores[ranking]
    if not cfg.use_margins or scores is None:
        return None
    column = torch.tensor(scores)
    return (column[:, None] - column[None, :]).clamp(min=0)


def pairs_right(scores: Float[Tensor, " K"], ranks: Tensor) -> tuple[float, int]:
    """Untied pairs that the scores order as the ranks do (a tie of scores is half), and all."""
    better = ranks[:, None] < ranks[None, :]
    gap = scores[:, None] - scores[None, :]
    right = (gap[better] > 0).sum() + 0.5 * (gap[better] == 0).sum()
    return float(right), int(better.sum())


@torch.no_grad()
def heldout_metrics(reward: RewardModel, data: Rankings, compute: Compute) -> dict[str, float]:
    """Loss and accuracy on held-out prompts."""
    loss, right, pairs = 0.0, 0.0, 0
    for prompt in range(data.num_prompts):
        for i, scores in score_rankings(reward, data, [prompt], compute).items():
            loss += float(ranking_loss(scores, data.ranks[i]))
            won, count = pairs_right(scores, data.ranks[i])
            right, pairs = right + won, pairs + count
    return {"heldout/loss": loss / len(data), "heldout/accuracy": right / pairs}


def finish(cfg: Reward, run: Run, reward: RewardModel, data: Data, compute: Compute) -> None:
    """Set the bias, save, reload, check the demonstrations' mean, measure, write the summary."""
    shift, fold_error = set_bias(cfg, reward, data, compute)
    run.say(f"bias {shift:+.3f} folded into the head, error {fold_error:.4f} rms")
    write_reward_model(run, reward, compute, stage="reward")
    saved = load_reward_model(str(run.dir), compute)
    examples = data.demonstration_rows[:4]
    preflight.check_scores_alone_and_together(
        saved, [messages_of(r) for r in examples], [r.completion for r in examples], compute
    )
    scores = score_sequences(saved, data.demonstrations, compute)
    demonstration_mean = sum(scores) / len(scores)
    tolerance = 1e-2 * max(1.0, *map(abs, scores))
    assert abs(demonstration_mean) < tolerance, f"demonstrations score {demonstration_mean}"
    run.finish(
        {
            "template_hash": saved.codec.hash,
            "demonstration_mean": demonstration_mean,
            "bias": shift,
            "bias_fold_error": fold_error,
            "heldout": heldout_figures(saved, data.heldout, compute, seed=cfg.seed),
            "heldout_labelers": labeler_figures(saved, data.strangers, compute, seed=cfg.seed),
            "labeler_agreement": agreement_figures(data.rankings, seed=cfg.seed),
            "data": preflight.data_figures(data.report, data.other_reports),
        }
    )


def set_bias(cfg: Reward, reward: RewardModel, data: Data, compute: Compute) -> tuple[float, float]:
    """Shift all scores so that demonstrations have mean 0; returns the shift and the fold's error.

    The direction that carries the bias is fitted to demonstrations and training completions.
    """
    demonstrations = read_out(reward, data.demonstrations, compute)
    order = epoch_order(len(data.train.sequences), seed=cfg.seed, epoch=cfg.num_epochs)
    room = max(CALIBRATION_TEXTS - len(demonstrations), len(demonstrations))
    completions = read_out(reward, select(data.train.sequences, order[:room]), compute)
    with torch.no_grad():
        shift = -float(reward.head(demonstrations).mean())
    hidden = torch.cat([demonstrations, completions])
    error = fold_bias(reward.head, hidden, shift, exact_rows=torch.arange(len(demonstrations)))
    return shift, error
