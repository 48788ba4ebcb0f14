"""A declared minimization problem becomes functions.

In: a declaration.  Out: a :class:`Landscape`.
"""

from __future__ import annotations

import dataclasses

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.memory import remembered
from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.derive.problems.loss import loss, prepared
from hamilforge.gen.program.cut import MOMENTS, Cut
from hamilforge.gen.program.problems.problem import Draw, Landscape
from hamilforge.gen.program.spelling import spelling


@remembered
def build_problem(problem: kinds.MinimizationProblem) -> Landscape:
    """The functions of a problem.

    Raises:
        DeclarationError: the loss has no derivative.
    """
    own = [
        *dict(problem.variables),
        *dict(problem.sizes),
        *(parameter.name for parameter in problem.parameters),
        *(datum.name for datum in problem.data),
    ]
    names = spelling(own)
    once, repeated = prepared(problem, names), loss(problem, names)
    cut = Cut(repeated.lines)
    results = {"loss": repeated.value}
    slopes = {f"by.{name}": array for name, array in repeated.derivatives.items()}
    return Landscape(
        name=problem.head.name,
        variables=tuple(Array(names[name], shape) for name, shape in problem.variables),
        dimensions=tuple(names[name] for name, _ in problem.sizes),
        parameters=tuple(
            dataclasses.replace(parameter, name=names[parameter.name])
            for parameter in problem.parameters
        ),
        declared={spelled: name for name, spelled in names.items()},
        indices=once.indices,
        draws=tuple(
            Draw(Array(names[datum.name], datum.shape), datum.draw, datum.seed)
            for datum in problem.data
            if datum.value is None
        ),
        prepare=Cut(once.lines).function("prepare", once.results, free=MOMENTS),
        loss=cut.function("loss", results, free=MOMENTS),
        gradient=cut.function("gradient", {**results, **slopes}, free=MOMENTS),
    )
