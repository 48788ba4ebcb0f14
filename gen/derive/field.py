"""Problems for integrators in SymPy: fields, Jacobians, and what holds along every solution.

In: a :class:`Mechanics` or a :class:`System`.  Out: a :class:`VectorField`, y' = f(t, y), in parts:
positions and momenta of a Hamiltonian,

    q' = dH/dp,    p' = -dH/dq    (- gamma(t) p, kept apart: it is integrated exactly),

or all components of a system as one.  The friction enters as the factor exp(-int gamma).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError, Problem, caret
from hamilforge.gen.declare.expression import Expression, terms
from hamilforge.gen.derive.calculus import Expr, derivative, gradient, to_sympy
from hamilforge.gen.derive.sums import shortest
from hamilforge.gen.derive.system import parameter_symbol

#: The time, of either sign.
t = sp.Symbol("t", real=True)


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
    """

    problem: kinds.Problem
    parts: tuple[Part, ...]
    parameters: tuple[sp.Symbol, ...]
    energy: Expr | None
    friction: Expr
    structure: tuple[tuple[Expr, ...], ...] | None
    invariants: tuple[tuple[str, Expr], ...]

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

    def decay(self, start: sp.Symbol, stop: sp.Symbol) -> Expr:
        """exp(-int gamma) from ``start`` to ``stop``.

        Raises:
            DeclarationError: the friction has no elementary integral.
        """
        u = sp.Dummy("u", real=True)
        primitive = sp.integrate(self.friction.xreplace({t: u}), u)
        if primitive.has(sp.Integral, sp.Piecewise):
            raise DeclarationError.single(
                self.problem.head.source.where,
                f"the friction {self.friction} has no elementary integral",
                "friction",
            )
        exponent = sp.expand(primitive.xreplace({u: start}) - primitive.xreplace({u: stop}))
        return sp.powsimp(sp.expand_power_exp(sp.exp(sp.expand_log(exponent))))


def _slopes(values: Sequence[Expr], components: Sequence[sp.Symbol]) -> dict[tuple[int, int], Expr]:
    """The derivatives that are not zero, by row and column."""
    columns = {name: column for column, name in enumerate(components)}
    return {
        (row, columns[name]): slope
        for row, value in enumerate(values)
        for name, slope in gradient(value, components).items()
    }


def derive_field(declaration: kinds.Problem) -> VectorField:
    """The field of a declared problem.

    Raises:
        DeclarationError: a right-hand side divides by zero, or the Poisson structure does not give
            the equations.
    """
    if isinstance(declaration, kinds.Mechanics) and declaration.sites is not None:
        from hamilforge.gen.derive.lattice import derive_lattice

        return derive_lattice(declaration)
    symbols: dict[str, Expr] = {
        entry.name: parameter_symbol(entry) for entry in declaration.parameters
    }
    parameters = tuple(symbols.values())
    symbols["t"] = t
    names = (
        (*declaration.positions, *declaration.momenta)
        if isinstance(declaration, kinds.Mechanics)
        else tuple(name for name, _ in declaration.equations)
    )
    components = {name: sp.Symbol(name, real=True) for name in names}
    symbols |= components

    def derived(expression: Expression, key: str) -> Expr:
        value = to_sympy(expression, symbols)
        if value.has(sp.zoo, sp.nan, sp.oo):
            where = declaration.head.source.where
            raise DeclarationError.single(where, f"{expression.text}: divides by zero", key)
        return value

    invariants = tuple(
        (name, derived(value, f"[invariants].{name}")) for name, value in declaration.invariants
    )
    if isinstance(declaration, kinds.System):
        values = tuple(
            derived(value, f"[equations].{name}") for name, value in declaration.equations
        )
        whole = Part("y", tuple(components.values()), values)
        energy, structure = _structure(declaration, derived)
        field = VectorField(
            declaration, (whole,), parameters, energy, sp.S.Zero, structure, invariants
        )
        _check_structure(field)
        return field
    energy = derived(declaration.energy, "energy")
    positions = tuple(components[name] for name in declaration.positions)
    momenta = tuple(components[name] for name in declaration.momenta)
    slopes = gradient(energy, (*positions, *momenta))
    velocity, force = (
        tuple(sp.powsimp(slopes.get(name, sp.S.Zero), combine="exp") for name in names)
        for names in (momenta, positions)
    )
    parts = (
        Part("q", positions, velocity),
        Part("p", momenta, tuple(-value for value in force)),
    )
    friction = derived(declaration.friction, "friction")
    return VectorField(declaration, parts, parameters, energy, friction, None, invariants)


def _structure(
    declaration: kinds.System, derived: Callable[[Expression, str], Expr]
) -> tuple[Expr | None, tuple[tuple[Expr, ...], ...] | None]:
    if declaration.poisson is None:
        return None, None
    matrix = tuple(
        tuple(derived(entry, "[poisson].matrix") for entry in row)
        for row in declaration.poisson.matrix
    )
    return derived(declaration.poisson.energy, "[poisson].energy"), matrix


def _check_structure(field: VectorField) -> None:
    """A declared structure must be skew-symmetric and give the equations."""
    if field.structure is None:
        return
    where = field.problem.head.source.where
    size = range(len(field.components))
    for i in size:
        for j in size:
            if sp.simplify(field.structure[i][j] + field.structure[j][i]) != 0:
                raise DeclarationError.single(
                    where,
                    f"entries {i + 1},{j + 1} and {j + 1},{i + 1} are not opposite",
                    "[poisson].matrix",
                )
    gradient = field.gradient()
    for i, name in enumerate(field.components):
        found = sum((field.structure[i][j] * gradient[j] for j in size), sp.S.Zero)
        if sp.simplify(found - field.values[i]) != 0:
            raise DeclarationError.single(
                where,
                f"S grad H gives {sp.simplify(found)} for {name}, the equations say "
                f"{field.values[i]}",
                "[poisson]",
            )


def refuse_coupling(field: VectorField) -> DeclarationError:
    """Why no explicit splitting exists: the terms of H that couple positions and momenta."""
    problem = field.problem
    assert isinstance(problem, kinds.Mechanics)
    symbols = {str(name): name for name in (*field.components, *field.parameters, t)}
    positions, momenta = (part.components for part in field.parts)
    excerpts = []
    for term in terms(problem.energy.tree):
        value = to_sympy(Expression(problem.energy.text, term), symbols)
        mixed = (gradient(slope, momenta) for slope in gradient(value, positions).values())
        if any(sp.simplify(slope) != 0 for slopes in mixed for slope in slopes.values()):
            excerpts.append(caret(problem.energy.text, term.start, term.stop))
    message = (
        "this term couples q and p, so H is not K(p) + V(q): drift and kick are then no exact "
        "flows, and an explicit splitting does not exist; a Runge-Kutta method or a pair does"
    )
    source = problem.head.source
    return DeclarationError(
        [Problem(source.where, source.line("energy"), "energy", message, "\n".join(excerpts))]
    )
