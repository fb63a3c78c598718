"""The reward model's loss on K ranked answers to one prompt.

Legend: K answers to a prompt, P pairs of them that are not tied. Rank 1 is best; equal ranks tie.
"""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def untied_pairs(ranks: Int[Tensor, " K"]) -> tuple[Int[Tensor, " P"], Int[Tensor, " P"]]:
    """Indices of the better and of the worse answer of each pair whose ranks differ.

    Args:
        ranks: (K,), 1 is best; only their order matters.

    Returns:
        Two (P,) tensors of indices into ``ranks``, each unordered pair once, 0 <= P <= C(K, 2).
    """
    better, worse = (ranks[:, None] < ranks[None, :]).nonzero(as_tuple=True)
    return better, worse


def ranking_loss(
    scores: Float[Tensor, " K"],
    ranks: Int[Tensor, " K"],
    *,
    margins: Float[Tensor, "K K"] | None = None,
) -> Float[Tensor, ""]:
    r"""Negative log-likelihood of a ranking of K answers to one prompt.

        L = -1 / P sum_{i better than j} log sigmoid(s_i - s_j - m_ij)

    The pairs of a prompt are one element, not C(K, 2) examples: every prompt weighs the same, an
    answer is scored once per step, and one pass does not overfit to answers that come back in
    many pairs. Ties give no pair. The paper drops them too but does not say what divides the sum
    then; here it is P, the pairs that are left.

    Args:
        scores: reward of each answer, (K,), carries the gradient.
        ranks: (K,), 1 is best, equal is a tie.
        margins: m, (K, K), reward units: entry [i, j] is read where i is better than j, and asks
            the scores to differ by that much. None is all zeros, as in InstructGPT.

    Returns:
        A scalar, nats per pair; log 2 for a model that cannot tell the answers apart.

    Raises:
        ValueError: every pair is tied, so the ranking says nothing.

    Source: Ouyang et al. 2022, arXiv:2203.02155, eq. 1; margins from Touvron et al. 2023,
    arXiv:2307.09288, eq. 2.
    """
    better, worse = untied_pairs(ranks)
    if len(better) == 0:
        raise ValueError("all answers are tied: drop the prompt, it holds no comparison")
    differences = scores[better] - scores[worse]
    if margins is not None:
        differences = differences - margins[better, worse]
    return -F.logsigmoid(differences).mean()
