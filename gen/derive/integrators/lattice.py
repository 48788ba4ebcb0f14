"""Lattices in SymPy: fields at a generic site, for any number of sites in a ring.

In: a :class:`Mechanics` with sites.  Out: a :class:`LatticeField`.  A coordinate is written as the
symbol of its value at the generic site i, its value at the site i + k as a :class:`Neighbour`, and
a sum over the sites as a :class:`Total`.  The sites are in a ring, so sums do not change when all
sites are shifted; with f a function of values at the sites i + k, and S = sum_i f_i,

    dS/dx_i = sum_k (df/dx[k]) shifted by -k,

and a sum vanishes for every number of sites if its terms, each shifted to begin at i, cancel.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.expression import SHIFT, Expression
from hamilforge.gen.declare.read_lattices import SITE
from hamilforge.gen.derive.calculus import (
    Coordinate,
    Expr,
    Total,
    coordinates,
    derivative,
    expanded,
    outer_totals,
    to_sympy,
)
from hamilforge.gen.derive.integrators.vector_field import Part, VectorField, defined, t
from hamilforge.gen.derive.sums import DIGITS, ROUNDING, shortest
from hamilforge.gen.derive.symbols import parameter_symbol

#: Sites at least of a ring on which numbers are put in.
COUNTED = 5


class Neighbour(Coordinate):
    """The value of a coordinate some sites further; no declared name has two underscores."""

    __slots__ = ("of", "offset")

    def __new__(cls, of: str, offset: int) -> Neighbour:
        """The value of ``of`` at the site i + offset."""
        side = "plus" if offset > 0 else "minus"
        symbol = super().__new__(cls, f"{of}__{side}_{abs(offset)}")
        symbol.of, symbol.offset = of, offset
        return symbol

    def __getnewargs_ex__(self) -> tuple[tuple[str, int], dict[str, object]]:
        return (self.of, self.offset), {}


def at_site(name: str, offset: int) -> Coordinate:
    """The symbol of a coordinate at the site i + offset."""
    return Neighbour(name, offset) if offset else Coordinate(name)


def place(symbol: Coordinate) -> tuple[str, int]:
    """Of which coordinate a symbol is the value, and how many sites further."""
    if isinstance(symbol, Neighbour):
        return symbol.of, symbol.offset
    return str(symbol.name), 0


def shifted(expr: Expr, by: int) -> Expr:
    """An expression at the site i + by; sums over all sites are the same there."""
    if by == 0:
        return expr
    flat, back = _without_sums(expr)
    moved = {symbol: at_site(name, offset + by) for symbol, (name, offset) in _places(flat)}
    return flat.xreplace(moved).xreplace(back)


def shift(expr: Expr, by: Expr) -> Expr:
    """What ``shift(x, k)`` of a declaration means."""
    return shifted(expr, int(by))


def _places(expr: Expr) -> list[tuple[Coordinate, tuple[str, int]]]:
    return [(symbol, place(symbol)) for symbol in coordinates(expr)]


def counted(expr: Expr, count: Expr) -> Expr:
    """An expression with every sum of what is equal at all sites as a product with their number."""
    alike = [total for total in expr.atoms(Total) if not coordinates(total.args[0])]
    products = {total: total.args[0] * count for total in alike}
    return counted(expr.xreplace(products), count) if alike else expr


def _begun(term: Expr) -> Expr:
    """A term of a sum shifted so that it begins at the generic site."""
    offsets = [offset for _, (_, offset) in _places(term)]
    return shifted(term, -min(offsets)) if offsets else term


def begun(expr: Expr) -> Expr:
    """An expression with every sum shifted so that it begins at the generic site."""
    if isinstance(expr, Total):
        return Total(_begun(begun(expr.args[0])))
    return expr.func(*map(begun, expr.args)) if expr.args else expr


def settled(expr: Expr) -> Expr:
    """The same, with sums multiplied out and each of their terms shifted by itself."""
    if isinstance(expr, Total):
        inner = sp.expand(settled(expr.args[0]))
        return Total(sp.Add(*map(_begun, sp.Add.make_args(inner))))
    return expr.func(*map(settled, expr.args)) if expr.args else expr


def at_sites(expr: Expr) -> Expr:
    """An expression to read: ``x[i]``, ``x[i + 1]``."""
    names = {}
    for symbol in expr.atoms(Coordinate):
        name, offset = place(symbol)
        further = f" {'+' if offset > 0 else '-'} {abs(offset)}" if offset else ""
        names[symbol] = sp.Symbol(f"{name}[i{further}]", real=True)
    return expr.xreplace(names)


@dataclass(frozen=True)
class LatticeField(VectorField):
    """A field with a value of each component at every site.

    Attributes:
        parts: components and right-hand sides at the generic site.
        sites: how many there are, and what that is called.
    """

    sites: kinds.Sites

    @functools.cached_property
    def count(self) -> sp.Symbol:
        """The number of sites."""
        return sp.Symbol(self.sites.name, positive=True, integer=True)

    @functools.cached_property
    def reach(self) -> int:
        """How many sites further than its own a right-hand side looks."""
        return max((abs(offset) for value in self.values for offset in _offsets(value)), default=0)

    def gradient(self) -> tuple[Expr, ...]:
        """The gradient of H at the generic site."""
        slopes = site_gradient(self.energy, self.components)
        return tuple(slopes[name] for name in self.components)

    @functools.cached_property
    def bands(self) -> dict[tuple[int, int, int], Expr]:
        """The entries of df/dy, by row, column and how many sites further the column is.

        Raises:
            DeclarationError: a right-hand side depends on a sum over all sites.
        """
        return self.slopes(self.values)

    @functools.cached_property
    def hessian_bands(self) -> dict[tuple[int, int, int], Expr]:
        """The entries of the second derivative of H, alike."""
        return self.slopes(self.gradient())

    def slopes(self, values: Iterable[Expr]) -> dict[tuple[int, int, int], Expr]:
        """The derivatives of values at the generic site that are not zero, alike."""
        columns = {str(name): column for column, name in enumerate(self.components)}
        bands = {}
        for row, value in enumerate(values):
            if outer_totals(value):
                raise DeclarationError.single(
                    self.problem.head.source.where,
                    f"the right-hand sides of '{self.problem.head.name}' depend on sums over all "
                    "sites, so their derivatives are no bands: an explicit method or a splitting "
                    "fits them, one that solves equations does not",
                    "energy",
                )
            for symbol, (name, offset) in sorted(_places(value), key=lambda item: item[1]):
                slope = derivative(value, symbol)
                if slope != 0:
                    bands[row, columns[name], offset] = slope
        return bands

    def needs(self, part: int) -> frozenset[int]:
        """The parts on whose components a part's right-hand side depends."""
        names = {place(symbol)[0] for value in self.parts[part].values for symbol in _all(value)}
        return frozenset(
            k for k, other in enumerate(self.parts) if names & set(map(str, other.components))
        )

    def coupled(self, term: Expr) -> bool:
        """Whether a term of the energy gives velocities that depend on positions."""
        positions, momenta = (part.components for part in self.parts)
        slopes = site_gradient(term, momenta).values()
        names = {place(symbol)[0] for slope in slopes for symbol in _all(slope)}
        return bool(names & set(map(str, positions)))

    @property
    def divergence(self) -> Expr:
        """The trace of the Jacobian, with friction."""
        return sp.simplify(-self.friction * len(self.parts[1].components) * self.count)

    def rate(self, quantity: Expr) -> Expr:
        """The derivative of a quantity along solutions, shown for every number of sites.

        That of the energy is its own by the time, less what friction takes: the rest is
        ``sum(dH/dx dH/dp - dH/dp dH/dx)``.
        """
        slopes = site_gradient(quantity, self.components)
        if quantity == self.energy:
            friction = (-self.friction * p * slopes[p] for p in self.parts[1].components)
            along = sp.Add(*(Total(taken) for taken in friction))
        else:
            pairs = zip(self.components, self.damped, strict=True)
            along = sp.Add(*(Total(slopes[name] * rate) for name, rate in pairs))
        whole = settled(sp.expand(scalar_derivative(quantity, t) + along))
        return _sums_joined(counted(whole, self.count))

    def differs(self, quantity: Expr) -> bool:
        """Whether numbers on a ring show that a scalar of sums is not zero."""
        sites = max(COUNTED, 2 * self.reach + 1)
        numbers = random.Random(sites)
        names = sorted({place(symbol)[0] for symbol in _all(quantity)})
        places = [(name, k) for name in names for k in range(sites)]
        values = {each: numbers.uniform(0.2, 0.9) for each in places}
        scalars = {
            symbol: numbers.uniform(0.2, 0.9)
            for symbol in sorted(quantity.free_symbols - _all(quantity), key=str)
        } | {self.count: sites}

        def visit(part: Expr, site: int) -> Any:
            if isinstance(part, Total):
                return sp.Add(*(visit(part.args[0], k) for k in range(sites)))
            if isinstance(part, Coordinate):
                name, offset = place(part)
                return sp.Float(values[name, (site + offset) % sites], DIGITS)
            if part in scalars:
                return sp.Float(scalars[part], DIGITS)
            return part.func(*(visit(arg, site) for arg in part.args)) if part.args else part

        value = expanded(visit(quantity, 0)).evalf(DIGITS)
        return bool(value.is_Float and abs(value) > ROUNDING)


