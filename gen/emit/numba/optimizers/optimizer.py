"""numba kernels: what the template shows, as finished text.

In: a derivation and its report.  Out: a view of names and texts; the template holds structure only.
Array arithmetic is in the arrays' own precision, sums and what follows from them in float64.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import ClassVar

from hamilforge.gen.emit.numba.printer import VECTORISED, Float64Printer, NumbaPrinter, WidePrinter
from hamilforge.gen.emit.printer import FormulaPrinter, spelled, words
from hamilforge.gen.emit.products.optimizer import Product
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.program.ir import (
    Function,
    Line,
    Reduce,
    names,
    renamed,
    squared_in,
    with_names,
)
from hamilforge.gen.program.optimizers.draws import draws
from hamilforge.gen.program.optimizers.factors import power_of, with_powers
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.program.optimizers.preparation import NAMES as PREPARED_NAMES
from hamilforge.gen.program.optimizers.preparation import prepared
from hamilforge.gen.program.optimizers.ranges import within_range
from hamilforge.gen.program.passes import Pass, schedule

TEMPLATE = "numba/optimizers/optimizer.py.jinja"


class _ArrayPrinter(NumbaPrinter):
    """Entries of arrays in the arrays' own precision.

    Attributes:
        casts: whether a constant was printed, in that precision.
    """

    quotients = False
    casts = False
    functions: ClassVar[Mapping[str, str]] = {**NumbaPrinter.functions, **VECTORISED}

    def number(self, value: Fraction) -> str:
        return self._cast(super().number(value))

    def constant(self, op: str) -> str:
        return self._cast(super().constant(op))

    def _cast(self, text: str) -> str:
        self.casts = True
        return f"real({text})"


@dataclass(frozen=True, slots=True)
class LoopView:
    """A function over a chunk: it stores arrays, or it returns a sum.

    Attributes:
        arrays, scalars: its arguments, in this order.
        body: the lines of the loop.
        total: the summand; empty for a loop that stores.
        casts: whether its lines have constants in the arrays' precision.
        squares: whether the sum is of squares, whose entries are scaled where it needs that.
        first: whether the sum is taken before anything is stored.
    """

    name: str
    formulas: tuple[str, ...]
    arrays: tuple[str, ...]
    scalars: tuple[str, ...]
    body: tuple[str, ...]
    total: str
    casts: bool
    squares: bool = False
    first: bool = False

    @property
    def parameters(self) -> str:
        """The parameter list."""
        return ", ".join((*self.arrays, *self.scalars))

    @property
    def arguments(self) -> str:
        """The argument list of the call."""
        return ", ".join((*self.arrays, *(f"real({name})" for name in self.scalars)))


@dataclass(frozen=True, slots=True)
class WideView:
    """The factors that follow from sums, where one is no normal number of the type.

    Attributes:
        sums: the sums of squares, with their exponents, and the columns of these in the totals.
        factors: each with its power of two.
        parameters: of the function: sums, exponents, scalars.
        body: its lines, in numbers of any range.
    """

    name: str
    sums: tuple[tuple[str, str, int], ...]
    factors: tuple[tuple[str, str], ...]
    parameters: str
    body: tuple[str, ...]

    @property
    def results(self) -> str:
        """What the function returns."""
        return ", ".join(name for pair in self.factors for name in pair)

    @property
    def beyond(self) -> str:
        """Whether a sum left its range, or a factor."""
        sums = (f"not wide.is_plain({total}, {exponent})" for total, exponent, _ in self.sums)
        factors = (f"not wide.is_normal({factor}, like.itemsize)" for factor, _ in self.factors)
        return " or ".join((*sums, *factors))


@dataclass(frozen=True, slots=True)
class PassView:
    """One sweep over the chunks.

    Attributes:
        arrays: with their positions in the address table.
        noises: arrays of normal numbers, with the occurrence and what multiplies each.
        row: the scalars read from the row of the chunk's group, with their positions.
        totals: whether totals of earlier passes are read.
        prelude: the lines in front of the loops: totals, and what follows from them.
        wide: the same in numbers of any range.
        store: the loop that stores, if any.
        sums: the loops that return sums, with their columns.
    """

    arrays: tuple[tuple[str, int], ...]
    noises: tuple[tuple[str, int, str], ...]
    row: tuple[tuple[str, int], ...]
    totals: bool
    prelude: tuple[str, ...]
    wide: WideView | None
    store: LoopView | None
    sums: tuple[tuple[int, LoopView], ...]


@dataclass(frozen=True, slots=True)
class FunctionView:
    """A function with its driver."""

    name: str
    passes: tuple[PassView, ...]
    sum_count: int
    draws: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """All that the template shows."""

    product: Product
    functions: tuple[FunctionView, ...]
    stages: str
    sums: int
    imports: tuple[tuple[str, str, str], ...]


def view(product: Product) -> View:
    """The view of a product's kernels."""
    program = product.derivation.program
    need = Requirements()
    views: tuple[FunctionView, ...] = ()
    if program.start:
        views += (_function(_named(program.start), need),)
    views += tuple(_stage(program, stage, need) for stage in program.functions)
    if program.shifted:
        views += (_function(_named(program.solution), need),)
    stages = ", ".join(program.functions[index].name for index in program.calls) + ","
    sums = max((one.sum_count for one in views), default=0)
    if sums:
        need("wide")
    return View(product, views, stages, sums, need.modules())


