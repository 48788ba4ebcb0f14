"""Steps of a gradient flow by a discrete gradient, for functions of which values are asked.

In: a generated discrete gradient, a function, h.  Out: v with ``v = u - h grad(u, v)``, so that
``J(v) - J(u) = -|v - u|^2/h`` for every h.

Along one line that is a scalar equation: its root other than 0 is bracketed on the side where J
falls, for all problems of a batch at once.  Where all coordinates of v stand in one equation, it is
solved by MINPACK's hybrid method, or in more than :data:`DENSE` coordinates by Newton's method with
a Krylov space; from a small h on where h is too large for a guess.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import ModuleType

import numpy as np
from scipy.optimize import NoConvergence, newton_krylov, root

from hamilforge.runtime.optimizers.evaluation import EPSILON, Vector
from hamilforge.runtime.optimizers.frames import Flags, Frame

#: Up to how many coordinates an equation is solved with a full matrix, and iterations without one.
DENSE, ITERATIONS = 10, 60
#: Trials for a root: each third one halves its bracket, and a number has 53 bits.
TRIALS = 300
#: Where a trial length begins, relative to the line, and by what factors it shrinks and grows.
FIRST, SHRINK, GROW = 0.01, 0.125, 4.0
#: The least trial length, relative to the first: shorter than what most problems are about.
LEAST_LENGTH = 1e-18
#: Where the way to a large h begins, relative to it, and the least factor by which it goes on.
SMALLEST, LEAST_FACTOR = 1e-6, 1.2
#: What is not told from the rounding of a value, relative to it.
NOISE = 4 * EPSILON
#: How far a step may be from its equation, and the length of a solved one from the identity.
SOLVED, POLISHED = 1e-6, 1e-7
#: In the place of a defect that is not finite: a solver's step is then one too far.
TOO_FAR = 1e150
#: A function with a value below this is taken to fall for ever.
UNBOUNDED = -1e150


class NoStepError(RuntimeError):
    """A step was not found; the text names h."""


def unseen(values: Vector, points: Vector, h: float) -> float:
    """Up to what size entries of a discrete gradient are lost in rounding.

    A line on which no residual ``J(u + s d) - J(u) + s^2/h`` is seen to be negative has a slope of
    at most ``noise/s + s/h`` for every s, which is least at ``s^2 = noise h``; and a step of less
    than the rounding of a point has one of that over h.

    Args:
        values: of the function, `(problems,)`.
        points: where they are taken, `(problems, n)`.
        h: the step.

    Returns:
        A number.
    """
    of_values = 2 * math.sqrt(NOISE * float(abs(values).max()) / h)
    return max(of_values, 2 * EPSILON * float(abs(points).max()) / h)


# --- along lines ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Trial:
    """What is found at a length s along a line, problem by problem.

    Attributes:
        slope: ``(J(u + s d) - J(u))/|s| + |s|/h``, which is 0 at a step.
        exact: whether its numerator is 0 to the rounding of J.
        values: J there.
    """

    s: Vector
    slope: Vector
    exact: Flags
    values: Vector

    @classmethod
    def stay(cls, values: Vector) -> Trial:
        """At the length 0."""
        zero = np.zeros(values.shape)
        return cls(zero, zero, np.zeros(values.shape, bool), values)

    def where(self, chosen: Flags, other: Trial) -> Trial:
        """This one for some problems, and another one for the others."""
        return Trial(
            np.where(chosen, self.s, other.s),
            np.where(chosen, self.slope, other.slope),
            np.where(chosen, self.exact, other.exact),
            np.where(chosen, self.values, other.values),
        )


@dataclass(slots=True)
class LineSteps:
    """Steps along lines, one after the other, of a batch of problems.

    Args:
        values: of the function at what coordinates of a frame stand for: `(problems,)`.
        h: the step.

    Attributes:
        lengths: for each line, by its number, how far it was moved last, problem by problem.
    """

    values: Callable[[Frame, Vector], Vector]
    h: float
    lengths: dict[int, Vector] = field(default_factory=dict)

    def sweep(self, frame: Frame, at_u: Vector, lines: Vector) -> tuple[Vector, Vector]:
        """Move along lines one after the other, from where a frame has its origin.

        Args:
            frame: coordinates at the points, `(problems, d)`.
            at_u: the values there.
            lines: unit vectors, `(lines, problems, d)`.

        Returns:
            The coordinates after all moves, and the values there.

        Raises:
            NoStepError: along a line the function falls for ever.
        """
        v, at_v = frame.origin, at_u
        for number, line in enumerate(lines):
            v, at_v = self._move(number, frame, v, at_v, line)
        return v, at_v

    def _move(
        self, number: int, frame: Frame, u: Vector, at_u: Vector, d: Vector
    ) -> tuple[Vector, Vector]:
        """Move along ``u + s d`` to the root ``J(u + s d) - J(u) = -s^2/h`` other than 0."""
        size = (abs(u) * abs(d)).max(axis=1)  # of what is rounded
        first = FIRST * (1 + size)
        least = np.maximum(2 * EPSILON * size, LEAST_LENGTH * first)

        def tried(s: Vector) -> Trial:
            point = u + s[:, None] * d
            values = self.values(frame, point)
            for problem in np.flatnonzero(values < UNBOUNDED):
                raise self._falls(number, int(problem))
            moved = np.sqrt(((point - u) ** 2).sum(axis=1))
            residual = values - at_u + moved**2 / self.h
            finite = np.isfinite(values) & np.isfinite(residual)
            exact = finite & (abs(residual) <= NOISE * (abs(values) + abs(at_u)))
            # what is not finite is one too far
            slope = np.where(finite, residual / np.where(moved > 0, moved, 1), np.inf)
            return Trial(s, slope, exact, values)

        start = np.maximum(self.lengths.get(number, first), 4 * least)
        low, high = self._bracketed(number, tried, at_u, start, least)
        step = _root(tried, low, high, size)
        stay = Trial.stay(at_u)
        step = step.where((step.s != 0) & (step.values <= at_u), stay)
        self.lengths[number] = np.where(step.s == 0, first, abs(step.s))
        return u + step.s[:, None] * d, step.values

    def _bracketed(
        self,
        number: int,
        tried: Callable[[Vector], Trial],
        at_u: Vector,
        start: Vector,
        least: Vector,
    ) -> tuple[Trial, Trial]:
        """Trials of one sign before and behind the root; a problem on which J rises stays."""
        low = high = Trial.stay(at_u)
        size, open_ = start, np.ones(start.shape, bool)
        further: list[Trial] = []
        while open_.any():
            both = [tried(size), tried(-size)]
            side = both[0].slope <= both[1].slope
            lower = both[0].where(side, both[1])
            falls = open_ & (lower.slope < 0)
            low = lower.where(falls, low)
            if further:  # where it does not fall, it was seen before to be too far
                high = further[0].where(side, further[1]).where(falls, high)
            further = both
            open_ = open_ & ~falls
            size = np.where(open_, size * SHRINK, size)
            open_ = open_ & (size > least)
        growing = (low.s != 0) & (high.s == 0)
        size = low.s
        while growing.any():
            size = np.where(growing, size * GROW, size)
            for problem in np.flatnonzero(~np.isfinite(size)):
                raise self._falls(number, int(problem))
            there = tried(size)
            falls = growing & (there.slope < 0)
            low, high = there.where(falls, low), there.where(growing & ~falls, high)
            growing = falls
        return low, high

    def _falls(self, number: int, problem: int) -> NoStepError:
        return NoStepError(
            f"h = {self.h:g}: along line {number + 1} of problem {problem + 1} the function falls "
            "for ever, so no step of a discrete gradient ends there; a continuous function that is "
            "bounded below has one"
        )


def _root(tried: Callable[[Vector], Trial], low: Trial, high: Trial, size: Vector) -> Trial:
    """The length at which slopes change their sign, to the rounding of J or of the points.

    Regula falsi as in Illinois, with a bisection wherever it did not halve the bracket.

    Args:
        tried: what is found at lengths.
        low: before the root, where slopes are negative; with the length 0 where there is no root.
        high: behind it.
        size: of what is rounded along the line.
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
        there = tried(np.where(open_, trial, low.s))
        before = open_ & ((there.slope <= 0) | there.exact)
        behind = open_ & ~before
        # an end that stays for the second time counts half
        kept = [
            np.where(behind & (last > 0), weights[0] / 2, weights[0]),
            np.where(before & (last < 0), weights[1] / 2, weights[1]),
        ]
        weights = [np.where(before, there.slope, kept[0]), np.where(behind, there.slope, kept[1])]
        last = np.where(before, -1, np.where(behind, 1, last))
        low, high = there.where(before, low), there.where(behind, high)
        halve = (abs(high.s - low.s) > width / 2) & ~halve
    return low


