"""Points of a manifold and tangent vectors at them, drawn, in numbers of many digits.

In: the maps of a manifold and sizes.  Out: points that satisfy its constraint and conditions, and
what its maps are worth there.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import mpmath
import numpy as np

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.exact import matrices
from hamilforge.gen.program.algebra import Algebra
from hamilforge.gen.program.interpret import results
from hamilforge.gen.program.optimizers.manifold import Geometry, build_manifold
from hamilforge.gen.program.precise import PRECISE_OR_NAN
from hamilforge.gen.program.reference import FLOAT64

Matrix = Any
#: Digits of the arithmetic, the step of its differences, and what is zero in it.
DIGITS = 120
STEP, ZERO = mpmath.mpf("1e-24"), mpmath.mpf("1e-40")
#: What is zero among powers of a small step: rounding alone.
ROUNDING = mpmath.mpf(10) ** (20 - DIGITS)
#: How far a measured power may be from a whole number.
SLOPE = 0.05
#: The hyper-parameter of a rule that is the step along the gradient, and values of it, or of a
#: step, between which powers are read off.
RATE = "lr"
NEAR = (mpmath.mpf("1e-8"), mpmath.mpf("1e-9"))
#: How often a point is drawn before there is none; steps of Newton's method.
_DRAWS, _STEPS = 20, 40
#: How often a tangent vector is halved until a retraction has a value for it.
_HALVINGS = 10


def slope(curve: Callable[[Any], Any], at: Any = 0) -> Any:
    """The derivative of a curve, by the central difference.

    Args:
        curve: of a number.
        at: where.

    Returns:
        The derivative, good to about 48 digits.
    """
    return (curve(at + STEP) - curve(at - STEP)) / (2 * STEP)


def power(apart: Callable[[Any], Any], steps: tuple[Any, Any]) -> float:
    """The power of a step with which a distance goes to zero.

    Args:
        apart: the distance, by the step.
        steps: between which it is read off.

    Returns:
        The power.
    """
    first, second = map(apart, steps)
    return float(mpmath.log(first / second) / mpmath.log(steps[0] / steps[1]))


def whole(measured: float) -> int | None:
    """The whole number that a measured power shows; None where it is none."""
    return round(measured) if abs(measured - round(measured)) <= SLOPE else None


def whole_order(measured: float) -> int | None:
    """The order that a power of order + 1 shows; None where it is no whole number."""
    order = whole(measured)
    return None if order is None else order - 1


def drawn_matrix(shape: tuple[int, int], seed: int) -> Matrix:
    """A matrix of rational numbers up to 2.

    Args:
        shape: its rows and columns.
        seed: of what is drawn.
    """
    return _drawn(shape, random.Random(seed))


def _drawn(shape: tuple[int, ...], generator: random.Random) -> Matrix:
    numbers = [mpmath.mpf(generator.randint(-999, 999)) / 500 for _ in range(math.prod(shape))]
    array = np.empty(len(numbers), object)
    array[:] = numbers
    return array.reshape(shape)


def _positive(value: Any, definite: bool) -> bool:
    """Whether a number is positive, or a matrix symmetric and positive definite."""
    if not definite:
        return bool(value > 0)
    if matrices.size_of(value - value.T) > ZERO * (1 + matrices.size_of(value)):
        return False
    try:
        matrices.cholesky(value)
    except ZeroDivisionError:
        return False
    return True


class Place:
    """A point of a manifold at some sizes, with maps; all arithmetic has :data:`DIGITS` digits.

    Args:
        manifold: the declaration.
        sizes: of its dimensions.
        seed: of what is drawn.

    Raises:
        DeclarationError: no point was found, or a map has no value.
    """

    def __init__(self, manifold: kinds.Manifold, sizes: Mapping[str, int], seed: int = 0) -> None:
        self.manifold, self.sizes = manifold, dict(sizes)
        self._geometry: Geometry = build_manifold(manifold)
        self._generator = random.Random(seed)
        self.shape = tuple(1 if name == "1" else sizes[name] for name in manifold.shape)
        with mpmath.workdps(DIGITS):
            self.point = self._drawn_point()

    # --- values

    def value(self, name: str, *arguments: Matrix, algebra: Algebra = PRECISE_OR_NAN) -> Any:
        """What a map is worth.

        Args:
            name: of the map.
            arguments: in the order of its inputs.
            algebra: what numbers are.

        Raises:
            DeclarationError: it has no value there.
        """
        function = self._geometry.functions[name]
        letters = [array.name for array in function.inputs]
        try:
            values = dict(zip(letters, arguments, strict=True))
            value = results(function, values, algebra)["value"]
            if not all(map(mpmath.isfinite, np.ravel(value))):
                raise ArithmeticError("it is not finite")
            return value
        except (ArithmeticError, np.linalg.LinAlgError, ValueError) as error:
            raise DeclarationError.single(
                self.manifold.head.source.where,
                f"{name.replace('_', ' ')} has no value at a drawn point of the manifold and a "
                f"drawn vector, whose entries are up to 2 and may be 0, with {self.named}: {error}",
            ) from error

    @property
    def named(self) -> str:
        """The sizes, in words."""
        return ", ".join(f"{name} = {size}" for name, size in self.sizes.items())

    def drawn(self, shape: int | kinds.Shape = ()) -> Matrix:
        """A matrix of rational numbers.

        Args:
            shape: in dimensions by name; the size of a square one; that of points if empty.
        """
        if isinstance(shape, int):
            return _drawn((shape, shape), self._generator)
        return _drawn(self._sizes(shape) if shape else self.shape, self._generator)

    def zeros(self, shape: kinds.Shape) -> Matrix:
        """A matrix of zeros, of a shape in dimensions by name."""
        zeros = np.empty(self._sizes(shape), object)
        zeros[:] = mpmath.mpf(0)
        return zeros

    def _sizes(self, shape: kinds.Shape) -> tuple[int, ...]:
        return tuple(1 if axis == "1" else self.sizes[axis] for axis in shape)

    def tangent(self, at: Matrix | None = None) -> Matrix:
        """A projected drawn matrix."""
        return self.value("project", self.point if at is None else at, self.drawn())

    def inner(self, metric: str, left: Matrix, right: Matrix, at: Matrix | None = None) -> Any:
        """An inner product.

        Args:
            metric: its name.
            left: one vector.
            right: the other.
            at: where; at the point if None.

        Returns:
            The number.
        """
        return self.value(f"inner_{metric}", self.point if at is None else at, left, right)

    def rotated(self) -> Matrix:
        """A drawn orthogonal matrix that acts on columns."""
        return matrices.qr(self.drawn(self.shape[1]))

    def apart(self, left: Matrix, right: Matrix) -> Any:
        """How far two points are from each other: of a quotient, the spaces that they span."""
        if self.manifold.quotient:
            left, right = left @ left.T, right @ right.T
        return matrices.size_of(left - right)

    def satisfies(self, point: Matrix) -> bool:
        """Whether the conditions hold."""
        return all(
            _positive(self.value(f"condition_{condition.name}", point), condition.definite)
            for condition in self.manifold.conditions
        )

    def shortened(self, name: str, point: Matrix, vector: Matrix) -> Matrix:
        """A tangent vector, halved until a retraction has a value for it.

        Args:
            name: of the retraction.
            point: where.
            vector: what is halved.

        Returns:
            The vector, or a part of it.

        Raises:
            DeclarationError: a vector of a thousandth of its length has none.
        """
        retraction = self.manifold.retraction(name)
        if retraction.where is None:
            return vector
        for _ in range(_HALVINGS):
            if _positive(self.value(f"where_{name}", point, vector), retraction.definite):
                return vector
            vector = vector / 2
        raise DeclarationError.at(
            self.manifold.head.source,
            f"no drawn V, halved {_HALVINGS} times, has a value, with {self.named}",
            "retractions",
            name,
        )

    def violation(self, point: Matrix) -> Any:
        """The size of the constraint."""
        value = self.value("constraint", point)
        return matrices.size_of(np.atleast_2d(value))

    # --- in floating point

    def dimension(self) -> tuple[int, int]:
        """The rank of the projection, and the dimension that the constraint leaves."""
        point = self.point.astype(float)
        size = math.prod(self.shape)
        basis = np.eye(size).reshape(size, *self.shape)
        projected = np.array(
            [self.value("project", point, part, algebra=FLOAT64).ravel() for part in basis]
        )
        rank = int(np.linalg.matrix_rank(projected, 1e-9 * max(1.0, abs(projected).max())))
        left = size - int(np.linalg.matrix_rank(self._slopes(point), 1e-6))
        if self.manifold.quotient:
            left -= self.shape[1] * (self.shape[1] - 1) // 2
        return rank, left

    def _slopes(self, point: Matrix) -> Matrix:
        """The derivative of the constraint, in floating point."""
        size, h = point.size, 1e-5
        basis = h * np.eye(size).reshape(size, *point.shape)

        def violations(at: Matrix) -> Matrix:
            return np.ravel(self.value("constraint", at, algebra=FLOAT64))

        columns = [(violations(point + d) - violations(point - d)) / (2 * h) for d in basis]
        return np.array(columns).T

    # --- points

    def _drawn_point(self) -> Matrix:
        where = self.manifold.head.source
        for _ in range(_DRAWS):
            point = self._candidate()
            if point is not None and self.satisfies(point):
                break
        else:
            raise DeclarationError.single(
                where.where,
                f"no point that satisfies constraint and conditions was found with {self.named}; "
                "[sample] may say how to make one of a random matrix Z",
            )
        if self.violation(point) > ZERO:
            raise DeclarationError.at(
                where,
                f"the constraint is {mpmath.nstr(self.violation(point), 5)} at this point, with "
                f"{self.named}",
                "sample",
                "point",
            )
        return point

    def _candidate(self) -> Matrix | None:
        drawn = self.drawn()
        if self.manifold.sample is not None:
            return self.value("sample", drawn)
        point = drawn
        for _ in range(_STEPS):
            if self.violation(point) <= ZERO**2:
                return point
            with np.errstate(all="ignore"):
                slopes = self._slopes(point.astype(float))
            if not np.isfinite(slopes).all():
                return None
            step = np.linalg.pinv(slopes, rcond=1e-8)
            value = np.ravel(self.value("constraint", point))
            point = point - (step.astype(object) @ value).reshape(self.shape)
        return point if self.violation(point) <= ZERO else None
