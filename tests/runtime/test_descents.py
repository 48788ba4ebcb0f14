"""Discrete gradients as methods for gradient flows, in ``hf.minimize``."""

from __future__ import annotations

import importlib
import math
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
from hamilforge.gen.prove.report import Report
from hamilforge.runtime.core import loader
from hamilforge.runtime.optimizers.descent import ImplicitSteps, NoStepError
from hamilforge.verification import verify
from tests.samples import compiled, diagonal, sampled

#: What a kernel computes is seen as well by its text as Python, but where it is said.
pytestmark = pytest.mark.usefixtures("kernels")

NAMES = catalogue.names("discrete-gradient")
#: Those that ask for values alone, one coordinate or direction after the other.
BY_LINES = [name for name in NAMES if not loader.load(name).module("numba").IMPLICIT]
STEPS = [0.01, 1.0, 100.0]
#: Those that take means of gradients.
BY_GRADIENTS = [name for name in NAMES if loader.load(name).module("numba").SAMPLES == "gradients"]
#: How far the identity may be from holding, relative to the larger value.
IDENTITY = 1e-13
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


@compiled
@pytest.mark.parametrize(("name", "h"), diagonal(NAMES, STEPS))
def test_each_step_falls_by_its_square_over_h(name: str, h: float) -> None:
    points, result = walked(name, bowl, [1.0, -2.0, 0.5], jac=bowl_slope, h=h, maxiter=30)
    assert len(points) == result.nit + 1 > 5
    assert max(defects([bowl(x) for x in points], points, h)) <= IDENTITY
    assert result.fun < bowl(points[0])


def off(
    name: str, points: list[Any], h: float, values: Any = bowl, slope: Any = bowl_slope
) -> float:
    """How far steps are from ``v = u - h grad(u, v)`` by the generated discrete gradient."""
    steps = ImplicitSteps(loader.load(name).module("numba"), bowl, bowl_slope, lambda u, *_: u, h)
    distances = []
    for u, v in pairwise(points):
        mean = steps.mean(u, v, bowl(u), bowl(v))
        distances.append(abs(v - u + h * mean).max() / abs(v - u).max())
    return float(max(distances))


@pytest.mark.parametrize("h", STEPS)
@pytest.mark.parametrize("name", NAMES)
def test_each_step_solves_its_equation(name: str, h: float) -> None:
    points, _ = walked(name, bowl, [1.0, -2.0, 0.5], jac=bowl_slope, h=h, maxiter=8)
    assert off(name, points, h) <= 1e-6


def test_a_step_of_the_mean_of_both_orders_is_its_solution() -> None:
    """A coordinate that stays when it moves first does not stay in the mean."""

    def saddle(x: Any) -> float:
        return float(x[0] * (x[1] - 1) + x[1] ** 2 / 2)

    h, start = 0.1, [0.0, 1.0]
    end = hf.minimize(saddle, start, method="itoh_abe_symmetric", h=h, maxiter=1).x
    # J's discrete gradient is (mean of y - 1, mean of x + mean of y), here linear in v
    matrix = np.array([[1.0, h / 2], [h / 2, 1 + h / 2]])
    solution = np.linalg.solve(matrix, [h / 2, 1 - h / 2])
    assert end == pytest.approx(solution, rel=1e-9)


OUTSIDE = {
    "inf": lambda x: np.inf,
    "nan": lambda x: np.nan,
    "an overflow": lambda x: math.exp(1e6),
}


@pytest.mark.parametrize("outside", OUTSIDE)
@pytest.mark.parametrize("h", [0.1, 2.0, 20.0, 1e4])
def test_what_is_not_finite_is_too_far(h: float, outside: str) -> None:
    """A barrier, with its root inside for every h."""

    def barrier(x: Any) -> float:
        return float(x[0] - np.log(x[0])) if x[0] > 0 else OUTSIDE[outside](x)

    points, result = walked("itoh_abe", barrier, [3.0], h=h, maxiter=200)
    assert max(defects([barrier(x) for x in points], points, h)) <= IDENTITY
    assert abs(points[1] - 3).max() > 0.05
    if h <= 20:
        assert result.success
        assert result.x == pytest.approx([1.0], abs=1e-5)


def test_a_coordinate_that_stayed_moves_when_it_can() -> None:
    """Near the kink in y the slope by x, which was hidden, is seen again."""

    def folded(x: Any) -> float:
        a, y = x
        return float(1000 + abs(y) + 0.1 * max(0, 2 - y) * (a - 2) ** 2 + max(0, y - 2) * abs(a))

    result = hf.minimize(folded, [0.0, 5.0], method="itoh_abe", h=0.05, maxiter=800)
    assert abs(result.x[0] - 2) <= 0.05


def test_a_line_has_a_scale_of_its_own() -> None:
    def steep(x: Any) -> float:
        return float(1 + (1e6 * x[1] - 1) ** 2)

    result = hf.minimize(steep, [1e8, 0.0], method="itoh_abe", h=1e-13, maxiter=200, gtol=1.0)
    assert result.x == pytest.approx([1e8, 1e-6], rel=1e-3)


