"""Where a rule's steps leave everything in place.

In: the program of a rule.  Out: the gradient there and the state, in the point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sympy as sp
from sympy.solvers.solveset import NonlinearError

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.derive.calculus import Expr, tidy, written
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.prove.optimizers.choices import decided
from hamilforge.gen.prove.optimizers.step_map import FrozenSteps, linear_part, without_letters

_slope = sp.Symbol("slope__", real=True)
#: Steps that are looked at one by one, where the rate fades: they rest at the same place.
STEPS = 5, 8


@dataclass(frozen=True)
class Rest:
    """Where a step leaves everything.

    Attributes:
        equations: the gradient and arrays, in the point.
        fixed: the defaults of hyper-parameters for which they hold at these alone.
        alone: whether no other gradient leaves the point in place.
        late: whether they are of steps after many, and not of each.
    """

    equations: Mapping[sp.Symbol, Expr]
    fixed: Mapping[sp.Symbol, Expr]
    alone: bool
    late: bool


def resting(program: Program) -> tuple[str, Rest]:
    """Where a step leaves everything, as text and by the symbols of its gradient and arrays.

    Raises:
        NotDerivableError: a step is not linear there, or moves whatever the gradient.
    """

    def found(steps: FrozenSteps) -> tuple[str, Rest] | None:
        rest = _resting(steps)
        if any(value.free_symbols & {*steps.letters} for value in rest.equations.values()):
            return None
        theta = {steps.start["x"]: sp.Symbol("theta", real=True)}
        names = {symbol: name for name, symbol in steps.start.items()} | {_slope: "grad J(theta)"}
        values = {names[s]: tidy(value).xreplace(theta) for s, value in rest.equations.items()}
        return ", ".join(f"{name} = {written(value)}" for name, value in values.items()), rest

    return without_letters(program, found)


def _resting(steps: FrozenSteps) -> Rest:
    """The gradient and arrays at rest, without those that may have any value."""
    alone, late = _rest(steps, steps.limits)
    if _slope in late:
        return Rest(late, steps.fixed, alone, late=True)
    (alone, place), (_, other) = (_rest(steps, steps.scalars_of(n)) for n in STEPS)
    if _slope not in place or any(sp.simplify(place[s] - other[s]) != 0 for s in place):
        raise NotDerivableError("what a step leaves in place changes from step to step")
    return Rest(place, {}, alone, late=False)


def _rest(steps: FrozenSteps, scalars: Mapping[str, Expr]) -> tuple[bool, dict[sp.Symbol, Expr]]:
    """Whether the equations of rest have one solution, and the gradient and arrays in one."""
    try:
        return True, _solved(steps, scalars, _slope)
    except NotDerivableError:  # signs of the gradient, or what is no multiple of it
        return False, {_slope: sp.Integer(0), **_solved(steps, scalars, sp.Integer(0))}


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
