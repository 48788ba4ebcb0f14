"""Minimisation in SciPy's manner, with the kernels of any generated optimizer; no torch needed.

The function :func:`minimize` takes what ``scipy.optimize.minimize`` takes; :func:`method` makes a
callable for its ``method`` argument.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from hamilforge.runtime.core.loader import load
from hamilforge.runtime.core.numbers import real_array, whole_number
from hamilforge.runtime.optimizers.descent_run import DescentRun
from hamilforge.runtime.optimizers.evaluation import Callback, Evaluator, Vector, stopped, stopping
from hamilforge.runtime.optimizers.hyperparameters import arguments
from hamilforge.runtime.optimizers.trajectory import Trajectory, checked


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: Any = (),
    *,
    method: str | Path = "rgd",
    jac: Any = None,
    tol: float | None = None,
    callback: Callback | None = None,
    options: dict[str, Any] | None = None,
    bounds: Any = None,
    constraints: Any = (),
    hess: Any = None,
    hessp: Any = None,
    manifold: Any = None,
) -> OptimizeResult:
    """Minimise a function of several variables.

    Args:
        fun: ``fun(x, *args) -> float``; with ``jac=True`` it returns value and gradient.
        x0: start, shape `(n,)`.
        args: further arguments of ``fun`` and ``jac``; what is no tuple is one argument.
        method: an optimizer by name or path, or a discrete gradient: a step of the gradient flow
            with ``J(v) - J(u) = -|v - u|^2/h`` for every h.
        jac: ``jac(x, *args) -> (n,)``, True, or finite differences: ``"2-point"`` (also None),
            ``"3-point"``, or ``"cs"``, a complex step.
        tol: the option ``gtol``, where that is not given.
        callback: called for each gradient, with its point: as in SciPy, with an
            ``OptimizeResult`` of ``x`` and ``fun`` if its only parameter is named
            ``intermediate_result``, else with a copy of ``x``; ``StopIteration`` ends the run.
        options: ``maxiter`` (gradients, 1000), ``gtol`` (largest gradient entry, 1e-6), the
            optimizer's hyper-parameters, and the ``seed`` (0) of one that draws noise. With a
            discrete gradient ``maxiter`` counts steps, and ``gtol`` is the largest entry of
            ``(u - v)/h``; those by increments ask for values only, and with ``batched`` for those
            of many problems, ``x0`` of shape `(problems, n)`, ``fun`` of all rows to `(problems,)`.
        bounds: refused.
        constraints: refused.
        hess: not used, as SciPy's first-order methods do not.
        hessp: not used.
        manifold: on which x lies, as ``hf.manifold`` makes it, for a discrete gradient: a step is
            taken in orthonormal coordinates W of the tangent space, ``v = R_u(W)``, and
            ``J(v) - J(u) = -|W|^2/h``. ``fun`` and ``jac`` are called with points of the shape of
            ``x0``, and the options ``retraction`` and ``metric`` name those of the manifold.

    Returns:
        ``x`` (the solution), ``fun``, ``jac`` (of a discrete gradient that of the last step),
        ``nit``, ``nfev``, ``njev``, of a discrete gradient ``values_per_step``, ``success``,
        ``status`` (0 converged, 1 out of iterations, 2 not finite, 99 stopped by the callback; of
        a discrete gradient 3 steps below the rounding of values, 4 no step), ``message``.

    Raises:
        ValueError: bounds or constraints, an unknown option, a hyper-parameter outside its domain,
            or numbers that are not real.
    """
    del hess, hessp
    if bounds is not None:
        raise ValueError("bounds are not supported: steps along a flow do not know them")
    if constraints not in ((), [], None, {}):
        raise ValueError("constraints are not supported")
    product = load(method).module("numba")
    if hasattr(product, "SHAPE"):
        raise ValueError(
            f"{method} is an optimizer of matrices, or of points of a manifold: hf.optimizer has "
            "it, and hf.minimize takes those that move all of R^n"
        )
    descends = hasattr(product, "SAMPLES")
    if not descends and not hasattr(product, "HYPERPARAMETERS"):
        raise ValueError(f"{method} is no optimizer, and a method of minimize is one")
    given = dict(options or {})
    if manifold is None:
        run = DescentRun if descends else _Run
        return run(product, Evaluator(fun, jac, args), given, tol, callback).from_(x0)
    if not descends:
        raise ValueError(
            f"manifold = {manifold!r}: hf.minimize keeps points on a manifold by discrete "
            f"gradients, and {method} is none; hf.optimizer has optimizers of manifolds"
        )
    from hamilforge.runtime.optimizers.tangent_frames import TangentSpace  # it needs torch

    space = TangentSpace(manifold, given.pop("retraction", None), given.pop("metric", None))
    start = np.atleast_1d(real_array("x0", x0)).astype(float)
    evaluate = Evaluator(_of_shape(start, fun), _of_shape(start, jac), args)
    return DescentRun(product, evaluate, given, tol, callback, space).from_(start)


def _of_shape(start: Vector, function: Any) -> Any:
    """A function of flat points that hands on points of the shape of the start."""
    if not callable(function):
        return function
    return lambda x, *args: function(x.reshape(start.shape), *args)


def method(name: str | Path) -> Callable[..., OptimizeResult]:
    """A callable for the ``method`` argument of ``scipy.optimize.minimize``.

    Args:
        name: an optimizer by name or path.
    """

    def solve(fun: Callable[..., Any], x0: Any, args: Any = (), **kwargs: Any) -> OptimizeResult:
        known = ("jac", "callback", "bounds", "constraints", "hess", "hessp", "tol", "manifold")
        given = {key: kwargs.pop(key) for key in known if key in kwargs}
        return minimize(fun, x0, args, method=name, options=kwargs, **given)

    return solve


class _Run:
    """One minimisation: the state of the optimizer, and where it may stop."""

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
        self._seed = whole_number("seed", given.pop("seed", 0), least=0) if product.NOISE else 0
        known = arguments(product)
        unknown = set(given) - set(known)
        if unknown:
            raise ValueError(
                f"unknown options {sorted(unknown)}; expected maxiter, gtol or one of "
                f"{', '.join((*known, *['seed'] * bool(product.NOISE)))}"
            )
        self._hyper = checked(product, given)

    def from_(self, x0: Any) -> OptimizeResult:
        """Run from a start."""
        first = np.atleast_1d(real_array("x0", x0))
        x: Vector = first.ravel()
        shape = first.shape
        if not x.size or not np.isfinite(x).all():
            raise ValueError("x0 is empty or not finite")
        self._trajectory = Trajectory(self._product, self._hyper, x, self._seed)
        done, status, message = self._iterate()
        value, gradient = self._evaluate(self._trajectory.solution)
        return OptimizeResult(
            x=self._trajectory.solution.reshape(shape),
            fun=value,
            jac=gradient,
            nit=done,
            nfev=self._evaluate.values,
            njev=self._evaluate.gradients,
            success=status == 0,
            status=status,
            message=message,
        )

    def _iterate(self) -> tuple[int, int, str]:
        """Step until it is enough."""
        for done in range(self._limit):
            value, gradient = self._evaluate(self._trajectory.x)
            if not (np.isfinite(value) and np.isfinite(gradient).all()):
                return done, 2, "the function or its gradient is not finite"
            whole = self._trajectory.stage == 0
            if whole and self._is_small(gradient) and self._is_solved():
                return done, 0, "the largest entry of the gradient is below gtol"
            if stopped(self._callback, self._trajectory.x, value):
                return done, 99, "stopped by the callback"
            self._trajectory.step(gradient, value)
        if self._trajectory.stage == 0 and self._limit:
            _, gradient = self._evaluate(self._trajectory.solution)
            if self._is_small(gradient):
                return self._limit, 0, "the largest entry of the gradient is below gtol"
        return self._limit, 1, "the number of iterations is used up"

    def _is_small(self, gradient: Vector) -> bool:
        return bool(abs(gradient).max() <= self._tolerance)

    def _is_solved(self) -> bool:
        """A small gradient at the point is not enough where the point is not the solution."""
        if not self._product.SHIFTED:
            return True
        _, gradient = self._evaluate(self._trajectory.solution)
        return self._is_small(gradient)
