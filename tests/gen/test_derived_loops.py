"""Outer steps of optimizers whose steps inside are derived from an equation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hamilforge as hf
from hamilforge.document import show
from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.program.optimizers.interpret import Interpreter
from hamilforge.gen.program.optimizers.programs import program_of
from tests.interpreted import verified

MINE = """
kind = "optimizer"
name = "mine"
title = "-"
reference = "-"
system = "steepest_descent"
method = "{method}"
[hyperparameters]
lr = {{ default = 0.4, domain = "nonnegative" }}
eta = {{ default = 0.1, domain = "nonnegative" }}
L = {{ default = 3, domain = "count" }}
[set]
h = "eta_k"
[outer]
every = "L"
{outer}
[scope]
eta_k = "eta/(1 + k)"
"""
OUTER = """
unknowns = ["x", "v"]
start = { x = "theta" }
solution = "x"
assign = ["v = v/2 + x - theta", "x = x - lr*v", "theta = x"]
"""
DILOCO = """
kind = "optimizer"
name = "derived"
title = "-"
reference = "-"
system = "adam"
method = "averages_then_point"
[hyperparameters]
lr = { default = 4e-4, domain = "nonnegative" }
betas = { default = [0.9, 0.999], domain = "unit-interval", names = ["beta1", "beta2"] }
eps = { default = 1e-8, domain = "nonnegative" }
outer_lr = { default = 0.7, domain = "nonnegative" }
mu = { default = 0.9, domain = "unit-interval" }
H = { default = 500, domain = "count" }
[set]
h = "1"
tau1 = "-1/log(beta1)"
tau2 = "-1/log(beta2)"
[options]
weight_decay = 0.1
decoupled_weight_decay = true
[outer]
every = "H"
unknowns = ["anchor", "b"]
start = { anchor = "theta" }
solution = "anchor"
assign = [
    "d = anchor - average(theta)",
    "b = mu*b + d",
    "anchor = anchor - outer_lr*(d + mu*b)",
    "theta = anchor",
]
"""
START = np.array([0.7, -1.3, 0.2])


def gradient(x: Any) -> Any:
    return np.sin(2 * x) + x**3 / 3 + 0.3


def mine(folder: Path, outer: str = OUTER, method: str = "euler") -> Path:
    path = folder / "mine.toml"
    path.write_text(MINE.format(outer=outer, method=method))
    return path


def points(path: Path | str, count: int, **hyper: float) -> tuple[Any, Any]:
    """Point and solution after each step of the interpretation."""
    machine = Interpreter(program_of(catalogue.load(path)), hyper, [START.copy()])
    seen = []
    for _ in range(count):
        machine.step([gradient(machine.x[0])])
        seen.append((machine.x[0].copy(), machine.solution()[0].copy()))
    ours, solutions = zip(*seen, strict=True)
    return np.array(ours), np.array(solutions)


def test_steps_inside_follow_schedules_and_the_outer_step_has_arrays_of_its_own(
    tmp_path: Path,
) -> None:
    ours, solutions = points(mine(tmp_path), 9, lr=0.4, eta=0.1, L=3)
    theta, x, v = START.copy(), START.copy(), np.zeros(3)
    for step in range(9):
        theta = theta - 0.1 / (1 + step // 3) * gradient(theta)
        if step % 3 == 2:
            v = v / 2 + x - theta
            x = x - 0.4 * v
            theta = x
        assert ours[step] == pytest.approx(theta, rel=1e-14)
        assert solutions[step] == pytest.approx(x, rel=1e-14)


def test_stages_of_a_table_are_inside_a_loop(tmp_path: Path) -> None:
    program = program_of(catalogue.load(mine(tmp_path, method="heun2")))
    assert len(program.stages) == 2
    machine = Interpreter(program, {"lr": 0.4, "eta": 0.1, "L": 2}, [START.copy()])
    theta, x, v = START.copy(), START.copy(), np.zeros(3)
    for step in range(6):
        for _ in program.stages:
            machine.step([gradient(machine.x[0])])
        h = 0.1 / (1 + step // 2)
        slope = gradient(theta)
        theta = theta - h * (slope + gradient(theta - h * slope)) / 2
        if step % 2 == 1:
            v = v / 2 + x - theta
            x = x - 0.4 * v
            theta = x
        assert machine.solution()[0] == pytest.approx(x, rel=1e-13)


def test_a_derived_adam_inside_is_the_typed_one(tmp_path: Path) -> None:
    path = tmp_path / "derived.toml"
    path.write_text(DILOCO)
    values = {"lr": 0.05, "beta1": 0.8, "beta2": 0.9, "eps": 1e-3, "outer_lr": 0.7, "mu": 0.5}
    for ours, theirs in zip(
        points(path, 40, **values, H=4), points("diloco", 40, **values, H=4), strict=True
    ):
        assert ours == pytest.approx(theirs, rel=1e-11)


def test_backends_agree_with_the_interpretation(tmp_path: Path) -> None:
    assert verified(mine(tmp_path)).holds


def test_torch_and_simulated_workers_take_it(tmp_path: Path) -> None:
    path = mine(tmp_path)
    param = torch.nn.Parameter(torch.tensor(START))
    optimizer = hf.optimizer(path)([param], lr=0.4, eta=0.1, L=3)
    for _ in range(7):
        param.grad = torch.from_numpy(gradient(param.detach().numpy()))
        optimizer.step()
    ours, solutions = points(path, 7, lr=0.4, eta=0.1, L=3)
    assert param.detach().numpy() == pytest.approx(ours[-1], rel=1e-12)
    with optimizer.solution():
        assert param.detach().numpy() == pytest.approx(solutions[-1], rel=1e-12)


def test_a_typed_rule_may_keep_arrays_of_its_outer_step_apart(tmp_path: Path) -> None:
    """The same recursion, with the unknowns of the outer step in either place."""
    typed = MINE.format(outer=OUTER, method="euler").replace(
        'system = "steepest_descent"\nmethod = "euler"',
        'unknowns = ["theta"]\nassign = ["theta = theta - eta_k*grad(theta)"]',
    )
    typed = typed.replace('[set]\nh = "eta_k"\n', "")
    path = tmp_path / "typed.toml"
    path.write_text(typed)
    for ours, theirs in zip(
        points(path, 9, lr=0.4, eta=0.1, L=3),
        points(mine(tmp_path), 9, lr=0.4, eta=0.1, L=3),
        strict=True,
    ):
        assert ours == pytest.approx(theirs, rel=1e-14)


def test_what_is_proved_is_of_the_steps_inside(tmp_path: Path) -> None:
    report = pipeline.check(catalogue.load(mine(tmp_path)))
    assert report["order"] == 1
    assert report["stability_limit"] == "lambda < 2/eta_k near the defaults"
    assert report["fixed_points"] is None
    assert any("steps inside a loop" in note for note in report.notes)
    text = show(mine(tmp_path))
    assert "The outer step keeps x, begun at theta." in text
    assert "The outer step keeps v, begun at 0." in text
    assert "x = x - lr*v" in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('start = { x = "theta" }', 'start = { y = "theta" }', "'y' is no unknown of [outer]"),
        ('unknowns = ["x", "v"]', 'unknowns = ["x", "theta"]', "'theta' is declared twice"),
        ('unknowns = ["x", "v"]', "unknowns = 3", "a list of names was expected"),
        ('"v = v/2 + x - theta", ', '"w = x", ', "'v' is never assigned"),
        ("x - lr*v", "x - lr*grad(x)", "an outer step takes no gradient"),
        ("x - lr*v", "x - mu*v", "unknown name 'mu'"),
        ('eta_k = "eta/(1 + k)"', 'eta_k = "eta/(1 + x)"', "unknown name 'x'"),
        ('h = "eta_k"', 'h = "eta"', "'eta_k' is used nowhere"),
        ('every = "L"', 'every = "lr"', 'with domain = "count" was expected'),
        ("[outer]", "[outer]\nslope = 1", "unknown key; expected one of every"),
    ],
)
def test_outer_steps_that_mean_nothing_are_refused(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    path = mine(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DeclarationError) as caught:
        catalogue.load(path)
    assert said in str(caught.value)
