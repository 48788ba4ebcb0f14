"""How far off its manifold a rule without a retraction leads.

In: a rule, and a point of its manifold.  Out: findings about what its program leaves of the
constraint, beside what the author claims of it, with the digits of :mod:`manifold_points`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.expression import Expression, constant
from hamilforge.gen.derive.arrays import symbol
from hamilforge.gen.derive.calculus import Expr
from hamilforge.gen.exact import matrices
from hamilforge.gen.program.interpret import results
from hamilforge.gen.program.ir import Function
from hamilforge.gen.program.optimizers.build_matrix import (
    MatrixDerivation,
    claimed_violations,
)
from hamilforge.gen.program.optimizers.interpret_matrix import MatrixInterpreter
from hamilforge.gen.program.precise import PRECISE_OR_NAN
from hamilforge.gen.prove.optimizers.manifold_points import (
    DIGITS,
    NEAR,
    RATE,
    ROUNDING,
    ZERO,
    Matrix,
    Place,
    power,
    whole,
)
from hamilforge.gen.prove.optimizers.settings import Settings
from hamilforge.gen.prove.report import Finding

#: How far off the manifold points are drawn.
_OFF = mpmath.mpf(1) / 8
#: The numbers of the steps that are looked at.
_STEPS = (1, 2, 7)
#: The highest degree of a claim in one matrix that is bounded.
_DEGREE = 8


def violations(
    place: Place, rule: kinds.MatrixRule, derivation: MatrixDerivation, reach: str
) -> Iterator[Finding]:
    """What a step leaves of the constraint.

    Args:
        place: a point of the manifold.
        rule: the declaration.
        derivation: its program.
        reach: of the findings.

    Yields:
        Findings.
    """
    claims, machine = dict(rule.violations), _Machine(place, derivation)
    shown = {}
    for name, function, scalars in claimed_violations(rule):
        off = _OFF if name == kinds.VIOLATION_OFF else mpmath.mpf(0)
        shown[name] = _claimed(place, machine, claims[name].text, function, scalars, off, reach)
    yield from shown.values()
    holds = shown[kinds.VIOLATION].value is not None
    if holds and (bound := _bound(rule, claims[kinds.VIOLATION])):
        evidence = "the claim as a polynomial in one matrix; |.| is the spectral norm"
        yield Finding("violation_bound", bound, evidence, "all sizes")
    if RATE in {entry.name for entry in rule.hyperparameters}:
        arrays = machine.drawn(mpmath.mpf(0))

        def left(rate: Any) -> Any:
            return matrices.size_of(machine.after(arrays, {RATE: rate}))

        if left(max(NEAR)) <= ROUNDING:
            return  # there is no power of what is zero
        measured = power(left, NEAR)
        order = whole(measured)
        evidence = f"what a step from the manifold leaves of the constraint, by {RATE}"
        why = "" if order is not None else f"the power is {measured:.3f}"
        yield Finding("violation_order", order, f"{evidence}; {DIGITS} digits", reach, why)


class _Machine:
    """Steps of a rule from drawn points and states.

    Args:
        place: a point of the manifold.
        derivation: the program of the rule.
    """

    def __init__(self, place: Place, derivation: MatrixDerivation) -> None:
        self._place, self._derivation = place, derivation
        self.settings = Settings(derivation.program.hyperparameters, derivation.program.host)
        self._function = derivation.steps[0]

    def drawn(self, off: Any) -> dict[str, Matrix]:
        """Point, states and gradient.

        Args:
            off: by how much of a drawn matrix the point is off the manifold.
        """
        place, function = self._place, self._function
        arrays = {name: place.drawn(function.types[name].shape) for name in function.arrays}
        point = function.arrays[0]
        arrays[point] = place.point + off * arrays[point]
        return arrays

    def after(
        self, arrays: Mapping[str, Matrix], hyper: Mapping[str, Any], number: int = 1
    ) -> Matrix:
        """The constraint after a step.

        Args:
            arrays: point, states and gradient.
            hyper: hyper-parameters by name.
            number: of the step.
        """
        point, *_, gradient = self._function.arrays
        machine = MatrixInterpreter(self._derivation, hyper, PRECISE_OR_NAN)
        machine.n = number - 1
        before = {name: array for name, array in arrays.items() if name != gradient}
        value = self._place.value("constraint", machine.step(before, arrays[gradient])[point])
        return np.atleast_2d(value)


def _claimed(
    place: Place,
    machine: _Machine,
    text: str,
    function: Function,
    scalars: Mapping[str, Expr],
    off: Any,
    reach: str,
) -> Finding:
    """Whether a claim is what a step leaves of the constraint."""
    defect, draws = mpmath.mpf(0), 0
    for numbers, number in zip(machine.settings, itertools.cycle(_STEPS)):
        arrays = machine.drawn(off)
        symbols = {symbol(name): sp.Float(value, DIGITS) for name, value in numbers.items()}
        symbols[symbol("n")] = sp.Integer(number)
        own = {
            name: mpmath.mpf(sp.N(value.xreplace(symbols), DIGITS))
            for name, value in scalars.items()
        }
        claimed = np.atleast_2d(results(function, {**arrays, **own}, PRECISE_OR_NAN)["value"])
        apart = matrices.size_of(machine.after(arrays, numbers, number) - claimed)
        defect, draws = max(defect, apart / (1 + matrices.size_of(claimed))), draws + 1
    where = "on the manifold" if not off else "beside the manifold"
    evidence = (
        f"the constraint after steps {', '.join(map(str, _STEPS))} from drawn points {where}, with "
        f"drawn states and gradients and {machine.settings.drawn}, beside the claim; {DIGITS} "
        "digits"
    )
    if not draws:
        why = "no hyper-parameters were found that meet the requirements"
        return Finding(function.name, None, evidence, reach, why)
    if defect <= ZERO and not machine.settings.all_combinations:
        why = "there are too many combinations of what is discrete to look at all"
        return Finding(function.name, None, evidence, reach, why)
    if defect > ZERO:
        why = f"a step leaves something else, {mpmath.nstr(defect, 3)} apart"
        return Finding(function.name, None, evidence, reach, why)
    return Finding(function.name, text, evidence, reach)


def _bound(rule: kinds.MatrixRule, claim: Expression) -> str:
    """A bound of a claim that is a polynomial in one symmetric matrix; empty if it is none.

    With q(e) = c e^k r(e), r(0) = 1, the spectral norm of q(E), E positive semidefinite, is at most
    ``|c| |E|^k`` where ``|r| <= 1`` from 0 to the norm of E.
    """
    names = claim.names()
    targets = {line.target for line in rule.assignments}
    if len(names) != 1 or not names <= targets:
        return ""
    (name,) = names
    e = sp.Symbol("e", positive=True)
    value = _scalar(claim.tree, name, e)
    values = None if value is None else sp.Poly(sp.expand(value), e)
    if not values or values.degree() > _DEGREE:
        return ""
    least = min(degree for (degree,), _ in values.terms())
    lead = values.coeff_monomial(e**least)
    rest = sp.Poly(sp.cancel(values.as_expr() / (lead * e**least)), e)
    if _leaves(rest, sp.Integer(0)):
        return ""
    ends = [
        root
        for level in (1, -1)
        for root in sp.real_roots(rest - level)
        if root > 0 and _leaves(rest, root)
    ]
    factor = "" if abs(lead) == 1 else f"{abs(lead)}*"
    where = f" <= {min(ends)}" if ends else ""
    return f"{factor}|{name}|**{least} where 0 <= {name}{where}"


def _leaves(rest: sp.Poly, root: Expr) -> bool:
    """Whether a polynomial leaves the interval from -1 to 1 at a root of its distance."""
    return bool(abs(rest.eval(root + sp.Rational(1, 10**6))) > 1)


def _scalar(node: Any, name: str, e: sp.Symbol) -> Expr | None:
    """A tree of sums, multiples and matrix products, with a number for its matrix."""
    number = constant(node)
    if number is not None:
        return sp.Rational(number.numerator, number.denominator)
    op = getattr(node, "op", "")
    if not op:
        return e if getattr(node, "name", "") == name else None
    known = (_scalar(arg, name, e) for arg in node.args)
    parts = [part for part in known if part is not None]
    if len(parts) < len(node.args):
        return None
    of_matrices = [part for part in parts if part.has(e)]
    match op:
        case "+" if len(of_matrices) == len(parts):  # a number is added to all entries
            return sp.Add(*parts)
        case "@":
            return sp.Mul(*parts)
        case "*" if len(of_matrices) < 2:  # of two matrices it is no product of theirs
            return sp.Mul(*parts)
        case "-":
            return -parts[0]
        case "/" if parts[1].is_number:
            return parts[0] / parts[1]
        case "transpose":
            return parts[0]
    return None
