"""What the user writes after --reward: a name, a weight, and where the reward comes from."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from trivium.errors import UserError

_FORMS = "expected TARGET, NAME=TARGET or NAME=WEIGHT*TARGET"
_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSpec:
    """One part of the total reward."""

    name: str
    """What its column in the metrics is called; unique among the rewards of a run."""

    weight: float
    """What it is multiplied by in the total. 0 logs the reward without training on it."""

    target: str
    """A reward model's run directory, folder or hub name, or package.module:function."""


def parse_rewards(specs: Sequence[str]) -> tuple[RewardSpec, ...]:
    """Read TARGET, NAME=TARGET and NAME=WEIGHT*TARGET, in order.

    The weight is 1 where none is given, the name the last folder of the path or the function's. An
    "=" that comes after a "/" belongs to the path: write ./lr=1e-5 for a folder of that name.

    Raises:
        UserError: a form that is none of these, a weight that is not a finite number, a path from
            which no name can be made, or a name used twice.
    """
    rewards: list[RewardSpec] = []
    for text in specs:
        reward = _parse(text.strip())
        if any(reward.name == other.name for other in rewards):
            raise UserError(
                f"reward {text!r}: the name {reward.name!r} is taken by another reward; "
                f"write OTHER_NAME={reward.target}"
            )
        rewards.append(reward)
    return tuple(rewards)


def is_function(target: str) -> bool:
    """Whether a target has the form package.module:function, rather than that of a path."""
    module, colon, function = target.partition(":")
    return bool(colon) and _is_dotted(module) and _is_dotted(function)


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _parse(text: str) -> RewardSpec:
    before, equals, after = text.partition("=")
    named = bool(equals) and not set(before) & set("/\\")
    if named and not _NAME.fullmatch(before):
        raise UserError(
            f"reward {text!r}: the name {before!r} may hold letters, digits, '_', '-' and '.' only"
        )
    weight, target = _weight_and_target(after if named else text, text=text, named=named)
    name = before if named else _default_name(target)
    if not name:
        raise UserError(f"reward {text!r}: cannot make a name from {target!r}; write NAME={target}")
    return RewardSpec(name=name, weight=weight, target=target)


def _weight_and_target(rest: str, *, text: str, named: bool) -> tuple[float, str]:
    """Split WEIGHT*TARGET; the weight is 1 where there is none."""
    before, star, after = rest.partition("*")
    target = after if star else rest
    if not target:
        raise UserError(f"reward {text!r}: nothing after {text[-1:]!r}; {_FORMS}")
    if re.search(r"\.py:", target):
        raise UserError(
            f"reward {text!r}: expected the module's name, not its file; "
            "write package.module:function, with dots and without .py"
        )
    if not star:
        return 1.0, target
    if not named:
        raise UserError(f"reward {text!r}: a weight needs a name; write NAME={text}")
    try:
        weight = float(before)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise UserError(f"reward {text!r}: expected a finite number before '*', got {before!r}")
    return weight, target


def _default_name(target: str) -> str:
    """The function's name, or the last folder's; empty where the path ends in none."""
    if is_function(target):
        return target.rpartition(":")[2].rpartition(".")[2]
    last = re.split(r"[/\\]", target.rstrip("/\\"))[-1].removeprefix("@")
    return last if last.strip(".") else ""
