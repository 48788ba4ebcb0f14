"""From the point of the gradient to the solution, and back."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from .problems import rosenbrock_gradient, start
from .training import feed, first, flat, optimizer_class, parameters, stages, steps

LR = 1e-4
SHIFTED = {"shifted": True, "scope": "coordinate", "staged": False, "timed": False}


def test_the_point_returns_bit_for_bit(method: Any) -> None:
    params = parameters(start())
    optimizer = method(params, lr=LR)
    steps(optimizer, params, rosenbrock_gradient, 4)
    point = flat(params)
    with optimizer.solution():
        inside = flat(params)
    assert (flat(params) == point).all()
    assert (inside == point).all() != optimizer.product.SHIFTED


def test_the_point_returns_after_an_exception(method: Any) -> None:
    params = parameters(start())
    optimizer = method(params, lr=LR)
    steps(optimizer, params, rosenbrock_gradient, 2)
    point = flat(params)

    def evaluate() -> None:
        with optimizer.solution():
            raise KeyError("evaluation")

    with pytest.raises(KeyError, match="evaluation"):
        evaluate()
    assert (flat(params) == point).all()
    steps(optimizer, params, rosenbrock_gradient, 1)


def test_a_look_at_the_solution_does_not_disturb_training(method: Any) -> None:
    found = []
    for looking in (True, False):
        params = parameters(start())
        optimizer = method(params, lr=LR)
        for _ in range(5):
            steps(optimizer, params, rosenbrock_gradient, 1)
            if looking:
                optimizer.eval()
                optimizer.eval()
                optimizer.train()
                optimizer.train()
        found.append(flat(params))
    assert (found[0] == found[1]).all()


def test_before_the_first_step_the_start_is_the_solution(method: Any) -> None:
    params = parameters(start())
    optimizer = method(params, lr=LR)
    with optimizer.solution():
        assert (flat(params) == start()).all()
    assert (flat(params) == start()).all()


def test_no_step_starts_at_the_solution(method: Any) -> None:
    params = parameters(start())
    optimizer = method(params, lr=LR)
    steps(optimizer, params, rosenbrock_gradient, 1)
    feed(params, rosenbrock_gradient)
    point = flat(params)
    with optimizer.solution(), pytest.raises(RuntimeError, match=r"call train\(\) before step"):
        optimizer.step()
    assert (flat(params) == point).all()


def test_between_the_stages_of_a_step_there_is_no_solution() -> None:
    name = first(shifted=True, scope="coordinate", staged=True, timed=False)
    params = parameters(start())
    optimizer = optimizer_class(name)(params, lr=LR)
    for stage in range(1, len(optimizer.STAGES)):
        stages(optimizer, params, rosenbrock_gradient, 1)
        assert optimizer.param_groups[0]["clock"].stage == stage
        with pytest.raises(RuntimeError, match="is not finished, so there is no solution yet"):
            optimizer.eval()
    stages(optimizer, params, rosenbrock_gradient, 1)
    optimizer.eval()


def test_hyper_parameters_are_those_of_the_first_stage() -> None:
    name = first(shifted=True, scope="coordinate", staged=True, timed=False)
    found = []
    for changed in (True, False):
        params = parameters(start())
        optimizer = optimizer_class(name)(params, lr=LR)
        stages(optimizer, params, rosenbrock_gradient, 1)
        if changed:
            optimizer.param_groups[0].update(lr=10 * LR, momentum=0.5)
        stages(optimizer, params, rosenbrock_gradient, len(optimizer.STAGES) - 1)
        found.append(flat(params))
    assert (found[0] == found[1]).all()


def test_weight_decay_is_that_of_the_first_stage() -> None:
    name = first(shifted=True, scope="coordinate", staged=True, timed=False)
    for decoupled in (False, True):
        found = []
        for changed in (True, False):
            params = parameters(start())
            options = {"weight_decay": 0.5, "decoupled_weight_decay": decoupled}
            optimizer = optimizer_class(name)(params, lr=LR, **options)
            stages(optimizer, params, rosenbrock_gradient, 1)
            if changed:
                optimizer.param_groups[0].update(lr=10 * LR, weight_decay=5.0)
            stages(optimizer, params, rosenbrock_gradient, len(optimizer.STAGES) - 1)
            found.append(flat(params))
        assert (found[0] == found[1]).all(), f"decoupled={decoupled}"


def test_the_solution_is_that_of_the_last_step_whatever_is_set_since() -> None:
    params = parameters(start())
    optimizer = optimizer_class(first(**SHIFTED))(params, lr=LR)
    steps(optimizer, params, rosenbrock_gradient, 3)
    with optimizer.solution():
        before = flat(params)
    optimizer.param_groups[0].update(lr=1.0, momentum=0.1)
    with optimizer.solution():
        assert (flat(params) == before).all()


def test_a_parameter_whose_gradient_comes_late_starts_at_rest(method: Any) -> None:
    params = parameters(start())
    optimizer = method(params, lr=LR)
    for _ in range(2 * len(method.STAGES)):
        feed(params, rosenbrock_gradient)
        params[2].grad = None
        optimizer.step()
    with optimizer.solution():
        assert (flat(params[2:]) == start()[-3:]).all()
    steps(optimizer, params, rosenbrock_gradient, 2)
    with optimizer.solution():
        assert (flat(params[2:]) != start()[-3:]).all()


def test_evaluation_keeps_gradients_and_leaves(method: Any) -> None:
    params = parameters(start())
    optimizer = method(params, lr=LR)
    steps(optimizer, params, rosenbrock_gradient, 1)
    gradients = [param.grad for param in params]
    with optimizer.solution():
        assert all(p.is_leaf and p.requires_grad for p in params)
        assert all(p.grad is g for p, g in zip(params, gradients, strict=True))
        assert torch.stack([p.square().sum() for p in params]).sum().requires_grad
