"""Lines of matrices as linear combinations of arrays and products: fewer passes, fewer arrays.

In: the lines of a function.  Out: statements, in which a sum of multiples of arrays is one
:class:`Combination`, with what is read there alone, products of matrices too, taken in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

from hamilforge.gen.derive.arrays import Array, Product
from hamilforge.gen.program.ir import (
    WHOLE_ARRAYS,
    Apply,
    Const,
    Expr,
    Function,
    Line,
    Ref,
    names,
    walk,
)
from hamilforge.gen.program.lower import ONE, add, constant, negative, scaled

ZERO = constant(0)
#: Operations of which factors are made.
_ARITHMETIC = {"add", "mul", "neg", "div"}


@dataclass(frozen=True, slots=True)
class Combination:
    """``target = sum factor * array + sum factor * product``.

    Attributes:
        arrays: names with their factors, each name once.
        products: of matrices, with their factors.
    """

    target: Array
    arrays: tuple[tuple[Expr, str], ...]
    products: tuple[tuple[Expr, Product], ...] = ()

    @property
    def reads(self) -> set[str]:
        """The arrays it is made of."""
        operands = {name for _, product in self.products for name in names(product)}
        return {name for _, name in self.arrays} | operands


Statement = Combination | Line


def reads(statement: Statement) -> set[str]:
    """What a statement reads."""
    return statement.reads if isinstance(statement, Combination) else {*names(statement.value)}


def combined(function: Function) -> list[Statement]:
    """The lines of a function, linear ones combined.

    Args:
        function: of matrices.
    """
    return [*_Combiner(function).statements()]


class _Combiner:
    """What is read once by a combination waits for it."""

    def __init__(self, function: Function) -> None:
        self._lines = function.lines
        self._types = function.types
        self._scalars = {*function.scalars}
        self._ends = {array.name for _, array in function.results}
        self._uses = Counter(name for line in function.lines for name in _mentions(line))
        self._waiting: dict[str, Combination] = {}

    def statements(self) -> Iterator[Statement]:
        """The statements, in order."""
        for line in self._lines:
            statement = self._combination(line)
            if isinstance(statement, Line):
                for name in names(statement.value):
                    if name in self._waiting:
                        yield self._waiting.pop(name)
                yield statement
            elif self._uses[line.name] == 1 and line.name not in self._ends:
                self._waiting[line.name] = statement
            else:
                yield statement

    def _combination(self, line: Line) -> Statement:
        """A line as a combination, or as it is; one that is an array itself as its name."""
        if len(line.target.shape) != 2:
            return line
        if isinstance(line.value, Product):
            return Combination(line.target, (), ((ONE, line.value),))
        arrays = self._linear(line)
        if arrays is None:
            return line
        factors: dict[str, Expr] = {}
        products = []
        for name, factor in arrays.items():
            inner = self._waiting.pop(name, None)
            if inner is None:
                inner = Combination(line.target, ((ONE, name),))
            for own, array in inner.arrays:
                _count(factors, array, _product(factor, own))
            products += [(_product(factor, own), product) for own, product in inner.products]
        kept = tuple((factor, name) for name, factor in factors.items() if factor != ZERO)
        if not products and len(kept) < 2:
            if not kept:
                return line
            ((factor, name),) = kept
            if factor == ONE:
                return Line(line.target, Ref(name))
        return Combination(line.target, kept, tuple(products))

    def _linear(self, line: Line) -> dict[str, Expr] | None:
        """The factors of the arrays that a line is a sum of; None if it is none."""
        if isinstance(line.value, WHOLE_ARRAYS | Ref):
            return None
        arrays = _factors(line.value, self._scalars)
        if not arrays or any(self._types[name].shape != line.target.shape for name in arrays):
            return None
        return arrays


def _mentions(line: Line) -> Iterable[str]:
    """What a line reads, as often as it does; twice what it needs as an array of its own."""
    if isinstance(line.value, WHOLE_ARRAYS):
        return 2 * names(line.value)
    return (part.name for part in walk(line.value) if isinstance(part, Ref))


def _factors(expr: Expr, scalars: set[str]) -> dict[str, Expr] | None:
    """Factors by array of a linear expression; None if it is not linear, or has other numbers."""
    match expr:
        case Ref(name=name) if name not in scalars:
            return {name: ONE}
        case Apply(op="neg", args=(inner,)):
            return _each(_factors(inner, scalars), negative)
        case Apply(op="add", args=args):
            total: dict[str, Expr] = {}
            for part in args:
                factors = _factors(part, scalars)
                if factors is None:
                    return None
                for name, factor in factors.items():
                    _count(total, name, factor)
            return total
        case Apply(op="mul", args=args):
            numbers = [part for part in args if _is_number(part, scalars)]
            others = [part for part in args if not _is_number(part, scalars)]
            if len(others) != 1:
                return None
            factors = _factors(others[0], scalars)
            return _each(factors, lambda own: reduce(_product, numbers, own))
        case Apply(op="div", args=(over, Const(value=number))):
            return _each(_factors(over, scalars), lambda own: _product(own, constant(1 / number)))
        case Apply(op="div", args=(over, under)) if _is_number(under, scalars):
            return _each(_factors(over, scalars), lambda own: Apply("div", (own, under)))
    return None


def _count(factors: dict[str, Expr], name: str, factor: Expr) -> None:
    """Add to the factor of an array."""
    factors[name] = _sum(factors[name], factor) if name in factors else factor


def _sum(left: Expr, right: Expr) -> Expr:
    """A sum of factors, numbers added up."""
    if isinstance(left, Const) and isinstance(right, Const):
        return constant(left.value + right.value)
    return ZERO if negative(left) == right else add(left, right)


def _product(left: Expr, right: Expr) -> Expr:
    """A product of factors, a number in front."""
    return scaled(right, left) if isinstance(right, Const) else scaled(left, right)


def _each(
    factors: Mapping[str, Expr] | None, change: Callable[[Expr], Expr]
) -> dict[str, Expr] | None:
    """Changed factors."""
    return None if factors is None else {name: change(own) for name, own in factors.items()}


def _is_number(expr: Expr, scalars: set[str]) -> bool:
    """Whether an expression is arithmetic of numbers that the host has computed."""
    return all(
        isinstance(part, Const)
        or (isinstance(part, Ref) and part.name in scalars)
        or (isinstance(part, Apply) and part.op in _ARITHMETIC)
        for part in walk(expr)
    )
