"""Learning by the motion of a rigid body (MEC), and friction as a force in the space around."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
import torch
from scipy import linalg

import hamilforge as hf
from hamilforge.gen.declare import catalogue
from hamilforge.gen.derive.optimizers.manifold_flows import fading_coefficients
from hamilforge.gen.program.interpret import results
from hamilforge.gen.program.optimizers.build_matrix import derive_matrix_optimizer
from hamilforge.gen.program.optimizers.interpret_matrix import MatrixInterpreter
from hamilforge.gen.program.optimizers.manifold import build_manifold

MEC = """
kind = "optimizer"
name = "own"
title = "own"
reference = "own"
system = "classical"
method = "{method}"
manifold = "stiefel"
metric = "canonical"
retraction = "{retraction}"
{more}
[hyperparameters]
lr = {{ default = 1e-1, domain = "nonnegative", doc = "the step in time" }}
friction = {{ default = 1, domain = "nonnegative", doc = "by the velocity" }}

[set]
h = "lr"
gamma = "friction"
"""
SIZES = [(6, 1), (6, 3), (4, 4)]


def declared(folder, method="mec_strang", retraction="geodesic", more=""):
    path = folder / "own.toml"
    path.write_text(MEC.format(method=method, retraction=retraction, more=more))
    return path


def start(n, p, seed=0):
    """A point, a symmetric matrix and weights of either sign: Brockett's sum(X*(A X N))/2."""
    generator = np.random.default_rng(seed)
    point = np.linalg.qr(generator.standard_normal((n, p)))[0]
    matrix = generator.standard_normal((n, n))
    return point, matrix + matrix.T, np.arange(1, p + 1) - 1.5


def faded(body, point, gamma, h):
    """The exact flow of B' = -gamma (B Pi + Pi B), Pi = X X', by its three blocks."""
    inside = point @ point.T
    outside = np.eye(len(point)) - inside
    mixed = inside @ body @ outside + outside @ body @ inside
    double = np.exp(-2 * gamma * h) * inside @ body @ inside
    return double + np.exp(-gamma * h) * mixed + outside @ body @ outside


def kicked(body, point, slopes, h):
    return body - h * (slopes @ point.T - point @ slopes.T)


def cayley(matrix):
    one = np.eye(len(matrix))
    return np.linalg.solve(one - matrix / 2, one + matrix / 2)


@pytest.mark.parametrize("retraction", ["geodesic", "cayley"])
@pytest.mark.parametrize(("n", "p"), SIZES)
def test_the_form_of_2p_columns_is_that_of_the_whole_body(n, p, retraction, tmp_path):
    """100 steps of the program beside half friction, kick, rotation, kick, friction of B (n, n)."""
    more = 'transport = "body"' if retraction == "cayley" else ""
    path = declared(tmp_path, retraction=retraction, more=more)
    optimizer = catalogue.load(path)
    h, gamma = 0.1, 0.7
    machine = MatrixInterpreter(derive_matrix_optimizer(optimizer), {"lr": h, "friction": gamma})
    point, matrix, weights = start(n, p)
    arrays = {"X": point, "V": np.zeros((n, p))}
    rotation = cayley if retraction == "cayley" else linalg.expm
    body, here = np.zeros((n, n)), point
    # the program keeps V behind a drift: what ends a step of the method is done in the next one
    for _ in range(100):
        arrays = machine.step(arrays, matrix @ arrays["X"] * weights)
        body = kicked(faded(body, here, gamma, h / 2), here, matrix @ here * weights, h / 2)
        here = rotation(h * body) @ here
        assert np.allclose(arrays["X"], here, rtol=0, atol=1e-12)
        assert np.allclose(arrays["V"], h * body @ here, rtol=0, atol=1e-12)
        body = kicked(body, here, matrix @ here * weights, h / 2)
        body = faded(body, here, gamma, h / 2)
        outside = np.eye(n) - here @ here.T
        assert abs(outside @ body @ outside).max() < 1e-13  # no undamped spin
        assert abs(body + body.T).max() < 1e-13


@pytest.mark.parametrize(
    ("method", "retraction", "order"),
    [("mec_lie", "geodesic", 1), ("mec_lie", "cayley", 1), ("mec_strang", "cayley", 2)],
)
def test_orders_of_the_splittings(method, retraction, order, tmp_path):
    more = 'transport = "body"' if retraction == "cayley" else ""
    assert hf.check(declared(tmp_path, method, retraction, more))["order"] == order


def test_projection_does_not_carry_the_velocity_of_a_body(tmp_path):
    report = hf.check(declared(tmp_path, retraction="cayley"))
    assert report["order"] is None
    assert "derivative" in report.finding("order").why


def test_the_factor_is_that_of_one_rate_where_there_is_one():
    report = hf.check("mec")
    assert report["conformal_factor"] is None
    assert "several rates" in report.finding("conformal_factor").why
    assert report["conformal_factor_elsewhere"] == {
        "n = 3, p = 1": "exp(-friction*lr)",
        "n = 3, p = 2": None,
        "n = 3, p = 3": "exp(-2*friction*lr)",
    }


@pytest.mark.parametrize(("n", "p"), SIZES)
def test_friction_takes_the_square_of_the_velocity(n, p):
    """d/ds <v, v>/2 = -|v|^2 at s = 0 along the emitted friction, v' = -G v, in the metric."""
    functions = build_manifold(catalogue.load("stiefel")).functions
    point, matrix, weights = start(n, p)
    velocity = results(functions["project"], {"X": point, "V": matrix @ point * weights})["value"]
    raised = results(functions["gradient_canonical"], {"X": point, "G": velocity})["value"]
    s = sp.Symbol("s")
    slopes = [float(c.diff(s).subs(s, 0)) for c in fading_coefficients((1, 2), sp.exp(-s))]
    rate = slopes[0] * velocity + slopes[1] * raised
    values = {"X": point, "U": velocity, "V": rate}
    taken = results(functions["inner_canonical"], values)["value"]
    assert np.isclose(taken, -np.sum(velocity**2), rtol=1e-13)


