"""What many runs say together: one line per algorithm, for the table, the page and summary.json."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trivium.classic.ladder import GOAL, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An algorithm over its seeds."""

    name: str
    seeds: int

    share: float
    """Return over the optimum of the policy a run ended with, median over seeds."""

    low: float
    """The worst seed's."""

    high: float
    """The best seed's."""

    steps_to_goal: float | None
    """Environment steps to 95 % of the optimum, median; None: half of the seeds never got there."""

    noise_steps: float | None
    """Environment steps whose gradient is half noise, median of the seeds it is known of."""

    cpu_seconds: float
    """Of one run, mean."""


def coverage(seeds: int) -> float:
    """Probability that the median of all possible seeds lies between the worst and best of these.

    All on one side of it has probability 2^(1 - n), whatever the distribution.
    """
    return 1 - 2.0 ** (1 - seeds)


def line(outcomes: Sequence[Outcome]) -> Line:
    """Sum up the runs of one algorithm."""
    final = [outcome.shares[-1] for outcome in outcomes]
    never = float("inf")
    reached = statistics.median(
        never if outcome.steps_to_goal is None else outcome.steps_to_goal for outcome in outcomes
    )
    noise = [outcome.noise_steps for outcome in outcomes if outcome.noise_steps is not None]
    return Line(
        name=outcomes[0].name,
        seeds=len(outcomes),
        share=statistics.median(final),
        low=min(final),
        high=max(final),
        steps_to_goal=None if reached == never else reached,
        noise_steps=statistics.median(noise) if noise else None,
        cpu_seconds=statistics.fmean(outcome.cpu_seconds for outcome in outcomes),
    )


def lines(outcomes: Sequence[Outcome], names: Sequence[str]) -> list[Line]:
    """One line per algorithm, in the order of the ladder."""
    return [line([outcome for outcome in outcomes if outcome.name == name]) for name in names]


HEADS = ("algorithm", "return", "worst to best", "to 95%", "noise", "CPU s")


def cells(one: Line) -> tuple[str, ...]:
    """A line in words, under ``HEADS``."""
    return (
        one.name,
        f"{one.share:.3f}",
        f"{one.low:.3f} to {one.high:.3f}",
        "never" if one.steps_to_goal is None else f"{one.steps_to_goal:,.0f}",
        "unknown" if one.noise_steps is None else f"{one.noise_steps:,.0f}",
        f"{one.cpu_seconds:.1f}",
    )


def notes(seeds: int) -> str:
    """What the columns mean."""
    spread = (
        f"Medians over {seeds} seeds; worst to best holds the true median with probability "
        f"{coverage(seeds):.1%}."
        if seeds > 1
        else "One seed: no interval."
    )
    return (
        f"{spread} Return: of the policy a run ended with, over the optimum. To {GOAL:.0%}: "
        f"environment steps, over all actors, until the policy first earned {GOAL:.0%} of the "
        f"optimum. Noise: variance of the policy gradient over its square, as the environment "
        f"steps a batch needs for the two to be equal; measured at half of the optimum."
    )


def summary(lines_: Sequence[Line], *, env: str, optimum: float, seconds: float) -> dict[str, Any]:
    """summary.json."""
    return {
        "status": "finished",
        "env": env,
        "optimum": optimum,
        "seconds": seconds,
        "algorithms": {
            one.name: {
                "return_over_optimum": one.share,
                "interval": [one.low, one.high],
                "interval_coverage": coverage(one.seeds),
                "steps_to_95": one.steps_to_goal,
                "gradient_noise_steps": one.noise_steps,
                "cpu_seconds": one.cpu_seconds,
                "seeds": one.seeds,
            }
            for one in lines_
        },
    }
