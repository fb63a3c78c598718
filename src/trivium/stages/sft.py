"""Stage 1: learn to answer from demonstrations.

Ouyang et al. 2022, section 3.5 and C.1: next-token loss, cosine to 10 % without warm-up; every
epoch is a checkpoint, and the one a reward model likes best on held-out prompts may be chosen
rather than the one with the lowest loss. With a pretraining mix this makes the model that RL starts
from (C.3).
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from trivium.config import SFT
from trivium.data import DataReport, read_demonstrations, require_acceptable
from trivium.errors import UserError
from trivium.labels import Demonstration
from trivium.maths import cosine_to
from trivium.models import (
    Compute,
    Policy,
    adapt_policy,
    compute_for,
    load_policy,
    load_reward_model,
    set_residual_dropout,
    trained,
)
from trivium.rewards import score_texts
from trivium.rollouts import generate
from trivium.runs.checkpoint import (
    global_generators,
    load_global_generators,
    load_optimizer,
    optimizer_tensors,
)
from trivium.runs.directory import Run, open_run
from trivium.stages import preflight, sources
from trivium.stages.artifacts import keep_policy, write_policy
from trivium.stages.lm import backward_next_token, mean_next_token_loss
from trivium.stages.optimise import Learner, adamw, static_bytes, update
from trivium.stages.rows import (
    encode_demonstrations,
    encode_prompts,
    epoch_order,
    messages_of,
    require_ids_inside,
)
from trivium.stages.webtext import WebText, open_text
from trivium.text import Sequences, TextStream, decode_response, select


@dataclass(frozen=True, slots=True)
class Data:
    """What SFT learns from and is measured on.

    Attributes:
        train: demonstrations.
        heldout: held-out demonstrations; None if there are none.
        heldout_rows: the same, as they were read.
        web: pretraining text to mix in; None: no mix.
        report: what became of the demonstrations.
        heldout_report: what became of the held-out ones.
    """

    train: Sequences
    heldout: Sequences | None
    heldout_rows: list[Demonstration]
    web: WebText | None
    report: DataReport
    heldout_report: DataReport

    @property
    def stream(self) -> TextStream | None:
        """The examples of `web`."""
        return None if self.web is None else self.web.stream

    def parts(self) -> dict[str, DataReport]:
        """The account of what is not demonstrations to learn from."""
        web = {} if self.web is None else {"pretraining": self.web.report()}
        return {"heldout": self.heldout_report} | web


def run(cfg: SFT, out: Path, *, resume: bool = False) -> None:
    """Train on demonstrations into the run directory ``out``."""
    compute = compute_for(cfg.compute_dtype)
    with open_run(out, stage="sft", config=cfg, resume=resume) as run_:
        cfg = replace(cfg, demonstrations=sources.kept(cfg.demonstrations, out, "demonstrations"))
        torch.manual_seed(cfg.seed)
        train(cfg, run_, compute)


def train(cfg: SFT, run: Run, compute: Compute) -> None:
    """Shuffle, predict, update; at the end of each epoch measure and keep."""
    checkpoint = run.checkpoint
    policy = open_policy(cfg, checkpoint.path / "policy" if checkpoint else None, compute)
    set_residual_dropout(policy.model, cfg.dropout)
    data = load_data(cfg, policy)
    require_ids_inside(data.train, policy.model)
    steps_per_epoch = math.ceil(len(data.train) / cfg.examples_per_step)
    num_steps = steps_per_epoch * cfg.num_epochs
    optimizer = adamw(trained(policy.model), cfg.adam, lr=cfg.lr)
    preflight.show_example(run, policy.codec, data.train)
    run.plan(plan(cfg, data, policy, num_steps))

    first_step, epochs = 0, []
    done = dict.fromkeys(("steps", "demonstrations", "pretraining_examples"), 0)
    if checkpoint:
        tensors = checkpoint.tensors()
        load_optimizer(optimizer, tensors, "optimizer")
        load_global_generators(tensors)
        first_step, state = checkpoint.step, checkpoint.state
        epochs, done = list(state["epochs"]), dict(state["done"])
        if data.stream is not None:
            data.stream.load(state["stream"])

    for step in run.steps(first_step, num_steps, "sft"):
        epoch, position = divmod(step, steps_per_epoch)
        order = epoch_order(len(data.train), seed=cfg.seed, epoch=epoch)
        rows = order[position * cfg.examples_per_step :][: cfg.examples_per_step]
        lr = cfg.lr * cosine_to(step, num_steps=num_steps)
        metrics = learn(
            cfg, policy, optimizer, data, rows, run=run, compute=compute, step=step, lr=lr
        )
        done["steps"] += 1
        done["demonstrations"] += len(rows)
        done["pretraining_examples"] += mix_examples(cfg)
        epoch_ends = position + 1 == steps_per_epoch
        if epoch_ends:
            epochs.append(look(cfg, policy, data, compute, epoch))
            metrics |= measured(epochs[-1])
        run.log(step, metrics)
        if epoch_ends or (cfg.checkpoint_every and (step + 1) % cfg.checkpoint_every == 0):
            run.save(
                step + 1,
                write_models=lambda folder: keep_policy(policy, folder / "policy", stage="sft"),
                tensors=optimizer_tensors(optimizer, "optimizer") | global_generators(),
                state={
                    "epochs": epochs,
                    "done": done,
                    "stream": data.stream.state() if data.stream is not None else None,
                },
                keep=epoch_ends,
            )
    run.executed(done)
    finish(cfg, run, compute, data, epochs, steps_per_epoch)


def open_policy(cfg: SFT, saved: Path | None, compute: Compute) -> Policy:
    """What is trained: as it starts, or as a checkpoint saved it."""
    context = cfg.sampling.max_prompt_tokens + cfg.sampling.max_response_tokens
    if not cfg.lora.rank:
        return load_policy(str(saved or cfg.model), compute, context_tokens=context)
    base = load_policy(cfg.model, compute, context_tokens=context)
    return adapt_policy(base, cfg.lora, seed=cfg.seed, saved=saved)


def load_data(cfg: SFT, policy: Policy) -> Data:
    """Read, split, encode and check everything before the first update."""
    heldout = None if cfg.heldout is None else list(read_demonstrations(cfg.heldout))
    rows, heldout_rows, left_out = preflight.split_or_check(
        list(read_demonstrations(cfg.demonstrations)),
        heldout,
        cfg.split,
        names=(cfg.demonstrations, cfg.heldout or "the held-out part"),
    )
    train, report = encode_demonstrations(rows, policy.codec, cfg.sampling)
    require_acceptable(report, stage="sft", accept=cfg.accept_affected)
    preflight.check_bos(policy.codec, messages_of(rows[0]))
    web = None
    if cfg.pretraining is not None:
        tokens = mix_tokens(cfg)
        web = open_text(cfg.pretraining, policy.codec, heldout=heldout_rows, example_tokens=tokens)
    if cfg.pretraining is not None and cfg.pretraining_fraction > 0 and mix_examples(cfg) == 0:
        raise UserError(
            f"pretraining_fraction: {cfg.pretraining_fraction} of {cfg.examples_per_step} examples "
            f"rounds to none; raise it or examples_per_step"
        )
    if cfg.select_by is not None and not heldout_rows:
        raise UserError(
            "select_by: there are no held-out prompts to score; give --heldout or set "
            "split.heldout_fraction above 0"
        )
    heldout_sequences, heldout_report = None, DataReport(kept=0, truncated=(), dropped=())
    if heldout_rows:
        heldout_sequences, heldout_report = encode_demonstrations(
            heldout_rows, policy.codec, cfg.sampling
        )
    return Data(
        train=train,
        heldout=heldout_sequences,
        heldout_rows=heldout_rows,
        web=web,
        report=replace(report, left_out=left_out),
        heldout_report=heldout_report,
    )


def mix_examples(cfg: SFT) -> int:
    """Pretraining examples a step, so that they are `pretraining_fraction` of all examples."""
    if cfg.pretraining is None:
        return 0
    return round(cfg.examples_per_step * cfg.pretraining_fraction / (1 - cfg.pretraining_fraction))


def mix_tokens(cfg: SFT) -> int:
    """A pretraining example is as long as the longest demonstration may be, at most 512 tokens."""
    return min(512, cfg.sampling.max_prompt_tokens + cfg.sampling.max_response_tokens)


def plan(cfg: SFT, data: Data, policy: Policy, num_steps: int) -> dict[str, int]:
    """What will be done, in numbers; `run.executed` must give the same at the end."""
    return {
        "steps": num_steps,
        "demonstrations": len(data.train) * cfg.num_epochs,
        "pretraining_examples": mix_examples(cfg) * num_steps,
        "parameters": policy.model.num_parameters(),
        "trained_parameters": sum(p.numel() for p in trained(policy.model)),
        "static_bytes": static_bytes([policy.model], trained(policy.model)),
    }


def learn(  # noqa: PLR0913 - the body of the loop, cut out to stay readable
    cfg: SFT,
    policy: Policy,
    optimizer: torch.optim.AdamW,
    data: Data,
    rows: torch.Tensor,
    *,
    run: Run,
    compute: Compute,
    step: int,
    lr: float,
) -> dict[str, float]:
    """One optimizer step: the mean over every predicted token of demonstrations and web text."""
    batch = select(data.train, rows)
    mix = data.stream.take(mix_examples(cfg)) if data.stream is not None else None
    count = len(batch.predicted(prompts_too=cfg.loss_on_prompts))
    mix_count = len(mix.predicted()) if mix is not None else 0
    weight = 1 / (count + mix_count)
    # Without dropout the model stays in eval mode: nothing an architecture may do in training
    # mode on its own can then make sampling and scoring differ.
    policy.model.train(cfg.dropout > 0)
    loss_sum = backward_next_token(
        policy,
        batch,
        compute,
        rows_per_backward=cfg.examples_per_backward,
        weight=weight,
        prompts_too=cfg.loss_on_prompts,
    )
    metrics = {"sft/loss": loss_sum / count, "sft/tokens": float(count + mix_count)}
    if mix is not None and mix_count:
        mix_sum = backward_next_token(
            policy, mix, compute, rows_per_backward=cfg.examples_per_backward, weight=weight
        )
        metrics["sft/ptx_loss"] = mix_sum / mix_count
    policy.model.eval()
    (norm,) = update(
        [Learner(optimizer, lr)],
        max_grad_norm=cfg.adam.max_grad_norm,
        run=run,
        step=step,
        batch=batch,
    )
    return metrics | {"sft/lr": lr, "sft/grad_norm": norm}


def look(
    cfg: SFT, policy: Policy, data: Data, compute: Compute, epoch: int
) -> dict[str, float | None]:
    """Held-out loss of the epoch and, where a reward model is given, its mean score."""
    train_part = select(data.train, torch.arange(min(len(data.train), 64)))
    row: dict[str, float | None] = {
        "epoch": float(epoch + 1),
        "train_loss": mean_next_token_loss(policy, train_part, compute),
        "heldout_loss": None,
        "rm_score": None,
    }
    if data.heldout is not None:
        row["heldout_loss"] = mean_next_token_loss(policy, data.heldout, compute)
    if cfg.select_by is not None and data.heldout_rows:
        row["rm_score"] = mean_rm_score(cfg, cfg.select_by, policy, data, compute)
    return row


def measured(row: dict[str, float | None]) -> dict[str, float]:
    """The epoch's held-out figures under their metric names."""
    named = {"heldout/loss": row["heldout_loss"], "heldout/rm_score": row["rm_score"]}
    return {name: value for name, value in named.items() if value is not None}


