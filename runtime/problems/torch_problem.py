"""Minimization problems as torch modules: their variables are parameters, forward is the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch

from hamilforge.runtime.problems.draws import dimensions, inputs, sized

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
        minimum: the least loss, in float64; None if it is not known.

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
    POINTS: ClassVar[tuple[str, ...]]
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
        wide = {"dtype": torch.float64, "device": "cpu"}
        self._scalars = {**self.sizes, **values}
        once = {name: torch.from_numpy(array) for name, array in inputs(self, self.sizes).items()}
        made = self._called("prepare", {**self._numbers(**wide), **once})
        for name, shape in self.DATA.items():
            exact = self._full(made[f"data.{name}"], shape)
            self.register_buffer(f"data_{name}", exact.to(**kind))
        for place in self.POINTS:
            for name, shape in self.VARIABLES.items():
                exact = self._full(made[f"{place}.{name}"], shape).to(**kind)
                self.register_buffer(_buffer(place, name), exact, persistent=False)
        for name in self.VARIABLES:
            own = torch.nn.Parameter(getattr(self, _buffer("start", name)).clone())
            self.register_parameter(f"variable_{name}", own)
        self.minimum: float | None = float(made["minimum"]) if self.MINIMUM else None
        if self.minimum is None and "minimizers.0" in self.POINTS:
            known = self._numbers(**wide)
            for name, shape in self.DATA.items():
                known[self._spelled(name)] = self._full(made[f"data.{name}"], shape)
            for name, shape in self.VARIABLES.items():
                known[self._spelled(name)] = self._full(made[f"minimizers.0.{name}"], shape)
            self.minimum = float(self._called("loss", known)["loss"])

    def prepared(self) -> dict[str, Any]:
        """Data by ``data.A``, and the points as vectors: ``start``, …, and ``minimum``."""
        data = {f"data.{name}": getattr(self, f"data_{name}") for name in self.DATA}
        points = {
            place: torch.cat([getattr(self, _buffer(place, n)).flatten() for n in self.VARIABLES])
            for place in self.POINTS
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
                name: self._full(made.get(f"by.{name}", 0.0), shape, self.variable(name))
                for name, shape in self.VARIABLES.items()
            }

    def _everything(self) -> dict[str, Any]:
        """What the functions read, by the names of the program."""
        like = self.variable(next(iter(self.VARIABLES)))
        known = self._numbers(dtype=like.dtype, device=like.device)
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
        return tensor.broadcast_to(dimensions(shape, self.sizes)).clone()

    def _numbers(self, **kind: Any) -> dict[str, Any]:
        """Sizes and parameters as tensors, by the names of the program."""
        return {
            self._spelled(name): torch.tensor(float(value), **kind)
            for name, value in self._scalars.items()
        }

    def _spelled(self, name: str) -> str:
        return self.SPELLED.get(name, name)


def _buffer(place: str, name: str) -> str:
    """The buffer of a variable at a point."""
    return f"{place.replace('.', '_')}__{name}"
