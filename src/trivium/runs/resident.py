"""Memory of this process: what the allocator keeps, and what the kernel counts as resident."""

import ctypes
import platform
import resource
from contextlib import suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt, by their numbers in malloc.h."""


def keep_freed() -> None:
    """Let freed memory serve the next pass, in place of going back to the kernel (glibc).

    A backward pass frees a gigabyte at once. glibc would return it and the next forward pass would
    take it back page by page: 5 % of a step of SFT with 135M parameters (docs/performance.md).
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_MMAP_THRESHOLD, 2**30)


def give_back() -> None:
    """Return to the kernel what is free, such as what an earlier stage left (glibc)."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


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
