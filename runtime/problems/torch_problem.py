"""Minimization problems as torch modules: their variables are parameters, forward is the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch

from hamilforge.runtime.problems.draws import given, sized

Tensor = torch.Tensor
Results = tuple[tuple[str, ...], Mapping[str, int]]


class Problem(torch.nn.Module):
    """A loss of its parameters, which begin at the start.

    ``forward()`` is differentiated by torch, as often as one likes; :meth:`derived_gradient` is the
    gradient by the derived formulas.

    Args:
        options: sizes of dimensions and values of parameters of the problem, by name.
        dtype, device: of the parameters.

    Attributes:
        minimum: the least loss; None if it is not known.

    Raises:
        ValueError: an unknown size or parameter, or one outside its domain.
    """

    NAME: ClassVar[str]
    VARIABLES: ClassVar[Mapping[str, tuple[str, ...]]]
    SIZES: ClassVar[Mapping[str, int]]
    DATA: ClassVar[Mapping[str, tuple[str, ...]]]
    PARAMETERS: ClassVar[Mapping[str, tuple[float, str, str]]]
    SPELLED: ClassVar[Mapping[str, str]]
    INDICES: ClassVar[Mapping[str, tuple[tuple[str, ...], int]]]
    DRAWS: ClassVar[Mapping[str, tuple[tuple[str, ...], str, int]]]
    MINIMIZERS: ClassVar[int]
    CRITICAL: ClassVar[int]
    MINIMUM: ClassVar[bool]
    CALLS: ClassVar[Mapping[str, Results]]
    prepare: ClassVar[Callable[..., tuple[Any, ...]]]
    loss: ClassVar[Callable[..., tuple[Any, ...]]]
    gradient: ClassVar[Callable[..., tuple[Any, ...]]]

    def __init__(
        self,
        options: Mapping[str, Any] | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> None:
        super().__init__()
        self.sizes, values = sized(self.NAME, self.SIZES, self.PARAMETERS, options or {})
        kind: dict[str, Any] = {"dtype": dtype or torch.get_default_dtype(), "device": device}
        scalars = {
            self._spelled(name): torch.tensor(float(value), dtype=torch.float64)
            for name, value in {**self.sizes, **values}.items()
        }
        arrays = given(
            {name: (self._numbers(shape), axis) for name, (shape, axis) in self.INDICES.items()},
            {
                name: (self._numbers(shape), distribution, seed)
                for name, (shape, distribution, seed) in self.DRAWS.items()
            },
        )
        once = {name: torch.from_numpy(array) for name, array in arrays.items()}
        made = self._called("prepare", {**scalars, **once})
        for name, value in scalars.items():
            self.register_buffer(f"scalar_{name}", value.to(**kind))
        self._scalars = tuple(scalars)
        for name, shape in self.DATA.items():
            self.register_buffer(f"data_{name}", self._full(made[name], shape).to(**kind))
        for name, shape in self.VARIABLES.items():
            start = self._full(made[f"start.{name}"], shape).to(**kind)
            self.register_parameter(f"variable_{name}", torch.nn.Parameter(start))
        places = ["start"]
        places += [f"minimizers.{k}" for k in range(self.MINIMIZERS)]
        places += [f"critical.{k}" for k in range(self.CRITICAL)]
        self._points = {
            place: {
                name: self._full(made[f"{place}.{name}"], shape).to(**kind)
                for name, shape in self.VARIABLES.items()
            }
            for place in places
        }
        self.minimum: float | None = float(made["minimum"]) if self.MINIMUM else None
        if self.minimum is None and self.MINIMIZERS:
            best = self._points["minimizers.0"]
            with torch.no_grad():
                named = {self._spelled(name): value for name, value in best.items()}
                self.minimum = float(self._called("loss", self._everything() | named)["loss"])

    def prepared(self) -> dict[str, Any]:
        """Data by name, and the points as vectors: ``start``, ``minimizers.0``, …, ``minimum``."""
        data = {name: getattr(self, f"data_{name}") for name in self.DATA}
        points = {
            place: torch.cat([value.flatten() for value in point.values()])
            for place, point in self._points.items()
        }
        return {**data, **points, "minimum": self.minimum}

    def variable(self, name: str) -> Tensor:
        """A variable, a parameter of the module."""
        variable: Tensor = getattr(self, f"variable_{name}")
        return variable

    def forward(self) -> Tensor:
        """The loss at the parameters, a scalar."""
        loss: Tensor = self._called("loss", self._everything())["loss"]
        return loss.to(self.variable(next(iter(self.VARIABLES))).dtype)

    def derived_gradient(self) -> dict[str, Tensor]:
        """The derivative of the loss by each variable, by the derived formulas."""
        with torch.no_grad():
            made = self._called("gradient", self._everything())
            return {
                name: self._full(made.get(name, 0.0), shape, self.variable(name))
                for name, shape in self.VARIABLES.items()
            }

    def _everything(self) -> dict[str, Any]:
        """What the functions read, by the names of the program."""
        known: dict[str, Any] = {name: getattr(self, f"scalar_{name}") for name in self._scalars}
        known |= {self._spelled(name): getattr(self, f"data_{name}") for name in self.DATA}
        return known | {self._spelled(name): self.variable(name) for name in self.VARIABLES}

    def _called(self, function: str, known: Mapping[str, Any]) -> dict[str, Any]:
        reads, results = self.CALLS[function]
        returned = getattr(self, function)(*(known[name] for name in reads))
        return {key: returned[place] for key, place in results.items()}

    def _full(self, value: Any, shape: tuple[str, ...], like: Tensor | None = None) -> Tensor:
        """A tensor of a shape, from one or from a number."""
        if like is None:
            tensor = torch.as_tensor(value, dtype=torch.float64)
        else:
            tensor = torch.as_tensor(value, dtype=like.dtype, device=like.device)
        return tensor.broadcast_to(self._numbers(shape)).clone()

    def _numbers(self, shape: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(int(name) if name.isdigit() else self.sizes[name] for name in shape)

    def _spelled(self, name: str) -> str:
        return self.SPELLED.get(name, name)
