"""Steps that are too long for a retraction: refused before anything is changed.

A retraction may have a value for some tangent vectors alone: X + V with what is normal at X leads
back to a sphere for ``|V| < 1``.  A generated module with such a retraction has ``reach``: the
condition for the vector of the step, from the arrays of the step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import ModuleType

import torch

from hamilforge.runtime.optimizers.clock import NEUTRAL, Clock
from hamilforge.runtime.optimizers.manifolds import are_positive
from hamilforge.runtime.optimizers.stacks import alike

Tensors = list[torch.Tensor]
#: How often the interval in which the largest learning rate lies is halved.
_HALVINGS = 40
RATE = "lr"


class StepTooLong(ValueError):
    """A step that is too long for its retraction."""


def refuse_far(
    product: ModuleType,
    arrays: Sequence[Tensors],
    clock: Clock,
    names: Callable[[int], str],
    again: Callable[[float], Clock] | None,
    rate: float,
) -> None:
    """Refuse a step that is too long for the retraction.

    Args:
        product: a generated module.
        arrays: points, arrays of the state, gradients: of parameters with one clock.
        clock: with the scalars of the step.
        names: what a parameter is called, by its number.
        again: the clock at another learning rate; None where there is none.
        rate: the learning rate.

    Raises:
        StepTooLong: the condition does not hold for one of them; says the largest learning rate for
            which it would, if it holds at 0.
    """
    far = [k for k, holds in enumerate(_within(product, arrays, clock)) if not holds]
    if not far:
        return
    message = (
        f"the step of {names(far[0])} is too long: {product.REACH} does not hold for the vector V "
        "of the step"
    )
    if again is not None:
        own = [[tensors[k] for k in far] for tensors in arrays]
        largest = _largest(lambda lr: all(_within(product, own, again(lr))), rate)
        told = _rounded_down(largest)
        message += f"; it does up to {RATE} = {told:.6g}" if largest else ", whatever the lr"
        message += f", and {RATE} = {rate:.4g}" if largest else ""
    raise StepTooLong(f"{message}; nothing was changed")


def _largest(holds: Callable[[float], bool], rate: float) -> float:
    """The largest learning rate up to one that does not hold; 0 where none does.

    What a condition is at a rate is looked at on the way of bisection alone.
    """
    low, high = 0.0, rate
    if not holds(low):
        return 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _rounded_down(rate: float) -> float:
    """A rate with four digits, not above it."""
    if not rate:
        return rate
    unit = 10.0 ** (math.floor(math.log10(rate)) - 3)
    return math.floor(rate / unit * (1 - 1e-12)) * unit


def _within(product: ModuleType, arrays: Sequence[Tensors], clock: Clock) -> list[bool]:
    """Whether the condition holds, for each parameter, or an array of it is not finite.

    What is not finite is not too long: it makes its matrix so, as in other optimizers.

    Args:
        product: a generated module.
        arrays: points, arrays of the state, gradients.
        clock: with the scalars of the step.
    """
    sign, l2, shrink, *_ = clock.row()
    points, *states, gradients = ([tensor.detach() for tensor in tensors] for tensors in arrays)
    if (sign, l2, shrink) != NEUTRAL:
        points, gradients = product.prepared(points, gradients, sign, l2, shrink)
    row = [float(value) for value in clock.rows[clock.stage]]
    values = product.reach(points, *states, gradients, *row)
    within = [True] * len(points)
    for tensors in values:
        for members in alike(tensors):
            stack = torch.stack([tensors[k] for k in members])
            for k, holds in zip(members, are_positive(stack, product.REACH_DEFINITE), strict=True):
                within[k] = within[k] and holds
    return [
        holds or not all(bool(tensors[k].isfinite().all()) for tensors in arrays)
        for k, holds in enumerate(within)
    ]
