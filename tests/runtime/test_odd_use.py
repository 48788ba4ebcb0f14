"""Optimizers whose parameters come and go: lists of groups, states and stages that change."""

from __future__ import annotations

import collections
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hamilforge as hf

FORMS: tuple[dict[str, Any], ...] = ({}, {"fused": False}, {"fused": False, "foreach": False})
TORCHS = {
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "dampening": 0.5}),
}


def parameters(count: int) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.randn(3, dtype=torch.float64)) for _ in range(count)]


# --- steps of several gradients ---------------------------------------------------------------


def sam(params: list[torch.Tensor], **form: Any) -> Any:
    return hf.optimizer("sam")(params, lr=0.1, momentum=0.9, **form)


def passes(optimizer: Any, *gradients: tuple[float | None, ...]) -> None:
    """Gradients of all parameters, pass by pass."""
    for own in gradients:
        params = [param for group in optimizer.param_groups for param in group["params"]]
        for param, slope in zip(params, own, strict=True):
            param.grad = None if slope is None else torch.full_like(param, slope)
        optimizer.step()


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("begun", [False, True])
def test_without_a_first_gradient_a_parameter_rests(form: dict[str, Any], begun: bool) -> None:
    params = parameters(2)
    optimizer = sam(params, **form)
    if begun:
        passes(optimizer, *[(1.0, 1.0)] * 6)
    before = [param.detach().clone() for param in params]
    passes(optimizer, (1.0, None), (1.0, 1.0))
    assert torch.equal(params[1], before[1])
    assert not torch.equal(params[0], before[0])
    assert params[1].grad is not None  # it is the user's still
    with optimizer.solution():
        assert torch.equal(params[1], before[1])


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("begun", [False, True])
def test_without_a_later_gradient_it_is_0(form: dict[str, Any], begun: bool) -> None:
    params = parameters(2)
    others = [torch.nn.Parameter(param.detach().clone()) for param in params]
    optimizer, zeros = sam(params, **form), sam(others, **form)
    for one in (optimizer, zeros) if begun else ():
        passes(one, *[(1.0, 1.0)] * 6)
    passes(optimizer, (1.0, 1.0), (1.0, None))
    passes(zeros, (1.0, 1.0), (1.0, 0.0))
    assert params[1].grad is None
    for param, other in zip(params, others, strict=True):
        assert torch.equal(param, other)


def test_what_rests_in_a_step_is_saved_in_the_middle_of_it() -> None:
    params = parameters(2)
    optimizer = sam(params)
    passes(optimizer, *[(1.0, 1.0)] * 6, (1.0, None))
    saved = [param.detach().clone() for param in params]
    others = [torch.nn.Parameter(value.clone()) for value in saved]
    again = sam(others)
    again.load_state_dict(optimizer.state_dict())
    for one in (optimizer, again):
        passes(one, (1.0, 1.0), (0.5, 0.5), (0.5, 0.5))
    assert torch.equal(params[0], others[0])
    assert torch.equal(params[1], others[1])


def test_what_changes_between_stages() -> None:
    """A list that changes, and a state that is taken away."""
    params = parameters(3)
    optimizer = sam(params)
    passes(optimizer, *[(1.0, 1.0, 1.0)] * 4)
    before = [param.detach().clone() for param in params]
    passes(optimizer, (None, 1.0, 1.0))
    optimizer.state.pop(optimizer.param_groups[0]["params"].pop(0))  # it rested
    passes(optimizer, (1.0, 1.0))
    assert all(bool((now < then).all()) for now, then in zip(params[1:], before[1:], strict=True))
    passes(optimizer, (1.0, 1.0))
    optimizer.state.clear()  # nothing is left of the step
    halfway = params[1].detach().clone()
    passes(optimizer, (1.0, 1.0), (1.0, 1.0))
    assert torch.allclose(halfway - params[1], torch.full_like(halfway, 0.1), rtol=1e-12)


def test_a_stage_in_which_nothing_has_a_gradient_does_nothing() -> None:
    params = parameters(2)
    optimizer = sam(params)
    passes(optimizer, (1.0, 1.0))
    ahead = [param.detach().clone() for param in params]
    passes(optimizer, (None, None))
    assert all(torch.equal(*pair) for pair in zip(params, ahead, strict=True))
    passes(optimizer, (1.0, 1.0), (1.0, None))  # a whole step is whole again
    assert not any(torch.equal(*pair) for pair in zip(params, ahead, strict=True))


# --- lists and states that change -------------------------------------------------------------


def append(optimizer: torch.optim.Optimizer, params: list[torch.nn.Parameter]) -> None:
    params.append(torch.nn.Parameter(torch.ones(3, dtype=torch.float64)))
    optimizer.param_groups[0]["params"].append(params[-1])


def replace(optimizer: torch.optim.Optimizer, params: list[torch.nn.Parameter]) -> None:
    optimizer.state.pop(params[0])
    params[0] = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer.param_groups[0]["params"][0] = params[0]


def remove(optimizer: torch.optim.Optimizer, params: list[torch.nn.Parameter]) -> None:
    optimizer.state.pop(params[0])
    del optimizer.param_groups[0]["params"][0], params[0]


def remove_last(optimizer: torch.optim.Optimizer, params: list[torch.nn.Parameter]) -> None:
    optimizer.state.pop(params[-1])
    del optimizer.param_groups[0]["params"][-1], params[-1]


def forget(optimizer: torch.optim.Optimizer, params: list[torch.nn.Parameter]) -> None:
    optimizer.state = collections.defaultdict(dict)


def forget_one(optimizer: torch.optim.Optimizer, params: list[torch.nn.Parameter]) -> None:
    optimizer.state.pop(params[0])


