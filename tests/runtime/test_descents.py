"""Discrete gradients as methods for gradient flows, in ``hf.minimize``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import hamilforge as hf
from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.runtime.core import loader
from hamilforge.runtime.optimizers.descent import NoStepError
from hamilforge.verification import verify

NAMES = catalogue.names("discrete-gradient")
#: Those that ask for values alone, one coordinate or direction after the other.
BY_LINES = [
    name
    for name in NAMES
    if (product := loader.load(name).module("numba")).SAMPLES != "gradients"
    and len(getattr(product, "DIRECTIONS", ())) < 2
]
STEPS = [0.01, 1.0, 100.0]
#: How far the identity may be from holding, relative to the larger value.
IDENTITY = 1e-13
ROSENBROCK = hf.problem("rosenbrock", d=4)
MATRIX = np.array([[3.0, 1.0, 0.2], [1.0, 2.0, -0.5], [0.2, -0.5, 1.0]])


def bowl(x: Any) -> float:
    return float(x @ MATRIX @ x / 2 + (x**4).sum() / 4 + 1)


def bowl_slope(x: Any) -> Any:
    return MATRIX @ x + x**3


def walked(name: str, fun: Callable[..., Any], x0: Any, **options: Any) -> tuple[list[Any], Any]:
    """All points of a run, the start first, and its result."""
    points = [np.array(x0, float)]
    result = hf.minimize(fun, x0, method=name, callback=points.append, **options)
    return points, result


def defects(values: Any, points: Any, h: float) -> list[float]:
    """How far each step is from ``J(v) - J(u) = -|v - u|^2/h``, relative to the larger value."""
    pairs = zip(values, values[1:], points, points[1:], strict=False)
    return [
        abs(after - before + ((v - u) ** 2).sum() / h) / max(abs(before), abs(after))
        for before, after, u, v in pairs
    ]


# --- what each step keeps -------------------------------------------------------------------------


@pytest.mark.parametrize("h", STEPS)
@pytest.mark.parametrize("name", NAMES)
def test_each_step_falls_by_its_square_over_h(name: str, h: float) -> None:
    points, result = walked(name, bowl, [1.0, -2.0, 0.5], jac=bowl_slope, h=h, maxiter=30)
    assert len(points) == result.nit + 1 > 5
    assert max(defects([bowl(x) for x in points], points, h)) <= IDENTITY
    assert result.fun < bowl(points[0])


@pytest.mark.parametrize("h", STEPS)
@pytest.mark.parametrize("name", BY_LINES)
@pytest.mark.parametrize("problem", ["rosenbrock", "relu_network", "absolute", "chained_lq"])
def test_values_never_rise(problem: str, name: str, h: float) -> None:
    loss = hf.problem(problem)
    points, _ = walked(name, loss, loss.start + 0.1, h=h, maxiter=40)
    values = [loss(x) for x in points]
    assert all(after <= before for before, after in pairwise(values))
    moved = [((v - u) ** 2).sum() for u, v in pairwise(points)]
    # the rounding of a point changes a value by its slope
    steep = [abs(loss.gradient(x)).max() * abs(x).max() * 1e-15 for x in points[1:]]
    for before, after, square, lost in zip(values, values[1:], moved, steep, strict=False):
        size = max(abs(before), abs(after))
        assert abs(after - before + square / h) <= IDENTITY * size + len(points[0]) * lost


@pytest.mark.parametrize("h", STEPS)
def test_itoh_abe_finds_the_kink(h: float) -> None:
    """Steps over the kink of |x| end at e with 1/e growing by 4/h: the slopes never vanish."""
    steps, near = 1000, 200
    result = hf.minimize(lambda x: abs(x).sum(), [0.7, -1.3], method="itoh_abe", h=h, maxiter=steps)
    assert abs(result.x).max() <= 1.1 * h / (4 * (steps - near))


def test_a_minimum_between_kinks_is_left_alone() -> None:
    result = hf.minimize(lambda x: abs(x).sum(), [0.0, 0.0], method="itoh_abe")
    assert (result.nit, result.fun, result.success) == (1, 0.0, True)


@pytest.mark.parametrize("name", NAMES)
def test_steps_follow_the_flow_to_their_order(name: str) -> None:
    order = pipeline.check(catalogue.load(name))["gradient_flow_order"]
    if order is None:
        pytest.skip("a step moves along a drawn direction")
    start, end = np.array([1.0, -2.0, 0.5]), 0.5
    flow = solve_ivp(
        lambda _, x: -bowl_slope(x), (0, end), start, method="DOP853", rtol=1e-12, atol=1e-13
    )
    errors = []
    for steps in (16, 32, 64):
        options = {"h": end / steps, "maxiter": steps, "gtol": 0.0}
        x = hf.minimize(bowl, start, method=name, jac=bowl_slope, **options).x
        errors.append(np.linalg.norm(x - flow.y[:, -1]))
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert abs(slopes - order).max() <= 0.15


@pytest.mark.parametrize("name", NAMES)
def test_a_minimum_is_found(name: str) -> None:
    maxiter = 5000 if name == "itoh_abe_randomised" else 500
    result = hf.minimize(bowl, [1.0, -2.0, 0.5], method=name, jac=bowl_slope, maxiter=maxiter)
    assert result.success, result.message
    assert abs(bowl_slope(result.x)).max() <= 1e-5
    assert result.values_per_step == result.nfev / result.nit


def test_values_are_all_that_increments_ask_for() -> None:
    def slope(x: Any) -> Any:
        raise AssertionError("a gradient was asked for")

    for name in NAMES:
        if loader.load(name).module("numba").SAMPLES != "gradients":
            result = hf.minimize(bowl, [1.0, -2.0, 0.5], method=name, jac=slope, maxiter=5)
            assert (result.njev, result.nit) == (0, 5)


# --- batches, directions --------------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_LINES)
def test_a_batch_is_its_problems(name: str) -> None:
    starts = np.random.default_rng(1).standard_normal((6, 3))
    kept = {"h": 0.3, "maxiter": 12, "gtol": 0.0}

    def rows(points: Any) -> Any:
        return np.array([bowl(point) for point in points])

    together = hf.minimize(rows, starts, method=name, batched=True, **kept)
    assert together.x.shape == starts.shape
    assert together.fun.shape == (6,)
    if name != "itoh_abe_randomised":  # where each problem draws directions of its own
        alone = [hf.minimize(bowl, start, method=name, **kept) for start in starts]
        assert np.array_equal(together.x, [result.x for result in alone])
    assert (together.fun < rows(starts)).all()


def test_a_seed_chooses_directions() -> None:
    ends = [
        hf.minimize(bowl, [1.0, -2.0, 0.5], method="itoh_abe_randomised", maxiter=5, seed=seed).x
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])


# --- what cannot be -------------------------------------------------------------------------------


def test_a_function_that_falls_for_ever_has_no_step() -> None:
    with pytest.raises(NoStepError, match=r"h = 0\.5: the function falls for ever"):
        hf.minimize(lambda x: float(-(x[0] ** 4)), [1.0], method="itoh_abe", h=0.5)


def test_a_step_that_is_not_found_names_h() -> None:
    loss = hf.problem("rosenbrock")
    with pytest.raises(NoStepError, match="h = 1 was found; a smaller h may"):
        hf.minimize(loss, [-1.2, 1.0], method="gonzalez", jac=loss.gradient, h=1.0, maxiter=300)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("itoh_abe", {"h": 0}, "h = 0: a positive number"),
        ("itoh_abe", {"h": float("nan")}, "h = nan"),
        ("itoh_abe", {"lr": 1}, r"unknown options \['lr'\]; expected one of maxiter, gtol, h"),
        ("itoh_abe", {"seed": 1}, r"unknown options \['seed'\]"),
        ("gonzalez", {"batched": True}, "one equation for all coordinates"),
        ("itoh_abe", {"batched": True}, r"\(problems, n\) was expected"),
        ("itoh_abe", {"maxiter": -1}, "maxiter"),
    ],
)
def test_what_may_not_be_said(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hf.minimize(bowl, [1.0, -2.0, 0.5], method=method, **options)


def test_values_of_a_batch_have_its_shape() -> None:
    with pytest.raises(ValueError, match="a number for each of the 2 rows"):
        hf.minimize(np.square, np.ones((2, 3)), method="itoh_abe", batched=True)


def test_a_start_without_a_value_is_told() -> None:
    result = hf.minimize(lambda x: float("nan"), [1.0], method="itoh_abe")
    assert (result.status, result.success, result.nit) == (2, False, 0)


def test_an_optimizer_is_another_thing() -> None:
    with pytest.raises(ValueError, match=r'hf\.minimize\(\.\.\., method="gonzalez"\)'):
        hf.optimizer("gonzalez")


def test_drawn_directions_do_not_conserve() -> None:
    with pytest.raises(hf.DeclarationError, match="is one of a gradient flow"):
        hf.integrate("pendulum", "itoh_abe_randomised")


# --- declarations and faults ----------------------------------------------------------------------


def test_a_quadrature_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "trapezoidal.toml"
    path.write_text(
        'kind = "discrete-gradient"\nname = "ends"\ntitle = "-"\nreference = "-"\n'
        'quadrature = "lobatto_iiia2"\n[claims]\ngradient_flow_order = 2\n'
    )
    assert pipeline.check(catalogue.load(path)).holds
    assert verify(path).holds
    points, _ = walked(str(path), bowl, [1.0, -2.0, 0.5], jac=bowl_slope, h=2.0, maxiter=20)
    assert max(defects([bowl(x) for x in points], points, 2.0)) <= IDENTITY


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("gonzalez", "u + 0.5 * difference", "u + 0.4 * difference"),
        ("gonzalez", "increase - np.sum", "increase + np.sum"),
        ("average_vector_field", "0.28444444444444444 *", "0.28444444444 *"),
        ("itoh_abe", "DIRECTIONS = (1,)", "DIRECTIONS = (-1,)"),
        ("itoh_abe_symmetric", "/ len(DIRECTIONS)", "/ 1"),
        ("itoh_abe_randomised", "increase / distance", "2 * increase / distance"),
    ],
)
def test_a_planted_fault_is_seen(
    name: str, old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = loader.load(name).module("numba")
    text = Path(str(product.__file__)).read_text("utf-8")
    assert old in text
    (tmp_path / "planted.py").write_text(text.replace(old, new).replace('"cache": True, ', ""))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert verify(name).holds
    planted = importlib.import_module("planted")
    monkeypatch.setattr(loader.Loaded, "module", lambda self, backend: planted)
    try:
        assert not verify(name).holds
    finally:
        del sys.modules["planted"]
