"""Scalars beyond the range of float64, in kernels: ``mantissa * 2**exponent`` as a pair of floats.

Squares of entries beyond 1e154 overflow and those below 1e-162 vanish, where what follows from
their sum need not: ``v / sqrt(1 + sum(v*v))``.  A sum of squares is therefore taken of scaled
entries where it leaves :data:`RANGE`, and the few scalars that follow from it are computed with an
exponent of their own beyond :data:`PLAIN`, and where one is no normal number of the type of the
arrays it multiplies; these take it in two factors (:func:`split`).

In: floats.  Out: pairs, their mantissa in [1/2, 1), and floats again.  Relative errors are a few
roundings; that of a power ``x**a`` is ``a * exponent`` of them.  Compiled into kernels, which
carry the digest of this file.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hamilforge.runtime.core.inner_functions import inner_function, summing_function

#: A mantissa and its exponent.
Wide = tuple[float, float]

#: Sums of squares in here are taken of entries as they are; every sum of squares of float32 numbers
#: but 0 is in it.
RANGE = (1e-95, 1e95)
#: Sums in here need no exponent after them either: their tenth powers are in the range of float64.
PLAIN = (1e-30, 1e30)
#: Sums of squares of entries that were scaled; they are used with their exponents.
SCALED_RANGE = (1e-280, 1e280)
#: Exponents up to which logarithms are those of the nearest float.
NEAR = 100.0
#: Binary orders of magnitude of normal numbers of 4 and 8 bytes, and of their inverses.
LIMITS = (125.0, 1021.0)
#: More binary orders of magnitude than float64 has.
FAR = 2400.0
#: Entries are divided by 2 to one of these before they are squared; the first that fits is taken.
EXPONENTS = (0.0, 600.0, -600.0)
_LOG_2 = math.log(2)


@inner_function
def fits(total: float, exponent: float) -> bool:
    """Whether a sum of squares needs no other exponent; that of what is no number has none."""
    least, most = RANGE if exponent == 0.0 else SCALED_RANGE
    return least < total < most or total != total


@summing_function
def plus(total: float, term: float) -> float:
    """``total + term``: additions of a sum are in any order, and what is added is as written.

    Scaled entries ``scale * (a * b)`` would overflow as ``(scale * a) * b`` where b is small.
    """
    return total + term


@inner_function
def add_up(chunks: Any, sums: Any, totals: Any, column: int) -> None:
    """The sums of all domains from those of the chunks, in their order.

    Args:
        chunks: `(chunks, 5)`; the last column is the domain.
        sums: `(chunks, columns)`: a sum in ``column``, its exponent in the next.
        totals: `(domains, columns)`, alike; set.
        column: of the sum.
    """
    for domain in range(totals.shape[0]):
        totals[domain, column], totals[domain, column + 1] = 0.0, -np.inf
    for k in range(chunks.shape[0]):
        if sums[k, column] != 0.0:
            domain = chunks[k, 4]
            totals[domain, column + 1] = max(totals[domain, column + 1], sums[k, column + 1])
    for k in range(chunks.shape[0]):
        if sums[k, column] != 0.0:
            domain = chunks[k, 4]
            below = sums[k, column + 1] - totals[domain, column + 1]
            totals[domain, column] += sums[k, column] * 2.0**below
    for domain in range(totals.shape[0]):
        if totals[domain, column] == 0.0:
            totals[domain, column + 1] = 0.0


@inner_function
def of(value: float, exponent: float = 0.0) -> Wide:
    """``value * 2**exponent``."""
    if value == 0.0 or not math.isfinite(value):
        return value, 0.0
    mantissa, more = math.frexp(value)
    return mantissa, exponent + more


@inner_function
def narrow(x: Wide) -> float:
    """The nearest float: infinite or 0 beyond their range."""
    return math.ldexp(x[0], int(min(max(x[1], -FAR), FAR)))


@inner_function
def is_plain(total: float, exponent: float) -> bool:
    """Whether scalars may follow from a sum without exponents of their own."""
    return exponent == 0.0 and PLAIN[0] < total < PLAIN[1]


@inner_function
def is_normal(value: float, itemsize: int) -> bool:
    """Whether a factor is a normal number of the type of arrays, by its size in bytes."""
    limit = LIMITS[1] if itemsize == 8 else LIMITS[0]
    return 2.0**-limit <= abs(value) <= 2.0**limit


@inner_function
def split(x: Wide, itemsize: int) -> Wide:
    """A scalar as the product of a normal number of the type of arrays and a power of two.

    Normal entries times the first, times the second, are in range where the result is.  The power
    is bounded by that of the normal numbers, so that 0 times it is 0.
    """
    limit = LIMITS[1] if itemsize == 8 else LIMITS[0]
    inner = min(max(x[1], -limit), limit)
    return math.ldexp(x[0], int(inner)), 2.0 ** min(max(x[1] - inner, -limit), limit)


@inner_function
def equals(x: Wide, number: float) -> bool:
    """Whether a scalar is a float."""
    other = of(number)
    return x[0] == other[0] and x[1] == other[1]


@inner_function
def negative(x: Wide) -> Wide:
    """``-x``."""
    return -x[0], x[1]


@inner_function
def absolute(x: Wide) -> Wide:
    """``|x|``."""
    return abs(x[0]), x[1]


@inner_function
def add(x: Wide, y: Wide) -> Wide:
    """``x + y``."""
    if x[0] == 0.0 or (y[0] != 0.0 and x[1] < y[1]):
        x, y = y, x
    if y[0] == 0.0 or not math.isfinite(x[0]):
        return of(x[0] + y[0], x[1])
    return of(x[0] + y[0] * 2.0 ** max(y[1] - x[1], -FAR), x[1])


@inner_function
def mul(x: Wide, y: Wide) -> Wide:
    """``x * y``."""
    return of(x[0] * y[0], x[1] + y[1])


@inner_function
def div(x: Wide, y: Wide) -> Wide:
    """``x / y``."""
    return of(x[0] / y[0], x[1] - y[1])


@inner_function
def root(x: Wide) -> Wide:
    """The square root."""
    odd = x[1] % 2.0
    return of(np.sqrt(x[0] * 2.0**odd), (x[1] - odd) / 2.0)


@inner_function
def power(x: Wide, exponent: float) -> Wide:
    """``x**exponent``."""
    orders = x[1] * exponent
    whole = math.floor(orders)
    return of(x[0] ** exponent * 2.0 ** (orders - whole), whole)


@inner_function
def larger(x: Wide, y: Wide) -> Wide:
    """The larger of two; NaN where one is."""
    difference = add(x, negative(y))
    if x[0] == y[0] and x[1] == y[1]:
        return x
    if difference[0] != difference[0]:
        return difference
    return x if difference[0] > 0.0 else y


@inner_function
def smaller(x: Wide, y: Wide) -> Wide:
    """The smaller of two; NaN where one is."""
    return negative(larger(negative(x), negative(y)))


@inner_function
def log(x: Wide) -> Wide:
    """The natural logarithm."""
    return of(np.log(narrow(x)) if abs(x[1]) <= NEAR else np.log(x[0]) + x[1] * _LOG_2)


@inner_function
def log1p(x: Wide) -> Wide:
    """``log(1 + x)``."""
    return log(x) if x[1] > NEAR else of(np.log1p(narrow(x)))
