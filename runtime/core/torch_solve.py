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
    epsilon = torch.finfo(solution.dtype).eps
    factors, before = None, float("inf")
    # near a rest point right-hand sides are no more exact than the states are over a step
    reach = max(map(largest, like)) / abs(float(h))
    for _ in range(ITERATIONS):
        parts = _split(solution, like)
        change = _joined(stages(*parts)) - solution
        if factors is None or not largest(change) <= CONTRACTION * before:
            matrix = _matrix(lambda *v, at=parts: slopes(*at, *v), like)
            factors = torch.linalg.lu_factor(matrix)
        before = largest(change)
        step = torch.linalg.lu_solve(*factors, change[..., None])[..., 0]
        solution = solution + step
        size, scale = largest(step), largest(solution) + reach
        if size <= 4 * epsilon * scale:
            return _split(solution, like)
        if not size < float("inf"):
            break
    else:
        # rounding keeps a right-hand side with kinks from coming closer
        if size <= 1e3 * epsilon * scale:
            return _split(solution, like)
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

    factors = torch.linalg.lu_factor(_matrix(linear, like))
    solution = torch.linalg.lu_solve(*factors, offset[..., None])[..., 0]
    rest = _joined(stages(*_split(solution, like))) - solution
    return _split(solution + torch.linalg.lu_solve(*factors, rest[..., None])[..., 0], like)


def largest(tensor: Tensor) -> float:
    """The largest absolute value of a tensor's entries; 0 if it has none."""
    return float(tensor.abs().max()) if tensor.numel() else 0.0


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
