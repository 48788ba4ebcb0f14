"""Rotations of thin matrices inside kernels, by matrices of 2p columns and rows; room is given.

With W = P X' - X P' = L R', L = [P, -X] and R = [X, P], a function of W is one of the small matrix
Z = R'L: exp(W) = 1 + L phi(Z) R', phi(z) = (exp(z) - 1)/z, and (1 - W/2)^-1 (1 + W/2) = 1 + L (1 -
Z/2)^-1 R'.  So no n x n matrix is made, and what rounding adds is as small as the step.

Compiled into generated kernels, which carry the digest of this file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hamilforge.runtime.core.inner_functions import inner_function, summing_function
from hamilforge.runtime.core.matrix_decompositions import solve
from hamilforge.runtime.core.matrix_kernels import copied, times, transposed_times

#: The series of phi is taken where the norm is below this, of so many terms.
_NORM, _TERMS = 1.0, 18


@inner_function
def rotation(left: Any, right: Any, matrix: Any, room: Any, out: Any) -> None:
    """``exp(P X' - X P') B``.

    Args:
        left: P, `(n, p)`.
        right: X, `(n, p)`.
        matrix: B, `(n, q)` with q <= p.
        room: at least 22 p^2 numbers.
        out: `(n, q)`; set.
    """
    size = 2 * left.shape[1]
    square, columns = size * size, matrix.shape[1]
    small = room[:square].reshape((size, size))
    phi = room[square : 2 * square].reshape((size, size))
    held = room[2 * square : 3 * square].reshape((size, size))
    term = room[3 * square : 4 * square].reshape((size, size))
    along = room[4 * square : 4 * square + size * columns].reshape((size, columns))
    turned = room[4 * square + size * columns : 4 * square + 2 * size * columns]
    turned = turned.reshape((size, columns))
    _narrowed(left, right, matrix, room[square : 2 * square], small, along)
    norm = 0.0
    for i in range(size):
        total = 0.0
        for j in range(size):
            total += abs(small[i, j])
        norm = max(norm, total) if total == total else np.inf
    halvings = 0
    while norm > _NORM and halvings < 1100:
        norm /= 2
        halvings += 1
    scale = small.dtype.type(0.5**halvings)
    for i in range(size):
        for j in range(size):
            small[i, j] *= scale
            phi[i, j] = 1 if i == j else 0
    # by Horner's rule: 1 + Z/2 (1 + Z/3 (1 + ...))
    for k in range(_TERMS, 1, -1):
        times(small, phi, held)
        for i in range(size):
            for j in range(size):
                phi[i, j] = held[i, j] / k + (1 if i == j else 0)
    half = small.dtype.type(0.5)
    for _ in range(halvings):  # phi(2 Z) = phi(Z) (1 + Z phi(Z)/2)
        times(small, phi, held)
        for i in range(size):
            for j in range(size):
                held[i, j] = half * held[i, j] + (1 if i == j else 0)
                small[i, j] *= 2
        times(phi, held, term)
        copied(term, phi)
    times(phi, along, turned)
    _widened(left, right, matrix, turned, out)


@inner_function
def cayley(left: Any, right: Any, matrix: Any, room: Any, out: Any) -> None:
    """``(1 - W/2)^-1 (1 + W/2) B`` with W = P X' - X P'.

    Args:
        left: P, `(n, p)`.
        right: X, `(n, p)`.
        matrix: B, `(n, q)` with q <= p.
        room: at least 22 p^2 numbers.
        out: `(n, q)`; set.
    """
    size = 2 * left.shape[1]
    square, columns = size * size, matrix.shape[1]
    small = room[:square].reshape((size, size))
    along = room[4 * square : 4 * square + size * columns].reshape((size, columns))
    turned = room[4 * square + size * columns : 4 * square + 2 * size * columns]
    turned = turned.reshape((size, columns))
    _narrowed(left, right, matrix, room[square : 2 * square], small, along)
    half = small.dtype.type(0.5)
    for i in range(size):
        for j in range(size):
            small[i, j] = (1 if i == j else 0) - half * small[i, j]
    solve(small, along, room[square : 2 * square], turned)
    _widened(left, right, matrix, turned, out)


@inner_function
def _narrowed(left: Any, right: Any, matrix: Any, room: Any, small: Any, along: Any) -> None:
    """Z = R'L and R'B.

    Args:
        left: P, `(n, p)`.
        right: X, `(n, p)`.
        matrix: B, `(n, q)`.
        room: at least p^2 numbers.
        small: Z, `(2 p, 2 p)`; set.
        along: R'B, `(2 p, q)`; set.
    """
    size, columns = left.shape[1], matrix.shape[1]
    block = room[: size * size].reshape((size, size))
    transposed_times(right, left, block)
    for i in range(size):
        for j in range(size):
            small[i, j] = block[i, j]
            small[size + j, size + i] = -block[i, j]
    transposed_times(right, right, block)
    for i in range(size):
        for j in range(size):
            small[i, size + j] = -block[i, j]
    transposed_times(left, left, block)
    for i in range(size):
        for j in range(size):
            small[size + i, j] = block[i, j]
    product = room[: size * columns].reshape((size, columns))
    transposed_times(right, matrix, product)
    for i in range(size):
        for j in range(columns):
            along[i, j] = product[i, j]
    transposed_times(left, matrix, product)
    for i in range(size):
        for j in range(columns):
            along[size + i, j] = product[i, j]


@summing_function
def _widened(left: Any, right: Any, matrix: Any, turned: Any, out: Any) -> None:
    """``B + L T`` for L = [P, -X].

    Args:
        left: P, `(n, p)`.
        right: X, `(n, p)`.
        matrix: B, `(n, q)`.
        turned: T, `(2 p, q)`.
        out: `(n, q)`; set.
    """
    size, columns = left.shape[1], matrix.shape[1]
    for i in range(out.shape[0]):
        for j in range(columns):
            out[i, j] = 0
        for k in range(size):
            a, b = left[i, k], right[i, k]
            for j in range(columns):
                out[i, j] += a * turned[k, j] - b * turned[size + k, j]
        for j in range(columns):  # last: what rounding adds before is as small as the step
            out[i, j] += matrix[i, j]