def _sums_joined(expr: Expr) -> Expr:
    """An expression with what stands beside equal functions of sums as one sum, in a short form."""
    flat, back = _without_sums(expr)
    groups: dict[Expr, list[Expr]] = {}
    rest = sp.S.Zero
    for term in sp.Add.make_args(sp.expand(flat)):
        factors = sp.Mul.make_args(term)
        inside = [f for f in factors if f in back and not term.xreplace({f: sp.S.One}).has(f)]
        if not inside:
            rest += term
            continue
        last = max(inside, key=lambda name: sp.default_sort_key(back[name]))
        others = [factor for factor in factors if factor != last]
        beside = sp.Mul(*(factor for factor in others if factor.has(*back)))
        plain = sp.Mul(*(factor for factor in others if not factor.has(*back)))
        groups.setdefault(beside, []).append(plain * back[last].args[0])
    joined = []
    for beside, args in groups.items():
        inner = shortest((arg, sp.S.One) for arg in args)
        if inner != 0:
            joined.append(beside.xreplace(back) * Total(inner))
    whole = rest.xreplace(back) + sp.Add(*joined)
    flat, _ = _without_sums(whole)
    return sp.S.Zero if sp.numer(sp.together(sp.powsimp(flat))).expand() == 0 else whole


def _all(expr: Expr) -> set[Coordinate]:
    """The values at sites that an expression has, those under sums too."""
    return {symbol for symbol in expr.free_symbols if isinstance(symbol, Coordinate)}


