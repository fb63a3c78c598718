"""What a model has been trained on: read back from the config of its run and of those before it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trivium.config import PPO, SFT, Reward, Split, StageConfig
from trivium.data import find_leaks, read_prompts, read_rankings, split_without_leaks
from trivium.errors import UserError
from trivium.labels import Label, Prompt
from trivium.rewards.spec import is_function, parse_rewards
from trivium.runs import config_file
from trivium.runs.atomic import CONFIG_NAME
from trivium.stages import sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Prompts that one run trained on: a file, less what the run held out of it."""

    run: str
    """Run directory."""

    source: str
    """The file, folder or hub address, as the run was given it."""

    heldout: str | None
    """The run's held-out file; None: it split the source."""

    split: Split
    """How it did."""

    without_labelers: tuple[str, ...] = ()
    """Whose rankings it left out."""

    def rows(self) -> list[Label]:
        """The rows that were trained on.

        Raises:
            UserError: the source is not there any more, or can't be read.
        """
        if self.without_labelers:
            ranked = read_rankings(self.source)
            rows: list[Label] = [r for r in ranked if r.labeler not in self.without_labelers]
        else:
            rows = list(read_prompts(self.source))
        if self.heldout is not None:
            return rows
        how = self.split
        return split_without_leaks(rows, salt=how.salt, heldout_fraction=how.heldout_fraction)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """What became of the check: figures for the summary."""

    rows: int
    """Held-out rows that some run trained on; 0 unless that was accepted."""

    checked: tuple[str, ...]
    """Training files that were compared."""

    unknown: tuple[str, ...]
    """Training files that are not there any more, each with the run that used it."""

    def as_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {"rows": self.rows, "checked": [*self.checked], "unknown": [*self.unknown]}


def trainings(places: list[str]) -> list[Training]:
    """Every run behind the given models, those that their own models came from included.

    Args:
        places: run directories, their model folders or checkpoints. Of a folder from elsewhere and
            of a hub name nothing is known, so they give nothing.
    """
    found: dict[str, Training | None] = {}
    waiting = list(places)
    while waiting:
        folder = run_of(waiting.pop(0))
        if folder is None or str(folder) in found:
            continue
        _, config = config_file.load(folder / CONFIG_NAME)
        found[str(folder)] = _training(str(folder), config)
        waiting += _parents(config)
    return [training for training in found.values() if training is not None]


def run_of(place: str) -> Path | None:
    """The run directory that a model's place belongs to; None if it comes from elsewhere."""
    path = Path(place)
    candidates = [path]
    if path.name == "model":
        candidates.append(path.parent)
    if len(path.parents) > 2 and path.parents[1].name == "checkpoints":
        candidates.append(path.parents[2])
    return next((folder for folder in candidates if (folder / CONFIG_NAME).is_file()), None)


def check_heldout(
    rows: list[Prompt], name: str, places: list[str], *, accept: bool, say: Callable[[str], None]
) -> Overlap:
    """Refuse held-out prompts that a run behind one of the models was trained on.

    Args:
        rows: the held-out prompts.
        name: what to call them, usually their path.
        places: the models, and whatever judges them.
        accept: go on all the same, and count.
        say: for training data that are gone.

    Raises:
        UserError: there is an overlap: the same prompt, the same author or a near-duplicate.
    """
    checked: list[str] = []
    unknown: list[str] = []
    leaked: set[int] = set()
    for training, train in _each_file_once(trainings(places), unknown):
        checked.append(training.source)
        # The other way round: it is held-out rows that are counted here.
        leaks = find_leaks(rows, train)
        leaked |= {leak.train_index for leak in leaks}
        if leaks and not accept:
            first, count = leaks[0], len({leak.train_index for leak in leaks})
            raise UserError(
                f"{name}: expected prompts that no model was trained on, but {training.run} "
                f"was trained on {count} of these {len(rows)} (from {training.source}; first: "
                f"{first.reason}, held-out {first.train_name} and train {first.heldout_name}); "
                f"use other prompts or the run's own split, or pass --accept-overlap"
            )
    for one in unknown:
        say(f"not compared with the held-out prompts: {one}")
    return Overlap(rows=len(leaked), checked=tuple(checked), unknown=tuple(unknown))


def _each_file_once(
    found: list[Training], unknown: list[str]
) -> Iterator[tuple[Training, list[Label]]]:
    """Training files with their rows; those that are gone are added to ``unknown``."""
    seen: set[tuple[str, bool, Split, tuple[str, ...]]] = set()
    for one in found:
        key = (one.source, one.heldout is None, one.split, one.without_labelers)
        if key in seen:
            continue
        seen.add(key)
        try:
            rows = one.rows()
        except UserError as error:
            unknown.append(f"{one.source} of {one.run} ({error})")
            continue
        yield one, rows


def _training(run: str, config: StageConfig) -> Training | None:
    match config:
        case SFT():
            source, without = sources.found(config.demonstrations, Path(run), "demonstrations"), ()
        case Reward():
            source = sources.found(config.rankings, Path(run), "rankings")
            without = config.heldout_labelers
        case PPO():
            source, without = config.prompts, ()
        case _:
            return None
    return Training(
        run=run,
        source=source,
        heldout=config.heldout,
        split=config.split,
        without_labelers=without,
    )


def _parents(config: StageConfig) -> list[str]:
    """The models that a run started from or learned from."""
    match config:
        case SFT() | Reward():
            return [config.model]
        case PPO():
            judges = [spec.target for spec in parse_rewards(config.reward)]
            return [config.policy, *(target for target in judges if not is_function(target))]
        case _:
            return []
