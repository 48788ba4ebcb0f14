"""What of a manifold depends on sizes: its dimension, and the orders of its retractions.

In: a declared manifold, and points of it.  Out: findings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.matrix_functions import dimensions
from hamilforge.gen.prove.optimizers.manifold_points import (
    DIGITS,
    ROUNDING,
    SLOPE,
    Place,
    power,
    whole_order,
)
from hamilforge.gen.prove.report import Finding

#: Sizes at which nothing is special, and others; by how many dimensions there are.
GENERIC = {1: (4,), 2: (5, 2)}
SPECIAL = {1: ((2,), (3,)), 2: ((3, 1), (3, 2), (3, 3))}
#: Further sizes at which ranks are computed.
RANKS = {1: ((5,), (6,)), 2: ((2, 1), (4, 1), (4, 2), (5, 3), (6, 2))}
#: Steps along a tangent vector between which the distance to a geodesic is compared.
NEAR = (mpmath.mpf("1e-12"), mpmath.mpf("1e-13"))
EXACT = "exact"
_CHECKED = f"{DIGITS} digits, at drawn points and vectors"


def generic_place(manifold: kinds.Manifold) -> Place:
    """A point at sizes at which nothing is special."""
    names = dimensions(manifold.shape)
    return Place(manifold, dict(zip(names, GENERIC[len(names)], strict=True)))


def special_places(manifold: kinds.Manifold) -> Iterator[Place]:
    """Points at sizes at which something may be special; not where they are all there is."""
    names = dimensions(manifold.shape)
    for sizes in SPECIAL[len(names)]:
        place = Place(manifold, dict(zip(names, sizes, strict=True)))
        if place.dimension()[1]:
            yield place


def listed(values: dict[str, Any]) -> str:
    """Values by name as a text; what does not hold in capitals."""
    words = {True: "yes", False: "NO"}
    return ", ".join(
        f"{key} {words[value] if isinstance(value, bool) else value}"
        for key, value in values.items()
    )


def retraction_orders(place: Place, metrics: Collection[str]) -> tuple[dict[str, Any], str]:
    """The order of each retraction beside the geodesic of some metrics.

    Args:
        place: a point.
        metrics: those whose geodesic is one.

    Returns:
        By metric and retraction: a number, or :data:`EXACT`; None where it is no whole number.  And
        how they were found.
    """
    point, vector = place.point, place.tangent()
    orders: dict[str, Any] = {}
    for metric in metrics:
        own: dict[str, Any] = {}
        for name in (own.name for own in place.manifold.retractions):

            def apart(step: Any, name: str = name, metric: str = metric) -> Any:
                along = vector * step
                there = place.value(f"retract_{name}", point, along)
                return place.apart(there, place.value(f"geodesic_{metric}", point, along))

            exact = apart(NEAR[0]) <= ROUNDING
            own[name] = EXACT if exact else whole_order(power(apart, NEAR))
        orders[metric] = own
    near = " and ".join(f"{float(step):g}" for step in NEAR)
    return orders, (
        f"the distance to the geodesic, O(t^(order + 1)), at t = {near}: "
        f"powers within {SLOPE} of whole numbers; {_CHECKED}"
    )


def orders_elsewhere(manifold: kinds.Manifold, orders: dict[str, Any]) -> Iterator[Finding]:
    """Sizes at which retractions are of another order.

    Args:
        manifold: the declaration.
        orders: where nothing is special, by metric and retraction.

    Yields:
        A finding, where there are orders.
    """
    if not orders:
        return
    values: dict[str, Any] = {}
    looked = []
    for place in special_places(manifold):
        looked.append(place.named)
        for metric, own in retraction_orders(place, [*orders])[0].items():
            other = {name: order for name, order in own.items() if order != orders[metric][name]}
            if other:
                values.setdefault(place.named, {})[metric] = other
    text = "; ".join(
        f"{sizes}: " + ", ".join(f"{metric} {listed(own)}" for metric, own in found.items())
        for sizes, found in values.items()
    )
    yield Finding(
        "order_elsewhere",
        values,
        "the same",
        "; ".join(looked),
        brief=text or "the same at all sizes looked at",
    )


def dimension(manifold: kinds.Manifold) -> Finding:
    """The dimension: the polynomial of degree two in the sizes through ranks of the projection."""
    own = dimensions(manifold.shape)
    count = len(own)
    sizes = [GENERIC[count], *SPECIAL[count], *RANKS[count]]
    ranks = [Place(manifold, dict(zip(own, size, strict=True))).dimension()[0] for size in sizes]
    powers = [
        exponents for exponents in itertools.product(range(3), repeat=count) if sum(exponents) <= 2
    ]
    rows = np.array(
        [[math.prod(a**k for a, k in zip(size, exponents, strict=True)) for exponents in powers]
         for size in sizes], float,
    )  # fmt: skip
    found = np.linalg.lstsq(rows, np.array(ranks, float), rcond=None)[0]
    coefficients = [Fraction(float(x)).limit_denominator(12) for x in found]
    exact = all(
        sum(c * int(x) for c, x in zip(coefficients, row, strict=True)) == rank
        for row, rank in zip(rows, ranks, strict=True)
    )
    listed = "; ".join(
        ", ".join(f"{name} = {value}" for name, value in zip(own, size, strict=True))
        for size in sizes
    )
    if not exact:
        why = "no polynomial of degree two goes through the ranks of the projection"
        return Finding("dimension", None, "ranks of the projection", listed, why)
    terms = []
    for c, exponents in zip(coefficients, powers, strict=True):
        names = [
            f"{name}**{k}" if k > 1 else name for name, k in zip(own, exponents, strict=True) if k
        ]
        size = [str(abs(c))] if abs(c) != 1 or not names else []
        if c:
            terms.append(("-" if c < 0 else "+", "*".join([*size, *names])))
    terms.sort(key=lambda term: (term[0] == "-", len(term[1])))
    text = " ".join(f"{sign} {term}" for sign, term in terms).removeprefix("+ ") or "0"
    return Finding(
        "dimension",
        text,
        "the polynomial of degree two through the ranks of the projection, in floating point",
        listed,
    )
