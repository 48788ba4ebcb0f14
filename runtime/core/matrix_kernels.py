"""Products and sums of small matrices inside kernels: rows lie one behind the other.

Compiled into generated kernels, which carry the digest of this file.  Matrices are `(n, p)`, and
one thread works on one of them.
"""

from __future__ import annotations

from typing import Any

from hamilforge.runtime.core.inner_functions import inner_function, summing_function


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
