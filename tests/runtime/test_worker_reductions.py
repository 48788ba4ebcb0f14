"""What rules with means over workers are of others, and for which curvatures they shrink."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy

import hamilforge as hf
from tests.samples import diagonal, sampled

from .loops import product_of
from .worker_problem import START, near, slope


def test_one_easgd_worker_on_no_spring_is_sgd() -> None:
    ours = hf.simulate_workers("easgd", slope, 1, START[0], 100, eta=0.1, rho=0.0, tau=1)
    sgd = hf.simulate_workers("sgd", slope, 1, START[0], 100, lr=0.1)
    near(ours.x, sgd.x)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_centre_on_its_stiffest_springs_is_the_mean_of_the_step_before(size: int) -> None:
    """workers*eta*rho = 1, which the centre alone would take at once."""
    hyper = {"eta": 0.1, "rho": 1 / (0.1 * size), "tau": 1}
    for steps in (1, 2, 50, 100):
        ours = hf.simulate_workers("easgd", slope, size, START[0], steps, **hyper)
        near(ours.solution, np.broadcast_to(ours.path[-2].mean(axis=0), ours.solution.shape))


def test_parle_of_one_worker_is_deep_relaxation_with_lr_times_gamma() -> None:
    same = {"gamma": 0.7, "L": 3, "eta": 0.1, "rate": 0.0}
    ours = hf.simulate_workers("parle", slope, 1, START[0], 300, lr=0.3 / 0.7, **same)
    theirs = hf.simulate_workers(
        "deep_relaxation", slope, 1, START[0], 300, lr=0.3, temperature=0.0, **same
    )
    near(ours.x, theirs.x)
    near(ours.solution, theirs.solution)


def test_parle_with_loops_of_one_step_is_elastic_averaging_around_the_present_mean() -> None:
    lr, a, eta, rho, size = 0.4, 0.6, 0.2, 0.9, 3
    hyper = {"lr": lr, "a": a, "eta": eta, "rho": rho, "L": 1, "rate": 0.0}
    ours = hf.simulate_workers("parle", slope, size, START[0], 100, **hyper)
    xs = [START[0]] * size
    for step in range(100):
        mean = sum(xs) / size
        xs = [
            own - lr * (1 - a) * eta * slope(own, i, step) - lr / rho * (own - mean)
            for i, own in enumerate(xs)
        ]
        near(ours.path[step + 1], xs)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_local_sgd_that_averages_each_step_is_data_parallel(momentum: float) -> None:
    hyper = {"lr": 0.1, "momentum": momentum}
    ours = hf.simulate_workers("local_sgd", slope, 4, START[0], 100, tau=1, **hyper)

    def mean_slope(x: Any, worker: int, step: int) -> Any:
        return sum(slope(x, own, step) for own in range(4)) / 4

    alone = hf.simulate_workers("sgd", mean_slope, 1, START[0], 100, **hyper)
    near(ours.x, np.broadcast_to(alone.x, ours.x.shape))


@pytest.mark.parametrize("length", [1, 7])
def test_diloco_of_one_worker_without_outer_momentum_is_its_inner_adamw(length: int) -> None:
    hyper = {"lr": 0.02, "eps": 1e-3}
    ours = hf.simulate_workers(
        "diloco", slope, 1, START[0], 98, H=length, mu=0.0, outer_lr=1.0, **hyper
    )
    adamw = hf.simulate_workers("adamw", slope, 1, START[0], 98, weight_decay=0.1, **hyper)
    near(ours.x, adamw.x)


@pytest.mark.parametrize("size", sampled([4, 1, 2, 8], every=4))
def test_springs_alone_grow_from_where_the_guard_begins(size: int) -> None:
    """No loss: bounded at (workers + 1) eta rho = 1.99, growing at 2.01."""

    def kicked(x: Any, worker: int, step: int) -> Any:
        return (step == 0) * (1.0 + worker) * np.ones_like(x)

    def path(product: float) -> Any:
        hyper = {"eta": 0.1, "rho": product / (size + 1) / 0.1, "tau": 1}
        return abs(hf.simulate_workers("easgd", kicked, size, np.zeros(1), 1400, **hyper).path)

    bounded, growing = path(1.99), path(2.01)
    assert bounded.max() == bounded[:401].max()
    assert growing.max() > 1e4 * growing[:401].max()


@pytest.mark.parametrize(
    ("size", "lr", "holds"), [(1, 0.5, True), (2, 0.5, False), (2, 0.15, True)]
)
def test_parle_needs_springs_that_are_not_too_stiff(size: int, lr: float, holds: bool) -> None:
    """Beyond, workers apart go further apart: lr/rho times their distance is taken off it."""

    def kicked(x: Any, worker: int, step: int) -> Any:
        return (step == 0) * (1.0 + worker) * np.ones_like(x)

    hyper = {"rho": 0.1, "rho_floor": 0.1, "L": 1, "lr": lr}
    module = product_of("parle")
    values = {key: default for key, (default, _) in module.HYPERPARAMETERS.items()} | hyper
    found = hf.simulate_workers("parle", kicked, size, np.zeros(1), 60, **hyper)
    grown = abs(found.path).max() > 100
    assert grown == (not holds)
    if holds:
        module.check_requirements(*values.values(), size)
        return
    with pytest.raises(ValueError, match="less than twice the least rho"):
        module.check_requirements(*values.values(), size)


LIMITS = {
    "easgd": {"eta": 0.1, "rho": 2.0, "tau": 1},
    "eamsgd": {"eta": 0.1, "rho": 2.0, "delta": 0.5, "tau": 1},
    "parle": {"eta": 0.1, "rho": 0.5, "lr": 0.3, "L": 1, "rate": 0.0, "gamma": 2.0},
    "local_sgd": {"lr": 0.1, "momentum": 0.5, "tau": 1},
}


@pytest.mark.parametrize(
    ("name", "mode", "size"),
    diagonal(LIMITS, ["together", "apart"], [2, 4, 4, 2]),
)
def test_workers_on_a_parabola_grow_from_the_limit_that_is_proved(
    name: str, mode: str, size: int
) -> None:
    """Beside it on either side, from a start alike, or from kicks whose mean is 0."""
    hyper = LIMITS[name]
    text = hf.check(name).finding("loop_stability").value[mode]
    if not text.startswith("lambda < "):
        assert (name, mode) == ("local_sgd", "apart")
        return
    formula = text.removeprefix("lambda < ").removesuffix(" near the defaults")
    names = {**hyper, "a": 0.75, "rho_k": hyper.get("rho", 1.0), "workers": size}
    limit = float(sympy.sympify(formula, locals={"lambda": 0}).subs(names))

    def largest(curvature: float, steps: int) -> float:
        def slopes(x: Any, worker: int, step: int) -> Any:
            kick = {"together": 1.0, "apart": (-1.0) ** worker}[mode] * (step == 0)
            return curvature * x + kick

        path = hf.simulate_workers(name, slopes, size, np.zeros(1), steps, **hyper).path
        return float(abs(path[steps // 2 :]).max())

    assert largest(0.99 * limit, 1200) < 0.05
    assert largest(1.01 * limit, 1200) > 20
