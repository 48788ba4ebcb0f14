"""A minimization problem as a product: the text that its generated files share.

In: a :class:`Landscape`.  Out: header, docstring with loss and gradient, and tables of names,
shapes, draws and indices.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from hamilforge.gen.declare import kinds
from hamilforge.gen.emit.printer import formulas
from hamilforge.gen.emit.text import (
    alone_header,
    class_name,
    escaped,
    parameter_table,
    shape_table,
    wrapped,
)
from hamilforge.gen.program.ir import Function
from hamilforge.gen.program.problems.problem import Landscape

#: What each function of a problem computes.
DOCS = {
    "prepare": "Data, start and other points; computed once.",
    "loss": "The loss.",
    "gradient": "The loss and its derivative by each variable.",
}


@dataclass(frozen=True)
class ProblemProduct:
    """What the templates of all backends read of a problem."""

    landscape: Landscape
    problem: kinds.MinimizationProblem
    template: str = ""
    kind: ClassVar[str] = "problem"

    @property
    def name(self) -> str:
        """``<problem>__problem``."""
        return f"{self.landscape.name}__problem"

    @property
    def class_name(self) -> str:
        """The name of the module's class."""
        return class_name(self.name)

    @cached_property
    def header(self) -> str:
        """Where the file comes from."""
        return alone_header(self.problem, self.template)

    @cached_property
    def docstring(self) -> str:
        """Title, loss, data, points, the lines of the gradient, reference."""
        problem = self.problem
        lines = [*wrapped(f"{escaped(problem.head.title)}."), ""]
        lines.append(f"    loss = {escaped(problem.loss.text)}")
        for datum in problem.data:
            value = escaped(datum.value.text) if datum.value else f"drawn, {datum.draw}"
            lines.append(f"    {datum.name} = {value}")
        lines += _point("start", problem.start)
        for point in problem.minimizers:
            lines += _point("minimizer", point)
        lines += ["", "Loss and gradient, line by line:", ""]
        lines += [f"    {line}" for line in formulas(self.landscape.gradient)]
        lines += ["", *wrapped(f"Reference: {escaped(problem.head.reference)}")]
        return '"""' + "\n".join(lines) + '\n"""'

    @cached_property
    def tables(self) -> tuple[tuple[str, str], ...]:
        """What both backends say of names, shapes, sizes and what is drawn."""
        problem, landscape = self.problem, self.landscape
        spelled = {raw: name for name, raw in landscape.declared.items() if raw != name}
        indices = ", ".join(
            f'"{index.array.name}": ({index.array.shape!r}, {index.axis})'
            for index in landscape.indices
        )
        draws = ", ".join(
            f'"{draw.array.name}": ({draw.array.shape!r}, "{draw.distribution}", {draw.seed})'
            for draw in landscape.draws
        )
        return (
            ("VARIABLES", shape_table(problem.variables)),
            ("SIZES", repr(dict(problem.sizes))),
            ("DATA", shape_table((datum.name, datum.shape) for datum in problem.data)),
            ("PARAMETERS", parameter_table(problem.parameters)),
            ("SPELLED", repr(spelled)),
            ("INDICES", f"{{{indices}}}"),
            ("DRAWS", f"{{{draws}}}"),
            ("POINTS", repr(problem.places)),
            ("MINIMUM", repr(problem.minimum is not None)),
        )

    def declared(self, function: Function) -> tuple[str, ...]:
        """The keys of results, with variables of derivatives by their declared names."""
        raw = self.landscape.declared
        keys = (key.partition(".") for key, _ in function.results)
        return tuple(
            f"by.{raw[name]}" if place == "by" else place + dot + name for place, dot, name in keys
        )


def _point(name: str, point: Iterable[tuple[str, object]]) -> Iterable[str]:
    for variable, value in point:
        yield f"    {name}: {variable} = {escaped(getattr(value, 'text', ''))}"
