"""How far a rule with noise spreads on a parabola, after many steps.

In: the program of a rule that is linear in point, state and noise.  Out: the covariance that a step
leaves as it is: S = M S M' + N N', where M is the matrix of a step and N takes the numbers drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.derive.calculus import Expr, derivative, written
from hamilforge.gen.program.ir import Program
from hamilforge.gen.prove.optimizers.step_map import FrozenSteps, curvature, linear_part

#: A curvature at which steps shrink.
SMALL = sp.Rational(1, 10**6)


class _Drawn(FrozenSteps):
    """Steps whose noise is in letters."""

    def __init__(self, program: Program) -> None:
        self.noise = {name: sp.Symbol(f"{name}__drawn", real=True) for name in program.noises}
        super().__init__(program, letters=False)

    def _noise(self, name: str) -> Expr:
        return self.noise[name]


def stationary_variance(program: Program, called: Mapping[str, str]) -> dict[str, str]:
    """Variances and covariances at the end of a step, on J = lambda theta^2/2.

    They are those of one coordinate, and what the distribution tends to wherever steps shrink.

    Args:
        program: with noise.
        called: the arrays whose variance is wanted, with the names of their unknowns.

    Returns:
        By one unknown, its variance; by two, their covariance; ``oo`` where none is finite.

    Raises:
        NotDerivableError: a step is not linear, or the point is not the solution.
    """
    if program.shifted:
        raise NotDerivableError("the parameters hold another point than the solution")
    steps = _Drawn(program)
    names, matrix, added = linear_part(steps, steps.moved(lambda point: curvature * point))
    drawn = [*steps.noise.values()]
    noise = sp.Matrix([[derivative(value, letter) for letter in drawn] for value in added])
    rest = added - noise * sp.Matrix(drawn)
    if (matrix.free_symbols | noise.free_symbols) & {*drawn} or any(
        sp.simplify(value) != 0 for value in rest
    ):
        raise NotDerivableError("a step is not linear in its noise")
    covariance = _left_alone(matrix, noise * noise.T)
    usual = {steps.hyper[name]: value for name, value in steps.defaults().items()}
    usual[curvature] = SMALL
    return {
        " ".join(called[names[k]] for k in dict.fromkeys(pair)): "oo"
        if covariance is None
        else written(_upright(covariance[pair], usual))
        for pair in _pairs(len(names))
    }


def _pairs(count: int) -> Iterator[tuple[int, int]]:
    return itertools.combinations_with_replacement(range(count), 2)


def _left_alone(matrix: sp.Matrix, source: sp.Matrix) -> sp.Matrix | None:
    """The S with S = M S M' + source; None where there is none."""
    count = matrix.rows
    entries = {pair: sp.Symbol(f"s_{pair[0]}_{pair[1]}") for pair in _pairs(count)}
    unknown = sp.Matrix(count, count, lambda i, j: entries[min(i, j), max(i, j)])
    equations = unknown - matrix * unknown * matrix.T - source
    solved = sp.linsolve([equations[pair] for pair in entries], *entries.values())
    if not solved:
        return None
    values = dict(zip(entries.values(), *solved, strict=True))
    return unknown.xreplace({symbol: sp.factor(value) for symbol, value in values.items()})


def _upright(value: Expr, usual: Mapping[Expr, Expr]) -> Expr:
    """A product with its sums positive at usual values, as people write it."""
    sign, factors = sp.Integer(1), []
    for factor in sp.Mul.make_args(value):
        base, exponent = factor.as_base_exp()
        if base.is_Add and exponent.is_Integer and sp.N(base.subs(usual)) < 0:
            sign *= (-1) ** exponent
            factor = (-base) ** exponent
        factors.append(factor)
    return sp.Mul(sign, *factors)
