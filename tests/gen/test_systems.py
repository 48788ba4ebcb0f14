"""Gradient systems: what their letters, tables and updates become, proved and beside NumPy."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hamilforge as hf
from hamilforge.document import show
from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.program.optimizers.interpret import Interpreter
from hamilforge.runtime.core.comparison import Verification
from tests.interpreted import program_of
from tests.optimizers import ASSIGNED

Verifies = Callable[[str | Path], Verification]
EXPECTED = tomllib.loads(
    (Path(__file__).parents[1] / "expected" / "proofs.toml").read_text(encoding="utf-8")
)
HEAD = 'name = "{name}"\ntitle = "Mine"\nreference = "-"\n'


def gradient(x: Any) -> Any:
    return np.sin(2 * x) + x**3 / 3 + 0.3


def declared(
    folder: Path,
    equations: str,
    method: str,
    parameters: str = "",
    start: str = "",
    hyper: str = "",
    settings: str = "",
    noise: str = "",
) -> Path:
    """An optimizer of a system and a method of its own; a method that is a name is the catalogue's.

    Args:
        folder: where the files are written.
        equations: of the system.
        method: the steps of a splitting, or a name.
        parameters: of the system.
        start: of its unknowns.
        hyper: further hyper-parameters.
        settings: beside h.
        noise: the diffusions of the system.
    """
    (folder / "motion.toml").write_text(
        'kind = "system"\n' + HEAD.format(name="motion") + f"[equations]\n{equations}\n"
        f"[noise]\n{noise}\n"
        f"[start]\n{start}\n[parameters]\n{parameters}\n"
    )
    if method.startswith("["):
        text = 'kind = "splitting"\n' + HEAD.format(name="moves") + f"steps = {method}\n"
        (folder / "moves.toml").write_text(text)
        method = "moves.toml"
    path = folder / "mine.toml"
    path.write_text(
        'kind = "optimizer"\n' + HEAD.format(name="mine") + 'system = "motion.toml"\n'
        f'method = "{method}"\n[hyperparameters]\n'
        f'lr = {{ default = 0.05, domain = "nonnegative" }}\n{hyper}\n[set]\nh = "lr"\n{settings}\n'
    )
    return path


def trajectory(name: str | Path, count: int, **hyper: float) -> Any:
    """Point after each step of the interpretation."""
    program = program_of(catalogue.load(name, ("optimizer",)))
    values = {entry.name: float(entry.default) for entry in program.hyperparameters} | hyper
    machine = Interpreter(program, values, [START.copy()])
    points = []
    for _ in range(count):
        for _ in program.stages:
            machine.step([gradient(machine.x[0])])
        points.append(machine.solution()[0])
    return np.array(points)


START = np.array([0.9, -0.4, 0.2])


@pytest.mark.parametrize("table", ["euler", "heun2", "kutta3", "rk4"])
def test_an_explicit_table_is_itself_on_the_gradient_flow(
    table: str, tmp_path: Path, verifies: Verifies
) -> None:
    path = declared(tmp_path, 'theta = "-grad(theta)"', table)
    stages = {"euler": 1, "heun2": 2, "kutta3": 3, "rk4": 4}[table]
    report = hf.check(path)
    assert (report["order"], report["gradients_per_step"]) == (stages, stages)
    assert verifies(path).holds
    a, b = {
        "euler": ([[0]], [1]),
        "heun2": ([[0, 0], [1, 0]], [0.5, 0.5]),
        "kutta3": ([[0, 0, 0], [0.5, 0, 0], [-1, 2, 0]], [1 / 6, 2 / 3, 1 / 6]),
        "rk4": (
            [[0, 0, 0, 0], [0.5, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 1, 0]],
            [1 / 6, 1 / 3, 1 / 3, 1 / 6],
        ),
    }[table]
    x = START.copy()
    for point in trajectory(path, 10):
        rates: list[Any] = []
        for row in a:
            rates.append(-gradient(x + 0.05 * sum(c * k for c, k in zip(row, rates, strict=False))))
        x = x + 0.05 * sum(c * k for c, k in zip(b, rates, strict=True))
        assert abs(point - x).max() <= 1e-15


def inna(lr: float, alpha: float, beta: float, count: int) -> Any:
    theta, psi, points = START, (1 - alpha * beta) * START, []
    for _ in range(count):
        rest = (1 / beta - alpha) * theta - psi / beta
        theta, psi = theta + lr * (rest - beta * gradient(theta)), psi + lr * rest
        points.append(theta)
    return np.array(points)


def test_inna_is_the_published_iteration() -> None:
    found = trajectory("inna", 100, lr=0.05, alpha=0.7, beta=0.3)
    assert abs(found - inna(0.05, 0.7, 0.3, 100)).max() <= 1e-13


def test_inna_is_heavy_ball_and_nesterovs_sequence() -> None:
    """Where beta is the step, and where it is 1 + mu times the step."""
    lr, mu = 0.05, 0.8
    x, v, z, w = START, np.zeros(3), START, np.zeros(3)
    ball, ahead = [], []
    for _ in range(100):
        v = mu * v - lr**2 * gradient(x)
        x = x + v
        ball.append(x)
        w = mu * w - lr**2 * gradient(z + mu * w)
        z = z + w
        ahead.append(z + mu * w)
    found = trajectory("inna", 100, lr=lr, alpha=(1 - mu) / lr, beta=lr)
    assert abs(found - np.array(ball)).max() <= 1e-13
    found = trajectory("inna", 100, lr=lr, alpha=(1 - mu) / lr, beta=(1 + mu) * lr)
    assert abs(found - np.array(ahead)).max() <= 1e-13


def test_innaprop_has_a_step_where_its_rate_is_beta() -> None:
    """The published code divides by h - beta."""
    found = trajectory("innaprop", 5, lr=0.9, beta=0.9)
    assert np.isfinite(found).all()


def test_adam_without_a_memory_of_gradients_is_rmsprop() -> None:
    lr, beta, eps = 0.01, 0.99, 0.1
    theta, v = START, np.zeros(3)
    found = trajectory("adam", 100, lr=lr, beta1=0.0, beta2=beta, eps=eps)
    for n, point in enumerate(found, start=1):
        v = beta * v + (1 - beta) * gradient(theta) ** 2
        scale = np.sqrt(1 - beta**n)
        theta = theta - lr * scale * gradient(theta) / (np.sqrt(v) + eps * scale)
        assert abs(point - theta).max() <= 1e-13


@pytest.mark.parametrize(("c", "order"), [(2.0, 2), (3.0, 2)])
def test_the_bregman_flow_of_any_order_is_of_second_order(c: float, order: int) -> None:
    """One step halved: the error at t = 2 falls fourfold."""
    ends = [trajectory("bregman", count, lr=1 / count, order=c)[-1] for count in (40, 80, 160)]
    ratio = abs(ends[0] - ends[1]).max() / abs(ends[1] - ends[2]).max()
    assert abs(np.log2(ratio) - order) < 0.15


def test_friction_that_fades_is_exact_in_the_time() -> None:
    """Without a gradient: the velocity times (t/(t + h))**r in each step."""
    program = program_of("su_boyd_candes")
    machine = Interpreter(program, {"lr": 0.04, "r": 3.0}, [START.copy()])
    machine.step([np.ones(3)])
    (name,) = program.states
    for n in range(2, 6):
        before = machine.states[name][0]
        machine.step([np.zeros(3)])
        assert machine.states[name][0] == pytest.approx(before * ((n - 1) / n) ** 3, rel=1e-14)


@pytest.mark.parametrize("name", ASSIGNED)
def test_every_rule_says_where_it_comes_from_and_how_it_begins(name: str) -> None:
    report = pipeline.check(catalogue.load(name, ("optimizer",)))
    assert report.holds, str(report)
    claimed = {claim.name for claim in report.claims}
    assert "first_steps" in claimed
    declaration = catalogue.load(name, ("optimizer",))
    derived = isinstance(declaration, kinds.Discretised) and not isinstance(
        declaration.method, kinds.StateUpdate
    )
    origin = str(report["origin"])
    assert origin.startswith("derived from the equation" if derived else "typed")
    assert ("order" in claimed) == (report["order"] is not None)
    lower = EXPECTED["from_start"].get(name)  # stated where it is lower, and nowhere else
    assert ("order_from_start" in {*report}) == (lower is not None)
    assert lower is None or report["order_from_start"] == lower < report["order"]
    assert show(name)


CARDS = {
    "gradient_descent": {"stability_limit": "lambda < 2/lr", "effective_lr": "lr"},
    "inna": {
        "effective_lr": "lr/alpha",
        "stability_limit": "lambda < (4 - 2*alpha*lr)/(lr*(2*beta - lr))",
    },
    "innaprop": {"effective_lr": "lr/alpha"},
    "adam": {
        "effective_lr": "lr",
        "stability_limit": "lambda < 2*(1 + beta1)*(s + eps)/(lr*(1 - beta1))",
    },
    "rmsprop": {"stability_limit": "lambda < 2*(s + eps)/lr"},
}


@pytest.mark.parametrize("name", CARDS)
def test_cards_have_the_known_limits(name: str) -> None:
    from hamilforge.gen.prove.report import _agree

    report = pipeline.check(catalogue.load(name, ("optimizer",)))
    for key, text in CARDS[name].items():
        value = str(report[key])
        formula = value.removeprefix("lambda < ").removesuffix(" near the defaults")
        assert _agree(text.removeprefix("lambda < "), formula), value


def test_the_decay_of_innaprop_makes_weights_swing() -> None:
    """Of z = 1 - lr*rate: the rates solve r^2 - (a + w + h w (1/b - a)) r + w/b = 0."""
    card = pipeline.check(catalogue.load("innaprop", ("optimizer",)))["effective_decay"]
    assert isinstance(card, dict)
    h, a, b, w = 1e-3, 0.1, 0.9, 0.01
    roots = np.roots([1, -(a + w + h * w * (1 / b - a)), w / b])
    found = [complex(text.replace(" ", "")) for text in card["as rates"].split(" and ")]
    assert np.sort_complex(np.array(found)) == pytest.approx(np.sort_complex(roots), rel=1e-5)
    assert abs(roots[0].imag) > 0.08


def test_an_energy_that_falls_is_known_from_one_that_does_not(tmp_path: Path) -> None:
    system = catalogue.load("inna", ("system",))
    assert pipeline.check(system)["lyapunov"] == {"holds": True, "interval_exact": True}
    text = system.head.source.data.decode()
    path = tmp_path / "wide.toml"
    path.write_text(text.replace('sqrt(alpha*beta))**2"]', 'sqrt(alpha*beta))**2 + 1/10"]'))
    report = pipeline.check(catalogue.load(path))
    assert report["lyapunov"] == {"holds": False, "interval_exact": False}
    assert not report.holds


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"equations": 'theta = "-m"\nm = "grad(theta) + grad(m)"'},
            "gradients at different points",
        ),
        ({"equations": 'theta = "-grad(2*theta)"'}, "at an unknown"),
        ({"equations": 'theta = "-grad(theta)*c"'}, "unknown name 'c'"),
        (
            {
                "equations": 'theta = "-m"\nm = "grad(theta) - m**2"',
                "method": '[["m", 1], ["theta", 1]]',
            },
            "not linear in m",
        ),
        (
            {"equations": 'theta = "-m"\nm = "grad(theta) - theta"', "method": '[["m theta", 1]]'},
            "not linear in the other unknowns",
        ),
        (
            {"equations": 'theta = "-m"\nm = "grad(theta)"', "method": '[["m", 1]]'},
            "never moves 'theta'",
        ),
        (
            {"equations": 'theta = "-grad(theta)/t"', "method": '[["theta", 1]]'},
            "the clock t moves by 0",
        ),
        (
            {"equations": 'theta = "-m"\nm = "grad(theta)"', "start": 'm = "m + 1"'},
            "m has none yet",
        ),
        ({"equations": 'theta = "-grad(theta)"', "start": 'theta = "1"'}, "starts where"),
        ({"equations": 'theta = "-grad(theta)"', "method": "gauss2"}, "is implicit"),
        (
            {"equations": 'theta = "-grad(theta)"', "method": "conformal_leapfrog"},
            "is for Hamiltonians",
        ),
    ],
)
def test_what_is_no_system_or_no_method_for_it_is_refused(
    changes: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DeclarationError, match=message):
        pipeline.check(catalogue.load(declared(tmp_path, **{"method": "euler", **changes})))


def test_a_coefficient_that_is_infinite_at_the_start_is_refused_at_the_value(
    tmp_path: Path,
) -> None:
    path = declared(
        tmp_path,
        'x = "v"\nv = "-grad(x) - 3*v/t"',
        '[["v", 1], ["x", 1], ["t", 1]]',
    )
    with pytest.raises(ValueError, match="no finite number at step 1"):
        hf.minimize(lambda x: float(x @ x), [1.0, 2.0], jac=lambda x: 2 * x, method=str(path))


def test_a_started_array_may_move_twice(tmp_path: Path, verifies: Verifies) -> None:
    path = declared(
        tmp_path,
        'theta = "-psi"\nm = "grad(theta) - m"\npsi = "m - psi/2"',
        '[["psi", "1/2"], ["m", "1/2"], ["theta", 1], ["m", "1/2"], ["psi", "1/2"]]',
        start='psi = "theta"',
    )
    assert hf.check(path)["order"] is not None
    assert verifies(path).holds


def test_an_interval_whose_ends_are_exchanged_is_refused(tmp_path: Path) -> None:
    text = catalogue.load("inna", ("system",)).head.source.data.decode()
    path = tmp_path / "turned.toml"
    first, last = "2*(1 - sqrt(alpha*beta))**2", "2*(1 + sqrt(alpha*beta))**2"
    path.write_text(text.replace(f'["{first}", "{last}"]', f'["{last}", "{first}"]'))
    with pytest.raises(DeclarationError, match="its first end is the larger"):
        catalogue.load(path)


def test_steps_without_a_value_have_no_first_steps(tmp_path: Path) -> None:
    path = declared(tmp_path, 'theta = "-grad(theta)"', "euler")
    path.write_text(path.read_text().replace('h = "lr"', 'h = "lr/(1 - n)"'))
    assert pipeline.check(catalogue.load(path))["first_steps"] is None
