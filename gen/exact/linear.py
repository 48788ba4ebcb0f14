"""Small matrices over exact numbers, as tuples of rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from hamilforge.gen.exact.elimination import row_reduced
from hamilforge.gen.exact.numbers import ONE, ZERO, Number, sign

Vector = tuple[Number, ...]
Matrix = tuple[Vector, ...]


class Singular(ArithmeticError):
    """A matrix has no inverse."""


def dot(left: Sequence[Number], right: Sequence[Number]) -> Number:
    """The sum of the products of entries; zeros cost nothing.

    Rational products are added over a common denominator and reduced once, at the end.
    """
    total: Number = ZERO
    over, under = 0, 1
    for a, b in zip(left, right, strict=True):
        if not a or not b:
            continue
        if isinstance(a, Fraction) and isinstance(b, Fraction):
            denominator = a.denominator * b.denominator
            scale = denominator // math.gcd(under, denominator)
            over = over * scale + a.numerator * b.numerator * (under * scale // denominator)
            under *= scale
        else:
            total = total + a * b
    return total + Fraction(over, under) if over else total


def apply(matrix: Matrix, vector: Sequence[Number]) -> Vector:
    """Matrix times vector."""
    return tuple(dot(row, vector) for row in matrix)


def transpose(matrix: Matrix) -> Matrix:
    """Rows as columns."""
    return tuple(zip(*matrix, strict=True))


def multiply(left: Matrix, right: Matrix) -> Matrix:
    """Matrix times matrix; zeros of the left one cost nothing."""
    columns = transpose(right)
    product = []
    for row in left:
        support = [k for k, entry in enumerate(row) if entry]
        entries = [row[k] for k in support]
        product.append(tuple(dot(entries, [column[k] for k in support]) for column in columns))
    return tuple(product)


def plus(left: Matrix, right: Matrix, factor: Number = 1) -> Matrix:
    """``left + factor*right``.

    Args:
        left: a matrix.
        right: another, of the same shape.
        factor: of the right one.

    Returns:
        The sum, of that shape.
    """
    return tuple(
        tuple(a + factor * b if b else a for a, b in zip(left_row, right_row, strict=True))
        for left_row, right_row in zip(left, right, strict=True)
    )


def outer(left: Sequence[Number], right: Sequence[Number]) -> Matrix:
    """The matrix of products of entries."""
    return tuple(tuple(a * b for b in right) for a in left)


def identity(size: int) -> Matrix:
    """The identity."""
    return diagonal([ONE] * size)


def diagonal(entries: Sequence[Number]) -> Matrix:
    """A diagonal matrix."""
    size = len(entries)
    return tuple(tuple(entries[i] if i == j else ZERO for j in range(size)) for i in range(size))


def solve(matrix: Matrix, right: Matrix) -> Matrix:
    """The matrix X with ``matrix X = right``, by elimination.

    Raises:
        Singular: there is none, or more than one.
    """
    size = len(matrix)
    rows = [[*row, *right_row] for row, right_row in zip(matrix, right, strict=True)]
    table, pivots = row_reduced(rows, size)
    if len(pivots) < size:
        raise Singular("the matrix is singular")
    return tuple(tuple(row[size:]) for row in table)


def pivots_and_kernel(matrix: Matrix) -> tuple[list[int], list[Vector]]:
    """A largest set of independent columns, and a basis of the vectors that are mapped to zero."""
    size = len(matrix[0])
    table, pivots = row_reduced(matrix, size)
    kernel = []
    for free in (column for column in range(size) if column not in pivots):
        vector: list[Number] = [ZERO] * size
        vector[free] = ONE
        for row, column in zip(table, pivots, strict=False):
            vector[column] = -row[free]
        kernel.append(tuple(vector))
    return pivots, kernel


def reversed_characteristic(matrix: Matrix) -> tuple[Number, ...]:
    """``det(I - z matrix)``, rising powers of z.

    By the diagonal of a triangular matrix, else by Faddeev and LeVerrier's recursion.
    """
    size = len(matrix)
    coefficients: list[Number] = [ONE]
    if not any(matrix[i][j] for i in range(size) for j in range(i + 1, size)):
        for i in range(size):
            shifted = [ZERO, *(c * matrix[i][i] for c in coefficients)]
            padded = [*coefficients, ZERO]
            coefficients = [c - d for c, d in zip(padded, shifted, strict=True)]
        return tuple(coefficients)
    power: Matrix = identity(size)
    for k in range(1, size + 1):
        product = multiply(matrix, power)
        trace = sum((product[i][i] for i in range(size)), ZERO)
        coefficients.append(-trace / k)
        power = plus(product, identity(size), coefficients[-1])
    return tuple(coefficients)


def inertia(
    matrix: Matrix, is_zero: Callable[[Number], bool] = lambda number: not number
) -> tuple[int, int]:
    """How many eigenvalues of a symmetric matrix are negative, and how many are positive.

    By symmetric elimination (Sylvester's law); a zero diagonal with a nonzero entry beside it is
    turned into a pivot by adding rows.
    """
    table = [list(row) for row in matrix]
    negative = positive = 0
    while table:
        size = len(table)
        pivot = next((k for k in range(size) if not is_zero(table[k][k])), None)
        if pivot is None:
            pair = next(
                ((i, j) for i in range(size) for j in range(i) if not is_zero(table[i][j])), None
            )
            if pair is None:
                break
            i, j = pair
            table[i] = [a + b for a, b in zip(table[i], table[j], strict=True)]
            for row in table:
                row[i] = row[i] + row[j]
            pivot = i
        if sign(table[pivot][pivot]) < 0:
            negative += 1
        else:
            positive += 1
        line = table[pivot]
        rest = [k for k in range(size) if k != pivot]
        table = [
            [table[i][j] - table[i][pivot] * line[j] / line[pivot] for j in rest] for i in rest
        ]
    return negative, positive
