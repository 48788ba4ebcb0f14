"""Expressions over arrays of any numbers: fractions, polynomials, truncated Taylor series.

In: an expression and a value for each name, a number or an object array.  Out: its value.  What is
no sum, product or power goes to a function that the numbers bring along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial, reduce
from typing import Any

import numpy as np

from hamilforge.gen.declare.expression import ENTRY, Expression, Name, Node, Number, constant
from hamilforge.gen.declare.matrix_functions import IDENTITY

Call = Callable[..., Any]


def evaluate(
    expression: Expression, known: Mapping[str, Any], sizes: Mapping[str, int], call: Call
) -> Any:
    """The value of an expression.

    Args:
        expression: what to evaluate.
        known: the value of each name.
        sizes: of the dimensions that ``eye`` may take.
        call: ``call(name, *values)`` for elementwise functions and what else is not here;
            ``call("/", a, b)`` and ``call("**", a, b)`` for a divisor or an exponent that is no
            rational number.

    Returns:
        A number, or an array of them.
    """

    def visit(node: Node) -> Any:
        if isinstance(node, Number):
            return node.value
        if isinstance(node, Name):
            return known[node.name] if node.name in known else call(node.name)
        if node.op == IDENTITY:
            (size,) = node.args
            assert isinstance(size, Name)
            return np.array(
                [
                    [Fraction(i == j) for j in range(sizes[size.name])]
                    for i in range(sizes[size.name])
                ],
                dtype=object,
            )
        values = [visit(arg) for arg in node.args]
        return apply(node.op, values, constant(node.args[1]) if len(node.args) > 1 else None)

    def apply(name: str, values: list[Any], exact: Fraction | None) -> Any:
        first = values[0]
        match name:
            case "+":
                return reduce(partial(_entrywise, np.add), values)
            case "*":
                return reduce(partial(_entrywise, np.multiply), values)
            case "-":
                return -first
            case "/":
                divisor = exact if exact is not None else values[1]
                if isinstance(divisor, Fraction) and divisor:
                    return _entrywise(np.multiply, first, 1 / divisor)
                return call("/", first, divisor)
            case "**":
                power = exact if exact is not None else values[1]
                if isinstance(power, Fraction) and power.denominator == 1 and power >= 0:
                    return _power(first, int(power))
                return call("**", first, power)
            case "@":
                return np.asarray(first @ values[1])
            case "transpose":
                return first.T
            case "trace":
                return np.trace(first)
            case "sym":
                return (first + first.T) * Fraction(1, 2)
            case "skew":
                return (first - first.T) * Fraction(1, 2)
            case "sum":
                return np.sum(first)
            case "dot":
                return np.sum(first * values[1])
            case op if op == ENTRY:
                place = int(values[1])
                return first[place - 1]
        return call(name, *values)

    return visit(expression.tree)


def _entrywise(operation: Any, left: Any, right: Any) -> Any:
    """An operation of numbers or arrays; numbers need not know of arrays."""
    if not isinstance(left, np.ndarray) and not isinstance(right, np.ndarray):
        return left + right if operation is np.add else left * right
    return operation(_boxed(left), _boxed(right))


def _boxed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value
    box = np.empty((), dtype=object)
    box[()] = value
    return box


def _power(base: Any, exponent: int) -> Any:
    value: Any = Fraction(1)
    while exponent:
        if exponent & 1:
            value = base if isinstance(value, Fraction) else value * base
        exponent >>= 1
        base = base * base if exponent else base
    return value
