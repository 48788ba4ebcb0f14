"""A derived field becomes the functions that methods need of it.

What these functions call their results carries two underscores in a row, which no declared name
has: ``d__x`` is the rate of x, ``w__x`` its costate, ``g__x`` the product by x.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy as sp

from hamilforge.gen.declare.read_problems import RATE
from hamilforge.gen.derive.calculus import Expr, gradient
from hamilforge.gen.derive.integrators.constraints import (
    constraint_rates,
    constraint_slopes,
    inverse_mass,
)
from hamilforge.gen.derive.integrators.sizes import size_of_terms
from hamilforge.gen.derive.integrators.vector_field import VectorField, t
from hamilforge.gen.program.integrators.build_events import build_events
from hamilforge.gen.program.integrators.integrator import (
    START,
    STOP,
    Constraints,
    Energy,
    Matrix,
    Part,
    Problem,
)
from hamilforge.gen.program.ir import Function
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.straight import straight


def build_problem(field: VectorField, whole: bool, slopes: bool = True) -> Problem:
    """The functions of a problem.

    Args:
        field: what was derived.
        whole: whether all components are one part.
        slopes: whether the method asks for derivatives of the right-hand sides.

    Returns:
        The problem.

    Raises:
        DeclarationError: the friction has no elementary integral.
    """
    declaration = field.problem
    components = tuple(str(name) for name in field.components)
    start_values = dict(declaration.start.values)
    start, stop = (sp.Dummy(name, real=True) for name in ("start", "stop"))
    damped = field.friction != 0
    names = {start: START, stop: STOP}
    quantities = [*field.invariants]
    for (name, value), rate in zip(field.constraints, constraint_rates(field), strict=True):
        quantities += [(name, value), (f"{name}_{RATE}", rate)]
    conservative = field.energy is not None and field.friction == 0 and not field.energy.has(t)
    events, event_series = build_events(field)
    return Problem(
        name=declaration.head.name,
        components=components,
        parameters=declaration.parameters,
        start_time=declaration.start.time,
        start=tuple(start_values.get(name) for name in components),
        parts=_parts(field, whole, slopes),
        jacobian=_matrix(field, "jacobian", field.jacobian) if slopes else None,
        energy=_energy(field, slopes),
        conservative=conservative,
        structure=_structure(field),
        structure_slope=_structure_slope(field),
        decay=lower(field.decay(start, stop), names) if damped else None,
        rate=lower(field.friction) if damped else None,
        invariants=tuple(
            (name, _function(field, name, {name: value})) for name, value in quantities
        ),
        constraints=_constraints(field),
        events=events,
        event_series=event_series,
    )


def _constraints(field: VectorField) -> Constraints | None:
    """g, its slopes and the inverse mass, for methods that solve for multipliers."""
    if not field.constraints:
        return None
    values = {f"g__{name}": value for name, value in field.constraints}
    positions, momenta = (part.components for part in field.parts)
    slopes, mass = constraint_slopes(field), inverse_mass(field)
    named = {
        f"g__{field.constraints[row][0]}__d__{positions[column]}": slope
        for (row, column), slope in slopes.items()
    }
    weights = {
        f"d__{momenta[row]}__d__{momenta[column]}": entry for (row, column), entry in mass.items()
    }
    return Constraints(
        tuple(name for name, _ in field.constraints),
        _function(field, "constraints", values),
        Matrix(_function(field, "constraint_slopes", named), tuple(slopes)),
        Matrix(_function(field, "inverse_mass", weights), tuple(mass)),
    )


def _inputs(field: VectorField) -> tuple[str, ...]:
    return ("t", *map(str, field.components), *map(str, field.parameters))


def _function(field: VectorField, name: str, results: Mapping[str, Expr]) -> Function:
    return straight(name, _inputs(field), results)


def _parts(field: VectorField, whole: bool, slopes: bool) -> tuple[Part, ...]:
    if whole or len(field.parts) == 1:
        return (_part(field, "field", 0, field.components, field.values, (0,), slopes),)
    positions, momenta = field.parts
    first, second = field.parts_needed(False)
    half = len(positions.components)
    return (
        _part(field, "velocity", 0, positions.components, positions.values, first, slopes),
        _part(field, "force", half, momenta.components, momenta.values, second, slopes),
    )


def _part(
    field: VectorField,
    name: str,
    start: int,
    components: Sequence[sp.Symbol],
    values: Sequence[Expr],
    needs: tuple[int, ...],
    slopes: bool,
) -> Part:
    rates = {f"d__{component}": value for component, value in zip(components, values, strict=True)}
    product = None
    if slopes:
        weights = [sp.Symbol(f"w__{component}", real=True) for component in components]
        along = _along(weights, values, (*field.components, *field.parameters))
        product = straight(f"{name}_product", (*_inputs(field), *map(str, weights)), along)
    stop = start + len(components)
    return Part(name, start, stop, _function(field, name, rates), product, needs)


def _along(
    weights: Sequence[sp.Symbol], values: Sequence[Expr], targets: Sequence[sp.Symbol]
) -> dict[str, Expr]:
    """The derivatives of ``sum_i w_i f_i``: each f_i by its own symbols, term by term."""
    contributions: dict[sp.Symbol, list[Expr]] = {target: [] for target in targets}
    for weight, value in zip(weights, values, strict=True):
        if value.is_Add:
            for target, slope in gradient(value, targets).items():
                contributions[target].append(weight * slope)
        else:
            for target, slope in gradient(weight * value, targets).items():
                contributions[target].append(slope)
    return {f"g__{target}": sp.Add(*slopes) for target, slopes in contributions.items()}


def _matrix(field: VectorField, name: str, entries: Mapping[tuple[int, int], Expr]) -> Matrix:
    components = field.components
    results = {
        f"d__{components[row]}__d__{components[column]}": value
        for (row, column), value in entries.items()
    }
    return Matrix(_function(field, name, results), tuple(entries))


def _energy(field: VectorField, slopes: bool) -> Energy | None:
    if field.energy is None:
        return None
    gradient = {
        f"d__{name}": value for name, value in zip(field.components, field.gradient(), strict=True)
    }
    return Energy(
        _function(field, "energy", {"energy": field.energy}),
        _function(field, "energy_size", {"size": size_of_terms(field.energy)}),
        _function(field, "gradient", gradient),
        _matrix(field, "hessian", field.hessian) if slopes else None,
    )


def _structure(field: VectorField) -> Matrix | None:
    """S of y' = S grad H: what is declared, or the canonical one."""
    if field.energy is None:
        return None
    if field.structure is None:
        half = len(field.components) // 2
        entries = {(k, half + k): sp.S.One for k in range(half)}
        return _matrix(
            field, "structure", entries | {(half + k, k): -sp.S.One for k in range(half)}
        )
    size = range(len(field.components))
    entries = {
        (i, j): field.structure[i][j] for i in size for j in size if field.structure[i][j] != 0
    }
    return _matrix(field, "structure", entries)


def _structure_slope(field: VectorField) -> Matrix | None:
    if field.structure is None:
        return None
    weights = [sp.Symbol(f"w__{name}", real=True) for name in field.components]
    results = {}
    for i, row in enumerate(field.structure):
        image = sp.Add(*(s * w for s, w in zip(row, weights, strict=True)))
        slopes = gradient(image, field.components)
        for j, name in enumerate(field.components):
            if name in slopes:
                results[i, j] = slopes[name]
    names = {
        f"d__{field.components[i]}__d__{field.components[j]}": slope
        for (i, j), slope in results.items()
    }
    inputs = (*_inputs(field), *map(str, weights))
    return Matrix(straight("structure_slope", inputs, names), tuple(results)) if results else None
