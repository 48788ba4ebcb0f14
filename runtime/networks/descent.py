"""Gradient descent with backtracking, on several arrays at once.

In: arrays, a cost, and its gradient.  Out: arrays with a lower cost.  With an estimate L of the
gradient's Lipschitz constant, the trial U~ = P(U - g / L) is taken if

    J(U~) <= J(U) + <g, U~ - U> + L/2 |U~ - U|^2,

and L shrinks; else L grows (A. Beck and M. Teboulle, SIAM J. Imaging Sci. 2 (2009) 183-202).
Without a projection P this is ``J(U~) <= J(U) - c/L |g|^2`` with c = 1/2, Armijo's rule, which may
have another c.  Costs never grow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Rule:
    """How the estimate of the Lipschitz constant changes.

    Attributes:
        up, down: factors after a trial that is refused, and after one that is taken.
        trials: how many a step may take.
        armijo: Armijo's c, instead of the upper bound; no projection fits it.
        least: a bound below which the estimate does not shrink.
    """

    up: float = 1.5
    down: float = 0.99
    trials: int = 200
    armijo: float | None = None
    least: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """What a step found.

    Attributes:
        arrays: the new ones; the old ones if no trial was taken.
        cost: there.
        lipschitz: the next estimate.
        taken: whether a trial was taken.
    """

    arrays: Arrays
    cost: float
    lipschitz: float
    taken: bool


def step(
    arrays: Arrays,
    cost: float,
    gradient: Arrays,
    evaluate: Callable[[Arrays], float],
    lipschitz: float,
    rule: Rule,
    project: Callable[[Arrays], Arrays] | None = None,
) -> Step:
    """One step.

    Args:
        arrays: where the descent is.
        cost: there.
        gradient: there; arrays without one are kept.
        evaluate: the cost elsewhere.
        lipschitz: the estimate.
        rule: how it changes.
        project: onto what the arrays have to stay in; None if they may go anywhere.

    Returns:
        The first trial that was taken, with its cost and the next estimate; the old arrays and
        their cost, with the estimate as it has grown, if none was.

    Raises:
        ValueError: the cost or the gradient is not finite, or Armijo's rule has a projection.
    """
    if rule.armijo is not None and project is not None:
        raise ValueError("Armijo's rule is for steps that are not projected")
    if not np.isfinite(cost) or not all(np.isfinite(g).all() for g in gradient.values()):
        raise ValueError("the cost or its gradient is not finite")
    for _ in range(rule.trials):
        trial: Arrays = {
            name: value - gradient[name] / lipschitz if name in gradient else value
            for name, value in arrays.items()
        }
        if project is not None:
            trial = project(trial)
        moves = {name: trial[name] - arrays[name] for name in gradient}
        slope = sum(float((gradient[name] * move).sum()) for name, move in moves.items())
        square = sum(float((move * move).sum()) for move in moves.values())
        trial_cost = evaluate(trial)
        wanted = cost + slope + lipschitz / 2 * square
        if rule.armijo is not None:
            wanted = cost + rule.armijo * slope
        if trial_cost <= wanted:
            return Step(trial, trial_cost, max(lipschitz * rule.down, rule.least), True)
        lipschitz *= rule.up
    return Step(arrays, cost, lipschitz, False)
