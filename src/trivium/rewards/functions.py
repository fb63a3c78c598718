"""Any callable as a reward: find it, call it, and believe nothing it returns.

A reward that fails is never taken as 0.0: that would punish the sample for the judge's fault and
show nowhere. It stops the run, with what is needed to mend it.
"""

import asyncio
import importlib
import inspect
import math
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from numbers import Real
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from trivium.errors import UserError

Conversation = list[dict[str, str]]
"""A prompt as plain messages: {"role": ..., "content": ...}."""

RewardFunction = Callable[[list[Conversation], list[str]], Any]
"""(prompts, responses) -> one number per response; `call` checks what comes back."""


@runtime_checkable
class _Scalar(Protocol):
    """A number of numpy or torch, known by its way out to Python."""

    def item(self) -> object: ...


def load_function(target: str) -> RewardFunction:
    """Import `package.module:function` from the current directory or from what is installed.

    The current directory goes to the front of the import path and stays there, as under
    `python -m`, so that the function may import its neighbours later too.

    Raises:
        UserError: the module is not there or fails on import, has no such attribute, or the
            attribute cannot be called.
    """
    module_name, _, attribute = target.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # The module may be there and miss something that it imports itself: another message.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise UserError(
                f"reward {target}: importing {module_name} failed, it needs {error.name!r}; "
                "install that or correct the import"
            ) from error
        raise UserError(
            f"reward {target}: no module {error.name!r} in {here} or among installed packages; "
            "run from the directory it lies in, or install it"
        ) from error
    except (Exception, SystemExit) as error:
        raise UserError(
            f"reward {target}: importing {module_name} raised {_describe(error)}"
        ) from error
    try:
        function = attrgetter(attribute)(module)
    except AttributeError as error:
        raise UserError(
            f"reward {target}: module {module_name} has no {attribute!r}; "
            "correct the name after ':'"
        ) from error
    if not callable(function):
        raise UserError(
            f"reward {target}: expected a function (prompts, responses) -> numbers, "
            f"{attribute!r} is a {type(function).__name__}"
        )
    return function


def call(
    function: RewardFunction,
    prompts: list[Conversation],
    responses: list[str],
    *,
    name: str,
    timeout_seconds: float,
) -> list[float]:
    """Scores of all responses, each a finite float, or an error that says why not.

    The function gets copies, so it cannot change the batch. It may be a plain function, a
    coroutine function, or return any awaitable; True and False count as 1 and 0. It runs in a
    thread of its own, with gradients switched on as in any new thread. A thread cannot be killed
    from outside: one that hangs is left behind and ends with the process at the latest.

    Args:
        function: the reward.
        prompts: conversations that end with the user's message.
        responses: clean text, no padding or special tokens; aligned with `prompts`.
        name: what to call the reward in messages.
        timeout_seconds: limit for the whole batch, wall clock.

    Returns:
        One float per response; an empty batch is answered without a call.

    Raises:
        UserError: the function raised, took longer than the limit, or returned anything but one
            finite number per response.
    """
    assert len(prompts) == len(responses), (len(prompts), len(responses))
    if not responses:
        return []
    outcome = _run_in_thread(
        lambda: function([[dict(m) for m in prompt] for prompt in prompts], list(responses)),
        timeout_seconds,
    )
    where = f"reward {name!r}"
    first = _shorten(prompts[0][-1]["content"], 80)
    if outcome is None:
        raise UserError(
            f"{where}: no answer within {timeout_seconds:g} seconds for {len(responses)} responses "
            f"(first prompt: {first!r}); raise reward_timeout_seconds or make the function "
            "faster. Its thread cannot be stopped and runs on until this process ends"
        )
    returned, error = outcome
    if error is not None:
        raise UserError(
            f"{where}: the function raised {_describe(error)} (first prompt: {first!r})"
        ) from error
    return _checked(returned, responses, where)


def _run_in_thread(
    work: Callable[[], object], timeout_seconds: float
) -> tuple[object, BaseException | None] | None:
    """What `work` returned or raised, awaited and listed; None if it is still at it."""
    outcomes: list[tuple[object, BaseException | None]] = []

    def target() -> None:
        try:
            returned = work()
            if inspect.isawaitable(returned):
                returned = asyncio.run(_wait_for(returned))
            # A generator does its work when it is read: here, under the limit.
            if isinstance(returned, Iterable) and not isinstance(returned, str | Mapping | Set):
                returned = list(returned)
            outcomes.append((returned, None))
        except BaseException as error:  # sys.exit() in a reward would end the thread without a word
            outcomes.append((None, error))

    thread = threading.Thread(target=target, name="reward", daemon=True)
    thread.start()
    thread.join(min(timeout_seconds, threading.TIMEOUT_MAX))
    return outcomes[0] if outcomes else None


async def _wait_for(awaitable: Awaitable[object]) -> object:
    """A coroutine of any awaitable, which is what asyncio.run takes."""
    return await awaitable


def _checked(returned: object, responses: list[str], where: str) -> list[float]:
    """The scores as floats, one per response, all finite."""
    expected = f"expected a list of {len(responses)} numbers, one per response"
    if not isinstance(returned, list):
        raise UserError(f"{where}: {expected}, got {type(returned).__name__}")
    if len(returned) != len(responses):
        raise UserError(f"{where}: {expected}, got {len(returned)}")
    scores: list[float] = []
    for index, (value, response) in enumerate(zip(returned, responses, strict=True)):
        score = _as_float(value)
        if score is None or not math.isfinite(score):
            raise UserError(
                f"{where}: expected a finite number for every response, "
                f"got {_shorten(repr(value), 80)} at index {index} "
                f"(response: {_shorten(response, 80)!r})"
            )
        scores.append(score)
    return scores


def _as_float(value: object) -> float | None:
    """A Python, numpy or torch number as a float; None for anything else."""
    if isinstance(value, _Scalar):
        try:
            value = value.item()
        except (ValueError, RuntimeError):  # several numbers where one belongs
            return None
    if not isinstance(value, Real):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _describe(error: BaseException) -> str:
    """Type and message on one line."""
    return _shorten(f"{type(error).__name__}: {error}", 300)


def _shorten(text: str, limit: int) -> str:
    """One line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
