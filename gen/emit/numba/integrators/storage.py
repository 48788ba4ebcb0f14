"""Where a step keeps its numbers: in arrays, or each in a variable of its own.

Arrays are entered by loops and may overlap, for all a compiler knows: it reads and writes them
again and again.  Numbers with names of their own stay in registers, so small problems have them.
The lines of a step are written once, for either: an entry of an array is :meth:`entry`, a line for
each component :meth:`each`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from hamilforge.gen.emit.text import tuple_text
from hamilforge.gen.program.integrators.integrator import Flows, Integrator
from hamilforge.gen.program.stages import Stages

#: Writes what is done with a component of that number, in one line or several.
Line = Callable[[str], str | Iterable[str]]
#: A term of a sum for each component from the first number to the second.
Term = tuple[int, int, Callable[[str], str]]
#: How many numbers a step may have at once for each to be a variable. Beyond, steps become no
#: quicker, and what takes loops a second to compile takes lines several.
_MOST_NAMES = 64


@dataclass(frozen=True, slots=True)
class Storage:
    """Where numbers are.

    Attributes:
        size: how many components there are.
        named: whether each number is a variable, called by its array and its place in it; else
            arrays have them.
    """

    size: int
    named: bool

    def entry(self, array: str, *place: str) -> str:
        """The text of an entry of an array."""
        return "_".join((array, *place)) if self.named else _entry(array, *place)

    def whole(self, array: str, *place: str) -> str:
        """The text of what functions of the state are given: an array, or a row of one."""
        if self.named:
            return tuple_text(self._row(self.entry, array, *place))
        return _entry(array, *place) if place else array

    def each(self, start: int, stop: int, line: Line) -> list[str]:
        """Lines for some components.

        Args:
            start: the first of them.
            stop: the first that is none of them.
            line: what is done with one.

        Returns:
            A loop, or the lines of one component after the other.
        """
        if self.named:
            return [text for i in range(start, stop) for text in _lines(line(str(i)))]
        return [f"for i in range({start}, {stop}):", *(f"    {text}" for text in _lines(line("i")))]

    def total(self, name: str, terms: Iterable[Term]) -> list[str]:
        """Lines that sum terms of components.

        Args:
            name: of the sum.
            terms: what is summed.

        Returns:
            Loops, or one line.
        """
        if self.named:
            every = (term(str(i)) for start, stop, term in terms for i in range(start, stop))
            return [f"{name} = {' + '.join(every)}"]
        lines = [f"{name} = 0.0"]
        for start, stop, term in terms:

            def line(i: str, term: Callable[[str], str] = term) -> str:
                return f"{name} += {term(i)}"

            lines += self.each(start, stop, line)
        return lines

    def loaded(self, rows: Iterable[tuple[str, ...]]) -> list[str]:
        """Lines that take rows from arrays to where the numbers are."""
        return [f"{names} = {entries}" for names, entries in self._both(rows)]

    def stored(self, rows: Iterable[tuple[str, ...]]) -> list[str]:
        """Lines that take rows to arrays."""
        return [f"{entries} = {names}" for names, entries in self._both(rows)]

    def _both(self, rows: Iterable[tuple[str, ...]]) -> Iterator[tuple[str, str]]:
        for row in rows if self.named else ():
            yield ", ".join(self._row(self.entry, *row)), ", ".join(self._row(_entry, *row))

    def _row(self, text: Callable[..., str], *row: str) -> list[str]:
        return [text(*row, str(i)) for i in range(self.size)]


def storage_of(integrator: Integrator) -> Storage:
    """Where the step of an integrator keeps its numbers.

    Steps that follow tolerances have theirs in arrays, where estimates and curves find them, and so
    have sites of lattices, stages of several parts, and stages of which the first is the last of
    the step before.

    Args:
        integrator: a problem with a method.

    Returns:
        The storage.
    """
    problem, step = integrator.problem, integrator.step
    match step:
        case Flows():  # the state with its low parts, a slope and a change
            numbers = 4 * problem.size
        case Stages(error=None, reuse=False) if len(problem.parts) == 1:
            # the state, and for each stage the increment and, where it is solved for, the base, the
            # value and the next increment
            implicit = any(block.implicit for block in step.blocks)
            numbers = (2 + (4 * step.count if implicit else step.count + 1)) * problem.size
        case _:
            return Storage(problem.size, False)
    return Storage(problem.size, not problem.lattice and numbers <= _MOST_NAMES)


def _entry(array: str, *place: str) -> str:
    return f"{array}[{', '.join(place)}]"


def _lines(text: str | Iterable[str]) -> Iterable[str]:
    return (text,) if isinstance(text, str) else text
