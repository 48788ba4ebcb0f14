"""Taylor's method in torch: coefficients line by line, and the step as their polynomial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch

from hamilforge.runtime.integrators.torch_flow import Entries, Flow, Tensor, columns


class TaylorSteps(Flow):
    """Taylor's method; see ``gen.program.integrators.integrator.TaylorSteps``."""

    INSTEAD = "step() is plain torch code, which torch differentiates"
    ORDER: ClassVar[int]
    COEFFICIENTS: ClassVar[Callable[..., Entries]]

    def step(self, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        """The state after a step.

        Args:
            t: the time at the start of the step, `()`, float64.
            y: the states before the step, `(batch, components)`.
            values: the parameters in their order, each `()` or `(batch,)`.

        Returns:
            The states after the step, `(batch, components)`.
        """
        entries, size = self.COEFFICIENTS(t, y.unbind(-1), values), y.shape[-1]
        change = torch.zeros_like(y)
        for k in range(self.ORDER - 1, -1, -1):
            change = (change + columns(entries[k * size : (k + 1) * size], y)) * self.h
        return y + change

    def adjoint(
        self, t: Tensor, y: Tensor, values: Sequence[Tensor], costate: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The adjoint of the step, by torch's reverse mode through the emitted coefficients.

        Args:
            t: the time at the start of the step, `()`, float64.
            y: the states before the step, `(batch, components)`.
            values: the parameters in their order, each `()`.
            costate: the derivatives by the states after the step, `(batch, components)`.

        Returns:
            The derivatives by the states before the step, `(batch, components)`, and those by each
            parameter, `(batch,)`, to be summed over the batch.
        """
        point = y.detach().requires_grad_()
        grown = [value.detach().expand(len(y)).clone().requires_grad_() for value in values]
        with torch.enable_grad():
            end = self.step(t, point, grown)
            by_point, *by_values = torch.autograd.grad(
                end, [point, *grown], costate, allow_unused=True
            )
        zero = torch.zeros_like(y[:, 0])
        return by_point, [zero if more is None else more for more in by_values]
