"""Functions of whole matrices in numbers of many digits.

Matrices are NumPy's, of mpmath's numbers as objects; results are good to a few units of its working
precision times the condition of the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import mpmath
import numpy as np

Matrix = Any  # an array of objects

#: An exponential is squared after so many halvings beyond norm 1.
_HALVINGS = 8
#: Bits of an exponential beyond those that are asked for.
_GUARD = 32
#: Steps of an iteration that converges quadratically.
_MOST = 60


def identity(size: int) -> Matrix:
    """The identity."""
    ones = np.empty((size, size), object)
    ones[:] = mpmath.mpf(0)
    for k in range(size):
        ones[k, k] = mpmath.mpf(1)
    return ones


def size_of(matrix: Matrix) -> Any:
    """The Frobenius norm."""
    return mpmath.sqrt(sum((entry * entry for entry in matrix.ravel()), mpmath.mpf(0)))


def _eliminated(matrix: Matrix, right: Matrix) -> tuple[Matrix, Any]:
    """The solution of ``A Y = B`` by elimination with partial pivoting, and the determinant of A.

    Raises:
        ZeroDivisionError: A is singular.
    """
    a, b = matrix.copy(), right.copy()
    determinant = mpmath.mpf(1)
    for column in range(len(a)):
        best = max(range(column, len(a)), key=lambda row: abs(a[row, column]))
        if best != column:
            a[[column, best]], b[[column, best]] = a[[best, column]], b[[best, column]]
            determinant = -determinant
        pivot = a[column, column]
        determinant *= pivot
        if not pivot:
            raise ZeroDivisionError("a singular matrix")
        for row in range(len(a)):
            if row != column:
                factor = a[row, column] / pivot
                a[row, column:] = a[row, column:] - a[column, column:] * factor
                b[row] = b[row] - b[column] * factor
    return b / np.diagonal(a)[:, None], determinant


def solve(matrix: Matrix, right: Matrix) -> Matrix:
    """``A^-1 B``.

    Raises:
        ZeroDivisionError: A is singular.
    """
    return _eliminated(matrix, right)[0]


def det(matrix: Matrix) -> Any:
    """The determinant."""
    try:
        return _eliminated(matrix, identity(len(matrix)))[1]
    except ZeroDivisionError:
        return mpmath.mpf(0)


def cholesky(matrix: Matrix) -> Matrix:
    """L with ``L L' = A`` and a positive diagonal.

    Raises:
        ZeroDivisionError: A is not positive definite.
    """
    lower = identity(len(matrix)) * 0
    for i in range(len(matrix)):
        for j in range(i + 1):
            rest = matrix[i, j] - sum((lower[i, k] * lower[j, k] for k in range(j)), mpmath.mpf(0))
            if i == j and not rest > 0:
                raise ZeroDivisionError("a matrix that is not positive definite")
            lower[i, j] = mpmath.sqrt(rest) if i == j else rest / lower[j, j]
    return lower


def qr(matrix: Matrix) -> Matrix:
    """The orthonormal factor of Q R, with a positive diagonal of R."""
    return solve(cholesky(matrix.T @ matrix), matrix.T).T


def polar(matrix: Matrix) -> Matrix:
    """``A (A'A)^(-1/2)``, the nearest matrix with orthonormal columns.

    The root by the iteration of E. D. Denman and A. N. Beavers, Appl. Math. Comput. 2 (1976) 63-94.

    Raises:
        ZeroDivisionError: A has not full rank.
    """
    ones = identity(matrix.shape[1])
    root, inverse = matrix.T @ matrix, ones
    small = mpmath.mpf(2) ** (8 - mpmath.mp.prec // 2)
    for _ in range(_MOST):
        before = root
        root, inverse = (root + solve(inverse, ones)) / 2, (inverse + solve(root, ones)) / 2
        if size_of(root - before) <= small * size_of(root):
            break
    last = (inverse + solve(root, ones)) / 2
    return matrix @ last


def quintic(matrix: Any, a: Any, b: Any, c: Any) -> Any:
    """``A (a + b A'A + c (A'A)^2)``, of numbers of any kind.

    Args:
        matrix: A, `(n, p)`.
        a: of the first power of singular values.
        b: of the third.
        c: of the fifth.

    Returns:
        `(n, p)`.
    """
    gram = matrix.T @ matrix
    return matrix * a + matrix @ (gram * b + gram @ gram * c)


def expm(matrix: Matrix) -> Matrix:
    """The exponential, by halving, its series, and squaring.

    The series is one in a power of the matrix whose coefficients are short series, which takes
    about two products for the root of its length: M. S. Paterson and L. J. Stockmeyer, SIAM J.
    Comput. 2 (1973) 60-66.  Products are those of whole numbers, multiples of a power of 1/2 that
    is small beside all that an exponential may be.
    """
    size = size_of(matrix)
    halvings = max(0, int(mpmath.ceil(mpmath.log(size + 1, 2)))) + _HALVINGS
    bits = mpmath.mp.prec + 2 * halvings + 2 * int(size) + _GUARD
    factors = [1 << bits]  # 1/k!, while terms are not too small
    while factors[-1] * mpmath.ldexp(size, -halvings) ** (len(factors) - 1) > 1:
        factors.append(factors[-1] // len(factors))
    length = math.isqrt(len(factors) - 1) + 1

    def fixed(entry: Any) -> int:
        return int(mpmath.ldexp(entry, bits - halvings))

    def product(left: Matrix, right: Matrix) -> Matrix:
        return (left @ right) >> bits

    small = np.frompyfunc(fixed, 1, 1)(matrix)
    powers = [np.diag([1 << bits] * len(matrix)).astype(object)]
    for _ in range(length):
        powers.append(product(powers[-1], small))
    result = powers[0] * 0
    for begin in reversed(range(0, len(factors), length)):
        short = zip(powers, factors[begin : begin + length], strict=False)
        terms = sum(power * factor for power, factor in short)
        result = product(result, powers[-1]) + (terms >> bits)
    for _ in range(halvings):
        result = product(result, result)
    return np.frompyfunc(lambda entry: mpmath.ldexp(entry, -bits), 1, 1)(result)


def rotation(left: Matrix, right: Matrix, matrix: Matrix) -> Matrix:
    """``exp(P X' - X P') B``.

    Args:
        left: P, `(n, p)`.
        right: X, `(n, p)`.
        matrix: B, `(n, p)`.

    Returns:
        `(n, p)`.
    """
    return expm(left @ right.T - right @ left.T) @ matrix


def cayley(left: Matrix, right: Matrix, matrix: Matrix) -> Matrix:
    """``(1 - W/2)^-1 (1 + W/2) B`` with W = P X' - X P'.

    Args:
        left: P, `(n, p)`.
        right: X, `(n, p)`.
        matrix: B, `(n, p)`.

    Returns:
        `(n, p)`.
    """
    half = (left @ right.T - right @ left.T) / 2
    return solve(identity(len(half)) - half, matrix + half @ matrix)


def riccati(matrix: Any, constant: Any) -> Any:
    """The symmetric L with ``L L - L S - S' L + Q = 0`` and eigenvalues of S - L to the right of 0.

    With A = -S and H = -Q it is -Y for the stabilising solution of A'Y + Y A - Y Y + H = 0, by the
    doubling of E. K.-W. Chu, H.-Y. Fan and W.-W. Lin, Linear Algebra Appl. 396 (2005) 55-80.

    Args:
        matrix: S, `(p, p)`.
        constant: Q, `(p, p)`, symmetric.

    Raises:
        ZeroDivisionError: there is no such solution.
    """
    ones = identity(len(matrix))
    start, right = -matrix - ones, -constant
    inverse = solve(start, ones)
    other = solve(start.T + right @ inverse, ones)
    a, g, h = ones + 2 * other.T, 2 * inverse @ other, 2 * other @ right @ inverse
    small = mpmath.mpf(2) ** (4 - mpmath.mp.prec)
    for _ in range(_MOST):
        part, along = solve(ones + g @ h, a), solve(ones + g @ h, g)
        change = a.T @ h @ part
        g, h, a = g + a @ along @ a.T, h + change, a @ part
        if size_of(change) <= small * size_of(h):
            return -(h + h.T) / 2
    raise ZeroDivisionError("an equation of Riccati without the solution that is looked for")


def diag(matrix: Matrix) -> Matrix:
    """The diagonal of a square matrix as a column, or the matrix with a column as diagonal."""
    if matrix.shape[1] > 1 or len(matrix) == 1:
        return np.diagonal(matrix)[:, None].copy()
    return identity(len(matrix)) * matrix


#: By the names of :mod:`matrix_functions`.
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "cayley": cayley,
    "cholesky": cholesky,
    "colsum": lambda matrix: matrix.sum(0, keepdims=True),
    "det": det,
    "diag": diag,
    "expm": expm,
    "polar": polar,
    "qr": qr,
    "quintic": quintic,
    "riccati": riccati,
    "rotation": rotation,
    "rowsum": lambda matrix: matrix.sum(1, keepdims=True),
    "solve": solve,
}
