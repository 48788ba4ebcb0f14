"""Minimisation in SciPy's manner."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize

import hamilforge as hf
from hamilforge.runtime.optimizers.minimize import method, minimize
from tests.optimizers import ASSIGNED, ELEMENTWISE, MECHANICAL
from tests.samples import covered

from .loops import rate_of, short_loops
from .problems import Vector, quadratic, quadratic_gradient, rosenbrock, rosenbrock_gradient, start
from .training import first, load, optimizer_class, parameters, solutions

EXPECTED = Path(__file__).parents[1] / "expected" / "minimize.toml"
TABLE: dict[str, Any] = tomllib.loads(EXPECTED.read_text())
PROBLEMS = {
    "quadratic": (quadratic, quadratic_gradient, start(4)),
    "rosenbrock": (rosenbrock, rosenbrock_gradient, np.array([-0.6, 0.8])),
}
NAME = TABLE["reference"]["name"]
OPTIONS: dict[str, Any] = TABLE["reference"]["options"]
STAGED = first(shifted=True, scope="coordinate", staged=True, timed=False)
SHIFTED = first(shifted=True, scope="coordinate", staged=False, timed=False)


@pytest.mark.parametrize(("any_method", "kernels"), covered(MECHANICAL), indirect=["kernels"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_optimizer_of_a_hamiltonian_converges(
    any_method: str, kernels: None, problem: str
) -> None:
    fun, jac, x0 = PROBLEMS[problem]
    settings = {**TABLE[problem]["default"], **TABLE[problem].get(any_method, {})}
    known = load(any_method).module("numba").HYPERPARAMETERS
    distance = settings.pop("distance")
    options = {k: v for k, v in settings.items() if k in known or k in ("maxiter", "gtol")}
    if "temperature" in known:
        options["temperature"] = 0.0
    found = minimize(fun, x0, method=any_method, jac=jac, options=options)
    assert found.success, found.message
    assert found.status == 0
    assert abs(found.x - 1).max() <= distance
    assert found.fun == fun(found.x)
    assert (found.jac == jac(found.x)).all()
    assert 0 < found.nit <= options["maxiter"]


@pytest.mark.parametrize(("name", "kernels"), covered(ASSIGNED), indirect=["kernels"])
def test_every_rule_goes_down(name: str, kernels: None) -> None:
    options = {rate_of(name): 0.01, "maxiter": 300, "gtol": 0.0, **short_loops(name)}
    found = minimize(quadratic, start(), method=name, jac=quadratic_gradient, options=options)
    assert found.fun < 0.99 * quadratic(start())


@pytest.mark.parametrize(("any_method", "kernels"), covered(ELEMENTWISE), indirect=["kernels"])
def test_the_solution_is_that_of_the_torch_optimizer(any_method: str, kernels: None) -> None:
    count = 3 * len(optimizer_class(any_method).STAGES)
    found = minimize(
        quadratic,
        start(),
        method=any_method,
        jac=quadratic_gradient,
        options={rate_of(any_method): 0.01, "maxiter": count, "gtol": 0.0},
    )
    params = parameters(start(), [(start().size,)])
    chosen = {rate_of(any_method): 0.01}
    optimizer = optimizer_class(any_method)(params, **chosen, fused=False, weight_decay=0.0)
    wanted = solutions(optimizer, params, quadratic_gradient, 3)[-1]
    assert (found.nit, found.status, found.success) == (count, 1, False)
    assert "iterations is used up" in found.message
    assert abs(found.x - wanted).max() <= 1e-14 * abs(wanted).max()


def test_scipy_finds_the_same_through_its_own_door() -> None:
    ours = minimize(rosenbrock, [-0.6, 0.8], method=NAME, jac=rosenbrock_gradient, options=OPTIONS)
    theirs = scipy.optimize.minimize(
        rosenbrock, [-0.6, 0.8], method=method(NAME), jac=rosenbrock_gradient, options=OPTIONS
    )
    assert (ours.x == theirs.x).all()
    assert (ours.nit, ours.nfev, ours.status) == (theirs.nit, theirs.nfev, theirs.status)
    assert isinstance(theirs, scipy.optimize.OptimizeResult)


def test_scipy_passes_tolerance_arguments_and_callback_on() -> None:
    seen: list[Vector] = []

    def shifted(x: Vector, by: float) -> float:
        return quadratic(x - by)

    found = scipy.optimize.minimize(
        shifted,
        np.zeros(2),
        args=(3.0,),
        method=method(NAME),
        jac=lambda x, by: quadratic_gradient(x - by),
        tol=1e-3,
        callback=lambda x: seen.append(np.array(x)),
        options={"lr": 0.01},
    )
    assert found.success
    assert abs(found.x - 4).max() < 1e-2
    assert len(seen) == found.nit
    assert all(x.shape == (2,) for x in seen)


def test_scipy_passes_a_function_that_gives_its_gradient_too() -> None:
    found = scipy.optimize.minimize(
        lambda x: (quadratic(x), quadratic_gradient(x)),
        np.zeros(2),
        method=method(NAME),
        jac=True,
        options={"lr": 0.01},
    )
    assert found.success
    assert abs(found.x - 1).max() < 1e-4


def test_three_ways_to_give_the_gradient_agree() -> None:
    def both(x: Vector) -> tuple[float, Vector]:
        return quadratic(x), quadratic_gradient(x)

    options = {"lr": 0.01, "gtol": 1e-4}
    given = minimize(quadratic, start(3), method=NAME, jac=quadratic_gradient, options=options)
    joined = minimize(both, start(3), method=NAME, jac=True, options=options)
    differences = minimize(quadratic, start(3), method=NAME, options=options)
    assert (given.x == joined.x).all()
    assert abs(given.x - differences.x).max() < 1e-5
    assert differences.success


@pytest.mark.parametrize("jac", [True, None, quadratic_gradient], ids=["joined", "none", "given"])
def test_every_evaluation_is_counted(jac: Any) -> None:
    calls = 0

    def fun(x: Vector) -> Any:
        nonlocal calls
        calls += 1
        return (quadratic(x), quadratic_gradient(x)) if jac is True else quadratic(x)

    found = minimize(fun, start(3), method=NAME, jac=jac, options={"lr": 0.01, "maxiter": 5})
    assert found.nfev == calls
    assert found.nit == 5


def test_a_callback_sees_the_points_and_may_end_the_run() -> None:
    seen: list[tuple[Vector, float]] = []

    def callback(intermediate_result: Any) -> None:
        seen.append((intermediate_result.x, intermediate_result.fun))
        if len(seen) == 3:
            raise StopIteration

    found = minimize(
        quadratic,
        start(3),
        method=NAME,
        jac=quadratic_gradient,
        callback=callback,
        options={"lr": 0.01},
    )
    assert (found.status, found.nit, found.success) == (99, 2, False)
    assert found.message == "stopped by the callback"
    assert len({x.tobytes() for x, _ in seen}) == 3


def test_a_callback_may_take_the_result_by_the_name_that_scipy_gives_it() -> None:
    seen: list[float] = []

    def callback(*, intermediate_result: scipy.optimize.OptimizeResult) -> None:
        seen.append(intermediate_result.fun)

    minimize(
        quadratic,
        start(3),
        method=NAME,
        jac=quadratic_gradient,
        callback=callback,
        options={"lr": 0.01, "maxiter": 4},
    )
    assert len(seen) == 4


def test_value_and_point_of_the_callback_belong_together() -> None:
    def callback(intermediate_result: Any) -> None:
        assert intermediate_result.fun == quadratic(intermediate_result.x)

    minimize(
        quadratic,
        start(3),
        method=NAME,
        jac=quadratic_gradient,
        callback=callback,
        options={"lr": 0.01, "maxiter": 4},
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["value", "gradient"])
def test_a_function_that_is_not_finite_ends_the_run_with_what_was_found(
    where: str, bad: float
) -> None:
    calls = 0

    def fun(x: Vector) -> tuple[float, Vector]:
        nonlocal calls
        calls += 1
        spoilt = calls > 3
        value = bad if spoilt and where == "value" else quadratic(x)
        gradient = quadratic_gradient(x)
        return value, gradient * bad if spoilt and where == "gradient" else gradient

    found = minimize(fun, start(3), method=NAME, jac=True, options={"lr": 0.01})
    assert (found.status, found.success) == (2, False)
    assert found.message == "the function or its gradient is not finite"
    assert np.isfinite(found.x).all()


def test_at_a_minimum_nothing_is_done() -> None:
    found = minimize(quadratic, np.ones(3), method=NAME, jac=quadratic_gradient)
    assert (found.nit, found.success) == (0, True)
    assert (found.x == 1).all()


def test_no_iterations_leave_the_start() -> None:
    options = {"lr": 0.01, "maxiter": 0}
    found = minimize(quadratic, start(3), method=NAME, jac=quadratic_gradient, options=options)
    assert (found.nit, found.success) == (0, False)
    assert (found.x == start(3)).all()


def test_a_step_cut_short_gives_the_solution_of_the_last_whole_step() -> None:
    whole = len(optimizer_class(STAGED).STAGES)
    found = [
        minimize(
            quadratic,
            start(3),
            method=STAGED,
            jac=quadratic_gradient,
            options={"lr": 0.01, "maxiter": count},
        ).x
        for count in (2 * whole, 2 * whole + 1)
    ]
    assert (found[0] == found[1]).all()


def test_a_minimum_passed_at_speed_is_not_the_end() -> None:
    momentum, curvature = 0.9, 1.0
    product = load(SHIFTED).module("numba")
    assert "momentum" in product.HYPERPARAMETERS
    lr = 1 / ((1 + momentum) * curvature)
    found = minimize(
        lambda x: float(x @ x) / 2,
        np.array([1.0]),
        method=SHIFTED,
        jac=lambda x: x,
        options={"lr": lr, "momentum": momentum, "maxiter": 2000},
    )
    assert found.success, found.message
    assert abs(found.x).max() <= 1e-5


def test_the_argument_of_the_function_is_its_own() -> None:
    def fun(x: Vector) -> tuple[float, Vector]:
        value, gradient = quadratic(x), quadratic_gradient(x)
        x[:] = 7.0
        return value, gradient

    x0 = start(3)
    options = {"lr": 0.01, "maxiter": 6}
    found = minimize(fun, x0, method=NAME, jac=True, options=options)
    wanted = minimize(quadratic, x0, method=NAME, jac=quadratic_gradient, options=options)
    assert (found.x == wanted.x).all()
    assert (x0 == start(3)).all()


@pytest.mark.parametrize("x0", [3, [3], np.array([3]), [[3, 2], [1, 0]]], ids=str)
def test_any_start_of_numbers_is_taken_as_real(x0: Any) -> None:
    found = minimize(quadratic, x0, method=NAME, jac=quadratic_gradient, options={"lr": 0.01})
    assert found.success
    assert found.x.dtype == np.float64
    assert found.x.shape == np.atleast_1d(np.asarray(x0)).shape


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "bounds": ({"bounds": [(0, 1)] * 3}, "bounds are not supported"),
    "constraints": (
        {"constraints": {"type": "eq", "fun": lambda x: x[0]}},
        "constraints are not supported",
    ),
    "unknown option": ({"options": {"learning_rate": 0.1}}, "unknown options .*'learning_rate'"),
    "domain": ({"options": {"lr": -1.0}}, r"lr = -1.0 is outside \[0, inf\)"),
    "nan": ({"options": {"lr": float("nan")}}, "lr = nan is outside"),
    "gradient": ({"jac": lambda x: np.ones(2)}, "the gradient has 2 entries; 3 were expected"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_done_is_refused(what: str) -> None:
    given, message = REFUSED[what]
    with pytest.raises(ValueError, match=message):
        minimize(quadratic, start(3), method=NAME, **{"jac": quadratic_gradient, **given})


@pytest.mark.parametrize(
    ("x0", "message"),
    [
        ([1j, 0], "x0 is complex"),
        ([], "x0 is empty or not finite"),
        ([1.0, float("nan")], "x0 is empty or not finite"),
    ],
    ids=["complex", "empty", "nan"],
)
def test_a_start_that_is_no_point_is_refused(x0: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        minimize(quadratic, x0, method=NAME, jac=quadratic_gradient)


def test_an_unknown_method_is_named_with_the_nearest_known() -> None:
    from hamilforge import DeclarationError

    with pytest.raises(DeclarationError, match="did you mean"):
        minimize(quadratic, start(3), method=NAME + "x", jac=quadratic_gradient)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tol": -1}, "^tol = -1: a number from 0 on was expected"),
        ({"options": {"gtol": math.nan}}, "^gtol = nan: a number from 0 on was expected"),
        ({"options": 5}, "options = 5: names with values were expected"),
        ({"jac": True}, r"with jac=True the function gives 5.0; .* \(value, gradient\)"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: Any, message: str) -> None:
    chosen = {"jac": lambda x: 2 * x, "method": "heavy_ball"} | arguments
    with pytest.raises(ValueError, match=message):
        hf.minimize(lambda x: float(x @ x), [1.0, 2.0], **chosen)
