"""The kinds of instructions, one module each.

A kind is a module with a frozen ``Task`` (which has a ``topic``) and five functions::

    topics() -> list[str]                     everything an instruction of this kind can be about
    draw(rng) -> Task                         a random task
    instruct(task, rng) -> str                the task as a person would put it
    demonstrate(task, rng) -> str             a good answer
    parse(text) -> Task | None                the task back from the instruction
    judge(task, response) -> Judgement        how well an answer does it
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trivium.miniature.kinds import (
    explanations,
    lists,
    questions,
    refusals,
    rewriting,
    stories,
)
from trivium.miniature.kinds.judgement import Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of instruction; the task in its functions is the kind's own ``Task``."""

    name: str
    share: float
    """Part of all instructions that are of this kind."""
    topics: Callable[[], list[str]]
    draw: Callable[[random.Random], Any]
    instruct: Callable[[Any, random.Random], str]
    demonstrate: Callable[[Any, random.Random], str]
    parse: Callable[[str], Any]
    judge: Callable[[Any, str], Judgement]


def _kind(name: str, share: float, module: Any) -> Kind:
    return Kind(
        name=name,
        share=share,
        topics=module.topics,
        draw=module.draw,
        instruct=module.instruct,
        demonstrate=module.demonstrate,
        parse=module.parse,
        judge=module.judge,
    )


KINDS = (
    _kind("story", 0.22, stories),
    _kind("explanation", 0.16, explanations),
    _kind("question", 0.22, questions),
    _kind("rewriting", 0.12, rewriting),
    _kind("list", 0.14, lists),
    _kind("refusal", 0.14, refusals),
)
