"""Weak order of a step with noise: its moments beside those of the stochastic equation.

In: the program of an optimizer for an equation ``dz = f dt + s dW``.  Out: the largest p for which
``E[phi(z(h))]`` of one emitted step agrees with ``sum of h^k/k! (L^k phi)(z)`` to ``h^p`` for every
product ``phi`` of at most ``2p + 1`` increments, where ``L = f . grad + s^2/2 Laplacian`` is the
generator (G. N. Milstein, Weak approximation of solutions of systems of stochastic differential
equations, Theory Probab. Appl. 30 (1986) 750-766).

A step runs in series in the root of h, whose coefficients are polynomials in the numbers that it
draws; their means are the moments of normal numbers.  The loss is a polynomial with random
coefficients in two coordinates, and all is exact where the roots are rational.
"""

from __future__ import annotations

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

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.kinds import Discretised
from hamilforge.gen.derive.symbols import t
from hamilforge.gen.program.ir import names
from hamilforge.gen.program.optimizers.build import Derivation
from hamilforge.gen.program.optimizers.build_rule import derive_rule
from hamilforge.gen.prove.optimizers import gradient_order, order
from hamilforge.gen.prove.optimizers.gradient_order import with_free_step
from hamilforge.gen.prove.optimizers.order import DIMENSION, invert
from hamilforge.gen.prove.report import Finding
from hamilforge.gen.prove.series import RATIONALS, Field, Irrational, Series

NAME = "weak_order"
#: Above this nothing is looked for.
MAX_WEAK_ORDER = 3
SEEDS = (3, 4)
#: Values of parameters at which roots such as sqrt(2 gamma T) are tried to be rational.
VALUES = (Fraction(2), Fraction(1, 2), Fraction(8), Fraction(1))
#: By how much more powers numbers that are drawn are known.
MARGIN = 16
#: A momentum at which nothing is special.
_MOMENTUM = ("16/5", "12/5")
_TIMED = "the equation depends on the time"
_EVIDENCE = "moments of one emitted step beside those by the generator of the equation"
_REACH = (
    "constant step and fixed parameters of the equation, a loss that is a polynomial with random "
    f"coefficients in {DIMENSION} dimensions, at {len(SEEDS)} points"
)

Polynomial = Any


# --- polynomials in letters --------------------------------------------------------------------


def field_of_letters(called: Sequence[str]) -> tuple[Field, Any]:
    """The polynomials in some letters over the rationals, as numbers of a series.

    They are no field: what divides by a letter, or takes a root of one, is refused.

    Returns:
        The field, and SymPy's ring.
    """
    ring = sp.ring([*called], sp.QQ)[0]

    def convert(value: Fraction) -> Polynomial:
        return ring(sp.QQ(value.numerator, value.denominator))

    def function(name: str, value: Polynomial) -> Polynomial:
        return convert(RATIONALS.function(name, _constant(value)))

    def _constant(value: Polynomial) -> Fraction:
        if not value.is_ground:
            raise Irrational("a function of noise")
        number = value.coeff(1)
        return Fraction(int(number.numerator), int(number.denominator))

    return Field(
        convert=convert,
        function=function,
        is_zero=lambda value: not value,
        embed=lambda value: (
            convert(Fraction(*sp.Rational(value).as_numer_denom()))
            if value.is_Rational
            else RATIONALS.embed(value)
        ),
        magnitude=lambda value: max(map(abs, value.coeffs()), default=0),
        name="exact polynomials in the numbers drawn",
        written=lambda value: value.as_expr(),
    ), ring


def _arrays(field: Field, ring: Any, called: Sequence[str], precision: int) -> dict[str, Any]:
    """Arrays of the letters of a ring, by name."""
    letters = iter(ring.gens)
    arrays = {}
    for name in called:
        array = np.empty(DIMENSION, dtype=object)
        for index in range(DIMENSION):
            array[index] = Series(field, 0, [next(letters)], precision + MARGIN)
        arrays[name] = array
    return arrays


def mean(polynomial: Polynomial) -> Any:
    """The mean of a polynomial in independent standard normal numbers."""
    total = sp.QQ(0)
    for exponents, coefficient in polynomial.iterterms():
        if all(exponent % 2 == 0 for exponent in exponents):
            total += coefficient * math.prod(math.prod(range(1, e, 2)) for e in exponents)
    return total


