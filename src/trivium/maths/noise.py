"""How noisy a gradient estimate is.

Legend: K estimates of one gradient, N parameters.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def gradient_noise(gradients: Float[Tensor, "K N"]) -> float:
    r"""Variance of an estimate over the square of what it estimates.

        tr Cov(g) / |E g|^2

    Both are estimated without bias from the K rows: |mean|^2 holds 1/K of the variance, which is
    taken off. Times the size of the batch behind one estimate this is the "simple noise scale":
    the batch for which noise and signal are of one size.

    Args:
        gradients: independent estimates, K >= 2.

    Returns:
        A ratio without unit; infinity where no signal could be told from the noise.

    Source: McCandlish et al. 2018, arXiv:1812.06162, appendix A.
    """
    gradients = gradients.double()
    count = len(gradients)
    mean = gradients.mean(0)
    variance = (gradients - mean).square().sum() / (count - 1)
    signal = mean.square().sum() - variance / count
    return float(variance / signal) if signal > 0 else torch.inf
