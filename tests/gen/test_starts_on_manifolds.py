"""Rules on manifolds from rest: of the order that is claimed of their steps, from the first one on.

V begins at zero, so what belongs to the step before the first is left out.
"""

from __future__ import annotations

import math

import pytest
import torch

import hamilforge as hf
from hamilforge.gen.declare import catalogue, kinds
from tests.optimizers import MATRICES

RULES = {name: catalogue.load(name, ("optimizer",)) for name in MATRICES}
FLOWS = [name for name, rule in RULES.items() if isinstance(rule, kinds.ManifoldOptimizer)]


def options(name: str, h: float) -> dict[str, float]:
    """Hyper-parameters with a step h in time and the friction 1."""
    squared = "sqrt" in dict(RULES[name].settings)["h"].text
    own = {entry.name for entry in RULES[name].hyperparameters}
    friction = {"momentum": math.exp(-h)} if "momentum" in own else {"friction": 1.0}
    return {"lr": h * h if squared else h, **friction}


def end(name: str, steps: int) -> torch.Tensor:
    """The solution at time 1 of a linear and a quadratic part."""
    torch.manual_seed(0)
    vectors = RULES[name].is_vector
    square = len({*RULES[name].shape}) == 1
    shape = (5,) if vectors else (5, 5) if square else (5, 2)
    point = torch.nn.Parameter(torch.randn(shape, dtype=torch.float64))
    hf.project_(point, RULES[name].manifold.head.name)
    pull = torch.randn(shape, dtype=torch.float64)
    sizes = torch.arange(1.0, 6.0, dtype=torch.float64).reshape(-1, *[1] * (point.ndim - 1))
    optimizer = hf.optimizer(name)([point], fused=False, **options(name, 1 / steps))
    for _ in range(steps):
        point.grad = pull + sizes * point.detach()
        optimizer.step()
    with optimizer.solution():
        return point.detach().clone()


@pytest.mark.parametrize("name", FLOWS)
def test_the_order_from_rest_is_that_of_the_steps(name: str) -> None:
    order = hf.check(name)["order"]
    coarse, middle, fine = (end(name, steps) for steps in (40, 80, 160))
    slope = math.log2(float((coarse - middle).norm() / (middle - fine).norm()))
    assert slope == pytest.approx(order, abs=0.15)
