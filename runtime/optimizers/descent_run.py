"""Minimisation by a discrete gradient: steps that descend, until they hardly move.

In: a generated discrete gradient, a function, options, a start.  Out: SciPy's result.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from hamilforge.runtime.core.numbers import real_array, real_number, whole_number
from hamilforge.runtime.optimizers.descent import Floats, Increments, Means
from hamilforge.runtime.optimizers.evaluation import Callback, Evaluator, stopped

#: How many drawn directions for each coordinate have to be small steps before a run ends.
DIRECTIONS = 2


class DescentRun:
    """One minimisation.

    Args:
        product: the generated discrete gradient.
        evaluate: what is minimised.
        given: ``maxiter`` (1000 steps), ``gtol`` (1e-6, of the largest entry of ``(u - v)/h``),
            ``h``, ``batched`` and, where directions are drawn, their ``seed``.
        tol: the same as ``gtol``.
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
        limit = given.pop("maxiter", None)
        self._limit = 1000 if limit is None else whole_number("maxiter", limit, least=0)
        gtol = given.pop("gtol", None)
        chosen = tol if tol is not None else 1e-6 if gtol is None else gtol
        self._tolerance = real_number("gtol" if tol is None else "tol", chosen)
        given.pop("disp", None)
        self._drawn = product.SAMPLES == "increase"
        seed = whole_number("seed", given.pop("seed", 0), least=0) if self._drawn else 0
        self._generator = np.random.default_rng(seed)
        self._batched = bool(given.pop("batched", False))
        self._h = real_number("h", given.pop("h", product.STEP))
        if not 0 < self._h < np.inf:
            raise ValueError(f"h = {self._h:g}: a positive number was expected")
        if given:
            known = ("maxiter", "gtol", "h", "batched", *("seed",) * self._drawn)
            raise ValueError(f"unknown options {sorted(given)}; expected one of {', '.join(known)}")
        if self._batched and self._together:
            raise ValueError(
                f"batched = True: a step of {product.NAME} is one equation for all coordinates, "
                "which is solved problem by problem; itoh_abe and itoh_abe_randomised take batches"
            )

    @property
    def _together(self) -> bool:
        """Whether all coordinates of a step stand in one equation."""
        samples = self._product.SAMPLES
        return samples == "gradients" or (samples == "values" and len(self._product.DIRECTIONS) > 1)

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
        u: Floats = first.astype(float) if self._batched else first.reshape(1, -1).astype(float)
        self._increments = Increments(self._values, self._h)
        self._means = Means(self._product, self._evaluate.value, self._slope, self._h)
        values = self._values(u)
        rate = np.zeros_like(u)
        done, status, message = 0, 1, "the number of iterations is used up"
        if not np.isfinite(values).all():
            done, status, message = 0, 2, "the function is not finite"
        enough = 1 if not self._drawn else DIRECTIONS * u.shape[1]
        small = 0
        while status == 1 and done < self._limit:
            v, at_v = self._step(u, values)
            rate = (u - v) / self._h
            u, values, done = v, at_v, done + 1
            small = small + 1 if abs(rate).max() <= self._tolerance else 0
            if stopped(self._callback, self._shaped(u, first), self._result(values)):
                status, message = 99, "stopped by the callback"
            elif small >= enough:
                status, message = 0, "the largest entry of the discrete gradient is below gtol"
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

    def _step(self, u: Floats, at_u: Floats) -> tuple[Floats, Floats]:
        if not self._together:
            return self._increments.sweep(u, at_u, self._lines(u))
        v, at_v = self._means.step(u[0], float(at_u[0]), self._guesses(u, at_u))
        return v[None], np.array([at_v])

    def _lines(self, u: Floats) -> Floats:
        """The unit vectors along which a step moves."""
        problems, size = u.shape
        if not self._drawn:
            return np.broadcast_to(np.eye(size)[:, None], (size, problems, size))
        drawn = self._generator.standard_normal((1, problems, size))
        unit: Floats = drawn / np.sqrt((drawn**2).sum(axis=2, keepdims=True))
        return unit

    def _guesses(self, u: Floats, at_u: Floats) -> Iterator[Floats]:
        """Where to look for v: down the slope, and where increments of coordinates lead."""
        if self._product.SAMPLES == "gradients":
            slope, length = self._slope(u[0]), self._h
            while not self._evaluate.value(u[0] - length * slope) < at_u[0] and length > 0:
                length /= 2
            yield u[0] - length * slope
        v, _ = self._increments.sweep(u, at_u, self._lines(u))
        yield v[0]

    def _values(self, points: Floats) -> Floats:
        if self._batched:
            return self._evaluate.of_rows(points)
        return np.array([self._evaluate.value(point) for point in points])

    def _slope(self, point: Floats) -> Floats:
        _, gradient = self._evaluate(point)
        return gradient

    def _shaped(self, u: Floats, first: Floats) -> Floats:
        return u.reshape(first.shape).copy()

    def _result(self, values: Floats) -> Any:
        return values.copy() if self._batched else float(values[0])
