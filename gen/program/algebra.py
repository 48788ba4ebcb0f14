"""What numbers are and what functions do with them, and what an expression is worth then.

In: an expression, and values of its names.  Out: a number of the algebra.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from hamilforge.gen.derive.arrays import (
    Array,
)
from hamilforge.gen.program.ir import (
    Apply,
    Const,
    Expr,
    Line,
    Reduce,
    Ref,
    Select,
    Value,
)

Values = Mapping[str, Any]
#: What an expression is: a function of the values of its names.
Meaning = Callable[[Values], Any]
Types = Mapping[str, Array]


def _no_operation(line: Line, _values: Values, _types: Types) -> Any:
    raise NotImplementedError(f"interpret: no {type(line.value).__name__} of these numbers")


@dataclass(frozen=True, slots=True)
class Algebra:
    """What numbers are and what functions do with them.

    Attributes:
        constant: an exact number as a number of the algebra.
        functions: the elementwise functions, the constants, and ``pow``, whose exponent is an exact
            number where the program has one; + - * / are the operators'.
        total: the sum of the entries of an array.
        operation: the value of a line that multiplies or transposes whole arrays, or adds up
            samples, from the values and the types of what it reads.
        full: a value with all entries of its target, where its operands have only some of them.
        select: ``select(subject, value, then, otherwise)``, entry by entry; the two values are
            functions, so that a scalar choice evaluates one of them.
        scalar: a scalar as it is kept between lines.
        matrices: the functions of whole matrices.
        divide: the quotient.
        meanings: expressions that were evaluated and what they are, by their identity.
    """

    constant: Callable[[Fraction], Any]
    functions: Mapping[str, Callable[..., Any]]
    total: Callable[[Any], Any]
    select: Callable[[Any, Fraction, Callable[[], Any], Callable[[], Any]], Any]
    scalar: Callable[[Any], Any] = lambda value: value
    operation: Callable[[Line, Values, Types], Any] = _no_operation
    full: Callable[[Any, Line, Values, Types], Any] = lambda value, *_: value
    matrices: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    divide: Callable[[Any, Any], Any] = operator.truediv
    meanings: dict[int, tuple[Value, Meaning]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )


#: So many meanings of expressions are kept by an algebra.
MEANINGS = 4096


def evaluate(expr: Value, values: Mapping[str, Any], algebra: Algebra) -> Any:
    """The value of an expression.

    Args:
        expr: what is evaluated.
        values: the value of each name that occurs.
        algebra: what numbers are.

    Returns:
        A number of the algebra, or an array of them.

    Raises:
        NotImplementedError: the algebra has no such function, or the expression is of another kind.
    """
    known = algebra.meanings.get(id(expr))
    if known is None:
        if len(algebra.meanings) >= MEANINGS:
            algebra.meanings.clear()
        # by identity, as a hash would walk through the whole of it; with it, so that it stays
        known = algebra.meanings[id(expr)] = expr, _meaning(expr, algebra)
    return known[1](values)


def _meaning(expr: Value, algebra: Algebra) -> Meaning:
    """What an expression is in an algebra: a function of the values of its names."""

    def of(part: Value) -> Meaning:
        if type(part) is Ref:
            return operator.itemgetter(part.name)
        if type(part) is Const:
            number = algebra.constant(part.value)
            return lambda _: number
        if type(part) is Apply:
            return applied(part.op, part.args)
        if type(part) is Select:
            subject, then, otherwise = map(of, (part.subject, part.then, part.otherwise))
            value, select = part.value, algebra.select
            return lambda values: select(
                subject(values), value, partial(then, values), partial(otherwise, values)
            )
        if type(part) is Reduce and part.how == "sum" and part.over == "entries":
            entry, total = of(part.arg), algebra.total
            return lambda values: total(entry(values))
        return partial(_refused, f"{part}")

    def applied(op: str, args: tuple[Expr, ...]) -> Meaning:
        if op == "add":
            return _sum(of(args[0]), [signed(term) for term in args[1:]])
        parts = [*map(of, args)]
        if op == "mul":
            return _product(parts)
        if op == "neg":
            (part,) = parts
            return lambda values: -part(values)
        if op == "div":
            left, right = parts
            divide = algebra.divide
            return lambda values: divide(left(values), right(values))
        if op == "pow" and type(args[1]) is Const:
            base, exponent = parts[0], args[1].value
            power = algebra.functions["pow"]
            return lambda values: power(base(values), exponent)
        if op not in algebra.functions:
            return partial(_refused, f"no function '{op}' on these numbers")
        function = algebra.functions[op]
        return lambda values: function(*[part(values) for part in parts])

    def signed(term: Expr) -> tuple[bool, Meaning]:
        if type(term) is Apply and term.op == "neg":
            return True, of(term.args[0])
        return False, of(term)

    return of(expr)


def _sum(first: Meaning, others: Sequence[tuple[bool, Meaning]]) -> Meaning:
    """A sum from left to right, of terms that are subtracted or not."""

    def value(values: Values) -> Any:
        result = first(values)
        for negative, term in others:
            result = result - term(values) if negative else result + term(values)
        return result

    return value


def _product(factors: Sequence[Meaning]) -> Meaning:
    """A product from left to right."""
    first, *others = factors

    def value(values: Values) -> Any:
        result = first(values)
        for factor in others:
            result = result * factor(values)
        return result

    return value


def _refused(what: str, _: Values) -> Any:
    raise NotImplementedError(f"interpret: {what}")


def sizes_of(shapes: Mapping[str, tuple[int, ...]], types: Types) -> dict[str, int]:
    """The size of each dimension.

    Args:
        shapes: of arrays, by name.
        types: of these arrays.

    Returns:
        The sizes by the names of dimensions.
    """
    return {
        axis: size
        for name, shape in shapes.items()
        if types[name].shape
        for axis, size in zip(types[name].shape, shape[types[name].batched :], strict=False)
    }


def size_of(axis: str, values: Values, types: Types) -> int:
    """How long a dimension is.

    Args:
        axis: the name of the dimension.
        values: of arrays, by name.
        types: of these arrays.

    Returns:
        The size.
    """
    known = {name: np.shape(values[name]) for name in types if name in values}
    return sizes_of(known, types)[axis]