def mean_rm_score(cfg: SFT, judge: str, policy: Policy, data: Data, compute: Compute) -> float:
    """Mean reward-model score of the policy's own answers to held-out prompts (paper C.1)."""
    reward = load_reward_model(judge, compute)
    rows = data.heldout_rows[: cfg.select_samples]
    prompts, _ = encode_prompts(rows, policy.codec, cfg.sampling)
    # The same draws for every epoch, so that epochs differ by their weights alone.
    episodes = generate(
        policy.model,
        prompts.tokens,
        cfg.sampling,
        end_id=policy.codec.end_id,
        compute=compute,
        generator=torch.Generator().manual_seed(cfg.seed),
    )
    texts = [decode_response(policy.codec, r) for r in episodes.responses()]
    scores = score_texts(reward, prompts.messages, texts, compute)
    return sum(scores) / len(scores)


def choose_epoch(epochs: list[dict[str, float | None]]) -> int:
    """The epoch with the best reward-model score; without scores the last one."""
    scores = [-math.inf if row["rm_score"] is None else row["rm_score"] for row in epochs]
    best = max(scores)
    return scores.index(best) if math.isfinite(best) else len(epochs) - 1


def finish(
    cfg: SFT,
    run: Run,
    compute: Compute,
    data: Data,
    epochs: list[dict[str, float | None]],
    steps_per_epoch: int,
) -> None:
    """Choose the epoch, make it the run's model, write the summary."""
    chosen = choose_epoch(epochs)
    folder = run.dir / "checkpoints" / f"step-{(chosen + 1) * steps_per_epoch:06d}" / "policy"
    policy = open_policy(cfg, folder, compute)
    write_policy(run, policy, stage="sft")
    run.finish(
        {
            "template_hash": policy.codec.hash,
            "epochs": epochs,
            "chosen_epoch": chosen + 1,
            "heldout_loss": epochs[chosen]["heldout_loss"],
            "data": preflight.data_figures(data.report, data.parts()),
        }
    )
