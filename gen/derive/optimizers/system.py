"""A declared Hamiltonian as SymPy: velocity, friction factor, and the impulse of a kick.

In: a :class:`Hamiltonian` declaration, H = K(p) + J(q) with p' = -grad J(q) - gamma(t) p.
Out: the exact flows in closed form,

    A  q <- q + s grad K(p)
    B  p <- p - s grad J(q)
    D  p <- decay(t, t+s) p,                     decay(a, b) = exp(-int_a^b gamma)
    BD p <- decay(t, t+s) p - impulse(t, t+s) grad J(q),  impulse(a, b) = int_a^b decay(u, b) du
    O  p <- decay(t, t+s) p + heat(t, t+s) xi,   heat(a, b)^2 = m T (1 - decay(a, b)^2), K = p^2/2m

McLachlan and Perlmutter, J. Geom. Phys. 39 (2001) 276-300; for O Leimkuhler and Matthews, Appl.
Math. Res. Express 2013 (2013) 34-56.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import sympy as sp

from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.kinds import Hamiltonian
from hamilforge.gen.derive.calculus import (
    Expr,
    Total,
    coordinates,
    derivative,
    primitive,
    tidy,
    tidy_scalars,
    to_sympy,
)
from hamilforge.gen.derive.symbols import Decay, Heat, Impulse, Velocity, p, parameter_symbol, t


@dataclass(frozen=True, slots=True)
class System:
    """The derived parts of H = K(p) + J(q) with friction.

    Attributes:
        kinetic: K in the generic coordinate ``p``.
        gradient: grad K in the generic coordinate.
        gamma: the friction as a function of ``t``.
        symbols: the parameters by name.
        temperature: of the heat bath; None where there is none.
    """

    declaration: Hamiltonian
    kinetic: Expr
    gradient: Expr
    gamma: Expr
    symbols: Mapping[str, sp.Symbol]
    temperature: Expr | None = None

    def velocity(self, momentum: Expr) -> Expr:
        """Grad K at a momentum."""
        return self.gradient.xreplace({p: momentum})

    def decay(self, start: Expr, stop: Expr) -> Expr:
        """exp(-int gamma) over a time span.

        Raises:
            DeclarationError: the friction has no elementary integral.
        """
        u = sp.Symbol("u", positive=True)
        whole = primitive(self.gamma.xreplace({t: u}), u)
        if whole is None:
            raise self._refuse(f"the friction {self.gamma} has no elementary integral")
        exponent = sp.expand(whole.xreplace({u: start}) - whole.xreplace({u: stop}))
        return sp.powsimp(sp.expand_power_exp(sp.exp(sp.expand_log(exponent))))

    def impulse(self, start: Expr, stop: Expr) -> Expr:
        """Int decay(u, stop) du over a time span: what a kick with friction adds up to.

        Raises:
            DeclarationError: the integral is not elementary.
        """
        u, end = (sp.Symbol(name, positive=True) for name in ("u", "v"))
        integral = primitive(self.decay(u, end), u)
        if integral is None:
            raise self._refuse(
                f"a kick with friction {self.gamma} (letters BD) has no elementary integral; "
                "use the letters B and D"
            )
        whole = integral.xreplace({u: stop, end: stop}) - integral.xreplace({u: start, end: stop})
        return tidy(whole)

    def heat(self, start: Expr, stop: Expr) -> Expr:
        """The standard deviation that the noise of a time span gives to a momentum.

        It is that for which exp(-H/T) stays as it is: the decay takes from the variance m T of a
        momentum what the noise gives back.

        Raises:
            DeclarationError: there is no temperature, or K is no multiple of p^2.
        """
        return sp.sqrt(self._bath()) * sp.sqrt(1 - self.decay(start, stop) ** 2)

    def diffusion(self) -> Expr:
        """The s of ``dp = -grad J dt - gamma p dt + s dW``, whose flow :meth:`heat` is of.

        Raises:
            DeclarationError: there is no temperature, or K is no multiple of p^2.
        """
        return sp.sqrt(2 * self.gamma * self._bath())

    def _bath(self) -> Expr:
        """The variance m T of a momentum in the bath."""
        if self.temperature is None:
            raise self._refuse("friction with noise (letter O) needs a temperature", "temperature")
        mass = sp.simplify(p / self.gradient) if self.gradient != 0 else sp.zoo
        if coordinates(mass) or mass.has(Total, sp.zoo):
            raise self._refuse(
                "friction with noise (letter O) has a closed form for K = dot(p, p)/(2*m) only",
                "kinetic",
            )
        return mass * self.temperature

    def closed(
        self, expr: Expr, in_force: Callable[[Expr, sp.Tuple], Expr] = lambda value, _: value
    ) -> Expr:
        """An expression with closed forms in the place of Velocity, Decay, Impulse and Heat.

        Args:
            expr: the expression.
            in_force: called with each closed form and its arguments; returns what stands for it.
        """
        forms: dict[type, Callable[..., Expr]] = {
            Velocity: self.velocity,
            Decay: self.decay,
            Impulse: self.impulse,
            Heat: self.heat,
        }

        def visit(part: Expr) -> Expr:
            if not part.args:
                return part
            args = [visit(arg) for arg in part.args]
            if type(part) in forms:
                return in_force(forms[type(part)](*args), sp.Tuple(*args))
            return part.func(*args)

        return visit(expr)

    def _refuse(self, message: str, key: str = "friction") -> DeclarationError:
        head = self.declaration.head
        return DeclarationError.single(head.source.where, message, key)

    def energy_rate(self) -> Expr:
        """DH/dt = -gamma p . grad K(p), as a sum over coordinates."""
        return tidy_scalars(-self.gamma * Total(p * self.gradient))


def per_coordinate(system: System) -> System:
    """The system whose kinetic energy is that of each coordinate by itself, summed."""

    def alone(expr: Expr) -> Expr:
        return expr.replace(Total, lambda arg: arg)

    return replace(system, kinetic=Total(alone(system.kinetic)), gradient=alone(system.gradient))


def derive_system(declaration: Hamiltonian) -> System:
    """Differentiate a declared kinetic energy.

    Raises:
        DeclarationError: the velocity at rest is not zero, so stationary points of J would move.
    """
    symbols = {parameter.name: parameter_symbol(parameter) for parameter in declaration.parameters}
    kinetic = to_sympy(declaration.kinetic, {**symbols, "p": p})
    gamma = to_sympy(declaration.friction, {**symbols, "t": t})
    heat = declaration.temperature
    temperature = to_sympy(heat, symbols) if heat else None
    gradient = sp.powsimp(derivative(kinetic, p), combine="exp")
    if any(expr.has(sp.nan, sp.zoo, sp.oo) for expr in (kinetic, gradient, gamma)):
        raise DeclarationError.single(
            declaration.head.source.where, "divides by zero", "kinetic or friction"
        )
    if not coordinates(gradient) and gradient != 0:
        raise DeclarationError.single(
            declaration.head.source.where,
            "the velocity grad K does not vanish at p = 0",
            "kinetic",
        )
    return System(declaration, kinetic, gradient, gamma, symbols, temperature)
