"""The natural gradient: dense matrices, known Fisher information, another library's KL."""

import pytest
import torch

from trivium.maths import (
    categorical_fisher_product,
    categorical_kl,
    conjugate_gradient,
    fisher_vector_product,
    flatten,
    gauss_newton_product,
    trust_region_step,
)


def positive_matrix(n: int) -> torch.Tensor:
    root = torch.randn(n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return root @ root.T + torch.eye(n, dtype=torch.float64)


def test_conjugate_gradient_solves_the_system():
    matrix, target = positive_matrix(12), torch.arange(12, dtype=torch.float64)
    got = conjugate_gradient(lambda v: matrix @ v, target, num_steps=12)
    torch.testing.assert_close(got, torch.linalg.solve(matrix, target), rtol=1e-6, atol=1e-8)


def test_conjugate_gradient_takes_no_more_products_than_asked():
    matrix, calls = positive_matrix(12), []

    def product(vector):
        calls.append(1)
        return matrix @ vector

    conjugate_gradient(product, torch.ones(12, dtype=torch.float64), num_steps=3)
    assert len(calls) == 3


def test_conjugate_gradient_of_nothing_is_nothing():
    got = conjugate_gradient(lambda v: v, torch.zeros(3), num_steps=5)
    assert got.tolist() == [0, 0, 0]


def test_categorical_kl_is_that_of_torch():
    old, new = torch.randn(4, 5, 3), torch.randn(4, 5, 3)
    laws = (torch.distributions.Categorical(logits=logits) for logits in (old, new))
    torch.testing.assert_close(categorical_kl(old, new), torch.distributions.kl_divergence(*laws))


def test_fisher_vector_product_of_a_softmax():
    # The Fisher information of softmax logits is diag(p) - p p^T.
    logits = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    kl = categorical_kl(logits.detach(), logits)
    vector = torch.tensor([1.0, 2.0, -0.5], dtype=torch.float64)
    p = logits.detach().softmax(0)
    expected = (torch.diag(p) - torch.outer(p, p)) @ vector + 0.1 * vector
    got = fisher_vector_product(kl, [logits], damping=0.1)(vector)
    torch.testing.assert_close(got, expected)


def test_fisher_information_of_logits_row_by_row():
    logits, change = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    got = categorical_fisher_product(logits, change)
    for row, u, found in zip(logits.view(-1, 3), change.view(-1, 3), got.view(-1, 3), strict=True):
        p = row.softmax(0)
        torch.testing.assert_close(found, (torch.diag(p) - torch.outer(p, p)) @ u)


def test_gauss_newton_is_the_sum_of_squared_scores_and_the_second_derivative_of_the_kl():
    """F = sum over states of E[grad log pi grad log pi^T], built; and once more as a Hessian."""
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    weights = torch.randn(11, generator=generator, dtype=torch.float64)
    vector = torch.randn(11, generator=generator, dtype=torch.float64)

    def logits_of(flat: torch.Tensor) -> torch.Tensor:
        return (states @ flat[:4].view(2, 2)).tanh() @ flat[4:10].view(2, 3) * flat[10]

    scores = torch.autograd.functional.jacobian(lambda w: logits_of(w).log_softmax(-1), weights)
    p = logits_of(weights).softmax(-1)
    matrix = torch.einsum("sa,sai,saj->ij", p, scores, scores)
    got = gauss_newton_product(logits_of, weights, vector)
    torch.testing.assert_close(got, matrix @ vector)

    leaf = weights.clone().requires_grad_()
    kl = categorical_kl(logits_of(weights), logits_of(leaf)).sum()
    torch.testing.assert_close(got, fisher_vector_product(kl, [leaf], damping=0.0)(vector))


def test_a_trust_region_step_reaches_the_edge_of_the_quadratic_model():
    matrix, direction = positive_matrix(5), torch.ones(5, dtype=torch.float64)
    step = trust_region_step(direction, lambda v: matrix @ v, max_kl=0.02)
    torch.testing.assert_close(0.5 * step @ matrix @ step, torch.tensor(0.02).double())
    torch.testing.assert_close(step / step[0], direction)


def test_no_direction_no_step():
    assert trust_region_step(torch.zeros(2), lambda v: v, max_kl=0.02).tolist() == [0, 0]


def test_flatten_keeps_the_order():
    got = flatten([torch.tensor([[1.0, 2.0]]), torch.tensor(3.0)])
    assert got.tolist() == [1, 2, 3]


@pytest.mark.parametrize("max_kl", [1e-4, 1e-2])
def test_the_step_changes_a_softmax_by_about_max_kl(max_kl):
    logits = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    kl = categorical_kl(logits.detach(), logits)
    product = fisher_vector_product(kl, [logits], damping=0.0)
    step = trust_region_step(torch.tensor([1.0, 0.0, -1.0]).double(), product, max_kl=max_kl)
    moved = float(categorical_kl(logits.detach(), logits.detach() + step))
    assert moved == pytest.approx(max_kl, rel=0.1)
