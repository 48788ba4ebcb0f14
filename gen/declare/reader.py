"""Reading values out of a declaration's tables, with every problem noted at its place.

In: a :class:`Source`.  Out: texts, exact numbers, tables and typed expressions; what is wrong is
collected, and raised all together by :meth:`Reader.finish`.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from hamilforge.gen.declare.errors import (
    DeclarationError,
    ExpressionError,
    Problem,
    caret,
    did_you_mean,
    key_text,
)
from hamilforge.gen.declare.expression import Expression, approximation, constant
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.parser import parse, parse_condition, parse_with_entries
from hamilforge.gen.declare.shapes import Shapes, infer_shape, written
from hamilforge.gen.declare.toml_source import KeyPath, Source

NAME = re.compile(r"[a-z](?:_?[a-z0-9])*_?")
#: What a name is.
OF_NAMES = "lower-case letters, digits and single underscores, a letter first"
SYMBOL = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*")
#: What a declaration may leave empty.
MAY_BE_EMPTY = (("title",), ("reference",))
LARGEST, SMALLEST = Fraction(10**300), Fraction(1, 10**300)
HEAD = ("kind", "name", "title", "reference", "claims", "generate")
#: What expressions of optimizers mean by themselves.
MEANINGS = frozenset("q p t h n".split())
#: What is said of them.
_SAID = {
    "q": "what is trained",
    "p": "its momentum",
    "t": "the time",
    "h": "the step",
    "n": "the number of the step",
    "x": "what is trained",
    "g": "its gradient",
}
#: What every optimizer's constructor and parameter groups have beside the hyper-parameters.
OPTIONS = frozenset(
    "self params options super clock param_names initial_lr weight_decay decoupled_weight_decay "
    "maximize foreach differentiable fused scope rule late resting".split()
)


class Reader:
    """The tables of one declaration, and the problems found while reading them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []

    def problem(self, message: str, *path: str | int, excerpt: str = "") -> None:
        """Note a problem with the key at ``path``."""
        line = self.source.line(*path)
        problem = Problem(self.source.where, line, key_text(path), message, excerpt)
        if problem not in self.problems:
            self.problems.append(problem)

    def finish(self) -> None:
        """Raise if there was any problem."""
        if self.problems:
            raise DeclarationError(sorted(self.problems, key=lambda problem: problem.line or 0))

    def keys(self, allowed: Iterable[str]) -> None:
        """Note every key of the file that means nothing."""
        known = (*HEAD, *allowed)
        for key in self.source.tables:
            if key not in known:
                self.problem(
                    f"unknown key; expected one of {', '.join(known)}" + did_you_mean(key, known),
                    key,
                )

    def subkeys(self, allowed: Sequence[str], *path: str | int) -> None:
        """Note every key of a table inside the file that means nothing."""
        for key in self._get(path):
            if key not in allowed:
                message = f"unknown key; expected {', '.join(allowed)}"
                self.problem(message + did_you_mean(key, allowed), *path, key)

    def text(self, *path: str | int, default: str | None = None) -> str:
        """A string; a number is its own text."""
        value = self._get(path)
        if value is None:
            if default is None:
                self.problem("missing; a text was expected", *path)
            return default or ""
        if not isinstance(value, str):
            self.problem(f"{shortened(value)} is not a text", *path)
            return ""
        if not value and path not in MAY_BE_EMPTY:
            self.problem("an empty text; a text was expected", *path)
        return value

    def table(self, name: str, required: bool = False) -> Mapping[str, Any]:
        """A table, empty where it is missing."""
        value = self.source.tables.get(name)
        if value is None:
            if required:
                self.problem("this table is missing", name)
            return {}
        if not isinstance(value, dict):
            self.problem("a table was expected", name)
            return {}
        return value

    def number(self, value: Any, *path: str | int) -> Fraction:
        """A number, or a text that is one: exactly if it is rational, else to 50 digits."""
        if isinstance(value, bool) or not isinstance(value, int | str):
            self.problem(f"{shortened(value)} is not a number", *path)
            return Fraction(1)
        expression = self.expression(str(value), *path)
        exact = constant(expression.tree) if expression else Fraction(1)
        if exact is None and expression:
            exact = approximation(expression.tree)
        if exact is None:
            self.problem(f"{shortened(value)} is not a number", *path)
            return Fraction(1)
        if exact and not SMALLEST <= abs(exact) <= LARGEST:
            self.problem("beyond the numbers of floating point: 1e-300 to 1e300", *path)
            return Fraction(1)
        return exact

    def expression(self, text: Any, *path: str | int) -> Expression | None:
        """An expression, or None with the problem noted."""
        return self._parsed(text, path, parse)

    def with_entries(self, text: Any, *path: str | int) -> Expression | None:
        """An expression with entries such as ``u[1]``, or None with the problem noted."""
        return self._parsed(text, path, parse_with_entries)

    def _parsed(
        self, text: Any, path: KeyPath, read: Callable[[str], Expression]
    ) -> Expression | None:
        if isinstance(text, bool) or not isinstance(text, int | str):
            self.problem(
                f"{shortened(text)} is not an expression; write it as a text in quotes", *path
            )
            return None
        if not text and any(problem.key == key_text(path) for problem in self.problems):
            return None  # what is there was no text
        try:
            return read(str(text))
        except ExpressionError as error:
            self.at_expression(str(text), error, path)
            return None

    def typed(
        self,
        expression: Expression | None,
        wanted: Shape,
        types: Shapes,
        functions: Iterable[str],
        *path: str | int,
    ) -> None:
        """Check names, functions and type of an expression.

        Args:
            expression: what to check; None, one that could not be read, is passed over.
            wanted: the shape; a scalar will do for a vector.
            types: the type of each name that may occur.
            functions: the functions that mean something here.
            path: the key, for a problem that is noted.
        """
        if expression is None:
            return
        try:
            shape = infer_shape(expression, types, functions)
            if shape and shape != wanted:
                message = f"{written(shape)}; {written(wanted)} was expected"
                raise ExpressionError(message, 0, len(expression.text))
        except ExpressionError as error:
            self.at_expression(expression.text, error, path)

    def at_expression(self, text: str, error: ExpressionError, path: KeyPath) -> None:
        """Note a problem of an expression, with carets under its place.

        Args:
            text: the expression.
            error: what is wrong, and where in the text.
            path: the key.
        """
        self.problem(error.message, *path, excerpt=caret(text, error.start, error.stop))

    def symbol(self, name: str, *path: str | int, taken: Container[str] = MEANINGS) -> None:
        """Note a name that cannot be one.

        Args:
            name: what is declared.
            path: where.
            taken: names that have a meaning already.
        """
        if not SYMBOL.fullmatch(name):
            self.problem(
                f"'{name}' cannot be a name here: letters, digits and single underscores "
                "between them, a letter first",
                *path,
            )
        elif name in taken:
            what = _meaning(name)
            self.problem(f"'{name}' cannot be a name here: it has a meaning already{what}", *path)

    def hyperparameter(
        self, name: str, *path: str | int, own: frozenset[str] = frozenset()
    ) -> None:
        """Note a name that cannot be a hyper-parameter's, which is a keyword argument in Python.

        Args:
            name: what is declared.
            path: where.
            own: names with a meaning elsewhere that the declaration may have for its own.
        """
        self.symbol(name, *path, taken={*MEANINGS, *OPTIONS, *keyword.kwlist} - own)

    def condition(self, text: Any, *path: str | int) -> Expression | None:
        """A comparison, or a number that is positive where it holds; None if it is neither."""
        return self._parsed(text, path, parse_condition)

    def _get(self, path: KeyPath) -> Any:
        here: Any = self.source.tables
        for key in path:
            here = here.get(key) if isinstance(here, dict) else None
        return here


def shortened(value: object, most: int = 60) -> str:
    """A value as Python writes it, at most so many characters of it."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested deeply; an integer of thousands of digits
        return f"this {type(value).__name__}"
    return text if len(text) <= most else text[:most] + "..."


def inside(value: Fraction | float, domain: str) -> bool:
    """Whether a value lies in a named domain."""
    return {
        "positive": value > 0,
        "nonnegative": value >= 0,
        "unit-interval": 0 <= value < 1,
        "open-unit-interval": 0 < value < 1,
        "closed-unit-interval": 0 <= value <= 1,
        "real": True,
        "flag": value in (0, 1),
        "count": value >= 1 and value == int(value),
        "nonnegative-or-none": value >= 0,
    }[domain]


def _meaning(name: str) -> str:
    """What a name means that cannot be declared, as the end of a sentence; empty if unknown."""
    if name in OPTIONS:
        return ", an argument of every optimizer"
    if name in keyword.kwlist:
        return ", a word of Python"
    return f", {_SAID[name]}" if name in _SAID else ""
