"""Weak order of a step with noise: its moments beside those of the stochastic equation.

In: the program of an optimizer for an equation ``dz = f dt + s dW``.  Out: the largest p for which
``E[phi(z(h))]`` of one emitted step differs from ``sum of h^k/k! (L^k phi)(z)``, k to p, by
``O(h^(p + 1))`` for every product ``phi`` of at most ``2p + 1`` increments, where
``L = f . grad + s^2/2 Laplacian`` is the generator (G. N. Milstein, Weak approximation of solutions
of systems of stochastic differential equations, Theory Probab. Appl. 30 (1986) 750-766).

A step runs in series in the root of h, whose coefficients are polynomials in the numbers that it
draws; their means are the moments of normal numbers.  The loss is a polynomial with random
coefficients in two coordinates, and all is exact: parameters have values at which roots are
rational, each of them two, so that none stands for another.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
import sympy as sp
from sympy.polys.polyerrors import ExactQuotientFailed

from hamilforge.gen.declare.budget import PROOF, Allowance
from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.kinds import BETWEEN_0_AND_1, FLAG, Discretised, Parameter
from hamilforge.gen.derive.symbols import t
from hamilforge.gen.program.ir import names
from hamilforge.gen.program.optimizers.build import Derivation
from hamilforge.gen.program.optimizers.build_rule import derive_rule
from hamilforge.gen.prove.optimizers import gradient_order, order
from hamilforge.gen.prove.optimizers.gradient_order import with_free_step
from hamilforge.gen.prove.optimizers.letters import (
    Polynomial,
    arrays_of_letters,
    field_of_letters,
    mean,
    slope,
)
from hamilforge.gen.prove.optimizers.order import DIMENSION, invert
from hamilforge.gen.prove.report import Finding, attempted
from hamilforge.gen.prove.series import Field, Irrational, Series

NAME = "weak_order"
#: Above this nothing is looked for.
MAX_WEAK_ORDER = 3
FIRST_SEED = 3
#: Values of parameters at which roots such as sqrt(2 gamma T) are tried to be rational.
VALUES = tuple(Fraction(*pair) for pair in ((2, 1), (1, 2), (8, 1), (1, 1), (4, 1), (9, 4)))
SHARES = tuple(Fraction(*pair) for pair in ((3, 5), (4, 5), (5, 13), (1, 2), (1, 4)))
#: A momentum at which nothing is special.
_MOMENTUM = ("16/5", "12/5")
_TIMED = "the equation depends on the time"
_EVIDENCE = "moments of the emitted step beside those by the generator of the equation"
_REACH = (
    "constant step and fixed parameters of the equation, of which each has two values, a loss that "
    f"is a polynomial with random coefficients in {DIMENSION} dimensions, at a point for each"
)

# --- a step beside its generator ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """One step or more, and the equation that they are of.

    Attributes:
        changes: of each component over the span, as series in the root of h.
        drift: of each component, in letters for how far each is from the start.
        squares: of the diffusions, alike.
        span: the time that passes, in steps.
        still: how many unknowns have no noise.
    """

    changes: Sequence[Series]
    drift: Sequence[Polynomial]
    squares: Sequence[Polynomial]
    span: int = 1
    still: int = 0


Run = Callable[[int], Step]


@dataclass(frozen=True, slots=True, order=True)
class WeakOrder:
    """A weak order.

    Attributes:
        order: the order.
        differs: the exponents of a product of increments that differs in the next power of h.
    """

    order: int
    differs: tuple[int, ...]


def weak_order(run: Run) -> WeakOrder:
    """The weak order of steps.

    Args:
        run: one step, in series up to a power of the root of h.

    Raises:
        NotDerivableError: an order above :data:`MAX_WEAK_ORDER`, or the step is no such series.
    """
    # what differs mostly does so in h^p: the half power above costs as much as all before
    for p in range(1, MAX_WEAK_ORDER + 2):
        for precision in (2 * p + 1, 2 * p + 2):
            differs = _differing(run(precision), p, precision)
            if differs:
                return WeakOrder(p - 1, differs)
    raise NotDerivableError(f"an order above {MAX_WEAK_ORDER}")


def _differing(step: Step, p: int, precision: int) -> tuple[int, ...]:
    """The exponents of a product whose mean differs below a power of the root of h, if any."""
    generator = Generator(step, p)
    for exponents, moment in _moments(step.changes, 2 * p + 1, precision):
        expected = dict(enumerate(generator.moments(exponents)))
        for power in range(min(moment.low, 0), precision):
            k, odd = divmod(power, 2)
            if mean(moment[power]) != (0 if odd else expected.get(k, 0)):
                return exponents
    return ()


def _moments(
    changes: Sequence[Series], degree: int, precision: int
) -> Iterator[tuple[tuple[int, ...], Series]]:
    """Products of changes, by their exponents, from degree 1 up."""
    count = len(changes)
    products: dict[tuple[int, ...], Series] = {}
    for size in range(1, degree + 1):
        lower, products = products, {}
        for chosen in itertools.combinations_with_replacement(range(count), size):
            exponents = tuple(chosen.count(k) for k in range(count))
            last = chosen[-1]
            rest = tuple(e - (k == last) for k, e in enumerate(exponents))
            product = changes[last] * lower[rest] if any(rest) else changes[last]
            if product.precision < precision:
                raise NotDerivableError("the working precision is too small")
            products[exponents] = product.truncated(precision)
            yield exponents, products[exponents]


class Generator:
    """The operator L at a point, applied up to p times.

    Args:
        step: the drift and the squares of the diffusions.
        p: how often at most.
    """

    def __init__(self, step: Step, p: int) -> None:
        if sum(not square for square in step.squares) > DIMENSION * step.still:
            raise Irrational("a diffusion that vanishes")
        self._drift, self._squares, self._p = step.drift, step.squares, p
        self._span = step.span
        self._ring = step.drift[0].ring

    def moments(self, exponents: Sequence[int]) -> list[Any]:
        """The coefficients of h^0 ... h^p of the mean of a product of increments."""
        value = self._ring({tuple(exponents): sp.QQ(1)})
        coefficients = []
        for k in range(self._p + 1):
            coefficients.append(value.coeff(1) * sp.QQ(self._span**k, math.factorial(k)))
            value = self._applied(value, 2 * (self._p - k - 1))
        return coefficients

    def _applied(self, value: Polynomial, degree: int) -> Polynomial:
        """L of a polynomial, without terms of a degree that no later derivative reaches."""
        total = self._ring(0)
        for place, (drift, square) in enumerate(zip(self._drift, self._squares, strict=True)):
            first = slope(value, place)
            total += drift * first + square * slope(first, place) / 2
        kept = {powers: c for powers, c in total.iterterms() if sum(powers) <= degree}
        return self._ring(kept)


# --- optimizers -------------------------------------------------------------------------------


def of_hamiltonian(derivation: Derivation) -> Finding:
    """The weak order of an optimizer for a Hamiltonian in a heat bath.

    Raises:
        NotDerivableError: the friction depends on the time, or a root is not rational.
    """
    if derivation.system.gamma.has(t):
        raise NotDerivableError(_TIMED)
    inverse, noises = invert(derivation), derivation.program.noises
    # a step that ends in the next pass draws its last noise there: the first pass draws none of it,
    # and a second step shows whether the passes between do as the end of the last one does
    boundary = derivation.program.boundary
    assert boundary is not None
    last = {*names(boundary.position), *names(boundary.momentum)} & {*noises}
    steps = 2 if last else 1
    places = ("q", "p")

    def run(seed: int, values: Mapping[str, Fraction]) -> Run:
        def made(field: Field, precision: int) -> order.Experiment:
            return order.Experiment(
                derivation, inverse, field, precision, seed, Fraction(1), _MOMENTUM, 2, values
            )

        def step(precision: int) -> Step:
            called = [f"{name}__{number}" for number in range(steps + 1) for name in noises]
            field, ring = field_of_letters(called)
            experiment = made(field, precision)
            letters = iter(arrays_of_letters(field, ring, called, precision).values())
            drawn = [{name: next(letters) for name in noises} for _ in range(steps + 1)]
            drawn[0] |= {name: drawn[0][name] - drawn[0][name] for name in last}
            with _said("a step divides by what is drawn"):
                end = experiment.end(drawn[:steps], drawn[steps])
            field, ring = field_of_letters(places)
            equation = made(field, precision)
            near = arrays_of_letters(field, ring, places, precision)
            q, p = equation.start
            with _said("the equation is no polynomial in its unknowns"):
                rates = equation.rates(q + near["q"], p + near["p"], None)
            return Step(
                [z for new, old in zip(end, experiment.start, strict=True) for z in new - old],
                [ring(z[0]) for part in rates for z in part],
                [*[ring(0)] * DIMENSION, *[ring(equation.square()[0])] * DIMENSION],
                steps,
                still=1,
            )

        return step

    fixed = {symbol.name for symbol, value in derivation.equations.items() if value.is_number}
    declared = derivation.system.declaration.parameters
    free = [entry for entry in declared if entry.name not in fixed]
    return _finding(_exact(run, free), places, steps)


def of_system(optimizer: Discretised) -> Finding:
    """The weak order of a method for a gradient system with noise.

    Raises:
        NotDerivableError: the equation depends on the time, or a root is not rational.
    """
    system = optimizer.system
    assert system is not None
    values = [value for _, value in (*system.equations, *system.noise)]
    if any("t" in value.names() for value in values):
        raise NotDerivableError(_TIMED)
    derivation = derive_rule(with_free_step(optimizer))
    noises = derivation.program.noises
    unknowns = system.unknowns

    def run(seed: int, values: Mapping[str, Fraction]) -> Run:
        def made(field: Field, precision: int) -> gradient_order.Experiment:
            return gradient_order.Experiment(
                optimizer, derivation, precision, seed, field, 2, values
            )

        def step(precision: int) -> Step:
            field, ring = field_of_letters(noises)
            experiment = made(field, precision)
            with _said("a step divides by what is drawn"):
                end = experiment.end(arrays_of_letters(field, ring, noises, precision))
            field, ring = field_of_letters(unknowns)
            equation = made(field, precision)
            near = arrays_of_letters(field, ring, unknowns, precision)
            at = {name: equation.start[name] + near[name] for name in unknowns}
            with _said("the equation is no polynomial in its unknowns"):
                rates, squares = equation.rates(at, None), equation.squares(at)
            return Step(
                [z for name in unknowns for z in end[name] - experiment.start[name]],
                [ring(z[0]) for name in unknowns for z in rates[name]],
                [z for name in unknowns for z in _entries(squares.get(name), ring)],
                still=sum(name not in squares for name in unknowns),
            )

        return step

    return _finding(_exact(run, system.parameters), unknowns)


def _entries(square: Any, ring: Any) -> list[Polynomial]:
    """The square of a diffusion in each coordinate; one that there is none of is 0."""
    if square is None:
        return [ring(0)] * DIMENSION
    entries = square if isinstance(square, np.ndarray) else [square] * DIMENSION
    return [ring(z[0]) for z in entries]


@contextlib.contextmanager
def _said(why: str) -> Iterator[None]:
    """What cannot be divided within this block is not derivable, for this reason."""
    try:
        yield
    except ExactQuotientFailed:
        raise NotDerivableError(why) from None


def _exact(
    run: Callable[[int, Mapping[str, Fraction]], Run], parameters: Sequence[Parameter]
) -> WeakOrder:
    """The least weak order at some points, with parameters at which all is rational.

    Each parameter has two values, so that T^2 is not 2 T.
    """
    orders: list[WeakOrder] = []
    first: dict[str, Fraction] = {}
    for chosen in itertools.product(*map(_values, parameters)):
        values = {entry.name: value for entry, value in zip(parameters, chosen, strict=True)}
        if any(values[name] == value for name, value in first.items()):
            continue
        try:
            orders.append(weak_order(run(FIRST_SEED + len(orders), MappingProxyType(values))))
        except Irrational:
            continue
        first = values
        if len(orders) == 2 or not parameters:
            return min(orders)
    raise NotDerivableError("no values of the parameters are known at which all roots are rational")


def _values(parameter: Parameter) -> tuple[Fraction, ...]:
    """Values in the domain of a parameter, none of them special."""
    if parameter.domain in BETWEEN_0_AND_1:
        return SHARES
    return VALUES if parameter.domain != FLAG else (Fraction(0), Fraction(1))


def _finding(least: WeakOrder, places: Sequence[str], steps: int = 1) -> Finding:
    """A weak order with the moment that says that it is not more."""
    components = [f"d{name}[{k + 1}]" for name in places for k in range(DIMENSION)]
    factors = [
        name + (f"^{exponent}" if exponent > 1 else "")
        for name, exponent in zip(components, least.differs, strict=True)
        if exponent
    ]
    p = least.order
    span = f", over {steps} steps" if steps > 1 else ""
    evidence = (
        f"{_EVIDENCE}{span}: equal to h^{p} for all products of up to {2 * p + 1} increments, not "
        f"to h^{p + 1} for {' '.join(factors)}"
    )
    return Finding(NAME, p, evidence, _REACH)


def weak_order_finding(find: Callable[[], Finding]) -> Finding:
    """What is found, within a budget of its own: all letters in two dimensions take their time.

    Args:
        find: :func:`of_hamiltonian` or :func:`of_system` of an optimizer.

    Returns:
        The finding; without a value, and with the reason, where there is none that is known.
    """

    def shown() -> Finding:
        try:
            return find()
        except NotDerivableError as error:
            return Finding(NAME, None, _EVIDENCE, _REACH, str(error))

    return attempted(Allowance(2 * PROOF), NAME, shown, _REACH)
