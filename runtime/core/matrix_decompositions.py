"""Decompositions of small matrices inside kernels, and what they solve; room is given.

Compiled into generated kernels, which carry the digest of this file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hamilforge.runtime.core.inner_functions import inner_function
from hamilforge.runtime.core.matrix_kernels import copied, identity, times, transposed_times

#: Steps of an iteration that converges quadratically, and sweeps of rotations.
_MOST = 40


@inner_function
def cholesky(matrix: Any, out: Any) -> None:
    """L with ``L L' = A`` and a positive diagonal; NaN where A is not positive definite.

    Args:
        matrix: A, `(n, n)`, symmetric.
        out: L; set.
    """
    for i in range(out.shape[0]):
        for j in range(out.shape[0]):
            if j > i:
                out[i, j] = 0
                continue
            rest = matrix[i, j]
            for k in range(j):
                rest -= out[i, k] * out[j, k]
            out[i, j] = np.sqrt(rest) if i == j else rest / out[j, j]


@inner_function
def _eliminated(matrix: Any, right: Any) -> Any:
    """``A^-1 B`` in the place of B, by elimination with partial pivoting; the determinant of A.

    Args:
        matrix: A; overwritten.
        right: B; overwritten by the solution.

    Returns:
        The determinant.
    """
    size = matrix.shape[0]
    determinant = matrix.dtype.type(1)
    for column in range(size):
        best = column
        for row in range(column + 1, size):
            if abs(matrix[row, column]) > abs(matrix[best, column]):
                best = row
        if best != column:
            determinant = -determinant
            for k in range(size):
                matrix[column, k], matrix[best, k] = matrix[best, k], matrix[column, k]
            for k in range(right.shape[1]):
                right[column, k], right[best, k] = right[best, k], right[column, k]
        pivot = matrix[column, column]
        determinant *= pivot
        for row in range(column + 1, size):
            factor = matrix[row, column] / pivot
            for k in range(column + 1, size):
                matrix[row, k] -= factor * matrix[column, k]
            for k in range(right.shape[1]):
                right[row, k] -= factor * right[column, k]
    for row in range(size - 1, -1, -1):
        for column in range(row + 1, size):
            factor = matrix[row, column]
            for k in range(right.shape[1]):
                right[row, k] -= factor * right[column, k]
        for k in range(right.shape[1]):
            right[row, k] /= matrix[row, row]
    return determinant


@inner_function
def solve(matrix: Any, right: Any, room: Any, out: Any) -> None:
    """``A^-1 B``.

    Args:
        matrix: A, `(n, n)`.
        right: B, `(n, p)`.
        room: at least n^2 numbers.
        out: `(n, p)`; set.
    """
    size = matrix.shape[0]
    own = room[: size * size].reshape((size, size))
    copied(matrix, own)
    copied(right, out)
    _eliminated(own, out)


@inner_function
def det(matrix: Any, room: Any) -> Any:
    """The determinant.

    Args:
        matrix: `(n, n)`.
        room: at least n^2 + n numbers.
    """
    size = matrix.shape[0]
    own = room[: size * size].reshape((size, size))
    copied(matrix, own)
    return _eliminated(own, room[size * size : size * size + size].reshape((size, 1)))


@inner_function
def _triangular(matrix: Any, lower: Any) -> None:
    """``A L'^-1`` in the place of A.

    Args:
        matrix: A, `(n, p)`.
        lower: L, `(p, p)`, triangular.
    """
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            entry = matrix[i, j]
            for k in range(j):
                entry -= matrix[i, k] * lower[j, k]
            matrix[i, j] = entry / lower[j, j]


@inner_function
def qr(matrix: Any, room: Any, out: Any) -> None:
    """The orthonormal factor of Q R, with a positive diagonal of R.

    Near to it twice by the Cholesky factor of A'A (Y. Yamamoto et al., Electron. Trans. Numer.
    Anal. 44 (2015) 306-326), else by Gram's and Schmidt's method, each column twice (L. Giraud et
    al., Numer. Math. 101 (2005) 87-100); a column that those before it leave nothing of is 0.

    Args:
        matrix: A, `(n, p)` with n >= p.
        room: at least 2 p^2 numbers.
        out: `(n, p)`; set.
    """
    size = matrix.shape[1]
    gram = room[: size * size].reshape((size, size))
    lower = room[size * size : 2 * size * size].reshape((size, size))
    copied(matrix, out)
    transposed_times(out, out, gram)
    if _away(gram) < 0.5:
        for _ in range(2):
            cholesky(gram, lower)
            _triangular(out, lower)
            transposed_times(out, out, gram)
        return
    for j in range(size):
        for _ in range(2):
            for i in range(j):
                along = out[0, i] * out[0, j]
                for k in range(1, out.shape[0]):
                    along += out[k, i] * out[k, j]
                for k in range(out.shape[0]):
                    out[k, j] -= along * out[k, i]
            _normalised(out, j)


@inner_function
def _normalised(matrix: Any, column: int) -> None:
    """A column of length 1, in its place; it stays 0 where it is."""
    largest = abs(matrix[0, column])
    for k in range(1, matrix.shape[0]):
        largest = max(largest, abs(matrix[k, column]))
    if largest == 0:
        return
    total = 0.0
    for k in range(matrix.shape[0]):
        matrix[k, column] /= largest
        total += matrix[k, column] * matrix[k, column]
    for k in range(matrix.shape[0]):
        matrix[k, column] /= np.sqrt(total)


@inner_function
def _of_size_one(matrix: Any) -> None:
    """A matrix with 1 as its largest entry, in its place, so that squares are numbers."""
    largest = abs(matrix[0, 0])
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            largest = max(largest, abs(matrix[i, j]))
    if largest > 0:
        for i in range(matrix.shape[0]):
            for j in range(matrix.shape[1]):
                matrix[i, j] /= largest


@inner_function
def _turned_apart(matrix: Any, vectors: Any) -> None:
    """Columns made orthogonal to each other by rotations, ``A <- A V`` with an orthogonal V.

    Jacobi's method from one side: columns are orthogonal up to rounding of their own lengths,
    however unequal these are (J. Demmel and K. Veselic, SIAM J. Matrix Anal. Appl. 13 (1992)
    1204-1245).

    Args:
        matrix: A, `(n, p)`; overwritten.
        vectors: V, `(p, p)`; set.
    """
    size = matrix.shape[1]
    identity(-1, vectors)
    close = np.finfo(matrix.dtype).eps
    for _ in range(_MOST):
        turned_once = False
        for p in range(size - 1):
            for q in range(p + 1, size):
                left = right = along = 0.0
                for k in range(matrix.shape[0]):
                    left += matrix[k, p] * matrix[k, p]
                    right += matrix[k, q] * matrix[k, q]
                    along += matrix[k, p] * matrix[k, q]
                if not abs(along) > close * np.sqrt(left) * np.sqrt(right):
                    continue
                turned_once = True
                ratio = (right - left) / (2 * along)
                tangent = 1 / (abs(ratio) + np.sqrt(ratio * ratio + 1))
                tangent = tangent if ratio >= 0 else -tangent
                cosine = 1 / np.sqrt(tangent * tangent + 1)
                _rotated(matrix, p, q, cosine, cosine * tangent)
                _rotated(vectors, p, q, cosine, cosine * tangent)
        if not turned_once:
            break


@inner_function
def _rotated(matrix: Any, p: int, q: int, cosine: float, sine: float) -> None:
    """Two columns turned into each other, in their places.

    Args:
        matrix: `(n, p)`.
        p: one column.
        q: the other.
        cosine: of the angle.
        sine: of the angle.
    """
    for k in range(matrix.shape[0]):
        left, right = matrix[k, p], matrix[k, q]
        matrix[k, p] = cosine * left - sine * right
        matrix[k, q] = sine * left + cosine * right


@inner_function
def _away(gram: Any) -> Any:
    """The largest sum of a row of ``|A - 1|``: an upper bound of its eigenvalues."""
    largest = gram.dtype.type(0)
    for i in range(gram.shape[0]):
        total = gram.dtype.type(0)
        for j in range(gram.shape[1]):
            total += abs(gram[i, j] - (1 if i == j else 0))
        largest = max(largest, total) if total == total else total
    return largest


@inner_function
def polar(matrix: Any, room: Any, out: Any) -> None:
    """``A (A'A)^(-1/2)``, the nearest matrix with orthonormal columns.

    Near to it by the coupled iteration of Newton and Schulz for the inverse root of S = A'A, which
    converges quadratically from |S - 1| < 1 (N. J. Higham, Functions of Matrices, SIAM 2008,
    chapter 6); else by singular vectors, from rotations of the columns; those whose singular value
    is 0 are left out, as in the partial isometry of A = U H, so that the factor of 0 is 0.

    Args:
        matrix: A, `(n, p)` with n >= p.
        room: at least 5 p^2 + p numbers.
        out: `(n, p)`; set.
    """
    size = matrix.shape[1]
    square = size * size
    gram = room[:square].reshape((size, size))
    root = room[square : 2 * square].reshape((size, size))
    inverse = room[2 * square : 3 * square].reshape((size, size))
    factor = room[3 * square : 4 * square].reshape((size, size))
    held = room[4 * square : 5 * square].reshape((size, size))
    transposed_times(matrix, matrix, gram)
    if _away(gram) < 0.5:
        # from Y = S and Z = 1: T = (3 - Z Y)/2, Y <- Y T -> S^(1/2), Z <- T Z -> S^(-1/2)
        tolerance = np.sqrt(np.finfo(gram.dtype).eps)
        copied(gram, factor)
        for step in range(_MOST):
            away = _away(factor)
            for i in range(size):
                for j in range(size):
                    factor[i, j] = ((3 if i == j else 0) - factor[i, j]) / 2
            if step == 0:
                copied(factor, inverse)
            else:
                times(factor, inverse, held)
                copied(held, inverse)
            if away < tolerance:
                break
            times(gram if step == 0 else root, factor, held)
            copied(held, root)
            times(inverse, root, factor)
        times(matrix, inverse, out)
        return
    row = room[5 * square : 5 * square + size]
    copied(matrix, out)
    _of_size_one(out)
    _turned_apart(out, root)
    for j in range(size):
        _normalised(out, j)
    for i in range(out.shape[0]):  # U V', row by row in the place of U
        for j in range(size):
            row[j] = out[i, j]
        for j in range(size):
            total = row[0] * root[j, 0]
            for k in range(1, size):
                total += row[k] * root[j, k]
            out[i, j] = total
