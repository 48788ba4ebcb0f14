"""Small dense linear systems inside kernels: factorisation with partial pivoting, in place.

Compiled into generated kernels, which carry the digest of this file.
"""

from __future__ import annotations

from typing import Any

from hamilforge.runtime.core.inner_functions import borrowing_function


@borrowing_function
def factored(matrix: Any, pivots: Any, size: int) -> None:
    """``P M = L U`` in the place of M; real or complex.

    Args:
        matrix: M, `(size, size)`; overwritten by L and U.
        pivots: `(size,)`; set to the row that each row was exchanged with.
        size: of the system.
    """
    for column in range(size):
        best = column
        for row in range(column + 1, size):
            if abs(matrix[row, column]) > abs(matrix[best, column]):
                best = row
        pivots[column] = best
        if best != column:
            for other in range(size):
                held = matrix[column, other]
                matrix[column, other] = matrix[best, other]
                matrix[best, other] = held
        inverse = 1 / matrix[column, column]
        for row in range(column + 1, size):
            factor = matrix[row, column] * inverse
            matrix[row, column] = factor
            if factor != 0:
                for other in range(column + 1, size):
                    matrix[row, other] -= factor * matrix[column, other]


@borrowing_function
def solved(matrix: Any, pivots: Any, vector: Any, size: int) -> None:
    """The solution of ``M x = v`` in the place of v, from the factors of M.

    Args:
        matrix: the factors of M, `(size, size)`.
        pivots: of the factors, `(size,)`.
        vector: v, `(size,)`; overwritten by x.
        size: of the system.
    """
    for row in range(size):
        best = pivots[row]
        held = vector[best]
        vector[best] = vector[row]
        for column in range(row):
            held -= matrix[row, column] * vector[column]
        vector[row] = held
    for row in range(size - 1, -1, -1):
        held = vector[row]
        for column in range(row + 1, size):
            held -= matrix[row, column] * vector[column]
        vector[row] = held / matrix[row, row]
