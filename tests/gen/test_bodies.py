"""Bodies that attract each other in pairs: the work follows the terms, and the proofs are found."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
from numpy.typing import NDArray
from sympy.core.cache import clear_cache

from hamilforge.gen import pipeline, products
from hamilforge.gen.declare.functions import TABLE, Elementwise
from hamilforge.gen.derive.calculus import FUNCTIONS, gradient
from hamilforge.gen.derive.integrators.field import derive_field
from hamilforge.gen.derive.sums import SMALL, differs, remaining, shortest
from hamilforge.gen.program.integrators.build import build_integrator
from hamilforge.gen.program.integrators.interpret import IntegratorInterpreter
from hamilforge.gen.program.lower import FACTORED, lower
from hamilforge.gen.prove.report import Report

Floats = NDArray[np.float64]
Write = Callable[..., Path]
CYCLES = ("xyz", "yzx", "zxy")


def pairs(count: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(1, count + 1) for j in range(i + 1, count + 1)]


def joined(terms: Iterable[str]) -> str:
    return " + ".join(terms)


def invariants(count: int) -> dict[str, str]:
    """Total momentum and angular momentum."""
    bodies = range(1, count + 1)
    momentum = {f"momentum_{a}": joined(f"p{a}{i}" for i in bodies) for a in "xyz"}
    return momentum | {
        f"angular_{a}": joined(f"{b}{i}*p{c}{i} - {c}{i}*p{b}{i}" for i in bodies)
        for a, b, c in CYCLES
    }


@pytest.fixture
def planets(tmp_path: Path) -> Write:
    """A function that writes so many planets."""

    def write(count: int, claimed: dict[str, str] | None = None, friction: str = "0") -> Path:
        bodies = range(1, count + 1)
        axes = [f"{a}{i}" for i in bodies for a in "xyz"]
        kinetic = joined(f"(px{i}**2 + py{i}**2 + pz{i}**2)/(2*m{i})" for i in bodies)
        attraction = "".join(
            f" - G*m{i}*m{j}/sqrt((x{i} - x{j})**2 + (y{i} - y{j})**2 + (z{i} - z{j})**2)"
            for i, j in pairs(count)
        )
        quoted = (", ".join(f'"{prefix}{axis}"' for axis in axes) for prefix in ("", "p"))
        positions, momenta = quoted
        lines = [
            'kind = "hamiltonian"\nname = "planets"\ntitle = "t"\nreference = "r"',
            f"coordinates = {{ q = [{positions}], p = [{momenta}] }}",
            f'energy = "{kinetic}{attraction}"\nfriction = "{friction}"',
            '[parameters]\nG = { default = 1.3, domain = "positive" }',
            *(f'm{i} = {{ default = {1 / i}, domain = "positive" }}' for i in bodies),
            "[invariants]",
            *(f'{name} = "{value}"' for name, value in (claimed or invariants(count)).items()),
        ]
        path = tmp_path / "planets.toml"
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    return write


def checked(path: Path) -> Report:
    return pipeline.check(products.load_problem(path))


@pytest.mark.parametrize("count", [3, 4])
def test_all_that_holds_of_planets_is_proved(planets: Write, count: int) -> None:
    report = checked(planets(count))
    assert all(finding.value is not None for finding in report.findings)
    assert report["dimension"] == 6 * count
    assert report["separable"] is True
    assert (report["energy_rate"], report["divergence"]) == ("dH/dt = 0", "0")
    assert all(report[f"invariant_{name}"] is True for name in invariants(count))
    assert report.holds


@pytest.mark.parametrize("count", [3, 4])
def test_what_is_nearly_invariant_is_refused(planets: Write, count: int) -> None:
    known = invariants(count)
    false = {
        "momentum": known["momentum_x"].replace("px1 + ", ""),
        "angular": known["angular_z"].replace("x2*py2 - y2*px2", "x2*py2 + y2*px2"),
        "weighted": known["momentum_y"].replace("py1", "2*py1"),
        "kinetic": "px1**2/(2*m1)",
    }
    report = checked(planets(count, known | false))
    assert [report[f"invariant_{name}"] for name in false] == [False] * len(false)
    assert all(report[f"invariant_{name}"] is True for name in known)
    assert not report.holds


def test_friction_takes_energy_and_volume_and_momentum(planets: Write) -> None:
    report = checked(planets(4, friction="1/5"))
    rate = sp.sympify(str(report["energy_rate"]).removeprefix("dH/dt = "))
    wanted = sum(
        -(sp.Symbol(f"p{a}{i}") ** 2) / sp.Symbol(f"m{i}") / 5 for i in range(1, 5) for a in "xyz"
    )
    assert sp.expand(rate - wanted) == 0
    assert report["divergence"] == "-12/5"
    assert report["invariant_momentum_x"] is False


def counted(
    patch: pytest.MonkeyPatch, owner: Any, name: str, measure: Callable[[Any], int]
) -> list[int]:
    """What a function of SymPy is called with, by a measure; its memory is emptied before."""
    function, calls = getattr(owner, name), list[int]()

    def call(expr: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(measure(expr))
        return function(expr, *args, **kwargs)

    patch.setattr(owner, name, call)
    clear_cache()
    return calls


def test_differentiation_follows_the_terms_and_not_the_symbols(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = []
    for length in (11, 41):
        symbols = sp.symbols(f"x:{length}", real=True)
        chain = sp.Add(*(sp.cos(x - y) for x, y in itertools.pairwise(symbols)))
        with monkeypatch.context() as patch:
            calls = counted(patch, sp.Expr, "diff", lambda _: 1)
            slopes = gradient(chain, symbols)
        assert slopes == {x: chain.diff(x) for x in symbols}
        assert list(slopes) == list(symbols)
        counts.append(len(calls))
    assert 0 < counts[1] < 4.5 * counts[0]


@pytest.mark.parametrize("count", [4, 8])
def test_no_large_sum_is_searched_for_a_short_form(
    planets: Write, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    path = planets(count)
    with monkeypatch.context() as patch:
        searches = [
            counted(patch, sp, name, lambda expr: int(sp.count_ops(expr)))
            for name in ("simplify", "together", "expand")
        ]
        assert checked(path).holds
    assert all(sizes == [] or max(sizes) < 20 * SMALL for sizes in searches)
    assert searches[2]


def test_groups_of_terms_vanish_by_the_bases_they_share() -> None:
    x, y, u, v, a = sp.symbols("x y u v a", real=True)
    near, far = sp.sqrt((x - y) ** 2 + 1), sp.sqrt((u - v) ** 2 + 1)
    hidden = [(x - y) / near**3, (y - x) / near**3, (u - v) / far, (v - u) / far]
    assert remaining(hidden) == ()
    assert remaining([*hidden, a / far**2]) == (a / far**2,)
    assert remaining([x**2 / (x**2 + y**2), y**2 / (x**2 + y**2), sp.Integer(-1)]) == ()
    assert remaining([1 / (x - y), 1 / (y - x)]) == ()
    assert remaining([(x + y) ** a * (x + y), -x * (x + y) ** a, -y * (x + y) ** a]) == ()
    kept = [near**2 / far, -((x - y) ** 2) / far]
    assert sp.simplify(sp.Add(*remaining(kept)) - 1 / far) == 0


def test_a_sum_that_only_an_identity_makes_zero_is_zero_and_its_neighbour_is_not() -> None:
    angles = sp.symbols("a:6", real=True)
    squares = [(sp.sin(a), sp.sin(a)) for a in angles] + [(sp.cos(a), sp.cos(a)) for a in angles]
    assert shortest([*squares, (sp.Integer(-6), sp.S.One)]) == 0
    assert sp.simplify(shortest([*squares, (sp.Integer(-5), sp.S.One)])) == 1
    assert shortest([*squares[::6], (sp.Integer(1), sp.S.One)]) == 2


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_sums_of_every_function_are_zero_only_where_they_are(row: Elementwise) -> None:
    x, y = sp.symbols("x y", positive=True)
    value = FUNCTIONS[row.name](x, *(sp.Symbol(name, real=True) for name in row.arguments[1:]))
    assert shortest([(value, x - y), (y - x, value)]) == 0
    assert shortest([(value, x - y), (y - 2 * x, value)]) != 0


def test_numbers_are_asked_only_of_functions_that_sympy_knows() -> None:
    x = sp.Symbol("x", real=True)
    assert differs(sp.cos(x) - 1)
    assert not differs(sp.cos(x) ** 2 + sp.sin(x) ** 2 - 1)
    assert not differs(FUNCTIONS["root"](x))


def test_wide_polynomials_are_not_factored(monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []
    factor = sp.Expr.factor

    def watched(expr: Any, *args: Any, **kwargs: Any) -> Any:
        widths.append(len(expr.free_symbols))
        return factor(expr, *args, **kwargs)

    monkeypatch.setattr(sp.Expr, "factor", watched)
    symbols = sp.symbols(f"x:{FACTORED + 1}", real=True)
    for count in (FACTORED, FACTORED + 1):
        lower(sp.expand(2 * symbols[0] * sp.Add(*symbols[1:count])))
    assert widths
    assert max(widths) == FACTORED


def gravity(q: Floats, masses: Floats, constant: float) -> Floats:
    """The forces of bodies at ``q`` on each other."""
    force = np.zeros_like(q)
    for i, here in enumerate(q):
        for j, there in enumerate(q):
            if i != j:
                distance = np.linalg.norm(there - here)
                force[i] += constant * masses[i] * masses[j] * (there - here) / distance**3
    return force


def test_the_program_of_three_planets_is_gravity(planets: Write) -> None:
    declared = products.load_problem(planets(3))
    parameters = {entry.name: float(entry.default) for entry in declared.parameters}
    constant = parameters["G"]
    masses = np.array([parameters[f"m{i}"] for i in (1, 2, 3)])
    random = np.random.default_rng(5)
    q, p = random.standard_normal((2, 3, 3))
    y, h = np.concatenate([q.ravel(), p.ravel()]), 0.01

    def rate(z: Floats) -> Floats:
        velocity = z[9:].reshape(3, 3) / masses[:, None]
        force = gravity(z[:9].reshape(3, 3), masses, constant)
        return np.concatenate([velocity.ravel(), force.ravel()])

    def machine(method: str) -> IntegratorInterpreter:
        integrator = build_integrator(derive_field(declared), products.load_method(method))
        return IntegratorInterpreter(integrator, parameters)

    half = q + h / 2 * p / masses[:, None]
    kicked = p + h * gravity(half, masses, constant)
    leapt = np.concatenate([(half + h / 2 * kicked / masses[:, None]).ravel(), kicked.ravel()])
    assert machine("conformal_leapfrog").step(0.0, h, y) == pytest.approx(leapt, rel=1e-12)

    k1 = rate(y)
    k2 = rate(y + h / 2 * k1)
    k3 = rate(y + h / 2 * k2)
    k4 = rate(y + h * k3)
    stepped = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    rk4 = machine("runge-kutta/rk4")
    assert rk4.step(0.0, h, y) == pytest.approx(stepped, rel=1e-12)

    moves = 1e-6 * np.eye(18)
    slopes = np.array([(rate(y + move) - rate(y - move)) / 2e-6 for move in moves]).T
    assert rk4.matrix(rk4.integrator.problem.jacobian, 0.0, y) == pytest.approx(slopes, abs=1e-5)
    weights = random.standard_normal(18)
    names = rk4.integrator.problem.components
    costates = {f"w__{name}": w for name, w in zip(names, weights, strict=True)}
    (part,) = rk4.integrator.problem.parts
    product = rk4.call(part.product, 0.0, y, costates)
    assert product[:18] == pytest.approx(weights @ slopes, abs=1e-5)


def test_sixteen_planets_fit_their_budget(planets: Write) -> None:
    assert checked(planets(16)).holds
