"""Polynomials in [0, 1]: where they turn, and where they vanish.

A polynomial is sum_k c_k x^k.  The number of its roots in (0, 1) is at most that of the changes of
sign among its coefficients in Bernstein's basis, and differs from it by an even number: none where
there is no change, one where there is one.  So intervals are halved until every root of a
derivative has one of its own, and between neighbouring ones the polynomial is monotone.

Source: J. M. Lane and R. F. Riesenfeld, Bounds on a polynomial, BIT 21 (1981) 112-117,
doi:10.1007/BF01934076.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

#: Intervals that wait to be halved, at most; and how often one is halved before its roots count as
#: one.
_WAITING, _HALVINGS = 64, 40
#: What is rounding among the coefficients of a polynomial, relative to the largest.
_ROUNDING = 1e-15


@njit(error_model="numpy", cache=True)
def value(coefficients: Any, x: float) -> float:
    """A polynomial at x."""
    total = 0.0
    for k in range(coefficients.size - 1, -1, -1):
        total = total * x + coefficients[k]
    return total


@njit(error_model="numpy", cache=True)
def root(coefficients: Any, low: float, high: float, before: float) -> float:
    """Where a polynomial changes sign.

    Args:
        coefficients: of it.
        low: the beginning of an interval in which it changes sign.
        high: the end.
        before: a number of the sign that it has first.

    Returns:
        The end of an interval that cannot be halved any more, where it has the other sign or none.
    """
    for _ in range(1100):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        if value(coefficients, middle) * before > 0.0:
            low = middle
        else:
            high = middle
    return high


@njit(error_model="numpy", cache=True)
def turns(coefficients: Any) -> Any:
    """Where the derivative of a polynomial vanishes in (0, 1), in order.

    Args:
        coefficients: of the polynomial, `(degree + 1,)`.

    Returns:
        The places; roots that are nearer to each other than 2^-40 once.
    """
    degree = coefficients.size - 2  # of the derivative
    slopes = np.empty(max(degree + 1, 1))
    for k in range(degree + 1):
        slopes[k] = (k + 1) * coefficients[k + 1]
    found = np.empty(max(degree, 1) + _WAITING)
    count = 0
    if degree < 1:
        return found[:0]
    waiting = np.empty((_WAITING, degree + 1))
    starts, depths = np.empty(_WAITING), np.empty(_WAITING, np.int64)
    for j in range(degree + 1):  # in Bernstein's basis
        ratio, total = 1.0, slopes[0]
        for k in range(1, j + 1):
            ratio *= (j - k + 1) / (degree - k + 1)
            total += ratio * slopes[k]
        waiting[0, j] = total
    small = 0.0
    for j in range(degree + 1):
        small = max(small, _ROUNDING * abs(waiting[0, j]))
    starts[0], depths[0], left = 0.0, 0, 1
    while left > 0 and count < found.size:
        left -= 1
        own = waiting[left]
        start, depth = starts[left], depths[left]
        length = 0.5**depth
        changes, before, sign = 0, 0.0, 0.0
        for j in range(degree + 1):
            if abs(own[j]) > small:
                if own[j] * sign < 0.0:
                    changes += 1
                elif sign == 0.0:
                    before = own[j]
                sign = own[j]
        if changes == 0:
            continue
        if changes == 1:
            found[count] = root(slopes, start, start + length, before)
            count += 1
            continue
        if depth >= _HALVINGS or left + 2 > _WAITING:
            found[count] = start + 0.5 * length
            count += 1
            continue
        # de Casteljau: the left half stays in place of the whole, the right half waits before it
        right = waiting[left + 1]
        for j in range(degree + 1):
            right[j] = own[j]
        for step in range(degree + 1):
            own[step] = right[0]
            for j in range(degree - step):
                right[j] = 0.5 * (right[j] + right[j + 1])
        middle = start + 0.5 * length
        if abs(right[0]) <= small and count < found.size:
            found[count] = middle
            count += 1
        starts[left], depths[left] = middle, depth + 1
        for j in range(degree + 1):
            own[j], right[j] = right[j], own[j]
        starts[left + 1], depths[left + 1] = start, depth + 1
        left += 2
    return found[: _in_order(found, count)]


@njit(error_model="numpy", cache=True)
def _in_order(found: Any, count: int) -> int:
    """Put places in order, without those that a halved interval cannot tell from the one before.

    Args:
        found: places, nearly in order; those that are kept come first.
        count: how many there are.

    Returns:
        How many are kept.
    """
    for n in range(1, count):
        place, k = found[n], n
        while k > 0 and found[k - 1] > place:
            found[k] = found[k - 1]
            k -= 1
        found[k] = place
    kept = 0
    for n in range(count):
        if kept == 0 or found[n] - found[kept - 1] > 0.5**_HALVINGS:
            found[kept] = found[n]
            kept += 1
    return kept


@njit(error_model="numpy", cache=True)
def places(coefficients: Any) -> Any:
    """Where a polynomial turns in (0, 1), with 0 and 1; turns are left out if it stays far from 0.

    Args:
        coefficients: of the polynomial, `(degree + 1,)`.

    Returns:
        `(places, 3)`: each place, in order, with the value there and the sum of the sizes of its
        terms.
    """
    rest = 0.0
    for k in range(1, coefficients.size):
        rest += abs(coefficients[k])
    inside = turns(coefficients) if abs(coefficients[0]) < 2 * rest else coefficients[:0]
    results = np.empty((inside.size + 2, 3))
    for n in range(inside.size + 2):
        x = 0.0 if n == 0 else 1.0 if n == inside.size + 1 else inside[n - 1]
        total, size = 0.0, 0.0
        for k in range(coefficients.size - 1, -1, -1):
            total = total * x + coefficients[k]
            size = size * x + abs(coefficients[k])
        results[n, 0], results[n, 1], results[n, 2] = x, total, size
    return results
