"""Optimizers on a problem: the solution and the loss after each step.

In: numba modules of optimizers, and a loss with its gradient and start.  Out: :class:`Path` s, with
a learning rate that is set, or the best of a grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.optimizers.trajectory import Trajectory, checked

if TYPE_CHECKING:
    pass

Vector = NDArray[np.float64]
#: Learning rates that are tried: 1, 2 and 5 in each decade.
RATES = tuple(digit * 10.0**power for power in range(-6, 2) for digit in (1, 2, 5))
#: The share of a run, at its end, whose largest loss tells how good it is.
TAIL = 0.1


class Loss(Protocol):
    """What is minimised: values, gradients, where to begin, and the least value if it is known."""

    start: Vector
    minimum: float | None
    minimizers: Sequence[Vector]

    def __call__(self, x: Vector, /) -> float:
        """The loss at a point."""

    def value_and_gradient(self, x: Vector, /) -> tuple[float, Vector]:
        """The loss and its gradient at a point."""


@dataclass(frozen=True, slots=True)
class Path:
    """One run of an optimizer.

    Attributes:
        name: of the optimizer.
        rate: the learning rate; None for a rule that has none.
        gradients: how many were taken until each point, `(steps + 1,)`.
        points: the solutions, `(steps + 1, n)`.
        losses: there, `(steps + 1,)`; what is not finite ends a path.
    """

    name: str
    rate: float | None
    gradients: Vector
    points: Vector
    losses: Vector

    @property
    def worst(self) -> float:
        """The largest loss at the end of the run."""
        tail = self.losses[-max(1, int(len(self.losses) * TAIL)) :]
        return float(tail.max())


def path(
    name: str,
    product: ModuleType,
    loss: Loss,
    gradients: int,
    options: Mapping[str, Any] | None = None,
) -> Path:
    """Run an optimizer from the start of a problem.

    Args:
        name: of the optimizer.
        product: its generated numba module.
        loss: the problem.
        gradients: how many to take; a step that is not whole at the end does not count.
        options: hyper-parameters; defaults for the rest.

    Returns:
        The path, as far as the loss is finite.

    Raises:
        ValueError: a hyper-parameter is no number, or outside its domain.
    """
    hyper = checked(product, options or {})
    trajectory = Trajectory(product, hyper, np.array(loss.start, np.float64))
    kept = [(0, trajectory.solution, loss(trajectory.solution))]
    for taken in range(1, gradients + 1):
        here, gradient = loss.value_and_gradient(trajectory.x)
        if not (math.isfinite(here) and np.isfinite(gradient).all()):
            break
        trajectory.step(gradient, here)
        if trajectory.stage == 0:
            solution = trajectory.solution
            value = loss(solution) if np.isfinite(solution).all() else math.inf
            if not math.isfinite(value):
                break
            kept.append((taken, solution, value))
    counts, points, losses = zip(*kept, strict=True)
    return Path(name, hyper.get("lr"), np.array(counts, float), np.array(points), np.array(losses))


def best(name: str, product: ModuleType, loss: Loss, gradients: int) -> Path:
    """The path with the learning rate, of :data:`RATES`, whose end is lowest.

    Args:
        name: of the optimizer.
        product: a generated numba module; a rule without ``lr`` runs with its defaults.
        loss: the problem.
        gradients: how many each run takes.

    Returns:
        The path; of those that stay finite, if there are any.
    """
    if "lr" not in product.HYPERPARAMETERS:
        return path(name, product, loss, gradients)
    runs: list[Path] = []
    for rate in RATES:
        try:
            runs.append(path(name, product, loss, gradients, {"lr": rate}))
        except ValueError:  # a rate outside the domain
            continue
    whole = [run for run in runs if run.gradients[-1] >= gradients * (1 - TAIL)]
    return min(whole or runs, key=lambda run: run.worst)
