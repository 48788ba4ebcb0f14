"""Functions of lattices in numba: loops over the sites, sums first.

In: a function of arrays with an entry for each site, of a problem with sites.  Out: its finished
lines, with loops; or, for what Python calls on many states at once, whole arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from hamilforge.gen.emit.numba.printer import NumbaPrinter, WholePrinter
from hamilforge.gen.emit.printer import spelled
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.program.integrators.integrator import Band, Lattice, Problem, stencil
from hamilforge.gen.program.ir import Expr, Function, Line, Reduce, names

#: The number of a site.
SITE = "i"
#: Of a result, by its number: where it is stored.
Store = Callable[[int], str]


class SiteWriter:
    """The lines of a function of a lattice.

    Args:
        problem: whose components and parameters are variables.
        function: what is written.
        arguments: of the function.
        need: notes what the texts use.
        factor: what results are multiplied by, as a text; nothing if empty.
    """

    def __init__(
        self,
        problem: Problem,
        function: Function,
        arguments: Iterable[str],
        need: Requirements,
        factor: str = "",
    ) -> None:
        assert problem.lattice is not None
        self._problem, self._function, self._factor = problem, function, factor
        self._lattice: Lattice = problem.lattice
        values = [line.expr for line in function.lines]
        taken = NumbaPrinter.names(values) | {*arguments, SITE, "range", "np"}
        taken |= {_index(stencil(array)[1]) for array in function.arrays}
        self._spelling = spelled((name for name in function.names if name != "t"), taken)
        rename = self._spelling | {self._lattice.name: str(self._lattice.count)}
        self._printer = NumbaPrinter(rename, need)
        self._results = [array.name for _, array in function.results]

    def loops(self, store: Store) -> list[str]:
        """Sums in loops, then a loop that stores results with a value at each site."""
        lines = [*self._parameters()]
        for line in self._function.lines:
            if isinstance(line.expr, Reduce):
                target = self._name(line.name)
                lines += [f"{target} = 0.0"]
                lines += self._loop([line.expr.arg], [f"{target} += {self._text(line.expr.arg)}"])
            elif line.target.is_scalar:
                lines.append(f"{self._name(line.name)} = {self._text(line.expr)}")
        rows = [line for line in self._function.lines if line.name in self._results]
        rows = [line for line in rows if not line.target.is_scalar]
        stores = [
            f"{store(self._results.index(line.name))} = {self._scaled(line.expr)}" for line in rows
        ]
        if rows:
            lines += self._loop([line.expr for line in rows], stores)
        return lines

    def entry(self, band: Band) -> str:
        """Where the entry of a band is that belongs to a site."""
        column = f"({_around(band.offset, self._lattice.count)})" if band.offset else SITE
        plus = f"{band.column} + " if band.column else ""
        return f"out[{site(band.row)}, {plus}{column}]"

    def number(self) -> list[str]:
        """The same for one result with one value, which is returned."""
        return [*self.loops(lambda _: ""), f"return {self._name(self._results[0])}"]

    def whole(self) -> list[str]:
        """One result with one value, of whole arrays: their first axis is that of the sites."""
        self._printer = WholePrinter(self._printer.rename, self._printer.need)
        lines = [*self._parameters()]
        for array in self._function.arrays:
            lines.append(f"{self._name(array)} = {self._rows(array)}")
        for line in self._function.lines:
            value = line.expr
            text = (
                f"np.sum({self._text(value.arg)}, axis=0)"
                if isinstance(value, Reduce)
                else self._text(value)
            )
            lines.append(f"{self._name(line.name)} = {text}")
        return [*lines, f"return {self._name(self._results[0])}"]

    def _rows(self, array: str) -> str:
        name, offset = stencil(array)
        count = self._lattice.count
        first = self._problem.components.index(name) * count
        text = f"state[{first} : {first + count}]"
        return f"np.roll({text}, {-offset}, axis=0)" if offset else text

    def _loop(self, values: Iterable[Expr], last: Iterable[str]) -> Iterator[str]:
        """A loop over the sites: entries that are read, locals, and what it is for."""
        needed = self._needed(values)
        inner = [line for line in needed if line.name not in self._results]
        read = {name for value in values for name in names(value)}
        read |= {name for line in inner for name in names(line.expr)}
        arrays = [array for array in self._function.arrays if array in read]
        count = self._lattice.count
        yield f"for {SITE} in range({count}):"
        for offset in dict.fromkeys(stencil(array)[1] for array in arrays):
            if offset:
                yield f"    {_index(offset)} = {_around(offset, count)}"
        for array in arrays:
            name, offset = stencil(array)
            first = self._problem.components.index(name) * count
            place = f"{first} + {_index(offset)}" if first else _index(offset)
            yield f"    {self._name(array)} = state[{place}]"
        for line in inner:
            yield f"    {self._name(line.name)} = {self._text(line.expr)}"
        for text in last:
            yield f"    {text}"

    def _needed(self, values: Iterable[Expr]) -> list[Line]:
        """The lines at sites that some values need, in order."""
        need = {name for value in values for name in names(value)}
        lines = [line for line in self._function.lines if not line.target.is_scalar]
        for line in reversed(lines):
            if line.name in need:
                need |= {*names(line.expr)}
        return [line for line in lines if line.name in need]

    def _parameters(self) -> Iterator[str]:
        used = {name for line in self._function.lines for name in names(line.expr)}
        for k, parameter in enumerate(self._problem.parameters):
            if parameter.name in used:
                yield f"{self._name(parameter.name)} = parameters[{k}]"

    def _scaled(self, value: Expr) -> str:
        text = self._printer._within(value, 3)  # noqa: SLF001  (a factor of a product)
        return f"{self._factor} * {text}" if self._factor else self._text(value)

    def _text(self, value: Expr) -> str:
        return self._printer(value)

    def _name(self, name: str) -> str:
        return self._printer.variable(name)


def _around(offset: int, count: int) -> str:
    """The site that is so much further in the ring."""
    further = offset % count
    return f"i + {further} if i < {count - further} else i - {count - further}"


def site(first: int) -> str:
    """The place of the entry of a site, of those that begin at ``first``."""
    return f"{first} + {SITE}" if first else SITE


def _index(offset: int) -> str:
    """What the number of the site that is so much further is called."""
    side = "plus" if offset > 0 else "minus"
    return f"{SITE}__{side}_{abs(offset)}" if offset else SITE
