"""What numbers are and what functions do with them, and what an expression is worth then.

In: an expression, and values of its names.  Out: a number of the algebra.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
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
    functions = algebra.functions

    def visit(part: Value) -> Any:
        if type(part) is Ref:  # what patterns would say, in a fraction of their time
            return values[part.name]
        if type(part) is Const:
            return algebra.constant(part.value)
        if type(part) is Apply:
            return apply(part.op, part.args)
        if type(part) is Select:
            then, otherwise = partial(visit, part.then), partial(visit, part.otherwise)
            return algebra.select(visit(part.subject), part.value, then, otherwise)
        if type(part) is Reduce and part.how == "sum" and part.over == "entries":
            return algebra.total(visit(part.arg))
        raise NotImplementedError(f"interpret: {part}")

    def apply(op: str, args: tuple[Expr, ...]) -> Any:
        if op == "add":
            result = visit(args[0])
            for term in args[1:]:
                if type(term) is Apply and term.op == "neg":
                    result = result - visit(term.args[0])
                else:
                    result = result + visit(term)
            return result
        if op == "mul":
            result = visit(args[0])
            for factor in args[1:]:
                result = result * visit(factor)
            return result
        if op == "neg":
            return -visit(args[0])
        if op == "div":
            return algebra.divide(visit(args[0]), visit(args[1]))
        if op == "pow":
            base, exponent = args
            by = exponent.value if type(exponent) is Const else visit(exponent)
            return functions["pow"](visit(base), by)
        if op not in functions:
            raise NotImplementedError(f"interpret: no function '{op}' on these numbers")
        return functions[op](*map(visit, args))

    return visit(expr)


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
