"""The run directory: the whole truth about a run, under a lock, and safe at any moment.

with open_run(out, stage="sft", config=cfg, resume=resume) as run:
    run.plan({"optimizer_steps": 100})
    for step in run.steps(start, 100, "sft"):
        run.log(step, {"sft/loss": loss})
    run.executed({"optimizer_steps": done})
    run.finish({"heldout_loss": heldout_loss})
"""

import fcntl
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file
from torch import Tensor

from trivium.config import StageConfig
from trivium.errors import UserError
from trivium.runs import checkpoint, config_file, environment, metrics, progress, resident
from trivium.runs.atomic import CONFIG_NAME, explain_full_disk, write_json
from trivium.runs.checkpoint import Checkpoint

METRICS_NAME, SAMPLES_NAME = checkpoint.LOGS
SUMMARY_NAME = "summary.json"
PLAN_NAME = "plan.json"
REPLAY_NAME = "replay"
DATA_NAME = "data"
NOTHING_DONE = "nothing_done"
"""In the summary of a run that failed over its input before it had anything to keep."""


class Run:
    """A run under way. Made by `open_run`; nothing but the stage that opened it writes to it."""

    def __init__(self, out: Path, *, stage: str, console: Console, seconds_before: float) -> None:
        self.dir = out
        self.stage = stage
        self.checkpoint: Checkpoint | None = checkpoint.latest(out)
        """Where a resumed run goes on; None: from the start."""
        self._console = console
        self._began = time.monotonic() - seconds_before
        self._plan: dict[str, Any] = {}
        self._executed: dict[str, int] = {}
        self.finished = False
        """Whether `finish` was called: the figures are written."""
        self._metrics = _open_log(out / METRICS_NAME, self.checkpoint)
        self._samples = _open_log(out / SAMPLES_NAME, self.checkpoint)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a line to metrics.jsonl.

        Raises:
            AssertionError: a name that is not in the table, or a value that is not finite.
        """
        metrics.check(values)
        row: dict[str, float] = {"step": step}
        for name, value in values.items():
            number = value if isinstance(value, int) else float(value)
            if not math.isfinite(number):
                raise AssertionError(f"{name} is {number} at step {step}; expected a finite number")
            row[name] = number
        _append(self._metrics, row, self.dir / METRICS_NAME)

    def show(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows, such as answers in words, to samples.jsonl."""
        for row in rows:
            _append(self._samples, {"step": step, **row}, self.dir / SAMPLES_NAME)

    def plan(self, plan: Mapping[str, Any]) -> None:
        """Say what will be done before any of it is, and write it to plan.json.

        Raises:
            UserError: checkpoints of so many ``trained_parameters`` have no room on the disk.
        """
        self._plan = dict(plan)
        write_json(self.dir / PLAN_NAME, self._plan)
        table = Table(title=f"{self.stage}: the plan", show_header=False, title_justify="left")
        table.add_column(no_wrap=True)
        table.add_column(justify="right")
        for name, value in self._plan.items():
            text = f"{value:,}" if isinstance(value, int) else str(value)
            table.add_row(name.replace("_", " "), text)
        self._console.print(table, markup=False, highlight=False)
        if warning := checkpoint.check_room(self.dir, self._plan.get("trained_parameters", 0)):
            self.say(f"warning: {warning}")

    def executed(self, counts: Mapping[str, int]) -> None:
        """Say what was done, resumed parts included, under the plan's names."""
        self._executed = dict(counts)

    def steps(self, start: int, stop: int, label: str) -> Iterator[int]:
        """start, ..., stop - 1, with progress and time left on stderr."""
        return progress.steps(start, stop, label, self._console)

    def say(self, text: str) -> None:
        """Print a line for a person, without breaking the progress bar."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def save(
        self,
        step: int,
        *,
        write_models: Callable[[Path], None],
        tensors: Mapping[str, Tensor],
        state: Mapping[str, Any],
        keep: bool = False,
    ) -> None:
        """Write a checkpoint (see `checkpoint.save`) and the time used so far."""
        self.checkpoint = checkpoint.save(
            self.dir, step, write_models=write_models, tensors=tensors, state=state, keep=keep
        )
        self.write_summary("running", {})

    def keep_batch(self, step: int, tensors: Mapping[str, Tensor], note: str) -> Path:
        """Save the batch that stopped a run, to look at or to run again."""
        path = self.dir / REPLAY_NAME / f"step-{step}.safetensors"
        with explain_full_disk(path):
            path.parent.mkdir(exist_ok=True)
            save_file({name: t.detach().contiguous() for name, t in tensors.items()}, path)
        shapes = {name: [str(t.dtype), list(t.shape)] for name, t in tensors.items()}
        write_json(path.with_suffix(".json"), {"step": step, "note": note, "tensors": shapes})
        return path

    def finish(self, figures: Mapping[str, Any]) -> None:
        """Write the stage's figures: the run is done, all of it.

        Raises:
            AssertionError: what was done is not what was planned.
        """
        counted = self._plan.keys() & self._executed.keys()
        if self._plan and not counted:
            raise AssertionError("a plan was made, but executed() counts nothing that is in it")
        for name in sorted(counted):
            if self._plan[name] != self._executed[name]:
                raise AssertionError(
                    f"planned {self._plan[name]} {name}, did {self._executed[name]}"
                )
        self.write_summary("finished", figures)
        self.finished = True

    def write_summary(self, status: str, figures: Mapping[str, Any]) -> None:
        """Write summary.json: status, seconds over all resumes, stage, plan, and ``figures``.

        ``peak_bytes`` is the most memory since the run was opened, or opened again.
        """
        own = {
            "status": status,
            "seconds": round(time.monotonic() - self._began, 3),
            "peak_bytes": resident.peak_bytes(),
            "stage": self.stage,
            "plan": self._plan,
            "executed": self._executed,
        }
        if shadowed := own.keys() & figures.keys():
            raise AssertionError(f"figures may not be named {sorted(shadowed)}")
        write_json(self.dir / SUMMARY_NAME, {**own, **figures})

    def close(self, error: BaseException | None) -> None:
        """Close the logs; unless finished, write how it ended."""
        self._metrics.close()
        self._samples.close()
        if self.finished:
            return
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        figures: dict[str, Any] = {"error": _first_line(error)}
        if isinstance(error, UserError) and not self._has_something():
            figures[NOTHING_DONE] = True
        # The disk may be full; what stopped the run matters more than that this cannot be written.
        with suppress(UserError):
            self.write_summary(status, figures)

    def _has_something(self) -> bool:
        """Whether there is a checkpoint, a line of a log, a kept batch, or data of its own.

        A run reads its own copy of a store's labels where there is one, so that of another run
        must never lie in its folder.
        """
        logs = (self.dir / name for name in checkpoint.LOGS)
        return (
            self.checkpoint is not None
            or any(log.stat().st_size for log in logs)
            or any((self.dir / name).exists() for name in (REPLAY_NAME, DATA_NAME))
        )


@contextmanager
def open_run(out: Path, *, stage: str, config: StageConfig, resume: bool = False) -> Iterator[Run]:
    """Open ``out`` for a new run, or for one to go on with; hold its lock until the end.

    A resumed run's logs are cut back to its latest checkpoint, so that in the end they are those
    of a run that never stopped. ``resume`` on a folder without a run starts one. A run that failed
    over its input before it did anything makes way for any other.

    Raises:
        UserError: another process uses the folder; it holds a run and ``resume`` is False; the
            run to resume had another config; the disk is full.
    """
    with _lock(out):
        before = _check_folder(out, stage, config, resume=resume)
        resident.keep_freed()
        resident.give_back()
        resident.forget_peak()
        checkpoint.tidy(out)
        console = Console(stderr=True)
        run = Run(out, stage=stage, console=console, seconds_before=before)
        try:
            # Before the summary, which says that the folder is no longer free: killed in between,
            # the run can still be begun anew.
            config_file.save(out / CONFIG_NAME, stage, config)
            run.write_summary("running", {})
            write_json(out / "env.json", environment.describe())
            if run.checkpoint is not None:
                run.say(f"{stage}: going on after step {run.checkpoint.step} of {out}")
            yield run
            if not run.finished:
                raise AssertionError(f"{stage}: the run ended without finish()")
        except BaseException as error:
            run.close(error)
            raise
        run.close(None)


def read_summary(run_dir: Path) -> dict[str, Any] | None:
    """summary.json of a run; None if there is none yet."""
    path = run_dir / SUMMARY_NAME
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def did_nothing(run_dir: Path) -> bool:
    """Whether a run there failed over its input and has nothing to lose by being replaced."""
    return bool((read_summary(run_dir) or {}).get(NOTHING_DONE))


@contextmanager
def _lock(out: Path) -> Iterator[None]:
    """Hold DIR/.lock. The kernel lets go of it when the process dies, however it dies."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; give --out a folder, new or empty", refused=True)
    with explain_full_disk(out):
        out.mkdir(parents=True, exist_ok=True)
        file = (out / ".lock").open("a+", encoding="utf-8")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            pid = file.read().strip()
            raise UserError(
                f"{out}: in use by another run (pid {pid}); wait for it, stop it, "
                f"or choose another --out",
                refused=True,
            ) from error
        with explain_full_disk(out / ".lock"):
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        yield


