"""Minimisation by a discrete gradient: steps that descend, until they hardly move.

In: a generated discrete gradient, a function, options, a start.  Out: SciPy's result.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from hamilforge.runtime.core.numbers import real_array, real_number, whole_number
from hamilforge.runtime.optimizers.descent import (
    GROW,
    ImplicitSteps,
    LineSteps,
    NoStepError,
    unseen,
)
from hamilforge.runtime.optimizers.evaluation import (
    EPSILON,
    Callback,
    Evaluator,
    Vector,
    stopped,
    stopping,
)
from hamilforge.runtime.optimizers.frames import FlatSpace, Frame, Space

#: The h of the steps along all coordinates that a run ends after, or the least above it that shows
#: entries of ``gtol``: with a large h, steps are small beside it wherever they end.
PROBE = 1e-3


class DescentRun:
    """One minimisation.

    Args:
        product: the generated discrete gradient.
        evaluate: what is minimised.
        given: ``maxiter`` (1000 steps), ``gtol`` (1e-6, of the largest entry of ``(u - v)/h``),
            ``h``, ``batched`` and, where directions are drawn, their ``seed``.
        tol: ``gtol``, where that is not given.
        callback: of the user.
        space: where points lie; R^n if None.

    Raises:
        ValueError: an unknown option, or a value that cannot be.
    """

    def __init__(
        self,
        product: ModuleType,
        evaluate: Evaluator,
        given: dict[str, Any],
        tol: float | None,
        callback: Callback | None,
        space: Space | None = None,
    ) -> None:
        self._space = FlatSpace() if space is None else space
        self._product, self._evaluate, self._callback = product, evaluate, callback
        self._limit, self._tolerance = stopping(given, tol)
        self._drawn = product.DRAWN
        seed = whole_number("seed", given.pop("seed", 0), least=0) if self._drawn else 0
        self._generator = np.random.default_rng(seed)
        self._batched = bool(given.pop("batched", False))
        self._h = real_number("h", given.pop("h", product.STEP))
        if not 0 < self._h < np.inf:
            raise ValueError(f"h = {self._h:g}: a positive number was expected")
        if given:
            known = ("maxiter", "gtol", "h", "batched", *("seed",) * self._drawn)
            known += ("manifold", "metric", "retraction")
            raise ValueError(f"unknown options {sorted(given)}; expected one of {', '.join(known)}")
        if self._batched and product.IMPLICIT:
            raise ValueError(
                f"batched = True: a step of {product.NAME} is one equation for all coordinates, "
                "which is solved problem by problem; increments along one line at a time take "
                "batches"
            )

    def from_(self, x0: Any) -> OptimizeResult:
        """Run from a start.

        Raises:
            NoStepError: a step was not found; the text names h.
            ValueError: the start is empty, not finite, or of another shape.
        """
        first = np.atleast_1d(real_array("x0", x0))
        if not first.size or not np.isfinite(first).all():
            raise ValueError("x0 is empty or not finite")
        self._space.refuse(first, self._batched)
        u: Vector = first.reshape(len(first) if self._batched else 1, -1).astype(float)
        self._lines = LineSteps(self._at, self._h)
        values = self._values(u)
        rate = np.zeros_like(u)
        done, status, message = 0, 1, "the number of iterations is used up"
        if rows := [*map(int, np.flatnonzero(~np.isfinite(values)))]:
            where = f" in the rows {rows}" if self._batched else ""
            status, message = 2, f"the function is not finite{where}"
        while status == 1 and done < self._limit:
            try:
                v, at_v, rate = self._step(u, values)
            except NoStepError as error:
                if not done:
                    raise
                status, message = 4, str(error)
                break
            u, values, done = v, at_v, done + 1
            if stopped(self._callback, self._shaped(u, first), self._result(values)):
                status, message = 99, "stopped by the callback"
            elif self._is_small(rate):
                status, message, rate = self._ending(u, values, rate)
        return OptimizeResult(
            x=self._shaped(u, first),
            fun=self._result(values),
            jac=self._shaped(rate, first),
            nit=done,
            nfev=self._evaluate.values,
            njev=self._evaluate.gradients,
            values_per_step=self._evaluate.values / max(done, 1),
            success=status == 0,
            status=status,
            message=message,
        )

    def _is_small(self, rate: Vector) -> bool:
        return bool(abs(rate).max() <= self._tolerance)

    def _ending(self, u: Vector, values: Vector, rate: Vector) -> tuple[int, str, Vector]:
        """Whether a run ends after a small step, with the discrete gradient that says so.

        With a large h a step is small beside it wherever it ends: the gradient decides, or steps of
        a small h along all coordinates.
        """
        h, moved = min(self._h, PROBE), rate.any()
        while h < self._h and unseen(values, u, h) > self._tolerance:
            h = min(GROW * h, self._h)
        frame = self._space.frame(u)
        if self._product.SAMPLES == "gradients":
            rate = frame.vector(self._slope(frame, frame.origin[0])[None])
        elif h < self._h or self._drawn:
            probed, _ = LineSteps(self._at, h).sweep(frame, values, _axes(frame))
            rate = frame.vector((frame.origin - probed) / h)
        small, least = self._is_small(rate), unseen(values, u, h)
        if self._product.SAMPLES == "gradients":
            hidden = not small and not moved
        else:
            hidden = small and self._tolerance < least
        if small and not hidden:
            return 0, "the largest entry of the discrete gradient is below gtol", rate
        if hidden:
            message = (
                "steps are below the rounding of values or points, which hides a discrete gradient "
                f"of up to {least:.1g}, more than gtol"
            )
            return 3, message, rate
        return 1, "the number of iterations is used up", rate

    def _step(self, u: Vector, at_u: Vector) -> tuple[Vector, Vector, Vector]:
        """The next points, the values there, and ``(u - v)/h``."""
        if self._drawn:
            frame, lines = self._space.line(u, self._generator)
            w, at_v = self._lines.sweep(frame, at_u, lines)
        else:
            frame = self._space.frame(u)
            w, at_v = (
                self._solved(frame, u, at_u)
                if self._product.IMPLICIT
                else self._lines.sweep(frame, at_u, _axes(frame)[:: self._product.DIRECTIONS[0]])
            )
        rate = frame.vector((frame.origin - w) / self._h)
        v, _ = frame.points(w)
        if self._space.rounds:
            at_v = self._values(v)
            stays = ~(at_v <= at_u)
            v, at_v = np.where(stays[:, None], u, v), np.where(stays, at_u, at_v)
            rate = np.where(stays[:, None], 0.0, rate)
        return v, at_v, rate

    def _solved(self, frame: Frame, u: Vector, at_u: Vector) -> tuple[Vector, Vector]:
        """The coordinates of a step in which all stand in one equation, and the value there."""
        start, value = frame.origin[0], float(at_u[0])

        def near(point: Vector, at: float, h: float) -> Vector:
            return self._near(frame, point, at, h)

        guess = near(start, value, self._h)
        if abs(guess - start).max() <= self._h * unseen(at_u, u, self._h):
            return frame.origin, at_u  # it would be lost in rounding
        implicit = ImplicitSteps(
            self._product,
            lambda w: float(self._at(frame, w[None])[0]),
            lambda w: self._slope(frame, w),
            near,
            self._h,
        )
        lower = self._lower(frame, start, value, guess)
        try:
            w, at_v = implicit.step(start, value, [lower, guess])
        except NoStepError as error:
            if self._evaluate.has_gradient:
                raise
            raise NoStepError(
                f"{error}. Its gradients were finite differences; jac=... is better"
            ) from None
        return w[None], np.array([at_v])

    def _near(self, frame: Frame, w: Vector, at_w: float, h: float) -> Vector:
        """A guess for v: down the slope, or where increments of coordinates lead."""
        if self._product.SAMPLES == "gradients":
            return w - h * self._slope(frame, w)
        v, _ = LineSteps(self._at, h).sweep(frame, np.array([at_w]), _axes(frame))
        return np.asarray(v[0])

    def _lower(self, frame: Frame, u: Vector, at_u: float, v: Vector) -> Vector:
        """The first of v and the points half as far from u at which J is below that at u."""
        while (abs(v - u) > EPSILON * abs(u)).any() and not self._at(frame, v[None])[0] < at_u:
            v = u + (v - u) / 2
        return v

    def _at(self, frame: Frame, coordinates: Vector) -> Vector:
        """Values by coordinates; NaN where there is no point."""
        points, inside = frame.points(coordinates)
        if self._batched or inside.all():
            return np.where(inside, self._values(points), np.nan)
        return np.full(len(points), np.nan)

    def _values(self, points: Vector) -> Vector:
        """Those of all problems; what is too large for a number of Python is not finite."""
        try:
            if self._batched:
                return self._evaluate.of_rows(points)
            return np.array([self._evaluate.value(point) for point in points])
        except OverflowError:
            return np.full(len(points), np.nan)

    def _slope(self, frame: Frame, coordinates: Vector) -> Vector:
        """Derivatives by coordinates, of one problem."""
        points, inside = frame.points(coordinates[None])
        if not inside.all():
            return np.full(coordinates.shape, np.nan)
        _, gradient = self._evaluate(points[0])
        return frame.slopes(coordinates[None], gradient[None])[0]

    def _shaped(self, u: Vector, first: Vector) -> Vector:
        return u.reshape(first.shape).copy()

    def _result(self, values: Vector) -> Any:
        return values.copy() if self._batched else float(values[0])


def _axes(frame: Frame) -> Vector:
    """The unit vectors of its coordinates, `(d, problems, d)`."""
    problems, size = frame.origin.shape
    return np.broadcast_to(np.eye(size)[:, None], (size, problems, size))
