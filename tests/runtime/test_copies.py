"""Everything that a user holds can be pickled and copied, also into another process."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import hamilforge as hf
from tests.samples import sampled

WAYS = {
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),
    "old pickle": lambda one: pickle.loads(pickle.dumps(one, 2)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}
PENDULUM = """
kind = "hamiltonian"
name = "swinging"
title = "A pendulum"
reference = "any textbook"
coordinates = { q = ["a"], p = ["m"] }
energy = "m**2/2 - g*cos(a)"
[parameters]
g = { default = 1, domain = "positive", doc = "gravity" }
[start]
a = 2
m = 0
"""


@pytest.fixture(params=WAYS)
def copied(request: pytest.FixtureRequest) -> Any:
    return WAYS[request.param]


def arrays(solution: Any) -> list[Any]:
    return [solution.t, solution.y, solution.energy]


@pytest.mark.parametrize(
    ("problem", "options"),
    [
        ("henon_heiles", {"h": 0.1}),
        ("kepler", {}),
        ("damped_pendulum", {"h": 0.1, "y0": np.ones((3, 2))}),
        (
            "damped_pendulum",
            {"h": 0.1, "y0": np.ones((2, 2)), "parameters": {"gamma": np.array([0.1, 0.2])}},
        ),
    ],
)
def test_a_solution(copied: Any, problem: str, options: Any) -> None:
    method = "rk4" if "h" in options else "dormand_prince54"
    solution = hf.integrate(problem, method, t_span=(0, 1), **options)
    again = copied(solution)
    assert all((a == b).all() for a, b in zip(arrays(again), arrays(solution), strict=True))
    assert (again.name, again.components, again.steps, again.rejected) == (
        solution.name, solution.components, solution.steps, solution.rejected,
    )  # fmt: skip
    assert again[solution.components[0]].shape == solution[solution.components[0]].shape
    with pytest.raises(AttributeError, match="declares no xyzzy"):
        again.invariant("xyzzy")
    assert again.product is solution.product


def test_an_error_of_an_integration(copied: Any) -> None:
    with pytest.raises(hf.IntegrationError) as caught:
        hf.integrate("kepler", "dormand_prince54", t_span=(0, 5), max_steps=5)
    caught.value.add_note("seen")
    again = copied(caught.value)
    assert type(again) is hf.IntegrationError
    assert str(again) == str(caught.value)
    assert (again.t, again.step, again.residual) == (caught.value.t, 5, 0.0)
    assert (again.solution.y == caught.value.solution.y).all()
    assert again.__notes__ == ["seen"]


@pytest.mark.parametrize(
    "choices", sampled([{}, {"by_stage": True}, {"activation": "x/(1 + x**2)"}], every=2)
)
def test_a_network_of_arrays(copied: Any, choices: Any) -> None:
    made = {"sizes": {"d": 2}, "backend": "numba", "memory": "checkpoint", **choices}
    network = hf.network("resnet", "rk4", 5, h=[0.1, 0.2, 0.3, 0.2, 0.2], seed=3, t0=0.5, **made)
    points = np.random.default_rng(0).standard_normal((20, 2))
    network(points)
    again = copied(network)
    assert (again(points) == network(points)).all()
    costates = np.ones_like(points)
    wanted, found = (one.gradient(points, costates=costates) for one in (network, again))
    assert all((found.controls[n] == one).all() for n, one in wanted.controls.items())
    assert repr(again) == repr(network)
    assert (again.made, again.t0, again.memory) == (network.made, 0.5, "checkpoint")
    assert dict(again.sizes) == dict(network.sizes)
    if copied is not copy.copy:
        again.controls["K"] += 1
        assert (network(points) != again(points)).any()
    assert (hf.contractivity(again).h == hf.contractivity(network).h).all() if not choices else True


def test_an_objective_of_arrays(copied: Any) -> None:
    loss = hf.objective("logistic_classifier", {"d": 2, "c": 1}, backend="numba", seed=2)
    points, labels = np.random.default_rng(0).standard_normal((9, 2)), np.ones((9, 1))
    again = copied(loss)
    wanted, found = loss.evaluate(points, labels), copied(again.evaluate(points, labels))
    assert (found.losses == wanted.losses).all()
    assert all((found.weights[name] == one).all() for name, one in wanted.weights.items())


@pytest.mark.parametrize(
    "make",
    [
        lambda: hf.network("resnet", "rk4", 3, {"d": 2}),
        lambda: hf.network("resnet", "gauss2", 3, {"d": 2}, steps="softmax", by_stage=True),
        lambda: hf.flow("damped_pendulum", "gauss2", 0.1, 5, trainable=("gamma",)),
    ],
)
def test_a_module(copied: Any, make: Any) -> None:
    module = make()
    again = copied(module)
    kind = next(module.parameters()).dtype
    points = torch.randn(4, 2, generator=torch.Generator().manual_seed(0)).to(kind)
    assert torch.equal(again(points), module(points))
    again.load_state_dict(module.state_dict())


def test_an_objective_module(copied: Any) -> None:
    module = hf.objective("logistic_classifier", {"d": 2, "c": 1})
    points = torch.randn(4, 2)
    assert torch.equal(copied(module)(points, torch.ones(4, 1)), module(points, torch.ones(4, 1)))


def test_reports_and_comparisons(copied: Any) -> None:
    for one in (hf.check("nesterov"), hf.check("kutta3"), hf.check("kepler")):
        assert str(copied(one)) == str(one)
    bounds = hf.contractivity(hf.network("gradient_flow", "rk4", 2, {"d": 2, "m": 2}))
    assert str(copied(bounds)) == str(bounds)
    found = hf.minimize(lambda x: (x**2).sum(), [1.0], options={"maxiter": 5})
    assert copied(found).x == found.x
    comparison = hf.verify("heavy_ball")
    assert str(copied(comparison)) == str(comparison)


def test_a_declaration_error(copied: Any) -> None:
    with pytest.raises(hf.DeclarationError) as caught:
        hf.check("no_such_declaration")
    assert str(copied(caught.value)) == str(caught.value)
    assert type(copied(caught.value)) is type(caught.value)


def test_what_a_users_declaration_made_goes_to_another_process(tmp_path: Any) -> None:
    path = tmp_path / "swinging.toml"
    path.write_text(PENDULUM, encoding="utf-8")
    solution = hf.integrate(path, "rk4", t_span=(0, 1), h=0.1)
    file = tmp_path / "solution.pickle"
    file.write_bytes(pickle.dumps(solution))
    text = f"""
import pickle, pathlib, sys
solution = pickle.loads(pathlib.Path({str(file)!r}).read_bytes())
assert "sympy" not in sys.modules
print(repr(float(solution.energy[-1])), solution.product is None)
"""
    for cache, is_lost in ((None, False), (str(tmp_path / "empty"), True)):
        environment = {**__import__("os").environ}
        if cache:
            environment["HAMILFORGE_CACHE"] = cache
        ran = subprocess.run(
            [sys.executable, "-c", text], capture_output=True, text=True, env=environment,
            timeout=120, check=True,
        )  # fmt: skip
        assert ran.stdout.strip() == f"{float(solution.energy[-1])!r} {is_lost}"


def test_a_network_without_its_kernels_says_what_is_missing() -> None:
    network = hf.network("resnet", "rk4", 3, {"d": 2}, backend="numba")
    state = network.__getstate__()
    with pytest.raises(ImportError, match="needs the generated module hamilforge"):
        type(network).__new__(type(network)).__setstate__(
            {**state, "_product": "hamilforge.runtime.products.p_none.resnet_numba"}
        )
