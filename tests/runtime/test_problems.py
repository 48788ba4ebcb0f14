"""Problems to minimise at work: backends agree, and optimizers find what is declared.

Where the loss has kinks, what holds of steps that fade is shown: J. Bolte and E. Pauwels,
Conservative set valued fields, automatic differentiation, stochastic gradient methods and deep
learning, Math. Program. 188 (2021) 19-51; C. Castera et al., JMLR 22 (2021) 134.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize

import hamilforge as hf
from hamilforge import cli
from hamilforge.gen.declare import catalogue
from hamilforge.runtime.core import loader
from hamilforge.runtime.optimizers import paths
from tests.interpreted import as_python
from tests.samples import sampled

NAMES = catalogue.names("problem")


@pytest.mark.parametrize("name", sampled(NAMES, 6))
def test_backends_agree_with_the_interpretation(name):
    verification = hf.verify(f"problem/{name}")
    assert verification.holds, str(verification)


@pytest.mark.parametrize("name", ["rosenbrock", "griewank"])
def test_a_sign_that_is_changed_in_a_kernel_is_seen(name, monkeypatch):
    """In the gradient, and in the loss: each line that has one."""
    source = Path(loader.load(f"problem/{name}").module("numba").__file__).read_text()
    kernels = source.index("@njit")
    places = [m.start() for m in re.finditer(r" [-+] ", source) if m.start() > kernels]
    assert len(places) > 5
    shipped = loader.load(f"problem/{name}")
    own = loader.Loaded.module
    for place in places:
        turned = " - " if source[place : place + 3] == " + " else " + "
        changed = as_python(source[:place] + turned + source[place + 3 :], f"changed_{place}")

        def module(self: Any, backend: str, changed: Any = changed) -> Any:
            return changed if (backend, self) == ("numba", shipped) else own(self, backend)

        with monkeypatch.context() as patch:
            patch.setattr(loader.Loaded, "module", module)
            assert not hf.verify(f"problem/{name}").holds, line_at(source, place)


def line_at(source, place):
    return source[source.rfind("\n", 0, place) : source.find("\n", place)]


def test_a_problem_is_a_function_of_a_vector():
    problem = hf.problem("rosenbrock", d=30)
    assert problem(problem.start) == pytest.approx(optimize.rosen(problem.start), rel=1e-14)
    assert problem.gradient(problem.start) == pytest.approx(
        optimize.rosen_der(problem.start), rel=1e-13
    )
    found = hf.minimize(
        problem.value_and_gradient, problem.start, jac=True, method="nesterov",
        options={"lr": 5e-4, "momentum": 0.98, "maxiter": 20000},
    )  # fmt: skip
    assert found.success
    assert found.x == pytest.approx(problem.minimizers[0], abs=1e-5)
    assert repr(problem) == "<Problem rosenbrock: float64, d = 30>"
    plane = hf.problem("rosenbrock")
    best = optimize.minimize(plane, plane.start, jac=plane.gradient, method="BFGS")
    assert best.fun == pytest.approx(plane.minimum, abs=1e-10)


def test_variables_are_one_vector_and_data_are_read_only():
    problem = hf.problem("matrix_completion", n=4, m=3, r=2)
    parts = problem.unpack(np.arange(14.0))
    assert {name: part.shape for name, part in parts.items()} == {"U": (4, 2), "V": (3, 2)}
    assert problem(problem.minimizers[0]) == problem.minimum == 0
    with pytest.raises(ValueError, match="read-only"):
        problem.data["known"][0] = 1
    with pytest.raises(ValueError, match=re.escape("has the shape (14,), not (3,)")):
        problem(np.zeros(3))


def test_draws_are_the_same_for_a_seed_and_rotations_are_rotations():
    first, second = (hf.problem("rotated_quadratic", d=6) for _ in range(2))
    rotation = first.data["Q"]
    assert (rotation == second.data["Q"]).all()
    assert rotation @ rotation.T == pytest.approx(np.eye(6), abs=1e-14)
    assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-14)
    module = hf.problem("rotated_quadratic", "torch", torch.float64, d=6)
    assert module.data_Q.numpy() == pytest.approx(rotation, abs=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d": 0}, "d = 0"),
        ({"n": 3}, "correlated_quadratic has no n; what can be chosen is d, rho"),
        ({"rho": 1.5}, "rho"),
        ({"dtype": "float16"}, "float64 or float32"),
        ({"backend": "jax"}, "torch or numba"),
    ],
)
def test_what_cannot_be_chosen_is_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        hf.problem("correlated_quadratic", **options)


def test_a_problem_takes_no_other_kind():
    with pytest.raises(hf.DeclarationError, match="no problem is named"):
        hf.problem("kepler")
    for name in ("objective/mean_squared_error", "nowhere/sphere"):
        with pytest.raises((hf.DeclarationError, ValueError)):
            hf.problem(name)
    assert hf.problem("problem/sphere").name == "sphere"


def test_a_module_trains_and_its_derivatives_are_torchs_as_often_as_one_likes():
    module = hf.problem("booth", "torch", torch.float64)
    optimizer = hf.optimizer("heavy_ball")(module.parameters(), lr=0.02, momentum=0.9)
    for _ in range(300):
        optimizer.zero_grad()
        module().backward()
        optimizer.step()
    assert module().item() == pytest.approx(module.minimum, abs=1e-12)
    slopes = torch.autograd.grad(module(), [*module.parameters()], create_graph=True)
    second = torch.autograd.grad(slopes[0], [*module.parameters()])
    assert [entry.item() for entry in second] == [10.0, 8.0]


# --- losses with kinks


def fading(problem, method, rate, power, steps):
    """The points of an optimizer whose learning rate fades as n^-power; float64."""
    module = hf.problem(problem, "torch", torch.float64, d=2)
    optimizer = hf.optimizer(method)(module.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: (n + 1.0) ** -power)
    points = []
    for _ in range(steps):
        optimizer.zero_grad()
        module().backward()
        optimizer.step()
        schedule.step()
        points.append(module.variable("x").detach().numpy().copy())
    return np.array(points)


#: The distance of a point from the critical set of each problem.
DISTANCES = {
    "absolute": lambda x: np.abs(x).max(-1),
    "two_kinks": lambda x: np.minimum(abs(x), abs(abs(x) - 1)).max(-1),
}


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("problem", sorted(DISTANCES))
@pytest.mark.parametrize("method", ["inna", "gradient_descent"])
@pytest.mark.parametrize("power", [0.5, 1.0])
def test_with_steps_that_fade_the_limit_is_critical(problem, method, power):
    """0 is in the subdifferential there; the distance follows the step."""
    rate = {0.5: 0.37, 1.0: 1.37}[power]
    points = fading(problem, method, rate, power, 4000)
    distance = DISTANCES[problem](points)
    # a point that meets the kink stays there, where the slope is 0 by convention
    assert distance[-400:].max() < 0.1 * distance[:40].max()
    assert distance[-400:].max() <= distance[300:700].max()


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("problem", sorted(DISTANCES))
def test_at_a_constant_step_the_distance_is_that_of_the_step(problem):
    """It does not go to 0, and halves with h."""
    far = []
    for rate in (0.08, 0.04, 0.02, 0.01):
        points = fading(problem, "gradient_descent", rate, 0.0, 2000)
        far.append(DISTANCES[problem](points)[-200:].max())
        assert 0 < far[-1] <= rate
    slope = np.polyfit(np.log([0.08, 0.04, 0.02, 0.01]), np.log(far), 1)[0]
    assert slope == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    ("problem", "method", "options"),
    [
        ("relu_network", "inna", {"lr": 0.1, "alpha": 0.5, "beta": 0.5}),
        ("relu_network", "gradient_descent", {"lr": 0.1}),
        ("chained_lq", "inna", {"lr": 0.05, "power": 0.6, "alpha": 1.0, "beta": 0.5}),
    ],
)
def test_networks_with_kinks_and_maxima_are_learned(problem, method, options):
    loss = hf.problem(problem)
    product = loader.load(method).module("numba")
    run = paths.path(method, product, loss, 5000, options)
    above = run.losses - loss.minimum
    assert above[-1] < 0.01 * above[0]


# --- pictures


def test_optimizers_are_drawn_on_a_problem(tmp_path, capsys):
    for problem, size in (("beale", []), ("sphere", ["--size", "d=3"])):
        out = tmp_path / f"{problem}.png"
        names = ["gradient_descent", "adam"]
        command = ["plot", *names, "--on", problem, "--gradients", "40", *size, "--out", str(out)]
        assert cli.main(command) == 0
        assert out.read_bytes()[:4] == b"\x89PNG"
    assert cli.main(["plot", "adam", "kepler", "--on", "beale"]) == 2
    assert cli.main(["plot", "adam", "sgd"]) == 2
    assert cli.main(["plot", "adam", "--on", "beale", "--method", "rk4"]) == 2
    assert cli.main(["plot", "adam", "--on", "beale", "--gradients", "0"]) == 2
    assert cli.main(["plot", "adam", "--on", "beale", "--lr", "-1"]) == 2
    assert "go with --on PROBLEM" in capsys.readouterr().err


def test_a_loss_of_any_size_is_drawn(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(
        'kind = "problem"\nname = "small"\ntitle = "T"\nreference = "R"\n'
        'variables = { x = [], y = [] }\nloss = "10**(-14)*(x**2 + y**2) + 0*log(x + 1)"\n'
        "[start]\nx = 1\ny = 1\n[[minimizers]]\nx = 0\ny = 0\n"
    )
    out = tmp_path / "small.png"
    command = ["plot", "gradient_descent", "--on", str(path), "--gradients", "20", "--lr", "0.1"]
    assert cli.main([*command, "--out", str(out)]) == 0
    assert out.stat().st_size > 0


def test_the_minimum_is_that_of_float64():
    wide, narrow = (hf.problem("styblinski_tang", dtype=kind) for kind in ("float64", "float32"))
    assert narrow.minimum == wide.minimum
    assert hf.problem("styblinski_tang", "torch", torch.float32).minimum == pytest.approx(
        wide.minimum, rel=1e-15
    )
    module = hf.problem("two_kinks", "torch", torch.float64).to(torch.float32)
    assert {tensor.dtype for name, tensor in module.prepared().items() if name != "minimum"} == {
        torch.float32
    }


def test_the_best_learning_rate_is_the_best_of_the_grid():
    product = loader.load("gradient_descent").module("numba")
    loss = hf.problem("ill_conditioned")
    best = paths.best("gradient_descent", product, loss, 100)
    ends = {
        rate: paths.path("gradient_descent", product, loss, 100, {"lr": rate}).worst
        for rate in paths.RATES
        if rate < 2e-3
    }
    assert best.rate == min(ends, key=ends.get) == 1e-3
