"""What a model has been trained on: read back from the config of its run and of those before it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from trivium.config import PPO, SFT, Pretrain, Reward, Split, StageConfig
from trivium.data import (
    Screen,
    find_leaks,
    passages_of,
    read_prompts,
    read_rankings,
    read_texts,
    split,
    split_without_leaks,
)
from trivium.errors import UserError
from trivium.labels import Label, Prompt
from trivium.rewards.spec import is_function, parse_rewards
from trivium.runs import config_file
from trivium.runs.atomic import CONFIG_NAME
from trivium.runs.directory import read_summary
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

    def held_out(self) -> list[Label]:
        """The rows that the run was measured on, by their prompts.

        Raises:
            UserError: as `rows`.
        """
        if self.heldout is not None:
            return list(read_prompts(self.heldout))
        rows, how = list(read_prompts(self.source)), self.split
        return list(split(rows, salt=how.salt, heldout_fraction=how.heldout_fraction)[1])


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Pretraining text that one run learned from."""

    run: str
    """Run directory."""

    source: str
    """The file, folder or hub address, as the run was given it."""

    pages: int | None
    """How many of its pages the run has read; None: not known, so all of a local source."""

    training: Training | None
    """Rows of the same run, whose held-out part it kept out of the text; None: it has none."""

    def texts(self) -> Iterator[str]:
        """The pages that were trained on.

        Raises:
            UserError: the source is not there any more, can't be read, or nobody knows where to
                stop.
        """
        if self.pages is None and self.source.startswith("hf:"):
            raise UserError("how much of it was read isn't written down")
        screen = Screen(passages_of([] if self.training is None else self.training.held_out()))
        return screen.through(islice(read_texts(self.source), self.pages))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """Held-out rows that stand in pretraining text: figures for the summary."""

    rows: int
    """How many."""

    of: int
    """Of how many."""

    checked: tuple[str, ...]
    """The texts that were searched."""

    def as_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {"rows": self.rows, "of": self.of, "checked": [*self.checked]}


def trainings(places: list[str]) -> list[Training]:
    """Every run behind the given models, those that their own models came from included.

    Args:
        places: run directories, their model folders or checkpoints. Of a folder from elsewhere and
            of a hub name nothing is known, so they give nothing.
    """
    found = [_training(run, config) for run, config in _runs_behind(places).items()]
    return [training for training in found if training is not None]


def readings(places: list[str]) -> list[Reading]:
    """The pretraining text of every run behind the given models; see `trainings`."""
    return [
        Reading(
            run=run,
            source=_pages_of(run, config),
            pages=_pages_read(Path(run)),
            training=_training(run, config),
        )
        for run, config in _runs_behind(places).items()
        if _pages_of(run, config)
    ]


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


def count_quoted(rows: list[Label], places: list[str], *, say: Callable[[str], None]) -> Quoted:
    """How much of what is measured on stands in pretraining text that some run has read.

    It is counted and not refused: pages repeat one another all over the web, and what a model from
    elsewhere was pretrained on is not known at all.

    Args:
        rows: held-out prompts, texts and the like.
        places: the models.
        say: for what was found, and for text that is gone.
    """
    passages = passages_of(rows)
    found: dict[int, str] = {}
    checked: list[str] = []
    for reading in readings(places):
        try:
            for page in reading.texts():
                for passage in passages.all_in(page):
                    found.setdefault(passage.row, f"{passage.name} in {reading.source}")
        except UserError as error:
            say(f"not searched for held-out rows: {reading.source} of {reading.run} ({error})")
            continue
        checked.append(reading.source)
    if found:
        first = found[min(found)]
        say(f"warning: pretraining text quotes {len(found)} of {len(rows)} held-out rows: {first}")
    return Quoted(rows=len(found), of=len(rows), checked=tuple(dict.fromkeys(checked)))


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


def _runs_behind(places: list[str]) -> dict[str, StageConfig]:
    """The runs that made the given models, and those before them, by their directories."""
    found: dict[str, StageConfig] = {}
    waiting = list(places)
    while waiting:
        folder = run_of(waiting.pop(0))
        if folder is None or str(folder) in found:
            continue
        _, found[str(folder)] = config_file.load(folder / CONFIG_NAME)
        waiting += _parents(found[str(folder)])
    return found


def _pages_of(run: str, config: StageConfig) -> str:
    """The pretraining text of a run; empty if it has none."""
    match config:
        case Pretrain():
            return str(Path(run) / "data" / "pretraining.jsonl")
        case SFT():
            return config.pretraining or ""
        case PPO():
            return config.pretraining or "" if config.ptx_coef > 0 else ""
        case _:
            return ""


def _pages_read(run: Path) -> int | None:
    """How many pages a run read, as its summary says; None if it doesn't."""
    summary = read_summary(run) or {}
    if "pretraining" not in summary.get("data", {}):
        return None
    counts = summary["data"]["pretraining"]
    return int(counts["kept"]) + int(counts["left_out"])


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
