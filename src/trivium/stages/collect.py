"""Let models write answers to be ranked, K to a prompt, and have them ranked where possible.

Ouyang et al. 2022, section 3.5: K between 4 and 9, differing from prompt to prompt. Without
labelers the file holds the answers for people to rank.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trivium.config import Collect
from trivium.data import read_prompts, write_jsonl
from trivium.errors import UserError
from trivium.labels import Prompt, Ranking
from trivium.models import Compute, compute_for, load_policy
from trivium.rewards.functions import load_function
from trivium.rollouts import generate
from trivium.runs.directory import Run, open_run
from trivium.stages.rows import encode_prompts, messages_of
from trivium.text import decode_response

RANKINGS, ANSWERS = "rankings.jsonl", "answers.jsonl"
PROMPTS_AT_ONCE = 32


def run(cfg: Collect, out: Path, *, resume: bool = False) -> None:
    """Write answers (and rankings) into the run directory ``out``."""
    compute = compute_for(cfg.compute_dtype)
    with open_run(out, stage="collect", config=cfg, resume=resume) as run_:
        collect(cfg, run_, compute)


def collect(cfg: Collect, run: Run, compute: Compute) -> None:
    """Draw K for every prompt, let the models answer in turn, rank."""
    rank = None if cfg.labelers is None else load_function(cfg.labelers)
    rows = read_rows(cfg)
    counts = draw_counts(cfg, len(rows))
    run.plan({"prompts": len(rows), "completions": sum(counts)})
    answers: list[list[dict[str, str]]] = [[] for _ in rows]
    codec_hash = ""
    for number, place in enumerate(cfg.models):
        policy = load_policy(place, compute)
        codec_hash = policy.codec.hash
        prompts, report = encode_prompts(rows, policy.codec, cfg.sampling)
        if report.dropped:
            raise UserError(
                f"{cfg.prompts}: {len(report.dropped)} prompts are longer than "
                f"sampling.max_prompt_tokens = {cfg.sampling.max_prompt_tokens} "
                f"(first: {report.dropped[0].id}); raise it or take them out"
            )
        generator = torch.Generator().manual_seed(cfg.seed * 1009 + number)
        batches = range(0, len(rows), PROMPTS_AT_ONCE)
        for batch in run.steps(0, len(batches), f"answers of {place}"):
            wanted = [
                i
                for i in range(batches[batch], min(batches[batch] + PROMPTS_AT_ONCE, len(rows)))
                for k in range(counts[i])
                if k % len(cfg.models) == number
            ]
            if not wanted:
                continue
            episodes = generate(
                policy.model,
                [prompts.tokens[i] for i in wanted],
                cfg.sampling,
                end_id=policy.codec.end_id,
                compute=compute,
                generator=generator,
            )
            for i, response in zip(wanted, episodes.responses(), strict=True):
                text = decode_response(policy.codec, response)
                answers[i].append({"text": text, "model": place})
    num_completions = sum(map(len, answers))
    figures = write(cfg, run, rank, rows, answers)
    run.executed({"prompts": len(rows), "completions": num_completions})
    run.finish({"template_hash": codec_hash} | figures)


def read_rows(cfg: Collect) -> list[Prompt]:
    """The prompts to answer."""
    return list(read_prompts(cfg.prompts))[: cfg.num_prompts]


def draw_counts(cfg: Collect, num_prompts: int) -> list[int]:
    """K of each prompt, uniform between the smallest and the largest."""
    rng = random.Random(cfg.seed)
    return [rng.randint(cfg.min_completions, cfg.max_completions) for _ in range(num_prompts)]


def write(
    cfg: Collect,
    run: Run,
    rank: Callable[..., Any] | None,
    rows: list[Prompt],
    answers: list[list[dict[str, str]]],
) -> dict[str, int]:
    """One row per ranking, or one per prompt where nobody ranks.

    What is known of the prompt goes along: a split by author must still find the author. Model
    names stay in the file.
    """
    if rank is None:
        asked = (row.model_dump(exclude_none=True) for row in rows)
        pairs = zip(asked, answers, strict=True)
        count = write_jsonl(run.dir / ANSWERS, ({**row, "answers": made} for row, made in pairs))
        return {"prompts_answered": count}
    return {"rankings": write_jsonl(run.dir / RANKINGS, ranked(cfg, rank, rows, answers))}


def ranked(
    cfg: Collect,
    rank: Callable[..., Any],
    rows: list[Prompt],
    answers: list[list[dict[str, str]]],
) -> list[Ranking]:
    """Every ranking that the labelers' function gives.

    Raises:
        UserError: the function raised, or what it gave is not a list of rankings for each prompt.
    """
    texts = [[answer["text"] for answer in row] for row in answers]
    messages = [messages_of(row) for row in rows]
    try:
        given = list(rank(messages, texts, seed=cfg.seed, overlap=cfg.overlap))
        return [
            Ranking.model_validate(
                {
                    **row.model_dump(),
                    "completions": [{**a, "rank": r} for a, r in zip(made, ranks, strict=True)],
                    "labeler": labeler,
                }
            )
            for row, made, rankings in zip(rows, answers, given, strict=True)
            for labeler, ranks in rankings
        ]
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"labelers {cfg.labelers}: {said}; expected for each of {len(rows)} prompts a list of "
            f"pairs of a labeler's name and a rank for each answer"
        ) from error
