"""Splittings in torch: exact flows one after the other, and their adjoints in reverse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch

from hamilforge.runtime.integrators.torch_flow import Flow, Tensor, replaced


class Flows(Flow):
    """A splitting; see ``gen.program.integrators.integrator.Flows``."""

    FLOWS: ClassVar[tuple[tuple[str, float, float, float], ...]]
    IMPULSE: ClassVar[Callable[..., Any] | None] = None

    def step(self, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        """The state after a step.

        Args:
            t: the time at the start of the step, `()`, float64.
            y: the states before the step, `(batch, components)`.
            values: the parameters in their order, each `()`.

        Returns:
            The states after the step, `(batch, components)`.
        """
        for flow in self.FLOWS:
            y = self._flow(flow, t, y, values)
        return y

    def _flow(
        self,
        flow: tuple[str, float, float, float],
        t: Tensor,
        y: Tensor,
        values: Sequence[Tensor],
    ) -> Tensor:
        letter, begin, end, where, weight = self._read(flow, t, values)
        part = y[:, where]
        if "D" in letter:
            assert self.DECAY is not None
            part = self.DECAY(begin, end, values) * part
        if letter != "D":
            part = part + weight * self.field(0 if letter == "A" else 1, begin, y, values)
        return replaced(y, where, part)

    def _read(
        self, flow: tuple[str, float, float, float], t: Tensor, values: Sequence[Tensor]
    ) -> tuple[str, Tensor, Tensor, slice, Any]:
        letter, weight, start, stop = flow
        begin, end = t + start * self.h, t + stop * self.h
        span: Any = weight * self.h
        if letter == "BD":
            assert self.IMPULSE is not None
            span = self.IMPULSE(begin, end, values)
        return letter, begin, end, self.where(0 if letter == "A" else 1), span

    def adjoint(
        self, t: Tensor, y: Tensor, values: Sequence[Tensor], costate: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Each flow's adjoint, last to first.

        Args:
            t: the time at the start of the step, `()`, float64.
            y: the states before the step, `(batch, components)`.
            values: the parameters in their order, each `()`.
            costate: the derivatives by the states after the step, `(batch, components)`.

        Returns:
            The derivatives by the states before the step, `(batch, components)`, and those by each
            parameter, `(batch,)`, to be summed over the batch.
        """
        before = []
        for flow in self.FLOWS:
            before.append(y)
            y = self._flow(flow, t, y, values)
        totals = [torch.zeros_like(y[:, 0]) for _ in values]
        for flow, state in zip(reversed(self.FLOWS), reversed(before), strict=True):
            grown = [value.detach().requires_grad_() for value in values]
            with torch.enable_grad():
                letter, begin, end, where, weight = self._read(flow, t, grown)
                damp = self.DECAY(begin, end, grown) if "D" in letter and self.DECAY else None
            inner = costate[:, where]
            factors: list[tuple[Any, Tensor]] = []
            slope = torch.zeros_like(costate)
            if letter != "D":
                part = 0 if letter == "A" else 1
                if isinstance(weight, torch.Tensor):
                    rate = self.field(part, begin, state, values)
                    factors.append((weight, (inner * rate).sum()))
                    weight = weight.detach()
                slope, more = self.product(part, begin, state, values, weight * inner)
                totals = [a + b for a, b in zip(totals, more, strict=True)]
            if damp is not None:
                factors.append((damp, (inner * state[:, where]).sum()))
                costate = replaced(costate, where, inner * damp.detach())
            costate = costate + slope
            for scalar, gradient in factors:
                if scalar.requires_grad:
                    derivatives = torch.autograd.grad(
                        scalar, grown, gradient.to(scalar), allow_unused=True
                    )
                    totals = [
                        total if derivative is None else total + derivative / len(total)
                        for total, derivative in zip(totals, derivatives, strict=True)
                    ]
        return costate, totals
