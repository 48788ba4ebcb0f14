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
    ) -> None:
        self._product, self._evaluate, self._callback = product, evaluate, callback
        self._limit, self._tolerance = stopping(given, tol)
        if not self._tolerance >= 0:
            raise ValueError(f"gtol = {self._tolerance:g}: a number from 0 on was expected")
        self._drawn = product.DRAWN
        seed = whole_number("seed", given.pop("seed", 0), least=0) if self._drawn else 0
        self._generator = np.random.default_rng(seed)
        self._batched = bool(given.pop("batched", False))
        self._h = real_number("h", given.pop("h", product.STEP))
        if not 0 < self._h < np.inf:
            raise ValueError(f"h = {self._h:g}: a positive number was expected")
        if given:
            known = ("maxiter", "gtol", "h", "batched", *("seed",) * self._drawn)
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
        if self._batched and first.ndim != 2:
            raise ValueError(
                f"x0 has the shape {first.shape}; with batched = True (problems, n) was expected"
            )
        u: Vector = first.astype(float) if self._batched else first.reshape(1, -1).astype(float)
        self._lines = LineSteps(self._values, self._h)
        self._implicit = ImplicitSteps(
            self._product, self._evaluate.value, self._slope, self._near, self._h
        )
        values = self._values(u)
        rate = np.zeros_like(u)
        done, status, message = 0, 1, "the number of iterations is used up"
        if rows := [*map(int, np.flatnonzero(~np.isfinite(values)))]:
            where = f" in the rows {rows}" if self._batched else ""
            status, message = 2, f"the function is not finite{where}"
        while status == 1 and done < self._limit:
            try:
                v, at_v = self._step(u, values)
            except NoStepError as error:
                if not done:
                    raise
                status, message = 4, str(error)
                break
            rate = (u - v) / self._h
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
        if self._product.SAMPLES == "gradients":
            rate = self._slope(u[0])[None]
        elif h < self._h or self._drawn:
            probed, _ = LineSteps(self._values, h).sweep(u, values, self._axes(u))
            rate = (u - probed) / h
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

    def _step(self, u: Vector, at_u: Vector) -> tuple[Vector, Vector]:
        if not self._product.IMPLICIT:
            return self._lines.sweep(u, at_u, self._directions(u))
        start, value = u[0], float(at_u[0])
        near = self._near(start, value, self._h)
        if abs(near - start).max() <= self._h * unseen(at_u, u, self._h):
            return u, at_u  # it would be lost in rounding
        v, at_v = self._implicit.step(start, value, [self._lower(start, value, near), near])
        return v[None], np.array([at_v])

    def _directions(self, u: Vector) -> Vector:
        """The unit vectors along which a step moves, `(lines, problems, n)`."""
        if not self._drawn:
            return self._axes(u)[:: self._product.DIRECTIONS[0]]
        drawn = self._generator.standard_normal((1, *u.shape))
        unit: Vector = drawn / np.sqrt((drawn**2).sum(axis=2, keepdims=True))
        return unit

    @staticmethod
    def _axes(u: Vector) -> Vector:
        problems, size = u.shape
        return np.broadcast_to(np.eye(size)[:, None], (size, problems, size))

    def _near(self, u: Vector, at_u: float, h: float) -> Vector:
        """A guess for v: down the slope, or where increments of coordinates lead."""
        if self._product.SAMPLES == "gradients":
            return u - h * self._slope(u)
        v, _ = LineSteps(self._values, h).sweep(u[None], np.array([at_u]), self._axes(u[None]))
        return np.asarray(v[0])

    def _lower(self, u: Vector, at_u: float, v: Vector) -> Vector:
        """The first of v and the points half as far from u at which J is below that at u."""
        while (abs(v - u) > EPSILON * abs(u)).any() and not self._evaluate.value(v) < at_u:
            v = u + (v - u) / 2
        return v

    def _values(self, points: Vector) -> Vector:
        """Those of all problems; what is too large for a number of Python is not finite."""
        try:
            if self._batched:
                return self._evaluate.of_rows(points)
            return np.array([self._evaluate.value(point) for point in points])
        except OverflowError:
            return np.full(len(points), np.nan)

    def _slope(self, point: Vector) -> Vector:
        _, gradient = self._evaluate(point)
        return gradient

    def _shaped(self, u: Vector, first: Vector) -> Vector:
        return u.reshape(first.shape).copy()

    def _result(self, values: Vector) -> Any:
        return values.copy() if self._batched else float(values[0])
