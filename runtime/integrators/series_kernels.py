"""Coefficients of products, quotients, powers and functions of Taylor series, eight at a time.

Row k of an array holds the coefficients of power k, a column for each series; operands and results
stand side by side from a column on.  The recurrences: ``gen.program.integrators.series``.
Compiled into kernels, which carry the digest of this file.
"""

from __future__ import annotations

from typing import Any

from hamilforge.runtime.core.inner_functions import summing_function
from hamilforge.runtime.core.lanes_type import COUNT
from hamilforge.runtime.integrators.series_lanes import add_products


@summing_function
def product(rows: Any, k: int, left: int, right: int, result: int, width: int) -> None:
    """Row k of ``left * right``.

    Args:
        rows: the coefficients, `(powers, columns)`.
        k: the power.
        left: the first column of the one operand.
        right: that of the other.
        result: the first column of the results.
        width: how many, a multiple of 8.
    """
    _clear(rows[k], result, width)
    for i in range(0, width, COUNT):
        add_products(rows, k, 0, k + 1, left + i, right + i, result + i, None, None)


@summing_function
def square(rows: Any, k: int, base: int, result: int, width: int) -> None:
    """Row k of ``base * base``, each product of two different coefficients once.

    Args:
        rows: the coefficients, `(powers, columns)`.
        k: the power.
        base: the first column of the operand.
        result: the first column of the results.
        width: how many, a multiple of 8.
    """
    _clear(rows[k], result, width)
    for i in range(0, width, COUNT):
        add_products(rows, k, 0, (k + 1) // 2, base + i, base + i, result + i, None, None)
    row, middle = rows[k], rows[k // 2]
    if k % 2 == 0:
        for i in range(width):
            row[result + i] = 2 * row[result + i] + middle[base + i] * middle[base + i]
    else:
        for i in range(width):
            row[result + i] *= 2


@summing_function
def quotient(rows: Any, k: int, over: int, under: int, result: int, width: int) -> None:
    """Row k of ``over / under``.

    Args:
        rows: the coefficients, `(powers, columns)`.
        k: the power.
        over: the first column of the numerators; -1 for 1.
        under: the first column of the denominators.
        result: the first column of the results.
        width: how many, a multiple of 8.
    """
    _clear(rows[k], result, width)
    for i in range(0, width, COUNT):
        add_products(rows, k, 1, k + 1, under + i, result + i, result + i, None, None)
    row, first = rows[k], rows[0]
    for i in range(width):
        gain = 0.0
        if over >= 0:
            gain = row[over + i]
        elif k == 0:
            gain = 1.0
        row[result + i] = (gain - row[result + i]) / first[under + i]


@summing_function
def power(rows: Any, k: int, exponent: float, base: int, result: int, width: int) -> None:
    """Row k of ``base ** exponent``, k > 0.

    Args:
        rows: the coefficients, `(powers, columns)`.
        k: the power of the step.
        exponent: that does not depend on time.
        base: the first column of the operand.
        result: the first column of the results.
        width: how many, a multiple of 8.
    """
    _clear(rows[k], result, width)
    for i in range(0, width, COUNT):
        add_products(rows, k, 1, k + 1, base + i, result + i, result + i, exponent, -1.0)
    row, first = rows[k], rows[0]
    for i in range(width):
        row[result + i] /= k * first[base + i]


@summing_function
def elementary(
    rows: Any, k: int, factor: float, x: int, over: int, under: int, result: int, width: int
) -> None:
    """Row k of functions y of x with ``under y' = factor over x'``, k > 0.

    Args:
        rows: the coefficients, `(powers, columns)`.
        k: the power.
        factor: a number.
        x: the first column of the arguments.
        over: the first column of these series; -1 for 1.
        under: the first column of these; -1 for 1.
        result: the first column of the results.
        width: how many, a multiple of 8.
    """
    row, first = rows[k], rows[0]
    if over >= 0:
        _clear(row, result, width)
        for i in range(0, width, COUNT):
            add_products(rows, k, 1, k + 1, x + i, over + i, result + i, 1.0, 0.0)
        for i in range(width):
            row[result + i] *= factor
    else:
        for i in range(width):
            row[result + i] = factor * k * row[x + i]
    if under >= 0:
        for i in range(0, width, COUNT):
            add_products(rows, k, 1, k, result + i, under + i, result + i, -1.0, 0.0)
        for i in range(width):
            row[result + i] /= first[under + i]
    for i in range(width):
        row[result + i] /= k


@summing_function
def _clear(row: Any, result: int, width: int) -> None:
    for i in range(width):
        row[result + i] = 0.0
