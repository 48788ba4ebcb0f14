"""The expression language of declarations: a small typed tree, and its words.

Sums and products are n-ary, so their length does not cost depth.  :mod:`parser` makes such trees of
text.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath

from hamilforge.gen.declare import matrix_functions
from hamilforge.gen.declare.functions import CONSTANTS
from hamilforge.gen.declare.functions import DECLARABLE as ELEMENTWISE

REDUCTIONS = ("dot", "norm", "sum")
ORACLES = ("J", "decay", "grad", "velocity")
POLYNOMIALS = ("legendre",)
#: In rules: independent standard normal numbers, one for each entry of the point; new ones wherever
#: it stands, and in each step.
NOISE = "noise"
#: In outer steps: the mean of an array over the workers of a group.
AVERAGE = "average"
#: In networks: the activation that is declared beside the field.
ACTIVATION = "sigma"
#: In regularisers: how fast a control changes from a layer to the next.
RATE = "rate"
#: In lattices and problems: the values at the places that are so many further, around the ring.
SHIFT = "shift"
#: In problems: the product of all entries.
PRODUCT = "prod"
#: In fields: ``u[1]``, an entry of a vector, counted from 1.
ENTRY = "entry"
#: In manifolds and optimizers on them: an array in the tangent space at X; the gradient in the
#: metric, of a derivative; the point that a tangent vector leads to; what it carries there.
PROJECT, GRADIENT, RETRACT, TRANSPORT = "project", "gradient", "retract", "transport"
ON_MANIFOLDS = (PROJECT, GRADIENT, RETRACT, TRANSPORT)
#: In optimizers of matrices: ``repeat(k, Y, f)``, what Y is after k times ``Y = f``; the inner
#: product of two tangent vectors in the metric.
REPEAT, INNER = "repeat", "inner"
FUNCTIONS = (
    *ELEMENTWISE,
    *REDUCTIONS,
    *ORACLES,
    NOISE,
    AVERAGE,
    *POLYNOMIALS,
    "transpose",
    "logsumexp",
    ACTIVATION,
    RATE,
    SHIFT,
    PRODUCT,
    *matrix_functions.NAMES,
    *ON_MANIFOLDS,
    REPEAT,
    INNER,
)

#: Sites over which a shift may reach.
MAX_SHIFT = 16
ONE = Fraction(1)
#: Numbers that are not rational count to so many digits where a number is wanted, up to this size.
DIGITS, LARGEST = 50, 1e300


@dataclass(frozen=True, slots=True)
class Number:
    """An exact rational number."""

    value: Fraction
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Name:
    """A declared name."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Operation:
    """``+`` and ``*`` (n-ary), ``-`` (negation), ``/``, ``**``, ``@`` or a function of ``args``."""

    op: str
    args: tuple[Node, ...]
    start: int
    stop: int


Node = Number | Name | Operation


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression as it was written, with its tree; spans of nodes include parentheses."""

    text: str
    tree: Node

    def names(self) -> frozenset[str]:
        """The names that occur in it, functions not included."""
        return frozenset(node.name for node in walk(self.tree) if isinstance(node, Name))

    def functions(self) -> frozenset[str]:
        """The functions that are called in it."""
        return frozenset(
            node.op
            for node in walk(self.tree)
            if isinstance(node, Operation) and node.op in FUNCTIONS
        )


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it, without recursion."""
    todo = [node]
    while todo:
        here = todo.pop()
        yield here
        if isinstance(here, Operation):
            todo.extend(reversed(here.args))


def terms(node: Node) -> Iterator[Node]:
    """The terms of a sum, nested sums and signs resolved: each is a term of the whole."""
    todo = [(node, False)]
    while todo:
        here, negative = todo.pop()
        if isinstance(here, Operation) and here.op in ("+", "-"):
            turned = negative ^ (here.op == "-")
            todo.extend((arg, turned) for arg in reversed(here.args))
        else:
            yield Operation("-", (here,), here.start, here.stop) if negative else here


def constant(node: Node) -> Fraction | None:
    """The value of an expression of numbers alone, or None; powers must be bounded already."""
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Name) or node.op not in ("+", "*", "-", "/", "**"):
        return None
    values = [constant(arg) for arg in node.args]
    if any(value is None for value in values):
        return None
    numbers = [value for value in values if value is not None]
    if node.op == "+":
        return sum(numbers, Fraction(0))
    if node.op == "-":
        return -numbers[0]
    if node.op == "*":
        product = Fraction(1)
        for number in numbers:
            product *= number
        return product
    left, right = numbers
    if node.op == "/":
        return left / right if right else None
    return left**right.numerator if right.denominator == 1 and (left or right > 0) else None


def approximation(node: Node) -> Fraction | None:
    """The value of an expression of numbers, constants and functions to 50 digits, if it is real.

    Powers must be bounded already; an overflow is None.
    """
    try:
        with mpmath.workdps(DIGITS + 10):
            value = numerical(node, {name: +getattr(mpmath, name) for name in CONSTANTS})
            if isinstance(value, mpmath.mpf) and abs(value) < LARGEST:
                return Fraction(mpmath.nstr(value, DIGITS))
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        pass
    return None


def numerical(node: Node, names: Mapping[str, Any]) -> Any:
    """The value in mpmath, at its working precision, of an expression of names with a value.

    Args:
        node: a tree of numbers, names, operations and functions of one real number.
        names: a value for each name.

    Returns:
        A number of mpmath; None for what has no value of its own.
    """
    if isinstance(node, Number):
        return mpmath.mpf(node.value.numerator) / node.value.denominator
    if isinstance(node, Name):
        return names.get(node.name)
    values = [numerical(arg, names) for arg in node.args]
    operations: dict[str, Callable[..., Any]] = {
        "+": lambda *terms: mpmath.fsum(terms),
        "-": operator.neg,
        "*": lambda *factors: mpmath.fprod(factors),
        "/": operator.truediv,
        "**": operator.pow,
    }
    if node.op in operations:
        return operations[node.op](*values)
    function = _NUMERICAL.get(node.op)
    if function is None:
        function = getattr(mpmath, node.op, None) if node.op in ELEMENTWISE else None
    return function(*values) if function else None


#: Functions of numbers that mpmath has not, or by other names.
_NUMERICAL: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "clip": lambda x, low, high: min(max(x, low), high),
    "greater": lambda x, y: mpmath.mpf(x > y),
    "at_least": lambda x, y: mpmath.mpf(x >= y),
    "equal": lambda x, y: mpmath.mpf(x == y),
    "max": max,
    "min": min,
    "step": lambda x: mpmath.mpf(x > 0),
    "where": lambda test, then, otherwise: then if test > 0 else otherwise,
}


def constant_shape(node: Node) -> bool:
    """Whether an expression is made of numbers alone."""
    return not any(isinstance(part, Name) and part.name not in CONSTANTS for part in walk(node))
