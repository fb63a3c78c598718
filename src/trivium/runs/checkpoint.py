"""Checkpoints: all that a run needs to go on as if it had never stopped. safetensors and JSON.

    checkpoints/step-000010/  the models' folders, trainer.safetensors, trainer.json

A checkpoint has its name only once all of it is on the disk, and the one before it goes only
then. So at every moment of a run that has saved once, one whole checkpoint is there.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trivium.errors import UserError
from trivium.runs.atomic import explain_full_disk, recover, replace_folder, size_words, sync

LOGS = ("metrics.jsonl", "samples.jsonl")
FOLDER = "checkpoints"
TENSORS = "trainer.safetensors"
TRAINER = "trainer.json"
NAME = re.compile(r"step-(\d{6,})")
GROUPS = "groups"
GENERATORS = "generators"
TRAINED_BYTES = 12
"""Of each trained number: the weight and AdamW's two moments, fp32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A whole checkpoint on the disk."""

    step: int
    """Steps done when it was written; a run goes on with this step, counted from 0."""

    path: Path
    """Its folder, with whatever ``write_models`` put there."""

    state: dict[str, Any]
    """The JSON part of the trainer's state."""

    offsets: dict[str, int]
    """Length of each log in bytes at that moment."""

    keep: bool
    """Whether later checkpoints leave it alone."""

    def tensors(self) -> dict[str, Tensor]:
        """The tensor part of the trainer's state, on the CPU."""
        return load_file(self.path / TENSORS)


def check_room(run_dir: Path, trained: int) -> str | None:
    """What to warn of if the disk has no room for a second checkpoint beside the first.

    Args:
        run_dir: the run directory.
        trained: how many numbers are trained.

    Raises:
        UserError: there is not even room for one.
    """
    free, needed = shutil.disk_usage(run_dir).free, TRAINED_BYTES * trained
    about = f"a checkpoint takes {size_words(needed)}, and {size_words(free)} are free on that disk"
    if free < needed:
        raise UserError(f"{run_dir}: {about}; make room or choose another --out")
    if free < 2 * needed:
        return f"{run_dir}: {about}; the next is written before the last one goes, so make room"
    return None


def save(
    run_dir: Path,
    step: int,
    *,
    write_models: Callable[[Path], None],
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
    keep: bool = False,
) -> Checkpoint:
    """Write the checkpoint after ``step`` steps, then drop the earlier ones not to be kept.

    Args:
        run_dir: the run directory, its logs included.
        step: number of steps done.
        write_models: writes the models into the folder it is given. To compare them with what
            was meant to be written is its business too: what it raises leaves the run as it was.
        tensors: weights, optimizer and generator states; see `optimizer_tensors`.
        state: the rest of the state: anything JSON can hold.
        keep: never drop this checkpoint for a later one.

    Raises:
        UserError: the disk is full. The checkpoint before is still there.
    """
    final = run_dir / FOLDER / f"step-{step:06d}"
    temporary = final.with_name(f".tmp-{final.name}")
    with explain_full_disk(final):
        _remove(temporary)
        try:
            temporary.mkdir(parents=True)
            write_models(temporary)
            whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
            save_file(whole, temporary / TENSORS)
            offsets = {name: _synced_size(run_dir / name) for name in LOGS}
            trainer = {"step": step, "keep": keep, "offsets": offsets, "state": dict(state)}
            text = json.dumps(trainer, indent=2, allow_nan=False)
            (temporary / TRAINER).write_text(text, encoding="utf-8")
            replace_folder(temporary, final)
        except BaseException:
            _remove(temporary)
            raise
    for older in _all(run_dir):
        if older.step < step and not older.keep:
            _discard(older.path)
    return _read(final)


def latest(run_dir: Path) -> Checkpoint | None:
    """The newest whole checkpoint; None if there is none."""
    return max(_all(run_dir), key=lambda checkpoint: checkpoint.step, default=None)


