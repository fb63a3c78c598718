"""The roofs of this machine: matrix products by dtype and a plain copy."""

import time
from dataclasses import dataclass
from statistics import median

import torch

SIDE, SMALL = 4096, 2048


@dataclass(frozen=True, slots=True)
class Roof:
    """What the machine reaches on the simplest work there is."""

    gflops_fp32: float
    """fp32 matmul of 4096 x 4096, 10^9 multiply-adds times two a second."""

    gflops_fp32_2048: float
    gflops_bf16: float
    """The same in bf16; far below fp32 where the processor has no bf16 instructions."""

    copy_gb_per_second: float
    """Bytes read plus bytes written."""


def measure(repeats: int = 3) -> Roof:
    """Each roof is the median of ``repeats`` after one for warming up."""
    return Roof(
        gflops_fp32=matmul(SIDE, torch.float32, repeats),
        gflops_fp32_2048=matmul(SMALL, torch.float32, repeats),
        gflops_bf16=matmul(SMALL, torch.bfloat16, repeats),
        copy_gb_per_second=_copy(repeats),
    )


def matmul(n: int, dtype: torch.dtype, repeats: int = 3) -> float:
    """GFLOP/s of a product of n x n matrices."""
    a, b = torch.randn(n, n, dtype=dtype), torch.randn(n, n, dtype=dtype)
    return 2 * n**3 / _seconds(lambda: a @ b, repeats) / 1e9


def _copy(repeats: int) -> float:
    source = torch.ones(64 * 2**20)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _seconds(lambda: target.copy_(source), repeats) / 1e9


def _seconds(work, repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return median(times)
