"""Where a rule's steps leave everything in place.

In: the program of a rule.  Out: the gradient there and the state, in the point.
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp
from sympy.solvers.solveset import NonlinearError

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.derive.calculus import Expr, tidy, written
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.prove.optimizers.choices import decided
from hamilforge.gen.prove.optimizers.step_map import FrozenSteps, linear_part

_slope = sp.Symbol("slope__", real=True)
#: Steps that are looked at one by one, where the rate fades: they rest at the same place.
STEPS = 5, 8


def resting(program: Program) -> tuple[str, Mapping[sp.Symbol, Expr]]:
    """Where a step leaves everything: the gradient and arrays, in the point.

    Returns:
        The equations, and the defaults of hyper-parameters for which they hold at these alone.

    Raises:
        NotDerivableError: a step is not linear there, or moves whatever the gradient.
    """
    for at_rest in (False, True):
        steps = FrozenSteps(program, letters=True, at_rest=at_rest)
        place, fixed = _resting(steps)
        if not any(value.free_symbols & {*steps.letters} for value in place.values()):
            break
    else:
        raise NotDerivableError("where a step rests depends on its roots and bounds")
    theta = {steps.start["x"]: sp.Symbol("theta", real=True)}
    names = {symbol: name for name, symbol in steps.start.items()} | {_slope: "grad J(theta)"}
    texts = [f"{names[s]} = {written(tidy(value).xreplace(theta))}" for s, value in place.items()]
    return ", ".join(texts), fixed


def _resting(steps: FrozenSteps) -> tuple[dict[sp.Symbol, Expr], Mapping[sp.Symbol, Expr]]:
    """The gradient and arrays at rest, and what is as by default there."""
    place = _rest(steps, steps.limits)
    if _slope in place:
        return place, steps.fixed
    place, other = (_rest(steps, steps.scalars_of(n)) for n in STEPS)  # after many none moves
    if _slope not in place or any(sp.simplify(place[s] - other[s]) != 0 for s in place):
        raise NotDerivableError("what a step leaves in place changes from step to step")
    return place, {}


def _rest(steps: FrozenSteps, scalars: Mapping[str, Expr]) -> dict[sp.Symbol, Expr]:
    """The gradient and arrays at which a step leaves the point in place, without those that may
    have any value.
    """
    try:
        return _solved(steps, scalars, _slope)
    except NotDerivableError:  # signs of the gradient, or what is no multiple of it
        return {_slope: sp.Integer(0), **_solved(steps, scalars, sp.Integer(0))}


def _solved(steps: FrozenSteps, scalars: Mapping[str, Expr], slope: Expr) -> dict[sp.Symbol, Expr]:
    """What linear equations of rest say of the gradient and arrays."""
    names, matrix, added = linear_part(steps, steps.moved(lambda _: slope, scalars=scalars))
    vector = sp.Matrix([steps.start[name] for name in names])
    equations = [
        sp.simplify(decided(entry, steps.unit)) for entry in matrix * vector + added - vector
    ]
    unknowns = [*slope.free_symbols, *vector[1:]]
    if not unknowns and not any(equations):
        return {}
    try:
        solutions = sp.linsolve(equations, unknowns) if unknowns else sp.EmptySet
    except NonlinearError as error:
        raise NotDerivableError("a step is not linear in the gradient") from error
    if not solutions:
        raise NotDerivableError("no gradient is known at which a step leaves the point in place")
    values = dict(zip(unknowns, *solutions, strict=True))
    return {s: value for s, value in values.items() if not value.free_symbols & {*unknowns}}
