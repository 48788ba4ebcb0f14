"""Roots and squares of arrays stay in range: scalars come before them where signs allow it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import sympy as sp
import torch

import hamilforge as hf
from hamilforge.gen.derive.calculus import Coordinate
from hamilforge.gen.program.optimizers.roots import roots_apart

rate, n = sp.symbols("rate n", positive=True)
beta, lr = sp.symbols("beta lr", nonnegative=True)
free = sp.Symbol("free", real=True)
v, w = Coordinate("v"), Coordinate("w")


@pytest.mark.parametrize(
    ("scalar", "is_apart"),
    [
        (lr, True),
        (1 / (1 - beta**n), True),
        (1 / (1 - sp.exp(n * sp.log(beta))), True),
        (1 - sp.exp(-lr * n), True),
        (1 / (1 - (1 - beta) ** n), True),
        (1 - sp.exp(n * sp.log(1 - beta)), True),
        (1 - (2 - beta) ** n, False),
        ((1 - beta) / (1 - beta**n * sp.Rational(1, 2)), True),
        (free, False),
        (1 - rate**n, False),  # of any size
        (sp.Rational(1, 2) - beta, False),
        (beta - 1, False),
        (1 - sp.exp(lr), False),
        (1 - beta**free, False),
        (-lr, False),
    ],
    ids=str,
)
def test_a_scalar_leaves_a_root_where_it_is_not_negative(scalar: Any, is_apart: bool) -> None:
    root = sp.sqrt(scalar * v)
    apart = roots_apart(w / (root + rate), {"beta"})
    assert apart.has(sp.sqrt(v)) == is_apart
    numbers = {beta: 0.7, lr: 0.3, rate: 1.5, n: 2, free: -0.4, w: 1.1}
    for value in (0.6, -0.6):
        pair = [
            complex(expr.xreplace(numbers | {v: value}).n()) for expr in (w / (root + rate), apart)
        ]
        assert math.isclose(pair[0].real, pair[1].real, rel_tol=1e-12)
        assert math.isclose(pair[0].imag, pair[1].imag, rel_tol=1e-12, abs_tol=1e-12)


@pytest.mark.parametrize(
    ("scalar", "is_apart"),
    [
        (rate, True),
        (1 / (1 - beta**n), True),
        (rate / (1 - beta), True),
        (1 - beta, False),  # 0 where beta is 1
        (free, False),
    ],
    ids=str,
)
def test_a_scalar_leaves_a_divisor_where_it_is_not_0(scalar: Any, is_apart: bool) -> None:
    assert roots_apart(w / sp.sqrt(scalar * v), {"beta"}).has(1 / sp.sqrt(v)) == is_apart


@pytest.mark.parametrize("form", [{}, {"fused": False, "foreach": False}], ids=str)
def test_a_divisor_of_0_is_one_entry_by_entry(tmp_path: Path, form: dict[str, Any]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'kind = "optimizer"\nname = "mine"\ntitle = "-"\nreference = "-"\n'
        'unknowns = ["theta", "v"]\n'
        'assign = ["v = v + grad(theta)**2", '
        '"theta = theta - lr*min(1, 1/sqrt((1 - mu)*v))*grad(theta)"]\n'
        '[hyperparameters]\nlr = { default = 0.1, domain = "nonnegative", doc = "-" }\n'
        'mu = { default = 0.5, domain = "closed-unit-interval", doc = "-" }\n'
    )
    param = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = hf.optimizer(path)([param], mu=1.0, **form)
    for _ in range(2):
        param.grad = torch.tensor([1.0, 0.0])
        optimizer.step()
    assert torch.allclose(param.detach(), torch.tensor([0.8, 2.0]))


RULE = """
kind = "optimizer"
name = "mine"
title = "-"
reference = "-"
unknowns = ["theta", "v", "w"]
assign = [
    "v = beta*v + (1 - beta)*(grad(theta) - w)**2",
    "w = beta*w + (1 - beta)*grad(theta)",
    "theta = theta - lr*sqrt(abs(w) + eps)/sqrt(sqrt(v/(1 - beta**n)) + eps)",
]

[hyperparameters]
lr = { default = 1e-2, domain = "nonnegative", doc = "-" }
beta = { default = 0.999, domain = "unit-interval", doc = "-" }
eps = { default = 1e-3, domain = "nonnegative", doc = "-" }
"""


FORMS = ({}, {"foreach": True}, {"fused": False, "foreach": False})


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_squares_and_quotients_of_roots_are_in_range_where_their_terms_are(
    tmp_path: Path, form: dict[str, Any]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(RULE)
    ends = []
    for dtype in (torch.float32, torch.float64):
        param = torch.nn.Parameter(torch.ones(3, dtype=dtype))
        optimizer = hf.optimizer(path)([param], lr=0.01, **form)
        for size in (1e20, 2e19, 3e19):
            param.grad = torch.full_like(param, size)
            optimizer.step()
        ends.append(param.detach().double() - 1)
    assert torch.allclose(*ends, rtol=1e-5)
    assert (ends[1] != 0).all()
