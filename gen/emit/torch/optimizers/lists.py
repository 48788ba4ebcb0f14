"""torch: what both forms of a stage share, which work on lists of tensors.

In: a function over entries of arrays.  Out: what its lists and scalars are called, and the text of
its scalar lines.  A list is a plural: the entries ``v`` of the tensors in ``vs``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from hamilforge.gen.emit.printer import ATOM, spelled, words
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.torch.printer import RUNTIME, SUMS, TensorPrinter
from hamilforge.gen.program.ir import (
    Apply,
    Expr,
    Function,
    Line,
    Ref,
    Select,
    Value,
    names,
    renamed,
    walk,
)

TEMPLATE = "torch/optimizers/optimizer.py.jinja"


class EntryPrinter(TensorPrinter):
    """Entries of tensors, of which some lines choose by a scalar; what they choose has entries.

    Args:
        rename: what a name is printed as, where it is not itself.
        need: notes what the texts use.
        scalars: the names of the scalars.
        arrays: those of arrays.
    """

    functions: ClassVar[Mapping[str, str]] = {
        **TensorPrinter.functions,
        "zeros_like": "torch.zeros_like",
    }

    def __init__(
        self,
        rename: Mapping[str, str],
        need: Requirements,
        scalars: Container[str],
        arrays: Container[str],
    ) -> None:
        super().__init__(rename, need)
        self._scalars, self._arrays = scalars, arrays

    def _print(self, expr: Value) -> tuple[str, int]:
        if isinstance(expr, Select) and not self._reads(expr.subject):
            read = self._reads(expr)  # of the branch that is not taken nothing is computed
            then, otherwise = (
                Apply("add", (branch, Apply("zeros_like", (Ref(read[0]),))))
                if read and not self._reads(branch)
                else branch
                for branch in (expr.then, expr.otherwise)
            )
            expr = replace(expr, then=then, otherwise=otherwise)
        return super()._print(expr)

    def _reads(self, expr: Expr) -> list[str]:
        return [name for name in names(expr) if name in self._arrays]

    def _select(self, choice: Select) -> tuple[str, int]:
        """A choice by a number; a tensor keeps its graph."""
        subject = self(choice.subject)
        if subject not in self._scalars:
            return super()._select(choice)
        test = f"{self.need('is_number')}({subject}, {self.number(choice.value)})"
        return f"({self(choice.then)} if {test} else {self(choice.otherwise)})", ATOM


class ScalarPrinter(TensorPrinter):
    """Scalars after sums, which may be wide; most functions take the nearest float of them."""

    functions: ClassVar[Mapping[str, str]] = {
        **TensorPrinter.functions,
        "max": "larger_of",
        "min": "smaller_of",
    }

    def call(self, op: str, args: list[str]) -> str:
        """A function call."""
        if self.functions.get(op) in RUNTIME:
            args = [f"{self.need('narrow')}({arg})" for arg in args]
        return super().call(op, args)


def within_names(function: Function) -> Function:
    """A function whose names are none of the template's, and whose scalars are no array's."""
    taken = words(TEMPLATE, *SUMS) | TensorPrinter.names(line.value for line in function.lines)
    arrays = [name for name in plurals(function) if name not in ("x", "x_new", "g")]
    function = renamed(function, spelled(arrays, taken))
    plural = plurals(function)
    scalars = (*function.scalars, *(x.name for x in function.targets if x.is_scalar))
    return renamed(function, spelled(scalars, taken | {*plural, *plural.values(), "zip"}))


def plurals(function: Function) -> dict[str, str]:
    """What the lists of a function's arrays are called: no word of Python, no function."""
    taken = {"zip", *words(*SUMS), *TensorPrinter.names(line.value for line in function.lines)}
    plural: dict[str, str] = {}
    arrays = (array for array in (*function.inputs, *function.targets) if not array.is_scalar)
    for array in arrays:
        stem = array.name.removesuffix("_new")
        name = f"new_{stem}s" if stem != array.name else f"{stem}s"
        while name in taken:
            name += "_"
        taken.add(name)
        plural[array.name] = name
    return plural


