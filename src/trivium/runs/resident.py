"""Memory of this process as the kernel counts it: what is resident now, and the most so far."""

import resource
from contextlib import suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def forget_peak() -> None:
    """Let the peak begin again from what is resident now, where the kernel can (Linux)."""
    with suppress(OSError):
        _RESET.write_text("5")


def peak_bytes() -> int:
    """The most that was resident at once since `forget_peak`, or since the process began."""
    return _field("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident_bytes() -> int:
    """What is resident now; the peak where the kernel does not say."""
    return _field("VmRSS") or peak_bytes()


def _field(name: str) -> int:
    """A size of /proc/self/status, which gives KiB; 0 where there is none."""
    if not _STATUS.exists():
        return 0
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0
