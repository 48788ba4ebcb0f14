"""Functions of whole matrices in torch, over any leading axes; vectors are columns.

What torch has not, or has with a derivative that is infinite where singular values meet, is here.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from hamilforge.runtime.core.torch_polar import Polar
from hamilforge.runtime.core.torch_transforms import transforms_are_active

Tensor = torch.Tensor
#: An exponential is halved until its norm is below this, and takes so many terms then.
_NORM, _TERMS = 1.0, 18
#: Steps of an iteration that converges quadratically, where it may be looked at; and where not:
#: enough for eigenvalues from 2^-12 on.  There an exponential is squared so often too.
_DOUBLINGS, _UNSEEN = 40, 16


def polar(matrix: Tensor) -> Tensor:
    """The nearest matrix with orthonormal columns."""
    result: Tensor = Polar.apply(matrix)
    return result


def plus_product(
    matrix: Tensor, left: Tensor, right: Tensor, alpha: float = 1.0, beta: float = 1.0
) -> Tensor:
    """``beta A + alpha L R``.

    Args:
        matrix: A, `(..., n, p)`.
        left: L, `(..., n, k)`.
        right: R, `(..., k, p)`.
        alpha: a number; where it is 0 the product is as BLAS has it, not looked at.
        beta: a number; likewise.

    Returns:
        `(..., n, p)`.
    """
    added = _added(matrix, left, right)
    if added is not None:
        result: Tensor = added(matrix, left, right, beta=beta, alpha=alpha)
        return result
    return torch.add(matrix if beta == 1 else beta * matrix, left @ right, alpha=alpha)


def add_product_(
    matrix: Tensor, left: Tensor, right: Tensor, alpha: float = 1.0, beta: float = 1.0
) -> Tensor:
    """The same in the place of A.

    Args:
        matrix: A, `(..., n, p)`; neither L nor R.
        left: L, `(..., n, k)`.
        right: R, `(..., k, p)`.
        alpha: a number.
        beta: a number.

    Returns:
        A.
    """
    added = _added(matrix, left, right)
    if added is not None:
        result: Tensor = added(matrix, left, right, beta=beta, alpha=alpha, out=matrix)
        return result
    return matrix.mul_(beta).add_(left @ right, alpha=alpha)


def _added(*matrices: Tensor) -> Any:
    """The operation of torch for matrices, or for as many of each; None for others."""
    if len({matrix.shape[:-2] for matrix in matrices}) > 1:
        return None
    return {2: torch.addmm, 3: torch.baddbmm}.get(matrices[0].ndim)


def qr(matrix: Tensor) -> Tensor:
    """The orthonormal factor of Q R, with a positive diagonal of R; columns are 0 where it is."""
    q, r = torch.linalg.qr(matrix)
    diagonal = r.diagonal(dim1=-2, dim2=-1)
    return q * diagonal.sign()[..., None, :]


def expm(matrix: Tensor) -> Tensor:
    """The exponential: halved, by its series, and squared.

    Inside transforms of ``torch.func`` it is NaN for norms above 2^16.

    ``torch.linalg.matrix_exp`` is off by up to 1e-11 in float64 (PyTorch 2.13, norms of about 0.01
    to 0.1), which a geodesic does not stand.
    """
    if not matrix.numel():
        return matrix
    halvings = _halvings(matrix)
    small = matrix * torch.exp2(-halvings)
    one = identity(matrix.shape[-1], matrix)
    result = one.expand_as(matrix)
    for k in range(_TERMS, 0, -1):  # by Horner's rule: 1 + A/1 (1 + A/2 (1 + ...))
        result = one + small @ result / k
    for k in range(_repeated(halvings)):
        result = torch.where(halvings > k, result @ result, result)
    return result


def _halvings(matrix: Tensor) -> Tensor:
    """How often matrices are halved until their norm is small; what is not finite stays so."""
    norm = matrix.detach().abs().sum(-1).amax(-1)[..., None, None]
    halvings = torch.log2(norm / _NORM).ceil().clamp(min=0)
    halvings = torch.where(halvings.isfinite(), halvings, 0.0)
    if transforms_are_active():  # more than are undone there: what is halved is no number either
        halvings = torch.where(halvings > _UNSEEN, math.nan, halvings)
    return halvings


def _repeated(halvings: Tensor) -> int:
    """How often all are doubled again; inside transforms, which let none look, the most."""
    return _UNSEEN if transforms_are_active() else int(halvings.max())


def rotation(left: Tensor, right: Tensor, matrix: Tensor) -> Tensor:
    """``exp(P X' - X P') B`` by matrices of 2p rows: ``B + L phi(R'L) R'B``, phi(z) = (e^z - 1)/z.

    Args:
        left: P, `(..., n, p)`.
        right: X, `(..., n, p)`.
        matrix: B, `(..., n, q)`.

    Returns:
        `(..., n, q)`; with L = [P, -X], R = [X, P].
    """
    if not matrix.numel():
        return matrix
    wide, small, along = _narrowed(left, right, matrix)
    halvings = _halvings(small)
    small = small * torch.exp2(-halvings)
    one = identity(small.shape[-1], small)
    phi = one.expand_as(small)
    for k in range(_TERMS, 1, -1):  # by Horner's rule: 1 + Z/2 (1 + Z/3 (1 + ...))
        phi = one + small @ phi / k
    for k in range(_repeated(halvings)):  # phi(2 Z) = phi(Z) (1 + Z phi(Z)/2)
        phi = torch.where(halvings > k, phi @ (one + small @ phi / 2), phi)
        small = torch.where(halvings > k, 2 * small, small)
    return matrix + wide @ (phi @ along)


def cayley(left: Tensor, right: Tensor, matrix: Tensor) -> Tensor:
    """``(1 - W/2)^-1 (1 + W/2) B``, W = P X' - X P', by a system of 2p unknowns.

    Args:
        left: P, `(..., n, p)`.
        right: X, `(..., n, p)`.
        matrix: B, `(..., n, q)`.

    Returns:
        `(..., n, q)`: ``B + L (1 - R'L/2)^-1 R'B`` with L = [P, -X], R = [X, P].
    """
    wide, small, along = _narrowed(left, right, matrix)
    one = identity(small.shape[-1], small)
    return matrix + wide @ torch.linalg.solve(one - small / 2, along)


def _narrowed(left: Tensor, right: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """L = [P, -X], R'L and R'B for R = [X, P]."""
    wide = torch.cat([left, -right], -1)
    narrow = torch.cat([right, left], -1).mT
    return wide, narrow @ wide, narrow @ matrix


def quintic(matrix: Tensor, a: Any, b: Any, c: Any) -> Tensor:
    """``A (a + b A'A + c (A'A)^2)``: each singular value s of A becomes a s + b s^3 + c s^5.

    Args:
        matrix: A, `(..., n, p)`.
        a: of the first power.
        b: of the third.
        c: of the fifth.

    Returns:
        `(..., n, p)`, by products over the shorter side.
    """
    tall = matrix.shape[-2] >= matrix.shape[-1]
    gram = matrix.mT @ matrix if tall else matrix @ matrix.mT
    if matrix.ndim <= 3 and not any(isinstance(number, Tensor) for number in (a, b, c)):
        added = torch.addmm if matrix.ndim == 2 else torch.baddbmm  # in one pass over the result
        factor = added(gram, gram, gram, beta=b, alpha=c)
        operands = (matrix, factor) if tall else (factor, matrix)
        return added(matrix, *operands, beta=a)
    factor = c * (gram @ gram) + b * gram
    return a * matrix + (matrix @ factor if tall else factor @ matrix)


def riccati(matrix: Tensor, constant: Tensor) -> Tensor:
    """The symmetric L with ``L L - L S - S' L + Q = 0`` and eigenvalues of S - L to the right of 0.

    With A = -S and H = -Q it is -Y for the stabilising solution of A'Y + Y A - Y Y + H = 0, by the
    doubling of E. K.-W. Chu, H.-Y. Fan and W.-W. Lin, Linear Algebra Appl. 396 (2005) 55-80, about
    the point 1, near which the eigenvalues of S - L are: it converges quadratically.  On a CPU it
    ends where it has converged; elsewhere, and where torch traces, after 16 steps.

    Args:
        matrix: S, `(..., p, p)`.
        constant: Q, `(..., p, p)`, symmetric.

    Returns:
        `(..., p, p)`; NaN where there is no such solution, or none within these steps.
    """
    size = matrix.shape[-1]
    one = identity(size, matrix)
    start = -matrix - one
    inverse = torch.linalg.inv_ex(start).inverse
    other = torch.linalg.inv_ex(start.mT - constant @ inverse).inverse
    a, g = one + 2 * other.mT, 2 * inverse @ other
    h = -2 * other @ constant @ inverse
    unit = torch.finfo(matrix.dtype).eps
    traced = torch.compiler.is_compiling() or transforms_are_active()
    looks = matrix.device.type == "cpu" and not traced
    for _ in range(_DOUBLINGS if looks else _UNSEEN):
        both = torch.linalg.solve_ex(one + g @ h, torch.cat([a, g], -1)).result
        change = a.mT @ h @ both[..., :size]
        g = g + a @ both[..., size:] @ a.mT
        h, a = h + change, a @ both[..., :size]
        if looks and not bool((_largest(change) > unit * _largest(h)).any()):
            break
    settled = _largest(change) <= math.sqrt(unit) * _largest(h)
    return torch.where(settled, -(h + h.mT) / 2, math.nan)


def _largest(matrix: Tensor) -> Tensor:
    """The largest entry, without a derivative."""
    return matrix.detach().abs().amax((-2, -1), keepdim=True)


def size(matrix: Tensor, axis: int) -> Tensor:
    """How long an axis is, as a number of the matrix's type."""
    return torch.full((), matrix.shape[axis], dtype=matrix.dtype, device=matrix.device)


def filled(value: Any, sizes: tuple[int, int], like: Tensor) -> Tensor:
    """A matrix with all its entries, of what has the same along an axis.

    Args:
        value: a number, or a tensor with an axis of length 1.
        sizes: n and p.
        like: a tensor with the same axes in front, of the same type.

    Returns:
        `(..., n, p)`.
    """
    whole = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return whole.expand(*like.shape[:-2], *sizes)


def diag(matrix: Tensor) -> Tensor:
    """The diagonal of a square matrix as a column, or the matrix with a column as diagonal."""
    if matrix.shape[-1] > 1 or matrix.shape[-2] == 1:
        return matrix.diagonal(dim1=-2, dim2=-1)[..., None]
    return torch.diag_embed(matrix[..., 0])


def det(matrix: Tensor) -> Tensor:
    """The determinant, `(..., 1, 1)`."""
    return torch.linalg.det(matrix)[..., None, None]


def identity(size: int, like: Tensor) -> Tensor:
    """The identity, of the type of another tensor."""
    return torch.eye(size, dtype=like.dtype, device=like.device)


def unit(size: int, column: int, like: Tensor) -> Tensor:
    """A column of the identity.

    Args:
        size: of the column.
        column: its number, from 0.
        like: a tensor of the same type.

    Returns:
        `(size, 1)`.
    """
    if column >= size:
        raise ValueError(f"no unit vector {column} in {size} dimensions")
    return identity(size, like)[:, [column]]