@pytest.mark.parametrize(("name", "above", "h"), diagonal(NAMES, [1.0, 1000.0], [0.1, 1.0]))
def test_a_run_ends_where_rounding_hides_the_rest(name: str, above: float, h: float) -> None:
    """Near a minimum with a value and a place that are no small numbers."""

    def lifted(x: Any) -> float:
        return bowl(x - 1 / 3) - 1 + above

    result = hf.minimize(
        lifted,
        [1.0, 0.2, 0.5],
        jac=lambda x: bowl_slope(x - 1 / 3),
        method=name,
        h=h,
        maxiter=5000,
    )
    slope = abs(bowl_slope(result.x - 1 / 3)).max()
    if result.success:
        assert slope <= 2e-6
    else:
        assert result.status == 3
        hidden = float(result.message.split(" of up to ")[1].split(",")[0])
        assert slope <= 2 * hidden * (1 + 4 * h)  # beside the slope half a step on, curvature 8


@pytest.mark.parametrize(
    ("start", "h"), [([1e16, 1.0], 0.5), ([1e8, 1.0], 1e-9), ([1.0, 2.0], 1e-17)]
)
def test_a_step_that_is_lost_in_rounding_is_no_minimum(start: list[float], h: float) -> None:
    result = hf.minimize(lambda x: abs(x).sum(), start, method="itoh_abe", h=h, maxiter=5)
    assert not result.success


@pytest.mark.parametrize("name", BY_LINES)
def test_a_large_h_does_not_make_a_minimum(name: str) -> None:
    """Steps are small beside h = 1e12 wherever they end."""
    result = hf.minimize(
        lambda x: float((x * x * [1, 10, 100]).sum()), [1, -1, 0.5], method=name, h=1e12, maxiter=5
    )
    assert not result.success


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [10, 11, 120])
def test_many_coordinates_are_solved_too(size: int, name: str) -> None:
    stiffness = np.linspace(1, 20, size)

    def spring(x: Any) -> float:
        return float(stiffness @ (x * x)) / 2 + 1

    points, result = walked(
        name, spring, np.ones(size), jac=lambda x: stiffness * x, h=0.05, maxiter=3
    )
    assert max(defects([spring(x) for x in points], points, 0.05)) <= IDENTITY
    solves = {"gradients": 40, "values": 60}.get(loader.load(name).module("numba").SAMPLES, 60)
    # near rounding, how a machine adds up products decides how many solves are the last ones
    assert result.njev <= 3 * 8 * solves
    assert result.nfev <= 3 * 2 * size * solves


def test_roots_take_few_values() -> None:
    loss = hf.problem("rosenbrock", d=2)
    result = hf.minimize(loss, [-1.2, 1.0], method="itoh_abe", h=1.0, maxiter=200)
    assert result.values_per_step <= 2 * 14
    at_rest = hf.minimize(lambda x: (x * x).sum(), [0.0, 0.0], method="itoh_abe")
    assert (at_rest.nit, at_rest.success) == (1, True)
    assert at_rest.nfev <= 2 * 2 * 2 * 25


def test_an_option_overrules_tol() -> None:
    kept = {"method": "itoh_abe", "tol": 1.0}
    loose = hf.minimize(bowl, [1.0, -2.0, 0.5], **kept)
    tight = hf.minimize(bowl, [1.0, -2.0, 0.5], gtol=1e-4, **kept)
    assert loose.nit < tight.nit


@pytest.mark.parametrize(
    ("problem", "name", "h"),
    diagonal(["rosenbrock", "relu_network", "absolute", "chained_lq"], BY_LINES, STEPS),
)
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


@pytest.mark.parametrize("h", sampled(STEPS, every=2))
def test_itoh_abe_finds_the_kink(h: float) -> None:
    """Steps over the kink of |x| end at e with 1/e growing by 4/h: the slopes never vanish."""
    steps, near = 1000, 200
    result = hf.minimize(lambda x: abs(x).sum(), [0.7, -1.3], method="itoh_abe", h=h, maxiter=steps)
    assert abs(result.x).max() <= 1.1 * h / (4 * (steps - near))


def test_a_minimum_between_kinks_is_left_alone() -> None:
    result = hf.minimize(lambda x: abs(x).sum(), [0.0, 0.0], method="itoh_abe")
    assert (result.nit, result.fun, result.success) == (1, 0.0, True)


@pytest.mark.parametrize(
    "name", [name for name in NAMES if not loader.load(name).module("numba").DRAWN]
)
def test_steps_follow_the_flow_to_their_order(name: str) -> None:
    order = pipeline.check(catalogue.load(name))["gradient_flow_order"]
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
    with pytest.raises(NoStepError, match=r"h = 0\.5: along line 1 of problem 1 the"):
        hf.minimize(lambda x: -(np.float64(x[0]) ** 4), [1.0], method="itoh_abe", h=0.5)


