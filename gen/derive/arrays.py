"""Operations on arrays: matrix products, sums, and elementwise maps of what they give.

A :class:`Line` is one of them, and :mod:`lines` makes such lines of expressions.  A :class:`Map` is
a scalar SymPy expression applied entry by entry, in symbols that bear the names of arrays; so every
scalar derivative is SymPy's, and what is left are the few rules of products, transposes and sums
(:mod:`adjoint`, :mod:`networks.tangent`).

A *batched* array has one value for each sample; controls and parameters are shared by all samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import sympy as sp

from hamilforge.gen.declare.expression import Expression
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.derive.calculus import Expr


@dataclass(frozen=True, slots=True)
class Array:
    """A named array; ``shape`` does not count the samples, ``batched`` says that it has them."""

    name: str
    shape: Shape = ()
    batched: bool = False

    @property
    def is_scalar(self) -> bool:
        """Whether it is one number."""
        return not self.shape and not self.batched


@dataclass(frozen=True, slots=True)
class Map:
    """An elementwise expression; its symbols are arrays of the result's shape, or scalars."""

    value: Expr


@dataclass(frozen=True, slots=True)
class Product:
    """``L R``, each perhaps transposed; a batched right side is a vector for each sample."""

    left: str
    right: str
    left_transposed: bool = False
    right_transposed: bool = False


@dataclass(frozen=True, slots=True)
class Outer:
    """``u v'``; the sum of these over the samples where they are batched."""

    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Transpose:
    """``A'``."""

    of: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a vector, counted from 0; one for each sample where the vector has them."""

    of: str
    place: int


@dataclass(frozen=True, slots=True)
class Stack:
    """The vector of some scalars, each by name; nothing in the place of a zero."""

    of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Total:
    """The sum of all entries, for each sample."""

    of: str


@dataclass(frozen=True, slots=True)
class TotalProduct:
    """The product of all entries of a vector or matrix."""

    of: str


@dataclass(frozen=True, slots=True)
class OtherProducts:
    """For each entry the product of all others; no entry is divided by."""

    of: str


@dataclass(frozen=True, slots=True)
class Shift:
    """At each place of the first axis what is ``by`` places further, around the ring."""

    of: str
    by: int


@dataclass(frozen=True, slots=True)
class LogSumExp:
    """``log(sum(exp(v)))``, for each sample, without overflow."""

    of: str


@dataclass(frozen=True, slots=True)
class MatrixCall:
    """A function of :mod:`matrix_functions` of matrices, and of scalars where it takes some."""

    function: str
    of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a dimension, or a column of it."""

    size: str
    column: int | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """How long a dimension is."""

    of: str


@dataclass(frozen=True, slots=True)
class Epsilon:
    """The distance from 1 to the next number of an array's type."""

    of: str


@dataclass(frozen=True, slots=True)
class OverBatch:
    """The sum over the samples."""

    of: str


class _HasTarget(Protocol):
    @property
    def target(self) -> Array: ...


AnyLine = TypeVar("AnyLine", bound=_HasTarget)


@dataclass(frozen=True, slots=True)
class Loop(Generic[AnyLine]):
    """What an array becomes in lines that are run so many times.

    Attributes:
        count: a scalar that is a whole number, or a number itself.
        start: the array that it is at first.
        carried: its name in the lines.
        lines: what a run computes.
        end: the array that it is after a run.
    """

    count: str
    start: str
    carried: str
    lines: tuple[AnyLine, ...]
    end: str

    def outside(self, read: Callable[[AnyLine], Iterable[str]]) -> tuple[str, ...]:
        """What is read and not computed here, each once, in a fixed order.

        Args:
            read: what a line reads.
        """
        inside = {self.carried, *(line.target.name for line in self.lines)}
        counted = () if self.count.isdigit() else (self.count,)
        inner = (name for line in self.lines for name in read(line))
        known = dict.fromkeys((*counted, self.start, *inner, self.end))
        return tuple(name for name in known if name not in inside)

    def runs(self, values: Mapping[str, Any]) -> int:
        """How often the lines are run.

        Args:
            values: of scalars, by name.
        """
        return int(self.count if self.count.isdigit() else values[self.count])


@dataclass(frozen=True, slots=True)
class Repeat(Loop["Line"]):
    """A loop of these lines."""


Op = (
    Map
    | Product
    | Outer
    | Transpose
    | Shift
    | Entry
    | Stack
    | Total
    | TotalProduct
    | OtherProducts
    | LogSumExp
    | MatrixCall
    | Identity
    | Size
    | Epsilon
    | OverBatch
    | Repeat
)


@dataclass(frozen=True, slots=True)
class Line:
    """``target = op``."""

    target: Array
    op: Op


@dataclass(frozen=True, slots=True)
class Piece:
    """An elementwise expression that is no line yet."""

    value: Expr
    shape: Shape
    batched: bool


def symbol(name: str) -> sp.Symbol:
    """The symbol that stands for the generic entry of an array."""
    return sp.Symbol(name, real=True)


def operands(op: Op) -> tuple[str, ...]:
    """The arrays an operation reads, each once, in a fixed order."""
    match op:
        case Map(value=value):
            return tuple(sorted(operand.name for operand in value.free_symbols))
        case Product(left=left, right=right) | Outer(left=left, right=right):
            return (left, right)
        case MatrixCall(of=of):
            return of
        case Stack(of=of):
            return tuple(dict.fromkeys(name for name in of if name))
        case Identity() | Size():
            return ()
        case Repeat():
            return op.outside(lambda line: operands(line.op))
    return (op.of,)


#: Names that stand for expressions, with what the line of each is called.
Shorthands = Mapping[str, tuple[str, Expression]]
