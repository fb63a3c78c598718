"""The natural gradient without the Fisher matrix: what TRPO adds to the policy gradient.

Legend: N parameters, as one flat vector; B rows of A logits.
"""

import warnings
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad

Vector = Float[Tensor, " N"]


def categorical_kl(
    old_logits: Float[Tensor, "*shape A"], logits: Float[Tensor, "*shape A"]
) -> Float[Tensor, "*shape"]:
    """Return KL(old || new) of two categorical laws, in nats: all actions, not only the taken one.

    Args:
        old_logits: of the policy that sampled, no gradient.
        logits: of the policy now, carries the gradient.
    """
    old, new = old_logits.log_softmax(-1), logits.log_softmax(-1)
    return (old.exp() * (old - new)).sum(-1)


def flatten(tensors: Sequence[Tensor]) -> Vector:
    """One vector of all numbers, in order."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def fisher_vector_product(
    kl: Float[Tensor, ""], parameters: Sequence[Tensor], *, damping: float
) -> Callable[[Vector], Vector]:
    r"""The function v -> (F + damping I) v, F the Hessian of ``kl``, which is never built.

        F v = grad (grad KL . v)

    At new = old the Hessian of KL(old || new) is the Fisher information of the policy.

    Args:
        kl: mean KL(old || new), nats, a function of ``parameters``, at new = old.
        parameters: what to differentiate by.
        damping: added to every eigenvalue, so that directions without curvature stay bounded.

    Source: Schulman et al. 2015, arXiv:1502.05477, appendix C.
    """
    slope = flatten(torch.autograd.grad(kl, parameters, create_graph=True))

    def product(vector: Vector) -> Vector:
        bent = torch.autograd.grad(slope @ vector, parameters, retain_graph=True)
        return flatten(bent).detach() + damping * vector

    return product


def categorical_fisher_product(
    logits: Float[Tensor, "*shape A"], change: Float[Tensor, "*shape A"]
) -> Float[Tensor, "*shape A"]:
    r"""The Fisher information of softmax logits, times a change of the logits.

        (diag(p) - p p^T) u = p (u - sum_a p_a u_a)

    Args:
        logits: of the policy.
        change: u.
    """
    p = logits.softmax(-1)
    return p * (change - (p * change).sum(-1, keepdim=True))


def gauss_newton_product(
    logits_of: Callable[[Vector], Float[Tensor, "*shape A"]], weights: Vector, vector: Vector
) -> Vector:
    r"""F v, summed over the states whose logits are given, without second derivatives.

        F v = J^T (diag(p) - p p^T) J v,   J = d logits / d weights

    What `fisher_vector_product` says of the sum of the KL, at new = old; here v is carried forward
    and back once, so that nothing has to be differentiated twice and no graph is kept.

    Args:
        logits_of: the policy's logits as a function of its weights.
        weights: where, (N,).
        vector: v, (N,).

    Source: Martens 2020, "New insights and perspectives on the natural gradient method",
    arXiv:1412.1193, section 9.
    """
    change = tangent(logits_of, weights, vector)
    leaf = weights.detach().requires_grad_()
    logits = logits_of(leaf)
    bent = categorical_fisher_product(logits.detach(), change)
    return torch.autograd.grad(logits, leaf, bent)[0]


def tangent(
    logits_of: Callable[[Vector], Float[Tensor, "*shape A"]], weights: Vector, vector: Vector
) -> Float[Tensor, "*shape A"]:
    """J v: how fast the logits change when the weights move along ``vector``; one pass forward."""
    with warnings.catch_warnings(), forward_ad.dual_level(), torch.no_grad():
        # The first time, torch compiles decompositions of its own in a way that it warns of.
        warnings.filterwarnings("ignore", "`torch.jit.script", DeprecationWarning)
        moving = forward_ad.make_dual(weights.detach(), vector)  # pyright: ignore[reportUnknownMemberType]
        change = forward_ad.unpack_dual(logits_of(moving)).tangent  # pyright: ignore[reportUnknownMemberType]
    assert change is not None, "the logits do not depend on the weights"
    return change


def conjugate_gradient(
    product: Callable[[Vector], Vector], target: Vector, *, num_steps: int, tolerance: float = 1e-10
) -> Vector:
    r"""Solve M x = target for a symmetric positive M that is known by its products alone.

    In exact arithmetic N steps suffice; ten are close enough for a step direction.

    Args:
        product: v -> M v.
        target: right-hand side, (N,).
        num_steps: most products to take.
        tolerance: stop once the squared residual is below this.

    Returns:
        (N,), starting from 0.

    Source: Hestenes and Stiefel 1952, "Methods of conjugate gradients for solving linear systems".
    """
    solution = torch.zeros_like(target)
    residual, direction = target.clone(), target.clone()
    size = residual @ residual
    for _ in range(num_steps):
        if size < tolerance:
            break
        bent = product(direction)
        step = size / (direction @ bent)
        solution = solution + step * direction
        residual = residual - step * bent
        new_size = residual @ residual
        direction = residual + new_size / size * direction
        size = new_size
    return solution


def trust_region_step(
    direction: Vector, product: Callable[[Vector], Vector], *, max_kl: float
) -> Vector:
    r"""Scale a direction so that the quadratic model of the KL just reaches ``max_kl``.

        step = sqrt(2 max_kl / (x . F x)) x

    Args:
        direction: x, (N,); zero stays zero.
        product: v -> F v.
        max_kl: delta, nats per state.

    Source: Schulman et al. 2015, arXiv:1502.05477, appendix C.
    """
    curvature = direction @ product(direction)
    if curvature <= 0:
        return torch.zeros_like(direction)
    return (2 * max_kl / curvature).sqrt() * direction
