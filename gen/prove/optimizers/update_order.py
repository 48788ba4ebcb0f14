"""Order of an update scheme: Taylor expansion in h with an arbitrary potential.

One step from (q, p) at time t is expanded in powers of h, the derivatives of J at q being free
symbols, and compared with the expansion of the solution of q' = p, p' = -J'(q) - gamma p.
"""

from __future__ import annotations

import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.derive.calculus import Coordinate, Expr
from hamilforge.gen.derive.scheme import Scheme
from hamilforge.gen.derive.symbols import Decay, Grad, Velocity, h, n, p, q, t

MAX_ORDER = 6


def update_order(scheme: Scheme) -> int:
    """The order in one dimension, for any J and K = p^2/2."""
    numbered = any(line.value.has(n) for line in scheme.lines)
    gamma: Expr = 3 / t if numbered else sp.Symbol("gamma", positive=True)
    for degree in range(1, MAX_ORDER + 2):
        step = _step(scheme, degree, gamma)
        flow = _flow(degree, gamma)
        for left, right in zip(step, flow, strict=True):
            if sp.simplify(sp.expand(left - right).coeff(h, degree)) != 0:
                return degree - 1
    raise NotDerivableError(f"an order above {MAX_ORDER}")


def _slopes(count: int) -> list[sp.Symbol]:
    """J', J'', ... at q."""
    return [sp.Symbol(f"J{k}", real=True) for k in range(1, count + 2)]


def _truncated(expr: Expr, degree: int) -> Expr:
    whole = sp.series(expr, h, 0, degree + 1).removeO() if expr.has(h) else expr
    return sp.expand(whole)


def _force(displacement: Expr, degree: int) -> Expr:
    """J' at q + displacement, where the displacement is of order h."""
    slopes = _slopes(degree + 1)
    total: Expr = sp.Integer(0)
    power: Expr = sp.Integer(1)
    for k in range(degree + 1):
        total += slopes[k] * power / sp.factorial(k)
        power = _truncated(power * displacement, degree)
    return _truncated(total, degree)


def _step(scheme: Scheme, degree: int, gamma: Expr) -> tuple[Expr, Expr]:
    start_q, start_p = sp.symbols("q_start p_start", real=True)
    values: dict[Expr, Expr] = {q: start_q, p: start_p}

    def closed(expr: Expr) -> Expr:
        if isinstance(expr, Grad):
            return _force(sp.expand(closed(expr.args[0]) - start_q), degree)
        if isinstance(expr, Velocity):
            return closed(expr.args[0])
        if isinstance(expr, Decay):
            begin, end = expr.args
            if gamma.has(t):
                return (begin / end) ** 3
            return sp.exp(-gamma * sp.expand(end - begin))
        if isinstance(expr, Coordinate):
            return values[expr]
        return expr.func(*(closed(arg) for arg in expr.args)) if expr.args else expr

    for line in scheme.lines:
        value = closed(line.value).xreplace({n: t / h})
        values[line.target] = _truncated(sp.together(value), degree)
    return values[q], values[p]


def _flow(degree: int, gamma: Expr) -> tuple[Expr, Expr]:
    start_q, start_p = sp.symbols("q_start p_start", real=True)
    position: Expr = start_q
    momentum: Expr = start_p
    friction = _truncated(gamma.xreplace({t: t + h}), degree)
    for _ in range(degree):
        force = -_force(sp.expand(position - start_q), degree) - friction * momentum
        position = start_q + sp.integrate(sp.expand(momentum), (h, 0, h))
        momentum = start_p + sp.integrate(_truncated(force, degree), (h, 0, h))
        position, momentum = _truncated(position, degree), _truncated(momentum, degree)
    return position, momentum
