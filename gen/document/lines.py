"""Lines of functions as formulas of a document.

In: a function.  Out: formulas; operations on whole arrays are calls that the formats know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction

from hamilforge.gen.derive.arrays import (
    Array,
    Entry,
    Epsilon,
    Identity,
    MatrixCall,
    OtherProducts,
    Outer,
    Product,
    Shift,
    Size,
    Stack,
    Transpose,
)
from hamilforge.gen.document.blocks import Formula
from hamilforge.gen.program.ir import Apply, Const, Expr, Function, Line, Reduce, Ref, Repeat, Value


def formulas(function: Function) -> Iterator[Formula]:
    """The lines of a function, sums and products of matrices written as calls."""
    yield from _formulas(function.lines, function.types)


def _formulas(lines: Iterable[Line], types: Mapping[str, Array]) -> Iterator[Formula]:
    for line in lines:
        if isinstance(line.value, Repeat):
            loop = line.value.within(line.name)
            yield Formula(line.name, Ref(loop.start))
            inner = {**types, **{own.name: own.target for own in loop.lines}}
            yield from _formulas(loop.lines, inner)
            times = Const(Fraction(loop.count)) if loop.count.isdigit() else Ref(loop.count)
            yield Formula(line.name, Apply("repeated", (Ref(loop.end), times)))
            continue
        yield Formula(line.name, expression(line.value, types))


def expression(value: Value, types: Mapping[str, Array]) -> Expr:
    """A line as an expression of :mod:`formats`.

    Args:
        value: what the line computes.
        types: the arrays it reads, by name.
    """
    match value:
        case Product(left, right, left_transposed, right_transposed):
            marked = (_marked(left, left_transposed), _marked(right, right_transposed))
            return Apply("matmul", marked)
        case Outer(left, right):
            product = Apply("matmul", (Ref(left), _marked(right, True)))
            batched = types[left].batched or types[right].batched
            return Apply("sum over samples", (product,)) if batched else product
        case Transpose(of):
            return _marked(of, True)
        case Entry(of, index):
            return Apply("entry", (Ref(of), Const(Fraction(index + 1))))
        case Stack(of):
            zero = Const(Fraction(0))
            return Apply("vector", tuple(Ref(name) if name else zero for name in of))
        case Shift(of, by):
            return Apply("shift", (Ref(of), Const(Fraction(by))))
        case OtherProducts(of):
            return Apply("product of the others", (Ref(of),))
        case MatrixCall(function, of):
            return Apply(function, tuple(map(Ref, of)))
        case Identity(size, column):
            place = () if column is None else (Const(Fraction(column)),)
            return Apply("eye" if column is None else "unit", (Ref(size), *place))
        case Size(of):
            return Ref(of)
        case Epsilon(of):
            return Apply("epsilon", (Ref(of),))
        case Reduce(arg=arg, how="logsumexp" | "prod" as how):
            return Apply(how, (arg,))
        case Reduce(arg=arg, over="samples"):
            return Apply("sum over samples", (arg,))
        case Repeat():
            raise NotImplementedError("documents: a loop is more than one formula")
    return value


def _marked(name: str, transposed: bool) -> Expr:
    return Apply("transpose", (Ref(name),)) if transposed else Ref(name)
