"""Smoothed losses beside closed forms, and times over barriers beside each other and runs."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.integrate

import hamilforge as hf
from hamilforge.cli import main
from hamilforge.runtime.problems.smoothing_pictures import BETA, BETAS, GAMMAS, kramers_ratio
from hamilforge.runtime.problems.smoothing_pictures import loss as drawn_loss
from hamilforge.runtime.problems.smoothing_pictures import slope as drawn_slope

CLOSE = 1e-12
MATRIX = np.array([[3.0, 0.5], [0.5, -0.2]])
POINT = np.array([0.7, -1.2])


def parabola(points: Any) -> Any:
    return np.einsum("ni,ij,nj->n", points, MATRIX, points) / 2


def well(points: Any) -> Any:
    return (points[:, 0] ** 2 - 1) ** 2


def well_slope(y: Any) -> Any:
    return 4 * y * (y**2 - 1)


# --- local entropy --------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("beta", [0.5, 1.0, 30.0])
def test_a_parabola_has_its_closed_form(gamma: float, beta: float) -> None:
    """x'A(I + gA)^-1 x/2 + log det(I + gA)/(2 beta); the gradient does not depend on beta."""
    whole = np.eye(2) + gamma * MATRIX
    assert np.linalg.eigvalsh(whole).min() > 0
    gradient = MATRIX @ np.linalg.solve(whole, POINT)
    value = POINT @ gradient / 2 + np.log(np.linalg.det(whole)) / (2 * beta)
    found = hf.local_entropy(parabola, POINT, gamma, beta)
    assert abs(found.value - value) < CLOSE
    np.testing.assert_allclose(found.gradient, gradient, atol=CLOSE)
    assert found.error < CLOSE


@pytest.mark.parametrize("gamma", [0.01, 0.3, 5.0])
@pytest.mark.parametrize("x", [-1.0, 0.2, 3.0])
def test_a_mixture_of_gaussians_is_a_mixture_of_wider_ones(gamma: float, x: float) -> None:
    weights, means, widths = np.array([[0.3, 0.7], [-1.0, 1.5], [0.5, 0.3]])

    def mixture(at: Any, variances: Any) -> Any:
        return (
            weights
            * np.exp(-((at - means) ** 2) / (2 * variances))
            / np.sqrt(2 * np.pi * variances)
        )

    found = hf.local_entropy(lambda y: -np.log(mixture(y, widths**2).sum(1)), x, gamma)
    parts = mixture(x, widths**2 + gamma)
    assert abs(found.value + np.log(parts.sum())) < CLOSE
    slope = (parts * (x - means) / (widths**2 + gamma)).sum() / parts.sum()
    assert abs(found.gradient - slope) < CLOSE
    assert found.gradient.shape == ()


def slopes(errors: Any, sizes: Any) -> Any:
    return np.diff(np.log(errors)) / np.diff(np.log(sizes))


def test_with_a_small_gamma_it_is_the_loss() -> None:
    sizes = 0.01 / 2.0 ** np.arange(4)
    errors = [
        abs(hf.local_entropy(well, 0.4, size, 2.0).value - well(np.array([[0.4]]))[0])
        for size in sizes
    ]
    np.testing.assert_allclose(slopes(errors, sizes), 1.0, atol=0.1)


def test_without_noise_it_is_the_envelope_of_moreau() -> None:
    """Of |x|: the gradient tends to that of Huber's loss, 1 beyond gamma."""
    for x, limit in ((0.2, 0.4), (2.0, 1.0)):
        gradients = [
            float(hf.local_entropy(lambda y: abs(y[:, 0]), x, 0.5, beta).gradient)
            for beta in (10.0, 100.0, 1000.0)
        ]
        errors = abs(np.array(gradients) - limit)
        assert errors[-1] < 3e-3
        assert (errors[1:] < errors[:-1] / 5 + 1e-12).all()
    sizes = 0.02 / 2.0 ** np.arange(4)
    values = [
        hf.local_entropy(lambda y: y[:, 0] ** 2 / 2, 1.0, 0.5, 1 / size).value for size in sizes
    ]
    np.testing.assert_allclose(slopes(np.array(values) - 1 / 3, sizes), 1.0, atol=0.1)


