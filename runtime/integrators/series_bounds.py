"""Bounds of power series in [0, 1]: whether one stays away from zero.

In Bernstein's basis the coefficients of a polynomial enclose it.  A series that was cut off where
its terms seem to have ended is held against values of its function: terms that are lost in rounding
at one place (those of tanh far from 0) may be large at another.  Compiled into kernels, which carry
the digest of this file.
"""

from __future__ import annotations

from typing import Any

from hamilforge.runtime.core.inner_functions import inner_function

#: What a series and a value of its function differ by, relative to the sum of its terms.
ALIKE = 1e-4


@inner_function
def excluded(rows: Any, column: int, top: int, near: float) -> bool:
    """Whether a polynomial surely stays away from zero in [0, 1], and from being near it.

    Args:
        rows: coefficients, `(top + 1, columns)`; a power series that was cut off is taken to go on
            as its last two terms.
        column: of the polynomial.
        top: the highest power.
        near: what is near, relative to the sum of the sizes of the coefficients; what the series
            may be wrong by comes to it.

    Returns:
        Whether no root is there.
    """
    first, rest = abs(rows[0, column]), 0.0
    for k in range(1, top + 1):
        rest += abs(rows[k, column])
    tail = abs(rows[top - 1, column]) + abs(rows[top, column])
    room = tail + (near + ALIKE) * (first + rest)
    if first - rest > room:
        return True
    if not first > room:
        return False
    # Bernstein's coefficients, sum_{k <= j} C(j, k)/C(top, k) c_k, one by one
    for j in range(1, top + 1):
        ratio, value = 1.0, rows[0, column]
        for k in range(1, j + 1):
            ratio *= (j - k + 1) / (top - k + 1)
            value += ratio * rows[k, column]
        if not value * rows[0, column] > 0.0 or not abs(value) > room:
            return False
    return True


@inner_function
def evaluate(rows: Any, count: int, top: int, x: float, result: Any) -> None:
    """The values of polynomials.

    Args:
        rows: coefficients, `(top + 1, columns)`.
        count: how many polynomials, in the first columns.
        top: the highest power.
        x: where.
        result: for the values, `(1, columns)`.
    """
    for i in range(count):
        total = 0.0
        for k in range(top, -1, -1):
            total = total * x + rows[k, i]
        result[0, i] = total


@inner_function
def agrees(rows: Any, column: int, top: int, x: float, values: Any) -> bool:
    """Whether a polynomial has a value at x, but for what an end of its series leaves out.

    Args:
        rows: coefficients, `(top + 1, columns)`.
        column: of the polynomial.
        top: the highest power.
        x: where.
        values: the value in the same column, `(1, columns)`.

    Returns:
        Whether the difference is small.
    """
    total, size = 0.0, 0.0
    for k in range(top, -1, -1):
        total = total * x + rows[k, column]
        size = size * x + abs(rows[k, column])
    return abs(total - values[0, column]) <= ALIKE * size
