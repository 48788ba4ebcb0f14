"""Where a rule's steps leave everything in place.

In: the program of a rule.  Out: the gradient there and the state, in the point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sympy as sp
from sympy.solvers.solveset import NonlinearError

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.derive.calculus import Expr, tidy
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.prove.optimizers.card_names import POINT, Names
from hamilforge.gen.prove.optimizers.choices import decided
from hamilforge.gen.prove.optimizers.runs import after_a_step, quick
from hamilforge.gen.prove.optimizers.step_map import (
    FrozenSteps,
    linear_part,
    without_letters,
)
from hamilforge.gen.prove.optimizers.symbolic_steps import at_numbers

_slope = sp.Symbol("slope__", real=True)
#: Where the point is looked at, and by how much a step that rests may be off.
PLACE, OFF = 1.3, 1e-9
#: What is added to the gradient at rest, to see whether it matters.
GRADIENTS = 1.0, -1.0, 30.0, -30.0
#: Steps that are looked at one by one, where the rate fades: they rest at the same place.
STEPS = 5, 8


@dataclass(frozen=True)
class Rest:
    """Where a step leaves everything.

    Attributes:
        equations: the gradient and arrays, in the point.
        fixed: the defaults of hyper-parameters for which they hold at these alone.
        alone: whether no other gradient leaves the point in place.
    """

    equations: Mapping[sp.Symbol, Expr]
    fixed: Mapping[sp.Symbol, Expr]
    alone: bool


def resting(program: Program, names: Names) -> tuple[str, Rest]:
    """Where a step leaves everything, as text and by the symbols of its gradient and arrays.

    Args:
        program: of a rule.
        names: on its card.

    Raises:
        NotDerivableError: a step is not linear there, or moves whatever the gradient.
    """

    def found(steps: FrozenSteps) -> tuple[str, Rest] | None:
        try:
            rest = _resting(steps)
        except NotDerivableError:
            if steps.letters and not steps.at_rest:  # letters may be 0 there
                return None
            raise
        if any(value.free_symbols & {*steps.letters} for value in rest.equations.values()):
            return None
        _compare_with_steps(steps, rest)
        theta = {steps.start["x"]: POINT}  # where the gradient is taken is the point, at rest
        called = {symbol: names.text(symbol) for symbol in rest.equations}
        called[_slope] = f"grad J({names.text(POINT)})"
        texts = {called[s]: names.text(tidy(v).xreplace(theta)) for s, v in rest.equations.items()}
        return ", ".join(f"{name} = {text}" for name, text in texts.items() if name != text), rest

    return without_letters(program, found)


def _resting(steps: FrozenSteps) -> Rest:
    """The gradient and arrays at rest, without those that may have any value.

    Raises:
        NotDerivableError: these are not the same in steps of all numbers.
    """
    alone, place = _rest(steps, steps.limits)
    if _slope in place:
        return Rest(place, steps.fixed, alone)
    (alone, place), (_, other) = (_rest(steps, steps.scalars_of(n)) for n in STEPS)
    if _slope not in place or any(sp.simplify(place[s] - other[s]) != 0 for s in place):
        raise NotDerivableError("what a step leaves in place changes from step to step")
    return Rest(place, {}, alone)


def _compare_with_steps(steps: FrozenSteps, rest: Rest) -> None:
    """Compare a rest with single steps from it.

    Raises:
        NotDerivableError: it depends on arrays that may have any value; a step moves from it; or
            none moves at the defaults, whatever the gradient.
    """
    states = {*steps.start.values()} - {steps.start["x"]}
    if any(value.free_symbols & states for value in rest.equations.values()):
        raise NotDerivableError("where a step rests depends on arrays that it leaves as they are")
    hyper = quick(steps.program, {symbol.name for symbol in rest.fixed})
    numbers = at_numbers(steps.hyper, hyper)
    numbers |= dict.fromkeys(steps.start.values(), 1.0) | {steps.start["x"]: PLACE}
    values = {s: float(value.subs(numbers)) for s, value in rest.equations.items()}
    arrays = {name: values.get(s, float(numbers[s])) for name, s in steps.start.items()}
    for number in STEPS:
        at_rest, *others = (
            after_a_step(steps.program, hyper, arrays, values[_slope] + more, number)
            for more in (0, *GRADIENTS)
        )
        if abs(at_rest["x"] - PLACE) > OFF:
            raise NotDerivableError("what a step leaves in place changes from step to step")
        if all(other == at_rest for other in others):
            raise NotDerivableError("at the defaults no gradient moves the point")


def _rest(steps: FrozenSteps, scalars: Mapping[str, Expr]) -> tuple[bool, dict[sp.Symbol, Expr]]:
    """Whether the equations of rest have one solution, and the gradient and arrays in one."""
    try:
        return _solved(steps, scalars, _slope)
    except NotDerivableError:  # signs of the gradient, or what is no multiple of it
        return False, {_slope: sp.Integer(0), **_solved(steps, scalars, sp.Integer(0))[1]}


def _solved(
    steps: FrozenSteps, scalars: Mapping[str, Expr], slope: Expr
) -> tuple[bool, dict[sp.Symbol, Expr]]:
    """What linear equations of rest say of the gradient and arrays, and whether nothing else rests.

    Several gradients of a step are taken for one here; where they differ, their moves may cancel.
    """
    names, matrix, added = linear_part(steps, steps.moved(lambda _: slope, scalars=scalars))
    vector = sp.Matrix([steps.start[name] for name in names])
    equations = [
        sp.simplify(decided(entry, steps.unit)) for entry in matrix * vector + added - vector
    ]
    alone = not matrix.has(_slope) and len(steps.program.stages) == 1
    unknowns = [*slope.free_symbols, *vector[1:]]
    if not unknowns and not any(equations):
        return alone, {}
    try:
        solutions = sp.linsolve(equations, unknowns) if unknowns else sp.EmptySet
    except NonlinearError as error:
        raise NotDerivableError("a step is not linear in the gradient") from error
    if not solutions:
        raise NotDerivableError("no gradient is known at which a step leaves the point in place")
    values = dict(zip(unknowns, *solutions, strict=True))
    return alone, {s: v for s, v in values.items() if not v.free_symbols & {*unknowns}}
