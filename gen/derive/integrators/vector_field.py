"""Fields of problems for integrators: what is derived of them, and what holds along solutions.

In: right-hand sides in SymPy.  Out: a :class:`VectorField`, y' = f(t, y), in parts, with its
Jacobian, divergence and the rates of quantities.  The friction enters as exp(-int gamma).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.expression import Expression
from hamilforge.gen.derive.calculus import Expr, derivative, expanded, gradient, primitive
from hamilforge.gen.derive.sums import differs, shortest

#: The time, of either sign.
t = sp.Symbol("t", real=True)


def defined(value: Expr, expression: Expression, where: str, key: str) -> Expr:
    """A value that is finite.

    Args:
        value: what the expression is in SymPy.
        expression: as it was declared, for the message.
        where: the file.
        key: of the declaration.

    Returns:
        The value itself.

    Raises:
        DeclarationError: the expression, which stands under the key, divides by zero.
    """
    if value.has(sp.zoo, sp.nan, sp.oo):
        raise DeclarationError.single(where, f"{expression.text}: divides by zero", key)
    return value


@dataclass(frozen=True, slots=True)
class Part:
    """Components that a method treats alike, and their right-hand sides."""

    name: str
    components: tuple[sp.Symbol, ...]
    values: tuple[Expr, ...]


@dataclass(frozen=True)
class VectorField:
    """``y' = f(t, y)``.

    Attributes:
        parts: one for a system; positions and momenta for a Hamiltonian.
        parameters: symbols of the parameters.
        energy: H, if the field has one.
        friction: gamma(t), which takes momentum away beside the field.
        structure: S in ``y' = S(y) grad H`` for a Poisson system.
        invariants: what its author says to be constant, by name.
        constraints: functions of the positions that vanish along solutions, by name.
        events: what is looked for along solutions, with its value.
    """

    problem: kinds.Problem
    parts: tuple[Part, ...]
    parameters: tuple[sp.Symbol, ...]
    energy: Expr | None
    friction: Expr
    structure: tuple[tuple[Expr, ...], ...] | None
    invariants: tuple[tuple[str, Expr], ...]
    constraints: tuple[tuple[str, Expr], ...] = field(default=(), kw_only=True)
    events: tuple[tuple[kinds.Event, Expr], ...] = field(default=(), kw_only=True)

    @functools.cached_property
    def components(self) -> tuple[sp.Symbol, ...]:
        """The names of y."""
        return tuple(name for part in self.parts for name in part.components)

    @functools.cached_property
    def values(self) -> tuple[Expr, ...]:
        """The field f, without friction."""
        return tuple(value for part in self.parts for value in part.values)

    @functools.cached_property
    def autonomous(self) -> bool:
        """Whether neither f nor the friction depends on t."""
        return not any(value.has(t) for value in (*self.values, self.friction))

    @functools.cached_property
    def damped(self) -> tuple[Expr, ...]:
        """The field with friction."""
        if self.friction == 0:
            return self.values
        positions, momenta = self.parts
        pairs = zip(momenta.values, momenta.components, strict=True)
        return (*positions.values, *(value - self.friction * name for value, name in pairs))

    @functools.cached_property
    def jacobian(self) -> dict[tuple[int, int], Expr]:
        """The entries of df/dy that are not zero."""
        return _slopes(self.values, self.components)

    def gradient(self) -> tuple[Expr, ...]:
        """The gradient of H."""
        slopes = gradient(self.energy, self.components)
        return tuple(slopes.get(name, sp.S.Zero) for name in self.components)

    @functools.cached_property
    def hessian(self) -> dict[tuple[int, int], Expr]:
        """The entries of the second derivative of H that are not zero."""
        return _slopes(self.gradient(), self.components)

    @functools.cached_property
    def jacobi(self) -> bool:
        """Whether a declared structure S satisfies Jacobi's identity.

        ``sum_l (d_l S_ij S_lk + d_l S_jk S_li + d_l S_ki S_lj) = 0`` for all i, j, k.
        """
        assert self.structure is not None
        s, names = self.structure, self.components
        size = range(len(names))

        def turn(i: int, j: int, k: int) -> Expr:
            return sum((derivative(s[i][j], names[m]) * s[m][k] for m in size), sp.S.Zero)

        return all(
            sp.simplify(turn(i, j, k) + turn(j, k, i) + turn(k, i, j)) == 0
            for i in size
            for j in size
            for k in size
            if i < j < k
        )

    def needs(self, part: int) -> frozenset[int]:
        """The parts on whose components a part's right-hand side depends."""
        names = set().union(*(value.free_symbols for value in self.parts[part].values))
        return frozenset(k for k, other in enumerate(self.parts) if names & set(other.components))

    def parts_needed(self, whole: bool) -> list[tuple[int, ...]]:
        """The numbers of the parts that each part depends on; one part if they are ``whole``."""
        if whole:
            return [(0,)]
        return [tuple(sorted(self.needs(number))) for number in range(len(self.parts))]

    @functools.cached_property
    def separable(self) -> bool:
        """Whether H = K(p, t) + V(q, t)."""
        return len(self.parts) == 2 and all(
            self.needs(part) <= {1 - part} for part in range(len(self.parts))
        )

    @property
    def divergence(self) -> Expr:
        """The trace of the Jacobian, with friction: zero where volume is preserved.

        That of ``(dH/dp, -dH/dq)`` is zero, for mixed derivatives are equal.
        """
        if isinstance(self.problem, kinds.Mechanics):
            return sp.simplify(-self.friction * len(self.parts[1].components))
        pairs = zip(self.components, self.values, strict=True)
        return shortest(
            (slope, sp.S.One)
            for name, value in pairs
            for slope in gradient(value, (name,)).values()
        )

    def rate(self, quantity: Expr) -> Expr:
        """The derivative of a quantity along solutions."""
        slopes = gradient(quantity, self.components)
        pairs = zip(self.components, self.damped, strict=True)
        along = ((slopes[name], value) for name, value in pairs if name in slopes)
        return shortest(((derivative(quantity, t), sp.S.One), *along))

    def differs(self, quantity: Expr) -> bool:
        """Whether numbers show that a scalar is not zero."""
        return differs(expanded(quantity))

    def decay(self, start: sp.Symbol, stop: sp.Symbol) -> Expr:
        """exp(-int gamma) from ``start`` to ``stop``.

        Raises:
            DeclarationError: the friction has no elementary integral.
        """
        u = sp.Dummy("u", real=True)
        whole = primitive(self.friction.xreplace({t: u}), u)
        if whole is None:
            raise DeclarationError.single(
                self.problem.head.source.where,
                f"the friction {self.friction} has no elementary integral",
                "friction",
            )
        exponent = sp.expand(whole.xreplace({u: start}) - whole.xreplace({u: stop}))
        return sp.powsimp(sp.expand_power_exp(sp.exp(sp.expand_log(exponent))))


def _slopes(values: Sequence[Expr], components: Sequence[sp.Symbol]) -> dict[tuple[int, int], Expr]:
    """The derivatives that are not zero, by row and column."""
    columns = {name: column for column, name in enumerate(components)}
    return {
        (row, columns[name]): slope
        for row, value in enumerate(values)
        for name, slope in gradient(value, components).items()
    }
