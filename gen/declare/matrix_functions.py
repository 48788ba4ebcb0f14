"""Functions of whole matrices: one row for each, read by every stage and every backend.

A row says how often it takes a matrix, the shape of what comes out, and, where a function is short
for others, its definition in the expression language.  Vectors are columns, `(n, 1)`.  What each
function is worth stands in one table for each kind of number: :mod:`program.interpret` and
:mod:`exact.matrices`, and for each backend in the runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Shape = tuple[str, ...]
#: An axis of length 1; entry by entry it is repeated along the other operand.
ALONG = "1"


@dataclass(frozen=True, slots=True)
class MatrixFunction:
    """A function of matrices, some of numbers too.

    Attributes:
        name: in the expression language, and in programs.
        takes: its operands in words.
        shape: of the result, from those of the operands; None where they do not fit.
        definition: what it is short for, in A with so many :data:`ROWS` and :data:`COLUMNS`; empty
            for one that every backend has.
    """

    name: str
    takes: str
    shape: Callable[..., Shape | None]
    definition: str = ""
    arguments: int = 1


def _square(shape: Shape) -> Shape | None:
    return shape if len(shape) == 2 and shape[0] == shape[1] else None


def _number(shape: Shape) -> Shape | None:
    return () if _square(shape) else None


def _matrix(shape: Shape) -> Shape | None:
    return shape if len(shape) == 2 else None


def _diagonal(shape: Shape) -> Shape | None:
    if len(shape) == 2 and shape[1] == ALONG:
        return (shape[0], shape[0])
    return (shape[0], ALONG) if _square(shape) else None


def _solution(matrix: Shape, right: Shape) -> Shape | None:
    return right if _square(matrix) and len(right) == 2 and right[0] == matrix[0] else None


def _pair(matrix: Shape, constant: Shape) -> Shape | None:
    return matrix if _square(matrix) and matrix == constant else None


def _turned(left: Shape, right: Shape, matrix: Shape) -> Shape | None:
    return matrix if len(matrix) == 2 and left == right == matrix else None


def _column(shape: Shape) -> Shape | None:
    return (shape[0], ALONG) if len(shape) == 2 else None


def _row(shape: Shape) -> Shape | None:
    return (ALONG, shape[1]) if len(shape) == 2 else None


def _whole(shape: Shape) -> Shape | None:
    return () if len(shape) == 2 else None


def _with_numbers(matrix: Shape, *numbers: Shape) -> Shape | None:
    return matrix if len(matrix) == 2 and not any(numbers) else None


_A_SQUARE, _A_MATRIX = "a square matrix", "a matrix"
#: In definitions: how many rows and columns A has.
ROWS, COLUMNS = "rows", "columns"
TABLE = (
    # (1 - W/2)^-1 (1 + W/2) B with W = P X' - X P'
    MatrixFunction("cayley", "three matrices of one shape, P, X and B", _turned, arguments=3),
    MatrixFunction("cholesky", "a symmetric positive definite matrix", _square),
    MatrixFunction("colmean", _A_MATRIX, _row, "colsum(A)/rows"),
    MatrixFunction("colsum", _A_MATRIX, _row),
    MatrixFunction("det", _A_SQUARE, _number),
    MatrixFunction("diag", "a square matrix or a vector", _diagonal),
    MatrixFunction("expm", _A_SQUARE, _square),
    MatrixFunction("mean", _A_MATRIX, _whole, "sum(A)/(rows*columns)"),
    MatrixFunction("polar", "a matrix with no fewer rows than columns", _matrix),
    MatrixFunction("qr", "a matrix with no fewer rows than columns", _matrix),
    # A (a + b A'A + c (A'A)^2): each singular value s becomes a s + b s^3 + c s^5
    MatrixFunction("quintic", "a matrix and three numbers", _with_numbers, arguments=4),
    # the symmetric L with L L - L S - S'L + Q = 0 and eigenvalues of S - L to the right of 0
    MatrixFunction("riccati", "two square matrices", _pair, arguments=2),
    MatrixFunction("rms", _A_MATRIX, _whole, "norm(A)/sqrt(rows*columns)"),
    # exp(P X' - X P') B
    MatrixFunction("rotation", "three matrices of one shape, P, X and B", _turned, arguments=3),
    MatrixFunction("rowmean", _A_MATRIX, _column, "rowsum(A)/columns"),
    MatrixFunction("rowsum", _A_MATRIX, _column),
    MatrixFunction("skew", _A_SQUARE, _square, "(A - transpose(A))/2"),
    MatrixFunction("solve", "a square matrix and a matrix", _solution, arguments=2),
    MatrixFunction("sym", _A_SQUARE, _square, "(A + transpose(A))/2"),
    MatrixFunction("trace", _A_SQUARE, _number, "sum(diag(A))"),
)
BY_NAME = {row.name: row for row in TABLE}
#: What a program may call: every backend and every kind of number has these.
PRIMITIVE = tuple(row.name for row in TABLE if not row.definition)
#: ``eye(n)``: the identity; ``unit(n, k)``: the k-th unit vector, k from 0.  They take a dimension.
IDENTITY, UNIT = "eye", "unit"
NAMES = (*BY_NAME, IDENTITY, UNIT)


def dimensions(shape: Shape) -> tuple[str, ...]:
    """The dimensions of a shape that have a name, each once."""
    return tuple(dict.fromkeys(name for name in shape if name != ALONG))


def as_matrix(shape: Shape) -> Shape:
    """The shape of a matrix, or of a vector as a column."""
    return shape if len(shape) == 2 else (*shape, ALONG)


def joined(left: Shape, right: Shape) -> Shape | None:
    """The shape of two operands entry by entry, axes of length 1 repeated; None: they do not fit.

    Args:
        left: of one; a number fits everything.
        right: of the other.
    """
    if not left or not right:
        return left or right
    if len(left) != len(right):
        return None
    axes = []
    for here, there in zip(left, right, strict=True):
        if here != there and ALONG not in (here, there):
            return None
        axes.append(there if here == ALONG else here)
    return tuple(axes)
