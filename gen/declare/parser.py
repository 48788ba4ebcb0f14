"""Text to expressions: a Pratt parser over exact numbers.

It knows numbers, names, ``+ - * / ** @``, parentheses and calls of a fixed list of functions, and
nothing else: no attribute, index, string or keyword can be written, so there is nothing to execute.
(Python's ``ast`` is not used: it turns ``0.1`` into a binary float before anyone can ask for the
text, and its nested tree of a flat sum of a few thousand terms exceeds the recursion limit.)
Depth, digits and powers of numbers are bounded before any arithmetic is done.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from hamilforge.gen.declare import matrix_functions
from hamilforge.gen.declare.errors import ExpressionError, did_you_mean
from hamilforge.gen.declare.expression import (
    ENTRY,
    FUNCTIONS,
    INNER,
    NOISE,
    ONE,
    REPEAT,
    SHIFT,
    Expression,
    Name,
    Node,
    Number,
    Operation,
    approximation,
    constant,
    constant_shape,
    walk,
)
from hamilforge.gen.declare.functions import BY_NAME, CHOICE, COMPARISONS

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
MAX_TEXT = 200_000
MAX_DEPTH = 50
#: Of divisions and products with ``@`` in a row, with the depth of their operands.
MAX_ROW = 200
MAX_DIGITS = 60
MAX_EXPONENT = 64
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9]*)|(?P<operator>\*\*|[<>=!]=|[-+*/@(),<>])|(?P<entry>[][]))"
)


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
    reason = ""
    if size > MAX_EXPONENT:
        reason = f"a power or a tower of powers beyond the exponent {MAX_EXPONENT}"
    elif value.denominator > MAX_EXPONENT and not irrational:
        reason = (
            f"the exponent is {value}, and denominators are at most {MAX_EXPONENT}: a parameter as "
            "exponent has any value"
        )
    elif too_many:
        reason = "a power with too many terms when it is multiplied out"
    if reason:
        raise ExpressionError(reason, node.start, node.stop)


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
