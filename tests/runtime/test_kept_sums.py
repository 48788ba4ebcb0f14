"""Scalars that are kept and follow from sums: one number for each scope, step after step."""

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

FORMS = ({}, {"foreach": True}, {"fused": False, "foreach": False})
NOVOGRAD = """
kind = "optimizer"
name = "novograd"
title = "A second moment for each tensor"
reference = "B. Ginsburg et al., arXiv:1905.11286"
unknowns = ["theta", "m"]
scalars = ["v"]
assign = [
    "of_norm = sum(grad(theta)**2)",
    "v = where(n == 1, of_norm, beta2*v + (1 - beta2)*of_norm)",
    "m = beta1*m + grad(theta)/(sqrt(v) + eps)",
    "theta = theta - lr*m",
]
[hyperparameters]
lr = { default = 0.01, domain = "nonnegative" }
betas = { default = [0.95, 0.98], domain = "unit-interval", names = ["beta1", "beta2"] }
eps = { default = 1e-8, domain = "nonnegative" }
[reduce]
scope = "SCOPE"
"""
#: The last norm is kept; the first step has the declared one.
LAST = """
kind = "optimizer"
name = "last_norm"
title = "Steps that the norm before limits"
reference = "-"
unknowns = ["theta"]
scalars = ["last"]
assign = [
    "now = norm(grad(theta))",
    "theta = theta - lr*grad(theta)/max(1, now/(2*last))",
    "last = now",
]
[start]
last = 0.25
[hyperparameters]
lr = { default = 0.1, domain = "nonnegative" }
[reduce]
scope = "group"
"""
SHAPES = ((5, 3), (4,), ())


def gradient(points: list[Any], step: int) -> list[Any]:
    """Slopes of a smooth loss, with a wave that the steps bring."""
    return [
        np.sin(2 * x) + (0.1 + k) * x + 0.3 * np.cos(step + np.arange(x.size)).reshape(x.shape)
        for k, x in enumerate(points)
    ]


def start() -> list[Any]:
    generator = np.random.default_rng(11)
    return [np.asarray(generator.standard_normal(shape)) for shape in SHAPES]


def ours(path: Path, count: int, options: dict[str, Any]) -> list[Any]:
    params = [torch.tensor(x, requires_grad=True) for x in start()]
    optimizer = hf.optimizer(path)(params, **options)
    for step in range(count):
        slopes = gradient([param.detach().numpy() for param in params], step)
        for param, slope in zip(params, slopes, strict=True):
            param.grad = torch.tensor(slope)
        optimizer.step()
    return [param.detach().numpy() for param in params]


def novograd(count: int, scope: str) -> list[Any]:
    points, m = start(), [np.zeros(shape) for shape in SHAPES]
    v: list[float] = [0.0] * len(SHAPES)
    for step in range(count):
        slopes = gradient(points, step)
        squares = [float((slope**2).sum()) for slope in slopes]
        if scope != "tensor":
            squares = [sum(squares)] * len(SHAPES)
        for k, square in enumerate(squares):
            v[k] = square if step == 0 else 0.98 * v[k] + (1 - 0.98) * square
            m[k] = 0.95 * m[k] + slopes[k] / (np.sqrt(v[k]) + 1e-8)
            points[k] = points[k] - 0.01 * m[k]
    return points


def last_norm(count: int) -> list[Any]:
    points, last = start(), 0.25
    for step in range(count):
        slopes = gradient(points, step)
        norm = np.sqrt(sum((slope**2).sum() for slope in slopes))
        points = [
            x - 0.1 * s / max(1, norm / (2 * last)) for x, s in zip(points, slopes, strict=True)
        ]
        last = norm
    return points


def written(folder: Path, text: str) -> Path:
    path = folder / "rule.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("options", FORMS, ids=str)
@pytest.mark.parametrize("scope", ["tensor", "all"])
def test_a_second_moment_of_each_tensor_or_of_all(
    tmp_path: Path, scope: str, options: dict[str, Any]
) -> None:
    path = written(tmp_path, NOVOGRAD.replace("SCOPE", scope))
    for mine, theirs in zip(ours(path, 30, options), novograd(30, scope), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_a_norm_is_kept_for_the_next_step(tmp_path: Path, options: dict[str, Any]) -> None:
    path = written(tmp_path, LAST)
    for mine, theirs in zip(ours(path, 30, options), last_norm(30), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-13, abs=1e-13)


@compiled
@pytest.mark.parametrize("text", [NOVOGRAD.replace("SCOPE", "tensor"), LAST])
def test_backends_agree_and_the_report_counts_its_array(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    verification = hf.verify(path)
    assert verification.holds, str(verification)
    assert hf.check(path)["state_buffers"] == text.count('"m"') + 1


def test_it_is_saved_and_restored(tmp_path: Path) -> None:
    path = written(tmp_path, LAST)
    whole = ours(path, 12, {})
    params = [torch.tensor(x, requires_grad=True) for x in start()]
    optimizer = hf.optimizer(path)(params)
    for step in range(12):
        if step == 5:
            saved = optimizer.state_dict()
            params = [param.detach().clone().requires_grad_() for param in params]
            optimizer = hf.optimizer(path)(params)
            optimizer.load_state_dict(saved)
        slopes = gradient([param.detach().numpy() for param in params], step)
        for param, slope in zip(params, slopes, strict=True):
            param.grad = torch.tensor(slope)
        optimizer.step()
    for param, wanted in zip(params, whole, strict=True):
        assert (param.detach().numpy() == wanted).all()
