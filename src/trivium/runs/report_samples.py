"""Which answers a report shows, so that a reader sees what the figures mean."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trivium.runs.drawing import format_number
from trivium.runs.pipeline_summary import at, number
from trivium.runs.plots import color_of, model_title

_MOST_CHARACTERS = 4000
_PER_GROUP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer as the page shows it. Its text is a model's and is never trusted as HTML."""

    who: str
    color: str
    text: str
    figures: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A prompt and what was answered; `tokens` has one row per token, of some answers."""

    prompt: tuple[tuple[str, str], ...]
    """(role, text) of each message."""

    answers: tuple[Answer, ...]
    tokens: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Exchanges shown under one heading, and how they were chosen."""

    title: str
    note: str
    exchanges: tuple[Exchange, ...]


def pair_groups(
    rows: Sequence[dict[str, Any]], *, baseline: str, target: str, seed: int
) -> list[Group]:
    """Prompts where `target` gains most on `baseline`, where it loses most, and some at random.

    The gain is in gold where every row knows it, else in the reward model's score.
    """
    judge = (
        "gold"
        if all(_gain(row, "gold", baseline, target) is not None for row in rows)
        else "scores"
    )
    gains = [
        (gain, row) for row in rows if (gain := _gain(row, judge, baseline, target)) is not None
    ]
    ranked = [row for _, row in sorted(gains, key=lambda pair: (-pair[0], str(at(pair[1], "id"))))]
    count = min(_PER_GROUP, len(ranked) // 3)
    ends = [*ranked[:count], *(ranked[-count:] if count else [])]
    rest = [row for row in rows if not any(row is shown for shown in ends)]
    drawn = random.Random(seed).sample(rest, min(_PER_GROUP + 1, len(rest)))
    by = "gold" if judge == "gold" else "the reward model's score"
    name, other = model_title(target), model_title(baseline)
    groups = [
        ("At random", f"Drawn with seed {seed}, whatever they show.", drawn),
        ("Largest gains", f"Where {name} gains most on {other}, by {by}.", ranked[:count]),
        (
            "Largest losses",
            f"Where {name} loses most to {other}, or gains least, by {by}.",
            ranked[::-1][:count],
        ),
    ]
    return [
        Group(title=title, note=note, exchanges=tuple(_pair(row) for row in chosen))
        for title, note, chosen in groups
        if chosen
    ]


def episode_groups(rows: Sequence[dict[str, Any]]) -> list[Group]:
    """Episodes of the first and of the last step, and those with the best and worst scores."""
    known = [row for row in rows if number(row, "score") is not None]
    if not known:
        return []
    by_score = sorted(known, key=lambda row: number(row, "score") or 0.0)
    first, last = (pick(number(row, "step") or 0.0 for row in known) for pick in (min, max))
    groups = [
        ("First step", "Before or just after the first update.", _of_step(known, first)),
        ("Last step", "What the policy answers at the end.", _of_step(known, last)),
        ("Best scores", "Of all steps. Look for tricks here.", by_score[::-1]),
        ("Worst scores", "Of all steps.", by_score),
    ]
    return [
        Group(title=title, note=note, exchanges=tuple(_episode(row) for row in chosen[:_PER_GROUP]))
        for title, note, chosen in groups
    ]


def _of_step(rows: Sequence[dict[str, Any]], step: float) -> list[dict[str, Any]]:
    return [row for row in rows if (number(row, "step") or 0.0) == step]


def _gain(row: dict[str, Any], judge: str, baseline: str, target: str) -> float | None:
    before, after = number(row, judge, baseline), number(row, judge, target)
    return None if before is None or after is None else after - before


def _pair(row: dict[str, Any]) -> Exchange:
    responses = at(row, "responses")
    names = tuple(responses) if isinstance(responses, Mapping) else ()
    answers = []
    for name in names:
        figures = [
            f"{label} {format_number(value)}"
            for label, judge in (("gold", "gold"), ("reward", "scores"))
            if (value := number(row, judge, name)) is not None
        ]
        answers.append(
            Answer(
                who=model_title(name),
                color=color_of(name, names),
                text=_cut(str(responses[name])),
                figures=", ".join(figures),
            )
        )
    return Exchange(prompt=_turns(row), answers=tuple(answers))


def _episode(row: dict[str, Any]) -> Exchange:
    figures = [
        f"{label} {format_number(value)}"
        for label, name in (("score", "score"), ("KL", "kl_nats"))
        if (value := number(row, name)) is not None
    ]
    parts = at(row, "parts")
    if isinstance(parts, Mapping) and len(parts) > 1:
        figures += [f"{name} {format_number(number(parts, name))}" for name in parts]
    if at(row, "finished") is False:
        figures.append("cut off")
    step = number(row, "step")
    answer = Answer(
        who="Answer" if step is None else f"Step {step:.0f}",
        color="vermillion",
        text=_cut(str(at(row, "response") or "")),
        figures=", ".join(figures),
    )
    return Exchange(prompt=_turns(row), answers=(answer,), tokens=_tokens(row))


def _tokens(row: dict[str, Any]) -> tuple[Mapping[str, str], ...]:
    found = at(row, "tokens")
    names = ("logprob", "ref_logprob", "kl", "reward", "value", "advantage")
    return tuple(
        {"text": str(at(token, "text"))} | {n: format_number(number(token, n)) for n in names}
        for token in (found if isinstance(found, list) else [])
    )


def _turns(row: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    prompt = at(row, "prompt")
    if not isinstance(prompt, list):
        return (("user", _cut(str(prompt))),)
    return tuple((str(at(turn, "role")), _cut(str(at(turn, "content")))) for turn in prompt)


def _cut(text: str) -> str:
    if len(text) <= _MOST_CHARACTERS:
        return text
    return f"{text[:_MOST_CHARACTERS]} [{len(text) - _MOST_CHARACTERS:,} more characters]"
