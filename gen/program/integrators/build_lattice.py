"""A derived lattice becomes the functions that methods need of it: over arrays, an entry a site.

In: a :class:`LatticeField` with a number of sites.  Out: the same :class:`Problem` as of any other
field; its functions take sums over the sites first, and then compute what is asked for at each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.read_lattices import SITE
from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.derive.calculus import Coordinate, Expr, Total, coordinates, outer_totals
from hamilforge.gen.derive.integrators.lattice import (
    LatticeField,
    at_site,
    counted,
    scalar_derivative,
    site_gradient,
    start_values,
)
from hamilforge.gen.derive.integrators.sizes import size_of_terms
from hamilforge.gen.derive.integrators.vector_field import t
from hamilforge.gen.program.algebra import evaluate
from hamilforge.gen.program.integrators.integrator import (
    START,
    STOP,
    Band,
    Energy,
    Lattice,
    Matrix,
    Part,
    Problem,
    stencil,
)
from hamilforge.gen.program.ir import Expr as IrExpr
from hamilforge.gen.program.ir import Function, Line, Reduce, type_of
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.reference import FLOAT64
from hamilforge.gen.program.straight import straight


def build_lattice(field: LatticeField, whole: bool, slopes: bool) -> Problem:
    """The functions of a lattice.

    Args:
        field: what was derived.
        whole: whether all components are one part.
        slopes: whether the method asks for derivatives of right-hand sides.

    Returns:
        The problem; Jacobian and structure are left out where ``slopes`` is false.

    Raises:
        DeclarationError: the friction has no elementary integral, or derivatives are no bands.
    """
    declaration = field.problem
    assert isinstance(declaration, kinds.Mechanics)
    count, energy = field.sites.count, field.energy
    assert count is not None
    assert energy is not None
    start, stop = (sp.Dummy(name, real=True) for name in ("start", "stop"))
    damped = field.friction != 0
    begin = {name: lower(value) for name, value in start_values(declaration).items()}
    _check_start(declaration, begin, field.sites.name, count)
    components = tuple(str(name) for name in field.components)
    lattice = Lattice(
        field.sites.name,
        count,
        tuple(begin.get(name) for name in components),
    )
    halves = (("field", 0, 2),) if whole else (("velocity", 0, 1), ("force", 1, 2))
    needs = field.parts_needed(whole)
    parts = [
        _part(field, name, first, last, need)
        for (name, first, last), need in zip(halves, needs, strict=True)
    ]
    return Problem(
        name=declaration.head.name,
        components=components,
        parameters=declaration.parameters,
        start_time=declaration.start.time,
        start=(),
        parts=tuple(parts),
        jacobian=_matrix(field, "jacobian", field.bands) if slopes else None,
        energy=_energy(field, slopes),
        conservative=field.friction == 0 and not energy.has(t),
        structure=_structure(field) if slopes else None,
        structure_slope=None,
        decay=lower(field.decay(start, stop), {start: START, stop: STOP}) if damped else None,
        rate=lower(field.friction) if damped else None,
        invariants=tuple(
            (name, _function(field, name, {}, {name: value})) for name, value in field.invariants
        ),
        lattice=lattice,
    )


def _check_start(
    declaration: kinds.Mechanics, begin: Mapping[str, IrExpr], name: str, count: int
) -> None:
    """Refuse a start that is no number at some site.

    Raises:
        DeclarationError: it names the site.
    """
    sites = np.arange(count)
    for component, value in begin.items():
        with np.errstate(all="ignore"):
            numbers = evaluate(value, {SITE: sites.astype(float), name: float(count)}, FLOAT64)
        wrong = np.flatnonzero(~np.isfinite(np.broadcast_to(numbers, count)))
        if wrong.size:
            raise DeclarationError.single(
                declaration.head.source.where,
                f"no number at {SITE} = {wrong[0]}",
                f"[start].{component}",
            )


def _function(
    field: LatticeField,
    name: str,
    rows: Mapping[str, Expr],
    numbers: Mapping[str, Expr] | None = None,
) -> Function:
    """A function of arrays: sums over the sites, then what follows from them.

    Args:
        field: the lattice.
        name: of the function.
        rows: results with a value at each site.
        numbers: results with one value; they come last.
    """
    results = {**rows, **(numbers or {})}
    scalars = ("t", *map(str, field.parameters), field.sites.name)
    sums: dict[Expr, sp.Symbol] = {}
    body: list[Line] = []

    def without_sums(expr: Expr) -> Expr:
        for total in outer_totals(expr):
            if total not in sums:
                inner = lower(without_sums(total.args[0]))
                sums[total] = sp.Symbol(f"total__{len(sums) + 1}", real=True)
                body.append(Line(Array(sums[total].name), Reduce(inner)))
        return expr.xreplace(sums)

    plain = {key: without_sums(counted(value, field.count)) for key, value in results.items()}
    used = {symbol for expr in plain.values() for symbol in coordinates(expr)}
    used |= {symbol for total in sums for symbol in coordinates(total.args[0])}
    arrays = tuple(sorted((str(symbol) for symbol in used), key=stencil))
    own = (*scalars, *arrays, *(sums[total].name for total in sums))
    sites = (field.sites.name,)
    inputs = (*(Array(array, sites) for array in arrays), *map(Array, scalars))
    types = {array.name: array for array in (*inputs, *(line.target for line in body))}
    for line in straight(name, own, plain).lines:
        shape, _ = type_of(line.value, types)
        types[line.name] = Array(line.name, sites if line.name in rows else shape)
        body.append(Line(types[line.name], line.value))
    return Function(name, inputs, tuple(body), tuple((key, types[key]) for key in results))


def _part(field: LatticeField, name: str, first: int, last: int, needs: tuple[int, ...]) -> Part:
    own = [
        (component, value)
        for part in field.parts[first:last]
        for component, value in zip(part.components, part.values, strict=True)
    ]
    rates = {f"d__{component}": value for component, value in own}
    weights = [Coordinate(f"w__{component}") for component, _ in own]
    along = sp.Add(
        *(Total(weight * value) for weight, (_, value) in zip(weights, own, strict=True))
    )
    slopes = {
        f"g__{component}": slope
        for component, slope in site_gradient(along, field.components).items()
    }
    by_parameters = {
        f"g__{parameter}": scalar_derivative(along, parameter) for parameter in field.parameters
    }
    assert field.sites.count is not None
    half = len(field.parts[0].components)
    return Part(
        name,
        first * half * field.sites.count,
        last * half * field.sites.count,
        _function(field, name, rates),
        _function(field, f"{name}_product", slopes, by_parameters),
        needs,
    )


def _energy(field: LatticeField, slopes: bool) -> Energy:
    energy: Expr = field.energy
    rows = {
        f"d__{name}": value for name, value in zip(field.components, field.gradient(), strict=True)
    }
    return Energy(
        _function(field, "energy", {}, {"energy": energy}),
        _function(field, "energy_size", {}, {"size": size_of_terms(energy)}),
        _function(field, "gradient", rows),
        _matrix(field, "hessian", field.hessian_bands) if slopes else None,
    )


def _structure(field: LatticeField) -> Matrix:
    """S of y' = S grad H."""
    half = len(field.components) // 2
    entries = {(k, half + k, 0): sp.S.One for k in range(half)}
    return _matrix(field, "structure", entries | {(half + k, k, 0): -sp.S.One for k in range(half)})


def _matrix(field: LatticeField, name: str, entries: Mapping[tuple[int, int, int], Expr]) -> Matrix:
    components: Sequence[sp.Symbol] = field.components
    count = field.sites.count
    assert count is not None
    results = {
        f"d__{components[row]}__d__{at_site(str(components[column]), offset)}": value
        for (row, column, offset), value in entries.items()
    }
    bands = (Band(row * count, column * count, offset) for row, column, offset in entries)
    return Matrix(_function(field, name, results), tuple(bands))
