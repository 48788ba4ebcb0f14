"""Discrete gradients on manifolds, in ``hf.minimize``: coordinates of tangent vectors."""

from __future__ import annotations

import importlib
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import hamilforge as hf
from hamilforge.gen.declare import catalogue
from hamilforge.runtime.core import loader
from hamilforge.runtime.optimizers.descent import NoStepError
from tests.samples import diagonal

NAMES = catalogue.names("discrete-gradient")
MANIFOLDS = catalogue.names("manifold")
BY_LINES = [name for name in NAMES if not loader.load(name).module("numba").IMPLICIT]
SHAPES = {True: (5,), False: (4, 2)}
STEPS = [0.01, 1.0, 100.0]
IDENTITY = 1e-13
UNIT = np.finfo(float).eps / 2
MATRIX = np.array(  # positive definite, for what has no constraint
    [[4.0, 0.5, 0.1, 0.0], [0.5, 1.0, 0.3, 0.2], [0.1, 0.3, 2.7, -0.4], [0.0, 0.2, -0.4, 3.5]]
)
WEIGHTS = np.array([2.0, 1.0])


def start(manifold: str, seed: int = 0, size: int = 4) -> Any:
    """A point: a vector of ``size``, or a matrix with two columns; SO(n) has square ones."""
    maps = hf.manifold(manifold)
    module = importlib.import_module(type(maps).__module__)
    square = module.SHAPE[0] == module.SHAPE[1]
    shape = (size,) if module.VECTORS else (size, size if square else 2)
    generator = torch.Generator().manual_seed(seed)
    return maps.random(*shape, generator=generator, dtype=torch.float64).numpy()


def brockett(x: Any) -> float:
    """Smooth, on vectors and matrices of four rows; never 0."""
    columns = x.reshape(4, -1)
    weights = 1.0 / np.arange(1, columns.shape[1] + 1)
    return float(((MATRIX @ columns) * columns * weights).sum() + columns[0, 0] + 9)


def slope(x: Any) -> Any:
    columns = x.reshape(4, -1)
    found = 2 * MATRIX @ columns / np.arange(1, columns.shape[1] + 1)
    found[0, 0] += 1
    return found.reshape(x.shape)


def walked(name: str, manifold: str, fun: Any, x0: Any, **options: Any) -> tuple[list[Any], Any]:
    points = [np.array(x0)]
    result = hf.minimize(fun, x0, method=name, manifold=manifold, callback=points.append, **options)
    return points, result


# --- what each step keeps -------------------------------------------------------------------------


@pytest.mark.parametrize(("manifold", "name", "h"), diagonal(MANIFOLDS, NAMES, STEPS))
def test_a_step_falls_by_the_square_of_its_tangent_vector_over_h(
    name: str, manifold: str, h: float
) -> None:
    if name not in BY_LINES:
        h = min(h, 10.0)  # of a larger one a step may not be found
    maps, u = hf.manifold(manifold), start(manifold)
    result = hf.minimize(
        brockett, u, method=name, manifold=manifold, jac=slope, h=h, maxiter=1, gtol=0
    )
    way = -h * result.jac
    before, after = brockett(u), brockett(result.x)
    fallen = abs(after - before + (way**2).sum() / h)
    assert fallen <= IDENTITY * max(abs(before), abs(after))
    assert after < before
    at, vector = torch.from_numpy(u), torch.from_numpy(way)
    assert abs(maps.project(at, vector) - vector).max() <= 1e-13 * abs(way).max()
    assert abs(maps.retract(at, vector).numpy() - result.x).max() <= 1e-14


@pytest.mark.parametrize("name", BY_LINES)
def test_a_function_without_a_bound_has_no_long_steps(name: str) -> None:
    """Its values overflow in sums of infinities of both signs, before they are minus infinity."""
    saddle = MATRIX - 2 * np.eye(4)

    def value(x: Any) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            return float(((saddle @ x) * x).sum() + x[0, 0])

    try:  # the first step raises, a later one ends the walk
        result = hf.minimize(value, start("flat"), method=name, manifold="flat", h=100.0, gtol=0)
        message = result.message
        assert result.status == 4
        assert result.fun > -1e150
    except NoStepError as error:
        message = str(error)
    assert "falls for ever" in message


@pytest.mark.parametrize("h", STEPS)
@pytest.mark.parametrize("name", BY_LINES)
def test_walks_on_a_sphere_fall_by_tangents(name: str, h: float) -> None:
    """Where W leads from u the angle has the tangent |W|."""
    points, result = walked(name, "sphere", brockett, start("sphere"), h=h, maxiter=40, gtol=0)
    assert len(points) == result.nit + 1 > 10
    for u, v in pairwise(points):
        across = v - (u @ v) * u
        square = across @ across / (u @ v) ** 2
        before, after = brockett(u), brockett(v)
        assert after <= before
        assert abs(after - before + square / h) <= IDENTITY * max(abs(before), abs(after))


