"""Functions of matrices in torch: derivatives of first and second order, and transforms."""

from __future__ import annotations

import pytest
import torch

from hamilforge.gen.declare.matrix_functions import PRIMITIVE
from hamilforge.runtime.core import torch_matrices

OURS = [name for name in PRIMITIVE if hasattr(torch_matrices, name)]


def drawn(*shape):
    generator = torch.Generator().manual_seed(4)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _equation(matrix, constant):
    return torch_matrices.riccati(matrix, (constant + constant.mT) / 2)


def _iteration(matrix):
    return torch_matrices.quintic(matrix, 3.0, -4.0, 2.0)


FUNCTIONS = {"riccati": _equation, "quintic": _iteration}
ARGUMENTS = {
    "cayley": [*drawn(3, 4, 2)],
    "rotation": [*drawn(3, 4, 2)],
    "det": [drawn(3, 3)],
    "diag": [drawn(3, 3)],
    "expm": [3 * drawn(3, 3)],
    "polar": [drawn(4, 3)],
    "qr": [drawn(4, 3)],
    "quintic": [drawn(4, 3)],
    "riccati": [torch.eye(3, dtype=torch.float64) + 0.1 * drawn(3, 3), 0.1 * drawn(3, 3)],
}


@pytest.mark.parametrize("name", OURS)
def test_second_derivatives_are_those_of_the_first(name):
    function = FUNCTIONS.get(name, getattr(torch_matrices, name))
    arguments = [matrix.clone().requires_grad_() for matrix in ARGUMENTS[name]]
    assert torch.autograd.gradcheck(function, arguments)
    assert torch.autograd.gradgradcheck(function, arguments)


@pytest.mark.parametrize("name", OURS)
def test_transforms_of_torch_go_through(name):
    function = FUNCTIONS.get(name, getattr(torch_matrices, name))
    batches = [torch.stack([matrix, matrix * 0.9]) for matrix in ARGUMENTS[name]]
    first, *others = ARGUMENTS[name]
    for k, values in enumerate(torch.func.vmap(function)(*batches)):
        assert torch.allclose(values, function(*(batch[k] for batch in batches)), atol=1e-13)

    def total(matrix):
        return (function(matrix, *others) ** 3).sum()

    matrix = first.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(total(matrix), matrix)
    assert torch.allclose(torch.func.grad(total)(first), slopes, atol=1e-12)
    hessian = torch.autograd.functional.hessian(total, first)
    assert torch.allclose(torch.func.hessian(total)(first), hessian, atol=1e-10)


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 2), (3, 3), (4, 1)])
def test_polar_has_all_derivatives_also_where_singular_values_meet(shape, near):
    """Those of the nearest point, whose derivative is symmetric, forwards and backwards."""
    matrix = torch.zeros(shape, dtype=torch.float64) + torch.eye(*shape[-2:], dtype=torch.float64)
    matrix = (matrix if near else drawn(*shape)).requires_grad_()
    check = torch.autograd.gradcheck
    assert check(torch_matrices.polar, (matrix,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(torch_matrices.polar, (matrix,), check_fwd_over_rev=True)


def test_a_second_derivative_forwards_is_refused():
    """What torch would make of it is 0; forwards over backwards is right, and backwards over it."""
    matrix = drawn(4, 3)

    def total(own):
        return (torch_matrices.polar(own) ** 3).sum()

    forwards, backwards = torch.func.jacfwd, torch.func.jacrev
    with pytest.raises(RuntimeError, match="take one of them backwards"):
        forwards(forwards(total))(matrix)
    hessian = backwards(backwards(total))(matrix)
    for twice in (forwards(backwards(total)), backwards(forwards(total))):
        assert torch.allclose(twice(matrix), hessian, atol=1e-12)


def test_an_exponential_too_large_for_a_transform_is_no_number():
    """A transform lets nothing look at how often it has to be squared."""
    skew = torch.tensor([[0.0, 1e6], [-1e6, 0.0]], dtype=torch.float64)
    assert torch_matrices.expm(skew).isfinite().all()
    assert torch.func.vmap(torch_matrices.expm)(skew[None]).isnan().all()
