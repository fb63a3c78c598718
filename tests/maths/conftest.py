"""Random episodes for the laws."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


def draw_episodes(seed: int, b: int = 4, t: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    length = torch.randint(1, t + 1, (b, 1), generator=generator)
    mask = torch.arange(t)[None, :] < length
    x, y = torch.randn(2, b, t, generator=generator)
    return x, y, mask


@pytest.fixture(scope="session")
def episodes() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """Return a function from a seed to (x, y, mask): two (B, T) tensors, rows of random length."""
    return draw_episodes
