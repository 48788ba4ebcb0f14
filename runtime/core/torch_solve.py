"""Stages that determine each other, for each sample: Newton's method, and linear systems.

In: a map that gives arrays anew from themselves.  Out: its fixed point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from hamilforge.runtime.core.errors import IntegrationError

#: Iterations of simplified Newton's method at most, and by how much each must come closer before
#: the matrix is taken anew.
ITERATIONS, CONTRACTION = 50, 0.3
Tensor = torch.Tensor
Arrays = Sequence[Tensor]


class Settled:
    """Which samples Newton's method is done with: their changes are those of rounding.

    Args:
        like: the state before, `(batch, size)`.
        enough: up to how many roundings of the state a change ends the iteration; far below one if
            None.
    """

    def __init__(self, like: Tensor, enough: float | None = None) -> None:
        numbers = torch.finfo(like.dtype)
        self.epsilon, self._least = numbers.eps, numbers.tiny
        self._enough = self.epsilon if enough is None else enough
        self.done = torch.zeros_like(like[:, 0], dtype=torch.bool)
        self.last = torch.full_like(like[:, 0], torch.inf)

    def kept(self, change: Tensor) -> Tensor:
        """The change of the samples that are not done, and 0 for the others."""
        return torch.where(self.done[:, None], 0.0, change)

    def after(self, size: Tensor, scale: Tensor, uncertain: Tensor | float = 0.0) -> bool:
        """Note a change.

        A sample is done after one of no more than ``enough``, and after one of up to 1000 roundings
        that is more than half of the one before.

        Args:
            size: of the change, `(batch,)`.
            scale: of what is changed, `(batch,)`.
            uncertain: up to what size a change is one of rounding beside that, `(batch,)`.

        Returns:
            Whether all are done.
        """
        rounding = self.epsilon * scale + self._least
        within = size <= 1e3 * rounding + uncertain
        self.done = self.done | (size <= self._enough * rounding)
        self.done = self.done | (within & (size >= self.last / 2))
        self.last = torch.where(self.done, 0.0, size)
        return bool(self.done.all())


def solved(
    stages: Callable[..., Arrays],
    slopes: Callable[..., Arrays],
    like: Arrays,
    t: Any,
    h: Any,
) -> tuple[Tensor, ...]:
    """Right-hand sides that agree with the stages they are taken at.

    Args:
        stages: the right-hand sides anew, from themselves.
        slopes: the derivative of ``stages`` at right-hand sides, in a direction.
        like: the state of each one's shape at the beginning, `(batch, size)`.
        t: time at the beginning of the layer, for messages.
        h: the layer's step.

    Returns:
        One for each of ``like``, `(batch, size)`.

    Raises:
        IntegrationError: the iteration did not converge.
    """
    solution = _joined(stages(*(torch.zeros_like(tensor) for tensor in like)))
    state = _joined(like)
    settled = Settled(state, enough=4)
    factors, before = None, float("inf")
    # near a rest point right-hand sides are no more exact than the states are over a step
    reach = state.abs().amax(-1) / abs(float(h))
    for _ in range(ITERATIONS):
        parts = _split(solution, like)
        change = settled.kept(_joined(stages(*parts)) - solution)
        if factors is None or not largest(change) <= CONTRACTION * before:
            matrix = _matrix(lambda *v, at=parts: slopes(*at, *v), like)
            factors = factored(matrix)
        before = largest(change)
        step = solved_by(factors, change[..., None])[..., 0]
        solution = solution + step
        size = step.abs().amax(-1)
        if settled.after(size, solution.abs().amax(-1) + reach):
            return _split(solution, like)
        if not bool((size < float("inf")).all()):
            break
    raise IntegrationError(
        f"the stages of the layer at t = {float(t):.6g} with h = {float(h):.6g} did not converge, "
        f"the last change being {before:.1e}; try a smaller step",
        float(t),
        0,
        before,
    )


def solved_linear(stages: Callable[..., Arrays], like: Arrays) -> tuple[Tensor, ...]:
    """The fixed point of an affine map: one linear solve, once refined."""
    zeros = [torch.zeros_like(tensor) for tensor in like]
    offset = _joined(stages(*zeros))

    def linear(*v: Tensor) -> tuple[Tensor, ...]:
        return _split(_joined(stages(*v)) - offset, like)

    factors = factored(_matrix(linear, like))
    solution = solved_by(factors, offset[..., None])[..., 0]
    rest = _joined(stages(*_split(solution, like))) - solution
    return _split(solution + solved_by(factors, rest[..., None])[..., 0], like)


def factored(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The factors of matrices; of those of half precision in single precision."""
    wide = torch.promote_types(matrix.dtype, torch.float32)
    factors, pivots = torch.linalg.lu_factor(matrix.to(wide))
    return factors, pivots


def solved_by(factors: tuple[Tensor, Tensor], right: Tensor) -> Tensor:
    """The solution with these factors, in the type of the right-hand sides."""
    solution: Tensor = torch.linalg.lu_solve(*factors, right.to(factors[0].dtype))
    return solution.to(right.dtype)


def largest(tensor: Tensor) -> float:
    """The largest absolute value of a tensor's entries; 0 if it has none."""
    return float(tensor.detach().abs().max()) if tensor.numel() else 0.0


def _matrix(linear: Callable[..., Arrays], like: Arrays) -> Tensor:
    """One minus the matrix of a linear map, for each sample, column by column."""
    zeros = _joined([torch.zeros_like(tensor) for tensor in like])
    size = zeros.shape[-1]
    columns = []
    for column in range(size):
        unit = zeros.clone()
        unit[:, column] = 1
        columns.append(unit - _joined(linear(*_split(unit, like))))
    return torch.stack(columns, -1)


def _joined(parts: Arrays) -> Tensor:
    return torch.cat([*parts], -1)


def _split(whole: Tensor, like: Arrays) -> tuple[Tensor, ...]:
    return torch.split(whole, [tensor.shape[-1] for tensor in like], -1)
