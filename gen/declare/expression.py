"""The expression language of declarations: text in, a small typed tree out.

A Pratt parser over exact numbers.  It knows numbers, names, ``+ - * / ** @``, parentheses and calls
of a fixed list of functions, and nothing else: no attribute, index, string or keyword can be
written, so there is nothing to execute.  (Python's ``ast`` is not used: it turns ``0.1`` into a
binary float before anyone can ask for the text, and its nested tree of a flat sum of a few thousand
terms exceeds the recursion limit.)

Sums and products are n-ary, so their length does not cost depth.  Depth, digits and powers of
numbers are bounded before any arithmetic is done.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import mpmath

from hamilforge.gen.declare import matrix_functions
from hamilforge.gen.declare.errors import ExpressionError, did_you_mean
from hamilforge.gen.declare.functions import BY_NAME, CHOICE, COMPARISONS, CONSTANTS
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
#: How many arguments a function takes, where it is not one.
_ARGUMENTS = {
    **{name: len(row.arguments) for name, row in BY_NAME.items()},
    **{name: row.arguments for name, row in matrix_functions.BY_NAME.items()},
    **dict.fromkeys(("dot", SHIFT, matrix_functions.UNIT, INNER), 2),
    REPEAT: 3,
}
#: What functions are called elsewhere.
_ALSO_CALLED = {
    "sigmoid": "logistic",
    "swish": "silu",
    "ln": "log",
    "arctan": "atan",
    "arcsin": "asin",
}
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

MAX_TEXT = 200_000
MAX_DEPTH = 50
#: Of divisions and products with ``@`` in a row, with the depth of their operands.
MAX_ROW = 200
MAX_DIGITS = 60
MAX_EXPONENT = 64
#: Sites over which a shift may reach.
MAX_SHIFT = 16
ONE = Fraction(1)
#: Numbers that are not rational count to so many digits where a number is wanted, up to this size.
DIGITS, LARGEST = 50, 1e300

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9]*)|(?P<operator>\*\*|[<>=!]=|[-+*/@(),<>])|(?P<entry>[][]))"
)


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


def parse(text: str, functions: Container[str] = FUNCTIONS) -> Expression:
    """Read an expression.

    Args:
        text: what to read.
        functions: what may be called; a table of ours may call more than a declaration.

    Raises:
        ExpressionError: where the text is no expression, or too large to be one in earnest.
    """
    return _parse(text, functions, _Parser.sum)


def parse_with_entries(text: str) -> Expression:
    """Read an expression with entries of vectors, as in ``u[1]``.

    Args:
        text: what to read.

    Raises:
        ExpressionError: where the text is no expression.
    """
    return _parse(text, FUNCTIONS, _Parser.sum, entries=True)


def parse_condition(text: str) -> Expression:
    """Read a comparison, or an expression that is positive where a condition holds.

    Args:
        text: what to read.

    Raises:
        ExpressionError: where the text is neither.
    """
    return _parse(text, FUNCTIONS, _Parser.condition)


def _parse(
    text: str,
    functions: Container[str],
    read: Callable[[_Parser, int], Node],
    entries: bool = False,
) -> Expression:
    if len(text) > MAX_TEXT:
        raise ExpressionError(f"{len(text)} characters; at most {MAX_TEXT} are read", 0, 1)
    parser = _Parser(text, functions, entries)
    tree = read(parser, 0)
    if parser.token.kind != "end":
        token = parser.token
        raise ExpressionError(
            f"'{token.text}' is not expected here; an operator or the end was",
            token.start,
            token.stop,
        )
    _bounded_depth(tree)
    for node in walk(tree):
        if isinstance(node, Operation) and node.op == "**":
            _bounded_power(node)
    return Expression(text, tree)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    stop: int


def _tokens(text: str, entries: bool) -> Iterator[_Token]:
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or (match.lastgroup == "entry" and not entries):
            start = at + len(text[at:]) - len(text[at:].lstrip())
            raise ExpressionError(
                f"{text[start]!r} does not belong to the expression language "
                "(numbers, names, + - * / ** @, parentheses, functions, comparisons)",
                start,
                start + 1,
            )
        kind = match.lastgroup or ""
        yield _Token(kind, match[kind], match.start(kind), match.end(kind))
        at = match.end()
    yield _Token("end", "the end", end, end + 1)


class _Parser:
    """Recursive descent by precedence; every nesting is counted."""

    def __init__(self, text: str, functions: Container[str], entries: bool) -> None:
        self._functions = functions
        self._tokens = _tokens(text, entries)
        self.token = next(self._tokens)

    def _advance(self) -> _Token:
        taken = self.token
        if taken.kind != "end":
            self.token = next(self._tokens)
        return taken

    def _expect(self, text: str) -> _Token:
        if self.token.text != text or self.token.kind == "end":
            token = self.token
            raise ExpressionError(
                f"'{text}' was expected, not '{token.text}'", token.start, token.stop
            )
        return self._advance()

    def condition(self, depth: int) -> Node:
        """A comparison of two sums, or a sum."""
        left = self.sum(depth)
        sign = self.token.text
        if self.token.kind != "operator" or sign not in COMPARISONS:
            return left
        self._advance()
        right = self.sum(depth)
        function, swapped = COMPARISONS[sign]
        operands = (right, left) if swapped else (left, right)
        node = Operation(function, operands, left.start, right.stop)
        if sign != "!=":
            return node
        one = Number(ONE, left.start, right.stop)
        opposite = Operation("-", (node,), left.start, right.stop)
        return Operation("+", (one, opposite), left.start, right.stop)

    def sum(self, depth: int) -> Node:
        terms = [self._product(depth)]
        while self.token.text in ("+", "-") and self.token.kind == "operator":
            sign = self._advance()
            term = self._product(depth)
            if sign.text == "-":
                term = Operation("-", (term,), sign.start, term.stop)
            terms.append(term)
        if len(terms) == 1:
            return terms[0]
        return Operation("+", tuple(terms), terms[0].start, terms[-1].stop)

    def _product(self, depth: int) -> Node:
        left = self._unary(depth)
        factors = [left]
        while self.token.kind == "operator" and self.token.text in ("*", "/", "@"):
            operator = self._advance().text
            right = self._unary(depth)
            if operator == "*":
                factors.append(right)
                continue
            left = self._joined(factors)
            factors = [Operation(operator, (left, right), left.start, right.stop)]
        return self._joined(factors)

    @staticmethod
    def _joined(factors: list[Node]) -> Node:
        if len(factors) == 1:
            return factors[0]
        return Operation("*", tuple(factors), factors[0].start, factors[-1].stop)

    def _unary(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            token = self.token
            raise ExpressionError(f"nested more than {MAX_DEPTH} deep", token.start, token.stop)
        if self.token.kind == "operator" and self.token.text in ("-", "+"):
            sign = self._advance()
            operand = self._unary(depth + 1)
            if sign.text == "+":
                return operand
            return Operation("-", (operand,), sign.start, operand.stop)
        return self._power(depth)

    def _power(self, depth: int) -> Node:
        base = self._atom(depth)
        if self.token.text != "**":
            return base
        self._advance()
        exponent = self._unary(depth + 1)
        return Operation("**", (base, exponent), base.start, exponent.stop)

    def _atom(self, depth: int) -> Node:
        token = self._advance()
        if token.kind == "number":
            return Number(_exact(token), token.start, token.stop)
        if token.kind == "name":
            if self.token.text == "(":
                return self._call(token, depth)
            if self.token.text == "[":
                return self._entry(token)
            return Name(token.text, token.start, token.stop)
        if token.text == "(":
            inner = self.sum(depth + 1)
            return replace(inner, start=token.start, stop=self._expect(")").stop)
        raise ExpressionError(
            f"'{token.text}' is not expected here; a number, a name or '(' was",
            token.start,
            token.stop,
        )

    def _entry(self, name: _Token) -> Node:
        self._advance()
        token = self._advance()
        if token.kind != "number" or not token.text.isdigit():
            raise ExpressionError(
                f"an entry has a whole number, as in {name.text}[1]", token.start, token.stop
            )
        number = Number(_exact(token), token.start, token.stop)
        vector = Name(name.text, name.start, name.stop)
        return Operation(ENTRY, (vector, number), name.start, self._expect("]").stop)

    def _call(self, name: _Token, depth: int) -> Node:
        if name.text not in self._functions:
            raise ExpressionError(
                f"'{name.text}' is not a function of the expression language"
                + did_you_mean(_ALSO_CALLED.get(name.text, name.text), FUNCTIONS),
                name.start,
                name.stop,
            )
        self._expect("(")
        if name.text == NOISE:
            if self.token.text != ")":
                message = f"{NOISE}() takes no arguments"
                raise ExpressionError(message, name.start, self.token.stop)
            return Operation(NOISE, (), name.start, self._expect(")").stop)
        args = [self.condition(depth + 1) if name.text == CHOICE else self.sum(depth + 1)]
        while self.token.text == ",":
            self._advance()
            args.append(self.sum(depth + 1))
        stop = self._expect(")").stop
        wanted = _ARGUMENTS.get(name.text, 1)
        if len(args) != wanted:
            raise ExpressionError(
                f"{name.text} takes {wanted} argument{'s' * (wanted > 1)}, not {len(args)}",
                name.start,
                stop,
            )
        return Operation(name.text, tuple(args), name.start, stop)


def _exact(token: _Token) -> Fraction:
    mantissa, _, exponent = token.text.lower().partition("e")
    if len(mantissa) > MAX_DIGITS or len(exponent) > 4 or abs(int(exponent or 0)) > 300:
        raise ExpressionError(
            f"a number with more than {MAX_DIGITS} digits or an exponent beyond 300",
            token.start,
            token.stop,
        )
    return Fraction(token.text)


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


def _bounded_depth(tree: Node) -> None:
    """Refuse what is deep without parentheses: divisions and matrix products in a row."""
    todo = [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        if depth > MAX_ROW:
            raise ExpressionError(
                f"more than {MAX_ROW} divisions and matrix products in a row",
                node.start,
                node.stop,
            )
        if isinstance(node, Operation):
            todo.extend((part, depth + 1) for part in node.args)


def _bounded_power(node: Operation) -> None:
    """Refuse powers that would be large when written out, before anything is computed."""
    base, exponent = node.args
    value = _exponent(exponent)
    if value is None and constant_shape(exponent):
        raise ExpressionError("a tower of powers", node.start, node.stop)
    if value is None:
        return
    size = abs(value) * _nested_exponent(base)
    terms = len(base.args) if isinstance(base, Operation) and base.op == "+" else 1
    too_many = (
        terms > 1 and value.denominator == 1 and terms ** min(int(abs(value)), MAX_EXPONENT) > 10**6
    )
    irrational = constant(exponent) is None
    fine = value.denominator > MAX_EXPONENT and not irrational
    if size > MAX_EXPONENT or fine or too_many:
        raise ExpressionError(
            f"a power or a tower of powers beyond the exponent {MAX_EXPONENT}, or with too many "
            "terms when it is multiplied out",
            node.start,
            node.stop,
        )


def _exponent(node: Node) -> Fraction | None:
    """The value of an exponent that is a number without powers."""
    if not _has_no_power(node):
        return None
    exact = constant(node)
    return approximation(node) if exact is None else exact


def _has_no_power(node: Node) -> bool:
    return not any(isinstance(part, Operation) and part.op == "**" for part in walk(node))


def _nested_exponent(node: Node) -> Fraction:
    """The largest product of nested exponents in an expression."""
    if not isinstance(node, Operation):
        return ONE
    inner = max((_nested_exponent(arg) for arg in node.args), default=ONE)
    if node.op != "**":
        return inner
    exponent = _exponent(node.args[1])
    size = ONE if exponent is None else Fraction(abs(exponent))
    return inner * (size if size > ONE else ONE)


def constant_shape(node: Node) -> bool:
    """Whether an expression is made of numbers alone."""
    return not any(isinstance(part, Name) and part.name not in CONSTANTS for part in walk(node))
