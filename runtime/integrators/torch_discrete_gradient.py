"""Discrete gradients in torch, differentiated by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch

from hamilforge.runtime.core.torch_solve import Settled, largest
from hamilforge.runtime.integrators.torch_flow import (
    ITERATIONS,
    Entries,
    Flow,
    Tensor,
    columns,
)


class DiscreteGradient(Flow):
    """A discrete gradient; see ``gen.program.integrators.integrator.DiscreteGradient``."""

    ENERGY: ClassVar[Callable[..., Any]]
    #: The sum of the sizes of H's terms, and up to how many roundings of it hide what H misses.
    ENERGY_SIZE: ClassVar[Callable[..., Any]]
    ROUNDINGS: ClassVar[int]
    GRADIENT: ClassVar[Callable[..., Entries]]
    STRUCTURE: ClassVar[Callable[..., Entries]]
    STRUCTURE_PLACES: ClassVar[tuple[tuple[int, int], ...]]
    NODES: ClassVar[tuple[float, ...]]
    WEIGHTS: ClassVar[tuple[float, ...]]
    DIRECTIONS: ClassVar[tuple[int, ...]]
    FRICTION: ClassVar[Callable[..., Any] | None] = None

    def step(self, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        """Newton's method from the Euler step, for each sample until rounding ends it.

        Args:
            t: the time at the start of the step, `()`, float64.
            y: the states before the step, `(batch, components)`.
            values: the parameters in their order, each `()`.

        Returns:
            The states after the step, `(batch, components)`. They have no graph.

        Raises:
            IntegrationError: no convergence, or a singular matrix.
        """
        y, noise = y.detach(), self._noise(t, y, values)
        v = y + self.h * self._rate(t, y, y, values, noise)[0].detach()
        settled = Settled(y)
        for _ in range(ITERATIONS):
            defect, slope, uncertain = self._with_slope(t, y, v, values, noise)
            change = settled.kept(self.solve(t, slope, defect))
            v = v - change
            scale = (y.abs() + v.abs()).sum(-1)
            if settled.after(change.abs().sum(-1), scale, uncertain):
                return v
        number, last = round((float(t) - self.t0) / self.h), largest(settled.last)
        raise self.refuse(t, number, last, f"no convergence, the last change {last:.1e}")

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
        noise = self._noise(t, y, values)
        _, slope, _ = self._with_slope(t, y, v, values, noise)
        weight = self.solve(t, slope.transpose(-1, -2), costate)
        state = y.detach().requires_grad_()
        grown = [value.detach().expand(len(y)).clone().requires_grad_() for value in values]
        with torch.enable_grad():
            defect, _ = self._defect(t, state, v, grown, noise)
            gradients = torch.autograd.grad(defect, [state, *grown], -weight, allow_unused=True)
        zero = torch.zeros_like(y[:, 0])
        return gradients[0], [zero if gradient is None else gradient for gradient in gradients[1:]]

    def _with_slope(
        self, t: Tensor, y: Tensor, v: Tensor, values: Sequence[Tensor], noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The defect, its derivative by v, and by how much rounding makes it uncertain."""
        point = v.detach().requires_grad_()
        with torch.enable_grad():
            defect, uncertain = self._defect(t, y, point, values, noise)
            rows = [
                torch.autograd.grad(defect[:, i].sum(), point, retain_graph=True)[0]
                for i in range(defect.shape[-1])
            ]
        return defect.detach(), torch.stack(rows, -2), uncertain

    def _defect(
        self, t: Tensor, u: Tensor, v: Tensor, values: Sequence[Tensor], noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``v - u - h rate``, and by how much rounding makes it uncertain, `(batch,)`."""
        rate, uncertain = self._rate(t, u, v, values, noise)
        return v - u - self.h * rate, abs(self.h) * uncertain

    def _rate(
        self, t: Tensor, u: Tensor, v: Tensor, values: Sequence[Tensor], noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """S times the discrete gradient, less friction; and how uncertain its entries are."""
        middle = (u + v) / 2
        structure = self.matrix(
            self.STRUCTURE, self.STRUCTURE_PLACES, t + self.h / 2, middle, values
        )
        mean, uncertain = self._mean(t, u, v, values, noise)
        uncertain = uncertain * structure.detach().abs().sum((-1, -2))
        rate = (structure @ mean[..., None])[..., 0]
        if self.FRICTION is None:
            return rate, uncertain
        half = u.shape[-1] // 2
        taken = columns((self.FRICTION(t + self.h / 2, values),), u) * middle[:, half:]
        return torch.cat([rate[:, :half], rate[:, half:] - taken], -1), uncertain

    def _noise(self, t: Tensor, u: Tensor, values: Sequence[Tensor]) -> Tensor:
        """Up to what size that which H misses in a step is not told from a rounding, `(batch,)`."""
        with torch.no_grad():
            numbers = torch.finfo(u.dtype)
            size = columns((self.ENERGY_SIZE(t, self.entries(u), values),), u)[:, 0]
            return self.ROUNDINGS * numbers.eps * size + numbers.tiny

    def _energy(self, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        energy: Tensor = self.ENERGY(t, self.entries(y), values)
        return energy

    def _slopes(self, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        return columns(self.GRADIENT(t, self.entries(y), values), y)

    def _mean(
        self, t: Tensor, u: Tensor, v: Tensor, values: Sequence[Tensor], noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The discrete gradient, and how uncertain rounding makes its entries, `(batch,)`."""
        if self.DIRECTIONS:
            means, uncertain = zip(
                *(self._increments(t, u, v, values, noise, way) for way in self.DIRECTIONS),
                strict=True,
            )
            return torch.stack(means).mean(0), torch.stack(uncertain).amax(0)
        difference = v - u
        mean = torch.zeros_like(u)
        for node, weight in zip(self.NODES, self.WEIGHTS, strict=True):
            mean = mean + weight * self._slopes(t, u + node * difference, values)
        distance = (difference * difference).sum(-1)
        missing = self._energy(t, v, values) - self._energy(t, u, values)
        share, of_share = _told(missing - (mean * difference).sum(-1), distance, noise)
        return mean + share[:, None] * difference, of_share * distance.detach().sqrt()

    def _increments(
        self,
        t: Tensor,
        u: Tensor,
        v: Tensor,
        values: Sequence[Tensor],
        noise: Tensor,
        direction: int,
    ) -> tuple[Tensor, Tensor]:
        """The mean of the slopes at both ends of an increment, and what H misses of it."""
        at = list(u.unbind(-1))
        increments, uncertain = list(u.unbind(-1)), [noise] * len(at)
        below, slopes = self._energy(t, u, values), self._slopes(t, u, values)
        for i in range(u.shape[-1])[::direction]:
            difference = v[:, i] - u[:, i]
            before = slopes[:, i]
            at[i] = v[:, i]
            point = torch.stack(at, -1)
            above, slopes = self._energy(t, point, values), self._slopes(t, point, values)
            between = (before + slopes[:, i]) / 2
            more, uncertain[i] = _told(above - below - between * difference, difference, noise)
            increments[i], below = between + more, above
        return torch.stack(increments, -1), torch.stack(uncertain).amax(0)


def _told(missing: Tensor, over: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """``missing/over`` where it is told from noise, and 0 else; and by how much it is uncertain."""
    size = missing.detach().abs()
    hidden, near = size <= noise, size > noise / 2
    quotient = torch.where(hidden, 0.0, missing / torch.where(hidden, 1.0, over))
    return quotient, torch.where(near, noise / torch.where(near, over.detach().abs(), 1.0), 0.0)