def test_a_friction_as_strong_as_one_likes_stops_the_body():
    point = hf.manifold("stiefel").random(5, 2, dtype=torch.float64).contiguous()
    param = torch.nn.Parameter(point)
    optimizer = hf.optimizer("mec")([param], lr=0.1, friction=1e6)
    for _ in range(3):
        param.grad = torch.ones_like(param)
        optimizer.step()
    assert param.isfinite().all()


def test_the_energy_of_the_equations_falls_as_the_velocity_is_squared():
    """dH/dt = -gamma |B X|^2, exactly: H = |B|^2/4 + J along B' = (F + P) X' - X (F + P)'."""
    n, p = 4, 2
    point = sp.Matrix(n, p, lambda i, j: sp.Rational(3 * i - 2 * j + 1, 7))
    body = sp.Matrix(n, n, lambda i, j: sp.Rational(i**2 - j**2 + 3 * (i - j), 5))  # skew
    slopes = sp.Matrix(n, p, lambda i, j: sp.Rational(i - 4 * j, 3))
    gamma = sp.Symbol("gamma")
    force = -slopes - gamma * body * point
    turned = force * point.T - point * force.T
    rate = (body.T * turned).trace() / 2 + (slopes.T * (body * point)).trace()
    speed = body * point
    assert sp.expand(rate + gamma * (speed.T * speed).trace()) == 0


@pytest.mark.parametrize(("n", "p"), SIZES)
def test_what_a_friction_takes_is_what_its_blocks_say(n, p):
    """(|B|^2 - |B+|^2)/4 = ((1 - e^(-4 g h))|PBP|^2 + 2 (1 - e^(-2 g h))|(1 - P)BP|^2)/4."""
    generator = np.random.default_rng(1)
    point = np.linalg.qr(generator.standard_normal((n, p)))[0]
    along = generator.standard_normal((n, p))
    body = along @ point.T - point @ along.T
    gamma, h = 0.7, 0.3
    inside = point @ point.T
    outside = np.eye(n) - inside
    taken = (1 - np.exp(-4 * gamma * h)) * np.linalg.norm(inside @ body @ inside) ** 2
    taken += 2 * (1 - np.exp(-2 * gamma * h)) * np.linalg.norm(outside @ body @ inside) ** 2
    first, second = (float(sp.N(c, 30)) for c in fading_coefficients((1, 2), sp.exp(-0.21)))
    velocity = body @ point
    raised = velocity - point @ (velocity.T @ point)
    after = first * velocity + second * raised  # as the program has it

    def energy(v):
        w = v - point @ (point.T @ v) / 2
        return np.linalg.norm(w @ point.T - point @ w.T) ** 2 / 4

    assert np.isclose(energy(velocity) - energy(after), taken / 4, rtol=0, atol=1e-13)
    assert np.allclose(after, faded(body, point, gamma, h) @ point, rtol=0, atol=1e-13)


def test_the_energy_of_a_step_is_balanced_to_the_third_order(tmp_path):
    """H before less H after less what the two half frictions take: O(h^3), and not less."""
    optimizer = catalogue.load(declared(tmp_path))
    derivation = derive_matrix_optimizer(optimizer)
    point, matrix, weights = start(5, 2)
    gamma = 0.7

    def energy(x, v):
        w = v - x @ (x.T @ v) / 2
        return np.linalg.norm(w @ x.T - x @ w.T) ** 2 / 4 + np.sum(x * (matrix @ x * weights)) / 2

    def stepped(h):
        machine = MatrixInterpreter(derivation, {"lr": h, "friction": gamma})
        generator = np.random.default_rng(2)
        along = generator.standard_normal(point.shape)
        kept = along - point @ (point.T @ along + along.T @ point) / 2

        def rubbed(x, v, h):
            first, second = _fading(gamma, h)
            return first * v + second * _raised(x, v)

        def pushed(x, v, h):
            return v - h * _raised(x, matrix @ x * weights)

        after = machine.step({"X": point, "V": h * kept}, matrix @ point * weights)
        # what ends the step is left for the next one
        here = after["X"]
        rests = pushed(here, after["V"] / h, h / 2)
        end = rubbed(here, rests, h / 2)
        taken = energy(point, kept) - energy(point, rubbed(point, kept, h / 2))
        taken += energy(here, rests) - energy(here, end)
        return energy(point, kept) - energy(here, end) - taken

    def _raised(x, v):
        return v - x @ (v.T @ x)

    def _fading(rate, h):
        return (float(c) for c in fading_coefficients((1, 2), sp.Float(np.exp(-rate * h), 30)))

    slopes = np.log2(abs(stepped(0.02)) / abs(stepped(0.01)))
    assert abs(slopes - 3) < 0.15


def test_fading_is_lagranges_polynomial():
    fade = sp.Symbol("d")
    assert fading_coefficients((1,), fade) == (fade,)
    first, second = fading_coefficients((1, 2), fade)
    assert sp.expand(first - (2 * fade - fade**2)) == 0
    assert sp.expand(second - (fade**2 - fade)) == 0
    for rates in ((1, 2, 5), (3, 1), (2, 7, 4, 1)):
        coefficients = fading_coefficients(rates, fade)
        for rate in rates:
            value = sum(c * rate**k for k, c in enumerate(coefficients))
            assert sp.expand(value - fade**rate) == 0
