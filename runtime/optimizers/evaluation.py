"""What is minimised, evaluated: value and gradient at a point, counted; and the user's callback."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

from hamilforge.runtime.core.numbers import pair, real_array, real_number, whole_number

Vector = NDArray[np.float64]
Callback = Callable[..., Any]
EPSILON, SINGLE = float(np.finfo(float).eps), float(np.finfo(np.float32).eps)
#: The finite differences that SciPy names.
DIFFERENCES = ("2-point", "3-point", "cs")


class Evaluator:
    """Value and gradient at a point, counted.

    What the user's functions do with the point that they get is their own affair: each gets a copy.
    """

    def __init__(self, fun: Callable[..., Any], jac: Any, args: Any) -> None:
        known = callable(jac) or jac is None or isinstance(jac, bool) or jac in DIFFERENCES
        if not known:
            raise ValueError(
                f"jac = {jac!r}: a function, True, None or one of {', '.join(DIFFERENCES)} was "
                "expected"
            )
        self._fun, self._jac = fun, jac
        self._args: tuple[Any, ...] = args if isinstance(args, tuple) else (args,)
        self.values = self.gradients = 0
        #: Of the numbers that the function returns.
        self._epsilon = EPSILON

    @property
    def has_gradient(self) -> bool:
        """Whether gradients are the user's, and not finite differences."""
        return callable(self._jac) or self._jac is True

    def __call__(self, x: Vector) -> tuple[float, Vector]:
        """The value and the gradient."""
        self.gradients += 1
        if self._jac is True:
            wanted = "its value and its gradient were expected, (value, gradient)"
            value, gradient = pair("with jac=True the function", self._value(x), wanted)
        else:
            value = self._value(x)
            gradient = self._gradient(x)
        vector = real_array("the gradient", gradient).ravel()
        if vector.shape != x.shape:
            raise ValueError(f"the gradient has {vector.size} entries; {x.size} were expected")
        return self._real(value), vector

    def value(self, x: Vector) -> float:
        """The value alone."""
        return self._real(self._without_gradient(x))

    def of_rows(self, points: Vector) -> Vector:
        """The values of many problems, each at its row; counted once.

        Raises:
            ValueError: the function does not return a number for each.
        """
        values = real_array("the function's value", self._without_gradient(points))
        if values.shape != points.shape[:1]:
            raise ValueError(
                f"the function's value has the shape {values.shape}; with batched = True a number "
                f"for each of the {len(points)} rows was expected"
            )
        return values

    def _without_gradient(self, points: Vector) -> Any:
        """What the function returns, but for a gradient beside it."""
        found = self._value(points)
        return found[0] if self._jac is True else found

    def _gradient(self, x: Vector) -> Any:
        if callable(self._jac):
            return self._jac(x.copy(), *self._args)
        if self._jac == "3-point":
            return self._differences(x, np.cbrt, self._central)
        if self._jac == "cs":
            return self._differences(x, np.sqrt, self._complex)
        here = self._real(self._value(x))

        def forward(x: Vector, axis: int, step: float) -> float:
            point = x.copy()
            point[axis] += step
            return (self._real(self._value(point)) - here) / float(point[axis] - x[axis])

        return self._differences(x, np.sqrt, forward)

    def _differences(
        self,
        x: Vector,
        of_epsilon: Callable[[float], float],
        slope: Callable[[Vector, int, float], float],
    ) -> Vector:
        """The slope along each axis, by a step of the size of x.

        Over a longer one where there is none: the function may have fewer digits inside.
        """
        slopes = np.zeros(x.size)
        for axis in range(x.size):
            for epsilon in dict.fromkeys((self._epsilon, max(self._epsilon, SINGLE))):
                step = float(of_epsilon(epsilon)) * max(1.0, abs(x[axis]))
                slopes[axis] = slope(x, axis, step)
                if slopes[axis] != 0:
                    break
        return slopes

    def _central(self, x: Vector, axis: int, step: float) -> float:
        ends = []
        for sign in (1, -1):
            point = x.copy()
            point[axis] += sign * step
            ends.append((self._real(self._value(point)), point[axis]))
        return (ends[0][0] - ends[1][0]) / float(ends[0][1] - ends[1][1])

    def _complex(self, x: Vector, axis: int, step: float) -> float:
        point = x.astype(np.complex128)
        point[axis] += 1j * step
        return float(np.asarray(self._value(point)).item().imag) / step

    def _value(self, point: NDArray[Any]) -> Any:
        self.values += 1
        found = self._fun(point.copy(), *self._args)
        kind = getattr(found, "dtype", None)
        if isinstance(kind, np.dtype) and kind.kind == "f":
            self._epsilon = max(float(np.finfo(kind).eps), EPSILON)
        return found

    @staticmethod
    def _real(value: Any) -> float:
        array = real_array("the function's value", value)
        if array.size != 1:
            raise ValueError(f"the function's value has {array.size} entries; one was expected")
        return float(array.item())


def stopping(given: dict[str, Any], tol: float | None) -> tuple[int, float]:
    """When a run ends, taken out of its options; ``disp`` is taken too, and not used.

    Args:
        given: the options: ``maxiter`` (1000) and ``gtol`` (1e-6).
        tol: ``gtol``, where that is not given.

    Returns:
        The number of iterations, and the largest entry of a gradient that is small.

    Raises:
        ValueError: one of them is no such number.
    """
    given.pop("disp", None)
    limit, gtol = given.pop("maxiter", None), given.pop("gtol", None)
    iterations = 1000 if limit is None else whole_number("maxiter", limit, least=0)
    chosen = gtol if gtol is not None else 1e-6 if tol is None else tol
    name = "tol" if gtol is None and tol is not None else "gtol"
    tolerance = real_number(name, chosen)
    if not tolerance >= 0:
        raise ValueError(f"{name} = {tolerance:g}: a number from 0 on was expected")
    return iterations, tolerance


def stopped(callback: Callback | None, x: Vector, value: Any) -> bool:
    """Call the user's callback, if there is one.

    Args:
        callback: as ``minimize`` takes it.
        x: the point, of which it gets a copy.
        value: the function's value there.

    Returns:
        Whether it ends the run.
    """
    if callback is None:
        return False
    parameters = list(inspect.signature(callback).parameters)
    try:
        if parameters == ["intermediate_result"]:
            callback(intermediate_result=OptimizeResult(x=x.copy(), fun=value))
        else:
            callback(x.copy())
    except StopIteration:
        return True
    return False
