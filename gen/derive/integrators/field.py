"""Problems for integrators in SymPy: fields, Jacobians, and what holds along every solution.

In: a :class:`Mechanics` or a :class:`System`.  Out: a :class:`VectorField`, y' = f(t, y), in parts:
positions and momenta of a Hamiltonian,

    q' = dH/dp,    p' = -dH/dq    (- gamma(t) p, kept apart: it is integrated exactly),

or all components of a system as one.  The friction enters as the factor exp(-int gamma).
"""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError, Problem, caret
from hamilforge.gen.declare.expression import SHIFT, Expression, terms
from hamilforge.gen.declare.memory import remembered
from hamilforge.gen.derive.calculus import Expr, gradient, to_sympy
from hamilforge.gen.derive.integrators.constraints import check_constraints
from hamilforge.gen.derive.integrators.lattice import LatticeField, derive_lattice, shift
from hamilforge.gen.derive.integrators.vector_field import Part, VectorField, defined, t
from hamilforge.gen.derive.symbols import parameter_symbol


@remembered
def derive_field(declaration: kinds.Problem) -> VectorField:
    """The field of a declared problem.

    Raises:
        DeclarationError: a right-hand side divides by zero, or the Poisson structure does not give
            the equations.
    """
    if isinstance(declaration, kinds.Mechanics) and declaration.sites is not None:
        return derive_lattice(declaration)
    symbols: dict[str, Expr] = {
        parameter.name: parameter_symbol(parameter) for parameter in declaration.parameters
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
        return defined(value, expression, declaration.head.source.where, key)

    invariants = tuple(
        (name, derived(value, f"[invariants].{name}")) for name, value in declaration.invariants
    )
    events = tuple(
        (event, derived(event.value, f"[events].{event.name}")) for event in declaration.events
    )
    for event, value in events:
        if not value.free_symbols & {t, *components.values()}:
            raise DeclarationError.single(
                declaration.head.source.where,
                f"it is {value} whatever the components and the time are, so it never changes",
                f"[events].{event.name}",
            )
    if isinstance(declaration, kinds.System):
        values = tuple(
            derived(value, f"[equations].{name}") for name, value in declaration.equations
        )
        whole = Part("y", tuple(components.values()), values)
        energy, structure = _structure(declaration, derived)
        field = VectorField(
            declaration,
            (whole,),
            parameters,
            energy,
            sp.S.Zero,
            structure,
            invariants,
            events=events,
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
    constraints = tuple(
        (name, derived(value, f"[constraints].{name}")) for name, value in declaration.constraints
    )
    field = VectorField(
        declaration,
        parts,
        parameters,
        energy,
        friction,
        None,
        invariants,
        constraints=constraints,
        events=events,
    )
    if constraints:
        check_constraints(field)
    return field


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
        rate = sum((field.structure[i][j] * gradient[j] for j in size), sp.S.Zero)
        if sp.simplify(rate - field.values[i]) != 0:
            raise DeclarationError.single(
                where,
                f"S grad H gives {sp.simplify(rate)} for {name}, the equations say "
                f"{field.values[i]}",
                "[poisson]",
            )


def refuse_coupling(field: VectorField) -> DeclarationError:
    """Why no explicit splitting exists: the terms of H that couple positions and momenta."""
    problem = field.problem
    assert isinstance(problem, kinds.Mechanics)
    symbols = {str(name): name for name in (*field.components, *field.parameters, t)}
    if isinstance(field, LatticeField):
        symbols[field.sites.name] = field.count
    positions, momenta = (part.components for part in field.parts)
    excerpts = []
    for term in terms(problem.energy.tree):
        value = to_sympy(Expression(problem.energy.text, term), symbols, {SHIFT: shift})
        if isinstance(field, LatticeField):
            coupled = bool(field.coupled(value))
        else:
            mixed = (gradient(slope, momenta) for slope in gradient(value, positions).values())
            coupled = any(sp.simplify(slope) != 0 for slopes in mixed for slope in slopes.values())
        if coupled:
            excerpts.append(caret(problem.energy.text, term.start, term.stop))
    message = (
        "this term couples q and p, so H is not K(p) + V(q): drift and kick are then no exact "
        "flows, and an explicit splitting does not exist; a Runge-Kutta method or a pair does"
    )
    source = problem.head.source
    return DeclarationError(
        [Problem(source.where, source.line("energy"), "energy", message, "\n".join(excerpts))]
    )
