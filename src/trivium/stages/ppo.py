"""Stage 3: make the policy better liked, without letting it wander far from the SFT model.

Ouyang et al. 2022, section 3.5 and eq. 2 and C.4, on top of Schulman et al. 2017, algorithm 1.
PPO-ptx is the same loop with pretraining gradients mixed into every optimizer step.
"""

import time
from dataclasses import replace
from pathlib import Path

import torch

from trivium import maths
from trivium.config import PPO
from trivium.models import Compute, compute_for
from trivium.rewards.spec import parse_rewards
from trivium.runs.directory import Run, open_run, read_summary
from trivium.stages import preflight
from trivium.stages.artifacts import write_policy
from trivium.stages.lineage import run_of
from trivium.stages.ppo_experience import Experience, act, judge
from trivium.stages.ppo_learn import Optimizers, learn
from trivium.stages.ppo_models import (
    Networks,
    averaged_policy,
    load_networks,
)
from trivium.stages.ppo_report import figures, heldout_metrics, sample_rows, step_metrics
from trivium.stages.ppo_setup import (
    Data,
    load_data,
    make_optimizers,
    measure_scale,
    plan,
    work_of_step,
)
from trivium.stages.ppo_state import Progress, restore, save
from trivium.stages.rows import Prompts, epoch_order

DROWNED = 10.0
"""Pretraining gradients this many times PPO's leave nothing of it after the clip."""


def run(cfg: PPO, out: Path, *, resume: bool = False) -> None:
    """Run PPO or PPO-ptx into the run directory ``out``."""
    compute = compute_for(cfg.compute_dtype)
    with open_run(out, stage="ppo", config=cfg, resume=resume) as run_:
        torch.manual_seed(cfg.seed)
        train(cfg, run_, compute)


def train(cfg: PPO, run: Run, compute: Compute) -> None:
    """Act, judge, assign credit, learn, report; repeat."""
    networks = load_networks(cfg, compute, run.checkpoint)
    data = load_data(cfg, networks.policy)
    optimizers = make_optimizers(cfg, networks)
    generator = torch.Generator().manual_seed(cfg.seed)
    run.plan(plan(cfg, networks))
    warn_of_weak_rewards(cfg, run)
    progress = begin(cfg, run, networks, data, optimizers, generator, compute)

    for step in run.steps(progress.step, cfg.num_steps, "ppo-ptx" if data.stream else "ppo"):
        # Act: y ~ pi(. | x)
        began = time.monotonic()
        chosen = next_prompts(cfg, data.prompts, progress.prompts_taken)
        episodes = act(
            cfg, networks.policy, data.prompts, chosen, compute=compute, generator=generator
        )
        acted = time.monotonic()

        # Judge: r(x, y) on the last token, minus beta log(pi / pi_SFT) on every token; then
        # assign credit
        experience = judge(
            cfg,
            networks,
            episodes,
            data.prompts,
            chosen,
            kl_coef=progress.kl_coef,
            scale=progress.scale,
            compute=compute,
        )
        if step == 0:
            check_step_zero(experience, compute)
        judged = time.monotonic()

        # Learn: one optimizer step per minibatch, pretraining gradients mixed in; or TRPO's step
        metrics = learn(
            cfg,
            networks,
            optimizers,
            experience,
            data.stream,
            run,
            step=step,
            klpen_coef=progress.klpen_coef,
            compute=compute,
            generator=generator,
        )
        learned = time.monotonic()
        if step == 0:
            warn_if_drowned(metrics, run)

        # Report
        metrics |= step_metrics(experience, progress.kl_coef, progress.klpen_coef)
        metrics |= {
            "seconds/sample": acted - began,
            "seconds/judge": judged - acted,
            "seconds/learn": learned - judged,
            "seconds/step": learned - began,
            "tokens_per_second": len(episodes.sequences.tokens) / (learned - began),
        }
        progress = advance(cfg, progress, metrics, experience)
        if cfg.heldout_every and (step + 1) % cfg.heldout_every == 0 and len(data.heldout):
            metrics |= heldout_metrics(cfg, networks, data.heldout, progress.scale, compute)
        run.log(step, metrics)
        run.show(step, sample_rows(experience, networks.policy))
        if (step + 1) % cfg.checkpoint_every == 0 or step + 1 == cfg.num_steps:
            save(run, networks, optimizers, generator, data, progress)
    finish(cfg, run, networks, data, progress)


def begin(
    cfg: PPO,
    run: Run,
    networks: Networks,
    data: Data,
    optimizers: Optimizers,
    generator: torch.Generator,
    compute: Compute,
) -> Progress:
    """The state to start from: a checkpoint's, or a fresh one."""
    if run.checkpoint is None:
        return Progress(
            step=0,
            prompts_taken=0,
            kl_coef=cfg.kl_coef,
            klpen_coef=cfg.klpen_coef,
            scale=measure_scale(cfg, networks, data.prompts, compute),
            done=dict.fromkeys(work_of_step(cfg, cfg.episodes_per_step), 0),
            kept={},
        )
    return restore(run.checkpoint, data, optimizers, generator)


