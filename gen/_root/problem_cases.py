"""What backends of minimization problems are compared with: the interpretation at some points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.gen.declare import kinds
from hamilforge.gen.program.problems.build import build_problem
from hamilforge.gen.program.problems.interpret import ProblemInterpreter
from hamilforge.runtime.problems.verify_problem import PreparedCase, ProblemCase

#: Sizes at which problems are compared.
MOST = 20


def problem_cases(problem: kinds.MinimizationProblem) -> list[ProblemCase | PreparedCase]:
    """Data and points; the loss and its gradient at the start, beside it and each minimizer."""
    landscape = build_problem(problem)
    generator = np.random.default_rng(8)
    sizes = {name: min(size, MOST) for name, size in problem.sizes}
    machine = ProblemInterpreter(landscape, sizes)
    places = ["start", *(f"minimizers.{k}" for k in range(len(problem.minimizers)))]
    points = [("start", machine.point("start"))]
    for place in places:
        point = machine.point(place)
        beside = {n: v + 0.3 * generator.standard_normal(np.shape(v)) for n, v in point.items()}
        points.append((f"beside {place}", beside))
    references = []
    for label, point in points:
        # numbers that float32 has, so that both precisions begin from the same
        own = {name: np.float32(value).astype(np.float64) for name, value in point.items()}
        with np.errstate(all="ignore"):
            loss, slopes = machine.gradient(own)
        values = {landscape.declared[name]: np.asarray(value) for name, value in own.items()}
        by = {f"by {landscape.declared[name]}": np.asarray(v) for name, v in slopes.items()}
        references.append((label, values, {"loss": np.asarray(loss), **by}))
    scales = {
        name: max(float(np.linalg.norm(here[name])) for _, _, here in references)
        for name in references[0][2]
    }
    losses = [
        ProblemCase(label, dtype, sizes, values, reference, scales)
        for label, values, reference in references
        for dtype in ("float64", "float32")
    ]
    return [PreparedCase(sizes, _prepared(problem, machine)), *losses]


def _prepared(
    problem: kinds.MinimizationProblem, machine: ProblemInterpreter
) -> dict[str, NDArray[Any]]:
    """Data and points of a problem, those as vectors."""
    prepared = {key: v for key, v in machine.prepared.items() if key.startswith("data.")}
    prepared |= {place: machine.vector(place) for place in problem.places}
    if problem.minimum is not None:
        prepared["minimum"] = machine.prepared["minimum"]
    elif problem.minimizers:
        prepared["minimum"] = machine.loss(machine.point("minimizers.0"))
    return {name: np.asarray(value, float) for name, value in prepared.items()}
