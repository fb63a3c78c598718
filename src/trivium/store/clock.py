"""What time it is, in whole milliseconds since 1970, UTC."""

import time

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def now(given: int | None = None) -> int:
    """``given``, which tests use, or what the clock says."""
    return time.time_ns() // 1_000_000 if given is None else given


def start_of_day(at_ms: int) -> int:
    """Midnight, UTC, of the same day."""
    return at_ms - at_ms % DAY
