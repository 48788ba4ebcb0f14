"""The polar factor in torch, with its derivatives: of every order backwards, and one forwards.

With A = U H, H = U'A symmetric, the derivative of U in the direction D is

    U W + (1 - U U') D H^-1,   H W + W H = U'D - D'U,

and it is its own transpose, for U is the gradient of the sum of singular values of A.  So it has
sums of singular values alone, not their differences, which vanish where two of them meet (N. J.
Higham, Functions of Matrices, SIAM 2008, chapter 8).
"""

from __future__ import annotations

import math
from typing import Any

import torch

from hamilforge.runtime.core.torch_transforms import refuse_forward_twice, transforms_are_active

Tensor = torch.Tensor
#: Up to this distance of A'A from 1 a polar factor is computed by products.
_CLOSE = 0.5


class Polar(torch.autograd.Function):
    """``U = A (A'A)^(-1/2)``, the nearest matrix with orthonormal columns; 0 where A is 0.

    Singular vectors whose value is exactly 0 are left out.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor) -> Tensor:
        """The factor.

        Args:
            matrix: A, `(..., n, p)` with n >= p.

        Returns:
            U, of the same shape.
        """
        factor = _near(matrix)
        if factor is None:
            left, values, right = torch.linalg.svd(matrix, full_matrices=False)
            factor = (left * (values != 0).to(left.dtype)[..., None, :]) @ right
        return factor

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep A and U.

        Args:
            ctx: what keeps them.
            inputs: A alone.
            output: U.
        """
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Tensor:
        """What a cotangent of U is one of A for."""
        return _derivative(*ctx.saved_tensors, *cotangents)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        """How U changes as A does.

        Raises:
            RuntimeError: it is itself differentiated forwards, which torch would let be 0.
        """
        refuse_forward_twice("the polar factor")
        return _derivative(*ctx.saved_tensors, *tangents)


class _Lyapunov(torch.autograd.Function):
    """``H W + W H = C`` for a symmetric H.

    Its derivative is the solution for ``dC - dH W - W dH``, and the solution of it for a cotangent
    K of W is one for C; that for H is ``-(K W' + W' K)``.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(symmetric: Tensor, constant: Tensor) -> Tensor:
        """The solution.

        Args:
            symmetric: H, `(..., p, p)`.
            constant: C, `(..., p, p)`.

        Returns:
            W, `(..., p, p)`; not finite where eigenvalues of H have the sum 0.
        """
        values, vectors = torch.linalg.eigh(symmetric)
        sums = values[..., :, None] + values[..., None, :]
        return vectors @ ((vectors.mT @ constant @ vectors) / sums) @ vectors.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep H and W.

        Args:
            ctx: what keeps them.
            inputs: H and C.
            output: W.
        """
        ctx.save_for_backward(inputs[0], output)
        ctx.save_for_forward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, Tensor]:
        """Cotangents of H and C."""
        symmetric, solution = ctx.saved_tensors
        constant = _lyapunov(symmetric, *cotangents)
        return -(constant @ solution.mT + solution.mT @ constant), constant

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        """How W changes."""
        refuse_forward_twice("the polar factor")
        symmetric, solution = ctx.saved_tensors
        change, constant = tangents
        return _lyapunov(symmetric, constant - change @ solution - solution @ change)


def _lyapunov(symmetric: Tensor, constant: Tensor) -> Tensor:
    solution: Tensor = _Lyapunov.apply(symmetric, constant)
    return solution


def _derivative(matrix: Tensor, factor: Tensor, direction: Tensor) -> Tensor:
    """The derivative of U in a direction, which is its own transpose.

    Args:
        matrix: A, `(..., n, p)`.
        factor: U.
        direction: D, `(..., n, p)`.

    Returns:
        `(..., n, p)`; not finite where a singular value of A is 0.
    """
    product, along = factor.mT @ matrix, factor.mT @ direction
    symmetric = (product + product.mT) / 2
    turned = _lyapunov(symmetric, along - along.mT)
    across = torch.linalg.solve_ex(symmetric, direction - factor @ along, left=False).result
    return factor @ turned + across


def _near(matrix: Tensor) -> Tensor | None:
    """The factor of matrices near to theirs, by products alone; None where they are not near.

    The coupled iteration of Newton and Schulz for the inverse root of S = A'A, which converges
    quadratically from |S - 1| < 1 (N. J. Higham, Functions of Matrices, SIAM 2008, chapter 6).
    Whether it does is looked at where that takes no time: on a CPU.

    Args:
        matrix: A, `(..., n, p)` with n >= p.
    """
    if matrix.device.type != "cpu" or not matrix.numel() or torch.compiler.is_compiling():
        return None
    if transforms_are_active():  # which do not let it look
        return None
    one = torch.eye(matrix.shape[-1], dtype=matrix.dtype)
    root = matrix.mT @ matrix
    away = _away(root, one)
    if not bool(away < _CLOSE):
        return None
    inverse = factor = (3 * one - root) / 2
    tolerance = math.sqrt(torch.finfo(matrix.dtype).eps)
    while not bool(away < tolerance):
        root = root @ factor
        product = inverse @ root
        away, factor = _away(product, one), (3 * one - product) / 2
        inverse = factor @ inverse
    return matrix @ inverse


def _away(matrix: Tensor, one: Tensor) -> Tensor:
    """The largest sum of a row of ``|A - 1|``: an upper bound of its eigenvalues."""
    return (matrix - one).abs().sum(-1).max()
