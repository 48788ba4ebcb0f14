"""Minimisation in SciPy's manner, with the kernels of any generated optimizer; no torch needed.

The function :func:`minimize` takes what ``scipy.optimize.minimize`` takes; :func:`method` makes a
callable for its ``method`` argument.
"""

from __future__ import annotations

import inspect
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
Callback = Callable[..., Any]


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: tuple[Any, ...] = (),
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
) -> OptimizeResult:
    """Minimise a function of several variables.

    Args:
        fun: ``fun(x, *args) -> float``; with ``jac=True`` it returns value and gradient.
        x0: start, shape `(n,)`.
        args: further arguments of ``fun`` and ``jac``.
        method: an optimizer by name or path.
        jac: ``jac(x, *args) -> (n,)``, True, or None for finite differences.
        tol: the same as the option ``gtol``.
        callback: called for each gradient, with its point: as in SciPy, with an
            ``OptimizeResult`` of ``x`` and ``fun`` if its only parameter is named
            ``intermediate_result``, else with a copy of ``x``; ``StopIteration`` ends the run.
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
    product = load(method).module("numba")
    evaluate = _Evaluator(fun, jac, args)
    return _Run(product, evaluate, dict(options or {}), tol, callback).from_(x0)


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


class _Evaluator:
    """Value and gradient at a point, counted."""

    def __init__(self, fun: Callable[..., Any], jac: Any, args: tuple[Any, ...]) -> None:
        self._fun, self._jac, self._args = fun, jac, args
        self.values = self.gradients = 0

    def __call__(self, x: Vector) -> tuple[float, Vector]:
        point = x.copy()
        self.gradients += 1
        if self._jac is True:
            self.values += 1
            value, gradient = self._fun(point, *self._args)
        else:
            value = self._value(point)
            gradient = (
                self._jac(point, *self._args)
                if callable(self._jac)
                else approx_fprime(point, self._value, np.sqrt(np.finfo(float).eps))
            )
        vector = np.array(gradient, dtype=np.float64).ravel()
        if vector.shape != x.shape:
            raise ValueError(f"the gradient has {vector.size} entries; {x.size} were expected")
        return float(np.asarray(value).item()), vector

    def _value(self, point: Vector) -> Any:
        self.values += 1
        return self._fun(point, *self._args)


class _Run:
    """One minimisation: the state of the optimizer, and where it may stop."""

    def __init__(
        self,
        product: ModuleType,
        evaluate: _Evaluator,
        given: dict[str, Any],
        tol: float | None,
        callback: Callback | None,
    ) -> None:
        self._product, self._evaluate, self._callback = product, evaluate, callback
        limit = given.pop("maxiter", None)
        self._limit = 1000 if limit is None else int(limit)
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
        """Run from a start."""
        first = np.atleast_1d(np.asarray(x0))
        if np.iscomplexobj(first):
            raise ValueError("x0 is complex; real variables were expected")
        self._x: Vector = np.array(first, dtype=np.float64).ravel()
        if not self._x.size or not np.isfinite(self._x).all():
            raise ValueError("x0 is empty or not finite")
        self._buffer = np.zeros_like(self._x)
        self._how = plan([self._x.size], [0], self._product.SCOPE, self._product.SUMS)
        self._clock = start(self._product)
        self._solved = self._x.copy()
        done, status, message = self._iterate()
        value, gradient = self._evaluate(self._solved)
        return OptimizeResult(
            x=self._solved.reshape(first.shape),
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
        """Step until it is enough; the last whole step's solution stays in ``_solved``."""
        for done in range(self._limit):
            value, gradient = self._evaluate(self._x)
            if not (np.isfinite(value) and np.isfinite(gradient).all()):
                return done, 2, "the function or its gradient is not finite"
            if self._clock.stage == 0 and self._is_small(gradient) and self._is_solved():
                return done, 0, "the largest entry of the gradient is below gtol"
            if self._stopped(value):
                return done, 99, "stopped by the callback"
            self._step(gradient)
        if self._clock.stage == 0 and self._limit:
            _, gradient = self._evaluate(self._solved)
            if self._is_small(gradient):
                return self._limit, 0, "the largest entry of the gradient is below gtol"
        return self._limit, 1, "the number of iterations is used up"

    def _is_small(self, gradient: Vector) -> bool:
        return bool(abs(gradient).max() <= self._tolerance)

    def _is_solved(self) -> bool:
        """A small gradient at the point is not enough where the point is not the solution."""
        if not self._product.SHIFTED:
            return True
        _, gradient = self._evaluate(self._solved)
        return self._is_small(gradient)

    def _stopped(self, value: float) -> bool:
        if self._callback is None:
            return False
        parameters = list(inspect.signature(self._callback).parameters)
        try:
            if parameters == ["intermediate_result"]:
                self._callback(intermediate_result=OptimizeResult(x=self._x.copy(), fun=value))
            else:
                self._callback(self._x.copy())
        except StopIteration:
            return True
        return False

    def _step(self, gradient: Vector) -> None:
        clock = latch(self._product, self._clock, self._hyper)
        arrays = (self._x, self._buffer, gradient)
        self._run(self._product.STAGES[clock.stage], clock.rows[clock.stage], arrays)
        self._clock = tick(clock)
        if self._clock.stage == 0:
            self._solved = self._x.copy()
            if self._product.SHIFTED:
                row = self._product.solution_row(*self._clock.memory)
                self._run(self._product.solution, row, (self._solved, self._buffer, self._buffer))

    def _run(self, kernel: Any, row: tuple[float, ...], arrays: tuple[Vector, ...]) -> None:
        addresses = np.array([[array.ctypes.data] for array in arrays], np.uintp)
        run(kernel, self._how, np.array([(1.0, 0.0, 1.0, *row)]), addresses, "float64")
