"""Functions of small matrices inside kernels: rows lie one behind the other, room is given.

Compiled into generated kernels, which carry the digest of this file.  Matrices are `(n, p)`, and
one thread works on one of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hamilforge.runtime.core.inner_functions import inner_function, summing_function

#: An exponential is halved until its norm is below this, and takes so many terms then.
_NORM, _TERMS = 1.0, 18
#: Steps of iterations that converge quadratically, and sweeps of rotations.
_MOST = 40


@inner_function
def copied(matrix: Any, out: Any) -> None:
    """A copy."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = matrix[i, j]


@inner_function
def turned(matrix: Any, out: Any) -> None:
    """``A'``."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = matrix[j, i]


@inner_function
def identity(column: int, out: Any) -> None:
    """The identity, or a column of it.

    Args:
        column: its number; below 0 for all of them.
        out: `(n, n)`, or `(n, 1)`; set.
    """
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = 1 if i == (j if column < 0 else column) else 0


@summing_function
def times(left: Any, right: Any, out: Any) -> None:
    """``L R``.

    Args:
        left: `(n, k)`.
        right: `(k, p)`.
        out: `(n, p)`; set.
    """
    inner, columns = left.shape[1], out.shape[1]
    rows, whole = out.shape[0] - out.shape[0] % 4, inner - inner % 4
    for i in range(0, rows, 4):  # four rows and four terms at a time: all is loaded once for four
        for j in range(columns):
            out[i, j] = out[i + 1, j] = out[i + 2, j] = out[i + 3, j] = 0
        for k in range(0, whole, 4):
            m, n, o = k + 1, k + 2, k + 3
            a0, a1, a2, a3 = left[i, k], left[i + 1, k], left[i + 2, k], left[i + 3, k]
            b0, b1, b2, b3 = left[i, m], left[i + 1, m], left[i + 2, m], left[i + 3, m]
            c0, c1, c2, c3 = left[i, n], left[i + 1, n], left[i + 2, n], left[i + 3, n]
            d0, d1, d2, d3 = left[i, o], left[i + 1, o], left[i + 2, o], left[i + 3, o]
            for j in range(columns):
                a, b, c, d = right[k, j], right[m, j], right[n, j], right[o, j]
                out[i, j] += a0 * a + b0 * b + c0 * c + d0 * d
                out[i + 1, j] += a1 * a + b1 * b + c1 * c + d1 * d
                out[i + 2, j] += a2 * a + b2 * b + c2 * c + d2 * d
                out[i + 3, j] += a3 * a + b3 * b + c3 * c + d3 * d
        for k in range(whole, inner):
            a0, a1, a2, a3 = left[i, k], left[i + 1, k], left[i + 2, k], left[i + 3, k]
            for j in range(columns):
                a = right[k, j]
                out[i, j] += a0 * a
                out[i + 1, j] += a1 * a
                out[i + 2, j] += a2 * a
                out[i + 3, j] += a3 * a
    for i in range(rows, out.shape[0]):
        for j in range(columns):
            out[i, j] = 0
        for k in range(inner):
            a = left[i, k]
            for j in range(columns):
                out[i, j] += a * right[k, j]


@summing_function
def transposed_times(left: Any, right: Any, out: Any) -> None:
    """``L'R``.

    Args:
        left: `(k, n)`.
        right: `(k, p)`.
        out: `(n, p)`; set.
    """
    inner, columns = left.shape[0], out.shape[1]
    if columns >= 16:  # measured: below, rows of R are too short to be read anew for each row of L'
        times(left.T, right, out)
        return
    whole = inner - inner % 4
    for i in range(out.shape[0]):
        for j in range(columns):
            out[i, j] = 0
    for k in range(0, whole, 4):  # four at a time: what is added to is loaded and stored once
        for i in range(out.shape[0]):
            a, b, c, d = left[k, i], left[k + 1, i], left[k + 2, i], left[k + 3, i]
            for j in range(columns):
                out[i, j] += (
                    a * right[k, j]
                    + b * right[k + 1, j]
                    + c * right[k + 2, j]
                    + d * right[k + 3, j]
                )
    for k in range(whole, inner):
        for i in range(out.shape[0]):
            a = left[k, i]
            for j in range(columns):
                out[i, j] += a * right[k, j]


@summing_function
def times_transposed(left: Any, right: Any, out: Any) -> None:
    """``L R'``.

    Args:
        left: `(n, k)`.
        right: `(p, k)`.
        out: `(n, p)`; set.
    """
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total = left[i, 0] * right[j, 0]
            for k in range(1, left.shape[1]):
                total += left[i, k] * right[j, k]
            out[i, j] = total


@inner_function
def transposed_times_transposed(left: Any, right: Any, out: Any) -> None:
    """``L'R'``.

    Args:
        left: `(k, n)`.
        right: `(p, k)`.
        out: `(n, p)`; set.
    """
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total = left[0, i] * right[j, 0]
            for k in range(1, left.shape[0]):
                total += left[k, i] * right[j, k]
            out[i, j] = total


@inner_function
def colsum(matrix: Any, out: Any) -> None:
    """The sum of each column, `(1, p)`."""
    for j in range(out.shape[1]):
        out[0, j] = 0
    for i in range(matrix.shape[0]):
        for j in range(out.shape[1]):
            out[0, j] += matrix[i, j]


@inner_function
def rowsum(matrix: Any, out: Any) -> None:
    """The sum of each row, `(n, 1)`."""
    for i in range(out.shape[0]):
        out[i, 0] = 0
        for j in range(matrix.shape[1]):
            out[i, 0] += matrix[i, j]


@inner_function
def diag(matrix: Any, out: Any) -> None:
    """The diagonal as a column, or the matrix with a column as diagonal."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            if out.shape[1] > 1:
                out[i, j] = matrix[i, 0] if i == j else 0
            else:
                out[i, 0] = matrix[i, i]


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
    al., Numer. Math. 101 (2005) 87-100); NaN where a column depends on those before it exactly.

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
    """A column of length 1, in its place; NaN where it is 0."""
    largest = abs(matrix[0, column])
    for k in range(1, matrix.shape[0]):
        largest = max(largest, abs(matrix[k, column]))
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
    chapter 6); else by singular vectors, from rotations of the columns.  NaN where a column is
    exactly 0 after these.

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


