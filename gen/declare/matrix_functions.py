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
    """A function of one or two matrices.

    Attributes:
        name: in the expression language, and in programs.
        takes: its operands in words.
        shape: of the result, from those of the operands; None where they do not fit.
        definition: what it is short for, in A; empty for one that every backend has.
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


_A_SQUARE = "a square matrix"
TABLE = (
    MatrixFunction("cholesky", "a symmetric positive definite matrix", _square),
    MatrixFunction(
        "colsum", "a matrix", lambda shape: (ALONG, shape[1]) if len(shape) == 2 else None
    ),
    MatrixFunction("det", _A_SQUARE, _number),
    MatrixFunction("diag", "a square matrix or a vector", _diagonal),
    MatrixFunction("expm", _A_SQUARE, _square),
    MatrixFunction("polar", "a matrix with no fewer rows than columns", _matrix),
    MatrixFunction("qr", "a matrix with no fewer rows than columns", _matrix),
    MatrixFunction(
        "rowsum", "a matrix", lambda shape: (shape[0], ALONG) if len(shape) == 2 else None
    ),
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