@pytest.mark.parametrize("retraction", ["qr", "cayley", "exponential"])
@pytest.mark.parametrize("name", BY_LINES)
def test_any_retraction_and_metric_serve(name: str, retraction: str) -> None:
    maps, u, h = hf.manifold("stiefel"), start("stiefel"), 100.0
    result = hf.minimize(
        brockett,
        u,
        method=name,
        h=h,
        maxiter=1,
        options={"manifold": "stiefel", "retraction": retraction, "metric": "canonical"},
    )
    at, way = torch.from_numpy(u), torch.from_numpy(-h * result.jac)
    square = float(maps.inner(at, way, way, "canonical"))
    before, after = brockett(u), brockett(result.x)
    assert abs(after - before + square / h) <= 1e-12 * before
    assert square > 1e-6
    assert abs(maps.retract(at, way, retraction).numpy() - result.x).max() <= 1e-14


@pytest.mark.parametrize("metric", ["euclidean", "canonical"])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in {*BY_LINES[1:]}])
def test_steps_have_their_order_on_the_gradient_flow(name: str, metric: str) -> None:
    """That of R^n, where R follows geodesics of the metric to the second order."""
    maps, u = hf.manifold("stiefel"), start("stiefel")
    retraction = {"euclidean": "polar", "canonical": "cayley"}[metric]

    def flow(t: float, x: Any) -> Any:
        at = torch.from_numpy(x.reshape(u.shape))
        along = maps.gradient(at, torch.from_numpy(slope(at.numpy())), metric)
        return -along.numpy().ravel()

    errors = []
    for h in (0.04, 0.02):
        exact = solve_ivp(flow, (0, h), u.ravel(), rtol=1e-12, atol=1e-13).y[:, -1]
        options = {"manifold": "stiefel", "retraction": retraction, "metric": metric}
        found = hf.minimize(brockett, u, jac=slope, method=name, h=h, maxiter=1, options=options)
        errors.append(abs(found.x.ravel() - exact).max())
    order = int(hf.check(name)["order"])
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order + 1, abs=0.25)


@pytest.mark.parametrize("manifold", ["sphere", "stiefel"])
@pytest.mark.parametrize("name", BY_LINES)
def test_where_there_are_kinks_nothing_rises(name: str, manifold: str) -> None:
    def kinked(x: Any) -> float:
        return float(abs(x).sum())

    x0 = start(manifold)
    points, result = walked(name, manifold, kinked, x0, h=0.3, maxiter=150)
    values = [kinked(x) for x in points]
    assert all(after <= before for before, after in pairwise(values))
    assert result.fun == values[-1]
    least = 1.0 if manifold == "sphere" else 2.0  # columns are unit vectors of the axes
    assert values[-1] - least < 0.5 * (values[0] - least)


def moves(steps: int, manifold: str) -> None:
    """A few down and a few up again, so that they do not come to rest."""
    x, sign = start(manifold), 1.0
    while steps > 0:
        found = hf.minimize(
            lambda x, sign: sign * brockett(x),
            x,
            (sign,),
            method="itoh_abe",
            manifold=manifold,
            h=0.1,
            maxiter=min(steps, 6),
            gtol=0,
        )
        assert found.nit == min(steps, 6)
        x, sign, steps = found.x, -sign, steps - found.nit
    assert violation(x) <= 100 * UNIT


def violation(x: Any) -> float:
    columns = x.reshape(len(x), -1)
    return float(np.linalg.norm(columns.T @ columns - np.eye(columns.shape[1]), 2))


@pytest.mark.parametrize("manifold", ["sphere", "stiefel"])
def test_points_stay_on_their_manifold(manifold: str) -> None:
    moves(100, manifold)


@pytest.mark.full
@pytest.mark.parametrize("manifold", ["sphere", "stiefel"])
def test_points_stay_on_their_manifold_for_ten_thousand_moves(manifold: str) -> None:
    moves({"sphere": 3334, "stiefel": 2000}[manifold], manifold)


# --- where they lead ------------------------------------------------------------------------------


def test_a_leading_eigenvector_is_found() -> None:
    least, vectors = np.linalg.eigh(MATRIX)
    found = hf.minimize(
        lambda x: float(x @ MATRIX @ x), start("sphere"), method="itoh_abe", manifold="sphere"
    )
    assert found.success
    assert found.fun == pytest.approx(least[0], abs=1e-12)
    assert abs(found.x @ vectors[:, 0]) == pytest.approx(1, abs=1e-11)
    assert found.values_per_step > 3


def test_the_minimum_of_brockett_is_found() -> None:
    values = np.linalg.eigvalsh(MATRIX)
    found = hf.minimize(
        lambda x: float(((MATRIX @ x) * x * WEIGHTS).sum()),
        start("stiefel"),
        method="itoh_abe",
        manifold="stiefel",
        h=0.5,
    )
    assert found.success
    assert found.fun == pytest.approx(2 * values[0] + values[1], abs=1e-11)
    assert found.x.shape == (4, 2)