@inner_function
def quintic(matrix: Any, a: float, b: float, c: float, room: Any, out: Any) -> None:
    """``A (a + b A'A + c (A'A)^2)``: each singular value s of A becomes a s + b s^3 + c s^5.

    Args:
        matrix: A, `(n, p)`.
        a: of the first power.
        b: of the third.
        c: of the fifth.
        room: at least 2 min(n, p)^2 numbers.
        out: `(n, p)`; set.
    """
    tall = matrix.shape[0] >= matrix.shape[1]
    size = min(matrix.shape[0], matrix.shape[1])
    gram = room[: size * size].reshape((size, size))
    factor = room[size * size : 2 * size * size].reshape((size, size))
    real = matrix.dtype.type
    first, third, fifth = real(a), real(b), real(c)
    if tall:
        transposed_times(matrix, matrix, gram)
    else:
        times_transposed(matrix, matrix, gram)
    times(gram, gram, factor)
    for i in range(size):
        for j in range(size):
            factor[i, j] = fifth * factor[i, j] + third * gram[i, j]
    if tall:
        times(matrix, factor, out)
    else:
        times(factor, matrix, out)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += first * matrix[i, j]


@inner_function
def expm(matrix: Any, room: Any, out: Any) -> None:
    """The exponential: halved, by its series, and squared.

    Args:
        matrix: A, `(n, n)`.
        room: at least 3 n^2 numbers.
        out: `(n, n)`; set.
    """
    size = matrix.shape[0]
    square = size * size
    small = room[:square].reshape((size, size))
    term = room[square : 2 * square].reshape((size, size))
    held = room[2 * square : 3 * square].reshape((size, size))
    norm = 0.0
    for i in range(size):
        total = 0.0
        for j in range(size):
            total += abs(matrix[i, j])
        norm = max(norm, total) if total == total else np.inf
    halvings = 0
    while norm > _NORM and halvings < 1100:
        norm /= 2
        halvings += 1
    scale = matrix.dtype.type(0.5**halvings)
    for i in range(size):
        for j in range(size):
            small[i, j] = scale * matrix[i, j]
    identity(-1, out)
    # by Horner's rule: 1 + A/1 (1 + A/2 (1 + ...))
    for k in range(_TERMS, 0, -1):
        times(small, out, term)
        for i in range(size):
            for j in range(size):
                out[i, j] = term[i, j] / k + (1 if i == j else 0)
    for _ in range(halvings):
        times(out, out, held)
        copied(held, out)
