"""What changes from step to step besides weights, and how a checkpoint holds all of it."""

from dataclasses import dataclass

import torch

from trivium.runs.checkpoint import (
    Checkpoint,
    generator_state,
    load_generator,
    load_optimizer,
    optimizer_tensors,
)
from trivium.runs.directory import Run
from trivium.stages.artifacts import keep_policy
from trivium.stages.ppo_experience import RewardScale
from trivium.stages.ppo_learn import Optimizers
from trivium.stages.ppo_models import Networks, tensors_of
from trivium.stages.ppo_setup import Data


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
        write_models=lambda folder: keep_policy(networks.policy, folder / "policy", stage="ppo"),
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