def test_more_dimensions_are_sampled_within_their_errors() -> None:
    point, gamma, beta = np.linspace(-1, 1, 6), 0.5, 2.0
    found = hf.local_entropy(lambda y: (y**2).sum(1) / 2, point, gamma, beta, seed=3)
    value = point @ point / (2 * (1 + gamma)) + 6 * np.log(1 + gamma) / (2 * beta)
    assert abs(found.value - value) < 4 * found.error
    assert abs(found.gradient - point / (1 + gamma)).max() < 4 * found.gradient_error
    assert 0 < found.error < 0.01


@pytest.mark.parametrize("omega", [1.0, 3.0])
def test_the_heat_equation_damps_a_cosine(omega: float) -> None:
    gamma, x = 0.2, 0.4
    found = hf.heat_smoothing(lambda y: np.cos(omega * y[:, 0]), x, gamma)
    damped = np.exp(-gamma * omega**2 / 2)
    assert abs(found.value - damped * np.cos(omega * x)) < CLOSE
    assert abs(found.gradient + omega * damped * np.sin(omega * x)) < CLOSE
    found = hf.heat_smoothing(parabola, POINT, gamma)
    value = parabola(POINT[None, :])[0] + gamma / 2 * np.trace(MATRIX)
    assert abs(found.value - value) < CLOSE
    np.testing.assert_allclose(found.gradient, MATRIX @ POINT, atol=CLOSE)