#: Arrays that every optimizer has; the other names of a function are spelled beside the template's.
_FIXED = ("x", "x_new", "g")


def _named(function: Function) -> Function:
    """A function within range, whose names are none of the template's or of the preparation's."""
    function = within_range(function)
    taken = words(TEMPLATE, *PREPARED_NAMES) | NumbaPrinter.names(
        line.value for line in function.lines
    )
    own = (name for name in function.names if name not in _FIXED)
    return renamed(function, spelled(own, taken))


def _stage(program: Program, stage: Function, need: Requirements) -> FunctionView:
    """The function of a stage, after its preparation, with what it draws."""
    named = _named(stage)
    called = {old.name: new.name for old, new in zip(stage.inputs, named.inputs, strict=True)}
    drawn = {
        called[draw.name]: (draw.occurrence, called.get(draw.amplitude, "1.0"))
        for draw in draws(program, stage)
    }
    if drawn:
        need("normal_numbers")
    return _function(prepared(named), need, drawn)


def _function(
    function: Function,
    need: Requirements,
    drawn: Mapping[str, tuple[int, str]] = MappingProxyType({}),
) -> FunctionView:
    before: list[Line] = []
    columns: list[str] = []
    views = []
    passes = schedule(with_powers(function))
    for number, sweep in enumerate(passes, start=1):
        name = f"_{function.name}" + (f"_{number}" if len(passes) > 1 else "")
        views.append(_pass(function, sweep, name, before, columns, need, drawn))
        before += [*sweep.sums, *sweep.scalars]
        columns += [name for line in sweep.sums for name in (line.name, _exponent(line))]
    return FunctionView(function.name, tuple(views), len(columns), bool(drawn))


def _pass(
    function: Function,
    sweep: Pass,
    name: str,
    before: list[Line],
    columns: list[str],
    need: Requirements,
    drawn: Mapping[str, tuple[int, str]],
) -> PassView:
    known = [line.name for line in before]
    loops = _Loops(function, sweep, {*known, *map(power_of, known)}, need)
    store = loops.storing(name) if sweep.stores else None
    sums = tuple(
        (len(columns) + 2 * index, loops.summing(f"{name}_{line.name}", line))
        for index, line in enumerate(sweep.sums)
    )
    views = [*([store] if store else []), *(view for _, view in sums)]
    wanted = {name for view in views for name in view.scalars}
    needed = _needed(before, wanted)
    factors = [line.name for line in needed if power_of(line.name) in wanted]
    wanted |= {part for line in needed for part in names(line.value)}
    scalar = Float64Printer(need=need)
    prelude = (
        *(
            f"{line.name} = totals[domain, {columns.index(line.name)}]"
            if isinstance(line.value, Reduce)
            else f"{line.name} = {scalar(line.value)}"
            for line in needed
        ),
        *(f"{power_of(factor)} = 1.0" for factor in factors),
    )
    used = {array for view in views for array in view.arrays}
    noises = tuple((array, *draw) for array, draw in drawn.items() if array in used)
    wanted |= {amplitude for *_, amplitude in noises}
    places = enumerate(function.scalars)
    stored = (array for array in function.arrays if array not in drawn)
    return PassView(
        tuple((array, at) for at, array in enumerate(stored) if array in used),
        noises,
        tuple((scalar, at) for at, scalar in places if scalar in wanted),
        any(isinstance(line.value, Reduce) for line in needed),
        prelude,
        _wide(name, needed, columns, factors, need) if factors else None,
        store,
        sums,
    )


def _exponent(line: Line) -> str:
    """What the exponent of a sum is called; no declared name has two underscores in a row."""
    return f"{line.name}__exponent"


