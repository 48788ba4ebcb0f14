"""Constrained steps in torch, differentiated by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch

from hamilforge.runtime.core.torch_solve import largest
from hamilforge.runtime.core.torch_transforms import transforms_are_active
from hamilforge.runtime.integrators.constraints import OFF, ROUNDINGS, off_message
from hamilforge.runtime.integrators.torch_flow import Entries, Flow, Tensor, columns, replaced

#: Iterations of Newton's method at most; the size of its last change, in ulp, and that of changes
#: which rounding alone may keep from falling.
ITERATIONS, LAST, ROUNDING = 30, 4, 1024
#: A constrained step (time, before, drift, after, projected), or friction (start, stop).
Move = tuple[float, ...]


class ConstrainedFlows(Flow):
    """Constrained steps; see ``gen.program.integrators.integrator.ConstrainedFlows``."""

    INSTEAD = "the derivative of a derivative through multipliers is not there"
    MOVES: ClassVar[tuple[Move, ...]]
    CONSTRAINTS: ClassVar[tuple[str, ...]]
    VALUE: ClassVar[Callable[..., Entries]]
    SLOPES: ClassVar[Callable[..., Entries]]
    SLOPES_PLACES: ClassVar[tuple[tuple[int, int], ...]]
    MASS: ClassVar[Callable[..., Entries]]
    MASS_PLACES: ClassVar[tuple[tuple[int, int], ...]]

    def forward(self, y0: Tensor) -> Tensor:
        """States after the steps.

        Args:
            y0: `(batch, components)` or `(components,)`, on the constraints with their velocities.

        Raises:
            ValueError: another shape, or a start that is off the constraints.
            IntegrationError: a step has no solution, or a state is no longer finite.
        """
        fits = isinstance(y0, torch.Tensor) and y0.dim() in (1, 2) and y0.is_floating_point()
        fits = fits and y0.shape[-1] == len(self.COMPONENTS) and y0.numel() > 0
        if fits and not transforms_are_active():  # which show no numbers
            self._refuse_start(y0.detach().reshape(-1, y0.shape[-1]))
        return super().forward(y0)

    def _refuse_start(self, y0: Tensor) -> None:
        values = [getattr(self, f"parameter_{name}").detach().to(y0) for name in self.PARAMETERS]
        t = torch.tensor(self.t0, dtype=torch.float64, device=y0.device)
        slopes, velocity = self._left(t, y0, values), self.field(0, t, y0, values)
        rates = (slopes @ velocity[..., None])[..., 0]
        offs = (("constraint", self._value(t, y0, values), y0), ("rate", rates, velocity))
        for what, off, vector in offs:
            terms = (slopes.abs() @ vector[:, : slopes.shape[-1], None].abs())[..., 0]
            room = (ROUNDINGS * torch.finfo(y0.dtype).eps * terms.clamp(min=1)).clamp(min=OFF)
            excess = torch.where(off.isnan(), torch.inf, off.abs() / room).amax(0)
            number = int(excess.argmax())
            if not float(excess[number]) <= 1:
                row = int((off / room)[:, number].abs().argmax())
                size, allowed = float(off[row, number].abs()), float(room[row, number])
                name = self.CONSTRAINTS[number]
                raise ValueError(off_message(self.NAME, what, name, size, allowed))

    def step(self, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        """The state after a step: each move, with Newton's method for all of the batch at once.

        Args:
            t: the time at the start of the step, `()`, float64.
            y: the states before the step, `(batch, components)`.
            values: the parameters in their order, each `()`.

        Returns:
            The states after the step, `(batch, components)`. They have no graph.

        Raises:
            IntegrationError: multipliers were not found.
        """
        with torch.no_grad():
            for move in self.MOVES:
                y = self._moved(move, t, y, values)
        return y

    def adjoint(
        self, t: Tensor, y: Tensor, values: Sequence[Tensor], costate: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Each move's adjoint, last to first; multipliers move as their equations say.

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
        before = []
        with torch.no_grad():
            for move in self.MOVES:
                before.append(y)
                y = self._moved(move, t, y, values)
        totals = [torch.zeros_like(y[:, 0]) for _ in values]
        for move, state in zip(reversed(self.MOVES), reversed(before), strict=True):
            point = state.detach().requires_grad_()
            grown = [value.detach().expand(len(y)).clone().requires_grad_() for value in values]
            with torch.enable_grad():
                end = self._moved(move, t, point, grown)
                by_point, *by_values = torch.autograd.grad(
                    end, [point, *grown], costate, allow_unused=True
                )
            costate = by_point
            totals = [
                total if more is None else total + more
                for total, more in zip(totals, by_values, strict=True)
            ]
        return costate, totals

    # --- moves --------------------------------------------------------------------------------

    def _moved(self, move: Move, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        if len(move) == 2:
            return self._damped(t + move[0] * self.h, t + move[1] * self.h, y, values)
        time, before, drift, after, projected = move
        at = t + time * self.h
        half = y.shape[-1] // 2
        span = before * self.h, drift * self.h, after * self.h
        left = self._left(at, y, values)
        pushed = y[:, half:] + span[0] * self.field(1, at, y, values)

        def reached(multipliers: Tensor) -> Tensor:
            turned = pushed - span[0] * _reaction(left, multipliers)
            there = torch.cat([y[:, :half], turned], -1)
            place = y[:, :half] + span[1] * self.field(0, at, there, values)
            return torch.cat([place, turned], -1)

        def off(multipliers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            there = reached(multipliers)
            image = self._mass(at, there, values) @ left.mT
            matrix = self._left(at, there, values) @ image
            return self._value(at, there, values) / (span[0] * span[1]), matrix, image

        scale = y[:, :half].abs().amax(-1)
        found = self._multipliers(t, off, left, scale, abs(span[0] * span[1]), True)
        y = reached(found)
        y = replaced(y, slice(half, 2 * half), y[:, half:] + span[2] * self.field(1, at, y, values))
        if not projected:
            return y
        right, kicked = self._left(at, y, values), y

        def turned(multipliers: Tensor) -> Tensor:
            momenta = kicked[:, half:] - span[2] * _reaction(right, multipliers)
            return torch.cat([kicked[:, :half], momenta], -1)

        def moving(multipliers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            there = turned(multipliers)
            value = (right @ self.field(0, at, there, values)[..., None])[..., 0] / span[2]
            return value, right @ self._mass(at, there, values) @ right.mT, right.mT

        scale = kicked[:, half:].abs().amax(-1)
        return turned(self._multipliers(t, moving, right, scale, abs(span[2]), False))

    def _damped(self, start: Tensor, stop: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        if self.DECAY is None:
            return y
        half = y.shape[-1] // 2
        factor = columns((self.DECAY(start, stop, values),), y)
        return torch.cat([y[:, :half], factor * y[:, half:]], -1)

    def _multipliers(
        self,
        t: Tensor,
        equations: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]],
        slopes: Tensor,
        scale: Tensor,
        span: float,
        folds: bool,
    ) -> Tensor:
        """Newton's method from 0; then, with a graph, one more change from what was found.

        Args:
            t: the time at the start of the step.
            equations: their values, which fall by the matrix times the multipliers, the matrix, and
                what changes of multipliers do to the state, but for ``span``.
            slopes: a row for each multiplier.
            scale: of the state, `(batch,)`.
            span: see above.
            folds: whether a solution beyond a fold is refused.

        Raises:
            IntegrationError: no convergence, or a singular matrix.
        """
        epsilon = torch.finfo(slopes.dtype).eps
        with torch.no_grad():
            found = torch.zeros_like(slopes[..., 0])
            last = torch.full_like(scale, torch.inf)
            done = torch.zeros_like(scale, dtype=torch.bool)
            for _ in range(ITERATIONS):
                value, matrix, image = equations(found)
                change = torch.where(done[:, None], 0.0, self.solve(t, matrix, value))
                found = found + change
                size = span * (image @ change[..., None]).abs().amax((-1, -2))
                whole = scale + span * (image @ found[..., None]).abs().amax((-1, -2))
                settled = (size >= last) & (size <= ROUNDING * epsilon * whole)
                done = done | (size <= LAST * epsilon * whole) | settled
                last = size
                if bool(done.all()):
                    break
            number = round((float(t) - self.t0) / self.h)
            if not bool(done.all()):
                what = f"the constraints were not met, the last change {largest(last):.1e}"
                raise self.refuse(t, number, largest(last), what)
            if folds and bool((torch.linalg.slogdet(matrix).sign <= 0).any()):
                what = "the constraints were met beyond a fold alone"
                raise self.refuse(t, number, float("inf"), what)
        if not torch.is_grad_enabled():
            return found
        value, matrix, _ = equations(found)
        return found + self.solve(t, matrix.detach(), value)

    # --- the problem --------------------------------------------------------------------------

    def _value(self, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        return columns(self.VALUE(t, self.entries(y), values), y)

    def _left(self, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        """G, `(batch, constraints, positions)`."""
        whole = self.matrix(self.SLOPES, self.SLOPES_PLACES, t, y, values)
        return whole[:, : len(self.CONSTRAINTS), : y.shape[-1] // 2]

    def _mass(self, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        """The inverse mass, `(batch, momenta, momenta)`."""
        half = y.shape[-1] // 2
        return self.matrix(self.MASS, self.MASS_PLACES, t, y, values)[:, :half, :half]


def _reaction(slopes: Tensor, multipliers: Tensor) -> Tensor:
    """``G' lambda``, `(batch, positions)`."""
    return (slopes.mT @ multipliers[..., None])[..., 0]
