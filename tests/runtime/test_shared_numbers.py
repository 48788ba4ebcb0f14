"""Kept numbers that follow from sums over several parameters: one for all of them, always."""

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

FORMS: tuple[dict[str, Any], ...] = ({}, {"foreach": True}, {"fused": False, "foreach": False})
FORM = pytest.mark.parametrize("form", FORMS, ids=str)
HEAD = 'kind = "optimizer"\ntitle = "-"\nreference = "-"\n'
#: AdaGrad with the sum of all squares, arXiv:1806.01811.
RATE = """name = "rate"
unknowns = ["theta"]
scalars = ["total"]
reduce = { scope = "all" }
assign = ["total = total + norm(grad(theta))**2", "theta = theta - lr*grad(theta)/sqrt(total)"]
hyperparameters = { lr = { default = 1.0, domain = "nonnegative", doc = "-" } }
"""
#: DoG, arXiv:2302.12022: the distance from the start over the root of the sum of squares.
DISTANCE = """name = "distance"
unknowns = ["theta", "anchor"]
scalars = ["r", "total"]
reduce = { scope = "all" }
assign = [
    "anchor = anchor",
    "r = max(r, norm(theta - anchor))",
    "total = total + norm(grad(theta))**2",
    "theta = theta - lr*r/sqrt(total + 1e-8)*grad(theta)",
]
start = { anchor = "theta", r = "reps*(1 + norm(theta))" }

[hyperparameters]
lr = { default = 1, domain = "nonnegative", doc = "-" }
reps = { default = 1e-2, domain = "nonnegative", doc = "-" }
"""


@pytest.fixture
def declared(tmp_path: Path) -> Callable[[str], Path]:
    def declare(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(HEAD + text)
        return path

    return declare


def parameters(*values: list[float]) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in values]


def step(optimizer: Any, params: list[Any], slopes: tuple[float | None, ...]) -> None:
    for param, slope in zip(params, slopes, strict=True):
        param.grad = None if slope is None else torch.full_like(param, slope)
    optimizer.step()


class Rate:
    """The same in NumPy, with one number."""

    def __init__(self, params: list[Any]) -> None:
        self.points, self.total = [param.detach().numpy().copy() for param in params], 0.0

    def step(self, slopes: tuple[float | None, ...]) -> None:
        pairs = [(p, s) for p, s in zip(self.points, slopes, strict=True) if s is not None]
        self.total += sum(slope**2 * point.size for point, slope in pairs)
        for point, slope in pairs:
            point -= slope / np.sqrt(self.total)


#: Of three parameters, the second begins late and the third, of no entries, always moves.
SLOPES = ((10.0, None, 1.0), (10.0, None, 1.0), (10.0, 1.0, 1.0), (None, 2.0, 1.0), (3.0, 1.0, 1.0))


@FORM
def test_who_rests_or_begins_late_has_the_number_of_the_others(
    declared: Callable[[str], Path], form: dict[str, Any]
) -> None:
    params = parameters([0.0, 1.0], [2.0], [])
    optimizer = hf.optimizer(declared(RATE))(params, **form)
    reference = Rate(params)
    for slopes in SLOPES:
        step(optimizer, params, slopes)
        reference.step(slopes)
        for param, point in zip(params, reference.points, strict=True):
            assert np.allclose(param.detach().numpy(), point, rtol=0, atol=1e-13)
    optimizer.state_dict()  # which all are the same in
    for param in params[:2]:
        assert torch.allclose(
            optimizer.state[param]["total"], torch.tensor(reference.total).double()
        )


@FORM
def test_a_state_keeps_one_number_and_a_group_that_is_added_has_it(
    declared: Callable[[str], Path], form: dict[str, Any]
) -> None:
    params = parameters([0.0, 1.0], [2.0], [3.0])
    method = hf.optimizer(declared(RATE))
    optimizer, reference = method(params[:2], **form), Rate(params)
    for slopes in ((1.0, 1.0, None), (4.0, None, None)):
        step(optimizer, params[:2], slopes[:2])
        reference.step(slopes)
    saved = copy.deepcopy(optimizer.state_dict())
    again = method(params[:2], **form)
    again.load_state_dict(saved)
    again.add_param_group({"params": params[2:]})
    for slopes in ((None, 2.0, None), (None, None, 1.0), (1.0, 1.0, 1.0)):
        step(again, params, slopes)
        reference.step(slopes)
    for param, point in zip(params, reference.points, strict=True):
        assert np.allclose(param.detach().numpy(), point, rtol=0, atol=1e-13)


