"""What this machine does at best, and models to try it with."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from trivium.models.compute import Compute

ENOUGH_SECONDS = 0.06
"""What is quick is timed often: the best of many is what the machine can do undisturbed."""

ROOF_SIDE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofs:
    """What the machine can do at best.

    Attributes:
        flops: products of matrices of 1,024 rows and columns, FLOP/s, by dtype.
        bytes: copying 256 MB, bytes read and written a second.
    """

    flops: dict[str, float]
    bytes: float


def measure_roofs(compute: Compute) -> Roofs:
    """Roofs of the device, in about half a second."""
    flops: dict[str, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.ones(ROOF_SIDE, ROOF_SIDE, dtype=dtype, device=compute.device) for _ in "ab")
        seconds = _best(lambda x=a, y=b: x @ y, compute)
        flops[str(dtype).removeprefix("torch.")] = 2 * ROOF_SIDE**3 / seconds
    source = torch.ones(64 * 2**20, dtype=torch.float32, device=compute.device)
    target = torch.zeros_like(source)
    seconds = _best(lambda: target.copy_(source), compute)
    return Roofs(flops=flops, bytes=2 * source.nbytes / seconds)


def random_model(config: PretrainedConfig, layers: int) -> PreTrainedModel:
    """A model of this shape with so many layers, fp32, its weights random."""
    values = type(config).from_dict(config.to_dict())
    values.get_text_config().num_hidden_layers = layers
    return AutoModelForCausalLM.from_config(values, dtype=torch.float32).eval()


def wait(compute: Compute) -> None:
    """Until the device has done what it was given."""
    if compute.device.type == "cuda":
        torch.cuda.synchronize()


def _best(work: Callable[[], object], compute: Compute) -> float:
    """Seconds of ``work`` when nothing else runs: the best of three or more after one."""
    work()
    times: list[float] = []
    while len(times) < 3 or sum(times) < ENOUGH_SECONDS:
        wait(compute)
        began = time.perf_counter()
        work()
        wait(compute)
        times.append(time.perf_counter() - began)
    return min(times)
