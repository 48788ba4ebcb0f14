"""Polynomials in one variable over exact numbers, rising powers; their real roots.

Roots are counted by Sturm's theorem and enclosed by bisection, so what is said about them is
exact.  Multiple roots are told apart by squarefree decomposition.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from hamilforge.gen.exact.numbers import ONE, ZERO, Algebraic, Number, approximately, sign, value

Polynomial = tuple[Number, ...]


def trim(coefficients: Sequence[Number]) -> Polynomial:
    """Without leading zeros; the zero polynomial is empty."""
    end = len(coefficients)
    while end and not coefficients[end - 1]:
        end -= 1
    return tuple(coefficients[:end])


def add(left: Polynomial, right: Polynomial, factor: Number = 1) -> Polynomial:
    """``left + factor*right``.

    Args:
        left: a polynomial.
        right: another.
        factor: of the right one.

    Returns:
        The sum, without leading zeros.
    """
    size = max(len(left), len(right))
    left, right = (tuple(p) + (ZERO,) * (size - len(p)) for p in (left, right))
    return trim([a + factor * b for a, b in zip(left, right, strict=True)])


def multiply(left: Polynomial, right: Polynomial) -> Polynomial:
    """The product."""
    if not left or not right:
        return ()
    result: list[Number] = [ZERO] * (len(left) + len(right) - 1)
    for i, a in enumerate(left):
        if a:
            for j, b in enumerate(right):
                if b:
                    result[i + j] = result[i + j] + a * b
    return trim(result)


def divide(left: Polynomial, right: Polynomial) -> tuple[Polynomial, Polynomial]:
    """Quotient and remainder."""
    rest, quotient = list(left), [ZERO] * max(len(left) - len(right) + 1, 0)
    lead = ONE / right[-1]
    while len(rest) >= len(right):
        factor = rest[-1] * lead
        shift = len(rest) - len(right)
        quotient[shift] = factor
        if factor:
            for k, b in enumerate(right):
                rest[shift + k] = rest[shift + k] - factor * b
        rest.pop()
    return trim(quotient), trim(rest)


def monic(polynomial: Polynomial) -> Polynomial:
    """Divided by the leading coefficient."""
    lead = ONE / polynomial[-1]
    return tuple(coefficient * lead for coefficient in polynomial)


def gcd(left: Polynomial, right: Polynomial) -> Polynomial:
    """The monic greatest common divisor."""
    left, right = trim(left), trim(right)
    while right:
        left, right = right, divide(left, right)[1]
        right = monic(right) if right else right
    return monic(left) if left else left


def derivative(polynomial: Polynomial) -> Polynomial:
    """The derivative."""
    return trim([k * coefficient for k, coefficient in enumerate(polynomial)][1:])


def integral(polynomial: Polynomial) -> Polynomial:
    """The integral from 0."""
    return trim([ZERO, *(coefficient / (k + 1) for k, coefficient in enumerate(polynomial))])


def squarefree(polynomial: Polynomial) -> list[tuple[Polynomial, int]]:
    """The squarefree factors with their multiplicities (Yun)."""
    factors: list[tuple[Polynomial, int]] = []
    slope = derivative(polynomial)
    common = gcd(polynomial, slope)
    rest, cofactor = divide(polynomial, common)[0], divide(slope, common)[0]
    multiplicity = 1
    while len(rest) > 1:
        cofactor = add(cofactor, derivative(rest), -1)
        factor = gcd(rest, cofactor) if cofactor else monic(rest)
        if len(factor) > 1:
            factors.append((factor, multiplicity))
        rest = divide(rest, factor)[0]
        cofactor = divide(cofactor, factor)[0] if cofactor else cofactor
        multiplicity += 1
    return factors


def sturm_chain(polynomial: Polynomial) -> list[Polynomial]:
    """Sturm's chain of a squarefree polynomial; members are scaled by positive numbers."""
    chain = [_positive_scaled(polynomial), _positive_scaled(derivative(polynomial))]
    while chain[-1]:
        rest = divide(chain[-2], chain[-1])[1]
        chain.append(_positive_scaled(tuple(-coefficient for coefficient in rest)))
    return chain[:-1]


def _positive_scaled(polynomial: Polynomial) -> Polynomial:
    """Divided by a positive number that keeps the coefficients small."""
    if not polynomial:
        return polynomial
    if any(isinstance(coefficient, Algebraic) for coefficient in polynomial):
        scale = polynomial[-1]
        scale = -scale if sign(scale) < 0 else scale
        return tuple(coefficient / scale for coefficient in polynomial)
    common = math.lcm(*(coefficient.denominator for coefficient in polynomial))
    whole = [int(coefficient * common) for coefficient in polynomial]
    content = math.gcd(*whole)
    return tuple(Fraction(coefficient // content) for coefficient in whole)


def _changes(signs: Iterator[int]) -> int:
    previous = count = 0
    for current in signs:
        if current and previous and current != previous:
            count += 1
        previous = current or previous
    return count


def _changes_at(chain: list[Polynomial], point: Number | None) -> int:
    """Sign changes of the chain at a point, or at plus infinity for None."""
    if point is None:
        return _changes(sign(member[-1]) for member in chain)
    return _changes(sign(value(member, point)) for member in chain)


def count_roots(chain: list[Polynomial], lower: Number, upper: Number | None) -> int:
    """The number of real roots in ``(lower, upper]``; no bound for None.

    Args:
        chain: Sturm's chain of a squarefree polynomial.
        lower: the bound that does not count.
        upper: the bound that does; plus infinity if None.

    Returns:
        How many, each counted once.
    """
    return _changes_at(chain, lower) - _changes_at(chain, upper)


def root_bound(polynomial: Polynomial) -> Fraction:
    """A number larger than the absolute value of every root (Cauchy)."""
    lead = approximately(polynomial[-1])
    others = max((abs(approximately(c)) for c in polynomial[:-1]), default=ZERO)
    return Fraction(2) + 2 * others / abs(lead)


@dataclass(frozen=True, slots=True)
class Root:
    """A real root: an interval around it, and a squarefree polynomial with no other root there.

    Attributes:
        lower, upper: the interval; equal if the root is that rational number.
    """

    lower: Fraction
    upper: Fraction
    polynomial: Polynomial = ()

    @property
    def middle(self) -> Fraction:
        """The root, as nearly as it is enclosed."""
        return (self.lower + self.upper) / 2


def smallest_root(polynomial: Polynomial, above: Number, digits: int = 30) -> Root | None:
    """The smallest root above a point; None without one.

    Args:
        polynomial: squarefree.
        above: where to begin; a root there does not count.
        digits: the relative width of the interval.

    Returns:
        An interval that holds it; one point if the root is found exactly. None without a root.
    """
    if len(polynomial) < 2:
        return None
    chain = sturm_chain(polynomial)
    if count_roots(chain, above, None) == 0:
        return None
    lower, upper = approximately(above), root_bound(polynomial)
    while count_roots(chain, lower, upper) > 1:
        middle = (lower + upper) / 2
        if count_roots(chain, lower, middle):
            upper = middle
        else:
            lower = middle
    at_upper = sign(value(polynomial, upper))
    if at_upper == 0:
        return Root(upper, upper, polynomial)
    while upper - lower > abs(upper) * Fraction(1, 10**digits):
        middle = (lower + upper) / 2
        at_middle = sign(value(polynomial, middle))
        if at_middle == 0:
            return Root(middle, middle, polynomial)
        if at_middle == at_upper:
            upper = middle
        else:
            lower = middle
    return Root(lower, upper, polynomial)


def odd_part(polynomial: Polynomial) -> Polynomial:
    """The product of the factors of odd multiplicity: where the sign changes."""
    result: Polynomial = (ONE,)
    for factor, multiplicity in squarefree(polynomial):
        if multiplicity % 2:
            result = multiply(result, factor)
    return result


def sign_after(polynomial: Polynomial) -> int:
    """The sign on the right of zero, close to it."""
    return next((sign(coefficient) for coefficient in polynomial if coefficient), 0)


def first_negative(polynomial: Polynomial) -> Root | None:
    """Where a polynomial first becomes negative on the right of zero; None if it never does.

    A root that only touches zero does not end the interval.
    """
    polynomial = trim(polynomial)
    if not polynomial:
        return None
    if sign_after(polynomial) < 0:
        return Root(ZERO, ZERO)
    while not polynomial[0]:
        polynomial = polynomial[1:]
    return smallest_root(odd_part(polynomial), ZERO)


def nonnegative_beyond_zero(polynomial: Polynomial) -> bool:
    """Whether a polynomial is nowhere negative on [0, inf)."""
    return first_negative(polynomial) is None


def hurwitz(polynomial: Polynomial) -> bool:
    """Whether all roots have negative real parts (Routh's array)."""
    polynomial = trim(polynomial)
    if len(polynomial) < 2:
        return bool(polynomial)
    if sign(polynomial[-1]) < 0:
        polynomial = tuple(-coefficient for coefficient in polynomial)
    falling = polynomial[::-1]
    first, second = list(falling[0::2]), list(falling[1::2])
    for _ in range(len(polynomial) - 1):
        if not second or sign(second[0]) <= 0:
            return False
        second += [ZERO] * (len(first) - len(second))
        factor = first[0] / second[0]
        third = [a - factor * b for a, b in zip(first[1:], second[1:], strict=True)]
        first, second = second, third
        while first and not first[-1] and len(first) > 1:
            first.pop()
        second = second[: len(first)]
    return True


def chopped(polynomial: Sequence[Number], tolerance: Fraction) -> Polynomial:
    """Coefficients within a tolerance of zero as zero: for coefficients known in decimals only."""
    if not tolerance:
        return trim(polynomial)
    return trim(
        [ZERO if not isinstance(c, Algebraic) and abs(c) <= tolerance else c for c in polynomial]
    )
