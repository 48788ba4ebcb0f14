"""Numbers of another kind are refused where they enter, or read as SciPy reads them."""

from __future__ import annotations

import warnings
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch

import hamilforge as hf
from hamilforge.runtime.core.numbers import real_array, real_number

OPTIONS = {"lr": 1e-2, "maxiter": 2000}


@pytest.fixture(autouse=True)
def _no_warning_instead_of_an_error() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


REAL = [
    [1, 2], (1.0, 2.0), np.array([1, 2], np.int8), np.array([1, 2], np.float16),
    np.array([1, 2], np.float32), np.array([1, 2], object), [Fraction(1), 2],
    torch.tensor([1.0, 2.0], requires_grad=True),
]  # fmt: skip
UNREAL = [
    [1j, 2], np.array([1, 2], complex), ["1", "2"], [True, False], np.array(["1", "2"], object),
    np.array([1, 2j], object), [None, 1], [[1], [1, 2]], [{}, 1], np.array([1, True], object),
]  # fmt: skip


@pytest.mark.parametrize("value", REAL, ids=repr)
def test_reals_of_every_type_are_read(value: Any) -> None:
    found = real_array("x", value)
    assert found.dtype == np.float64
    assert found.tolist() == [1, 2]
    assert not np.shares_memory(found, value) if isinstance(value, np.ndarray) else True


@pytest.mark.parametrize("value", UNREAL, ids=repr)
def test_what_is_not_real_is_refused_everywhere(value: Any) -> None:
    message = "real number|a number was expected"
    calls = [
        lambda: real_array("x", value),
        lambda: hf.minimize(lambda x: 0.0, value, jac=lambda x: 0 * x),
        lambda: hf.minimize(lambda x: 0.0, [1.0, 1.0], jac=lambda x: value),
        lambda: hf.integrate("damped_pendulum", "rk4", value, (0, 1), 0.1),
        lambda: hf.integrate(
            "damped_pendulum", "rk4", [[1.0, 0], [2, 0]], (0, 1), 0.1, parameters={"gamma": value}
        ),
        lambda: hf.integrate("kepler", "dormand_prince54", t_span=(0, 1), t_eval=value),
        lambda: hf.integrate("kepler", "dormand_prince54", t_span=(0, 1), atol=value),
        lambda: hf.integrate("damped_pendulum", "rk4", {"q": value, "p": [0.0, 0.0]}, (0, 1), 0.1),
    ]
    for call in calls[:-1]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("value", [1j, "1", b"1", True, None, [1.0], np.complex128(1), "x"])
def test_what_is_no_number_is_refused_everywhere(value: Any) -> None:
    calls = [
        lambda: real_number("x", value),
        lambda: hf.minimize(lambda x: 0.0, [1.0], options={"lr": value}),
        lambda: hf.integrate("damped_pendulum", "rk4", None, (0, 1), value or 1j),
        lambda: hf.flow("damped_pendulum", "rk4", value, 3),
        lambda: hf.flow("damped_pendulum", "rk4", 0.1, 3, parameters={"gamma": value}),
        lambda: hf.network("resnet", "rk4", 2, {"d": 2}, t0=value, backend="numba"),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="number"):
            call()


@pytest.mark.parametrize("value", [1j, "3", 2.5, True, -1])
def test_counts_are_whole_numbers(value: Any) -> None:
    with pytest.raises(ValueError, match="maxiter"):
        hf.minimize(lambda x: 0.0, [1.0], options={"maxiter": value})
    with pytest.raises(ValueError, match="max_steps"):
        hf.integrate("kepler", "dormand_prince54", t_span=(0, 1), max_steps=value)


@pytest.mark.parametrize("value", [1j, "1", np.array([1.0, 2.0]), None, True])
def test_the_value_of_a_function_is_one_real(value: Any) -> None:
    for jac in (lambda x: x, None, "3-point"):
        with pytest.raises(ValueError, match="the function's value"):
            hf.minimize(lambda x: value, [1.0, 2.0], jac=jac)


def cubic(x: Any) -> Any:
    return (x**3 / 3 - x).sum() + (x[0] - x[1]) ** 2


def test_finite_differences_are_those_that_scipy_names() -> None:
    x = np.array([1.3, -0.4])
    exact = x**2 - 1 + 2 * (x[0] - x[1]) * np.array([1, -1])
    error = {}
    for jac in (None, "2-point", "3-point", "cs"):
        found = hf.minimize(cubic, x, jac=jac, options={"maxiter": 0})
        error[jac] = abs(found.jac - exact).max()
        theirs = scipy.optimize.minimize(cubic, x, jac=jac, options={"maxiter": 0})
        assert np.allclose(found.jac, theirs.jac, rtol=0, atol=2e-7)
    assert error["3-point"] < 1e-9 < error["2-point"]
    assert error["cs"] < 1e-15 + 1e-12
    assert error[None] == error["2-point"]
    with pytest.raises(ValueError, match="'4-point': a function, True, None or one of 2-point"):
        hf.minimize(cubic, x, jac="4-point")