def _wide(
    name: str,
    needed: list[Line],
    columns: list[str],
    factors: list[str],
    need: Requirements,
) -> WideView:
    """The factors that a pass needs of earlier ones, in numbers of any range."""
    sums = [line for line in needed if isinstance(line.value, Reduce)]
    scalars = [line for line in needed if not isinstance(line.value, Reduce)]
    own = {line.name for line in needed}
    squares = [line for line in sums if squared_in(line.value)]
    exponents = {line.name: _exponent(line) for line in squares}
    read = dict.fromkeys(part for line in scalars for part in names(line.value))
    parameters = (
        *(line.name for line in sums),
        *exponents.values(),
        *(part for part in read if part not in own),
    )
    printer = WidePrinter(own, need)
    body = (
        *(f"{total} = wide.of({total}, {exponent})" for total, exponent in exponents.items()),
        *(f"{x.name} = wide.of({x.name})" for x in sums if x not in squares),
        *(f"{line.name} = {printer(line.value)}" for line in scalars),
    )
    return WideView(
        f"{name}_wide",
        tuple((total, exponent, columns.index(total) + 1) for total, exponent in exponents.items()),
        tuple((factor, power_of(factor)) for factor in factors),
        ", ".join(parameters),
        body,
    )


class _Loops:
    """The loops of a pass."""

    def __init__(self, function: Function, one: Pass, known: set[str], need: Requirements) -> None:
        self._function, self._pass, self._need = function, one, need
        self._scalars = (*function.scalars, *sorted(known))
        self._entries = {array: f"{array}[i]" for array in function.arrays}

    def storing(self, name: str) -> LoopView:
        """The loop that computes what the pass stores."""
        lines = self._lines([local for _, local in self._pass.stores])
        stores = [line for stored in self._pass.stores for line in self._store(*stored)]
        return self._view(name, lines, [array for array, _ in self._pass.stores], stores, "")

    def _store(self, array: str, local: str) -> tuple[str, ...]:
        """The lines that store an entry; none are run where scalars say that it is as it was.

        An array that is neither changed nor needed is then not read either: compilers take a
        condition on scalars out of the loop.
        """
        store = f"{array}[i] = {local}"
        left_alone = self._pass.left_alone(array)
        if left_alone is None:
            return (store,)
        choice, first = left_alone
        printer = _ArrayPrinter(self._entries, self._need)
        condition = printer.opposite(choice) if first else printer.test(choice)
        return f"if {condition}:", f"    {store}"

    def summing(self, name: str, line: Line) -> LoopView:
        """The loop that sums; it reads what was stored and computes again what was not.

        Where that needs an array as it was before the pass stored a new one, it comes first.
        """
        assert isinstance(line.value, Reduce)
        stored = {local: array for array, local in self._pass.stores}
        parts = names(line.value.arg)
        lines = self._lines([part for part in parts if part not in stored], stored)
        old = {name for line in lines for name in names(line.value)} | {*parts}
        first = not old.isdisjoint(stored.values())
        if first:
            stored = {}
            lines = self._lines(parts)
        reads = [stored.get(part, part) for part in parts]
        lines = [replace(line, value=with_names(line.value, stored)) for line in lines]
        arrays = [name for name in reads if name in self._function.arrays]
        squares = squared_in(line.value) is not None
        scale = "scale * " if squares else ""
        wide = [f"{part}_wide = {scale}np.float64({self._read(part, stored)})" for part in parts]
        total = Float64Printer({part: f"{part}_wide" for part in parts}, self._need)(line.value.arg)
        view = self._view(name, lines, [*arrays, *parts], wide, total)
        return replace(view, squares=squares, first=first)

    def _read(self, part: str, stored: Mapping[str, str]) -> str:
        array = stored.get(part, part)
        return f"{array}[i]" if array in self._function.arrays else array

    def _lines(self, wanted: Iterable[str], stored: Container[str] = ()) -> list[Line]:
        """The lines that the wanted locals need, in order; but for those that are stored."""
        need = set(wanted)
        lines = [line for line in self._pass.body if line.name not in stored]
        for line in reversed(lines):
            if line.name in need:
                need |= set(names(line.value))
        return [line for line in lines if line.name in need]

    def _view(
        self, name: str, lines: list[Line], read: list[str], after: list[str], total: str
    ) -> LoopView:
        used = {part for line in lines for part in names(line.value)} | set(read)
        printer = _ArrayPrinter(self._entries, self._need)
        body = [f"{line.name} = {printer(line.value)}" for line in lines]
        plain = FormulaPrinter()
        return LoopView(
            name,
            tuple(f"{line.name} = {plain(line.value)}" for line in lines),
            tuple(array for array in self._function.arrays if array in used),
            tuple(scalar for scalar in self._scalars if scalar in used),
            (*body, *after),
            total,
            printer.casts,
        )


def _needed(before: list[Line], wanted: set[str]) -> list[Line]:
    """The scalar lines, of those before, that the wanted names need."""
    need = set(wanted)
    for line in reversed(before):
        if line.name in need and not isinstance(line.value, Reduce):
            need |= set(names(line.value))
    return [line for line in before if line.name in need]
