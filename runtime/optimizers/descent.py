"""Steps of a gradient flow by a discrete gradient, for functions of which values are asked.

In: a generated discrete gradient, a function, h.  Out: v with ``v = u - h grad(u, v)``, so that
``J(v) - J(u) = -|v - u|^2/h`` for every h.

An increment along one line is a scalar equation: its root other than 0 is enclosed on the side
where J falls, for all problems of a batch at once.  Where all coordinates of v stand in one
equation, it is solved by MINPACK's hybrid method, or in more than :data:`DENSE` coordinates by
Newton's method with a Krylov space; from a small h on where h is too large for a guess.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import NoConvergence, newton_krylov, root

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
#: Up to how many coordinates an equation is solved with a full matrix.
DENSE = 100
#: Trials for a root.
TRIALS = 300
#: Where the way to a large h begins, relative to it, and the least factor by which it goes on.
SMALLEST, LEAST = 1e-6, 1.01
#: By what factor a trial length shrinks and grows until a root is enclosed.
SHRINK, GROW = 0.125, 4.0
EPSILON = float(np.finfo(float).eps)
FOR_EVER = (
    "the function falls for ever along a line, so no step of a discrete gradient ends there; a "
    "function that is bounded below has one"
)
#: What is not told from the rounding of a value, relative to it.
NOISE = 4 * EPSILON
#: How far ``J(v) - J(u)`` may be from ``-|v - u|^2/h``, relative to the larger size of J.
EXACT = 2e-14


class NoStepError(RuntimeError):
    """A step was not found; the text names h."""


class Values(Protocol):
    """A function of points, a row each."""

    def __call__(self, points: Floats) -> Floats:
        """Its value at each point, `(rows,)` for points of `(rows, n)`."""


@dataclass(slots=True)
class Increments:
    """Steps along lines, of a batch of problems.

    Args:
        values: of the function, at a point of each problem.
        h: the step.

    Attributes:
        lengths: for each line, by its number, how far it was moved last, problem by problem.
    """

    values: Values
    h: float
    lengths: dict[int, Floats] = field(default_factory=dict)

    def sweep(self, u: Floats, at_u: Floats, directions: Floats) -> tuple[Floats, Floats]:
        """Move along lines one after the other.

        Args:
            u: the points, `(problems, n)`.
            at_u: the values there.
            directions: unit vectors, `(lines, problems, n)`.

        Returns:
            The points after all moves, and the values there.

        Raises:
            NoStepError: along a line the function falls for ever.
        """
        v, at_v = u, at_u
        for number, direction in enumerate(directions):
            v, at_v = self._move(number, v, at_v, direction)
        return v, at_v

    def _move(self, number: int, u: Floats, at_u: Floats, d: Floats) -> tuple[Floats, Floats]:
        """Move along ``u + s d`` to the root ``J(u + s d) - J(u) = -s^2/h`` other than 0."""
        size = abs(u).max(axis=1)
        least = 2 * EPSILON * np.maximum(size, 1e-300)
        start = np.maximum(self.lengths.get(number, 0.01 * (1 + size)), 4 * least)

        def look(s: Floats) -> Look:
            point = u + s[:, None] * d
            values = self.values(point)
            if (values == -np.inf).any():
                raise NoStepError(f"h = {self.h:g}: {FOR_EVER}")
            moved = np.sqrt(((point - u) ** 2).sum(axis=1))
            residual = values - at_u + moved**2 / self.h
            residual = np.where(np.isfinite(residual), residual, np.inf)  # it is one too far
            noise = NOISE * (abs(values) + abs(at_u))
            return Look(s, residual / np.where(moved > 0, moved, 1), abs(residual) <= noise, values)

        low = _chosen(_root(look, *self._enclosed(look, start, least), size), at_u)
        self.lengths[number] = np.where(low.s == 0, start * SHRINK, abs(low.s))
        return u + low.s[:, None] * d, low.values

    def _enclosed(
        self, look: Callable[[Floats], Look], start: Floats, least: Floats
    ) -> tuple[Look, Look]:
        """What is seen at two lengths of one sign, before and behind the root.

        A problem without a side on which the function falls has the length 0 for both.
        """
        none = Look.none(len(start))
        low, high, size = none, none, start
        open_ = np.ones(start.shape, bool)
        behind: list[Look] = []
        while open_.any():
            here = [look(size), look(-size)]
            side = here[0].slope <= here[1].slope
            lower = here[0].where(side, here[1])
            falls = open_ & (lower.slope < 0)
            low = lower.where(falls, low)
            if behind:  # where it does not fall, it was seen before to be too far
                high = behind[0].where(side, behind[1]).where(falls, high)
            behind = here
            open_ &= ~falls
            size = np.where(open_, size * SHRINK, size)
            open_ &= size > least
        wide = (low.s != 0) & (high.s == 0)
        size = low.s
        while wide.any():
            size = np.where(wide, size * GROW, size)
            if not np.isfinite(size).all():
                raise NoStepError(f"h = {self.h:g}: {FOR_EVER}")
            there = look(size)
            falls = wide & (there.slope < 0)
            low, high = there.where(falls, low), there.where(wide & ~falls, high)
            wide = falls
        return low, high


@dataclass(slots=True)
class Look:
    """What is seen at a length s along a line, problem by problem.

    Attributes:
        slope: ``(J(u + s d) - J(u))/|s| + |s|/h``, which is 0 at a step.
        exact: whether the numerator is 0 to the rounding of J.
        values: J there.
    """

    s: Floats
    slope: Floats
    exact: Flags
    values: Floats

    @classmethod
    def none(cls, problems: int) -> Look:
        """Nothing is seen."""
        return cls(
            np.zeros(problems), np.zeros(problems), np.zeros(problems, bool), np.zeros(problems)
        )

    def where(self, chosen: Flags, other: Look) -> Look:
        """This one for some problems, and another one for the others."""
        return Look(
            np.where(chosen, self.s, other.s),
            np.where(chosen, self.slope, other.slope),
            np.where(chosen, self.exact, other.exact),
            np.where(chosen, self.values, other.values),
        )


def _chosen(low: Look, at_u: Floats) -> Look:
    """The root, or no move where there is none or the function would not fall."""
    stays = Look.none(len(at_u))
    stays.values = at_u
    return low.where((low.s != 0) & (low.values <= at_u), stays)


def _root(look: Callable[[Floats], Look], low: Look, high: Look, size: Floats) -> Look:
    """The length at which slopes change their sign, to the rounding of J or of the points.

    Regula falsi as in Illinois, with a bisection wherever it did not halve the bracket.

    Args:
        look: what is seen at lengths.
        low: before the root, where slopes are negative; with the length 0 where there is no root.
        high: behind it.
        size: of the points.
    """
    weights = [low.slope, high.slope]
    halve, last = np.zeros(size.shape, bool), np.zeros(size.shape)
    for _ in range(TRIALS):
        width = abs(high.s - low.s)
        open_ = ~low.exact & (width > EPSILON * np.maximum(abs(high.s), size))
        with np.errstate(invalid="ignore", divide="ignore"):
            chord = low.s - weights[0] * (high.s - low.s) / (weights[1] - weights[0])
        between = (abs(chord - low.s) < width) & (abs(high.s - chord) < width)
        middle = low.s + (high.s - low.s) / 2
        trial = np.where(between & ~halve, chord, middle)
        open_ &= (trial != low.s) & (trial != high.s)
        if not open_.any():
            break
        there = look(np.where(open_, trial, low.s))
        before = open_ & ((there.slope <= 0) | there.exact)
        behind = open_ & ~before
        # an end that stays for the second time counts half
        weights = [
            np.where(
                before, there.slope, np.where(behind & (last > 0), weights[0] / 2, weights[0])
            ),
            np.where(
                behind, there.slope, np.where(before & (last < 0), weights[1] / 2, weights[1])
            ),
        ]
        last = np.where(before, -1, np.where(behind, 1, last))
        low, high = there.where(before, low), there.where(behind, high)
        halve = (abs(high.s - low.s) > width / 2) & ~halve
    return low


@dataclass(slots=True)
class Means:
    """Steps in which all coordinates of v stand in one equation, of one problem.

    Args:
        product: the generated discrete gradient.
        value: of the function at a point, `(n,)`.
        gradient: the same.
        h: the step.
    """

    product: ModuleType
    value: Callable[[Floats], float]
    gradient: Callable[[Floats], Floats]
    h: float

    def step(self, u: Floats, at_u: float, guesses: Iterable[Floats]) -> tuple[Floats, float]:
        """Solve ``v = u - h grad(u, v)`` for v.

        Args:
            u: where the step begins, `(n,)`.
            at_u: the value there.
            guesses: for v, in the order in which they are tried.

        Returns:
            v, and the value there.

        Raises:
            NoStepError: no v was found; the text names h.
        """
        tried = (self._solved(u, at_u, guess, self.h) for guess in guesses)
        v = next((v for v in tried if v is not None), None)
        if v is None:
            v = self._continued(u, at_u)
        if v is None:
            raise NoStepError(
                f"no step of {self.product.NAME} with h = {self.h:g} was found; a smaller h may "
                "have one, and itoh_abe has one for every h"
            )
        return v, self.value(v)

    def _continued(self, u: Floats, at_u: float) -> Floats | None:
        """V from that of a small h on, each a guess for the next; None where the way ends."""
        h, factor = self.h * SMALLEST, GROW
        v = self._solved(u, at_u, u - h * self.gradient(u), h)
        while v is not None and h < self.h and factor > LEAST:
            ahead = min(h * factor, self.h)
            further = self._solved(u, at_u, v, ahead)
            if further is None:
                factor = math.sqrt(factor)
            else:
                h, v, factor = ahead, further, min(factor**2, GROW)
        return v if h == self.h else None

    def mean(self, u: Floats, v: Floats, at_u: float, at_v: float) -> Floats:
        """The discrete gradient between two points.

        Args:
            u: the one point, `(n,)`.
            v: the other.
            at_u: the value at the one.
            at_v: the value at the other.

        Returns:
            A vector of the shape of ``u``, whose product with ``v - u`` is ``at_v - at_u``.
        """
        if self.product.SAMPLES == "increase":
            along: Floats = self.product.mean_gradient(u, v, at_v - at_u)
            return along
        points = self.product.points(u, v)
        if self.product.SAMPLES == "values":
            inner = points[:, 1:-1].reshape(-1, u.size)
            found = np.array([self.value(point) for point in inner]).reshape(len(points), -1)
            ends = np.broadcast_to([at_u, at_v], (len(points), 2))
            values = np.concatenate([ends[:, :1], found, ends[:, 1:]], axis=1)
            mean: Floats = self.product.mean_gradient(u, v, values)
            for i in np.flatnonzero(u == v):
                mean[i] = self._slope(u, int(i))
            return mean
        gradients = np.array([self.gradient(point) for point in points])
        mean = self.product.mean_gradient(u, v, gradients, at_v - at_u)
        return mean

    def _slope(self, u: Floats, i: int) -> float:
        """The derivative by a coordinate, from values alone."""
        step = float(np.cbrt(EPSILON)) * max(1.0, abs(u[i]))
        ends = np.array([u, u])
        ends[0, i] -= step
        ends[1, i] += step
        return (self.value(ends[1]) - self.value(ends[0])) / float(ends[1, i] - ends[0, i])

    def _solved(self, u: Floats, at_u: float, guess: Floats, h: float) -> Floats | None:
        """A root of ``v - u + h grad(u, v)`` that is one; None if none was found."""

        def defect(v: Floats) -> Floats:
            out: Floats = v - u + h * self.mean(u, v, at_u, self.value(v))
            return np.where(np.isfinite(out), out, 1e150)

        with np.errstate(all="ignore"):
            if u.size <= DENSE:
                v = np.asarray(root(defect, guess, method="hybr", options={"xtol": EPSILON}).x)
            else:
                size = float(abs(defect(guess)).max())
                try:
                    v = newton_krylov(defect, guess, f_tol=max(EPSILON * size, 1e-300), maxiter=60)
                except NoConvergence as error:
                    v = np.asarray(error.args[0])
                except (ValueError, FloatingPointError):
                    return None
            v = self._along(u, at_u, v, h)
        return v if self._is_step(u, at_u, v, h) else None

    def _along(self, u: Floats, at_u: float, v: Floats, h: float) -> Floats:
        """The same step with the length for which its identity holds to rounding."""
        difference = v - u
        square = float(difference @ difference)
        if not 0 < square < math.inf:
            return v
        lengths = [1.0, 1.0 + 1e-6]
        missing = [self._missing(u, at_u, u + length * difference, h) for length in lengths]
        for _ in range(4):
            slope = (missing[-1] - missing[-2]) / (lengths[-1] - lengths[-2])
            if slope == 0 or not math.isfinite(slope):
                break
            lengths.append(lengths[-1] - missing[-1] / slope)
            missing.append(self._missing(u, at_u, u + lengths[-1] * difference, h))
            if lengths[-1] == lengths[-2]:
                break
        best = min(range(len(lengths)), key=lambda k: abs(missing[k]))
        near: Floats = u + lengths[best] * difference
        return near if abs(lengths[best] - 1) < 1e-5 else v

    def _missing(self, u: Floats, at_u: float, v: Floats, h: float) -> float:
        """What ``J(v) - J(u)`` is more than ``-|v - u|^2/h``."""
        return self.value(v) - at_u + float((v - u) @ (v - u)) / h

    def _is_step(self, u: Floats, at_u: float, v: Floats, h: float) -> bool:
        if not np.isfinite(v).all():
            return False
        at_v = self.value(v)
        moved = v - u
        mean = self.mean(u, v, at_u, at_v)
        size = max(float(abs(moved).max()), h * float(abs(mean).max()))
        last = EPSILON * float(abs(v).max())
        solved = float(abs(moved + h * mean).max()) <= 1e-6 * size + 16 * last
        lost = EXACT * max(abs(at_u), abs(at_v)) + 4 * last * float(abs(mean).max()) * u.size
        return at_v <= at_u and solved and abs(self._missing(u, at_u, v, h)) <= lost
