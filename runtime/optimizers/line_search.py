"""Armijo's rule: a rate is halved until a step lowers the loss by a part of what it promises.

A step of a gradient flow along a retraction is accepted at the rate tau where

    J(R_X(-tau grad)) <= J(X) - C tau |grad|^2,

with the norm of the metric (L. Armijo, Pacific J. Math. 16 (1966) 1-3; on manifolds P.-A. Absil, R.
Mahony and R. Sepulchre, Optimization Algorithms on Matrix Manifolds, Princeton 2008, section 4.2).
With several groups one factor stands before all their rates, and the promises add up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from hamilforge.runtime.optimizers.cohorts import LATE
from hamilforge.runtime.optimizers.manifolds import as_matrices
from hamilforge.runtime.optimizers.reach import RATE, StepTooLong

#: The part of the promise that must be kept, and how often a rate is halved.
PART, MOST = 1e-4, 40
#: Instead of any line search.
ARMIJO = "armijo"


def refuse_search(name: Any, product: Any, differentiable: bool) -> None:
    """Refuse a line search that there is not, or for which a rule is not made.

    Args:
        name: what was asked for; None for none.
        product: a generated module.
        differentiable: whether a step keeps its graph.

    Raises:
        ValueError: it is refused.
    """
    if name is None:
        return
    if name != ARMIJO:
        raise ValueError(f"line_search = {name!r}: None or {ARMIJO!r} was expected")
    if not hasattr(product, "squared_gradient"):
        raise ValueError(
            f"line_search = {name!r} is for optimizers on a manifold without a state, whose step "
            f"was proved to be one of the gradient flow of the length {RATE}, such as "
            "stiefel_descent; a rate of another name is none"
        )
    if differentiable:
        raise ValueError("a differentiable step has the rate that it is given: no line_search")


def searched(
    groups: list[dict[str, Any]],
    product_of: Callable[[dict[str, Any]], Any],
    closure: Callable[[], Any],
    step: Callable[[], Any],
) -> tuple[Any, float]:
    """A step at the largest of the rates lr, lr/2, lr/4, ... that keeps Armijo's promise.

    Args:
        groups: of the parameters that move.
        product_of: the generated module that moves a group.
        closure: clears the gradients, computes the loss and its gradients, and returns the loss.
        step: one step at the rates of the groups, with the gradients that there are.

    Returns:
        The loss before the step, and the factor before the rates; 0 where none of :data:`MOST`
        was accepted, and nothing has changed then.

    Raises:
        ValueError: there is no loss or no gradient, one is not finite, or groups differ in whether
            they maximise.
    """
    with torch.enable_grad():
        loss = closure()
    if loss is None:
        raise ValueError("the closure returned None: a line search compares losses")
    value = _number(loss)
    if not math.isfinite(value):
        raise ValueError(f"the loss is {value}: there is no step that lowers it")
    if len({bool(group["maximize"]) for group in groups}) > 1:
        raise ValueError("a line search has one loss: maximize is one for all groups")
    moved = [(g, p) for g in groups for p in g["params"] if p.grad is not None]
    if not moved:
        raise ValueError("the closure computed no gradient: loss.backward() is missing")
    points = [param.detach().clone() for _, param in moved]
    slopes = [param.grad.detach().clone() for _, param in moved]
    clocks = [(group["clock"], dict(group[LATE])) for group in groups]
    rates = [group[RATE] for group in groups]
    sign = -1.0 if any(group["maximize"] for group in groups) else 1.0
    promise = sum(
        float(group[RATE]) * float(_squared(product_of(group), point, slope))
        for (group, _), point, slope in zip(moved, points, slopes, strict=True)
    )

    if not math.isfinite(promise):
        raise ValueError("a gradient is not finite: there is no step that lowers the loss")
    if promise == 0:  # the gradient vanishes: nothing moves at any rate
        step()
        return loss, 1.0

    def restore() -> None:
        with torch.no_grad():
            for (_, param), point, slope in zip(moved, points, slopes, strict=True):
                param.copy_(point)
                param.grad = slope.clone()
        for group, (clock, late), rate in zip(groups, clocks, rates, strict=True):
            group["clock"], group[LATE], group[RATE] = clock, late, rate

    factor = 1.0
    for _ in range(MOST):
        try:
            for group, rate in zip(groups, rates, strict=True):
                group[RATE] = rate * factor
            step()
            with torch.enable_grad():
                reached = _number(closure())
        except StepTooLong:
            reached = float("nan")
        except BaseException:
            restore()
            raise
        lower = sign * value - PART * factor * promise
        if sign * reached <= lower and sign * reached < sign * value:  # more than rounding
            for group, rate in zip(groups, rates, strict=True):
                group[RATE] = rate
            return loss, factor
        restore()
        factor /= 2
    return loss, 0.0


def _number(loss: Any) -> float:
    return float(loss.detach() if isinstance(loss, torch.Tensor) else loss)


def _squared(product: Any, point: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """|grad|^2 in the metric, over all matrices of a parameter."""
    matrices = (as_matrices(product, tensor) for tensor in (point, slope))
    total: torch.Tensor = product.squared_gradient(*matrices).sum()
    return total