def _offsets(expr: Expr) -> list[int]:
    return [place(symbol)[1] for symbol in _all(expr)]


def site_gradient(expr: Expr, components: Iterable[sp.Symbol]) -> dict[sp.Symbol, Expr]:
    """The derivatives of a scalar of sums by the values of each component at the generic site."""
    factors = _by_sums(expr)
    return {
        component: sp.Add(*(f * _slope_of_sum(total, component) for total, f in factors.items()))
        for component in components
    }


def _slope_of_sum(total: Total, component: sp.Symbol) -> Expr:
    """The derivative of a sum over sites by the value of a component at the generic site."""
    flat, back = _without_sums(total.args[0])
    slope = sp.Add(
        *(
            shifted(derivative(flat, symbol).xreplace(back), -offset)
            for symbol, (name, offset) in sorted(_places(flat), key=lambda item: item[1])
            if name == str(component)
        )
    )
    for inner, factor in _by_sums(total.args[0]).items():
        slope += Total(factor) * _slope_of_sum(inner, component)
    return slope


def scalar_derivative(expr: Expr, scalar: sp.Symbol) -> Expr:
    """The derivative of an expression of sums by the time or a parameter."""
    flat, back = _without_sums(expr)
    slope = derivative(flat, scalar).xreplace(back)
    for total, factor in _by_sums(expr).items():
        slope += factor * Total(scalar_derivative(total.args[0], scalar))
    return slope


