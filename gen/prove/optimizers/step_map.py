"""The linear part of a rule's step, after many steps: what it does on a parabola.

In: the program of a rule.  Out: the matrix of a step on the point and the arrays that are linear in
it, on J = lambda theta^2/2 as n goes to infinity, roots of averages of squares replaced by letters;
and its characteristic polynomial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.memory import remembered_with_refusals
from hamilforge.gen.derive.calculus import FUNCTIONS, Expr, Letter, derivative
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.prove.optimizers.card_names import short, start_of
from hamilforge.gen.prove.optimizers.choices import JUMPS
from hamilforge.gen.prove.optimizers.late_steps import LateSteps, late_scalars
from hamilforge.gen.prove.optimizers.runs import FEW, MANY, alone, always, is_near, quick, run
from hamilforge.gen.prove.optimizers.symbolic_steps import (
    AS_IT_IS,
    at_numbers,
)

curvature = Letter("lambda")
#: The variable of the characteristic polynomial.
z = Letter("z")
#: How many roots are replaced by letters, and what these are called, by what is not taken.
MOST = 4
LETTERS = "s", "r", "u", "w", *(f"s{number}" for number in range(1000))


#: A curvature at which steps go on for long.
GENTLE = 1e-2
T = TypeVar("T")


class FrozenSteps(LateSteps):
    """A step from letters, with the scalars of the host as they are after many steps.

    Args:
        program: of a rule.
        letters: whether roots of averages are letters.
        at_rest: whether bounds are taken as they bind at rest, where that is known.

    Attributes:
        limits: the scalars of the host.
        fixed: hyper-parameters for which the limit is that at their defaults.
        near_rest: whether a choice was decided by where the arrays rest.
    """

    def __init__(self, program: Program, letters: bool, at_rest: bool = False) -> None:
        if any(function.sums for function in program.functions):
            raise NotDerivableError("a step has sums over coordinates")
        self.start: dict[str, sp.Symbol] = {}
        self.letters: dict[sp.Symbol, Expr] = {}
        self._replaces, self.at_rest, self.near_rest = letters, at_rest, False
        super().__init__(program)
        self.start = {name: start_of(name) for name in ("x", *program.states)}
        self.arrays = dict(self.start)
        late = late_scalars(program)
        self.limits, self.fixed = dict(late.values), dict(late.fixed)

    def _moves(self, value: Expr) -> bool:
        return bool(sp.sympify(value).free_symbols & {*self.start.values()})

    def _letter(self, value: Expr) -> Expr:
        for letter, known in self.letters.items():
            if known == value:
                return letter
        if len(self.letters) == MOST:
            raise NotDerivableError(f"a step has more than {MOST} roots and bounds")
        taken = {*self.hyper, *self.program.states, *(letter.name for letter in self.letters)}
        letter = Letter(next(name for name in LETTERS if name not in taken))
        self.letters[letter] = value
        return letter

    def _root(self, z: Expr) -> Expr:
        if self._replaces and self._moves(z):
            return self._letter(sp.sqrt(z))
        return super()._root(z)

    def _extreme(self, name: str, x: Expr, y: Expr) -> Expr:
        value = FUNCTIONS[name](x, y)
        if self.at_rest and self._moves(value):
            rest = {**dict.fromkeys(self.start.values(), 0), **dict.fromkeys(self.letters, 1)}
            difference = sp.sympify(x - y).subs({**rest, **self.known})
            if difference.is_comparable and difference != 0:
                self.near_rest |= self._moves(x - y)
                return x if bool(difference > 0) == (name == "max") else y
        return self._letter(value) if self._replaces and self._moves(value) else value

    def moved(
        self,
        slope: Callable[[Expr], Expr],
        preparation: tuple[Expr, Expr, Expr] = AS_IT_IS,
        scalars: Mapping[str, Expr] | None = None,
    ) -> dict[str, Expr]:
        """Point and state after a step.

        Args:
            slope: the gradient at a point.
            preparation: the gradient's sign, the L2 factor, the factor of decoupled decay.
            scalars: of the host; those after many steps if None.

        Returns:
            The new values by array.
        """
        self.arrays = dict(self.start)
        self.step(slope, preparation, self.limits if scalars is None else scalars)
        return self.arrays


@dataclass(frozen=True)
class StepMap:
    """What a step does on a parabola.

    Attributes:
        program: of the rule.
        names: the point and the arrays that are linear in it.
        matrix: of a step on these.
        hyper: the symbols of the hyper-parameters.
        defaults: of these.
        letters: what the letters stand for.
        fixed: hyper-parameters for which the matrix is that at their defaults.
        unit: those between 0 and 1.
        near_rest: whether a choice in it is decided by where the arrays rest.
    """

    program: Program
    names: tuple[str, ...]
    matrix: sp.Matrix
    hyper: Mapping[str, Expr]
    defaults: Mapping[Expr, Expr]
    letters: Mapping[sp.Symbol, Expr]
    fixed: Mapping[sp.Symbol, Expr]
    unit: Set[Expr]
    near_rest: bool

    @cached_property
    def polynomial(self) -> Expr:
        """The characteristic polynomial in z."""
        return sp.collect(sp.expand(self.matrix.charpoly(z).as_expr(z)), z, short)

    @property
    def usual(self) -> dict[Expr, Expr]:
        """The defaults, and letters of 1."""
        return {**self.defaults, **dict.fromkeys(self.letters, sp.Integer(1))}


@remembered_with_refusals
def step_map(program: Program) -> StepMap:
    """The linear part of a step.

    Raises:
        NotDerivableError: a step is not linear in point and state, roots of averages apart, or its
            scalars have no limit.
    """

    def linear(steps: FrozenSteps) -> StepMap | None:
        names, matrix, added = linear_part(steps, steps.moved(lambda point: curvature * point))
        if added.free_symbols & {*steps.letters}:
            return None
        if steps.at_rest and any(added):
            raise NotDerivableError("a step is not at rest where it has its linear part")
        part = StepMap(
            program,
            names,
            matrix,
            steps.hyper,
            steps.known,
            steps.letters,
            steps.fixed,
            steps.unit,
            steps.near_rest,
        )
        _compare_with_runs(part, added, steps.start)
        return part

    return without_letters(program, linear)


def _compare_with_runs(part: StepMap, added: sp.Matrix, start: Mapping[str, sp.Symbol]) -> None:
    """Compare the linear part with what steps of runs add, letters being what they stand for.

    Raises:
        NotDerivableError: what they add does not come to it: scalars fade as arrays grow, or all
            that is added fades.
    """
    program = part.program
    hyper = quick(program, {symbol.name for symbol in part.fixed})
    numbers = at_numbers(part.hyper, hyper)
    arrays = [*map(alone, run(program, always(hyper), lambda x: GENTLE * x, [1.0], MANY))]
    errors = []
    for before, after in ((arrays[count - 1], arrays[count]) for count in (FEW, MANY)):
        known = {**numbers, **{start[name]: value for name, value in before.items()}}
        known[curvature] = GENTLE
        for letter, value in part.letters.items():
            known[letter] = value.subs(known)
        old, new = (np.array([values[name] for name in part.names]) for values in (before, after))
        if not np.isfinite(new).all():
            return  # a parabola on which steps of these hyper-parameters grow
        matrix, rest = (np.array(m.subs(known).evalf(), float) for m in (part.matrix, added))
        moved = abs(new - old).max() or 1.0
        errors.append(float(abs(new - matrix @ old - rest[:, 0]).max() / moved))
    if not is_near(*errors):
        raise NotDerivableError("what steps add in a run does not come to a linear part")


def without_letters(program: Program, result: Callable[[FrozenSteps], T | None]) -> T:
    """What follows from a step, with bounds as letters, else as they bind at rest.

    Args:
        program: of a rule.
        result: what follows; None where that depends on what letters stand for.

    Raises:
        NotDerivableError: it depends on that in both.
    """
    for at_rest in (False, True):
        found = result(FrozenSteps(program, letters=True, at_rest=at_rest))
        if found is not None:
            return found
    raise NotDerivableError("a step moves by a root or bound itself: it has no linear part")


def at_value(part: StepMap, name: str, value: int) -> StepMap:
    """The step at a value of a hyper-parameter, on what the point depends on there.

    Args:
        part: of a rule.
        name: of the hyper-parameter.
        value: of it.

    Returns:
        The step on fewer arrays.
    """
    matrix = part.matrix.subs(part.hyper[name], value)
    size = range(matrix.shape[0])
    held = {k for k in size if matrix.row(k) == sp.eye(len(size)).row(k)} - {0}
    needed = [0]
    for row in needed:
        needed += [k for k in size if matrix[row, k] != 0 and k not in (*needed, *held)]
    names = tuple(part.names[k] for k in needed)
    return replace(part, names=names, matrix=matrix.extract(needed, needed))


def linear_part(
    steps: FrozenSteps, moved: Mapping[str, Expr]
) -> tuple[tuple[str, ...], sp.Matrix, sp.Matrix]:
    """Point and linear arrays, the matrix of a step on them, and what it adds.

    What a step adds may depend on arrays that it leaves as they are.

    Args:
        steps: from letters.
        moved: point and state after a step.

    Raises:
        NotDerivableError: the step is not linear in them.
    """
    held = {name for name, symbol in steps.start.items() if moved[name] == symbol and name != "x"}
    symbols = {symbol: name for name, symbol in steps.start.items() if name not in held}
    names = ["x"]
    for name in names:
        for symbol in sorted(moved[name].free_symbols & {*symbols}, key=str):
            if symbols[symbol] not in names:
                names.append(symbols[symbol])
    vector = [steps.start[name] for name in names]
    if any(sp.sympify(moved[name]).has(sp.Abs, *JUMPS) for name in names):
        raise NotDerivableError("a step takes signs or chooses by entries: it has no linear part")
    rows = []
    for name in names:
        row = [sp.simplify(derivative(moved[name], symbol)) for symbol in vector]
        if any(entry.free_symbols & {*steps.start.values()} for entry in row):
            raise NotDerivableError("a step is not linear in point and state")
        rows.append(row)
    zeros = dict.fromkeys(vector, sp.Integer(0))
    added = [sp.simplify(moved[name].subs(zeros)) for name in names]
    if any(value.free_symbols & {*symbols} for value in added):
        raise NotDerivableError("a step is not linear in point and state")
    return tuple(names), sp.Matrix(rows), sp.Matrix(added)


def at_defaults(fixed: Mapping[sp.Symbol, Expr]) -> str:
    """What a reach says of hyper-parameters that are as by default."""
    return "".join(f", {symbol} = {value}" for symbol, value in fixed.items())


def upright(value: Expr, usual: Mapping[Expr, Expr]) -> Expr:
    """A product with its sums positive at usual values, as people write it."""
    sign, factors = sp.Integer(1), []
    for factor in sp.Mul.make_args(value):
        base, exponent = factor.as_base_exp()
        if base.is_Add and exponent.is_Integer and sp.N(base.subs(usual)).is_negative:
            sign *= (-1) ** exponent
            factor = (-base) ** exponent
        factors.append(factor)
    return sp.Mul(sign, *factors)
