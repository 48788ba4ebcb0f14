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
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, approx_fprime

from hamilforge.runtime.clock import check_domain, latch, start, tick
from hamilforge.runtime.kernels import plan, run
from hamilforge.runtime.loader import load

Vector = NDArray[np.float64]


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: tuple[Any, ...] = (),
    *,
    method: str | Path = "rgd",
    jac: Any = None,
    tol: float | None = None,
    callback: Callable[[OptimizeResult], Any] | None = None,
    options: dict[str, Any] | None = None,
    bounds: Any = None,
    constraints: Any = (),
    hess: Any = None,
    hessp: Any = None,
) -> OptimizeResult:
    """Minimise a function of several variables.

    Args:
        fun: ``fun(x, *args) -> float``; with ``jac=True`` it returns value and gradient.
        x0: start, shape `(n,)`.
        args: further arguments of ``fun`` and ``jac``.
        method: an optimizer by name or path.
        jac: ``jac(x, *args) -> (n,)``, True, or None for finite differences.
        tol: the same as the option ``gtol``.
        callback: called after each gradient with an ``OptimizeResult`` of ``x`` and ``fun`` at the
            gradient's point; ``StopIteration`` ends the run.
        options: ``maxiter`` (gradients, 1000), ``gtol`` (largest gradient entry, 1e-6), and the
            optimizer's hyper-parameters.
        bounds: refused.
        constraints: refused.
        hess: not used, as SciPy's first-order methods do not.
        hessp: not used.

    Returns:
        ``x`` (the solution), ``fun``, ``jac``, ``nit``, ``nfev``, ``njev``, ``success``, ``status``
        (0 converged, 1 out of iterations, 2 not finite, 99 stopped by the callback), ``message``.

    Raises:
        ValueError: bounds or constraints, an unknown option, or a hyper-parameter outside its
            domain.
    """
    del hess, hessp
    if bounds is not None:
        raise ValueError("bounds are not supported: the flow of a Hamiltonian does not know them")
    if constraints not in ((), [], None, {}):
        raise ValueError("constraints are not supported")
    return _Run(load(method).module("numba"), fun, args, jac, options or {}, tol, callback).from_(
        x0
    )


def method(name: str | Path) -> Callable[..., OptimizeResult]:
    """A callable for the ``method`` argument of ``scipy.optimize.minimize``.

    Args:
        name: an optimizer by name or path.
    """

    def solve(
        fun: Callable[..., Any], x0: Any, args: tuple[Any, ...] = (), **kwargs: Any
    ) -> OptimizeResult:
        known = ("jac", "callback", "bounds", "constraints", "hess", "hessp", "tol")
        given = {key: kwargs.pop(key) for key in known if key in kwargs}
        return minimize(fun, x0, args, method=name, options=kwargs, **given)

    return solve


class _Run:
    """One minimisation."""

    def __init__(
        self,
        product: ModuleType,
        fun: Callable[..., Any],
        args: tuple[Any, ...],
        jac: Any,
        options: dict[str, Any],
        tol: float | None,
        callback: Callable[[OptimizeResult], Any] | None,
    ) -> None:
        self._product, self._callback = product, callback
        self._evaluate = _Evaluator(fun, jac, args)
        given = dict(options)
        self._limit = int(given.pop("maxiter", None) or 1000)
        chosen = given.pop("gtol", None)
        self._tolerance = float(tol if tol is not None else 1e-6 if chosen is None else chosen)
        given.pop("disp", None)
        unknown = set(given) - set(product.HYPERPARAMETERS)
        if unknown:
            raise ValueError(
                f"unknown options {sorted(unknown)}; expected maxiter, gtol or one of "
                f"{', '.join(product.HYPERPARAMETERS)}"
            )
        self._hyper: dict[str, float] = {}
        for name, (default, domain) in product.HYPERPARAMETERS.items():
            value = float(given.get(name, default))
            check_domain(name, value, domain)
            self._hyper[name] = value

    def from_(self, x0: Any) -> OptimizeResult:
        start_point = np.atleast_1d(np.asarray(x0))
        if np.iscomplexobj(start_point):
            raise ValueError("x0 is complex; real variables were expected")
        x: Vector = np.array(start_point, dtype=np.float64).ravel()
        if not x.size or not np.isfinite(x).all():
            raise ValueError("x0 is empty or not finite")
        product = self._product
        buffer = np.zeros_like(x)
        how = plan([x.size], [0], product.SCOPE)
        clock = start(product)
        status, message = 1, "the number of iterations is used up"
        done = 0
        for _ in range(self._limit):
            value, gradient = self._evaluate(x)
            if not (np.isfinite(value) and np.isfinite(gradient).all()):
                status, message = 2, "the function or its gradient is not finite"
                break
            if clock.stage == 0 and abs(gradient).max() <= self._tolerance:
                status, message = 0, "the largest entry of the gradient is below gtol"
                break
            clock = latch(product, clock, self._hyper)
            rows = np.array([(1.0, 0.0, 1.0, *clock.rows[clock.stage])])
            addresses = np.array([[a.ctypes.data] for a in (x, buffer, gradient)], np.uintp)
            run(product.STAGES[clock.stage], how, rows, addresses, "float64")
            clock = tick(clock)
            done += 1
            if self._callback is not None:
                try:
                    self._callback(OptimizeResult(x=x.copy(), fun=value))
                except StopIteration:
                    status, message = 99, "stopped by the callback"
                    break
        if status != 2 and clock.stage == 0:
            x = self._solution(x, buffer, clock.memory)
        value, gradient = self._evaluate(x)
        if status == 0 and abs(gradient).max() > 10 * self._tolerance:
            status, message = 1, "the gradient is small at the point, but not at the solution"
        return OptimizeResult(
            x=x.reshape(start_point.shape),
            fun=value,
            jac=gradient,
            nit=done,
            nfev=self._evaluate.values,
            njev=self._evaluate.gradients,
            success=status == 0,
            status=status,
            message=message,
        )

    def _solution(self, x: Vector, buffer: Vector, memory: tuple[float, ...]) -> Vector:
        product = self._product
        if not product.SHIFTED:
            return x
        solved = x.copy()
        rows = np.array([(1.0, 0.0, 1.0, *product.solution_row(*memory))])
        addresses = np.array([[a.ctypes.data] for a in (solved, buffer, buffer)], np.uintp)
        run(product.solution, plan([x.size], [0], product.SCOPE), rows, addresses, "float64")
        return solved


class _Evaluator:
    """Value and gradient at a point, counted."""

    def __init__(self, fun: Callable[..., Any], jac: Any, args: tuple[Any, ...]) -> None:
        self._fun, self._jac, self._args = fun, jac, args
        self.values = self.gradients = 0

    def __call__(self, x: Vector) -> tuple[float, Vector]:
        point = x.copy()
        self.values += 1
        self.gradients += 1
        if self._jac is True:
            value, gradient = self._fun(point, *self._args)
        else:
            value = self._fun(point, *self._args)
            if callable(self._jac):
                gradient = self._jac(point, *self._args)
            else:
                gradient = approx_fprime(
                    point, self._fun, np.sqrt(np.finfo(float).eps), *self._args
                )
                self.values += x.size
        vector = np.array(gradient, dtype=np.float64).ravel()
        if vector.shape != x.shape:
            raise ValueError(f"the gradient has {vector.size} entries; {x.size} were expected")
        return float(np.asarray(value).item()), vector
