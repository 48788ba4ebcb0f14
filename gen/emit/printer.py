"""IR expressions as Python text, with as few parentheses as precedence allows.

A backend subclasses :class:`Printer` and says what its constants, references and functions look
like; nothing else about a backend's language is known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar

from hamilforge.gen.program.ir import Apply, Const, Expr, Reduce, Ref, Select

_SUM, _PRODUCT, _NEGATION, _POWER, _ATOM = range(1, 6)


class Printer:
    """Python arithmetic.

    Attributes:
        functions: how each operation of one argument is called.
        rename: what a name is printed as, where it is not itself.
    """

    functions: ClassVar[Mapping[str, str]] = {}

    def __init__(self, rename: Mapping[str, str] | None = None) -> None:
        self.rename = dict(rename or {})

    def __call__(self, expr: Expr) -> str:
        """The text of an expression."""
        return self._print(expr)[0]

    def number(self, value: Fraction) -> str:
        """An exact number."""
        if value.denominator == 1:
            return str(value.numerator)
        return f"{value.numerator} / {value.denominator}"

    def call(self, op: str, args: list[str]) -> str:
        """A function call."""
        if op not in self.functions:
            raise NotImplementedError(f"{type(self).__name__}: no function for '{op}'")
        return f"{self.functions[op]}({', '.join(args)})"

    def select(self, subject: str, value: str, then: str, otherwise: str) -> tuple[str, int]:
        """A choice, and how tightly it binds."""
        return f"({then} if {subject} == {value} else {otherwise})", _ATOM

    def _print(self, expr: Expr) -> tuple[str, int]:
        match expr:
            case Const(value=value):
                text = self.number(value)
                if value < 0:
                    return text, _NEGATION
                return text, _ATOM if " / " not in text else _PRODUCT
            case Ref(name=name):
                return self.rename.get(name, name), _ATOM
            case Apply(op="add", args=args):
                return self._sum(args), _SUM
            case Apply(op="mul", args=args):
                parts = [self._within(args[0], _PRODUCT)]
                parts += [self._within(arg, _NEGATION) for arg in args[1:]]
                return " * ".join(parts), _PRODUCT
            case Apply(op="div", args=(over, under)):
                text = f"{self._within(over, _PRODUCT)} / {self._within(under, _NEGATION)}"
                return text, _PRODUCT
            case Apply(op="neg", args=(arg,)):
                text, binding = self._print(arg)
                if binding < _PRODUCT:
                    return f"-({text})", _NEGATION
                return f"-{text}", _SUM if binding == _PRODUCT else _NEGATION
            case Apply(op="pow", args=(base, exponent)):
                return self.power(base, exponent)
            case Apply(op=op, args=args):
                return self.call(op, [self(arg) for arg in args]), _ATOM
            case Select(subject=subject, value=value, then=then, otherwise=otherwise):
                return self.select(self(subject), self.number(value), self(then), self(otherwise))
            case Reduce():
                raise NotImplementedError(f"{type(self).__name__}: a sum inside an expression")
        raise NotImplementedError(f"{type(self).__name__}: {type(expr).__name__}")

    def power(self, base: Expr, exponent: Expr) -> tuple[str, int]:
        """A power; squares and cubes of names are products."""
        match base, exponent:
            case Ref(), Const(value=value) if value in (2, 3):
                return " * ".join([self(base)] * int(value)), _PRODUCT
        text = f"{self._within(base, _ATOM)}**{self._within(exponent, _ATOM)}"
        return text, _POWER

    def _sum(self, terms: tuple[Expr, ...]) -> str:
        text = self._within(terms[0], _SUM)
        for term in terms[1:]:
            match term:
                case Apply(op="neg", args=(arg,)):
                    text += f" - {self._within(arg, _PRODUCT)}"
                case Const(value=value) if value < 0:
                    text += f" - {self.number(-value)}"
                case _:
                    text += f" + {self._within(term, _PRODUCT)}"
        return text

    def _within(self, expr: Expr, least: int) -> str:
        text, binding = self._print(expr)
        return text if binding >= least else f"({text})"


class FormulaPrinter(Printer):
    """Formulas to read: every function by its own name."""

    def call(self, op: str, args: list[str]) -> str:
        """A function by its name."""
        return f"{op}({', '.join(args)})"


class HostPrinter(Printer):
    """Host scalars in Python floats; ``functions`` come from a namespace such as ``math``."""

    functions = {
        name: name for name in "exp expm1 log log1p sin cos tan atan sinh cosh tanh sqrt".split()
    } | {"abs": "abs", "pow": "pow"}

    def __init__(self, namespace: str) -> None:
        super().__init__()
        self._namespace = namespace

    def call(self, op: str, args: list[str]) -> str:
        """A function of the namespace, but for those that every number has."""
        text = super().call(op, args)
        return text if op == "abs" else f"{self._namespace}.{text}"
