"""Functions of small matrices inside kernels, by series and polynomials; room is given.

Compiled into generated kernels, which carry the digest of this file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hamilforge.runtime.core.inner_functions import inner_function
from hamilforge.runtime.core.matrix_kernels import (
    copied,
    identity,
    times,
    times_transposed,
    transposed_times,
)

#: An exponential is halved until its norm is below this, and takes so many terms then.
_NORM, _TERMS = 1.0, 18


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