def test_arguments_that_are_no_tuple_are_one_argument() -> None:
    weights = np.array([3.0, 4.0])

    def fun(x: Any, w: Any) -> Any:
        return (w * (x - 1) ** 2).sum() / 2

    def jac(x: Any, w: Any) -> Any:
        return w * (x - 1)

    for args in (weights, (weights,)):
        for gradient in (jac, None, "3-point"):
            found = hf.minimize(fun, [0.0, 0.0], args, jac=gradient, options=OPTIONS)
            theirs = scipy.optimize.minimize(fun, [0.0, 0.0], args, jac=gradient)
            assert np.allclose(found.x, theirs.x, atol=1e-4)
    found = hf.minimize(lambda x, c: ((x - c) ** 2).sum(), [0.0], 5.0, options=OPTIONS)
    assert np.allclose(found.x, 5, atol=1e-4)


def test_networks_and_objectives_take_reals_alone() -> None:
    network = hf.network("resnet", "rk4", 3, {"d": 2}, backend="numba")
    loss = hf.objective("logistic_classifier", {"d": 2, "c": 1}, backend="numba")
    points, labels = np.ones((5, 2)), np.ones((5, 1))
    wrong = [points + 1j, points.astype(str), points > 0, np.full((5, 2), np.nan)]
    for value in wrong:
        calls = [
            lambda value=value: network(value),
            lambda value=value: network.gradient(points, costates=value),
            lambda value=value: network.gradient(points, loss=lambda y, _: (None, value)),
            lambda value=value: network.gradient(points, loss=lambda y, _: (value[:, 0] * 1j, y)),
            lambda value=value: loss.evaluate(value, labels),
            lambda value=value: loss.evaluate(points, labels, seed=value[:, 0]),
        ]
        for number, call in enumerate(calls):
            if number == 3 and value.dtype.kind in "Ub":
                continue
            with pytest.raises(ValueError, match=r"real numbers|not finite"):
                call()
    with pytest.raises(ValueError, match="running = 1j"):
        network.gradient(points, costates=points, running=1j)


def test_half_precision_is_read_as_what_it_is() -> None:
    network = hf.network("resnet", "rk4", 3, {"d": 2}, backend="numba")
    points = np.random.default_rng(0).standard_normal((5, 2)).astype(np.float16)
    assert (network(points) == network(points.astype(float))).all()
    sol = hf.integrate("damped_pendulum", "rk4", np.array([1, 0], np.float16), (0, 1), 0.1)
    assert (sol.y == hf.integrate("damped_pendulum", "rk4", [1.0, 0.0], (0, 1), 0.1).y).all()


def test_control_problems_take_reals_alone() -> None:
    def solved(y0: Any = (1.0,), steps: Any = 2, **options: Any) -> Any:
        return hf.optimal_control("hager", "kutta3", y0=[*y0], steps=steps, **options)

    assert solved().cost == solved([Fraction(1)], np.int64(2), time=np.float32(1)).cost
    for y0 in ([1j], ["1"], [True], [None]):
        with pytest.raises(ValueError, match=r"y0.*real numbers were expected"):
            solved(y0)
    for steps in ("2", 2.5, 0, True, None):
        with pytest.raises(ValueError, match="steps"):
            solved(steps=steps)
    for name in ("time", "t0", "tolerance"):
        for value in (1j, "1", None, float("nan")):
            with pytest.raises(ValueError, match=name):
                solved(**{name: value})


def test_whole_numbers_and_tables_are_what_they_are_called() -> None:
    run = {"t_span": (0, 1), "h": 0.1}
    for every in (True, "2", 1.5, 0):
        with pytest.raises(ValueError, match="every"):
            hf.integrate("kepler", "rk4", every=every, **run)
    with pytest.raises(ValueError, match="names with numbers were expected"):
        hf.integrate("damped_pendulum", "rk4", parameters=["gamma"], **run)
    network = hf.network("resnet", "rk4", 2, {"d": 2}, backend="numba")
    with pytest.raises(ValueError, match="total = 1j"):
        network.project_(1j)
    for h in (np.array([0.1j, 1]), np.ones((2, 2)), ["0.1", "0.2"], [True, True]):
        with pytest.raises(ValueError, match="h = "):
            hf.network("resnet", "rk4", 2, {"d": 2}, h=h, backend="numba")
    for h in (np.array(0.5), torch.tensor([0.5, 0.5]), (0.5, 0.5)):
        assert (hf.network("resnet", "rk4", 2, {"d": 2}, h=h, backend="numba").h == 0.5).all()
