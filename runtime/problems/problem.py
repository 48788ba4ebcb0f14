"""Minimization problems on NumPy arrays: the loss and its derived gradient, compiled.

In: a generated numba module, sizes and parameters.  Out: a :class:`Problem`, whose variables are
one vector, as ``hf.minimize`` and SciPy take it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core.compiled import Compiled
from hamilforge.runtime.core.numbers import real_array
from hamilforge.runtime.problems.draws import dimensions, inputs, sized

Floats = NDArray[Any]


class Problem(Compiled):
    """A loss f of a vector x, `(n,)`, with its gradient.

    Args:
        product: a generated numba module.
        options: sizes of dimensions and values of parameters, by name.
        dtype: ``float64`` or ``float32``.

    Attributes:
        name: of the problem.
        data: the arrays that the loss has beside its variables, read-only.
        minimum: the least loss, in float64; None if it is not known.

    Raises:
        ValueError: an unknown size or parameter, or one outside its domain.
    """

    def __init__(
        self, product: ModuleType, options: Mapping[str, Any] | None = None, dtype: Any = np.float64
    ) -> None:
        sizes, values = sized(product.NAME, product.SIZES, product.PARAMETERS, options or {})
        kind = np.dtype(dtype)
        if kind not in (np.dtype(np.float64), np.dtype(np.float32)):
            raise ValueError(f"dtype = {dtype!r}; float64 or float32 was expected")
        super().__init__(product, sizes, values, kind)
        self.name: str = product.NAME
        self._shapes = {name: self._numbers(shape) for name, shape in product.VARIABLES.items()}
        self._known: dict[str, Any] = {
            self._spelled(name): float(value) for name, value in {**sizes, **values}.items()
        }
        self._prepare()

    def _prepare(self) -> None:
        """Data and points, in float64."""
        product = self.product
        once = inputs(product, self.sizes)
        made = self._called("prepare", self._known | once, np.dtype(np.float64))
        exact: dict[str, Any] = {}
        self.data: dict[str, Floats] = {}
        for name, shape in product.DATA.items():
            wide = np.array(np.broadcast_to(made[f"data.{name}"], self._numbers(shape)))
            array = wide.astype(self.dtype)
            array.setflags(write=False)
            self.data[name] = array
            exact[self._spelled(name)] = wide if wide.ndim else float(wide)
            self._known[self._spelled(name)] = array if array.ndim else float(array)
        self._points = {place: self._point(made, place) for place in product.POINTS}
        self.minimum: float | None = float(made["minimum"]) if product.MINIMUM else None
        if self.minimum is None and self.minimizers:
            best = {
                self._spelled(name): np.broadcast_to(made[f"minimizers.0.{name}"], shape)
                for name, shape in self._shapes.items()
            }
            point = {n: np.ascontiguousarray(x) if x.ndim else float(x) for n, x in best.items()}
            known = self._known | exact | point
            self.minimum = float(self._called("loss", known, np.dtype(np.float64))["loss"])

    @property
    def start(self) -> Floats:
        """Where to begin, `(n,)`."""
        return self._points["start"]

    @property
    def minimizers(self) -> tuple[Floats, ...]:
        """Points of least loss, each `(n,)`."""
        return tuple(x for place, x in self._points.items() if place.startswith("minimizers."))

    @property
    def critical(self) -> tuple[Floats, ...]:
        """Further critical points, each `(n,)`."""
        return tuple(x for place, x in self._points.items() if place.startswith("critical."))

    def __call__(self, x: Any) -> float:
        """The loss at a point, `(n,)`."""
        known = self._known | self._variables(x)
        return float(self._called("loss", known, self.dtype)["loss"])

    def gradient(self, x: Any) -> Floats:
        """The gradient at a point, `(n,)`."""
        return self.value_and_gradient(x)[1]

    def value_and_gradient(self, x: Any) -> tuple[float, Floats]:
        """Both, as ``jac=True`` of ``hf.minimize`` expects them.

        Args:
            x: the point, `(n,)`.

        Returns:
            The loss, and its gradient, `(n,)`.

        Raises:
            ValueError: x has another shape, or is not real.
        """
        made = self._called("gradient", self._known | self._variables(x), self.dtype)
        slopes = [
            np.ravel(np.broadcast_to(made.get(f"by.{name}", 0.0), shape))
            for name, shape in self._shapes.items()
        ]
        return float(made["loss"]), np.concatenate(slopes).astype(self.dtype)

    def prepared(self) -> dict[str, Any]:
        """Data by ``data.A``, and the points as vectors: ``start``, …, and ``minimum``."""
        data = {f"data.{name}": array for name, array in self.data.items()}
        return {**data, **self._points, "minimum": self.minimum}

    def unpack(self, x: Any) -> dict[str, Floats]:
        """A point, `(n,)`, as its variables by name, each in its shape."""
        vector = np.ascontiguousarray(real_array(f"a point of {self.name}", x), self.dtype)
        sizes = [int(np.prod(shape)) for shape in self._shapes.values()]
        if vector.shape != (sum(sizes),):
            raise ValueError(
                f"a point of {self.name} has the shape ({sum(sizes)},), not {vector.shape}"
            )
        parts = np.split(vector, np.cumsum(sizes)[:-1])
        return {
            name: part.reshape(shape)
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }

    def _variables(self, x: Any) -> dict[str, Any]:
        """The same by the names of the program; numbers where a variable is one."""
        return {
            self._spelled(name): part if part.ndim else float(part)
            for name, part in self.unpack(x).items()
        }

    def _point(self, made: Mapping[str, Any], place: str) -> Floats:
        parts = [
            np.ravel(np.broadcast_to(made[f"{place}.{name}"], shape))
            for name, shape in self._shapes.items()
        ]
        point = np.concatenate(parts).astype(self.dtype)
        point.setflags(write=False)
        return point

    def _called(
        self, function: str, known: Mapping[str, Any], dtype: np.dtype[Any]
    ) -> dict[str, Any]:
        """The results of a function of the module, by what they are."""
        table = self.product.CALLS[function]
        buffers = {
            name: np.empty(self._numbers(shape), dtype) for name, shape in table["buffers"].items()
        }
        arguments = [known[name] for name in table["reads"]]
        returned = getattr(self.product, function)(*arguments, *buffers.values())
        names = table["returns"]
        numbers = dict(zip(names, returned if len(names) > 1 else (returned,), strict=False))
        everything = {**known, **buffers, **numbers}
        return {key: everything[name] for key, name in table["results"].items()}

    def _numbers(self, shape: tuple[str, ...]) -> tuple[int, ...]:
        return dimensions(shape, self.sizes)

    def _spelled(self, name: str) -> str:
        spelled: str = self.product.SPELLED.get(name, name)
        return spelled
