"""What holds along the solutions of a problem with constraints g(q) = 0.

In: its field.  Out: findings.  The reactions G' lambda, G = dg/dq, do no work where the velocities
are along the constraints, and change a quantity I by ``-dI/dp' G' lambda``: I is constant where the
rest of its rate vanishes and every ``dI/dp . dg/dq`` does.  What is not so by formula is looked at
at points on the constraints, in many digits.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import sympy as sp

from hamilforge.gen.derive.calculus import Expr, derivative, written
from hamilforge.gen.derive.integrators.constraints import constraint_curvatures
from hamilforge.gen.derive.integrators.vector_field import VectorField
from hamilforge.gen.program.integrators.build_problem import build_problem
from hamilforge.gen.program.integrators.constrained import DIGITS, ConstrainedMachine
from hamilforge.gen.program.integrators.integrator import ConstrainedFlows
from hamilforge.gen.program.straight import straight
from hamilforge.gen.prove.report import Finding

THIS = "this problem, all parameters"
BY = "differentiated by SymPy"
NO_WORK = ", where G dH/dp = 0: the reactions of the constraints do no work"
#: Points that are drawn, digits of their numbers, and how many count as zero.
POINTS, WORKING, SHOWN = 3, 60, 30
#: A start is on the constraints within this, and they are independent above it.
OFF, DEPENDENT = 1e-10, 1e-10


def constrained_invariant(field: VectorField, name: str, value: Expr, rate: Expr) -> Finding:
    """Whether a quantity is constant along solutions.

    Args:
        field: of the problem.
        name: of the quantity.
        value: the quantity.
        rate: its derivative along solutions without the reactions.

    Returns:
        The finding.
    """
    called = f"invariant_{name}"
    changes = [sp.simplify(entry) for entry in _changes(field, value)]
    by = (
        f"its derivative without reactions is {written(rate)}, and what a multiplier adds is "
        f"{', '.join(map(written, changes))}, {BY}"
    )
    if rate == 0 and all(change == 0 for change in changes):
        return Finding(called, True, by, THIS)
    try:
        largest = _largest_rate(field, rate, changes)
    except (ArithmeticError, ValueError) as error:
        return Finding(called, None, by, THIS, f"no point on the constraints was found: {error}")
    if mpmath.isnan(largest):
        return Finding(called, None, by, THIS, "it is not defined at points on the constraints")
    at = f"{POINTS} points drawn on the constraints, {WORKING} digits"
    if largest > mpmath.mpf(10) ** -SHOWN:
        text = f"{by}; with the multipliers it is {mpmath.nstr(largest, 3)} somewhere at {at}"
        return Finding(called, False, text, f"{THIS}, by numbers that were put in")
    why = f"its derivative is 0 at {at}, and was not shown to vanish everywhere"
    return Finding(called, None, by, THIS, why)


def _changes(field: VectorField, value: Expr) -> list[Expr]:
    """``dI/dp . dg/dq`` for each constraint."""
    positions, momenta = (part.components for part in field.parts)
    slopes = [derivative(value, name) for name in momenta]
    return [
        sp.Add(*(slope * derivative(g, x) for slope, x in zip(slopes, positions, strict=True)))
        for _, g in field.constraints
    ]


def _largest_rate(field: VectorField, rate: Expr, changes: list[Expr]) -> Any:
    """The largest derivative of a quantity at drawn points on the constraints."""
    with mpmath.workdps(WORKING):
        machine = _machine(field)
        names = ("t", *map(str, field.components), *map(str, field.parameters))
        parts = {f"change__{k}": entry for k, entry in enumerate(changes)}
        function = straight("rates", names, {"rate__": rate, **parts})
        curvature = straight("curvature", names, constraint_curvatures(field))
        generator = random.Random(7)
        t = mpmath.mpf(field.problem.start.time.numerator) + mpmath.mpf(1) / 3
        found = []
        for _ in range(POINTS):
            drawn = [mpmath.mpf(generator.randint(-9, 9)) / 7 for _ in field.components]
            y = machine.nearest(t, drawn)
            own, *by = machine.call(function, t, y)
            force = machine.call(machine.problem.parts[1].field, t, y)
            multipliers = machine.multipliers(t, y, force, machine.call(curvature, t, y))
            pairs = zip(by, multipliers, strict=True)
            found.append(abs(own - sum(change * number for change, number in pairs)))
        return mpmath.nan if any(map(mpmath.isnan, found)) else max(found)


def _machine(field: VectorField) -> ConstrainedMachine:
    problem = build_problem(field, False)
    parameters = {
        entry.name: DIGITS.algebra.constant(entry.default) for entry in problem.parameters
    }
    return ConstrainedMachine(problem, ConstrainedFlows(()), parameters, DIGITS)


def constrained_proofs(field: VectorField) -> dict[str, Callable[[], Finding]]:
    """What there is to say of the constraints: how many, and the declared start."""
    proofs: dict[str, Callable[[], Finding]] = {
        "degrees_of_freedom": functools.partial(_degrees_of_freedom, field)
    }
    if len(field.problem.start.values) == len(field.components):
        proofs["start_on_constraints"] = functools.partial(_start, field)
    return proofs


def _degrees_of_freedom(field: VectorField) -> Finding:
    left = len(field.parts[0].components) - len(field.constraints)
    by = f"{len(field.parts[0].components)} positions less {len(field.constraints)} constraints"
    return Finding("degrees_of_freedom", left, by, "wherever the constraints are independent")


def _start(field: VectorField) -> Finding:
    """Whether the declared start is on independent constraints and moves along them."""
    reach = "the declared start, default parameters"
    try:
        holds, by = _at_start(field)
    except (ArithmeticError, ValueError) as error:
        holds, by = False, f"the constraints are not defined there: {error}"
    return Finding("start_on_constraints", holds, by, reach)


def _at_start(field: VectorField) -> tuple[bool, str]:
    """The same, and what was found."""
    values = dict(field.problem.start.values)
    with mpmath.workdps(WORKING):
        machine = _machine(field)
        zero = DIGITS.algebra.constant(Fraction(0))
        t = zero + DIGITS.algebra.constant(field.problem.start.time)
        y = [DIGITS.algebra.constant(values[str(name)]) for name in field.components]
        value, velocity = machine.constraints(t, y)
        off, leads = (max(map(abs, entries)) for entries in (value, velocity))
        independent = machine.independent(t, y, DEPENDENT)
        by = (
            f"g is {mpmath.nstr(off, 3)} there, G dH/dp {mpmath.nstr(leads, 3)}, and the gradients "
            f"of the constraints are {'in' * independent}dependent"
        )
    return bool(off <= OFF and leads <= OFF and independent), by