def test_groups_have_numbers_of_their_own_where_sums_are_theirs(
    declared: Callable[[str], Path],
) -> None:
    params = parameters([0.0], [2.0], [3.0])
    groups = [{"params": params[:2]}, {"params": params[2:]}]
    optimizer = hf.optimizer(declared(RATE))(groups, scope="group")
    for slopes in ((1.0, None, 7.0), (1.0, 1.0, None), (None, 1.0, 7.0)):
        step(optimizer, params, slopes)
    optimizer.state_dict()
    totals = [float(optimizer.state[param]["total"]) for param in params]
    assert totals == [4.0, 4.0, 98.0]


@FORM
def test_a_start_has_the_sums_of_its_scope(
    declared: Callable[[str], Path], form: dict[str, Any]
) -> None:
    path = declared(DISTANCE)
    params = parameters([3.0, 0.0], [4.0])
    optimizer = hf.optimizer(path)(params, **form)
    for _ in range(30):
        for param in params:
            param.grad = param.detach().clone()
        optimizer.step()
    whole = hf.minimize(
        lambda v: v @ v / 2,
        np.array([3.0, 0.0, 4.0]),
        jac=lambda v: v,
        method=path,
        options={"maxiter": 30, "gtol": 0},
    )
    ends = torch.cat([param.detach() for param in params]).numpy()
    assert np.allclose(ends, whole.x, rtol=1e-12, atol=0)
    assert np.allclose(ends, [0.00734853, 0.0, 0.00979804], rtol=0, atol=1e-8)  # in plain NumPy


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_derivatives_go_through_a_number_that_is_taken_over(
    declared: Callable[[str], Path],
) -> None:
    method = hf.optimizer(declared(RATE))

    def ends(slope: torch.Tensor) -> torch.Tensor:
        first, second = (torch.zeros(2, dtype=torch.float64) + slope * 0 for _ in "ab")
        optimizer = method([first, second], differentiable=True)
        first.grad = slope.expand(2).clone()
        optimizer.step()
        first.grad, second.grad = None, torch.ones(2, dtype=torch.float64)
        optimizer.step()
        return second

    slope = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ends, slope)


def test_a_state_that_is_loaded_later_has_its_number(declared: Callable[[str], Path]) -> None:
    params = parameters([0.0, 1.0], [2.0])
    method = hf.optimizer(declared(RATE))
    optimizer, reference = method(params), Rate(params)
    step(optimizer, params, (3.0, 1.0))
    reference.step((3.0, 1.0))
    saved = copy.deepcopy(optimizer.state_dict())
    points = [param.detach().clone() for param in params]
    for slopes in ((None, 9.0), (5.0, None)):
        step(optimizer, params, slopes)
    with torch.no_grad():
        for param, point in zip(params, points, strict=True):
            param.copy_(point)
    optimizer.load_state_dict(saved)
    for slopes in ((None, 2.0), (1.0, None), (1.0, 1.0)):
        step(optimizer, params, slopes)
        reference.step(slopes)
    for param, point in zip(params, reference.points, strict=True):
        assert np.allclose(param.detach().numpy(), point, rtol=0, atol=1e-13)


def test_numbers_are_those_of_all_after_each_step(declared: Callable[[str], Path]) -> None:
    """Also where who moved is taken away, and where states are set anew."""
    params = parameters([0.0], [2.0])
    optimizer = hf.optimizer(declared(RATE))([{"params": [param]} for param in params])
    for slopes in ((1.0, 1.0), (None, 5.0), (None, 1.0)):
        step(optimizer, params, slopes)
        totals = {float(optimizer.state[param]["total"]) for param in params}
        assert len(totals) == 1
    assert totals == {28.0}
    del optimizer.param_groups[1]
    optimizer.state.pop(params[1])
    step(optimizer, params[:1], (6.0,))
    assert float(optimizer.state[params[0]]["total"]) == 64.0
    optimizer.state = collections.defaultdict(dict)
    optimizer.add_param_group({"params": params[1:]})
    for slopes in ((1.0, None), (1.0, None), (None, 3.0)):
        step(optimizer, params, slopes)
    assert [float(optimizer.state[param]["total"]) for param in params] == [11.0, 11.0]
