"""Discrete gradients in torch, differentiated by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch

from hamilforge.runtime.core.torch_solve import largest
from hamilforge.runtime.integrators.torch_flow import (
    ITERATIONS,
    Entries,
    Flow,
    Tensor,
    columns,
    is_lost,
)

#: Differences below this are no denominators of increments, relative to 1 + |u|.
SMALL = 1e-5


class DiscreteGradient(Flow):
    """A discrete gradient; see ``gen.program.integrators.integrator.DiscreteGradient``."""

    ENERGY: ClassVar[Callable[..., Any]]
    GRADIENT: ClassVar[Callable[..., Entries]]
    STRUCTURE: ClassVar[Callable[..., Entries]]
    STRUCTURE_PLACES: ClassVar[tuple[tuple[int, int], ...]]
    NODES: ClassVar[tuple[float, ...]]
    WEIGHTS: ClassVar[tuple[float, ...]]
    DIRECTIONS: ClassVar[tuple[int, ...]]
    FRICTION: ClassVar[Callable[..., Any] | None] = None

    def step(self, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        """Newton's method for all of the batch at once, from the Euler step.

        Args:
            t: the time at the start of the step, `()`, float64.
            y: the states before the step, `(batch, components)`.
            values: the parameters in their order, each `()`.

        Returns:
            The states after the step, `(batch, components)`. They have no graph.

        Raises:
            IntegrationError: no convergence, or a singular matrix.
        """
        y = y.detach()
        v = y + self.h * self._rate(t, y, y + 1e-3, values).detach()
        before = float("inf")
        epsilon = torch.finfo(y.dtype).eps
        room = 1e3 if not self.DIRECTIONS else 1 / SMALL  # of quotients by small differences
        for _ in range(ITERATIONS):
            defect, slope = self._with_slope(t, y, v, values)
            change = self.solve(t, slope, defect)
            v = v - change
            size = largest(change.abs().sum(-1))
            scale = largest((y.abs() + v.abs()).sum(-1))
            if is_lost(size, before, scale, epsilon, room):
                return v
            before = size
        number = round((float(t) - self.t0) / self.h)
        raise self.refuse(t, number, before, f"no convergence, the last change {before:.1e}")

    def adjoint(
        self, t: Tensor, y: Tensor, values: Sequence[Tensor], costate: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The implicit function theorem: one transposed solve, and one product with the defect.

        Args:
            t: the time at the start of the step, `()`, float64.
            y: the states before the step, `(batch, components)`.
            values: the parameters in their order, each `()`.
            costate: the derivatives by the states after the step, `(batch, components)`.

        Returns:
            The derivatives by the states before the step, `(batch, components)`, and those by each
            parameter, `(batch,)`, to be summed over the batch.

        Raises:
            IntegrationError: the step cannot be taken again.
        """
        v = self.step(t, y, values)
        _, slope = self._with_slope(t, y, v, values)
        weight = self.solve(t, slope.transpose(-1, -2), costate)
        state = y.detach().requires_grad_()
        grown = [value.detach().expand(len(y)).clone().requires_grad_() for value in values]
        with torch.enable_grad():
            defect = self._defect(t, state, v, grown)
            gradients = torch.autograd.grad(defect, [state, *grown], -weight, allow_unused=True)
        zero = torch.zeros_like(y[:, 0])
        return gradients[0], [zero if gradient is None else gradient for gradient in gradients[1:]]

    def _with_slope(
        self, t: Tensor, y: Tensor, v: Tensor, values: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The defect, and its derivative by v."""
        point = v.detach().requires_grad_()
        with torch.enable_grad():
            defect = self._defect(t, y, point, values)
            rows = [
                torch.autograd.grad(defect[:, i].sum(), point, retain_graph=True)[0]
                for i in range(defect.shape[-1])
            ]
        return defect.detach(), torch.stack(rows, -2)

    def _defect(self, t: Tensor, u: Tensor, v: Tensor, values: Sequence[Tensor]) -> Tensor:
        return v - u - self.h * self._rate(t, u, v, values)

    def _rate(self, t: Tensor, u: Tensor, v: Tensor, values: Sequence[Tensor]) -> Tensor:
        """S times the discrete gradient, less friction."""
        middle = (u + v) / 2
        structure = self.matrix(
            self.STRUCTURE, self.STRUCTURE_PLACES, t + self.h / 2, middle, values
        )
        rate = (structure @ self._mean(t, u, v, values)[..., None])[..., 0]
        if self.FRICTION is None:
            return rate
        half = u.shape[-1] // 2
        taken = columns((self.FRICTION(t + self.h / 2, values),), u) * middle[:, half:]
        return torch.cat([rate[:, :half], rate[:, half:] - taken], -1)

    def _energy(self, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        energy: Tensor = self.ENERGY(t, self.entries(y), values)
        return energy

    def _slopes(self, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        return columns(self.GRADIENT(t, self.entries(y), values), y)

    def _mean(self, t: Tensor, u: Tensor, v: Tensor, values: Sequence[Tensor]) -> Tensor:
        if self.DIRECTIONS:
            increments = [
                self._increments(t, u, v, values, direction) for direction in self.DIRECTIONS
            ]
            return torch.stack(increments).mean(0)
        difference = v - u
        mean = torch.zeros_like(u)
        for node, weight in zip(self.NODES, self.WEIGHTS, strict=True):
            mean = mean + weight * self._slopes(t, u + node * difference, values)
        distance = (difference * difference).sum(-1)
        missing = self._energy(t, v, values) - self._energy(t, u, values)
        missing = missing - (mean * difference).sum(-1)
        still = distance == 0
        share = torch.where(still, 0.0, missing / torch.where(still, 1.0, distance))
        return mean + share[:, None] * difference

    def _increments(
        self, t: Tensor, u: Tensor, v: Tensor, values: Sequence[Tensor], direction: int
    ) -> Tensor:
        columns = list(u.unbind(-1))
        increments = list(u.unbind(-1))
        for i in range(u.shape[-1])[::direction]:
            before = torch.stack(columns, -1)
            difference = v[:, i] - u[:, i]
            columns[i] = (u[:, i] + v[:, i]) / 2
            between = self._slopes(t, torch.stack(columns, -1), values)[:, i]
            columns[i] = v[:, i]
            after = torch.stack(columns, -1)
            large = difference.abs() > SMALL * (1 + u[:, i].abs())
            over = self._energy(t, after, values) - self._energy(t, before, values)
            quotient = over / torch.where(large, difference, 1.0)
            increments[i] = torch.where(large, quotient, between)
        return torch.stack(increments, -1)
