"""What ``show`` tells of a minimization problem: its loss, its data, and the derived gradient."""

from __future__ import annotations

from collections.abc import Iterable

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.expression import Expression
from hamilforge.gen.declare.shapes import written
from hamilforge.gen.document.blocks import Block, Facts, Formulas, Heading, Paragraph
from hamilforge.gen.document.lines import formulas
from hamilforge.gen.program.problems.build import build_problem
from hamilforge.gen.prove.report import Report


def tell_minimization(problem: kinds.MinimizationProblem, _: Report) -> tuple[Block, ...]:
    """Variables, loss, data, points, and loss with gradient line by line."""
    landscape = build_problem(problem)
    sizes = ", ".join(f"{name} = {size}" for name, size in problem.sizes)
    blocks: list[Block] = [
        Heading("The loss"),
        Facts(tuple((name, written(shape)) for name, shape in problem.variables)),
        Paragraph(problem.loss.text + (f", with {sizes} by default" if sizes else "")),
    ]
    if problem.data:
        blocks += [Heading("Its data"), Facts(tuple(map(_datum, problem.data)))]
    points = [*_told("start", problem.start)]
    for place, listed in (("minimizer", problem.minimizers), ("critical", problem.critical)):
        for point in listed:
            points += _told(place, point)
    if problem.minimum is not None:
        points.append(("minimum", problem.minimum.text))
    blocks += [
        Heading("Points"),
        Facts(tuple(points)),
        Heading("The derived gradient"),
        Paragraph("By the reverse rules, from the loss to its variables:"),
        Formulas(tuple(formulas(landscape.gradient))),
    ]
    return tuple(blocks)


def _datum(datum: kinds.Datum) -> tuple[str, str]:
    shape = written(datum.shape)
    if datum.value is not None:
        return datum.name, f"{shape}: {datum.value.text}"
    return datum.name, f"{shape}: drawn, {datum.draw}, seed {datum.seed}"


def _told(place: str, point: Iterable[tuple[str, Expression]]) -> Iterable[tuple[str, str]]:
    for variable, value in point:
        yield f"{place} {variable}", value.text
