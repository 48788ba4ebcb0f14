"""Linear stability: R(z), A- and L-stability, stability intervals, dispersion and dissipation.

Everything is decided by signs of polynomials: ``|R| <= 1`` on a ray is ``|Q|^2 - |P|^2 >= 0``, a
polynomial in the distance, whose sign changes are isolated exactly.

Sources: E. Hairer and G. Wanner, Solving Ordinary Differential Equations II, sections IV.2, IV.3;
P. J. van der Houwen and B. P. Sommeijer, SIAM J. Numer. Anal. 24 (1987) 595-617 (dispersion).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from hamilforge.gen.exact import linear, polynomials
from hamilforge.gen.exact.numbers import ONE, ZERO, Number, sign
from hamilforge.gen.exact.polynomials import Polynomial, Root
from hamilforge.gen.tableau.tableau import Tableau

#: Published digits beyond this mean nothing.
_SCALE = 10**40


@dataclass(frozen=True, slots=True)
class StabilityFunction:
    """``R(z) = P(z)/Q(z)`` in lowest terms, rising powers, ``Q(0) = 1``."""

    numerator: Polynomial
    denominator: Polynomial

    def taylor(self, count: int) -> list[Number]:
        """The first coefficients of the expansion at 0."""
        coefficients: list[Number] = []
        for k in range(count):
            value = self.numerator[k] if k < len(self.numerator) else ZERO
            for i in range(1, min(k, len(self.denominator) - 1) + 1):
                value = value - self.denominator[i] * coefficients[k - i]
            coefficients.append(value)
        return coefficients

    @property
    def of_adjoint(self) -> StabilityFunction:
        """``1/R(-z)``, that of the method for adjoint equations."""
        return StabilityFunction(reflected(self.denominator), reflected(self.numerator))

    def at_infinity(self) -> Number | None:
        """R(infinity); None if infinite."""
        if len(self.numerator) > len(self.denominator):
            return None
        if len(self.numerator) < len(self.denominator):
            return ZERO
        return self.numerator[-1] / self.denominator[-1]


def inverse_factorial(k: int) -> Fraction:
    """1/k!."""
    return Fraction(1, math.factorial(k))


def stability_function(tableau: Tableau, order: int = 0) -> StabilityFunction:
    """``R(z) = det(I - zA + z e b')/det(I - zA)``.

    Args:
        tableau: the method.
        order: its order, up to which the expansion of R is that of exp: for published digits, whose
            rounding would else decide signs near 0.
    """
    size = tableau.size
    denominator = list(linear.reversed_characteristic(tableau.a))
    moments: list[Number] = [ONE]
    function = tableau.stages.one
    for _ in range(size):
        moments.append(linear.dot(tableau.weights, function))
        function = linear.apply(tableau.a, function)
    if tableau.tolerance:
        denominator, moments = (
            [Fraction(round(c * _SCALE), _SCALE) for c in numbers]
            for numbers in (polynomials.chopped(denominator, tableau.tolerance), moments)
        )
        known = min(order, size) + 1
        moments[:known] = list(map(inverse_factorial, range(known)))
        denominator += [ZERO] * (size + 1 - len(denominator))
    numerator = [
        sum((denominator[i] * moments[k - i] for i in range(k + 1)), ZERO) for k in range(size + 1)
    ]
    over = polynomials.chopped(numerator, tableau.tolerance)
    under = polynomials.trim(denominator)
    common = polynomials.gcd(over, under)
    if len(common) > 1:
        over, under = (polynomials.divide(p, common)[0] for p in (over, under))
        over, under = (tuple(c / under[0] for c in p) for p in (over, under))
    return StabilityFunction(over, under)


def reflected(polynomial: Polynomial) -> Polynomial:
    """``p(-z)``."""
    return tuple(-c if k % 2 else c for k, c in enumerate(polynomial))


def squared_modulus(polynomial: Polynomial) -> Polynomial:
    """``|p(iy)|^2`` as a polynomial in ``y^2``."""
    even = [c if k % 2 == 0 else -c for k, c in enumerate(polynomial[0::2])]
    odd = [c if k % 2 == 0 else -c for k, c in enumerate(polynomial[1::2])]
    squares = polynomials.multiply(polynomials.trim(even), polynomials.trim(even))
    odd_squares = polynomials.multiply(polynomials.trim(odd), polynomials.trim(odd))
    return polynomials.add(squares, (ZERO, *odd_squares))


@dataclass(frozen=True, slots=True)
class Stability:
    """What the stability function says.

    Attributes:
        function: R.
        a_stable: ``|R| <= 1`` on the left half-plane.
        l_stable: A-stable with ``R(infinity) = 0``.
        real: the largest x with ``|R| <= 1`` on [-x, 0], None if on all of it.
        imaginary: the square of the largest y with ``|R| <= 1`` on [-iy, iy], in the same way.
    """

    function: StabilityFunction
    a_stable: bool
    l_stable: bool
    real: Root | None
    imaginary: Root | None


def stability(
    tableau: Tableau, order: int = 0, function: StabilityFunction | None = None
) -> Stability:
    """Decide linear stability.

    Args:
        tableau: the method.
        order: as for :func:`stability_function`.
        function: R where it is known.

    Returns:
        What R says.
    """
    function = function or stability_function(tableau, order)
    over, under = function.numerator, function.denominator
    terms = [_sizes(under), _sizes(over)]
    edge = _difference(
        squared_modulus(under),
        squared_modulus(over),
        tableau,
        [polynomials.multiply(sizes, sizes)[0::2] for sizes in terms],
    )
    if tableau.tolerance:  # R is exp to the order, so |R(iy)|^2 is 1 to that power of y
        edge = polynomials.trim([ZERO if 2 * k <= order else c for k, c in enumerate(edge)])
    bounded = polynomials.nonnegative_beyond_zero(edge)
    a_stable = bounded and len(over) <= len(under) and polynomials.hurwitz(reflected(under))
    left, right = reflected(under), reflected(over)
    real = polynomials.multiply(
        _difference(left, right, tableau, [_sizes(left), _sizes(right)]),
        polynomials.add(left, right),
    )
    squared = polynomials.first_negative(edge)
    return Stability(
        function,
        a_stable,
        a_stable and not function.at_infinity(),
        polynomials.first_negative(real),
        squared,
    )


def _sizes(polynomial: Polynomial) -> Polynomial:
    """The absolute values of the coefficients."""
    return tuple(-c if sign(c) < 0 else c for c in polynomial)


def _difference(
    left: Polynomial, right: Polynomial, tableau: Tableau, sizes: list[Polynomial]
) -> Polynomial:
    """``left - right``; for published digits, what is small beside the terms it comes from is zero.

    Args:
        left: a polynomial.
        right: another.
        tableau: whose tolerance counts.
        sizes: what the terms of each coefficient amount to, for both.
    """
    plain = polynomials.add(left, right, -1)
    if not tableau.tolerance:
        return plain

    def is_small(k: int) -> bool:
        size = sum((polynomial[k] for polynomial in sizes if k < len(polynomial)), ZERO)
        return bool(abs(plain[k]) <= tableau.tolerance * size)

    return polynomials.trim([ZERO if is_small(k) else c for k, c in enumerate(plain)])


@dataclass(frozen=True, slots=True)
class Oscillation:
    """How ``exp(iy)`` is followed: the order of an error and its constant.

    The error is ``constant * y^(order + 1)`` to lowest order; None for both if there is none.
    """

    order: int | None
    constant: Number | None


def dispersion(function: StabilityFunction, terms: int, tableau: Tableau) -> Oscillation:
    """The error of the phase, ``y - arg R(iy)``.

    Args:
        function: R.
        terms: how many coefficients of the expansions at 0, from that of z^0 on.
        tableau: whose tolerance tells what is zero.

    Returns:
        Its order and its constant; None for both if no error was found.
    """
    return _oscillation(function, terms, tableau, phase=True)


def dissipation(function: StabilityFunction, terms: int, tableau: Tableau) -> Oscillation:
    """The error of the amplitude, ``1 - |R(iy)|``.

    Args:
        function: R.
        terms: how many coefficients of the expansions at 0, from that of z^0 on.
        tableau: whose tolerance tells what is zero.

    Returns:
        Its order and its constant; None for both if no error was found.
    """
    return _oscillation(function, terms, tableau, phase=False)


def _oscillation(
    function: StabilityFunction, terms: int, tableau: Tableau, phase: bool
) -> Oscillation:
    """From ``log(R(z) e^-z)``: odd powers turn the phase, even powers change the modulus."""
    ratio = function.taylor(terms)
    exponential = [ONE]
    for k in range(1, terms):
        exponential.append(-exponential[-1] / k)
    product = [
        sum((ratio[i] * exponential[k - i] for i in range(k + 1)), ZERO) for k in range(terms)
    ]
    logarithm: list[Number] = [ZERO]
    for k in range(1, terms):
        inner = sum((i * logarithm[i] * product[k - i] for i in range(1, k)), ZERO)
        logarithm.append(product[k] - inner / k)
    for k in range(1 if phase else 2, terms, 2):
        if not tableau.is_zero(logarithm[k]):
            turned = -1 if (k // 2) % 2 else 1
            return Oscillation(k - 1, -turned * logarithm[k])
    return Oscillation(None, None)
