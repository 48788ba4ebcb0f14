"""A Runge–Kutta tableau as an exact object.

In: what :mod:`build` makes of a declaration.  Out: the operators and functions that analyses ask
for; the numbers of the table itself, in floating point, for pictures and kernels.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

from hamilforge.gen.exact import linear
from hamilforge.gen.exact.linear import Matrix, Vector
from hamilforge.gen.exact.numbers import DIGITS, ZERO, Algebraic, Number, high_precision, sign
from hamilforge.gen.tableau.stages import Stages

#: Residuals of published digits count as zero up to so many units of their last place.
TOLERATED = 1000
#: Entries of computed tables below this are zero, as rationals of 45 digits.
SLACK = Fraction(1, 10**35)


@dataclass(frozen=True)
class Tableau:
    """``Y_i = y + h sum_j a_ij f(t + c_i h, Y_j)``, ``y+ = y + h sum_i b_i f(t + c_i h, Y_i)``.

    Attributes:
        stages: the algebra of functions on the stages; all that follows is in its basis.
        a: the operator A.
        b: the weights as a function on the stages.
        b_hat: the embedded weights, if any.
        c: the nodes.
        tolerance: what counts as zero: 0 for exact coefficients, more for published digits.
        row_sums: whether the nodes are the row sums of A.
    """

    stages: Stages
    a: Matrix
    b: Vector
    b_hat: Vector | None
    c: Vector
    tolerance: Fraction = ZERO
    row_sums: bool = True

    @property
    def size(self) -> int:
        """The number of stages."""
        return self.stages.size

    def is_zero(self, number: Number) -> bool:
        """Whether a number is zero, or as near to it as the coefficients are known."""
        if isinstance(number, Algebraic) or not self.tolerance:
            return not number
        return bool(abs(number) <= self.tolerance)

    def vanishes(self, entries: Any) -> bool:
        """Whether all entries of a vector or a matrix are zero."""
        return all(
            self.vanishes(entry) if isinstance(entry, tuple) else self.is_zero(entry)
            for entry in entries
        )

    def sign(self, number: Number) -> int:
        """-1, 0 or 1."""
        return 0 if self.is_zero(number) else sign(number)

    @functools.cached_property
    def weights(self) -> Vector:
        """The covector of ``sum_i b_i v_i``."""
        return self.stages.functional(self.b)

    @functools.cached_property
    def needs(self) -> tuple[frozenset[int], ...]:
        """For each stage the stages in its row of A."""
        table = self.by_stages
        return tuple(
            frozenset(j for j, entry in enumerate(row) if not table.is_zero(entry))
            for row in table.a
        )

    @functools.cached_property
    def is_explicit(self) -> bool:
        """Whether some order of the stages makes A strictly lower triangular."""
        done: set[int] = set()
        stages = range(self.size)
        while ready := {i for i in stages if i not in done and self.needs[i] <= done}:
            done |= ready
        return len(done) == self.size

    @functools.cached_property
    def inverse_weights(self) -> Vector | None:
        """1/b_i, or None if a weight vanishes."""
        if self.stages.modulus is None and any(self.is_zero(weight) for weight in self.b):
            return None
        try:
            return self.stages.inverse(self.b)
        except linear.Singular:
            return None

    @functools.cached_property
    def transposed(self) -> Matrix | None:
        """The operator ``v -> (1/b_i) sum_j a_ji b_j v_j``, or None if a weight vanishes."""
        if self.inverse_weights is None:
            return None
        stages = self.stages
        inner = linear.multiply(stages.adjoint(self.a), stages.multiplication(self.b))
        return linear.multiply(stages.multiplication(self.inverse_weights), inner)

    def adjoint(self) -> Tableau | None:
        """Hager's adjoint ``a^_ij = b_j - b_j a_ji/b_i``, or None if a weight vanishes.

        Source: W. W. Hager, Runge-Kutta methods in optimal control and the transformed adjoint
        system, Numer. Math. 87 (2000) 247-282.
        """
        if self.transposed is None:
            return None
        a = linear.plus(linear.outer(self.stages.one, self.weights), self.transposed, -1)
        c = linear.apply(a, self.stages.one)
        return Tableau(self.stages, a, self.b, None, c, self.tolerance)

    @functools.cached_property
    def symplectic_form(self) -> Matrix:
        """``M_ij = b_i a_ij + b_j a_ji - b_i b_j`` as a quadratic form in the basis."""
        half = linear.multiply(self.weight_form, self.a)
        both = linear.plus(half, linear.transpose(half))
        return linear.plus(both, linear.outer(self.weights, self.weights), -1)

    @functools.cached_property
    def weight_form(self) -> Matrix:
        """``diag(b)`` as a quadratic form in the basis."""
        stages = self.stages
        return linear.multiply(stages.gram, stages.multiplication(self.b))

    @functools.cached_property
    def precise(self) -> tuple[list[list[mpmath.mpf]], list[mpmath.mpf], list[mpmath.mpf]]:
        """A, b and c by stages, in 50 digits, stages of computed nodes in ascending order."""
        digits = self.stages.working_digits
        with mpmath.workdps(digits):
            table = mpmath.matrix(self.stages.evaluation())
            a = mpmath.matrix([[high_precision(entry, digits) for entry in row] for row in self.a])
            b, c = (
                table * mpmath.matrix([high_precision(entry, digits) for entry in function])
                for function in (self.b, self.c)
            )
            if self.stages.modulus is not None:
                a = table * a * mpmath.inverse(table)
            rows = [[a[i, j] for j in range(self.size)] for i in range(self.size)]
            return rows, list(b), list(c)

    @functools.cached_property
    def by_stages(self) -> Tableau:
        """The table stage by stage: as it is, or in rationals of 45 digits if it is computed."""
        if self.stages.modulus is None:
            return self

        def rational(number: mpmath.mpf) -> Fraction:
            near = Fraction(int(mpmath.nint(number * 10**45)), 10**45)
            return ZERO if abs(near) < SLACK else near

        with mpmath.workdps(2 * DIGITS):
            rows, weights, nodes = self.precise
            a = tuple(tuple(map(rational, row)) for row in rows)
            b, c = (tuple(map(rational, function)) for function in (weights, nodes))
        return Tableau(Stages(self.size), a, b, None, c, SLACK, self.row_sums)

    @functools.cached_property
    def floats(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """A, b and c in double precision, each entry correctly rounded."""
        a, b, c = self.precise
        return (
            np.array([[float(entry) for entry in row] for row in a]).reshape(self.size, self.size),
            np.array([float(entry) for entry in b]),
            np.array([float(entry) for entry in c]),
        )

    def embedded(self) -> Tableau | None:
        """The method with the embedded weights."""
        if self.b_hat is None:
            return None
        rows = self.row_sums
        return Tableau(self.stages, self.a, self.b_hat, None, self.c, self.tolerance, rows)
