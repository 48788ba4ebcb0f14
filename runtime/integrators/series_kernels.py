"""Coefficients of products, quotients, powers and functions of Taylor series, eight at a time.

Row k of an array holds the coefficients of power k, a column for each series; operands and results
stand side by side from a column on.  The recurrences: ``gen.program.integrators.series``.
Compiled into kernels, which carry the digest of this file.
"""

from __future__ import annotations

from typing import Any

from hamilforge.runtime.core.inner_functions import summing_function


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
    for i in range(0, width, 8):
        a, b, r = left + i, right + i, result + i
        s0, s1, s2, s3, s4, s5, s6, s7 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(k + 1):
            x, y = rows[j], rows[k - j]
            s0 += x[a] * y[b]
            s1 += x[a + 1] * y[b + 1]
            s2 += x[a + 2] * y[b + 2]
            s3 += x[a + 3] * y[b + 3]
            s4 += x[a + 4] * y[b + 4]
            s5 += x[a + 5] * y[b + 5]
            s6 += x[a + 6] * y[b + 6]
            s7 += x[a + 7] * y[b + 7]
        _write(rows[k], r, 1.0, s0, s1, s2, s3, s4, s5, s6, s7)


@summing_function
def _write(
    row: Any,
    r: int,
    factor: float,
    s0: float,
    s1: float,
    s2: float,
    s3: float,
    s4: float,
    s5: float,
    s6: float,
    s7: float,
) -> None:
    """Eight results, times a factor."""
    row[r] = factor * s0
    row[r + 1] = factor * s1
    row[r + 2] = factor * s2
    row[r + 3] = factor * s3
    row[r + 4] = factor * s4
    row[r + 5] = factor * s5
    row[r + 6] = factor * s6
    row[r + 7] = factor * s7


@summing_function
def _divide(row: Any, r: int, k: int, first: Any, under: int) -> None:
    """Eight results divided by k times the first coefficients of as many series."""
    for i in range(8):
        row[r + i] /= k * first[under + i]


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
    for i in range(0, width, 8):
        a, r = base + i, result + i
        s0, s1, s2, s3, s4, s5, s6, s7 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range((k + 1) // 2):
            x, y = rows[j], rows[k - j]
            s0 += x[a] * y[a]
            s1 += x[a + 1] * y[a + 1]
            s2 += x[a + 2] * y[a + 2]
            s3 += x[a + 3] * y[a + 3]
            s4 += x[a + 4] * y[a + 4]
            s5 += x[a + 5] * y[a + 5]
            s6 += x[a + 6] * y[a + 6]
            s7 += x[a + 7] * y[a + 7]
        _write(rows[k], r, 2.0, s0, s1, s2, s3, s4, s5, s6, s7)
        if k % 2 == 0:
            x, y = rows[k // 2], rows[k]
            for m in range(8):
                y[r + m] += x[a + m] * x[a + m]


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
    for i in range(0, width, 8):
        b, r = under + i, result + i
        s0, s1, s2, s3, s4, s5, s6, s7 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(1, k + 1):
            x, y = rows[j], rows[k - j]
            s0 += x[b] * y[r]
            s1 += x[b + 1] * y[r + 1]
            s2 += x[b + 2] * y[r + 2]
            s3 += x[b + 3] * y[r + 3]
            s4 += x[b + 4] * y[r + 4]
            s5 += x[b + 5] * y[r + 5]
            s6 += x[b + 6] * y[r + 6]
            s7 += x[b + 7] * y[r + 7]
        _write(rows[k], r, -1.0, s0, s1, s2, s3, s4, s5, s6, s7)
        row = rows[k]
        for m in range(8):
            if over >= 0:
                row[r + m] += row[over + i + m]
            elif k == 0:
                row[r + m] += 1.0
        _divide(row, r, 1, rows[0], b)


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
    for i in range(0, width, 8):
        a, r = base + i, result + i
        s0, s1, s2, s3, s4, s5, s6, s7 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(1, k + 1):
            x, y, w = rows[j], rows[k - j], exponent * j - (k - j)
            s0 += w * x[a] * y[r]
            s1 += w * x[a + 1] * y[r + 1]
            s2 += w * x[a + 2] * y[r + 2]
            s3 += w * x[a + 3] * y[r + 3]
            s4 += w * x[a + 4] * y[r + 4]
            s5 += w * x[a + 5] * y[r + 5]
            s6 += w * x[a + 6] * y[r + 6]
            s7 += w * x[a + 7] * y[r + 7]
        _write(rows[k], r, 1.0, s0, s1, s2, s3, s4, s5, s6, s7)
        _divide(rows[k], r, k, rows[0], a)


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
    last = rows[k]
    for i in range(width):
        gain = 0.0
        if over < 0:
            gain = k * last[x + i]
        else:
            for j in range(1, k + 1):
                gain += j * rows[j, x + i] * rows[k - j, over + i]
        gain *= factor
        if under >= 0:
            for j in range(1, k):
                gain -= j * rows[j, result + i] * rows[k - j, under + i]
            gain /= rows[0, under + i]
        last[result + i] = gain / k