# --- all coordinates at once ----------------------------------------------------------------------


@dataclass(slots=True)
class ImplicitSteps:
    """Steps in which all coordinates of v stand in one equation, of one problem.

    Args:
        product: the generated discrete gradient.
        value: of the function at a point, `(n,)`.
        gradient: the same.
        guess: from u, the value there and h a point that a small h leads near to.
        h: the step.
    """

    product: ModuleType
    value: Callable[[Vector], float]
    gradient: Callable[[Vector], Vector]
    guess: Callable[[Vector, float, float], Vector]
    h: float

    def step(self, u: Vector, at_u: float, guesses: Iterable[Vector]) -> tuple[Vector, float]:
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
                "have one where J is smooth. Increments along one line at a time have one for "
                "every h, if J is continuous and bounded below"
            )
        return v, self.value(v)

    def mean(self, u: Vector, v: Vector, at_u: float, at_v: float) -> Vector:
        """The discrete gradient between two points.

        Args:
            u: the one point, `(n,)`.
            v: the other.
            at_u: the value at the one.
            at_v: the value at the other.

        Returns:
            A vector of the shape of ``u``, whose product with ``v - u`` is ``at_v - at_u``.
        """
        along: Vector
        if self.product.SAMPLES == "increase":
            along = self.product.mean_gradient(u, v, at_v - at_u)
            return along
        points = self.product.points(u, v)
        if self.product.SAMPLES == "gradients":
            gradients = np.array([self.gradient(point) for point in points])
            along = self.product.mean_gradient(u, v, gradients, at_v - at_u)
            return along
        inner = [[self.value(point) for point in path[1:-1]] for path in points]
        values = np.array([[at_u, *path, at_v] for path in inner])
        along = self.product.mean_gradient(u, v, values)
        for i in np.flatnonzero(u == v):  # the limit of a quotient, from beside it
            along[i] = np.mean([self._beside(u, v, at_u, int(i), sign)[i] for sign in (1, -1)])
        return along

    def _beside(self, u: Vector, v: Vector, at_u: float, i: int, sign: int) -> Vector:
        """The discrete gradient where a coordinate moves by a difference's best step."""
        beside = v.copy()
        beside[i] += sign * np.cbrt(EPSILON) * max(1.0, abs(u[i]))
        return self.mean(u, beside, at_u, self.value(beside))

    def _continued(self, u: Vector, at_u: float) -> Vector | None:
        """V from that of a small h on, each a guess for the next; None where the way ends."""
        h, factor = self.h * SMALLEST, GROW
        v = self._solved(u, at_u, self.guess(u, at_u, h), h)
        while v is not None and h < self.h and factor > LEAST_FACTOR:
            ahead = min(h * factor, self.h)
            further = self._solved(u, at_u, v, ahead)
            if further is None:
                factor = math.sqrt(factor)
            else:
                h, v, factor = ahead, further, min(factor**2, GROW)
        return v if h == self.h else None

    def _solved(self, u: Vector, at_u: float, guess: Vector, h: float) -> Vector | None:
        """A root of ``v - u + h grad(u, v)`` that is one; None if none was found."""
        told = np.geterr()  # SciPy's solver divides 0 by 0; the user's function may not

        def defect(v: Vector) -> Vector:
            with np.errstate(**told):
                out = v - u + h * self.mean(u, v, at_u, self.value(v))
            return np.nan_to_num(out, nan=TOO_FAR, posinf=TOO_FAR, neginf=-TOO_FAR)

        if u.size <= DENSE:
            v = np.asarray(root(defect, guess, method="hybr", options={"xtol": EPSILON}).x)
        else:
            tolerance = max(POLISHED * float(abs(guess - u).max()), 1e-300)
            try:
                with np.errstate(invalid="ignore", divide="ignore"):
                    v = newton_krylov(defect, guess, f_tol=tolerance, maxiter=ITERATIONS)
            except NoConvergence as error:
                v = np.asarray(error.args[0])
        if not np.isfinite(v).all():
            return None
        v = self._polished(u, at_u, v, h)
        return v if self._is_step(u, at_u, v, h) else None

    def _polished(self, u: Vector, at_u: float, v: Vector, h: float) -> Vector:
        """The same step with the length for which its identity holds to rounding."""
        difference = v - u
        if not difference.any():
            return v
        lengths = [1.0, 1.0 + POLISHED]
        errors = [self._error(u, at_u, u + length * difference, h) for length in lengths]
        for _ in range(4):  # secants
            slope = (errors[-1] - errors[-2]) / (lengths[-1] - lengths[-2])
            if slope == 0 or not math.isfinite(slope):
                break
            lengths.append(lengths[-1] - errors[-1] / slope)
            errors.append(self._error(u, at_u, u + lengths[-1] * difference, h))
            if lengths[-1] == lengths[-2]:
                break
        best = min(range(len(lengths)), key=lambda k: abs(errors[k]))
        near: Vector = u + lengths[best] * difference
        return near if abs(lengths[best] - 1) <= 2 * POLISHED else v

    def _error(self, u: Vector, at_u: float, v: Vector, h: float) -> float:
        """What ``J(v) - J(u)`` is more than ``-|v - u|^2/h``."""
        return self.value(v) - at_u + float((v - u) @ (v - u)) / h

    def _is_step(self, u: Vector, at_u: float, v: Vector, h: float) -> bool:
        """Whether v solves the equation, and J falls as it should, up to rounding.

        That of J enters a discrete gradient divided by ``|v - u|``, or by the increment of one
        coordinate, that of points times its slope.
        """
        at_v = self.value(v)
        moved = float(np.linalg.norm(v - u))
        if not (moved > 0 and at_v <= at_u):
            return False
        mean = self.mean(u, v, at_u, at_v)
        noise = NOISE * max(abs(at_u), abs(at_v))
        last = EPSILON * float(abs(v).max())
        increments: Vector | float = moved
        if self.product.SAMPLES == "values":
            beside = np.cbrt(EPSILON) * np.maximum(1.0, abs(u))
            increments = np.where(v == u, beside, abs(v - u))
        off = abs(v - u + h * mean)
        solved = (off <= SOLVED * moved + 16 * last + 2 * h * noise / increments).all()
        lost = 8 * noise + 4 * u.size * last * float(abs(mean).max())
        return bool(solved) and abs(self._error(u, at_u, v, h)) <= lost