def tidy(run_dir: Path) -> None:
    """Clear away what a killed `save` left half-done. The run's lock must be held."""
    folder = run_dir / FOLDER
    for path in sorted(folder.glob(".old-step-*")):
        recover(path.with_name(path.name.removeprefix(".old-")))
    for path in folder.glob(".tmp-*"):
        _remove(path)


def optimizer_tensors(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """All of an optimizer's state as flat tensors; its settings (lr, betas, ...) as JSON in bytes.

    Names: ``{prefix}.{parameter number}.{name}`` and ``{prefix}.groups``.
    """
    saved = optimizer.state_dict()
    groups = json.dumps(saved["param_groups"]).encode()
    flat = {f"{prefix}.{GROUPS}": torch.frombuffer(bytearray(groups), dtype=torch.uint8)}
    for number, state in saved["state"].items():
        for name, value in state.items():
            flat[f"{prefix}.{number}.{name}"] = torch.as_tensor(value)
    return flat


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], prefix: str
) -> None:
    """Give ``optimizer`` the state that `optimizer_tensors` took from one of the same shape.

    Raises:
        ValueError: the state belongs to other parameters.
    """
    present = optimizer.state_dict()["param_groups"]
    groups = json.loads(tensors[f"{prefix}.{GROUPS}"].numpy().tobytes())
    for group, now in zip(groups, present, strict=True):
        # JSON has no tuples; betas must come back as one.
        group.update({k: tuple(group[k]) for k, value in now.items() if isinstance(value, tuple)})
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for full_name, value in tensors.items():
        owner, _, rest = full_name.partition(f"{prefix}.")
        number, _, name = rest.partition(".")
        if owner or not number.isdigit():
            continue
        if value.dim() and value.shape != parameters[int(number)].shape:
            wanted = tuple(parameters[int(number)].shape)
            raise ValueError(f"{full_name}: shape {tuple(value.shape)}, parameter has {wanted}")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def generator_state(generator: torch.Generator) -> Tensor:
    """The state of a generator as uint8, fit for ``tensors`` of `save`."""
    return generator.get_state()


def load_generator(generator: torch.Generator, state: Tensor) -> None:
    """Let ``generator`` go on from what `generator_state` returned."""
    generator.set_state(state)


def global_generators() -> dict[str, Tensor]:
    """torch's own generators, the CPU's and every GPU's, fit for ``tensors`` of `save`."""
    gpus = {f"cuda.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    states = {"cpu": torch.get_rng_state()} | gpus
    return {f"{GENERATORS}.{name}": state for name, state in states.items()}


def load_global_generators(tensors: Mapping[str, Tensor]) -> None:
    """Let torch's generators go on from what `global_generators` returned; dropout draws on them.

    A GPU that this machine lacks, or that was not there then, is left alone.
    """
    torch.set_rng_state(tensors[f"{GENERATORS}.cpu"])
    for i in range(torch.cuda.device_count()):
        if (name := f"{GENERATORS}.cuda.{i}") in tensors:
            torch.cuda.set_rng_state(tensors[name], i)


def _all(run_dir: Path) -> list[Checkpoint]:
    folder = run_dir / FOLDER
    named = [path for path in folder.glob("step-*") if NAME.fullmatch(path.name)]
    return [_read(path) for path in sorted(named) if (path / TRAINER).exists()]


def _read(path: Path) -> Checkpoint:
    try:
        values = json.loads((path / TRAINER).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"{path / TRAINER}: damaged ({error}); delete {path} to go on from the one before"
        ) from error
    return Checkpoint(path=path, **values)


def _synced_size(path: Path) -> int:
    """Bytes of a log, all of them on the disk."""
    sync(path)
    return path.stat().st_size


def _discard(path: Path) -> None:
    """Delete a checkpoint; renamed first, since half a checkpoint must never look whole."""
    doomed = path.with_name(f".tmp-{path.name}")
    _remove(doomed)
    path.rename(doomed)
    _remove(doomed)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
