"""The meaning of constrained steps, over any numbers: of many digits, or exact series in h.

In: a problem with constraints, moves, a state.  Out: the state after them.  Multipliers are found
by Newton's method, written from the definitions with dense elimination: backends share nothing with
it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath

from hamilforge.gen.program.algebra import Algebra, evaluate
from hamilforge.gen.program.integrators.integrator import (
    START,
    STOP,
    Band,
    ConstrainedFlows,
    ConstrainedMove,
    Friction,
    Matrix,
    Problem,
)
from hamilforge.gen.program.interpret import run
from hamilforge.gen.program.ir import Function
from hamilforge.gen.program.precise import PRECISE
from hamilforge.gen.program.stages import Coefficient

Vector = list[Any]
Rows = list[list[Any]]
#: Iterations of Newton's method at most, with numbers of many digits.
ITERATIONS = 60


class NoConvergence(ArithmeticError):
    """Newton's iteration did not end."""


@dataclass(frozen=True)
class Numbers:
    """What numbers are, and when equations are solved.

    Attributes:
        algebra: of functions.
        coefficient: a number of a method as a number of the algebra.
        size: of a number, to choose pivots by: the larger the better.
        solved: whether a change of multipliers, the so-manieth, was the last.
    """

    algebra: Algebra
    coefficient: Callable[[Any], Any]
    size: Callable[[Any], Any]
    solved: Callable[[Vector, int], bool]