def _without_sums(expr: Expr) -> tuple[Expr, dict[Expr, Expr]]:
    """An expression with a symbol for each of its sums, and the sums of the symbols."""
    sums = {total: sp.Dummy(real=True) for total in outer_totals(expr)}
    return expr.xreplace(sums), {name: total for total, name in sums.items()}


def _by_sums(expr: Expr) -> dict[Total, Expr]:
    """The derivatives of an expression by its sums."""
    flat, back = _without_sums(expr)
    return {total: derivative(flat, name).xreplace(back) for name, total in back.items()}


def derive_lattice(declaration: kinds.Mechanics) -> LatticeField:
    """The field of a declared lattice, at its generic site.

    Raises:
        DeclarationError: an energy divides by zero, or there are fewer sites than it reaches over.
    """
    sites = declaration.sites
    assert sites is not None
    parameters = tuple(parameter_symbol(parameter) for parameter in declaration.parameters)
    names = (*declaration.positions, *declaration.momenta)
    symbols: dict[str, Expr] = {str(parameter): parameter for parameter in parameters}
    symbols |= {"t": t, sites.name: sp.Symbol(sites.name, positive=True, integer=True)}
    symbols |= {name: Coordinate(name) for name in names}

    def derived(expression: Expression, key: str) -> Expr:
        value = to_sympy(expression, symbols, {SHIFT: shift})
        value = defined(value, expression, declaration.head.source.where, key)
        return begun(counted(value, symbols[sites.name]))

    energy = derived(declaration.energy, "energy")
    slopes = {
        name: counted(slope, symbols[sites.name])
        for name, slope in site_gradient(energy, [Coordinate(name) for name in names]).items()
    }
    positions, momenta = (
        tuple(Coordinate(name) for name in half)
        for half in (declaration.positions, declaration.momenta)
    )
    parts = (
        Part("q", positions, tuple(sp.powsimp(slopes[p], combine="exp") for p in momenta)),
        Part("p", momenta, tuple(-sp.powsimp(slopes[q], combine="exp") for q in positions)),
    )
    invariants = tuple(
        (name, derived(value, f"[invariants].{name}")) for name, value in declaration.invariants
    )
    friction = derived(declaration.friction, "friction")
    field = LatticeField(declaration, parts, parameters, energy, friction, None, invariants, sites)
    if sites.count is not None and sites.count < 2 * field.reach + 1:
        raise DeclarationError.single(
            declaration.head.source.where,
            f"{sites.name} = {sites.count}: right-hand sides reach {field.reach} sites to either "
            f"side, so there are {2 * field.reach + 1} sites at least",
            "coordinates",
        )
    return field


def start_values(declaration: kinds.Mechanics) -> Mapping[str, Expr]:
    """What coordinates begin with, in the symbols ``i`` and the number of sites.

    Raises:
        DeclarationError: it divides by zero.
    """
    sites = declaration.sites
    assert sites is not None
    names = {name: sp.Symbol(name, real=True) for name in (SITE, sites.name)}
    where = declaration.head.source.where
    return {
        name: defined(to_sympy(value, names), value, where, f"[start].{name}")
        for name, value in sites.start
    }
