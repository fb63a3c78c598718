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
    _kind("story", 0.34, stories),
    _kind("explanation", 0.22, explanations),
    _kind("question", 0.14, questions),
    _kind("rewriting", 0.10, rewriting),
    _kind("list", 0.10, lists),
    _kind("refusal", 0.10, refusals),
)
"""Shares as in the use cases of Ouyang et al. 2022, table 1, of what a small world can have: there
generation and chat are 54 %, answering questions 15, brainstorming 11, rewriting and summarising
11. Requests that should be declined are in no table; a tenth of them makes manners count."""
