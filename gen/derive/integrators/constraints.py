"""Constraints of a mechanical problem in SymPy: their slopes, and what may stand beside them.

In: a field with constraints g(q) = 0, whose equations are

    q' = dK/dp,    p' = -dV/dq - G' lambda - gamma(t) p,    G = dg/dq,    g(q) = 0,

and so G dK/dp = 0 too.  Out: the entries of G and of the inverse mass d^2K/dp^2, and errors where a
constrained step has no meaning.
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp

from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.derive.calculus import Expr, derivative, gradient
from hamilforge.gen.derive.integrators.vector_field import VectorField
from hamilforge.gen.derive.integrators.vector_field import t as TIME

Entries = dict[tuple[int, int], Expr]


def constraint_slopes(field: VectorField) -> Entries:
    """The entries of G = dg/dq that are not zero, by constraint and position."""
    positions = field.parts[0].components
    return {
        (row, positions.index(name)): slope
        for row, (_, value) in enumerate(field.constraints)
        for name, slope in gradient(value, positions).items()
    }


def inverse_mass(field: VectorField) -> Entries:
    """The entries of d^2K/dp^2 that are not zero, by two momenta."""
    positions, momenta = field.parts
    return {
        (row, momenta.components.index(name)): slope
        for row, value in enumerate(positions.values)
        for name, slope in gradient(value, momenta.components).items()
    }


def constraint_rates(field: VectorField) -> tuple[Expr, ...]:
    """The derivatives of the constraints along solutions, ``G dK/dp``."""
    positions = field.parts[0]
    pairs = tuple(zip(positions.components, positions.values, strict=True))
    return tuple(
        sp.Add(*(slopes[name] * value for name, value in pairs if name in slopes))
        for slopes in (gradient(value, positions.components) for _, value in field.constraints)
    )


def constraint_curvatures(field: VectorField) -> dict[str, Expr]:
    """``dK/dp' g'' dK/dp``, and what moves velocities by the time, for each constraint."""
    positions = field.parts[0]
    pairs = tuple(zip(positions.components, positions.values, strict=True))
    return {
        f"curvature__{name}": sp.Add(
            *(u * v * derivative(g, x, y) for x, u in pairs for y, v in pairs),
            *(derivative(g, x) * derivative(u, TIME) for x, u in pairs),
        )
        for name, g in field.constraints
    }


def check_constraints(field: VectorField) -> None:
    """Refuse constraints that constrain nothing, and a kinetic energy that they do not fit.

    Raises:
        DeclarationError: a constraint does not depend on positions; H is not K(p, t) + V(q, t); or
            friction, which scales momenta, would lead off the velocities that constraints allow.
    """
    where, positions = field.problem.head.source.where, field.parts[0].components
    for name, value in field.constraints:
        if all(sp.simplify(slope) == 0 for slope in gradient(value, positions).values()):
            message = f"{value} does not depend on the positions, so it constrains nothing"
            raise DeclarationError.single(where, message, f"[constraints].{name}")
    if not field.separable:
        raise DeclarationError.single(
            where,
            "this energy couples q and p, and constrained steps are for H = K(p, t) + V(q, t); "
            "with more coordinates and constraints between them masses can be made constant",
            "energy",
        )
    momenta = {name: name for name in field.parts[1].components}
    if not _keeps_directions(field, {TIME: sp.Integer(1)}):
        raise DeclarationError.single(
            where,
            "dK/dp changes its direction with the time: it leads off the velocities that the "
            "constraints allow while positions and momenta stand; a factor of the time before all "
            "of K keeps them",
            "energy",
        )
    if field.friction != 0 and not _keeps_directions(field, momenta):
        raise DeclarationError.single(
            where,
            "friction scales p, and dK/dp then changes its direction: it leads off the velocities "
            "that the constraints allow; a kinetic energy quadratic in p, or a function of one, "
            "keeps them",
            "friction",
        )


def _keeps_directions(field: VectorField, rates: Mapping[sp.Symbol, Expr]) -> bool:
    """Whether v = dK/dp keeps its direction: its derivative along some rates is along v.

    Args:
        field: with constraints.
        rates: of what changes; of p that of p for momenta at c p.
    """
    velocity = field.parts[0].values
    along = [
        sp.Add(*(rate * derivative(value, name) for name, rate in rates.items()))
        for value in velocity
    ]
    return all(
        sp.simplify(velocity[i] * along[j] - velocity[j] * along[i]) == 0
        for j in range(len(velocity))
        for i in range(j)
    )
