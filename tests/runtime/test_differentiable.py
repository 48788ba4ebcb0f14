"""Derivatives through steps, against finite differences."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
import torch

from hamilforge.runtime.core.loader import load
from tests.optimizers import ELEMENTWISE

from .loops import rate_of
from .training import first, optimizer_class

#: A tensor whose graph is cut by reading it is an error here: nothing does that unasked.
pytestmark = [
    pytest.mark.filterwarnings("error:Converting a tensor with requires_grad=True"),
    pytest.mark.usefixtures("each_warning"),
]
COUNT = 3
LR = 0.05
MATRIX = torch.tensor([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]], dtype=torch.float64)
START = torch.tensor([0.7, -0.4, 1.1], dtype=torch.float64)


def trained(method: Any, x: torch.Tensor, **hyper: Any) -> torch.Tensor:
    """The points after some steps with gradients S x + x^3, as a function of start and settings."""
    param = x.clone()
    optimizer = method([param], differentiable=True, **hyper)
    for _ in range(COUNT * len(method.STAGES)):
        here = param.clone()
        param.grad = MATRIX @ here + here**3
        optimizer.step()
    return param


def test_the_derivative_by_the_start_is_that_of_the_path(method: Any) -> None:
    start = START.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: trained(method, x, lr=LR), start)


def test_the_derivative_by_the_learning_rate_is_that_of_the_path(method: Any) -> None:
    start = START.clone().requires_grad_()
    lr = torch.tensor(LR, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, h: trained(method, x, lr=h), (start, lr))


def test_the_derivative_by_each_hyper_parameter_is_that_of_the_path(method: Any) -> None:
    product = method([torch.nn.Parameter(torch.ones(1))]).product
    inner = {"unit-interval": 0.8, "open-unit-interval": 0.8}
    for name, (default, domain) in product.HYPERPARAMETERS.items():
        value = LR if name == "lr" else inner.get(domain, default)
        tensor = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        with contextlib.nullcontext(name):
            others = {} if name == "lr" else {"lr": LR}
            assert torch.autograd.gradcheck(
                lambda h, name=name, others=others: trained(method, START, **others, **{name: h}),
                tensor,
            ), name


@pytest.mark.parametrize("decoupled", [False, True], ids=["L2", "decoupled"])
def test_the_derivative_passes_through_weight_decay(decoupled: bool) -> None:
    method = optimizer_class(first(shifted=False, scope="coordinate", staged=False, timed=False))
    options = {"weight_decay": 0.4, "decoupled_weight_decay": decoupled, "maximize": True}
    start = START.clone().requires_grad_()
    lr = torch.tensor(LR, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, h: trained(method, x, lr=h, **options), (start, lr))


def test_a_differentiable_step_is_the_step(method: Any) -> None:
    param = torch.nn.Parameter(START.clone())
    optimizer = method([param], lr=LR)
    for _ in range(COUNT * len(method.STAGES)):
        param.grad = (MATRIX @ param + param**3).detach()
        optimizer.step()
    found = trained(method, START.clone().requires_grad_(), lr=LR)
    assert torch.allclose(found.detach(), param.detach(), rtol=1e-13, atol=1e-14)


def test_a_group_made_differentiable_between_steps_is_heard() -> None:
    method = optimizer_class(first(shifted=False, scope="coordinate", staged=False, timed=False))
    start = START.clone().requires_grad_()
    param = (1.0 * start).requires_grad_()
    param.retain_grad()
    optimizer = method([param], lr=LR, differentiable=False)
    with torch.no_grad():
        param.grad = MATRIX @ param.clone()
    optimizer.step()
    optimizer.param_groups[0]["differentiable"] = True
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    param.grad = scale * (MATRIX @ param.detach())
    optimizer.step()
    (slope,) = torch.autograd.grad(param.sum(), scale)
    assert slope != 0


def test_hyper_parameters_of_a_differentiable_step_are_checked_too() -> None:
    method = optimizer_class(first(shifted=False, scope="coordinate", staged=False, timed=False))
    param = START.clone().requires_grad_() * 1
    optimizer = method([param], lr=LR, differentiable=True)
    optimizer.param_groups[0]["lr"] = -1.0
    param.grad = torch.ones_like(param)
    with pytest.raises(ValueError, match=r"lr = -1.0 is outside \[0, inf\)"):
        optimizer.step()


@pytest.mark.parametrize("decoupled", [False, True], ids=["L2", "decoupled"])
def test_the_derivative_by_weight_decay_passes_through_several_steps(
    method: Any, decoupled: bool
) -> None:
    start = START.clone().requires_grad_()
    decay = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, w: trained(method, x, lr=LR, weight_decay=w, decoupled_weight_decay=decoupled),
        (start, decay),
    )


def test_losses_of_several_steps_are_differentiated_as_torchs_own_tests_do(method: Any) -> None:
    def last_loss(start: torch.Tensor, lr: torch.Tensor) -> torch.Tensor:
        param = start.clone()
        optimizer = method([param], lr=lr, differentiable=True)
        for _ in range(2 * len(method.STAGES)):
            loss = (param.sum() - 2.0) ** 2
            loss.backward(inputs=(param,), create_graph=True)
            optimizer.step()
            optimizer.zero_grad()
        return loss

    start = START.clone().requires_grad_()
    lr = torch.tensor(LR, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(last_loss, (start, lr))


def test_a_leaf_is_refused_and_nothing_is_changed(method: Any) -> None:
    param = torch.nn.Parameter(START.clone())
    optimizer = method([param], lr=LR)
    param.grad = torch.ones_like(param)
    for _ in method.STAGES:
        optimizer.step()
    before = copy.deepcopy(optimizer.state_dict()), param.detach().clone()
    optimizer.param_groups[0]["differentiable"] = True
    with pytest.raises(RuntimeError, match=r"a leaf that requires a gradient .* parameter.clone"):
        optimizer.step()
    optimizer.param_groups[0]["differentiable"] = False
    assert torch.equal(param, before[1])
    for name, array in before[0]["state"].get(0, {}).items():
        assert torch.equal(optimizer.state[param][name], array)


STARTED = [name for name in ELEMENTWISE if load(name).module("torch").STARTED]


@pytest.mark.parametrize("name", STARTED)
def test_arrays_may_start_where_the_rate_has_a_graph(name: str) -> None:
    rate = torch.tensor(LR, dtype=torch.float64, requires_grad=True)
    param = START.clone()
    optimizer = optimizer_class(name)([param], differentiable=True, **{rate_of(name): rate})
    param.grad = torch.ones_like(param)
    optimizer.step()
    for started in optimizer.product.STARTED:
        array = optimizer.state[param][started]
        assert (array.shape, array.dtype) == (param.shape, param.dtype)
