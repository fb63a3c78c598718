"""Two programs that work in turns, one iteration each, so that both see the same machine.

A side calls `turn()` where an iteration begins. The call reports how long the last one took, says
that it waits, and returns when the other side has had its iteration.
"""

import json
import resource
import sys
import time
from collections.abc import Mapping
from typing import Any

_began: list[float] = []
"""When the iteration that runs began; empty before the first."""


def turn(**facts: Any) -> None:
    """End the iteration before this one, wait for the go, begin the next."""
    seconds = time.perf_counter() - _began.pop() if _began else None
    say({"seconds": seconds, "peak_bytes": peak_bytes(), **facts})
    if not sys.stdin.readline():
        sys.exit(0)
    _began.append(time.perf_counter())


def say(message: Mapping[str, Any]) -> None:
    """One line for the referee; libraries may print what they like around it."""
    print("@" + json.dumps(message), flush=True)


def peak_bytes() -> int:
    """Largest resident size so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