def test_the_viscous_equation_gives_the_same_with_order_four() -> None:
    gamma, beta, counts = 0.8, 2.0, np.array([40, 80, 160])

    def cosine(y: Any) -> Any:
        return np.cos(y[:, 0])

    errors = []
    for count in counts:
        x, u = hf.viscous_hamilton_jacobi(cosine, (0, 2 * np.pi), gamma, beta, points=count)
        exact = [hf.local_entropy(cosine, at, gamma, beta).value for at in x[:: count // 10]]
        errors.append(abs(u[:: count // 10] - exact).max())
    np.testing.assert_allclose(slopes(errors, 1 / counts), 4.0, atol=0.2)


def test_a_narrow_valley_is_seen() -> None:
    """Between the points of a coarse grid; beside SciPy's quadrature."""

    def f(y: Any) -> Any:
        return y**2 / 8 - 20 * np.exp(-((y - 0.41) ** 2) / (2 * 0.004**2))

    def density(y: float) -> Any:
        return np.exp(-(y**2) / 2) / np.sqrt(2 * np.pi)

    ends = (-10.0, 0.38, 0.41, 0.44, 10.0)
    pieces = [
        scipy.integrate.quad(lambda y: f(y) * density(y), a, b, epsabs=1e-13)[0]
        for a, b in itertools.pairwise(ends)
    ]
    found = hf.heat_smoothing(lambda points: f(points[:, 0]), 0.0, 1.0)
    assert abs(found.value - sum(pieces)) < 1e-10


@pytest.mark.parametrize(
    "call",
    [
        lambda: hf.mean_passage_time(well, -1.0, 1.0, -1.0),
        lambda: hf.kramers_time(well, -1.0, 0.0, float("nan")),
        lambda: hf.sgld_passage_time(well, well_slope, -1.0, 1.0, 3.0, 0.0),
        lambda: hf.viscous_hamilton_jacobi(well, (-1, 1), float("inf")),
        lambda: hf.controlled_descent(
            well, well_slope, (-3, 3), float("inf"), 1.0, begin=np.ones_like
        ),
        lambda: hf.controlled_descent(well, well_slope, (-3, 3), 1.0, 1.0, begin=np.zeros_like),
    ],
)
def test_arguments_out_of_their_domains_are_refused(call: Any) -> None:
    with pytest.raises(ValueError, match=r"outside|expected"):
        call()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((well, 0.0, 0.0), r"gamma = 0.0 is outside \(0, inf\)"),
        ((well, 0.0, 1.0, -1.0), "beta"),
        ((well, [[0.0]], 1.0), "a finite vector or number"),
        ((lambda y: y, 0.0, 1.0), "a number for each point"),
        ((lambda y: np.log(y[:, 0]), 0.0, 1.0), "not finite"),
        ((lambda y: -(y[:, 0] ** 4), 0.0, 1.0), "does not fall off"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_has_no_local_entropy_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hf.local_entropy(*arguments)


# --- times over barriers --------------------------------------------------------------------------


def test_the_passage_time_is_its_double_integral() -> None:
    """SciPy's own double integral, of a barrier on the way to the right and to the left."""
    beta = 2.0

    def tilted(points: Any) -> Any:
        return well(points) + 0.3 * points[:, 0]

    def f(y: float) -> float:
        return float(tilted(np.array([[y]]))[0])

    def here(y: float) -> float:
        return y

    for start, end, ends in ((-1.0, 0.9, (-4.0, here)), (0.9, -1.0, (here, 4.0))):
        total, _ = scipy.integrate.dblquad(
            lambda z, y: np.exp(beta * (f(y) - f(z))),
            min(start, end), max(start, end), *ends, epsrel=1e-9,
        )  # fmt: skip
        ours = hf.mean_passage_time(tilted, start, end, beta)
        assert ours == pytest.approx(beta * total, rel=1e-7)


@pytest.mark.parametrize(("beta", "ratio"), [(3.0, 0.84), (20.0, 0.98)])
def test_kramers_formula_beside_the_exact_time(beta: float, ratio: float) -> None:
    exact = hf.mean_passage_time(well, -1.0, 1.0, beta)
    formula = hf.kramers_time(well, -1.0, 0.0, beta)
    assert formula == pytest.approx(2 * np.pi / np.sqrt(8 * 4) * np.exp(beta), rel=1e-8)
    assert round(formula / exact, 2) == ratio


def test_kramers_formula_has_more_dimensions() -> None:
    def valley(points: Any) -> Any:
        x, y = points.T
        return (x**2 - 1) ** 2 + 3 * (y - x) ** 2

    formula = hf.kramers_time(valley, [-1, -1], [0, 0], 5.0)
    hessians = [np.array([[second + 6, -6], [-6, 6.0]]) for second in (8, -4)]
    given = hf.kramers_time(
        valley, [-1, -1], [0, 0], 5.0, hess=lambda p: hessians[0 if p[0] else 1]
    )
    down = abs(np.linalg.eigvalsh(hessians[1]).min())
    ratio = abs(np.linalg.det(hessians[1])) / np.linalg.det(hessians[0])
    assert given == pytest.approx(2 * np.pi / down * np.sqrt(ratio) * np.exp(5.0), rel=1e-13)
    assert formula == pytest.approx(given, rel=1e-6)
    with pytest.raises(ValueError, match="0 directions fall"):
        hf.kramers_time(valley, [-1, -1], [1, 1], 5.0)
    with pytest.raises(ValueError, match="does not rise in all directions"):
        hf.kramers_time(valley, [0, 0], [0, 0], 5.0)


def test_steps_tend_to_the_equation_with_slope_one() -> None:
    beta, sizes = 6.0, np.array([0.02, 0.01, 0.005])
    exact = hf.mean_passage_time(well, -1.0, 1.0, beta)
    errors = [
        exact - hf.sgld_passage_time(well, well_slope, -1.0, 1.0, beta, size) for size in sizes
    ]
    np.testing.assert_allclose(slopes(errors, sizes), 1.0, atol=0.25)


def test_runs_of_sgld_take_the_mean_time() -> None:
    """4,096 escapes at three temperatures, within 3 standard errors of the linear system."""
    h, count = 0.02, 4096
    generator = np.random.default_rng(5)
    for beta in (1.0, 2.0, 3.0):
        x, alive, steps = np.full(count, -1.0), np.arange(count), np.zeros(count)
        while alive.size:
            noise = generator.standard_normal(alive.size)
            x[alive] += -h * well_slope(x[alive]) + np.sqrt(2 * h / beta) * noise
            steps[alive] += 1
            alive = alive[x[alive] < 1.0]
        exact = hf.sgld_passage_time(well, well_slope, -1.0, 1.0, beta, h)
        error = h * steps.std(ddof=1) / np.sqrt(count)
        assert abs(h * steps.mean() - exact) < 3 * error
        assert abs(h * 1.2 * steps.mean() - exact) > 3 * error  # another time would be seen


# --- control --------------------------------------------------------------------------------------


def test_the_control_of_a_parabola_is_riccatis() -> None:
    """f = k x^2/2, V = v x^2/2: u = P x^2/2 + int P/beta, P' = 2 k P + P^2, P(T) = v."""
    k, v, time, beta = 1.0, 1.5, 0.8, 2.0
    result = hf.controlled_descent(
        lambda y: k * y[:, 0] ** 2 / 2, lambda y: k * y, (-8, 8), time, beta,
        begin=lambda y: np.exp(-((y - 1) ** 2) / 0.2), cost=lambda y: v * y[:, 0] ** 2 / 2,
    )  # fmt: skip
    # P solved by hand: 1/P + 1/(2k) falls as exp(-2 k (T - t)) back from the end
    factor = np.exp(2 * k * time) * (1 / v + 1 / (2 * k))
    gain = 1 / (factor - 1 / (2 * k))
    integral, _ = scipy.integrate.quad(
        lambda s: 1 / (np.exp(2 * k * s) * (1 / v + 1 / (2 * k)) - 1 / (2 * k)), 0, time
    )
    inside = abs(result.x) < 3
    expected = gain * result.x**2 / 2 + integral / beta
    np.testing.assert_allclose(result.value[inside], expected[inside], atol=1e-6)


@pytest.mark.parametrize("time", [0.3, 1.0])
def test_a_controlled_path_ends_lower_by_half_its_effort(time: float) -> None:
    def begin(y: Any) -> Any:
        return np.exp(-((y + 0.2) ** 2) / 0.08)

    result = hf.controlled_descent(
        drawn_loss, drawn_slope, (-3.0, 3.5), time, 5.0, begin=begin, points=1200
    )
    plain = result.mean(result.plain, drawn_loss)
    steered = result.mean(result.steered, drawn_loss)
    assert steered + result.effort < plain
    weights = begin(result.x) / begin(result.x).sum()
    assert steered + result.effort == pytest.approx(weights @ result.value, abs=2e-3)


def test_the_wide_valley_of_the_picture_wins_as_gamma_grows() -> None:
    x = np.linspace(-2.4, 2.6, 251)
    places = [x[int(drawn_loss(x[:, None]).argmin())]]
    for gamma in GAMMAS:
        places.append(
            x[int(np.argmin([hf.local_entropy(drawn_loss, at, gamma, BETA).value for at in x]))]
        )
    assert places[0] < 0 < places[-1]


def test_what_is_drawn_of_escapes_is_what_is_said() -> None:
    ratios = [kramers_ratio(beta) for beta in (3.0, 20.0)]
    assert [f"{ratio:.2f}" for ratio in ratios] == ["0.84", "0.98"]
    assert np.all(np.diff([kramers_ratio(beta) for beta in BETAS]) > 0)
    assert kramers_ratio(BETAS[-1]) < 1


def test_local_entropy_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert main(["plot", "local-entropy", "--out", str(tmp_path / "picture.png")]) == 0
    assert (tmp_path / "picture.png").stat().st_size > 10_000
