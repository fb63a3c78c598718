"""A recipe without its training: every place that a later stage reads, made in a minute at most.

Data that a stage will write are made the way it makes them, models have a shape and no weights, and
answers are words of the demonstrations, ranked by the recipe's own labelers.
"""

import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

from trivium.config import PPO, SFT, Collect, Evaluate, Pretrain, Reward, StageConfig
from trivium.data import read_demonstrations, write_jsonl
from trivium.labels import Demonstration
from trivium.models import Policy
from trivium.models.load import load_blank
from trivium.rewards.functions import load_function
from trivium.runs.recipes import Recipe
from trivium.stages import collect, pretrain
from trivium.stages.rows import encode_prompts
from trivium.text import make_codec

ANSWERS = 512
"""Demonstrations that stand for a model's answers."""

RANKED = 128
"""Prompts whose answers the recipe's labelers rank; what is ranked later takes as long."""


def enter(config: StageConfig, folder: Path) -> None:
    """Make a stage's folder, and in it what the stage makes before it trains.

    Args:
        config: of the stage; an earlier stage's place in it is a folder that was left.
        folder: where it would run; may be thrown away.
    """
    folder.mkdir(parents=True)
    if isinstance(config, Pretrain):
        _pretrain(config, folder)


def leave(config: StageConfig, folder: Path, recipe: Recipe) -> float:
    """Put into a stage's folder what later stages read.

    Returns:
        Seconds that the stage takes more than this took, for what was done in part.

    Raises:
        UserError: a model or a file is missing.
    """
    match config:
        case SFT() | Reward():
            _save(load_blank(config.model), folder)
        case PPO():
            _save(load_blank(config.policy), folder)
        case Collect():
            return _collect(config, folder, recipe)
        case Pretrain() | Evaluate():
            pass
    return 0.0


def answers_of(recipe: Recipe) -> list[Demonstration]:
    """Demonstrations whose answers stand for a model's; none where the recipe has none yet."""
    for entry in recipe.stages:
        config = entry.config
        if isinstance(config, SFT | Reward) and Path(config.demonstrations).exists():
            rows = read_demonstrations(config.demonstrations)
            return [row for row, _ in zip(rows, range(ANSWERS), strict=False)]
    return []


def _save(policy: Policy, folder: Path) -> None:
    """Config and tokenizer, no weights."""
    policy.model.config.save_pretrained(folder / "model")
    policy.codec.tokenizer.save_pretrained(folder / "model")


def _pretrain(config: Pretrain, folder: Path) -> None:
    pretrain.write_world(pretrain.world_of(config.seed), folder / "data")
    codec = make_codec(pretrain.tokenizer_of(config.seed, config.vocab_size))
    pretrain.shape(config, codec).save_pretrained(folder / "model")
    codec.tokenizer.save_pretrained(folder / "model")


def _collect(config: Collect, folder: Path, recipe: Recipe) -> float:
    """Rankings of texts that are not the prompts' answers; their number and lengths are right.

    Only the first are ranked by the labelers; who ranked those ranks the others too, as they come.
    """
    if config.labelers is None:
        return 0.0
    codec = load_blank(config.models[0]).codec
    prompts, _ = encode_prompts(collect.read_rows(config), codec, config.sampling)
    counts = collect.draw_counts(config, len(prompts))
    texts = cycle([row.completion for row in answers_of(recipe)] or ["word"])
    answers = [[next(texts) for _ in range(k)] for k in counts]
    rank: Callable[..., Any] = load_function(config.labelers)

    def ranked_first(count: int) -> list[Any]:
        some = prompts.messages[:count], answers[:count]
        return list(rank(*some, seed=config.seed, overlap=config.overlap))

    ranked_first(1)  # what labelers prepare once is not counted for each
    began = time.perf_counter()
    ranked = ranked_first(RANKED)
    took = time.perf_counter() - began
    for i in range(len(ranked), len(answers)):
        places = list(range(1, len(answers[i]) + 1))
        ranked.append([(labeler, places) for labeler, _ in ranked[i % RANKED]])
    write_jsonl(
        folder / collect.RANKINGS,
        (
            {
                "id": prompts.ids[i],
                "prompt": prompts.messages[i],
                "completions": [
                    {"text": text, "rank": rank}
                    for text, rank in zip(answers[i], ranks, strict=True)
                ],
                "labeler": labeler,
            }
            for i, rankings in enumerate(ranked)
            for labeler, ranks in rankings
        ),
    )
    return took * max(0.0, len(answers) / RANKED - 1)