@pytest.mark.parametrize("name", BY_LINES)
def test_problems_of_a_batch_do_not_know_each_other(name: str) -> None:
    x0 = np.stack([start("stiefel", seed) for seed in range(6)])
    shapes = set()

    def values(x: Any) -> Any:
        shapes.add(x.shape)
        return np.einsum("kip,ij,kjp,p->k", x, MATRIX, x, WEIGHTS)

    options = {"manifold": "stiefel", "h": 0.5, "maxiter": 20}
    together = hf.minimize(values, x0, method=name, batched=True, **options)
    assert shapes == {(6, 4, 2)}
    assert together.x.shape == together.jac.shape == (6, 4, 2)
    assert (together.fun < values(x0)).all()
    assert max(map(violation, together.x)) <= 100 * UNIT
    if loader.load(name).module("numba").DRAWN:  # a direction for each
        return
    for row, own in zip(x0, together.x, strict=True):
        alone = hf.minimize(lambda x: float(values(x[None])[0]), row, method=name, **options)
        assert own == pytest.approx(alone.x, abs=1e-6)  # roots are found to the rounding of J
        shapes.clear()


@pytest.mark.usefixtures("kernels")
def test_positive_definite_matrices_are_not_left(tmp_path: Any) -> None:
    """An open set in its own metric: what is not one is too far, for every h."""
    file = tmp_path / "definite.toml"
    file.write_text(
        """
kind = "manifold"
name = "definite"
title = "Symmetric positive definite matrices"
reference = "own"
point = { X = ["n", "n"] }
constraint = "X - transpose(X)"
project = "sym(V)"
[retractions]
straight = "X + V + sym(V @ solve(X, V))/2"
[metrics.invariant]
inner = "sum(solve(X, U)*transpose(solve(X, V)))"
gradient = "X @ sym(G) @ X"
[where]
positive = "X"
[sample]
point = "Z @ transpose(Z) + eye(n)"
"""
    )
    target = np.array([[2.0, 0.3], [0.3, 0.5]])

    def divergence(x: Any) -> float:
        sign, size = np.linalg.slogdet(x)
        assert sign > 0
        return float(np.trace(x @ np.linalg.inv(target)) - size)

    for h in (0.2, 100.0):
        found = hf.minimize(
            divergence, np.eye(2), method="itoh_abe", manifold=file, h=h, maxiter=300
        )
        assert (np.linalg.eigvalsh(found.x) > 0).all()
        assert found.fun < divergence(np.eye(2))
        if h < 1:
            assert found.x == pytest.approx(target, abs=1e-5)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"x0": np.array([2.0, 0, 0])}, r"x0 is not on the manifold sphere: dot\(X, X\) - 1 is 3"),
        ({"x0": np.eye(2)}, "on the manifold sphere a vector was expected"),
        ({"x0": np.eye(3), "batched": True, "fun": None}, "on the manifold sphere"),
        ({"x0": np.ones(1)}, "a point of the shape .1,. cannot move"),
        ({"retraction": "qr"}, "retraction = 'qr': the manifold sphere has normalise, "),
        ({"retraction": "orthographic"}, "expected one of normalise, exponential"),
        ({"metric": "flat"}, "metric = 'flat': the manifold sphere has euclidean"),
        ({"method": "rgd"}, "by discrete gradients, and rgd is none"),
        ({"manifold": "spere"}, "no manifold is named 'spere'"),
        ({"manifold": "rgd"}, "no manifold is named 'rgd'"),
    ],
)
def test_what_cannot_be_is_refused(changed: dict[str, Any], text: str) -> None:
    given: dict[str, Any] = {"x0": np.eye(3)[0], "method": "itoh_abe", "manifold": "sphere"}
    given |= changed
    if "fun" in changed:
        given["x0"] = np.eye(3) * [[1.0], [1.0], [2.0]]
        text = "row 2 of x0 is not on the manifold sphere"
        del given["fun"]
    with pytest.raises(ValueError, match=text):
        hf.minimize(lambda x: 0.0, given.pop("x0"), **given)


def test_symmetric_increments_go_on_near_a_minimum():
    """A coordinate that hardly moves has a quotient of small differences: its noise is larger."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((5, 5))
    matrix, sizes = matrix + matrix.T, np.diag([2.0, 1.0])
    calls = [0]

    def brockett(point):
        calls[0] += 1
        return np.trace(point.T @ matrix @ point @ sizes)

    start = np.linalg.qr(rng.standard_normal((5, 2)))[0]
    found = hf.minimize(
        brockett,
        start,
        method="itoh_abe_symmetric",
        manifold="stiefel",
        options={"h": 0.1, "maxiter": 40},
    )
    assert found.nit == 40
    assert calls[0] < 40_000  # of which one step took more
    lowest = np.linalg.eigvalsh(matrix)
    assert found.fun == pytest.approx(2 * lowest[0] + lowest[1], abs=1e-5)
