"""Where and in what precision the arithmetic of a model runs.

Weights are fp32 masters always; with bfloat16 a `working_copy` of them is what a trunk computes
with. Log-probabilities, values and losses are fp32 whatever the dtype here.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from trivium.config import ComputeDtype


@dataclass(frozen=True, slots=True)
class Compute:
    """A device and the dtype of the passes through a model.

    Attributes:
        device: where weights and activations live.
        dtype: float32 or bfloat16.
    """

    device: torch.device
    dtype: torch.dtype

    @property
    def kl_tolerance(self) -> float:
        """Largest KL per token that identical models may show at step 0, in nats."""
        return 1e-5 if self.dtype is torch.float32 else 1e-3

    @property
    def ratio_tolerance(self) -> float:
        """Largest deviation from 1 of the first minibatch's importance ratios."""
        return 1e-4 if self.dtype is torch.float32 else 1e-2


def compute_for(asked: ComputeDtype) -> Compute:
    """The GPU if there is one, else the processor; ``auto`` is bfloat16 where that is fast."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_multiplies_bf16()
    use_bf16 = asked == "bfloat16" or (asked == "auto" and fast)
    return Compute(device=device, dtype=torch.bfloat16 if use_bf16 else torch.float32)


def _cpu_multiplies_bf16() -> bool:
    """Without these instructions oneDNN emulates bf16, several times slower than fp32."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return False
    flags = next((x for x in info.read_text().splitlines() if x.startswith("flags")), "").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags
