"""The algebra in which a tableau is exact: functions on its stages.

A tableau needs of its stages that functions on them can be multiplied, summed over the stages, and
mapped by A.  For a list of coefficients these functions are lists of numbers, one for each stage.
For a method built on the roots of a polynomial P(x) they are the polynomials modulo P: the value at
stage i is the value at the node c_i.  Then all coefficients are rational, although the nodes are
roots of a degree as high as the number of stages; A stands in the basis 1, x, x^2, ...; sums over
stages are traces.  Order conditions, simplifying assumptions, R(z), symplecticity and signs of
quadratic forms do not depend on the basis.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import mpmath

from hamilforge.gen.exact import linear, polynomials
from hamilforge.gen.exact.linear import Matrix, Vector
from hamilforge.gen.exact.numbers import DIGITS, ONE, ZERO, Number, high_precision
from hamilforge.gen.exact.polynomials import Polynomial


@dataclass(frozen=True)
class Stages:
    """Functions on the stages, in a basis.

    Attributes:
        size: the number of stages.
        modulus: the monic polynomial whose roots are the nodes; None if functions are lists.
    """

    size: int
    modulus: Polynomial | None = None
    _cache: dict[str, Matrix] = field(default_factory=dict, compare=False, repr=False)

    @property
    def one(self) -> Vector:
        """The function 1."""
        return self.constant(ONE)

    def constant(self, number: Number) -> Vector:
        """A constant function."""
        if self.modulus is None:
            return (number,) * self.size
        return (number, *([ZERO] * (self.size - 1)))

    @property
    def nodes(self) -> Vector:
        """The function x, for computed nodes."""
        assert self.modulus is not None
        if self.size == 1:
            return (-self.modulus[0],)
        return linear.identity(self.size)[1]

    def product(self, left: Sequence[Number], right: Sequence[Number]) -> Vector:
        """The product, stage by stage."""
        if self.modulus is None:
            return tuple(a * b if a and b else ZERO for a, b in zip(left, right, strict=True))
        whole = polynomials.multiply(polynomials.trim(left), polynomials.trim(right))
        rest = polynomials.divide(whole, self.modulus)[1] if whole else whole
        return (*rest, *([ZERO] * (self.size - len(rest))))

    def power(self, base: Vector, exponent: int) -> Vector:
        """A power, stage by stage."""
        return functools.reduce(self.product, [base] * exponent, self.one)

    def multiplication(self, by: Vector) -> Matrix:
        """The matrix of the product with a function."""
        if self.modulus is None:
            return linear.diagonal(by)
        columns = [self.product(by, row) for row in linear.identity(self.size)]
        return linear.transpose(tuple(columns))

    def inverse(self, function: Vector) -> Vector:
        """One divided by a function.

        Raises:
            linear.Singular: it vanishes at a stage.
        """
        columns = linear.transpose((self.one,))
        return tuple(row[0] for row in linear.solve(self.multiplication(function), columns))

    @property
    def gram(self) -> Matrix:
        """The sums over the stages of the products of basis functions."""
        if "gram" not in self._cache:
            if self.modulus is None:
                self._cache["gram"] = linear.identity(self.size)
            else:
                sums = self._power_sums(2 * self.size - 1)
                self._cache["gram"] = tuple(
                    tuple(sums[i + j] for j in range(self.size)) for i in range(self.size)
                )
        return self._cache["gram"]

    def _power_sums(self, count: int) -> list[Number]:
        """The sums of the powers of the nodes (Newton's identities)."""
        assert self.modulus is not None
        size, coefficients = self.size, self.modulus[::-1]
        sums: list[Number] = [ONE * size]
        for k in range(1, count):
            total: Number = ZERO
            for i in range(1, min(k, size) + 1):
                factor = k if i == k else sums[k - i]
                total = total - coefficients[i] * factor
            sums.append(total)
        return sums

    def functional(self, weights: Vector) -> Vector:
        """The covector of the weighted sum over the stages."""
        if self.modulus is None:
            return weights
        return linear.apply(self.gram, weights)

    def adjoint(self, operator: Matrix) -> Matrix:
        """The transposed operator: sum of u (A v) = sum of (A' u) v."""
        if self.modulus is None:
            return linear.transpose(operator)
        mixed = linear.multiply(linear.transpose(operator), self.gram)
        return linear.solve(self.gram, mixed)

    @property
    def working_digits(self) -> int:
        """Digits with which 50 are left after a change of basis of this size."""
        return DIGITS + (2 * self.size if self.modulus is not None else 0)

    def evaluation(self) -> list[list[mpmath.mpf]]:
        """The values of the basis functions at the stages, stages in the order of the nodes."""
        if self.modulus is None:
            return [[mpmath.mpf(int(i == j)) for j in range(self.size)] for i in range(self.size)]
        nodes = roots(self.modulus, self.working_digits)
        return [[node**k for k in range(self.size)] for node in nodes]


@functools.lru_cache(maxsize=256)
def roots(modulus: Polynomial, digits: int) -> tuple[mpmath.mpf, ...]:
    """The real roots of a polynomial, ascending."""
    with mpmath.workdps(digits + 10):
        falling = [high_precision(coefficient, digits) for coefficient in modulus[::-1]]
        zeros = mpmath.polyroots(falling, maxsteps=500, extraprec=200)
        return tuple(sorted(mpmath.re(root) for root in zeros))
