"""Energies that fall along the solutions of a gradient system.

In: a system with a declared energy ``E = c J(theta) + sum(squares of linear forms)``.  Out: whether
``dE/dt <= 0`` for all values of the free number in the declared interval, and for no others.  The
derivative along the equations is a quadratic form in the gradient and the unknowns, coordinate by
coordinate; it is nowhere positive exactly if no principal minor of its matrix has the wrong sign.
"""

from __future__ import annotations

import itertools

import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.kinds import GradientSystem
from hamilforge.gen.derive.calculus import (
    Coordinate,
    Expr,
    Total,
    derivative,
    to_sympy,
)
from hamilforge.gen.derive.symbols import parameter_symbol


def falls(system: GradientSystem) -> dict[str, bool]:
    """Whether the declared energy falls exactly in the declared interval.

    Args:
        system: with an energy.

    Returns:
        ``holds``: it falls where it is said to; ``interval_exact``: and nowhere else.

    Raises:
        NotDerivableError: the derivative of the energy is no quadratic form, or the signs of its
            minors are not decided.
    """
    lyapunov = system.lyapunov
    assert lyapunov is not None
    free = sp.Symbol(lyapunov.free, real=True)
    matrix, known = _form(system, free)
    ends = [to_sympy(end, known) for end in lyapunov.interval]
    holds = True
    bounded = [False, False]
    for minor, order in _minors(matrix):
        inside, touched = _sign(minor * (-1) ** order, free, ends)
        holds &= inside
        bounded = [a or b for a, b in zip(bounded, touched, strict=True)]
    exact = holds and all(bounded)
    return {"holds": holds, "interval_exact": exact}


def _form(system: GradientSystem, free: sp.Symbol) -> tuple[sp.Matrix, dict[str, Expr]]:
    """The matrix of dE/dt in the gradient and the unknowns, and what names stand for."""
    lyapunov = system.lyapunov
    assert lyapunov is not None
    unknowns = {name: Coordinate(name) for name in system.unknowns}
    known: dict[str, Expr] = {entry.name: parameter_symbol(entry) for entry in system.parameters}
    known |= unknowns
    slope, loss = Coordinate("slope__"), sp.Symbol("J__", real=True)
    energy = to_sympy(lyapunov.energy, {**known, lyapunov.free: free}, {"J": lambda _: loss})
    time = sp.Symbol("t", positive=True)
    rates = {
        name: to_sympy(value, {**known, "t": time}, {"grad": lambda _: slope})
        for name, value in system.equations
    }
    # in one coordinate: sums are that coordinate's share, J changes by slope times theta'
    share = energy.replace(Total, lambda entry: entry)
    change = derivative(share, loss) * slope * rates[system.point]
    for name, symbol in unknowns.items():
        change += derivative(share, symbol) * rates[name]
    variables = [slope, *unknowns.values()]
    form = sp.Poly(sp.expand(change), *variables)
    if change.has(time) or any(sum(powers) != 2 for powers in form.monoms()):
        raise NotDerivableError("the derivative of the energy is no quadratic form")
    return sp.hessian(form.as_expr(), variables) / 2, known


def _minors(matrix: sp.Matrix) -> list[tuple[Expr, int]]:
    """The principal minors that do not vanish, with their orders."""
    size = matrix.shape[0]
    minors = []
    for order in range(1, size + 1):
        for rows in itertools.combinations(range(size), order):
            minor = sp.factor(matrix.extract(list(rows), list(rows)).det())
            if minor != 0:
                minors.append((minor, order))
    return minors


def _sign(value: Expr, free: sp.Symbol, ends: list[Expr]) -> tuple[bool, list[bool]]:
    """Whether a number is not negative between the ends, and at which end it changes its sign.

    Raises:
        NotDerivableError: that is not decided.
    """
    for factor in sp.Mul.make_args(value):  # squares do not matter
        base, exponent = factor.as_base_exp()
        if exponent.is_even and not base.has(free):
            value = value / factor
    polynomial = sp.Poly(sp.expand(value), free)
    if polynomial.degree() == 0:
        if value.is_nonnegative or sp.simplify(value).is_nonnegative:
            return True, [False, False]
        if value.is_negative:
            return False, [False, False]
        raise NotDerivableError(f"the sign of {value} is not decided")
    at_ends = [sp.simplify(polynomial.eval(end)) for end in ends]
    touched = [entry == 0 for entry in at_ends]
    if polynomial.degree() == 1:
        signs = [polynomial.as_expr().subs(free, end).is_nonnegative for end in ends]
        if None in signs:
            raise NotDerivableError(f"the sign of {value} is not decided")
        return all(signs), touched
    if polynomial.degree() == 2:
        leading = sp.simplify(polynomial.LC())
        above = (entry == 0 or sp.factor(entry).is_nonnegative for entry in at_ends)
        if leading.is_negative and all(above):  # concave
            return True, touched
        if any(entry.is_negative for entry in at_ends):
            return False, touched
    numbers = {symbol: sp.Rational(3 + k, 10) for k, symbol in enumerate(_others(value, free))}
    middle = (ends[0] + ends[1]) / 2
    probes = [ends[0], middle, ends[1]]
    values = [sp.N(value.subs(free, probe).subs(numbers), 30) for probe in probes]
    if any(number < -(sp.Float(10) ** -20) for number in values):
        return False, touched
    raise NotDerivableError(f"the sign of {value} is not decided")


def _others(value: Expr, free: sp.Symbol) -> list[sp.Symbol]:
    return sorted(value.free_symbols - {free}, key=str)
