"""Equations with noise, what discretises them, and in what order their distributions agree."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.linalg import expm, solve_discrete_lyapunov

from hamilforge.document import show
from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import DeclarationError, NotDerivableError
from hamilforge.gen.declare.kinds import Discretised, Optimizer, draws_noise
from hamilforge.gen.program.ir import Apply
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.noise import normals
from hamilforge.gen.program.optimizers.build import derive
from hamilforge.gen.program.optimizers.build_rule import derive_rule
from hamilforge.gen.program.optimizers.draws import draws
from hamilforge.gen.program.optimizers.interpret import Interpreter, host_values
from hamilforge.gen.prove.optimizers import weak_order
from hamilforge.gen.prove.optimizers.letters import field_of_letters, mean
from hamilforge.gen.tableau.build import build
from tests.gen.test_systems import declared
from tests.optimizers import ELEMENTWISE
from tests.samples import sampled

Floats = NDArray[np.float64]
FRICTION, TEMPERATURE, CURVATURE = 0.8, 0.6, 1.7
EXPECTED = tomllib.loads(
    (Path(__file__).parents[1] / "expected" / "proofs.toml").read_text(encoding="utf-8")
)
SAMPLERS: dict[str, int] = EXPECTED["weak_order"]


def has_equation_with_noise(name: str) -> bool:
    optimizer = catalogue.load(name, ("optimizer",))
    if isinstance(optimizer, Discretised):
        return optimizer.system is not None and bool(optimizer.system.noise)
    return isinstance(optimizer, Optimizer) and draws_noise(optimizer.method)


# --- the catalogue ----------------------------------------------------------------------------


def test_every_optimizer_for_an_equation_with_noise_has_a_weak_order() -> None:
    names = {name for name in ELEMENTWISE if has_equation_with_noise(name)}
    assert names == {*SAMPLERS}


@pytest.mark.parametrize("name", SAMPLERS)
def test_weak_orders_are_those_of_the_literature(name: str) -> None:
    finding = pipeline.check(catalogue.load(name, ("optimizer",))).finding("weak_order")
    order = SAMPLERS[name]
    assert finding.value == order
    assert f"equal to h^{order} for all products of up to {2 * order + 1}" in finding.evidence
    assert f"not to h^{order + 1} for d" in finding.evidence


def moments(word: str, h: float) -> tuple[Floats, Floats]:
    """Matrix and covariance of a step on CURVATURE q^2/2; a letter takes its share of h."""
    matrix, covariance = np.eye(2), np.zeros((2, 2))
    for letter in word:
        step = h / word.count(letter)
        added = np.zeros((2, 2))
        if letter == "A":
            flow = np.array([[1, step], [0, 1]])
        elif letter == "B":
            flow = np.array([[1, 0], [-CURVATURE * step, 1]])
        else:
            flow = np.diag([1, np.exp(-FRICTION * step)])
            added[1, 1] = TEMPERATURE * (1 - np.exp(-2 * FRICTION * step))
        matrix, covariance = flow @ matrix, flow @ covariance @ flow.T + added
    return matrix, covariance


def exact_moments(drift: Floats, square: Floats, h: float) -> tuple[Floats, Floats]:
    """Those of dz = drift z dt + noise (C. F. Van Loan, IEEE Trans. Automat. Control 23 (1978))."""
    count = len(drift)
    block = np.block([[drift, square], [np.zeros((count, count)), -drift.T]])
    grown = expm(block * h)
    return grown[:count, :count], grown[:count, count:] @ grown[:count, :count].T


def hand_written(name: str, h: float) -> tuple[Floats, Floats]:
    if name == "sgld":
        return np.array([[1 - h * CURVATURE]]), np.array([[2 * h * TEMPERATURE]])
    if name == "sghmc":
        fade, noise = 1 - FRICTION * h, 2 * FRICTION * h * TEMPERATURE
        matrix = np.array([[1 - h**2 * CURVATURE, h * fade], [-h * CURVATURE, fade]])
        return matrix, noise * np.array([[h**2, h], [h, 1]])
    return moments({"underdamped_baoab": "BAOAB"}.get(name, name.upper()), h)


@pytest.mark.parametrize("name", SAMPLERS)
def test_on_a_parabola_the_moments_of_one_step_are_off_by_a_power_more(name: str) -> None:
    """Mean and covariance of steps written by hand, beside the exact ones of the equation."""
    if name == "sgld":
        drift, square = np.array([[-CURVATURE]]), np.array([[2 * TEMPERATURE]])
    else:
        drift = np.array([[0, 1], [-CURVATURE, -FRICTION]])
        square = np.diag([0, 2 * FRICTION * TEMPERATURE])
    errors = []
    for h in (0.04, 0.02, 0.01):
        ours, theirs = hand_written(name, h), exact_moments(drift, square, h)
        errors.append(max(abs(a - b).max() for a, b in zip(ours, theirs, strict=True)))
    slopes = np.log2(np.divide(errors[:-1], errors[1:]))
    assert slopes == pytest.approx(SAMPLERS[name] + 1, abs=0.1)


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_is_written_by_hand_is_what_is_emitted(name: str) -> None:
    """The covariance that steps by hand leave as it is, beside that of the emitted program."""
    h = 0.3
    covariance = solve_discrete_lyapunov(*hand_written(name, h))
    report = pipeline.check(catalogue.load(name, ("optimizer",)))
    found = report["stationary_variance"]
    assert isinstance(found, dict)
    values = {"curvature": CURVATURE, "lr": h, "friction": FRICTION, "temperature": TEMPERATURE}
    entries = [(0, 0), (0, 1), (1, 1)] if len(covariance) > 1 else [(0, 0)]
    names = ("q", "p") if "q" in found else ("theta", "v")
    for i, j in entries:
        key = " ".join(dict.fromkeys((names[i], names[j])))
        emitted = float(sp.sympify(found[key].replace("lambda", "curvature")).subs(values))
        assert emitted == pytest.approx(covariance[i, j], rel=1e-9, abs=1e-12)


# --- planted faults ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kick", "heat", "order"),
    [
        ("h*grad(theta)", "sqrt(2*h*T)", 1),
        ("h*grad(theta)", "1.05*sqrt(2*h*T)", 0),
        ("h*grad(theta)", "sqrt(h*T)", 0),
        ("1.05*h*grad(theta)", "sqrt(2*h*T)", 0),
        ("h*grad(theta)", "(1 + h)*sqrt(2*h*T)", 1),
        ("h*(1 + h)*grad(theta)", "sqrt(2*h*T)", 1),
        ("h*grad(theta)", "sqrt(2*T)*h", 0),
        ("h*(1 + sqrt(h))*grad(theta)", "sqrt(2*h*T)", 0),
        ("h*grad(theta)", "(1 + sqrt(h))*sqrt(2*h*T)", 0),
        ("h*grad(theta)", "T*sqrt(h)", 0),
        ("h*grad(theta)", "0*T", 0),
    ],
)
def test_a_wrong_step_has_a_lower_order(tmp_path: Path, kick: str, heat: str, order: int) -> None:
    (tmp_path / "typed.toml").write_text(
        'kind = "update"\nname = "typed"\ntitle = "-"\nreference = "-"\nunknowns = ["theta"]\n'
        f'assign = ["theta = theta - {kick} + {heat}*noise()"]\n'
    )
    path = noisy(tmp_path, 'theta = "-grad(theta)"', "typed.toml", 'theta = "sqrt(2*T)"')
    report = pipeline.check(catalogue.load(path))
    assert report["weak_order"] == order, report.finding("weak_order")


@pytest.mark.parametrize(("name", "line"), [("underdamped_baoab", "heat"), ("obabo", "heat_2")])
@pytest.mark.parametrize("factor", ["21/20", "1 + lr", "1 + lr**2"])
def test_wrong_noise_of_a_bath_is_seen(name: str, line: str, factor: str) -> None:
    """A factor that is off by a power of h takes the order to that power, less one."""
    derivation = derive(catalogue.load(name, ("optimizer",)))
    host = derivation.program.host
    assert line in {entry.name for entry in host.body}
    wrong = lower(sp.sympify(factor, {"lr": sp.Symbol("lr", positive=True)}))
    body = tuple(
        replace(entry, value=Apply("mul", (wrong, entry.value))) if entry.name == line else entry
        for entry in host.body
    )
    faulty = replace(derivation, program=replace(derivation.program, host=replace(host, body=body)))
    order = weak_order.of_hamiltonian(faulty).value
    assert order == {"21/20": 0, "1 + lr": 1, "1 + lr**2": 2}[factor]
    assert weak_order.of_hamiltonian(derivation).value == 2


def test_means_are_those_of_normal_numbers() -> None:
    letters, ring = field_of_letters(["a"])
    a, b = ring.gens
    assert mean(3 + a**2 * b**4 + 5 * a * b + a**6 - 7 * a**3) == 3 + 3 + 15
    assert letters.is_zero(a - a)
    with pytest.raises(NotDerivableError, match="a function of what is drawn"):
        letters.function("sqrt", a)


# --- [noise] ----------------------------------------------------------------------------------

TEMPERED = 'T = { default = 1, domain = "positive" }'


def scalars(path: Path, **values: float) -> dict[str, float]:
    program = derive_rule(catalogue.load(path)).program
    memory = {name: 0.0 for name, _ in program.host.memory}
    return host_values(program, {"n": 1.0, **values}, memory)


def amplitude(path: Path, **values: float) -> float:
    """By what the only noise of the first step is multiplied."""
    program = derive_rule(catalogue.load(path)).program
    known = scalars(path, **values)
    (draw,) = (
        (draw, dict(zip(function.scalars, row, strict=True)))
        for index, row in zip(program.stages, program.host.rows, strict=True)
        for function in (program.functions[index],)
        for draw in draws(program, function)
    )
    noise, lines = draw
    return known[lines[noise.amplitude]]


def noisy(folder: Path, equations: str, method: str, noise: str, names: str = "T") -> Path:
    numbers = "\n".join(f'{n} = {{ default = 1, domain = "nonnegative" }}' for n in names.split())
    return declared(folder, equations, method, numbers, hyper=numbers, noise=noise)


def test_a_letter_with_noise_is_exact(tmp_path: Path) -> None:
    """An Ornstein-Uhlenbeck velocity beside a frozen point: no order is too high."""
    path = noisy(
        tmp_path, 'theta = "0*grad(theta) + v"\nv = "-gamma*v"', '[["v", 1], ["theta", 1]]',
        'v = "sqrt(2*gamma*T)"', "gamma T",
    )  # fmt: skip
    text = show(path)
    assert "dv has (sqrt(2*gamma*T)) dW more, in Ito's sense." in text
    for gamma in (0.0, 1e-9, 0.7, 900.0):
        width = np.sqrt(0.4 * -np.expm1(-2 * gamma * 0.9))
        assert amplitude(path, gamma=gamma, T=0.4, lr=0.9) == pytest.approx(width, rel=1e-12)
    finding = pipeline.check(catalogue.load(path)).finding("weak_order")
    assert finding.value == 1  # the point is frozen while the velocity moves


def test_noise_that_has_another_rate_than_friction_has_its_limit(tmp_path: Path) -> None:
    path = noisy(
        tmp_path, 'theta = "-grad(theta) + v"\nv = "-gamma*v"', '[["v", 1], ["theta", 1, "euler"]]',
        'v = "T"', "gamma T",
    )  # fmt: skip
    for gamma in (0.0, 1e-9, 0.7):
        variance = quad(lambda s, gamma=gamma: (0.4 * np.exp(-gamma * s)) ** 2, 0, 0.9)[0]
        width = amplitude(path, gamma=gamma, T=0.4, lr=0.9)
        assert width == pytest.approx(np.sqrt(variance), rel=1e-7)


def test_noise_with_the_clock_is_integrated(tmp_path: Path) -> None:
    path = noisy(
        tmp_path, 'theta = "-grad(theta) + v"\nv = "-r/t*v"',
        '[["v t", 1], ["theta", 1, "euler"]]', 'v = "T*sqrt(t)"', "r T",
    )  # fmt: skip
    (tmp_path / "motion.toml").write_text(
        (tmp_path / "motion.toml").read_text().replace("[start]", "[start]\nt = 2")
    )
    end = 2.9
    variance = quad(lambda s: 0.4**2 * s * (s / end) ** 6, 2, end)[0]
    width = amplitude(path, r=3.0, T=0.4, lr=0.9)
    assert width == pytest.approx(np.sqrt(variance), rel=1e-9)
    finding = pipeline.check(catalogue.load(path)).finding("weak_order")
    assert finding.value is None
    assert finding.why == "the equation depends on the time"


@pytest.mark.parametrize("table", sampled(EXPECTED["weak_order_of_tables"], every=2))
def test_tables_take_noise_at_their_nodes(tmp_path: Path, table: str) -> None:
    """Order 2 needs the mean of W^2 over a step, which is h^2/2: sum of b c^2 = 1/2, as of Heun."""
    path = noisy(tmp_path, 'theta = "-grad(theta)"', table, 'theta = "sqrt(2*T)"')
    tableau = build(catalogue.load(table, ("runge-kutta",)))
    second = sum(b * c**2 for b, c in zip(tableau.b, tableau.c, strict=True)) == Fraction(1, 2)
    report = pipeline.check(catalogue.load(path))
    assert report["weak_order"] == EXPECTED["weak_order_of_tables"][table] == (2 if second else 1)


def test_noise_may_depend_on_other_unknowns(tmp_path: Path) -> None:
    """Preconditioned Langevin dynamics without its correction: Euler has order 1 all the same."""
    path = noisy(
        tmp_path, 'theta = "-v*grad(theta)"\nv = "T - v"', "euler", 'theta = "v*sqrt(2*T)"'
    )
    report = pipeline.check(catalogue.load(path))
    assert report["weak_order"] == 1


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        ('w = "1"', "'w' is no unknown; there are: theta"),
        ('theta = "theta"', "the diffusion of an unknown may not depend on it"),
        ('theta = "grad(theta)"', "a diffusion takes no gradient"),
        ('theta = "sum(T)"', r"sum\(...\) has no meaning here|unknown function"),
        ('theta = "k"', "unknown name 'k'"),
        ('theta = "1/0*T"', "divides by zero"),
    ],
)
def test_noise_that_means_nothing_is_refused(tmp_path: Path, noise: str, said: str) -> None:
    path = noisy(tmp_path, 'theta = "-grad(theta)"', "euler", noise)
    with pytest.raises(DeclarationError, match=said):
        pipeline.check(catalogue.load(path))


@pytest.mark.parametrize(
    ("equations", "steps", "noise", "said"),
    [
        (
            'theta = "-grad(theta)"\nv = "T - v"\nw = "-w"',
            '[["w v", 1], ["theta", 1, "euler"]]',
            'w = "v*sqrt(2*T)"',
            "the noise of w depends on another unknown of its letter",
        ),
        (
            'theta = "-grad(theta)"\nv = "-theta*T/t"',
            '[["v t", 1], ["theta", 1, "euler"]]',
            'v = "exp(-t*theta)"',
            "the noise of v depends on the clock and on arrays at once",
        ),
    ],
)
def test_letters_whose_noise_has_no_exact_flow_are_refused(
    tmp_path: Path, equations: str, steps: str, noise: str, said: str
) -> None:
    path = noisy(tmp_path, equations, steps, noise)
    with pytest.raises(DeclarationError, match=said):
        derive_rule(catalogue.load(path))


def test_noise_that_fades_follows_the_clock(tmp_path: Path) -> None:
    path = noisy(tmp_path, 'theta = "-grad(theta)"', "euler", 'theta = "sqrt(2*T/(1 + t))"')
    program = derive_rule(catalogue.load(path)).program
    machine = Interpreter(program, {"lr": 0.5, "T": 0.7}, [np.zeros(3)], keys=(11,))
    still = Interpreter(program, {"lr": 0.5, "T": 0.0}, [np.zeros(3)], keys=(11,))
    for count in range(4):
        before, fixed = machine.x[0].copy(), still.x[0].copy()
        machine.step([np.zeros(3)])
        still.step([np.zeros(3)])
        width = np.sqrt(2 * 0.7 / (1 + 0.5 * count) * 0.5)
        numbers = normals(11, count, 0, 0, 3)
        assert machine.x[0] - before == pytest.approx(width * numbers, rel=1e-12)
        assert (still.x[0] == fixed).all()


def test_a_rate_that_is_an_array_may_be_zero_in_some_entries(tmp_path: Path) -> None:
    path = noisy(
        tmp_path, 'theta = "-grad(theta)"\nv = "-theta*v + 1"',
        '[["v", 1], ["theta", 1, "euler"]]', 'v = "T"',
    )  # fmt: skip
    program = derive_rule(catalogue.load(path)).program
    machine = Interpreter(program, {"lr": 0.5, "T": 0.7}, [np.array([0.0, 1.3])], keys=(11,))
    machine.step([np.zeros(2)])
    variance = [0.7**2 * quad(lambda s, a=a: np.exp(-2 * a * s), 0, 0.5)[0] for a in (0.0, 1.3)]
    drift = [quad(lambda s, a=a: np.exp(-a * s), 0, 0.5)[0] for a in (0.0, 1.3)]
    wanted = drift + np.sqrt(variance) * normals(11, 0, 0, 0, 2)
    assert machine.states[program.states[0]][0] == pytest.approx(wanted, rel=1e-12)


def test_a_step_that_draws_nothing_follows_no_equation_with_noise(tmp_path: Path) -> None:
    (tmp_path / "typed.toml").write_text(
        'kind = "update"\nname = "typed"\ntitle = "-"\nreference = "-"\nunknowns = ["theta"]\n'
        'assign = ["theta = theta - h*grad(theta)"]\n'
    )
    path = noisy(tmp_path, 'theta = "-grad(theta)"', "typed.toml", 'theta = "sqrt(2*T)"')
    assert pipeline.check(catalogue.load(path))["weak_order"] == 0


@pytest.mark.parametrize(
    ("equation", "noise", "why"),
    [
        ("-grad(theta)", "sqrt(3*T)", None),
        ("-grad(theta)", "sqrt(2 + T)", "no values of the parameters are known"),
        ("-grad(theta)/(1 + theta**2)", "T", "the equation is no polynomial in its unknowns"),
    ],
)
def test_what_is_not_known_says_why(
    tmp_path: Path, equation: str, noise: str, why: str | None
) -> None:
    path = noisy(tmp_path, f'theta = "{equation}"', "euler", f'theta = "{noise}"')
    finding = pipeline.check(catalogue.load(path)).finding("weak_order")
    if why is None:
        assert finding.value is None
    else:
        assert why in finding.why


def test_noise_stands_with_equations_that_have_a_gradient(tmp_path: Path) -> None:
    path = noisy(tmp_path, 'theta = "-grad(theta)"', "euler", 'theta = "sqrt(2*T)"')
    path.write_text(path.read_text() + '[noise]\ntheta = "1"\n')
    with pytest.raises(DeclarationError, match="noise: belongs where the equations are"):
        catalogue.load(path)
    plain = tmp_path / "plain.toml"
    plain.write_text(
        'kind = "system"\nname = "plain"\ntitle = "-"\nreference = "-"\n'
        '[equations]\ny = "-y"\n[noise]\ny = "1"\n'
    )
    with pytest.raises(DeclarationError, match=r"noise: is for equations with grad\(...\) in them"):
        catalogue.load(plain)


def test_an_energy_of_an_equation_with_noise_is_refused(tmp_path: Path) -> None:
    noisy(tmp_path, 'theta = "-grad(theta)"', "euler", 'theta = "sqrt(2*T)"')
    path = tmp_path / "motion.toml"
    energy = '[lyapunov]\nenergy = "a*J(theta)"\nfree = "a"\ninterval = ["1", "2"]\n'
    path.write_text(path.read_text() + energy)
    with pytest.raises(DeclarationError, match=r"without \[noise\]"):
        catalogue.load(path)


def test_at_temperature_zero_nothing_is_drawn(tmp_path: Path) -> None:
    path = noisy(tmp_path, 'theta = "-grad(theta)"', "heun2", 'theta = "sqrt(2*T)"')
    program = derive_rule(catalogue.load(path)).program
    values = scalars(path, T=0.0, lr=0.3)
    for index, row in zip(program.stages, program.host.rows, strict=True):
        function = program.functions[index]
        lines = dict(zip(function.scalars, row, strict=True))
        (draw,) = draws(program, function)
        assert values[lines[draw.amplitude]] == 0
