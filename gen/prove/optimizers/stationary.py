"""How far a rule with noise spreads on a parabola, after many steps.

In: the program of a rule that is linear in point, state and noise.  Out: the covariance that a step
leaves as it is: S = M S M' + N N', where M is the matrix of a step and N takes the numbers drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import sympy as sp

from hamilforge.gen.declare.budget import Allowance
from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.derive.calculus import Expr, derivative, written
from hamilforge.gen.derive.optimizers.rotation import LAST
from hamilforge.gen.program.algebra import evaluate
from hamilforge.gen.program.ir import Expr as IrExpr
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.prove.optimizers.step_map import (
    FrozenSteps,
    at_defaults,
    curvature,
    linear_part,
    upright,
)
from hamilforge.gen.prove.report import Finding, attempted

#: What a report with noise in it says of its other findings.
WITHOUT_NOISE = (
    "Noise: stationary_variance and weak_order are of the step with its noise, everything else of "
    "the step without, where the letter O is D."
)
#: A step in which noise has not faded.
EARLY = 5
#: A curvature at which steps shrink.
SMALL = sp.Rational(1, 10**6)


class _Drawn(FrozenSteps):
    """Steps whose noise is in letters."""

    def __init__(self, program: Program) -> None:
        super().__init__(program, letters=False)
        self.noises = {name: sp.Symbol(f"{name}__drawn", real=True) for name in program.noises}
        self._decays = _Decays(self.limits.values())
        self.limits = {name: self._decays.named(value) for name, value in self.limits.items()}

    def end(self, expr: IrExpr) -> Expr:
        """What is known after a step, at constant hyper-parameters."""
        hyper = {**self.hyper, **{f"{LAST}{name}": value for name, value in self.hyper.items()}}
        slope = curvature * self.start["x"]
        known = {**hyper, **self.start, **self.noises, "g": slope}
        return self._decays.named(sp.sympify(evaluate(expr, known, self.algebra)))

    def written(self, value: Expr) -> str:
        """A result as people write it."""
        usual = {**self.known, curvature: SMALL}
        return written(upright(self._decays.written_out(value), usual), self.hyper)


class _Decays:
    """Exponentials as powers of one letter, so that all is rational in letters.

    Args:
        values: expressions with all exponentials there are.
    """

    def __init__(self, values: Iterable[Expr]) -> None:
        exponents = {call.args[0] for value in values for call in value.atoms(sp.exp)}
        self._letter = sp.Symbol("decay__", positive=True)
        self._slowest = min(exponents, key=lambda e: abs(e.as_coeff_Mul()[0]), default=None)

    def named(self, value: Expr) -> Expr:
        """An expression with the letter for what it is."""
        if self._slowest is None:
            return value

        def power(exponent: Expr) -> Expr:
            ratio = sp.cancel(exponent / self._slowest)
            return self._letter**ratio if ratio.is_Integer else sp.exp(exponent)

        return value.replace(sp.exp, power)

    def written_out(self, value: Expr) -> Expr:
        """An expression without the letter."""
        return value if self._slowest is None else value.subs(self._letter, sp.exp(self._slowest))


def stationary_variance(
    program: Program, ends: Mapping[str, IrExpr]
) -> tuple[dict[str, str], Mapping[sp.Symbol, Expr]]:
    """Variances and covariances at the end of a step, on J = lambda theta^2/2.

    They are those of one coordinate, and what the distribution tends to wherever steps shrink.

    Args:
        program: with noise.
        ends: what they are of: expressions in the arrays after a step and in the gradient there.
            Noise in them is what the next step draws, and scalars of the last step are marked.
            Those in arrays that the point never depends on are left out.

    Returns:
        By one name, its variance; by two, their covariance; ``oo`` where none is finite.  And the
        defaults of hyper-parameters for which they are so at these alone.

    Raises:
        NotDerivableError: a step is not linear.
    """
    steps = _Drawn(program)
    moved = steps.moved(lambda point: curvature * point)
    names, matrix, added = linear_part(steps, moved)
    # what does not depend on the noise moves the mean, and no variance
    added -= added.subs(dict.fromkeys(steps.noises.values(), 0))
    drawn = [*steps.noises.values()]
    noise = _slopes(added, drawn)
    if noise.free_symbols & {*steps.start.values()}:
        raise NotDerivableError("noise is multiplied by an array")
    _refuse_nonlinear(added - noise * sp.Matrix(drawn), (matrix, noise), drawn)
    arrays = [steps.start[name] for name in names]
    others = {*steps.start.values()} - {*arrays}
    reached = {name: steps.end(end) for name, end in ends.items()}
    reached = {name: end for name, end in reached.items() if not end.free_symbols & others}
    values = sp.Matrix([*reached.values()])
    taken, late = _slopes(values, arrays), _slopes(values, drawn)
    rest = values - taken * sp.Matrix(arrays) - late * sp.Matrix(drawn)
    _refuse_nonlinear(rest, (taken, late), [*drawn, *steps.start.values()])
    later = steps.moved(lambda point: curvature * point, scalars=steps.scalars_of(EARLY))
    drawn_by = [
        {*drawn} & {s for m in after.values() for s in sp.sympify(m).free_symbols}
        for after in (moved, later)
    ]
    if drawn_by[0] != drawn_by[1]:
        raise NotDerivableError("noise fades as n grows")
    called = [*reached]
    variances = {}
    for pair in _pairs(len(called)):
        value = _covariance(pair, matrix, noise, taken, late)
        if value is not None:
            text = "oo" if value == sp.oo else steps.written(sp.factor(value))
            variances[" ".join(called[k] for k in dict.fromkeys(pair))] = text
    return variances, steps.fixed


def _covariance(
    pair: tuple[int, int], matrix: sp.Matrix, noise: sp.Matrix, taken: sp.Matrix, late: sp.Matrix
) -> Expr | None:
    """A covariance of two ends of a step.

    Args:
        pair: which ends; a variance where they are one.
        matrix: of a step on arrays.
        noise: what a step adds to these, by what it draws.
        taken: the ends by the arrays.
        late: the ends by what is drawn after them.

    Returns:
        The covariance; infinite for a variance that grows, None for a covariance of what grows.
    """
    needed = [k for k in range(matrix.rows) if any(taken[end, k] != 0 for end in pair)]
    for row in needed:
        needed += [k for k in range(matrix.rows) if matrix[row, k] != 0 and k not in needed]
    rows = noise.extract(needed, [*range(noise.cols)])
    covariance = _left_alone(matrix.extract(needed, needed), rows * rows.T)
    if covariance is None:
        return sp.oo if len({*pair}) == 1 else None
    left, right = (taken.extract([end], needed) for end in pair)
    return (left * covariance * right.T + late.row(pair[0]) * late.row(pair[1]).T)[0]


def variance_finding(
    allowance: Allowance, program: Program, ends: Mapping[str, IrExpr], reach: str
) -> Finding:
    """What variances tend to, as a finding.

    Args:
        allowance: what is left for proofs.
        program: with noise.
        ends: what the variances are of, as :func:`stationary_variance` takes them.
        reach: for what they are so.

    Returns:
        The finding; without a value, and with the reason, where there is none that is known.
    """
    name, evidence = "stationary_variance", "the covariance that the emitted step leaves as it is"

    def shown() -> Finding:
        try:
            variances, fixed = stationary_variance(program, ends)
            return Finding(name, variances, evidence, reach + at_defaults(fixed))
        except NotDerivableError as error:
            return Finding(name, None, evidence, reach, str(error))

    return attempted(allowance, name, shown, reach)


def _slopes(values: sp.Matrix, symbols: Sequence[Expr]) -> sp.Matrix:
    """The derivatives of each value by each symbol."""
    return sp.Matrix(
        len(values), len(symbols), lambda i, j: sp.cancel(derivative(values[i], symbols[j]))
    )


def _refuse_nonlinear(
    rest: Iterable[Expr], slopes: Iterable[sp.Matrix], symbols: Iterable[Expr]
) -> None:
    """Refuse what is no sum of multiples of some symbols."""
    moves = {symbol for part in slopes for symbol in part.free_symbols} & {*symbols}
    if moves or any(sp.simplify(value) != 0 for value in rest):
        raise NotDerivableError("a step is not linear in its noise")


def _pairs(count: int) -> Iterator[tuple[int, int]]:
    return itertools.combinations_with_replacement(range(count), 2)


def _left_alone(matrix: sp.Matrix, source: sp.Matrix) -> sp.Matrix | None:
    """The S with S = M S M' + source; None where there is none.

    Raises:
        NotDerivableError: there are several.
    """
    count = matrix.rows
    entries = {pair: sp.Symbol(f"s_{pair[0]}_{pair[1]}") for pair in _pairs(count)}
    unknown = sp.Matrix(count, count, lambda i, j: entries[min(i, j), max(i, j)])
    equations = unknown - matrix * unknown * matrix.T - source
    solved = sp.linsolve([equations[pair] for pair in entries], *entries.values())
    if not solved:
        return None
    values = dict(zip(entries.values(), *solved, strict=True))
    if any(value.free_symbols & {*values} for value in values.values()):
        raise NotDerivableError("what arrays spread to depends on where they began")
    return unknown.xreplace({symbol: sp.cancel(value) for symbol, value in values.items()})
