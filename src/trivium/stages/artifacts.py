"""What a finished stage leaves behind, and what a checkpoint holds of its model."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trivium.models import (
    Compute,
    Policy,
    RewardModel,
    merge_policy,
    merge_reward_model,
    save_adapter,
    save_policy,
    save_reward_model,
)
from trivium.runs.atomic import replace_folder
from trivium.runs.directory import Run

if TYPE_CHECKING:
    from peft import PeftModel


def write_policy(run: Run, policy: Policy, *, stage: str) -> None:
    """model/, and where an adapter was trained adapter/ beside it: for the end of a run.

    Merging changes every model that shares the policy's weights.
    """
    _write_adapter(run, policy.adapter)
    whole = merge_policy(policy)
    _write(run, "model", lambda folder: save_policy(whole, folder, stage=stage))


def write_reward_model(run: Run, reward: RewardModel, compute: Compute, *, stage: str) -> None:
    """The same for a reward model."""
    _write_adapter(run, reward.adapter)
    whole = merge_reward_model(reward)
    _write(run, "model", lambda folder: save_reward_model(whole, folder, compute, stage=stage))


def keep_policy(policy: Policy, folder: Path, *, stage: str) -> None:
    """Into a checkpoint: a model's folder, or an adapter's."""
    if policy.adapter is None:
        save_policy(policy, folder, stage=stage)
    else:
        save_adapter(policy.adapter, folder)


def keep_reward_model(reward: RewardModel, folder: Path, compute: Compute, *, stage: str) -> None:
    """The same for a reward model."""
    if reward.adapter is None:
        save_reward_model(reward, folder, compute, stage=stage)
    else:
        save_adapter(reward.adapter, folder)


def _write_adapter(run: Run, adapter: "PeftModel | None") -> None:
    if adapter is not None:
        _write(run, "adapter", lambda folder: save_adapter(adapter, folder))


def _write(run: Run, name: str, write: Callable[[Path], None]) -> None:
    """Make ``write``'s folder the run's ``name``/: whole or not at all."""
    half = run.dir / f".{name}.tmp"
    if half.exists():
        shutil.rmtree(half)
    half.mkdir()
    write(half)
    replace_folder(half, run.dir / name)