def next_prompts(cfg: PPO, prompts: Prompts, taken: int) -> list[int]:
    """The next prompts of the endless sequence of shuffled passes over the prompt set."""
    chosen = []
    for place in range(taken, taken + cfg.episodes_per_step // cfg.samples_per_prompt):
        epoch, position = divmod(place, len(prompts))
        chosen.append(int(epoch_order(len(prompts), seed=cfg.seed, epoch=epoch)[position]))
    return chosen


def advance(
    cfg: PPO, progress: Progress, metrics: dict[str, float], experience: Experience
) -> Progress:
    """Counters and controllers after a step."""
    num_episodes = len(experience.episodes)
    work = work_of_step(cfg, num_episodes)
    kl_coef, klpen_coef = progress.kl_coef, progress.klpen_coef
    if cfg.kl_target_nats_per_response is not None:
        kl_coef = maths.adaptive_kl_coef(
            kl_coef,
            metrics["objective/kl_nats"],
            target_nats=cfg.kl_target_nats_per_response,
            num_episodes=num_episodes,
            horizon_episodes=cfg.kl_horizon_episodes,
        )
    if cfg.loss == "klpen" and cfg.klpen_target is not None:
        klpen_coef = maths.adaptive_klpen_coef(
            klpen_coef, metrics["policy/kl_after"], cfg.klpen_target
        )
    return replace(
        progress,
        step=progress.step + 1,
        prompts_taken=progress.prompts_taken + num_episodes // cfg.samples_per_prompt,
        kl_coef=kl_coef,
        klpen_coef=klpen_coef,
        done={name: progress.done[name] + n for name, n in work.items()},
        kept=figures(progress.kept, experience, metrics),
    )


def check_step_zero(experience: Experience, compute: Compute) -> None:
    """Before the first update policy and reference are one model: their KL is 0.

    Raises:
        AssertionError: it is not; the models or the law they are read with differ.
    """
    tokens = int(experience.mask.sum())
    worst = max(abs(float(experience.kl_nats.sum())), float(experience.kl_k3_nats.sum())) / tokens
    assert worst < compute.kl_tolerance, (
        f"KL to the reference at step 0 is {worst:.2e} nats per token "
        f"(at most {compute.kl_tolerance:.0e}): policy and reference differ; look at dropout in "
        f"the model's config and at compute_dtype"
    )


def warn_of_weak_rewards(cfg: PPO, run: Run) -> None:
    """Say so when a reward model of ours is not clearly better than taking the longer answer.

    Read from the summary of the run that trained it; of a model from elsewhere nothing is known.
    """
    for spec in parse_rewards(cfg.reward):
        folder = run_of(spec.target)
        heldout = ((folder and read_summary(folder)) or {}).get("heldout")
        if not heldout:
            continue
        accuracy, ruler = heldout["accuracy"], heldout["longer_wins"]["point"]
        if accuracy["low"] <= ruler:
            run.say(
                f"warning: reward model {spec.target} orders {accuracy['point']:.1%} of its "
                f"held-out pairs as people did ({accuracy['low']:.1%} to {accuracy['high']:.1%}); "
                f"always taking the longer answer orders {ruler:.1%}, so length may be what "
                f"is learned: watch episodes/response_tokens"
            )


def warn_if_drowned(metrics: dict[str, float], run: Run) -> None:
    """Say so when pretraining gradients leave nothing of PPO's after the clip.

    Both are clipped together (paper C.4 accumulates them before one step), so a share of 2 % of the
    norm is 2 % of every update. Seen with the paper's 27.8 on a 135M model (docs/log.md).
    """
    if "policy/ptx_grad_norm" not in metrics:
        return
    ptx, ppo = metrics["policy/ptx_grad_norm"], metrics["policy/ppo_grad_norm"]
    if ptx > DROWNED * ppo:
        run.say(
            f"warning: the pretraining gradient is {ptx / max(ppo, 1e-12):.0f} times PPO's "
            f"({ptx:.3g} against {ppo:.3g}) and both are clipped together, so the reward will "
            f"hardly be followed; lower ptx_coef"
        )


def finish(cfg: PPO, run: Run, networks: Networks, data: Data, progress: Progress) -> None:
    """Choose the weights, make them the run's model, write the summary."""
    policy = averaged_policy(networks) if cfg.save_weights == "ema" else networks.policy
    write_policy(run, policy, stage="ppo")
    run.executed(progress.done)
    run.finish(
        {
            "template_hash": policy.codec.hash,
            "invariants": {
                "step0_kl_per_token": progress.kept["step0_kl_per_token"],
                "first_ratio_deviation": progress.kept["first_ratio_deviation"],
            },
            "score_first": progress.kept["score_first"],
            "score_last": progress.kept["score_last"],
            "kl_nats_last": progress.kept["kl_nats_last"],
            "response_tokens_last": progress.kept["response_tokens_last"],
            "kl_coef_last": progress.kl_coef,
            "reward_scale": {"mean": progress.scale.mean, "std": progress.scale.std},
            "data": preflight.data_figures(data.report, data.parts()),
        }
    )
