"""Backward error analysis: the differential equation that a method solves more exactly.

One step of a method is the flow over h of a modified equation ``y' = f(y) + h^p f_{p+1}(y) + ...``
up to any power of h, with ``f_k = sum over trees of order k of b(t)/sigma(t) F(t)``.

Sources: E. Hairer, C. Lubich and G. Wanner, Geometric Numerical Integration, sections IX.1, IX.9;
P. Chartier, E. Hairer and G. Vilmart, Found. Comput. Math. 10 (2010) 407-427.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.derive.calculus import Expr, derivative
from hamilforge.gen.exact.convert import in_sympy
from hamilforge.gen.exact.numbers import ZERO, Number
from hamilforge.gen.tableau import structure
from hamilforge.gen.tableau.order import ElementaryWeights, classical_order
from hamilforge.gen.tableau.tableau import Tableau
from hamilforge.gen.trees import rooted

#: Terms of higher orders have too many elementary differentials to be read.
MAX_TERM = 8


@dataclass(frozen=True, slots=True)
class Modified:
    """A modified equation.

    Attributes:
        order: the order of the method.
        components: the names of the components of y.
        field: f.
        terms: for each power of h the components of its term; zero terms are left out.
        hamiltonian: for a symplectic method on a Hamiltonian field in two components, H and the
            terms of the modified one by powers of h (0 for H itself); None otherwise.
    """

    order: int
    components: tuple[sp.Symbol, ...]
    field: tuple[Expr, ...]
    terms: Mapping[int, tuple[Expr, ...]]
    hamiltonian: Mapping[int, Expr] | None


class Trees:
    """Rooted trees up to an order, with their single cuts."""

    def __init__(self, order: int) -> None:
        self.table = rooted.table(order)
        self.children: list[tuple[int, ...]] = []
        self._index: dict[tuple[int, ...], int] = {}
        for index in range(len(self.table.order)):
            right = self.table.right[index]
            below = () if right < 0 else (*self.children[self.table.left[index]], right)
            self.children.append(tuple(sorted(below)))
            self._index[self.children[-1]] = index

    @functools.cache  # noqa: B019  (lives as long as the trees do)
    def cuts(self, index: int) -> tuple[tuple[int, int], ...]:
        """What each edge separates: the part with the root, and the subtree above the edge."""
        cuts = []
        children = self.children[index]
        for position, child in enumerate(children):
            others = children[:position] + children[position + 1 :]
            cuts.append((self._index[others], child))
            for rest, subtree in self.cuts(child):
                cuts.append((self._index[tuple(sorted((*others, rest)))], subtree))
        return tuple(cuts)


def coefficients(tableau: Tableau, highest: int) -> list[Number]:
    """The coefficients b of the modified equation for all trees up to an order.

    From ``a(t) = sum_j (1/j!) (D^(j-1) b)(t)``, a the elementary weight and D the Lie derivative
    along the modified field, ``(D c)(t) = sum over cuts of c(rest) b(subtree)``.
    """
    trees = Trees(highest)
    weights = ElementaryWeights(tableau)
    b: list[Number] = []
    derivatives: list[list[Number]] = []
    for order in range(1, highest + 1):
        weight = weights.of_order(order)
        for index, value in zip(trees.table.of_order(order), weight, strict=True):
            own: list[Number] = [ZERO]
            for depth in range(1, order):
                own.append(
                    sum(
                        (
                            derivatives[rest][depth - 1] * b[subtree]
                            for rest, subtree in trees.cuts(index)
                            if depth - 1 < len(derivatives[rest])
                        ),
                        ZERO,
                    )
                )
            tail = sum((own[j - 1] / math.factorial(j) for j in range(2, order + 1)), ZERO)
            own[0] = value - tail
            b.append(own[0])
            derivatives.append(own)
    return b


def modified_equation(
    tableau: Tableau, components: Sequence[sp.Symbol], field: Sequence[Expr], terms: int = 2
) -> Modified:
    """The modified equation of a method for a field.

    Args:
        tableau: the method.
        components: the names of the components of y.
        field: the right-hand side, autonomous.
        terms: how many powers of h, from h^p on.

    Returns:
        The terms by powers of h; with the modified Hamiltonian if the method is symplectic and the
        field Hamiltonian in two components.

    Raises:
        NotDerivableError: the terms are of too high an order.
    """
    order = classical_order(tableau).order
    highest = order + terms
    if highest > MAX_TERM:
        raise NotDerivableError(
            f"terms up to h^{highest - 1} come from trees of order {highest}; at most {MAX_TERM}"
        )
    weights = coefficients(tableau, highest)
    differentials = _Differentials(components, field)
    table = rooted.table(highest)
    corrections: dict[int, tuple[Expr, ...]] = {}
    for size in range(order + 1, highest + 1):
        total = [sp.S.Zero] * len(field)
        for index in table.of_order(size):
            if tableau.is_zero(weights[index]):
                continue
            factor = in_sympy(weights[index] / Fraction(table.symmetry[index]))
            parts = differentials.of(index, table)
            total = [t + factor * part for t, part in zip(total, parts, strict=True)]
        tidied = tuple(_tidy(part) for part in total)
        if any(tidied):
            corrections[size - 1] = tidied
    hamiltonian = None
    if structure.symplectic_defect(tableau) == 0 and len(field) == 2:
        hamiltonian = _hamiltonian(components, {0: tuple(field), **corrections})
    return Modified(order, tuple(components), tuple(field), corrections, hamiltonian)


class _Differentials:
    """Elementary differentials ``F([t1 ... tm]) = f^(m)(F(t1), ..., F(tm))``."""

    def __init__(self, components: Sequence[sp.Symbol], field: Sequence[Expr]) -> None:
        self._components, self._field = components, field
        self._known: dict[int, tuple[Expr, ...]] = {}

    def of(self, index: int, table: rooted.Table) -> tuple[Expr, ...]:
        """F of a tree of the table."""
        if index not in self._known:
            directions = []
            here = index
            while table.right[here] >= 0:
                directions.append(self.of(table.right[here], table))
                here = table.left[here]
            self._known[index] = tuple(
                sp.expand(sum(self._terms(component, directions), sp.S.Zero))
                for component in self._field
            )
        return self._known[index]

    def _terms(self, component: Expr, directions: Sequence[tuple[Expr, ...]]) -> Iterator[Expr]:
        if not directions:
            yield component
            return
        first, *rest = directions
        for symbol, factor in zip(self._components, first, strict=True):
            slope = derivative(component, symbol)
            if slope == 0 or factor == 0:
                continue
            for term in self._terms(slope, rest):
                yield factor * term


def _hamiltonian(
    components: Sequence[sp.Symbol], fields: Mapping[int, tuple[Expr, ...]]
) -> dict[int, Expr] | None:
    """The Hamiltonians of fields ``(H_p, -H_q)``; None if one has none."""
    q, p = components
    hamiltonians = {}
    for power, (velocity, force) in fields.items():
        if sp.simplify(derivative(velocity, q) + derivative(force, p)) != 0:
            return None
        kinetic = sp.integrate(velocity, p)
        potential = sp.integrate(sp.simplify(-force - derivative(kinetic, q)), q)
        hamiltonians[power] = _tidy(kinetic + potential)
    return hamiltonians


def _tidy(expr: Expr) -> Expr:
    return sp.factor_terms(sp.expand(sp.expand_trig(expr)))
