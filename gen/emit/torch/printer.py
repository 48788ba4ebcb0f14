"""Expressions as torch computes them, entry by entry; and what a file of them imports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hamilforge.gen.emit.printer import ATOM, HostPrinter, Printer
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.program.ir import Apply, Ref, Select, Value, names

_TORCH = (
    "acos acosh asin asinh atan atanh cos cosh erf erfc exp expm1 log log1p relu sign sin sinh "
    "sqrt tan tanh"
).split()


#: Functions that the runtime has for torch.
RUNTIME = (
    "at_least",
    "cbrt",
    "chosen",
    "down",
    "equal",
    "greater",
    "inverse",
    "larger",
    "log_cosh",
    "other_products",
    "root",
    "smaller",
    "softplus",
    "step",
)


#: Sums over tensors, and what makes a factor of tensors, or a float, of scalars after them.
SUMS = ("factor", "larger_of", "narrow", "smaller_of", "squares_over", "sum_over")


@dataclass(frozen=True, slots=True)
class Imports:
    """What a generated file calls: :mod:`math`, and functions of the runtime.

    Attributes:
        foreach: whether it calls the runtime's operations over lists.
    """

    math: bool
    functions: str
    sums: str
    foreach: bool

    @classmethod
    def of(cls, need: Requirements) -> Imports:
        """The imports of what is used."""
        functions, sums = (
            ", ".join(need.of(names)) for names in ((*RUNTIME, "is_number", "plus"), SUMS)
        )
        return cls("math" in need, functions, sums, "foreach" in need)


class TensorPrinter(Printer):
    """Entries of tensors; scalars are Python's."""

    functions: ClassVar[Mapping[str, str]] = {
        **{name: f"torch.{name}" for name in _TORCH},
        **{name: name for name in RUNTIME},
        "abs": "abs",
        "elu": "torch.nn.functional.elu",
        "leaky_relu": "torch.nn.functional.leaky_relu",
        "logistic": "torch.sigmoid",
        "max": "larger",
        "min": "smaller",
    }
    constants: ClassVar[Mapping[str, str]] = {"pi": "math.pi"}

    def _print(self, expr: Value) -> tuple[str, int]:
        if isinstance(expr, Apply) and expr.op in self.functions and not names(expr):
            return HostPrinter(need=self.need)(expr), ATOM  # torch's functions take no numbers
        return super()._print(expr)

    def _select(self, choice: Select) -> tuple[str, int]:
        """A choice entry by entry."""
        branches = f"{self(choice.then)}, {self(choice.otherwise)}"
        if isinstance(choice.subject, Ref):
            return f"torch.where({self.test(choice)}, {branches})", ATOM
        test = f"{self(choice.subject)}, {self.number(choice.value)}"
        return f"{self.need('chosen')}({test}, {branches})", ATOM
