"""Expressions as numba compiles them: NumPy's functions, the runtime's where it has none.

The same text, called from Python, takes arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from fractions import Fraction
from typing import ClassVar

from hamilforge.gen.emit.printer import ATOM, Printer
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.program.ir import Apply, Const, Expr, Ref, Select, Value, names

_NUMPY = "cbrt cos cosh exp expm1 log log1p sign sin sinh sqrt tan tanh".split()
_INVERSE = "cos cosh sin sinh tan tanh".split()
_RUNTIME = (
    "at_least down elu equal erf erfc greater inverse leaky_relu log_cosh logistic relu softplus "
    "step"
).split()
#: What loops over entries call, in forms that compilers turn into vectors.
VECTORISED = {name: f"vector_math.{name}" for name in ("exp", "logistic", "tanh")}


class NumbaPrinter(Printer):
    """Numbers in the precision they have."""

    functions: ClassVar[Mapping[str, str]] = {
        **{name: f"np.{name}" for name in _NUMPY},
        **{f"a{name}": f"np.arc{name}" for name in _INVERSE},
        **{name: f"elementary.{name}" for name in _RUNTIME},
        "abs": "abs",
        "max": "np.maximum",
        "min": "np.minimum",
        "root": "np.sqrt",
    }
    constants: ClassVar[Mapping[str, str]] = {"pi": "np.pi"}

    def opposite(self, choice: Select) -> str:
        """The condition under which a choice is its second value."""
        return f"{self(choice.subject)} != {self.number(choice.value)}"


class WholePrinter(NumbaPrinter):
    """Functions that Python calls with whole arrays; they are not compiled."""

    def _select(self, choice: Select) -> tuple[str, int]:
        """A choice entry by entry."""
        then, otherwise = self(choice.then), self(choice.otherwise)
        return f"{self.need('np.where')}({self.test(choice)}, {then}, {otherwise})", ATOM


class Float64Printer(NumbaPrinter):
    """Scalars after sums: Python floats are float64."""

    def number(self, value: Fraction) -> str:
        """An exact number as a float."""
        return f"{float(value)!r}" if value.denominator == 1 else super().number(value)


class WidePrinter(NumbaPrinter):
    """The same in numbers of any range, by :mod:`runtime.optimizers.wide`.

    Args:
        variables: the variables that are such numbers; all others are floats.
        need: notes what the texts use.
    """

    _arithmetic: ClassVar[Mapping[str, str]] = {
        **{op: op for op in ("add", "mul", "div")},
        "max": "larger",
        "min": "smaller",
    }
    _functions: ClassVar[Mapping[str, str]] = {
        "abs": "absolute",
        "neg": "negative",
        "sqrt": "root",
        "root": "root",
        "log": "log",
        "log1p": "log1p",
    }

    def __init__(self, variables: Set[str], need: Requirements | None = None) -> None:
        super().__init__(need=need)
        self._variables = variables
        self._float = Float64Printer(need=self.need)
        self.need("wide")

    def _print(self, expr: Value) -> tuple[str, int]:
        return self._wide(expr), ATOM

    def _wide(self, expr: Value) -> str:
        if not self._variables & {*names(expr)}:
            return f"wide.of({self._float(expr)})"
        match expr:
            case Ref(name=name):
                return name
            case Apply(op=op, args=args) if op in self._arithmetic:
                text = self(args[0])
                for arg in args[1:]:
                    text = f"wide.{self._arithmetic[op]}({text}, {self(arg)})"
                return text
            case Apply(op="pow", args=(base, exponent)):
                return f"wide.power({self(base)}, {self._narrow(exponent)})"
            case Apply(op=op, args=(arg,)) if op in self._functions:
                return f"wide.{self._functions[op]}({self(arg)})"
            case Apply(op=op, args=args):
                return f"wide.of({self.call(op, [self._narrow(arg) for arg in args])})"
            case Select(subject=subject, value=value, then=then, otherwise=otherwise):
                test = f"wide.equals({self(subject)}, {self._float(Const(value))})"
                return f"({self(then)} if {test} else {self(otherwise)})"
        raise NotImplementedError(f"WidePrinter: {type(expr).__name__}")

    def _narrow(self, expr: Expr) -> str:
        """An expression as a float."""
        if not self._variables & {*names(expr)}:
            return self._float(expr)
        return f"wide.narrow({self(expr)})"
