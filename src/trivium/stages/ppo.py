"""Stage 3: make the policy better liked, without letting it wander far from the SFT model.

Ouyang et al. 2022, section 3.5 and eq. 2 and C.4, on top of Schulman et al. 2017, algorithm 1.
PPO-ptx is the same loop with pretraining gradients mixed into every optimizer step.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from trivium import maths
from trivium.config import PPO
from trivium.data import DataReport, read_prompts, read_texts, require_acceptable
from trivium.models import Compute, Policy, compute_for, save_policy
from trivium.runs.checkpoint import (
    Checkpoint,
    generator_state,
    load_generator,
    load_optimizer,
    optimizer_tensors,
)
from trivium.runs.directory import Run, open_run
from trivium.stages import preflight
from trivium.stages.artifacts import write_model
from trivium.stages.optimise import adamw
from trivium.stages.ppo_experience import Experience, RewardScale, act, judge
from trivium.stages.ppo_learn import Optimizers, learn, ptx_examples
from trivium.stages.ppo_models import (
    Networks,
    averaged_policy,
    judge_texts,
    load_networks,
    tensors_of,
)
from trivium.stages.ppo_report import figures, heldout_metrics, sample_rows, step_metrics
from trivium.stages.rows import Prompts, encode_prompts, epoch_order
from trivium.text import TextStream, decode_response, open_stream


@dataclass(frozen=True, slots=True)
class Data:
    """What PPO reads."""

    prompts: Prompts
    heldout: Prompts
    stream: TextStream | None
    report: DataReport


@dataclass(frozen=True, slots=True)
class Progress:
    """What changes from step to step besides weights; a checkpoint stores all of it.

    Attributes:
        step: the next step.
        prompts_taken: prompts drawn so far: the cursor over passes and places in them.
        kl_coef: beta.
        klpen_coef: price of KL(old || new).
        scale: what scores are shifted and divided by.
        done: counts that must equal the plan's.
        kept: figures of the first and last steps for the summary.
    """

    step: int
    prompts_taken: int
    kl_coef: float
    klpen_coef: float
    scale: RewardScale
    done: dict[str, int]
    kept: dict[str, float]


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
        check_sampler(experience, compute)
        if step == 0:
            check_step_zero(experience, compute)
        judged = time.monotonic()

        # Learn: one optimizer step per minibatch, pretraining gradients mixed in
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


def load_data(cfg: PPO, policy: Policy) -> Data:
    """Read, split, encode and check everything before the first episode."""
    heldout = None if cfg.heldout is None else list(read_prompts(cfg.heldout))
    rows, heldout_rows = preflight.split_or_check(
        list(read_prompts(cfg.prompts)),
        heldout,
        cfg.split,
        names=(cfg.prompts, cfg.heldout or "the held-out part"),
    )
    prompts, report = encode_prompts(rows, policy.codec, cfg.sampling)
    require_acceptable(report, stage="ppo", accept=cfg.accept_affected)
    preflight.check_bos(policy.codec, prompts.tokens[0], prompts.messages[0])
    stream = None
    if cfg.ptx_coef > 0 and cfg.pretraining is not None:
        source = cfg.pretraining
        stream = open_stream(
            lambda: (row.text for row in read_texts(source)),
            policy.codec,
            example_tokens=cfg.ptx_tokens_per_example,
        )
    return Data(
        prompts, encode_prompts(heldout_rows, policy.codec, cfg.sampling)[0], stream, report
    )


def make_optimizers(cfg: PPO, networks: Networks) -> Optimizers:
    """A head on the policy's trunk learns with the policy; a critic of its own has its own."""
    policy, critic = list(networks.policy.model.parameters()), networks.critic
    if critic is not None and critic.shared:
        policy += critic.parameters()
    own = critic is not None and not critic.shared
    return Optimizers(
        policy=adamw(policy, cfg.adam, lr=cfg.lr),
        critic=adamw(critic.parameters(), cfg.adam, lr=cfg.value_lr) if own and critic else None,
    )


def plan(cfg: PPO, networks: Networks) -> dict[str, int]:
    """What will be done, in numbers; `run.executed` must give the same at the end."""
    updates = (
        cfg.num_steps * cfg.inner_epochs * (cfg.episodes_per_step // cfg.episodes_per_minibatch)
    )
    size = networks.policy.model.num_parameters()
    separate = networks.critic is not None and not networks.critic.shared
    judges = sum(m.model.num_parameters() for m in networks.judge.models.values())
    return {
        "steps": cfg.num_steps,
        "episodes": cfg.num_steps * cfg.episodes_per_step,
        "optimizer_updates": updates,
        "pretraining_examples": updates * ptx_examples(cfg) if cfg.ptx_coef > 0 else 0,
        "response_tokens_at_most": (
            cfg.num_steps * cfg.episodes_per_step * cfg.sampling.max_response_tokens
        ),
        "parameters": size,
        # trained: fp32 weights, gradients and two Adam moments; frozen: weights
        "static_bytes": 16 * size * (2 if separate else 1) + 4 * size + 4 * judges,
    }


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
            done=dict.fromkeys(
                ("steps", "episodes", "optimizer_updates", "pretraining_examples"), 0
            ),
            kept={},
        )
    return restore(run.checkpoint, data, optimizers, generator)


