"""Outer steps of optimizers: every form, groups, parameters without gradients, checkpoints."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hamilforge as hf
from hamilforge.gen.declare import catalogue
from hamilforge.gen.program.optimizers.interpret import Interpreter
from hamilforge.gen.program.optimizers.programs import program_of
from tests.samples import covered, sampled

from .loops import length_of, looping, product_of
from .training import optimizer_class

LOOPS = looping()
FORMS: dict[str, dict[str, Any]] = {
    "kernel": {"fused": True},
    "in place": {"foreach": True},
    "functional": {"foreach": False, "fused": False},
}
LENGTH = 3


def parameters(dtype: torch.dtype = torch.float64) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    shapes = ((5, 3), (7,), ())
    return [
        torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in shapes
    ]


def step(optimizer: Any, params: list[torch.nn.Parameter], without: tuple[int, ...] = ()) -> None:
    """A step on a loss with the gradient x + sin(x); some parameters have none."""
    for number, param in enumerate(params):
        x = param.detach()
        param.grad = None if number in without else x + torch.sin(x)
    optimizer.step()


def solved(optimizer: Any, params: list[torch.nn.Parameter]) -> list[torch.Tensor]:
    with optimizer.solution():
        return [param.detach().clone() for param in params]


@pytest.mark.parametrize(("name", "kernels"), covered(LOOPS), indirect=["kernels"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_interpretation(name: str, kernels: None, form: str) -> None:
    params = parameters()
    chosen = {length_of(name): LENGTH, "weight_decay": 0.0}
    optimizer = optimizer_class(name)(params, **chosen, **FORMS[form])
    program = program_of(catalogue.load(name))  # type: ignore[arg-type]
    hyper = {entry.name: float(entry.default) for entry in program.hyperparameters}
    hyper[length_of(name)] = LENGTH
    machine = Interpreter(program, hyper, [param.detach().numpy().copy() for param in params])
    for _ in range(3 * LENGTH + 1):
        step(optimizer, params)
        machine.step([x + np.sin(x) for x in machine.x])
        for param, x in zip(params, machine.x, strict=True):
            np.testing.assert_allclose(param.detach().numpy(), x, rtol=1e-12, atol=1e-14)
    for ours, theirs in zip(solved(optimizer, params), machine.solution(), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["eta", "lr", "stiffness"])
def test_outer_steps_keep_the_graph(name: str) -> None:
    """Two loops and the derivative of the solution by a hyper-parameter, beside differences."""
    defaults = {"eta": 0.1, "lr": 0.5, "stiffness": 0.7}

    def end(value: torch.Tensor) -> torch.Tensor:
        x = parameters()[0].detach().clone().requires_grad_() * 1
        optimizer = optimizer_class("entropy_sgd")(
            [x], **{**defaults, name: value}, L=LENGTH, temperature=1e-4, differentiable=True
        )
        for _ in range(2 * LENGTH):
            here = x.clone()  # the step changes x in place
            x.grad = here + torch.sin(here)
            optimizer.step()
        return x.sum()

    value = torch.tensor(defaults[name], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(end(value), value)
    size = 1e-6
    with torch.no_grad():
        difference = (end(value + size) - end(value - size)) / (2 * size)
    torch.testing.assert_close(slope, difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("form", FORMS)
def test_a_parameter_without_a_gradient_takes_the_outer_step(form: str) -> None:
    """It skips the inner one of that step, and its spring and mean are reset with the others."""
    params = parameters()
    optimizer = optimizer_class("entropy_sgd")(params, L=LENGTH, temperature=0.0, **FORMS[form])
    step(optimizer, params)
    step(optimizer, params)
    mean, old = (optimizer.state[params[1]][name].clone() for name in ("z", "x_state"))
    step(optimizer, params, without=(1,))
    (group,) = optimizer.param_groups
    expected = old - group["lr"] * group["stiffness"] * (old - mean)
    torch.testing.assert_close(params[1].detach(), expected)
    torch.testing.assert_close(optimizer.state[params[1]]["z"], expected)


def test_a_step_without_any_gradient_is_none_of_a_loop() -> None:
    params = parameters()
    optimizer = optimizer_class("entropy_sgd")(params, L=LENGTH)
    step(optimizer, params)
    clock = optimizer.param_groups[0]["clock"]
    step(optimizer, params, without=(0, 1, 2))
    assert optimizer.param_groups[0]["clock"] == clock


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_loops_are_counted_once_for_all_groups(groups: int) -> None:
    params = parameters()
    split = [{"params": params[number::groups]} for number in range(groups)]
    optimizer = optimizer_class("deep_relaxation")(split, L=LENGTH)
    for number in range(4 * LENGTH):
        step(optimizer, params, without=(2,) if number % 2 else ())
    clock = optimizer.param_groups[-1]["clock"]
    memory = dict(zip(optimizer.product.MEMORY, clock.memory, strict=True))
    assert memory["last_loops"] == 4
    assert memory["last_gamma_k"] == pytest.approx((1 - 1e-3) ** 3)


def test_groups_have_schedules_of_their_own_and_one_length() -> None:
    first, second, *_ = parameters()
    groups = [{"params": [first], "gamma": 2.0}, {"params": [second], "gamma": 1.0}]
    optimizer = optimizer_class("deep_relaxation")(groups, L=LENGTH)
    step(optimizer, [first, second])
    place = optimizer.product.MEMORY.index("last_gamma_k")
    assert [group["clock"].memory[place] for group in optimizer.param_groups] == [2.0, 1.0]
    groups[1]["L"] = 1
    optimizer = optimizer_class("deep_relaxation")(groups, L=LENGTH)
    before = [first.detach().clone(), second.detach().clone()]
    with pytest.raises(ValueError, match="is one for all groups"):
        step(optimizer, [first, second])
    torch.testing.assert_close([first.detach(), second.detach()], before, rtol=0, atol=0)


def test_a_group_joins_the_loop() -> None:
    first, second, third = parameters()
    optimizer = optimizer_class("deep_relaxation")([first, second], L=LENGTH)
    for number in range(2 * LENGTH + 1):
        if number == 1:
            optimizer.add_param_group({"params": [third]})
        step(optimizer, [first, second, third])
    clocks = {group["clock"] for group in optimizer.param_groups}
    assert len(clocks) == 1


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in LOOPS
        if "lr" in product_of(name).HYPERPARAMETERS and not product_of(name).DECOUPLED
    ],
)
def test_decay_by_another_step_than_the_inner_one_is_refused(name: str) -> None:
    """Decoupled decay multiplies by 1 - lr*weight_decay, and lr is that of the outer step."""
    with pytest.raises(ValueError, match="lr is not the size of these"):
        optimizer_class(name)(parameters(), weight_decay=0.1, decoupled_weight_decay=True)


@pytest.mark.parametrize(("name", "kernels"), covered(LOOPS), indirect=["kernels"])
@pytest.mark.parametrize("stop", [1, LENGTH, LENGTH + 2])
def test_a_run_goes_on_bit_for_bit(name: str, kernels: None, stop: int) -> None:
    params = parameters()
    optimizer = optimizer_class(name)(params, **{length_of(name): LENGTH})
    for _ in range(stop):
        step(optimizer, params)
    buffer = io.BytesIO()
    torch.save((params, optimizer.state_dict()), buffer)
    buffer.seek(0)
    others, state = torch.load(buffer, weights_only=False)
    resumed = optimizer_class(name)(others, **{length_of(name): LENGTH})
    resumed.load_state_dict(state)
    copied = copy.deepcopy(optimizer)
    copies = copied.param_groups[0]["params"]
    for _ in range(2 * LENGTH):
        step(optimizer, params)
        step(resumed, others)
        step(copied, copies)
    for ours, theirs, copy_of in zip(params, others, copies, strict=True):
        assert torch.equal(ours, theirs)
        assert torch.equal(ours, copy_of)


@pytest.mark.parametrize("value", [0, 2.5, -1, float("nan"), float("inf"), "many"])
def test_a_count_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="L = "):
        optimizer_class("entropy_sgd")(parameters(), L=value)


def test_what_a_rule_requires_of_its_loop_is_required() -> None:
    """At the start, and where a value changes."""
    params = parameters()
    with pytest.raises(ValueError, match="less than twice floor"):
        optimizer_class("deep_relaxation")(params, eta=0.3, floor=0.1)
    optimizer = optimizer_class("deep_relaxation")(params)
    optimizer.param_groups[0]["eta"] = 0.3
    with pytest.raises(ValueError, match="less than twice floor"):
        step(optimizer, params)


def test_a_learning_rate_in_the_middle_is_that_of_each_step() -> None:
    """Schedulers of torch count steps inside; the spring stays as the loop began."""
    params = parameters()
    optimizer = optimizer_class("entropy_sgd")(params, L=4)
    program = program_of(catalogue.load("entropy_sgd"))  # type: ignore[arg-type]
    hyper = {entry.name: float(entry.default) for entry in program.hyperparameters}
    machine = Interpreter(
        program, {**hyper, "L": 4}, [param.detach().numpy().copy() for param in params]
    )
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    for number in range(9):
        optimizer.param_groups[0]["stiffness"] = 0.1 + number
        machine.hyper.update(lr=5 * 0.5**number, stiffness=0.1 + number)
        step(optimizer, params)
        machine.step([x + np.sin(x) for x in machine.x])
        scheduler.step()
    for param, x in zip(params, machine.x, strict=True):
        np.testing.assert_allclose(param.detach().numpy(), x, rtol=1e-12, atol=1e-14)


def test_old_gradients_are_not_taken_again() -> None:
    """A parameter of heat that has no gradient any more stays where it is."""
    params = parameters()
    optimizer = optimizer_class("heat")(params, L=2, gamma=0.0)
    for _ in range(2):
        step(optimizer, params)
    before = params[1].detach().clone()
    for _ in range(4):
        step(optimizer, params, without=(1,))
    assert torch.equal(params[1].detach(), before)


TWO_GRADIENTS = """
kind = "optimizer"
name = "mine"
title = "-"
reference = "-"
unknowns = ["y", "x"]
assign = ["m = y - lr*grad(y)", "y = y - lr*grad(m)"]
solution = "x"
[start]
x = "y"
[outer]
every = "L"
assign = ["x = x + (y - x)/2", "y = x"]
[hyperparameters]
lr = { default = 0.1, domain = "nonnegative" }
L = { default = 3, domain = "count" }
"""


@pytest.mark.parametrize("stop", [1, 3, 5, 6, 7])
def test_a_step_of_two_gradients_goes_on_within_itself(stop: int, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TWO_GRADIENTS)
    rule, params = hf.optimizer(path), parameters()
    optimizer = rule(params, L=LENGTH)
    for _ in range(stop):
        step(optimizer, params)
    others = [torch.nn.Parameter(param.detach().clone()) for param in params]
    resumed = rule(others, L=LENGTH)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(8):
        step(optimizer, params)
        step(resumed, others)
        for ours, theirs in zip(params, others, strict=True):
            assert torch.equal(ours, theirs)


def test_arrays_have_the_names_that_they_had() -> None:
    """States of bregman were saved with ``x_`` for ``x_state``."""
    params = parameters()
    optimizer = optimizer_class("bregman")(params)
    step(optimizer, params)
    state = copy.deepcopy(optimizer.state_dict())
    for own in state["state"].values():
        own["x_"] = own.pop("x_state")
    (group,) = state["param_groups"]
    group["rule"] = group["rule"].replace("x_state", "x_")
    resumed = optimizer_class("bregman")(params)
    resumed.load_state_dict(state)
    for param in params:
        assert torch.equal(resumed.state[param]["x_state"], optimizer.state[param]["x_state"])


def test_groups_stand_at_one_place_of_the_loop() -> None:
    first, second, *_ = parameters()
    optimizer = optimizer_class("deep_relaxation")([{"params": [first]}, {"params": [second]}])
    step(optimizer, [first, second])
    state = copy.deepcopy(optimizer.state_dict())
    step(optimizer, [first, second])
    state["param_groups"][1] = optimizer.state_dict()["param_groups"][1]
    with pytest.raises(ValueError, match="different places of their loops"):
        optimizer.load_state_dict(state)


@pytest.mark.parametrize("name", sampled(LOOPS, every=2))  # compiled: three thousand steps
def test_minimize_takes_them(name: str) -> None:
    found = hf.minimize(
        lambda x: float((x - 1) @ (x - 1)),
        np.zeros(3),
        jac=lambda x: 2 * (x - 1),
        method=name,
        options={"maxiter": 3000, length_of(name): 10},
    )
    assert found.fun < 1e-3  # from 3: noise of points keeps some from coming nearer
