"""Whose an array is: what users' functions change, and what they get, is theirs alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import hamilforge as hf

from .problems import quadratic_gradient, start
from .training import first, flat, optimizer_class, parameters, stages

OPTIONS = {"lr": 1e-2, "maxiter": 3000}


def value(x: Any) -> float:
    return float(((x - 1) ** 2).sum())


def slope(x: Any) -> Any:
    return 2 * (x - 1)


def spoiling(function: Any) -> Any:
    def spoilt(x: Any) -> Any:
        found = function(x)
        x += 1
        return found

    return spoilt


@pytest.mark.parametrize("method", ["rgd", "nesterov", "yoshida4"])
@pytest.mark.parametrize("jac", [slope, spoiling(slope), True, None, "2-point", "3-point"])
def test_functions_that_change_their_point_change_nothing_else(method: str, jac: Any) -> None:
    fun = spoiling((lambda x: (value(x), slope(x))) if jac is True else value)
    seen = []

    def callback(x: Any) -> None:
        seen.append(x.copy())
        x[:] = 7

    x0 = np.array([3.0, -2.0])
    found = hf.minimize(fun, x0, jac=jac, method=method, options=OPTIONS, callback=callback)
    assert found.success
    assert np.allclose(found.x, 1, atol=1e-5)
    assert (x0 == [3, -2]).all()
    plain = hf.minimize(
        value if jac is not True else lambda x: (value(x), slope(x)),
        x0,
        jac=slope if callable(jac) else jac,
        method=method,
        options=OPTIONS,
    )
    assert (plain.x == found.x).all()
    assert plain.nit == found.nit
    assert (seen[0] == x0).all()


def test_a_gradient_array_may_be_used_again_by_its_function() -> None:
    room = np.empty(2)

    def jac(x: Any) -> Any:
        room[:] = slope(x)
        return room

    found = hf.minimize(value, [3.0, -2.0], jac=jac, method="rgd", options=OPTIONS)
    kept = found.jac.copy()
    room[:] = 99
    assert (found.jac == kept).all()


def test_a_loss_may_change_what_it_gets() -> None:
    network = hf.network("resnet", "rk4", 4, {"d": 2}, backend="numba", block=16)
    points = np.random.default_rng(0).standard_normal((50, 2))

    def plain(ends: Any, rows: Any) -> Any:
        return (ends**2).sum(1), 2 * ends

    def spoilt(ends: Any, rows: Any) -> Any:
        found = plain(ends, rows)
        ends[:] = np.nan
        return found

    wanted, found = (network.gradient(points, loss=loss) for loss in (plain, spoilt))
    assert (found.ends[0] == wanted.ends[0]).all()
    assert all((found.controls[n] == one).all() for n, one in wanted.controls.items())


def test_results_of_networks_and_objectives_stay_when_these_are_called_again() -> None:
    network = hf.network("resnet", "rk4", 4, {"d": 2}, backend="numba")
    loss = hf.objective("logistic_classifier", {"d": 2, "c": 1}, backend="numba")
    points = np.random.default_rng(0).standard_normal((20, 2))
    labels = np.ones((20, 1))
    found = network.gradient(points, costates=np.ones_like(points))
    judged = loss.evaluate(points, labels)
    arrays = [
        *found.ends, *found.states, *found.controls.values(), found.h,
        judged.prediction, judged.losses, *judged.states, *judged.weights.values(),
    ]  # fmt: skip
    kept = [one.copy() for one in arrays]
    network(2 * points)
    network.gradient(3 * points, costates=5 * np.ones_like(points))
    loss.evaluate(4 * points, labels)
    assert all((one == other).all() for one, other in zip(arrays, kept, strict=True))


def test_arrays_that_a_run_was_given_may_change_afterwards() -> None:
    y0 = np.array([[2.0, 0.0], [1.0, 0.0]])
    gamma, times = np.array([0.1, 0.2]), np.linspace(0, 1, 5)
    sol = hf.integrate("damped_pendulum", "rk4", y0, (0, 1), 0.1, parameters={"gamma": gamma})
    kept = sol.y.copy(), sol.energy.copy()
    y0[:], gamma[:], times[:] = 0, 9, 0
    again = hf.Solution(sol.name, sol.components, sol.t, sol.y, sol.parameters, sol.steps, 0,
                        sol.product)  # fmt: skip
    assert (sol.y == kept[0]).all()
    assert (again.energy == kept[1]).all()


@pytest.mark.parametrize("name", ["rgd", "nesterov", "heavy_ball"])
def test_no_group_is_added_and_no_state_loaded_while_parameters_hold_the_solution(
    name: str,
) -> None:
    params = parameters(start())
    optimizer = optimizer_class(name)(params[:2], lr=1e-2)
    stages(optimizer, params[:2], lambda x: x, 3)
    saved, points = optimizer.state_dict(), flat(params)
    with optimizer.solution():
        with pytest.raises(RuntimeError, match=r"call train\(\) before add_param_group\(\)"):
            optimizer.add_param_group({"params": params[2:]})
        with pytest.raises(RuntimeError, match=r"call train\(\) before load_state_dict\(\)"):
            optimizer.load_state_dict(saved)
    assert (flat(params) == points).all()
    assert len(optimizer.param_groups) == 1
    optimizer.add_param_group({"params": params[2:]})


def test_the_way_back_from_the_solution_is_that_of_each_parameter() -> None:
    params = parameters(start())
    optimizer = optimizer_class(first(shifted=True, scope="all", staged=False, timed=False))(
        params, lr=1e-2
    )
    stages(optimizer, params, quadratic_gradient, 3)
    points = flat(params)
    with optimizer.solution():
        group = optimizer.param_groups[0]
        group["params"] = group["params"][::-1]
    assert (flat(params) == points).all()
    assert isinstance(params[0], torch.nn.Parameter)