def _check_folder(out: Path, stage: str, config: StageConfig, *, resume: bool) -> float:
    """Seconds an earlier part of this run took; a UserError if the folder holds another run."""
    path = out / CONFIG_NAME
    if not path.exists():
        return 0.0
    summary = read_summary(out)
    if did_nothing(out):
        (out / PLAN_NAME).unlink(missing_ok=True)
        return summary["seconds"] if summary and resume else 0.0
    if not resume:
        raise UserError(
            f"{out}: holds a run already; go on with `trivium resume {out}`, "
            f"or choose another --out",
            refused=True,
        )
    old_stage, old = config_file.load(path)
    if old_stage != stage:
        raise UserError(
            f"{path}: holds a {old_stage} run, not {stage}; choose another --out", refused=True
        )
    differing = _differences(config_file.to_dict(old), config_file.to_dict(config), "")
    if differing:
        raise UserError(
            f"{path}: a run goes on only with its own config; it differs in "
            f"{'; '.join(differing)}; restore it, or choose another --out",
            refused=True,
        )
    return summary["seconds"] if summary else 0.0


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> list[str]:
    differing: list[str] = []
    for name in [*old, *(name for name in new if name not in old)]:
        before, now = (side.get(name, "nothing") for side in (old, new))
        if isinstance(before, dict) and isinstance(now, dict):
            differing += _differences(before, now, f"{path}{name}.")
        elif before != now:
            differing.append(f"{path}{name} ({before!r} there, {now!r} here)")
    return differing


def _open_log(path: Path, start: Checkpoint | None) -> BinaryIO:
    """Open a log, cut to its length at the checkpoint; unbuffered: each line is one write."""
    length = start.offsets[path.name] if start else 0
    with explain_full_disk(path):
        file = path.open("ab", buffering=0)
    size = path.stat().st_size
    if size < length:
        file.close()
        raise UserError(
            f"{path}: has {size} bytes, its checkpoint knows {length}; restore the file"
        )
    file.truncate(length)
    return file


def _append(file: BinaryIO, row: Mapping[str, Any], path: Path) -> None:
    line = json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
    with explain_full_disk(path):
        rest = memoryview(line.encode())
        while rest:  # a disk that is nearly full takes a part
            rest = rest[file.write(rest) :]


def _first_line(error: BaseException | None) -> str:
    text = str(error).partition("\n")[0]
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