# --- a step beside its generator ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """One step or more, and the equation that they are of.

    Attributes:
        changes: of each component over the span, as series in the root of h.
        drift: of each component, in letters for how far each is from the start.
        squares: of the diffusions, alike.
        span: the time that passes, in steps.
    """

    changes: Sequence[Series]
    drift: Sequence[Polynomial]
    squares: Sequence[Polynomial]
    span: int = 1


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
    for p in range(1, MAX_WEAK_ORDER + 2):
        step = run(2 * p + 1)
        generator = Generator(step, p)
        for exponents, moment in _moments(step.changes, 2 * p + 1, 2 * p + 1):
            expected = generator.moments(exponents)
            if any(mean(moment[2 * k]) != expected[k] for k in range(p + 1)):
                return WeakOrder(p - 1, exponents)
    raise NotDerivableError(f"an order above {MAX_WEAK_ORDER}")


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
        for letter, drift, square in zip(self._ring.gens, self._drift, self._squares, strict=True):
            slope = value.diff(letter)
            total += drift * slope + square * slope.diff(letter) / 2
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
            field, ring = _letters(called)
            experiment = made(field, precision)
            letters = iter(_arrays(field, ring, called, precision).values())
            drawn = [{name: next(letters) for name in noises} for _ in range(steps + 1)]
            drawn[0] |= {name: drawn[0][name] - drawn[0][name] for name in last}
            end = experiment.end(drawn[:steps], drawn[steps])
            field, ring = _letters(places)
            equation = made(field, precision)
            near = _arrays(field, ring, places, precision)
            q, p = equation.start
            rates = equation.rates(q + near["q"], p + near["p"], None)
            return Step(
                [z for new, old in zip(end, experiment.start, strict=True) for z in new - old],
                [z[0] for part in rates for z in part],
                [*[ring(0)] * DIMENSION, *[equation.square()[0]] * DIMENSION],
                steps,
            )

        return step

    least = _exact(run, [entry.name for entry in derivation.system.declaration.parameters])
    return _finding(least, places)


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
            field, ring = _letters(noises)
            experiment = made(field, precision)
            end = experiment.end(_arrays(field, ring, noises, precision))
            field, ring = _letters(unknowns)
            equation = made(field, precision)
            near = _arrays(field, ring, unknowns, precision)
            at = {name: equation.start[name] + near[name] for name in unknowns}
            rates, squares = equation.rates(at, None), equation.squares(at)
            return Step(
                [z for name in unknowns for z in end[name] - experiment.start[name]],
                [z[0] for name in unknowns for z in rates[name]],
                [z for name in unknowns for z in _entries(squares.get(name), ring)],
            )

        return step

    return _finding(_exact(run, [entry.name for entry in system.parameters]), unknowns)


def _letters(called: Sequence[str]) -> tuple[Field, Any]:
    return field_of_letters([f"{name}__{k}" for name in called for k in range(DIMENSION)])


def _entries(square: Any, ring: Any) -> list[Polynomial]:
    """The square of a diffusion in each coordinate; one that there is none of is 0."""
    if square is None:
        return [ring(0)] * DIMENSION
    return [z[0] for z in square] if isinstance(square, np.ndarray) else [square[0]] * DIMENSION


def _exact(run: Callable[[int, Mapping[str, Fraction]], Run], called: Sequence[str]) -> WeakOrder:
    """The least weak order at some points, with parameters at which all is rational."""
    failure: NotDerivableError = Irrational("no root of the parameters is rational")
    for chosen in itertools.product(VALUES, repeat=len(called)):
        values = MappingProxyType(dict(zip(called, chosen, strict=True)))
        try:
            return min(weak_order(run(seed, values)) for seed in SEEDS)
        except ExactQuotientFailed:
            raise NotDerivableError("a step divides by noise") from None
        except Irrational as error:
            failure = error
    raise failure


def _finding(least: WeakOrder, places: Sequence[str]) -> Finding:
    """A weak order with the moment that says that it is not more."""
    components = [f"d{name}_{k + 1}" for name in places for k in range(DIMENSION)]
    factors = [
        name + (f"^{exponent}" if exponent > 1 else "")
        for name, exponent in zip(components, least.differs, strict=True)
        if exponent
    ]
    p = least.order
    evidence = (
        f"{_EVIDENCE}: equal to h^{p} for all products of up to {2 * p + 1} increments, not to "
        f"h^{p + 1} for {' '.join(factors)}"
    )
    return Finding(NAME, p, evidence, _REACH)


def finding(find: Callable[[], Finding]) -> Finding:
    """What was found; without a value, and with the reason, where there is none."""
    try:
        return find()
    except NotDerivableError as error:
        return Finding(NAME, None, _EVIDENCE, _REACH, str(error))
