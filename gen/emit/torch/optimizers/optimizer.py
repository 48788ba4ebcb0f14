"""torch: the functional form and the optimizer class, as finished text.

In: a derivation and its report.  Out: a view of names and texts; the template holds structure only.
A function works on lists of tensors, one expression per line, so that it reads like the formulas.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace

from hamilforge.gen.emit.printer import ATOM, spelled, words
from hamilforge.gen.emit.products.optimizer import Product
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.text import escaped, number, wrapped
from hamilforge.gen.emit.torch.printer import RUNTIME, SUMS, Imports, TensorPrinter
from hamilforge.gen.program.ir import Function, Reduce, Value, names, renamed, squared_in
from hamilforge.gen.program.optimizers.preparation import PREPARATION
from hamilforge.gen.program.optimizers.ranges import within_range

TEMPLATE = "torch/optimizers/optimizer.py.jinja"


class EntryPrinter(TensorPrinter):
    """Entries of tensors, of which some lines choose by a scalar of the host.

    Args:
        rename: what a name is printed as, where it is not itself.
        need: notes what the texts use.
        scalars: the names of the scalars.
    """

    def __init__(
        self, rename: Mapping[str, str], need: Requirements, scalars: Container[str]
    ) -> None:
        super().__init__(rename, need)
        self._scalars = scalars

    def _select(self, subject: str, value: str, then: str, otherwise: str) -> tuple[str, int]:
        """A choice by a number; a tensor keeps its graph."""
        if subject not in self._scalars:
            return super()._select(subject, value, then, otherwise)
        test = f"{self.need('is_number')}({subject}, {value})"
        return f"({then} if {test} else {otherwise})", ATOM


class ScalarPrinter(TensorPrinter):
    """Scalars after sums, which may be wide: functions of the runtime take the nearest float."""

    def call(self, op: str, args: list[str]) -> str:
        """A function call."""
        if self.functions.get(op) in RUNTIME:
            args = [f"{self.need('narrow')}({arg})" for arg in args]
        return super().call(op, args)


@dataclass(frozen=True, slots=True)
class LineView:
    """One line: a list of tensors or a scalar after sums."""

    target: str
    text: str


@dataclass(frozen=True, slots=True)
class FunctionView:
    """A function on lists of tensors."""

    name: str
    parameters: str
    lines: tuple[LineView, ...]
    returns: str


@dataclass(frozen=True, slots=True)
class ArgumentView:
    """A hyper-parameter of the class."""

    name: str
    default: str
    domain: str
    doc: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class View:
    """All that the template shows."""

    product: Product
    functions: tuple[FunctionView, ...]
    stages: str
    arguments: tuple[ArgumentView, ...]
    imports: Imports


def view(product: Product) -> View:
    """The view of a product's torch file."""
    program = product.program
    need = Requirements()
    views = tuple(_stage(function, need) for function in (PREPARATION, *program.functions))
    views += (_function(program.solution, need),) if program.shifted else ()
    if product.uses_math:
        need("math")
    stages = ", ".join(program.functions[index].name for index in program.stages)
    arguments = tuple(
        ArgumentView(
            entry.name, number(entry.default), entry.domain, tuple(wrapped(escaped(entry.doc)))
        )
        for entry in program.hyperparameters
    )
    return View(product, views, stages + ",", arguments, Imports.of(need))


def _plurals(function: Function) -> dict[str, str]:
    """What the lists of a function's arrays are called: no word of Python, no function."""
    taken = {"zip", *words(*SUMS), *TensorPrinter.names(line.value for line in function.lines)}
    plurals: dict[str, str] = {}
    arrays = (array for array in (*function.inputs, *function.targets) if not array.is_scalar)
    for array in arrays:
        stem = array.name.removesuffix("_new")
        plural = f"new_{stem}s" if stem != array.name else f"{stem}s"
        while plural in taken:
            plural += "_"
        taken.add(plural)
        plurals[array.name] = plural
    return plurals


def _spelled(function: Function) -> Function:
    """A function whose names are none of the template's, and whose scalars are no array's."""
    taken = words(TEMPLATE, *SUMS) | TensorPrinter.names(line.value for line in function.lines)
    arrays = [name for name in _plurals(function) if name not in ("x", "x_new", "g")]
    function = renamed(function, spelled(arrays, taken))
    plural = _plurals(function)
    scalars = (*function.scalars, *(x.name for x in function.targets if x.is_scalar))
    return renamed(function, spelled(scalars, taken | {*plural, *plural.values(), "zip"}))


def _function(function: Function, need: Requirements) -> FunctionView:
    function = _spelled(within_range(function))
    plural = _plurals(function)
    factors = _factors(function)
    lines: list[LineView] = []
    for line in function.lines:
        if not line.target.is_scalar:
            used = _tensors(line.value, plural)
            text = _over(EntryPrinter(factors, need, function.scalars)(line.value), used, plural)
            lines.append(LineView(plural[line.name], f"[{text}]"))
            continue
        text = _scalar(line.value, plural, need)
        name = factors.get(line.name, "")
        if name == line.name:
            text = f"{need('factor')}({text}, {plural[function.arrays[0]]})"
        lines.append(LineView(line.name, text))
        if name and name != line.name:
            text = f"{need('factor')}({line.name}, {plural[function.arrays[0]]})"
            lines.append(LineView(name, text))
    results = {key: array.name for key, array in function.results}
    returns = ", ".join(plural[results[array]] for array in function.arrays if array in results)
    parameters = ", ".join((*(plural[array] for array in function.arrays), *function.scalars))
    return FunctionView(function.name, parameters, tuple(lines), returns)


def _stage(function: Function, need: Requirements) -> FunctionView:
    """A function that returns a tuple of lists, also of one: point and states."""
    view = _function(function, need)
    return view if len(function.results) > 1 else replace(view, returns=f"({view.returns},)")


def _scalar(value: Value, plural: Mapping[str, str], need: Requirements) -> str:
    """A sum over tensors, or what follows from sums."""
    if (squared := squared_in(value)) is not None:
        return f"{need('squares_over')}({plural[squared]})"
    if isinstance(value, Reduce):
        used = _tensors(value.arg, plural)
        text = TensorPrinter({name: f"{name}.double()" for name in used}, need)(value.arg)
        return f"{need('sum_over')}({_over(text, used, plural)})"
    return ScalarPrinter(need=need)(value)


def _factors(function: Function) -> dict[str, str]:
    """Scalars that multiply tensors, and what they are called there.

    It is their own name where no other scalar follows from them; no declared name has ``__``.
    """
    read_by: dict[bool, set[str]] = {True: set(), False: set()}
    for line in function.lines:
        read_by[line.target.is_scalar] |= {*names(line.value)}
    factors = (array.name for array in function.targets if array.is_scalar)
    return {
        name: f"{name}__factor" if name in read_by[True] else name
        for name in factors
        if name in read_by[False]
    }


def _tensors(value: Value, plural: Mapping[str, str]) -> list[str]:
    return [name for name in names(value) if name in plural]


def _over(text: str, used: list[str], plural: Mapping[str, str]) -> str:
    if len(used) == 1:
        return f"{text} for {used[0]} in {plural[used[0]]}"
    lists = ", ".join(plural[name] for name in used)
    return f"{text} for {', '.join(used)} in zip({lists})"