@pytest.mark.parametrize("name", BY_GRADIENTS)
def test_a_step_that_does_not_exist_names_h(name: str) -> None:
    """On -x^2 a step goes to u (1 + h)/(1 - h), which is nowhere for h = 1."""

    def hill(x: Any) -> float:
        return -float(x[0] ** 2)

    slope = {"jac": lambda x: -2 * x}
    with pytest.raises(NoStepError, match=f"no step of {name} with h = 1 was found"):
        hf.minimize(hill, [1.0], method=name, h=1.0, **slope)
    with pytest.raises(NoStepError, match=r"gradients were finite differences; jac=... is better$"):
        hf.minimize(hill, [1.0], method=name, h=1.0)
    end = hf.minimize(hill, [1.0], method=name, h=0.5, maxiter=1, **slope)
    assert end.x == pytest.approx([3.0], rel=1e-9)


def test_a_run_without_a_further_step_keeps_what_it_has() -> None:
    """Where |x| has a kink there is no step of a mean of gradients."""

    def hill(x: Any) -> float:  # a valley whose floor falls ever more steeply
        return -float(np.exp(x[0]))

    points, result = walked("gonzalez", hill, [-3.0], jac=lambda x: -np.exp(x), h=0.5, maxiter=50)
    assert (result.status, result.success) == (4, False)
    assert "with h = 0.5 was found" in result.message
    assert result.nit == len(points) - 1 > 0
    assert np.array_equal(result.x, points[-1])


def test_a_kink_is_no_rounding() -> None:
    """Where slopes do not tell of it, a mean of gradients has no step, and says so."""
    result = hf.minimize(
        lambda x: float(abs(x).sum()), [0.7, -1.3], method="gonzalez", jac=np.sign, h=0.1
    )
    assert (result.status, result.success) == (4, False)


def test_errors_of_the_users_function_are_the_users() -> None:
    calls = iter(range(10**9))

    def read(x: Any) -> float:
        if next(calls) == 29:
            raise ValueError("the data file is gone")
        return float(x @ x)

    with pytest.raises(ValueError, match="the data file is gone"):
        hf.minimize(read, np.ones(101), jac=lambda x: 2 * x, method="gonzalez", h=0.1)


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
        ("itoh_abe", {"gtol": -1}, "gtol = -1: a number from 0 on"),
        ("itoh_abe", {"tol": float("nan")}, "^tol = nan: a number from 0 on"),
    ],
)
def test_what_may_not_be_said(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hf.minimize(bowl, [1.0, -2.0, 0.5], method=method, **options)


def test_values_of_a_batch_have_its_shape() -> None:
    with pytest.raises(ValueError, match="a number for each of the 2 rows"):
        hf.minimize(np.square, np.ones((2, 3)), method="itoh_abe", batched=True)


def test_rows_without_a_value_are_named() -> None:
    def root(x: Any) -> Any:
        with np.errstate(invalid="ignore"):
            return np.sqrt(x[:, 0])

    result = hf.minimize(root, [[1.0], [-1.0], [2.0], [-3.0]], method="itoh_abe", batched=True)
    assert (result.status, result.message) == (2, "the function is not finite in the rows [1, 3]")


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


#: Quadratures, and whether they are the same from the other end of a segment.
QUADRATURES = {
    "lobatto_iiia2": True,
    "kutta3": True,
    "rk4": True,
    "gauss3": True,
    "euler": False,
    "radau_iia3": False,
    "dormand_prince54": False,
}


def claimed(quadrature: str, symmetric: bool, folder: Path) -> Report:
    """What is proved of a discrete gradient whose symmetry is claimed."""
    path = folder / "own.toml"
    path.write_text(
        'kind = "discrete-gradient"\nname = "own"\ntitle = "-"\nreference = "-"\n'
        f'quadrature = "{quadrature}"\n[claims]\nsymmetric = {str(symmetric).lower()}\n'
    )
    return pipeline.check(catalogue.load(path))


@pytest.mark.parametrize(("quadrature", "symmetric"), QUADRATURES.items())
def test_symmetry_is_that_of_the_nodes(quadrature: str, symmetric: bool, tmp_path: Path) -> None:
    report = claimed(quadrature, symmetric, tmp_path)
    assert report["symmetric"] == symmetric
    assert report.holds


@pytest.mark.parametrize("quadrature", ["lobatto_iiia2", "euler"])
def test_a_false_symmetry_is_seen(quadrature: str, tmp_path: Path) -> None:
    report = claimed(quadrature, not QUADRATURES[quadrature], tmp_path)
    assert report["symmetric"] == QUADRATURES[quadrature]
    assert not report.holds


@pytest.mark.parametrize("name", NAMES)
def test_what_is_drawn_is_no_gradient_in_the_limit(name: str) -> None:
    report = pipeline.check(catalogue.load(name))
    assert report["exact"]
    assert report["consistent"] == (not loader.load(name).module("numba").DRAWN)


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


@compiled
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
