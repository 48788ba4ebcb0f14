"""Brackets in floating point: forward-mode derivatives as truncated Taylor series at each point.

A :class:`Jet` is the Taylor polynomial of a function of m variables to some degree, at N points at
once.  A word of n letters needs those of its fields to degree n - 1, and loses a degree with each
bracket, as each derivative does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.functions import BY_NAME, CONSTANTS
from hamilforge.gen.declare.parser import parse
from hamilforge.gen.fields.evaluation import evaluate
from hamilforge.gen.fields.growth import Monomials
from hamilforge.gen.program.reference import NUMPY_FUNCTIONS

Floats = NDArray[np.float64]


class Frame:
    """The monomials of jets in m variables up to a degree.

    Args:
        m: the number of variables.
        most: the degree.
    """

    def __init__(self, m: int, most: int) -> None:
        self.m, self.most = m, most
        self.monomials = Monomials(m, most)
        self.totals = self.monomials.exponents.sum(axis=1)

    @cached_property
    def products(self) -> list[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
        """For each monomial those that it may be multiplied by, and what comes out."""
        exponents = self.monomials.exponents
        table = []
        for k, total in enumerate(self.totals):
            others = np.flatnonzero(self.totals + total <= self.most)
            table.append((k, others, self.monomials.places(exponents[others] + exponents[k])))
        return table


@dataclass(frozen=True, eq=False)
class Jet:
    """A Taylor polynomial at N points.

    Attributes:
        frame: its monomials.
        order: the degree up to which it is known.
        terms: its coefficients `(monomials, N)`.
    """

    frame: Frame
    order: int
    terms: Floats

    def lift(self, other: Any) -> Jet:
        """A number as a constant jet."""
        if isinstance(other, Jet):
            return other
        terms = np.zeros_like(self.terms)
        terms[0] = float(other)
        return Jet(self.frame, self.order, terms)

    def __add__(self, other: Any) -> Jet:
        other = self.lift(other)
        return Jet(self.frame, min(self.order, other.order), self.terms + other.terms)

    __radd__ = __add__

    def __neg__(self) -> Jet:
        return Jet(self.frame, self.order, -self.terms)

    def __sub__(self, other: Any) -> Jet:
        return self + -self.lift(other)

    def __mul__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return Jet(self.frame, self.order, self.terms * float(other))
        order = min(self.order, other.order)
        terms = np.zeros_like(self.terms)
        for k, others, places in self.frame.products:
            if self.terms[k].any():
                terms[places] += self.terms[k] * other.terms[others]
        return Jet(self.frame, order, terms)

    __rmul__ = __mul__

    def partial(self, k: int) -> Jet:
        """The derivative by the k-th variable, known to one degree less."""
        frame = self.frame
        powers = frame.monomials.exponents[:, k]
        chosen = np.flatnonzero(powers)
        places = frame.monomials.places(
            frame.monomials.exponents[chosen] - np.eye(frame.m, dtype=np.int64)[k]
        )
        terms = np.zeros_like(self.terms)
        terms[places] = powers[chosen, None] * self.terms[chosen]
        return Jet(frame, self.order - 1, terms)


def variables(points: Floats, most: int) -> list[Jet]:
    """The coordinates at points `(N, m)`, as jets to a degree."""
    count, m = points.shape
    frame = Frame(m, most)
    jets = []
    for k in range(m):
        terms = np.zeros((len(frame.totals), count))
        terms[0] = points[:, k]
        if most:
            terms[1:][frame.monomials.exponents[1:, k] == 1] = 0
            (place,) = frame.monomials.places(np.eye(m, dtype=np.int64)[k : k + 1])
            terms[place] = 1
        jets.append(Jet(frame, most, terms))
    return jets


def function(name: str, *values: Any) -> Any:
    """An elementwise function of a jet, from its derivative in the table of functions.

    Args:
        name: of the function, ``/``, ``**``, or a constant.
        values: jets, arrays of them, or numbers.

    Returns:
        The jet, or an array.

    Raises:
        NotDerivableError: there is no such function here.
    """
    if any(isinstance(value, np.ndarray) for value in values):
        return np.vectorize(lambda *v: function(name, *v), otypes=[object])(*values)
    if not values and name in CONSTANTS:
        return Fraction(np.pi)
    jet = next((value for value in values if isinstance(value, Jet)), None)
    if jet is None:
        return Fraction(float(_number(name, *(float(value) for value in values))))
    if name == "/":
        return values[0] * _composed("inverse", jet.lift(values[1]))
    if name == "**":
        exponent = function("log", jet.lift(values[0])) * values[1]
        return function("exp", exponent)
    row = BY_NAME.get(name)
    if row is None or len(values) != 1:
        raise NotDerivableError(f"{name}(...) has no derivatives to all orders here")
    if row.definition:
        return evaluate(parse(row.definition), {"x": jet}, {}, function)
    return _composed(name, jet)


def _number(name: str, *values: float) -> Any:
    if name == "/":
        return values[0] / values[1]
    if name == "**":
        return values[0] ** values[1]
    return NUMPY_FUNCTIONS[name](*(np.float64(value) for value in values))


@cache
def _has_kink(name: str) -> bool:
    """Whether a function, or a derivative of it, jumps where its argument is 0."""
    seen, todo = set(), [name]
    while todo:
        one = todo.pop()
        if one not in seen:
            seen.add(one)
            for text in BY_NAME[one].derivatives:
                todo += parse(text, (*BY_NAME,)).functions() & BY_NAME.keys()
    return not seen.isdisjoint(("sign", "step"))


def _composed(name: str, jet: Jet, order: int | None = None) -> Jet:
    """``g(f)`` from ``g'(f)``, which is needed to one degree less."""
    order = jet.order if order is None else order
    if not jet.terms[0].all() and _has_kink(name):
        raise NotDerivableError(f"{name}(...) has a kink at a point, and there no brackets")
    frame = jet.frame
    terms = np.zeros_like(jet.terms)
    terms[0] = NUMPY_FUNCTIONS[name](jet.terms[0])
    if order <= 0:
        return Jet(frame, 0, terms)
    lower = Jet(frame, order - 1, np.where(frame.totals[:, None] < order, jet.terms, 0.0))

    def call(inner: str, *values: Any) -> Any:
        if len(values) == 1 and isinstance(values[0], Jet) and not BY_NAME[inner].definition:
            return _composed(inner, values[0], order - 1)
        return function(inner, *values)

    (text,) = BY_NAME[name].derivatives
    slope = evaluate(parse(text, (*BY_NAME,)), {"x": lower}, {}, call)
    slope = lower.lift(slope)
    exponents = frame.monomials.exponents
    units = np.eye(frame.m, dtype=np.int64)
    first = np.argmax(exponents > 0, axis=1)
    for k in range(frame.m):
        chosen = np.flatnonzero((first == k) & (frame.totals > 0) & (frame.totals <= order))
        if len(chosen):
            rate = slope * jet.partial(k)
            places = frame.monomials.places(exponents[chosen] - units[k])
            terms[chosen] = rate.terms[places] / exponents[chosen, k, None]
    return Jet(frame, order, terms)


def bracket(left: Sequence[Jet], right: Sequence[Jet]) -> list[Jet]:
    """``[V, W] = DW V - DV W``, known to one degree less."""
    found = []
    for v, w in zip(left, right, strict=True):
        total: Any = 0.0
        for k, (a, b) in enumerate(zip(left, right, strict=True)):
            total = w.partial(k) * a - v.partial(k) * b + total
        found.append(total)
    return found


def values(field: Sequence[Jet]) -> Floats:
    """The field at all points, stacked to `(N m,)`."""
    return np.stack([component.terms[0] for component in field], axis=1).ravel()
