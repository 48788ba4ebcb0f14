"""The symbols of derivations: coordinates, the clock, parameters, flows that are not known yet."""

from __future__ import annotations

import sympy as sp

from hamilforge.gen.declare.kinds import Parameter
from hamilforge.gen.derive.calculus import Coordinate, Expr

q, p = Coordinate("q"), Coordinate("p")


h, t, n = (sp.Symbol(name, positive=True) for name in "htn")
#: The loss at the point of the gradient of a step.
LOSS = "J"
loss = sp.Symbol(LOSS, real=True)


class Velocity(sp.Function):
    """grad K at a momentum, before the kinetic energy is known."""

    nargs = 1


class Grad(sp.Function):
    """grad J at a point: the oracle."""

    nargs = 1


class Decay(sp.Function):
    """The exact friction factor between two times."""

    nargs = 2

    @classmethod
    def eval(cls, start: Expr, stop: Expr) -> Expr | None:
        """No time, no friction."""
        return sp.Integer(1) if start == stop else None


class Impulse(sp.Function):
    """The integral of the friction factor to the end of a time span."""

    nargs = 2


class Heat(sp.Function):
    """By how much the noise of a time span spreads the momentum: a standard deviation."""

    nargs = 2

    @classmethod
    def eval(cls, start: Expr, stop: Expr) -> Expr | None:
        """No time, no noise."""
        return sp.Integer(0) if start == stop else None


def parameter_symbol(parameter: Parameter) -> sp.Symbol:
    """A parameter as a symbol; limits at the ends of its domain are taken of finished scalars."""
    if parameter.domain == "real":
        return sp.Symbol(parameter.name, real=True)
    return sp.Symbol(parameter.name, positive=True)