def move(optimizer: torch.optim.Optimizer, params: list[torch.nn.Parameter]) -> None:
    param = optimizer.param_groups[0]["params"].pop(1)
    optimizer.add_param_group({"params": [param], "lr": 0.01})
    params.append(params.pop(1))


@pytest.mark.parametrize("change", [append, replace, remove, remove_last, forget, forget_one, move])
@pytest.mark.parametrize("name", TORCHS)
@pytest.mark.parametrize("copies", [False, True])
def test_clocks_stay_with_their_parameters(
    name: str,
    change: Callable[[torch.optim.Optimizer, list[torch.nn.Parameter]], None],
    copies: bool,
) -> None:
    other_class, hyper = TORCHS[name]
    params = parameters(3)
    others = [torch.nn.Parameter(param.detach().clone()) for param in params]
    optimizer = hf.optimizer(name)(params, lr=0.1, **hyper)
    expected = other_class(others, lr=0.1, **hyper)
    params, others = [*params], [*others]
    generator = torch.Generator().manual_seed(1)

    def step(count: int) -> None:
        for param, other in list(zip(params, others, strict=True))[:count]:
            param.grad = torch.randn(3, generator=generator, dtype=torch.float64)
            other.grad = param.grad.clone()
        optimizer.step()
        expected.step()
        for param, other in zip(params, others, strict=True):
            assert torch.allclose(param, other, rtol=1e-13, atol=1e-13)

    for _ in range(5):
        step(2)  # the third joins later
    for _ in range(3):
        step(3)
    change(optimizer, params)
    change(expected, others)
    if copies:  # which find the clocks as they are then
        groups = [len(group["params"]) for group in optimizer.param_groups]
        optimizer, copied = copy.deepcopy((optimizer, params))
        params[:] = copied
        assert groups == [len(group["params"]) for group in optimizer.param_groups]
    for _ in range(3):
        step(len(params))
    state = optimizer.state_dict()
    again = hf.optimizer(name)([{"params": group["params"]} for group in optimizer.param_groups])
    again.load_state_dict(state)
    optimizer = again
    step(len(params))


# --- derivatives and signs --------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["rgd", "nesterov", "schedule_free_sgd", "schedule_free_adamw", "yoshida4"]
)
def test_the_solution_is_differentiated(name: str) -> None:
    def run(lr: Any, differentiable: bool) -> Any:
        point = torch.ones(3, dtype=torch.float64)
        point = point.clone() if differentiable else torch.nn.Parameter(point)
        optimizer = hf.optimizer(name)([point], lr=lr, differentiable=differentiable)
        for _ in range(2):
            for _ in range(4 * optimizer._stages_inside):
                taken = point.clone() if differentiable else point.detach()
                point.grad = taken + 0.4 * taken**3
                optimizer.step()
            with optimizer.solution():  # on the way, and at the end
                loss = (point.clone() ** 2).sum()
        return loss

    lr = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(run(lr, True), lr)
    above, below = (run(0.05 + change, False).item() for change in (1e-6, -1e-6))
    assert float(slope) == pytest.approx((above - below) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("name", ["inna", "innaprop"])
@pytest.mark.parametrize("by", ["alpha", "beta"])
def test_a_start_that_depends_on_what_is_differentiated(name: str, by: str) -> None:
    def run(value: Any) -> torch.Tensor:
        point = torch.ones(3, dtype=torch.float64)
        optimizer = hf.optimizer(name)([point], lr=0.1, differentiable=True, **{by: value})
        for _ in range(3):
            point.grad = point.clone() + 0.4 * point.clone() ** 3
            optimizer.step()
        return (point.clone() ** 2).sum()

    value = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(run(value), value)
    above, below = (run(0.6 + change).item() for change in (1e-6, -1e-6))
    assert float(slope) == pytest.approx((above - below) / 2e-6, rel=1e-6)


POLYAK = """kind = "optimizer"
name = "polyak_step"
title = "-"
reference = "-"
unknowns = ["theta"]
assign = ["theta = theta - (J - best)/sum(grad(theta)**2)*grad(theta)"]
hyperparameters = { best = { default = 0 } }
"""


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_maximising_the_negative_is_minimising(form: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "polyak_step.toml"
    file.write_text(POLYAK)
    ends = []
    for sign in (1.0, -1.0):
        param = torch.nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
        optimizer = hf.optimizer(file)([param], maximize=sign < 0, **form)

        def closure(param: Any = param, optimizer: Any = optimizer, sign: float = sign) -> Any:
            optimizer.zero_grad()
            loss = sign * ((param**2).sum() + 0.5)
            loss.backward()
            return loss

        for _ in range(3):
            optimizer.step(closure)
        ends.append(param.detach())
    assert torch.equal(*ends)


# --- functions of few digits ------------------------------------------------------------------


@pytest.mark.parametrize("jac", [None, "2-point", "3-point"])
def test_functions_of_single_precision_are_minimised(jac: str | None) -> None:
    def loss(x: np.ndarray) -> np.float32:
        return np.float32(((x - 3) ** 2).sum())

    options = {"lr": 0.1, "maxiter": 2000}
    found = hf.minimize(loss, [10.0, -4.0], method="adam", jac=jac, options=options)
    # one-sided differences are off by half their step
    assert np.allclose(found.x, 3, atol=1e-5 if jac == "3-point" else 1e-3)


def test_a_coordinate_without_a_difference_is_looked_at_over_a_longer_one() -> None:
    def loss(x: np.ndarray) -> float:  # computed with few digits inside
        return float((x.astype(np.float32)[0] - np.float32(300)) ** 2) + (x[1] - 1) ** 2

    options = {"lr": 0.5, "maxiter": 3000}
    found = hf.minimize(loss, [100.0, 0.0], method="adam", options=options)
    assert np.allclose(found.x, [300, 1], atol=0.3)