def over(text: str, used: Sequence[str], lists: Mapping[str, str]) -> str:
    """A comprehension without its brackets.

    Args:
        text: of what is computed from the entries of one tensor.
        used: the arrays that it reads.
        lists: what the list of each is called.

    Returns:
        The text for the entries of each tensor.
    """
    if len(used) == 1:
        return f"{text} for {used[0]} in {lists[used[0]]}"
    together = ", ".join(lists[name] for name in used)
    return f"{text} for {', '.join(used)} in zip({together})"


@dataclass(frozen=True, slots=True)
class Taken:
    """A scalar after sums as the lines of arrays take it.

    Attributes:
        name: the variable; no declared name has ``__``.
        how: ``factor`` where it only multiplies, in two steps where it leaves the range of the
            tensors; else ``narrow``, the nearest float.
    """

    name: str
    how: str


def taken_scalars(function: Function) -> dict[str, Taken]:
    """How the lines of arrays take each scalar after sums that they read.

    The variable is the scalar's own where no other scalar follows from it.
    """
    read_by: dict[bool, set[str]] = {True: set(), False: set()}
    added: set[str] = set()
    for line in function.lines:
        read_by[line.target.is_scalar] |= {*names(line.value)}
        if not line.target.is_scalar:
            added |= _not_multiplied(line.expr)
    scalars = (array.name for array in function.targets if array.is_scalar)
    taken = {}
    for name in scalars:
        if name in read_by[False]:
            how = "narrow" if name in added else "factor"
            taken[name] = Taken(f"{name}__{how}" if name in read_by[True] else name, how)
    return taken


def _not_multiplied(expr: Expr) -> set[str]:
    """The names that occur elsewhere than as a factor of a product."""
    everywhere = Counter(part.name for part in walk(expr) if isinstance(part, Ref))
    products = (part for part in walk(expr) if isinstance(part, Apply) and part.op == "mul")
    factors = Counter(
        arg.name for product in products for arg in product.args if isinstance(arg, Ref)
    )
    return {*(everywhere - factors)}


def scalar_lines(
    line: Line, text: str | None, taken: Mapping[str, Taken], tensors: str, need: Requirements
) -> list[tuple[str, str]]:
    """Variables and texts of a scalar after sums, also as the lines of arrays take it.

    Args:
        line: sets the scalar.
        text: of a sum; None for what follows from sums.
        taken: how the lines of arrays take scalars.
        tensors: the list whose types say what is in range.
        need: notes what the texts use.

    Returns:
        Pairs of a variable and its text.
    """
    text = ScalarPrinter(need=need)(line.value) if text is None else text
    if line.name not in taken:
        return [(line.name, text)]
    variable, how = taken[line.name].name, taken[line.name].how

    def as_taken(value: str) -> str:
        more = f", {tensors}" if how == "factor" else ""
        return f"{need(how)}({value}{more})"

    if variable == line.name:
        return [(variable, as_taken(text))]
    return [(line.name, text), (variable, as_taken(line.name))]


def with_entries(used: list[str], text: str, function: Function) -> tuple[list[str], str]:
    """What is computed from the entries of arrays; of none, the same number for all entries.

    Args:
        used: the arrays that a text reads.
        text: of what is computed from the entries of one tensor.
        function: where it stands.

    Returns:
        The arrays and the text; some array, and a text in its shape, where none was read.
    """
    if used:
        return used, text
    like = function.arrays[0]
    if text.replace(".", "").isdigit():
        return [like], f"torch.full_like({like}, {text})"
    number = text if text.isidentifier() else f"({text})"
    return [like], f"torch.zeros_like({like}) + {number}"  # which may be a tensor with a graph


def used_arrays(value: Value, lists: Mapping[str, str]) -> list[str]:
    """The arrays that a value reads."""
    return [name for name in names(value) if name in lists]