def _settled(change: Vector, iteration: int) -> bool:
    """Whether a change is lost in the last digits; Newton's method doubles those that are right."""
    if iteration >= ITERATIONS:
        raise NoConvergence("Newton's method for the multipliers did not end")
    return all(abs(entry) < mpmath.mpf(10) ** (-mpmath.mp.dps * 2 // 3) for entry in change)


#: mpmath's numbers, at its working precision.
DIGITS = Numbers(
    PRECISE,
    lambda number: mpmath.mpf(number.value) if isinstance(number, Coefficient) else number,
    abs,
    _settled,
)


@dataclass(frozen=True)
class ConstrainedMachine:
    """Constrained steps of a problem, by the book.

    Attributes:
        parameters: of the problem, as numbers of the algebra.
    """

    problem: Problem
    flows: ConstrainedFlows
    parameters: Mapping[str, Any]
    numbers: Numbers

    def step(self, t: Any, h: Any, y: Sequence[Any]) -> Vector:
        """The state after one step.

        Args:
            t: the time at its start.
            h: the step.
            y: the state, `(components,)`.

        Returns:
            The state after it, of the same length.

        Raises:
            NoConvergence: a solve did not end.
        """
        state = list(y)
        for move in self.flows.moves:
            if isinstance(move, Friction):
                factor = self._decay(move, t, h)
                half = len(state) // 2
                state[half:] = [factor * entry for entry in state[half:]]
            else:
                state = self._constrained(move, t, h, state)
        return state

    def constraints(self, t: Any, y: Sequence[Any]) -> tuple[Vector, Vector]:
        """The constraints and their derivatives by the time, each of which should vanish."""
        own = self.problem.constraints
        assert own is not None
        value = self.call(own.value, t, y)
        velocity = self.call(self.problem.parts[0].field, t, y)
        slopes = self._matrix(own.slopes, t, y, len(own.names))
        return value, [_dot(row, velocity) for row in slopes]

    def nearest(self, t: Any, y: Sequence[Any]) -> Vector:
        """A state on the constraints with velocities along them, beside a state that need not be.

        Args:
            t: the time.
            y: the state.

        Returns:
            The state, of the same length.

        Raises:
            NoConvergence: Newton's method did not end.
        """
        own, half = self.problem.constraints, len(y) // 2
        assert own is not None
        q, p, iteration = list(y[:half]), list(y[half:]), 0
        one = self.numbers.algebra.constant(Fraction(1))
        unit = [[one * (i == j) for j in range(half)] for i in range(half)]
        while True:
            iteration += 1
            value, _ = self.constraints(t, q + p)
            slopes = self._matrix(own.slopes, t, q + p, len(own.names))
            change = _solved(_product(slopes, unit, slopes), value, self.numbers.size)
            q = _plus(q, -one, _transposed_times(slopes, change))
            if self.numbers.solved(change, iteration):
                break
        slopes = self._matrix(own.slopes, t, q + p, len(own.names))

        def moving(multipliers: Vector) -> tuple[Vector, Rows]:
            now = q + _plus(p, -one, _transposed_times(slopes, multipliers))
            mass = self._matrix(own.mass, t, now, half)
            return self.constraints(t, now)[1], _product(slopes, mass, slopes)

        return q + _plus(p, -one, _transposed_times(slopes, self._solve(moving, len(own.names))))

    def reaction(self, t: Any, y: Sequence[Any], force: Vector, curvature: Vector) -> Vector:
        """``G' lambda`` of the exact solution; see :meth:`multipliers`.

        Args:
            t: the time.
            y: the state.
            force: what changes momenta beside it.
            curvature: the second derivative of each constraint along the velocity, twice.

        Returns:
            What is taken from the rates of momenta.
        """
        own = self.problem.constraints
        assert own is not None
        slopes = self._matrix(own.slopes, t, y, len(own.names))
        return _transposed_times(slopes, self.multipliers(t, y, force, curvature))

    def independent(self, t: Any, y: Sequence[Any], least: float) -> bool:
        """Whether ``G K'' G'`` is regular: elimination has no pivot below a part of the first.

        Args:
            t: the time.
            y: the state.
            least: the part.

        Returns:
            Whether it is.
        """
        own, half = self.problem.constraints, len(y) // 2
        assert own is not None
        slopes = self._matrix(own.slopes, t, y, len(own.names))
        rows = _product(slopes, self._matrix(own.mass, t, y, half), slopes)
        first = max(self.numbers.size(entry) for row in rows for entry in row)
        while rows:
            sizes = [self.numbers.size(row[k]) for k, row in enumerate(rows)]
            best = sizes.index(max(sizes))
            if not sizes[best] > least * first:
                return False
            pivot = rows[best]
            rows = [
                [
                    entry - row[best] / pivot[best] * above
                    for k, (entry, above) in enumerate(zip(row, pivot, strict=True))
                    if k != best
                ]
                for number, row in enumerate(rows)
                if number != best
            ]
        return True

    def multipliers(self, t: Any, y: Sequence[Any], force: Vector, curvature: Vector) -> Vector:
        """The multipliers of the exact solution.

        Args:
            t: the time.
            y: the state.
            force: what changes momenta beside it.
            curvature: the second derivative of each constraint along the velocity, twice.

        Returns:
            Those with which velocities stay along the constraints,
            ``G K'' (force - G' lambda) + curvature = 0``.
        """
        own, half = self.problem.constraints, len(y) // 2
        assert own is not None
        slopes = self._matrix(own.slopes, t, y, len(own.names))
        mass = self._matrix(own.mass, t, y, half)
        felt = [_dot(row, [_dot(entries, force) for entries in mass]) for row in slopes]
        right = [a + b for a, b in zip(felt, curvature, strict=True)]
        matrix = _product(slopes, mass, slopes)
        return _solved(matrix, right, self.numbers.size)

    def call(self, function: Function, t: Any, y: Sequence[Any]) -> Vector:
        """The results of a function of the problem.

        Args:
            function: of the problem.
            t: the time.
            y: the state, `(components,)`.

        Returns:
            The results, one after another.
        """
        values = {**self.parameters, "t": t, **dict(zip(self.problem.components, y, strict=True))}
        known = run(function, values, self.numbers.algebra)
        return [known[array.name] for _, array in function.results]

    def _number(self, number: Any) -> Any:
        return self.numbers.coefficient(number)

    def _decay(self, move: Friction, t: Any, h: Any) -> Any:
        if self.problem.decay is None:
            return self.numbers.algebra.constant(Fraction(1))
        ends = (t + self._number(end) * h for end in (move.start, move.stop))
        values = {**self.parameters, **dict(zip((START, STOP), ends, strict=True))}
        return evaluate(self.problem.decay, values, self.numbers.algebra)

    def _matrix(self, matrix: Matrix, t: Any, y: Sequence[Any], rows: int) -> Rows:
        zero = self.numbers.algebra.constant(Fraction(0))
        dense = [[zero] * (len(y) // 2) for _ in range(rows)]
        for place, value in zip(matrix.places, self.call(matrix.function, t, y), strict=True):
            assert not isinstance(place, Band)
            dense[place[0]][place[1]] = value
        return dense

    def _constrained(self, move: ConstrainedMove, t: Any, h: Any, y: Vector) -> Vector:
        own = self.problem.constraints
        assert own is not None
        velocity, force = (part.field for part in self.problem.parts)
        half, count = len(y) // 2, len(own.names)
        at = t + self._number(move.time) * h
        before, drift, after = (
            self._number(number) * h for number in (move.before, move.drift, move.after)
        )
        q, p = y[:half], y[half:]

        def slopes(q: Vector, p: Vector) -> Rows:
            return self._matrix(own.slopes, at, q + p, count)

        def mass(q: Vector, p: Vector) -> Rows:
            return self._matrix(own.mass, at, q + p, half)

        def rate(q: Vector, p: Vector) -> Vector:
            return self.call(velocity, at, q + p)

        pushed = _plus(p, before, self.call(force, at, y))
        left = slopes(q, p)

        def reached(multipliers: Vector) -> tuple[Vector, Vector]:
            turned = _plus(pushed, -before, _transposed_times(left, multipliers))
            return _plus(q, drift, rate(q, turned)), turned

        def off(multipliers: Vector) -> tuple[Vector, Rows]:
            there, turned = reached(multipliers)
            value = self.call(own.value, at, there + turned)
            matrix = _product(slopes(there, turned), mass(q, turned), left)
            return [entry / (before * drift) for entry in value], matrix

        q, p = reached(self._solve(off, count))
        p = _plus(p, after, self.call(force, at, q + p))
        if not move.projected:
            return q + p
        right, kicked = slopes(q, p), p

        def turned(multipliers: Vector) -> Vector:
            return _plus(kicked, -after, _transposed_times(right, multipliers))

        def moving(multipliers: Vector) -> tuple[Vector, Rows]:
            now = turned(multipliers)
            value = [_dot(row, rate(q, now)) / after for row in right]
            return value, _product(right, mass(q, now), right)

        return q + turned(self._solve(moving, count))

    def _solve(self, equations: Callable[[Vector], tuple[Vector, Rows]], count: int) -> Vector:
        """Newton's method from 0; equations fall by their matrix times the multipliers."""
        multipliers = [self.numbers.algebra.constant(Fraction(0))] * count
        iteration = 0
        while True:
            value, matrix = equations(multipliers)
            change = _solved(matrix, value, self.numbers.size)
            multipliers = [a + b for a, b in zip(multipliers, change, strict=True)]
            iteration += 1
            if self.numbers.solved(change, iteration):
                return multipliers


def _dot(left: Vector, right: Vector) -> Any:
    products = [a * b for a, b in zip(left, right, strict=True)]
    return sum(products[1:], products[0])


def _plus(vector: Vector, factor: Any, other: Vector) -> Vector:
    return [entry + factor * more for entry, more in zip(vector, other, strict=True)]


def _transposed_times(rows: Rows, vector: Vector) -> Vector:
    return [_dot(list(column), vector) for column in zip(*rows, strict=True)]


def _product(left: Rows, middle: Rows, right: Rows) -> Rows:
    """``left middle right'``."""
    images = [[_dot(row, other) for row in middle] for other in right]
    return [[_dot(row, image) for image in images] for row in left]


def _solved(matrix: Rows, right: Vector, size: Callable[[Any], Any]) -> Vector:
    """The solution of a linear system, by elimination with pivots.

    Raises:
        ZeroDivisionError: the matrix is singular.
    """
    rows = [[*row, entry] for row, entry in zip(matrix, right, strict=True)]
    count = len(rows)
    for column in range(count):
        best = max(range(column, count), key=lambda row: size(rows[row][column]))
        rows[column], rows[best] = rows[best], rows[column]
        for row in range(count):
            if row != column:
                factor = rows[row][column] / rows[column][column]
                rows[row] = _plus(rows[row], -factor, rows[column])
    return [rows[k][count] / rows[k][k] for k in range(count)]
