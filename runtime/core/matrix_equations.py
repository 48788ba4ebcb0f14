"""Equations of small matrices inside kernels, solved by iterations; room is given.

Compiled into generated kernels, which carry the digest of this file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hamilforge.runtime.core.inner_functions import inner_function
from hamilforge.runtime.core.matrix_decompositions import solve
from hamilforge.runtime.core.matrix_kernels import (
    copied,
    identity,
    times,
    times_transposed,
    transposed_times,
    turned,
)

#: Steps of an iteration that converges quadratically.
_MOST = 40


@inner_function
def riccati(matrix: Any, constant: Any, room: Any, out: Any) -> None:
    """The symmetric L with ``L L - L S - S' L + Q = 0`` and eigenvalues of S - L to the right of 0.

    With A = -S and H = -Q it is -Y for the stabilising solution of A'Y + Y A - Y Y + H = 0, by the
    doubling of E. K.-W. Chu, H.-Y. Fan and W.-W. Lin, Linear Algebra Appl. 396 (2005) 55-80, about
    the point 1, near which the eigenvalues of S - L are: it converges quadratically.

    Args:
        matrix: S, `(p, p)`.
        constant: Q, `(p, p)`, symmetric.
        room: at least 9 p^2 numbers.
        out: `(p, p)`; set; NaN where there is no such solution.
    """
    size = matrix.shape[0]
    square = size * size
    a = room[:square].reshape((size, size))
    g = room[square : 2 * square].reshape((size, size))
    inverse = room[2 * square : 3 * square].reshape((size, size))
    held = room[3 * square : 4 * square].reshape((size, size))
    own = room[4 * square : 5 * square]
    both = room[5 * square : 7 * square].reshape((size, 2 * size))
    solved = room[7 * square : 9 * square].reshape((size, 2 * size))
    product = room[5 * square : 6 * square].reshape((size, size))  # once both is solved for
    whole = room[6 * square : 7 * square].reshape((size, size))
    h = out
    # A - 1, its inverse, W = (A - 1)' + H (A - 1)^-1, its inverse
    for i in range(size):
        for j in range(size):
            a[i, j] = -matrix[i, j] - (1 if i == j else 0)
    identity(-1, g)
    solve(a, g, own, inverse)
    times(constant, inverse, h)
    for i in range(size):
        for j in range(size):
            held[i, j] = a[j, i] - h[i, j]
    solve(held, g, own, a)
    # A = 1 + 2 W'^-1, G = 2 (A - 1)^-1 W^-1, H = 2 W^-1 H (A - 1)^-1
    times(inverse, a, g)
    times(constant, inverse, held)
    times(a, held, h)
    turned(a, held)
    for i in range(size):
        for j in range(size):
            a[i, j] = 2 * held[i, j] + (1 if i == j else 0)
            g[i, j] *= 2
            h[i, j] *= -2
    unit = np.finfo(matrix.dtype).eps
    change = largest = 1.0
    for _ in range(_MOST):
        # (1 + G H)^-1 [A, G]
        times(g, h, held)
        for i in range(size):
            held[i, i] += 1
            for j in range(size):
                both[i, j] = a[i, j]
                both[i, size + j] = g[i, j]
        solve(held, both, own, solved)
        # H + A' H Z, G + A Z_G A', A Z
        for i in range(size):
            for j in range(size):
                inverse[i, j] = solved[i, j]
        times(h, inverse, held)
        transposed_times(a, held, product)
        change = largest = 0.0
        for i in range(size):
            for j in range(size):
                h[i, j] += product[i, j]
                change = max(change, abs(product[i, j]))
                largest = max(largest, abs(h[i, j]))
        times(a, inverse, held)
        for i in range(size):
            for j in range(size):
                inverse[i, j] = solved[i, size + j]
        times(a, inverse, product)
        times_transposed(product, a, whole)
        for i in range(size):
            for j in range(size):
                g[i, j] += whole[i, j]
        copied(held, a)
        if not change > unit * largest:
            break
    settled = change <= np.sqrt(unit) * largest
    for i in range(size):
        for j in range(i + 1):
            entry = -(h[i, j] + h[j, i]) / 2
            h[i, j] = h[j, i] = entry if settled else np.nan
