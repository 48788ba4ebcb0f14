"""Training by an optimizer of torch or a generated one, in the place of descent with backtracking.

In: arrays and gradients that kernels computed.  Out: new arrays.  What an optimizer remembers can
be written and read, so that training goes on where it stopped.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core.loader import load
from hamilforge.runtime.reproduce.data_sets import Floats

TORCH = "torch."


class Optimizer:
    """Steps of an optimizer on named arrays.

    Args:
        name: ``torch.Adam`` and the like for one of torch's, else a declared one, by name or path.
        lr: the learning rate; the optimizer's own if None.
        arrays: where to begin; those that have gradients are moved.
        memory: what an earlier :meth:`memory` gave.

    Raises:
        ValueError: torch has no such optimizer.
        DeclarationError: the declaration is not found or has problems.
        ImportError: PyTorch is not installed.
    """

    def __init__(
        self,
        name: str,
        lr: float | None,
        arrays: Mapping[str, Floats],
        memory: NDArray[np.uint8] | None,
    ) -> None:
        import torch

        self._parameters = {
            key: torch.nn.Parameter(torch.from_numpy(value.copy())) for key, value in arrays.items()
        }
        options = {} if lr is None else {"lr": lr}
        self._name = name
        try:
            self._optimizer = _kind(name)(list(self._parameters.values()), **options)
        except TypeError as error:
            raise ValueError(f"'{name}' cannot be made: {error}") from error
        if memory is not None:
            buffer = io.BytesIO(memory.tobytes())
            self._optimizer.load_state_dict(torch.load(buffer, weights_only=True))

    def step(self, gradient: Mapping[str, Floats]) -> dict[str, Floats]:
        """One step; the arrays at which the next gradient is asked for."""
        import torch

        for name, parameter in self._parameters.items():
            parameter.grad = torch.from_numpy(gradient[name].copy()) if name in gradient else None
        try:
            self._optimizer.step()
        except (TypeError, RuntimeError) as error:
            raise ValueError(
                f"'{self._name}' cannot take a step from a gradient: {error}"
            ) from error
        return {name: tensor.detach().numpy().copy() for name, tensor in self._parameters.items()}

    def put(self, arrays: Mapping[str, Floats]) -> None:
        """Set the arrays, where they had to be projected."""
        import torch

        with torch.no_grad():
            for name, value in arrays.items():
                self._parameters[name].copy_(torch.from_numpy(value))

    def memory(self) -> NDArray[np.uint8]:
        """What the optimizer remembers, as bytes."""
        import torch

        buffer = io.BytesIO()
        torch.save(self._optimizer.state_dict(), buffer)
        return np.frombuffer(buffer.getvalue(), np.uint8)


def _kind(name: str) -> Any:
    import torch

    if not name.startswith(TORCH):
        return load(name).torch_class()
    optimizer_class = getattr(torch.optim, name.removeprefix(TORCH), None)
    if not isinstance(optimizer_class, type) or not issubclass(
        optimizer_class, torch.optim.Optimizer
    ):
        raise ValueError(f"'{name}' is no optimizer of torch; torch.Adam is one")
    return optimizer_class
