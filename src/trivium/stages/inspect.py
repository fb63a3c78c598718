"""Look at data or at a run: what is trained on, what was sampled and why it scored so."""

import json
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from trivium.config import SFT, Reward
from trivium.data import read_demonstrations, read_prompts, read_rankings
from trivium.errors import UserError
from trivium.labels import has_untied_pair
from trivium.models.load import load_codec
from trivium.runs import config_file
from trivium.runs.atomic import CONFIG_NAME, RECIPE_NAME
from trivium.runs.directory import read_summary
from trivium.stages.rows import encode_demonstrations, encode_rankings
from trivium.stages.sources import found
from trivium.text import Codec, Sequences
from trivium.text.viewer import colour_batch, episode_table, legend

ROWS = 4


def run(target: str) -> None:
    """Show a run directory, a recipe's folder or a data file.

    Raises:
        UserError: it is none of them.
    """
    path, console = Path(target), Console()
    if path.is_dir() and (path / CONFIG_NAME).is_file():
        show_run(path, console)
    elif path.is_dir() and (path / RECIPE_NAME).is_file():
        for folder in sorted(p for p in path.iterdir() if (p / "summary.json").is_file()):
            show_summary(folder, console)
    elif path.is_file():
        show_data(path, console)
    else:
        raise UserError(
            f"{target}: expected a run directory, the folder of a recipe or a data file"
        )


def show_run(folder: Path, console: Console) -> None:
    """The run's state, a batch of what it trains on, and episodes token by token."""
    show_summary(folder, console)
    _, config = config_file.load(folder / CONFIG_NAME)
    if isinstance(config, SFT | Reward):
        model = str(folder) if (folder / "model").is_dir() else config.model
        rows = rows_of(config, folder)
        check_here(folder, model, rows)
        codec = load_codec(model)
        console.print(legend())
        console.print(
            Group(*colour_batch(codec, training_batch(config, rows, codec))), soft_wrap=True
        )
    samples = folder / "samples.jsonl"
    if samples.is_file():
        for row in last_episodes(samples):
            show_episode(row, console)


def rows_of(config: SFT | Reward, folder: Path) -> str:
    """What the stage learns from."""
    if isinstance(config, SFT):
        return found(config.demonstrations, folder, "demonstrations")
    return found(config.rankings, folder, "rankings")


def check_here(folder: Path, *sources: str) -> None:
    """Refuse a run whose paths lead nowhere from here: they count from where it was made.

    Raises:
        UserError: names the first.
    """
    for source in sources:
        path = Path(source)
        # A single slash may be a hub's name, two are a folder.
        is_local = "://" not in source and not path.is_absolute() and source.count("/") != 1
        if is_local and not path.exists():
            raise UserError(
                f"{folder}: learned from {source}, which is not here; if the run was moved or "
                f"copied, call `trivium inspect` where it was made"
            )


def training_batch(config: SFT | Reward, source: str, codec: Codec) -> Sequences:
    """The first rows as the stage encodes them."""
    if isinstance(config, SFT):
        rows = list(islice(read_demonstrations(source), ROWS))
        return encode_demonstrations(rows, codec, config.sampling)[0]
    rankings, _ = encode_rankings(
        list(islice(filter(has_untied_pair, read_rankings(source)), 1)),
        codec,
        max_prompt_tokens=config.max_prompt_tokens,
        max_response_tokens=config.max_response_tokens,
    )
    return rankings.sequences


def last_episodes(samples: Path) -> list[dict[str, Any]]:
    """Answers of the last step, those stored token by token first."""
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    if not rows or "response" not in rows[-1]:
        return []
    last = [row for row in rows if row["step"] == rows[-1]["step"]]
    return sorted(last, key=lambda row: "tokens" not in row)[:ROWS]


def show_episode(row: dict[str, Any], console: Console) -> None:
    """One answer with its score; every token where they were stored."""
    prompt = row["prompt"][-1]["content"]
    console.print(Text(f"\nstep {row['step']}, prompt {row['id']}: {prompt}", style="blue"))
    console.print(Text(row["response"], style="green"))
    parts = ", ".join(f"{name} {value:+.3f}" for name, value in row["parts"].items())
    console.print(escape(f"score {row['score']:+.3f} ({parts}), KL {row['kl_nats']:+.3f} nats"))
    if "tokens" in row:
        console.print(episode_table(row["tokens"], "per token, log-probabilities in nats"))


def show_summary(folder: Path, console: Console) -> None:
    """Status and plain figures of a run."""
    summary = read_summary(folder) or {}
    table = Table(title=str(folder), show_header=False, title_justify="left")
    for name, value in summary.items():
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            shown = f"{value:.4f}" if isinstance(value, float) else str(value)
            table.add_row(name, escape(shown))
    console.print(table)


def show_data(path: Path, console: Console) -> None:
    """The first rows of a data file, as rankings, demonstrations or prompts."""
    for row in read_any(path):
        console.print(Text(f"\n{row['id']}: {row['prompt'][-1]['content']}", style="blue"))
        for line in answers_of(row):
            console.print(Text(line, style="green"))


def read_any(path: Path) -> list[dict[str, Any]]:
    """The first rows as the richest kind they can be read as.

    Raises:
        UserError: they are not even prompts.
    """
    with suppress(UserError):
        return [row.model_dump() for row in islice(read_rankings(path), ROWS)]
    with suppress(UserError):
        return [row.model_dump() for row in islice(read_demonstrations(path), ROWS)]
    return [row.model_dump() for row in islice(read_prompts(path), ROWS)]


def answers_of(row: dict[str, Any]) -> list[str]:
    """The completion, or the completions with their ranks, best first."""
    if "completion" in row:
        return [row["completion"]]
    if "completions" not in row:
        return []
    ranked = sorted(row["completions"], key=lambda c: c["rank"])
    return [f"{c['rank']}. {c['text']}" for c in ranked]