def restore(
    checkpoint: Checkpoint, data: Data, optimizers: Optimizers, generator: torch.Generator
) -> Progress:
    """Optimizers, generator, stream and counters as they were."""
    tensors, state = checkpoint.tensors(), checkpoint.state
    load_optimizer(optimizers.policy, tensors, "policy_optimizer")
    if optimizers.critic is not None:
        load_optimizer(optimizers.critic, tensors, "critic_optimizer")
    load_generator(generator, tensors["generator"])
    if data.stream is not None:
        data.stream.load(state["stream"])
    return Progress(
        step=checkpoint.step,
        prompts_taken=state["prompts_taken"],
        kl_coef=state["kl_coef"],
        klpen_coef=state["klpen_coef"],
        scale=RewardScale(mean=state["scale_mean"], std=state["scale_std"]),
        done=dict(state["done"]),
        kept=dict(state["kept"]),
    )


def save(
    run: Run,
    networks: Networks,
    optimizers: Optimizers,
    generator: torch.Generator,
    data: Data,
    progress: Progress,
) -> None:
    """A checkpoint from which the run goes on exactly as if nothing had happened."""
    tensors = tensors_of(networks) | optimizer_tensors(optimizers.policy, "policy_optimizer")
    if optimizers.critic is not None:
        tensors |= optimizer_tensors(optimizers.critic, "critic_optimizer")
    run.save(
        progress.step,
        write_models=lambda folder: save_policy(networks.policy, folder / "policy", stage="ppo"),
        tensors=tensors | {"generator": generator_state(generator)},
        state={
            "prompts_taken": progress.prompts_taken,
            "kl_coef": progress.kl_coef,
            "klpen_coef": progress.klpen_coef,
            "scale_mean": progress.scale.mean,
            "scale_std": progress.scale.std,
            "done": progress.done,
            "kept": progress.kept,
            "stream": data.stream.state() if data.stream is not None else None,
        },
    )


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
            klpen_coef, metrics["policy/approx_kl"], cfg.klpen_target
        )
    updates = cfg.inner_epochs * (num_episodes // cfg.episodes_per_minibatch)
    done = progress.done
    examples = updates * ptx_examples(cfg) if cfg.ptx_coef > 0 else 0
    return replace(
        progress,
        step=progress.step + 1,
        prompts_taken=progress.prompts_taken + num_episodes // cfg.samples_per_prompt,
        kl_coef=kl_coef,
        klpen_coef=klpen_coef,
        done={
            "steps": done["steps"] + 1,
            "episodes": done["episodes"] + num_episodes,
            "optimizer_updates": done["optimizer_updates"] + updates,
            "pretraining_examples": done["pretraining_examples"] + examples,
        },
        kept=figures(progress.kept, experience, metrics),
    )


def measure_scale(cfg: PPO, networks: Networks, prompts: Prompts, compute: Compute) -> RewardScale:
    """Mean and deviation of the reward on the SFT model's own answers, where asked for."""
    if not cfg.scale_rewards:
        return RewardScale(mean=0.0, std=1.0)
    chosen = [i % len(prompts) for i in range(cfg.scale_rewards_episodes)]
    episodes = act(
        replace(cfg, samples_per_prompt=1, estimator="bandit"),
        networks.reference,
        prompts,
        chosen,
        compute=compute,
        generator=torch.Generator().manual_seed(cfg.seed + 1),
    )
    texts = [decode_response(networks.policy.codec, r) for r in episodes.responses()]
    messages = [prompts.messages[i] for i in chosen]
    scores = torch.tensor(judge_texts(networks.judge, messages, texts, compute)[0])
    scale = RewardScale(mean=float(scores.mean()), std=float(scores.std(correction=0)))
    assert scale.std > 0, "every answer of the SFT model scores the same: nothing to learn from"
    if networks.critic is not None:
        # The critic starts as the reward model, so it must speak in the same units.
        with torch.no_grad():
            networks.critic.head.weight /= scale.std
    return scale


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


def check_sampler(experience: Experience, compute: Compute) -> None:
    """The sampler drew from the law that is scored: both give a token the same log-probability.

    Raises:
        AssertionError: they differ by more than rounding.
    """
    flat = experience.old_logprobs[experience.mask]
    gap = float((experience.episodes.sampler_logprobs - flat).abs().mean())
    limit = 1e-3 if compute.dtype is torch.float32 else 5e-2
    assert gap < limit, (
        f"sampled and scored log-probabilities differ by {gap:.2e} nats per token on average "
        f"(at most {limit:.0e}): sampling.temperature or the model's dropout differs between them"
    )


def finish(cfg: PPO, run: Run, networks: Networks, data: Data, progress: Progress) -> None:
    """Choose the weights, make them the run's model, write the summary."""
    policy = averaged_policy(networks) if cfg.save_weights == "ema" else networks.policy
    write_model(run, lambda folder: save_policy(policy, folder, stage="ppo"))
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
            "data": preflight.data_figures(data.report),
        }
    )
