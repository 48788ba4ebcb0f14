"""Schedules of the learning rate on manifolds: the momentum stays what it is."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

import hamilforge as hf
from hamilforge.gen.declare import catalogue, kinds
from hamilforge.runtime.core import loader
from tests.samples import sampled

#: Those of a Hamiltonian: V is a momentum times a unit.
NAMES = [
    name
    for name in catalogue.names("optimizer")
    if isinstance(catalogue.load(name, ("optimizer",)), kinds.ManifoldOptimizer)
]
GAMMA = 0.7
MATRIX = torch.tensor(
    [[2.0, 0.5, 0.1, 0.0], [0.5, -1.0, 0.3, 0.2], [0.1, 0.3, 0.7, -0.4], [0.0, 0.2, -0.4, 1.5]],
    dtype=torch.float64,
)


def start(name: str) -> torch.nn.Parameter:
    module = loader.load(name).module("torch")
    square = module.SHAPE[0] == module.SHAPE[1]
    shape = (4,) if module.VECTORS else (4, 4 if square else 2)
    generator = torch.Generator().manual_seed(1)
    maps = hf.manifold(module.MANIFOLD)
    return torch.nn.Parameter(maps.random(*shape, generator=generator, dtype=torch.float64))


def loss(x: torch.Tensor) -> torch.Tensor:
    columns = x.reshape(4, -1)
    weights = 1.0 / torch.arange(1, columns.shape[1] + 1, dtype=torch.float64)
    return ((MATRIX @ columns) * columns * weights).sum() + columns[0, 0]


def made(name: str, x: torch.nn.Parameter) -> Any:
    return hf.optimizer(name)([x])


def step(optimizer: Any, x: torch.nn.Parameter, h: float, gamma: float = GAMMA) -> None:
    """A step of the length h in time, with the friction gamma: both in the names of the group."""
    (group,) = optimizer.param_groups
    if "momentum" in group:  # h = sqrt(lr), gamma = -log(momentum)/h
        group["lr"], group["momentum"] = h * h, min(math.exp(-gamma * h), 1 - 2**-53)
    else:
        group["lr"], group["friction"] = h, gamma
    optimizer.zero_grad()
    loss(x).backward()
    optimizer.step()


def end(name: str, steps: Iterable[float]) -> np.ndarray:
    """The solution after steps of these lengths."""
    x = start(name)
    optimizer = made(name, x)
    for h in steps:
        step(optimizer, x, h)
    with optimizer.solution():
        return x.detach().numpy().copy()


def changing(count: int) -> Sequence[float]:
    """A schedule over the time 1.5, first long steps and then short ones."""
    shares = np.where(np.arange(count) < count // 3, 3.0, 1.0)
    return [*map(float, 1.5 * shares / shares.sum())]


def test_there_are_some() -> None:
    assert len(NAMES) >= 8


@pytest.mark.parametrize("name", sampled(NAMES, every=3))
def test_a_schedule_leads_where_equal_steps_lead(name: str) -> None:
    """In equal time; with a momentum that changed by the schedule, steps of no length would."""
    reference = end(name, [1.5 / 1000] * 1000)
    errors = [abs(end(name, changing(count)) - reference).max() for count in (60, 240)]
    assert errors[1] <= 0.4 * errors[0]
    assert errors[1] <= 0.02


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_steps_of_no_length_keep_the_momentum(name: str, fused: bool) -> None:
    """A rate of 0 changes nothing, also from the first step on, and again and again."""
    x, y = start(name), start(name)
    moving, resting = made(name, x), made(name, y)
    for optimizer in (moving, resting):
        optimizer.param_groups[0]["fused"] = None if fused else False
        optimizer.param_groups[0]["foreach"] = None if fused else False
    step(resting, y, 0.0)
    for number in range(12):
        h = 0.05 if number < 6 else 0.1
        step(moving, x, h)
        step(resting, y, h)
        for _ in range(3):
            step(resting, y, 0.0)
        assert torch.equal(x, y)
    with moving.solution(), resting.solution():
        assert torch.equal(x, y)
    assert abs(x - start(name)).max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_a_state_in_the_middle_of_a_schedule_goes_on(name: str) -> None:
    lengths = [0.05, 0.1, 0.0, 0.02, 0.2]
    x = start(name)
    optimizer = made(name, x)
    for h in lengths[:3]:
        step(optimizer, x, h)
    y = torch.nn.Parameter(x.detach().clone())
    other = made(name, y)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for h in lengths[3:]:
        step(optimizer, x, h)
        step(other, y, h)
    assert torch.equal(x, y)


def test_friction_acts_in_short_steps_too() -> None:
    """A velocity fades by exp(-gamma t), however the time is divided.

    The friction of the second half of a step is left for the step after it.
    """
    x = torch.nn.Parameter(torch.eye(4, 1, dtype=torch.float64))
    optimizer = hf.optimizer("mec")([x], lr=0.1, friction=1.0)
    x.grad = torch.eye(4, dtype=torch.float64)[:, 1:2].clone()
    optimizer.step()
    x.grad = torch.zeros_like(x)
    (state,) = optimizer.state.values()
    before = float(state["V"].norm()) / 0.1
    for number in range(200):
        optimizer.param_groups[0]["lr"] = 0.01 if number % 2 else 0.005
        optimizer.step()
    after = float(state["V"].norm()) / 0.01
    assert after / before == pytest.approx(math.exp(-(0.05 + 1.5 - 0.005)), rel=1e-10)
