"""Rules that read the loss: Polyak's step, by a closure's value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hamilforge as hf
from tests.samples import compiled

#: What a kernel computes is seen as well by its text as Python, but where it is said.
pytestmark = pytest.mark.usefixtures("kernels")

POLYAK = """
kind = "optimizer"
name = "polyak_step"
title = "Polyak's step size for stochastic gradients"
reference = "N. Loizou, S. Vaswani, I. Laradji and S. Lacoste-Julien, arXiv:2002.10542"
unknowns = ["theta", "m"]
assign = [
    "m = beta*m + min(J/(c*sum(grad(theta)**2)), lr)*grad(theta)",
    "theta = theta - m",
]
[hyperparameters]
lr = { default = 0.3, domain = "nonnegative", doc = "the largest step" }
c = { default = 0.7, domain = "positive", doc = "by which steps are shorter" }
beta = { default = 0.5, domain = "unit-interval", doc = "memory" }
[reduce]
scope = "all"
[claims]
first_steps = [
    "-g1*min(lr, J1/(c*g1**2))",
    "-beta*g1*min(lr, J1/(c*g1**2)) - g2*min(lr, J2/(c*g2**2))",
]
"""
FORMS = ({}, {"foreach": True}, {"fused": False, "foreach": False})
START = ([0.7, -1.3, 2.0], [[0.4], [1.1]])


def loss(params: list[Any]) -> Any:
    return sum((k + 1) * (param**2).sum() + (param**4).sum() / 4 for k, param in enumerate(params))


def by_hand(count: int) -> list[Any]:
    points = [np.array(x) for x in START]
    m = [np.zeros_like(x) for x in points]
    for _ in range(count):
        slopes = [2 * (k + 1) * x + x**3 for k, x in enumerate(points)]
        value = float(loss(points))
        rate = min(value / (0.7 * sum((slope**2).sum() for slope in slopes)), 0.3)
        m = [0.5 * a + rate * slope for a, slope in zip(m, slopes, strict=True)]
        points = [x - a for x, a in zip(points, m, strict=True)]
    return points


@pytest.fixture
def rule(tmp_path: Path) -> Path:
    path = tmp_path / "polyak_step.toml"
    path.write_text(POLYAK)
    return path


def closed(optimizer: Any, params: list[Any]) -> Any:
    def closure() -> Any:
        optimizer.zero_grad()
        value = loss(params)
        value.backward()
        return value

    return closure


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_the_step_follows_the_loss(rule: Path, options: dict[str, Any]) -> None:
    params = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in START]
    optimizer = hf.optimizer(rule)(params, **options)
    for _ in range(20):
        optimizer.step(closed(optimizer, params))
    for param, wanted in zip(params, by_hand(20), strict=True):
        assert param.detach().numpy() == pytest.approx(wanted, rel=1e-12, abs=1e-14)


def test_without_a_closure_nothing_is_done(rule: Path) -> None:
    params = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in START]
    optimizer = hf.optimizer(rule)(params)
    loss(params).backward()
    before = [param.detach().clone() for param in params]
    with pytest.raises(ValueError, match="the rule reads the loss"):
        optimizer.step()
    assert all((a == b).all() for a, b in zip(before, params, strict=True))


def test_minimize_hands_the_value_over(rule: Path) -> None:
    points = [np.array(x).ravel() for x in START]
    first = np.concatenate(points)
    weights = np.concatenate([np.full(x.size, k + 1.0) for k, x in enumerate(points)])
    found = hf.minimize(
        lambda x: float((weights * x**2 + x**4 / 4).sum()),
        first,
        jac=lambda x: 2 * weights * x + x**3,
        method=rule,
        options={"maxiter": 20, "gtol": 0.0},
    )
    wanted = np.concatenate([x.ravel() for x in by_hand(20)])
    assert found.x == pytest.approx(wanted, rel=1e-12, abs=1e-14)


@compiled
def test_it_is_verified_and_its_first_steps_are_proved(rule: Path) -> None:
    verification = hf.verify(rule)
    assert verification.holds, str(verification)
    report = hf.check(rule)
    assert report.holds
    assert report["spectrum"] is None
    assert report.finding("spectrum").why == "the step reads the loss"


def test_the_loss_is_that_of_one_gradient(rule: Path) -> None:
    rule.write_text(
        POLYAK.replace('"theta = theta - m"', '"theta = theta - m - lr*grad(theta - m)"')
    )
    with pytest.raises(hf.DeclarationError, match="reads the loss J takes one gradient"):
        hf.check(rule)


def test_a_hyper_parameter_may_have_the_name(rule: Path) -> None:
    rule.write_text(
        POLYAK.split("[claims]")[0].replace("[reduce]", "J = { default = 2 }\n[reduce]")
    )
    params = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in START]
    optimizer = hf.optimizer(rule)(params)
    loss(params).backward()
    optimizer.step()
    assert optimizer.product.LOSS is False
