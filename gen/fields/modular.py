"""Linear algebra modulo a prime, blocked, so that nearly all of it is products of matrices.

In: matrices of numbers 0, …, p - 1 with p below 2**31.  Out: products, and row bases in reduced
form.  A product is two of floating point: one factor is split into halves of 15 bits, and at most
``CHUNK`` products below 2**45 are added, so that every sum is exact in 53 bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.int64]
#: How many products of 2**30 * 2**15 add up exactly.
CHUNK = 128
#: Up to so many rows are eliminated one by one.
PANEL = 32
_HALF = 1 << 15


def product(left: Matrix, right: Matrix, p: int) -> Matrix:
    """``left @ right`` modulo p.

    Args:
        left: `(n, k)`, entries from 0 to p - 1.
        right: `(k, l)`, the same.
        p: below 2**31.

    Returns:
        `(n, l)`, entries from 0 to p - 1.
    """
    centred = np.where(left > p // 2, left - p, left).astype(np.float64)
    right = np.where(right > p // 2, right - p, right)
    high = (right + _HALF // 2) // _HALF
    low = (right - high * _HALF).astype(np.float64)
    upper = high.astype(np.float64)
    sums = np.zeros((2, left.shape[0], right.shape[1]))
    for start in range(0, left.shape[1], CHUNK):
        part = slice(start, start + CHUNK)
        for total, factor in zip(sums, (upper, low), strict=True):
            here = centred[:, part] @ factor[part]
            here -= p * np.floor(here * (1.0 / p))
            total += here
    over, under = (total.astype(np.int64) % p for total in sums)
    return (over * _HALF + under) % p


def row_basis(rows: Matrix, p: int) -> tuple[Matrix, NDArray[np.intp], NDArray[np.bool_]]:
    """The rows' span in reduced form.

    Args:
        rows: `(n, width)`, entries from 0 to p - 1.
        p: the prime.

    Returns:
        The basis `(rank, width)`, 1 at its own pivots and 0 at the others'; the pivots `(rank,)`;
        and which rows are independent of those before them, `(n,)`.
    """
    if len(rows) <= PANEL:
        return _panel(rows.copy(), p)
    half = len(rows) // 2
    first, pivots, new = row_basis(rows[:half], p)
    rest = reduced(rows[half:], first, pivots, p)
    second, more, newer = row_basis(rest, p)
    both = np.concatenate([reduced(first, second, more, p), second])
    return both, np.concatenate([pivots, more]), np.concatenate([new, newer])


def reduced(rows: Matrix, basis: Matrix, pivots: NDArray[np.intp], p: int) -> Matrix:
    """Rows without their part along a basis in reduced form.

    Args:
        rows: `(n, width)`.
        basis: `(rank, width)`.
        pivots: of the basis, `(rank,)`.
        p: the prime.

    Returns:
        `(n, width)`, zero at the pivots.
    """
    if not len(pivots) or not len(rows):
        return rows
    return (rows - product(rows[:, pivots], basis, p)) % p


def _panel(rows: Matrix, p: int) -> tuple[Matrix, NDArray[np.intp], NDArray[np.bool_]]:
    pivots: list[int] = []
    new = np.zeros(len(rows), dtype=bool)
    for number, row in enumerate(rows):
        if not row.any():
            continue
        column = int(np.argmax(row != 0))
        row *= pow(int(row[column]), -1, p)
        row %= p
        factors = rows[:, column].copy()
        factors[number] = 0
        others = np.flatnonzero(factors)
        rows[others] = (rows[others] - factors[others, None] * row) % p
        pivots.append(column)
        new[number] = True
    return rows[new], np.array(pivots, dtype=np.intp), new


class RowSpace:
    """A space of rows that grows; its basis is kept in reduced form.

    Args:
        width: of the rows.
        p: the prime.
    """

    def __init__(self, width: int, p: int) -> None:
        self._p = p
        self._basis = np.zeros((0, width), dtype=np.int64)
        self._pivots = np.zeros(0, dtype=np.intp)

    @property
    def rank(self) -> int:
        """The dimension of the space."""
        return len(self._pivots)

    def add(self, rows: Matrix) -> NDArray[np.bool_]:
        """Add rows; which of them were independent of the space and of those before them."""
        rest = reduced(rows, self._basis, self._pivots, self._p)
        new: NDArray[np.bool_] = np.any(rest, axis=1)
        basis, pivots, independent = row_basis(rest[new], self._p)
        new[new] = independent
        if len(pivots):
            kept = reduced(self._basis, basis, pivots, self._p)
            self._basis = np.concatenate([kept, basis])
            self._pivots = np.concatenate([self._pivots, pivots])
        return new
