"""Functions cut out of lines: which of them a result needs, and when each is computed.

In: the lines of a field or of an objective with their reverse.  Out: straight-line programs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hamilforge.gen.derive import arrays
from hamilforge.gen.derive.arrays import (
    Array,
    LogSumExp,
    Map,
    Outer,
    OverBatch,
    Total,
    TotalProduct,
    operands,
)
from hamilforge.gen.derive.lines import Lines
from hamilforge.gen.program.ir import Function, Line, Reduce, Ref, Repeat
from hamilforge.gen.program.lower import lower

#: When lines are computed; in an objective all at once.
MOMENTS = ("prepare", "stage", "sum", "finish")


class Cut:
    """When each line is computed.

    ``prepare``: once for each layer, from controls alone; ``stage``: at each stage; ``sum``: over
    samples, at each stage; ``finish``: from the sums over all stages.  What is made of a sum and of
    the time is made at each stage.
    """

    def __init__(
        self, lines: Lines, count: int | None = None, directions: Iterable[str] = ()
    ) -> None:
        """Args: lines; how many of them belong to one part each; arrays that are directions."""
        self._lines = lines
        self._line = {line.target.name: line for line in lines.lines}
        self.when = dict.fromkeys(("t", *directions), "stage")
        for line in lines.lines:
            self.when[line.target.name] = self._moment(line)
        late = [line for line in lines.lines[:count] if self._is(line, "finish")]
        if any(self.when.get(name) == "stage" for line in late for name in operands(line.op)):
            self.when |= {line.target.name: "sum" for line in late}

    def _moment(self, line: arrays.Line) -> str:
        read = [self._lines.arrays[name] for name in operands(line.op)]
        whens = {self.when.get(array.name, "prepare") for array in read}
        if line.target.batched:
            return "stage"
        if isinstance(line.op, Outer | OverBatch) and any(array.batched for array in read):
            return "sum"
        if whens & {"sum", "finish"}:
            return "finish"
        return "stage" if "stage" in whens or any(array.batched for array in read) else "prepare"

    def array(self, name: str) -> Array:
        """An array by its name."""
        return self._lines.arrays[name]

    def prepare(self) -> Function:
        """What depends on controls and parameters alone."""
        names = [line.target.name for line in self._lines.lines if self._is(line, "prepare")]
        return self.function("prepare", {name: name for name in names}, free=("prepare",))

    def finish(self, ends: Mapping[str, str]) -> Function:
        """The cotangents of the controls, from the sums."""
        known = {name for name, when in self.when.items() if when in ("sum", "prepare")}
        return self.function("finish", ends, known, free=("finish",))

    def sums(self, bars: Iterable[str]) -> tuple[str, ...]:
        """The sums that some cotangents are made of."""
        sums: dict[str, None] = {}
        todo = [*bars]
        while todo:
            name = todo.pop(0)
            if self.when.get(name) == "sum":
                sums[name] = None
            elif name in self._line and self.when[name] == "finish":
                todo += operands(self._line[name].op)
        return tuple(sums)

    def function(
        self,
        name: str,
        results: Mapping[str, str],
        given: Iterable[str] = (),
        free: Sequence[str] = ("stage", "sum", "finish"),
    ) -> Function:
        """The lines that results need, but for those that are given or of another time.

        Args:
            name: of the function.
            results: for each name a result is returned under, the array that it is.
            given: arrays that are not computed here.
            free: the moments of the lines that may be computed here; others are inputs.

        Returns:
            The function; its inputs are what its lines and results read and do not compute.
        """
        given = {*given}
        needed: set[str] = set()
        todo = [*results.values()]
        while todo:
            here = todo.pop()
            ours = here in self._line and here not in given and self.when[here] in free
            if here not in needed and ours:
                needed.add(here)
                todo += operands(self._line[here].op)
        chosen = [line for line in self._lines.lines if line.target.name in needed]
        inputs = dict.fromkeys(
            self._lines.arrays[operand]
            for line in chosen
            for operand in operands(line.op)
            if operand not in needed
        )
        for target in results.values():
            if target not in needed:
                inputs[self._lines.arrays[target]] = None
        return Function(
            name,
            tuple(sorted(inputs, key=self._place)),
            tuple(lower_line(line) for line in chosen),
            tuple((key, self._lines.arrays[target]) for key, target in results.items()),
        )

    def _is(self, line: arrays.Line, when: str) -> bool:
        return self.when[line.target.name] == when

    def _place(self, array: Array) -> int:
        return [*self._lines.arrays].index(array.name)


def lower_line(line: arrays.Line) -> Line:
    """A line in the IR."""
    match line.op:
        case Map(value=value):
            return Line(line.target, lower(value))
        case Total(of):
            return Line(line.target, Reduce(Ref(of)))
        case TotalProduct(of):
            return Line(line.target, Reduce(Ref(of), "prod"))
        case LogSumExp(of):
            return Line(line.target, Reduce(Ref(of), "logsumexp"))
        case OverBatch(of):
            return Line(line.target, Reduce(Ref(of), over="samples"))
        case arrays.Repeat(count, start, carried, lines, end):
            inside = tuple(map(lower_line, lines))
            return Line(line.target, Repeat(count, start, carried, inside, end))
    return Line(line.target, line.op)


def between(first: Function, *later: Function) -> tuple[Array, ...]:
    """What a function computes and later ones use."""
    used = {array for function in later for array in function.inputs}
    used |= {array for function in later for _, array in function.results}
    return tuple(line.target for line in first.lines if line.target in used)
