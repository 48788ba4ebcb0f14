"""Derivation: velocities, exact flows, rotation, and the scalars' limits."""

from __future__ import annotations

import math
import operator

import mpmath
import numpy as np
import pytest
import sympy as sp

from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.derive.calculus import Coordinate, Total, tidy
from hamilforge.gen.derive.optimizers.system import derive_system
from hamilforge.gen.derive.symbols import h, p, t
from hamilforge.gen.program.algebra import evaluate
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.optimizers.build import derive
from hamilforge.gen.program.optimizers.interpret import host_values
from hamilforge.gen.program.reference import FLOAT64
from tests.interpreted import program_of
from tests.optimizers import ELEMENTWISE

HAMILTONIANS = [
    path.stem
    for path in catalogue.paths("hamiltonian")
    if isinstance(catalogue.load(path), kinds.Hamiltonian)
]
OPTIMIZERS = ELEMENTWISE


def numbers(system):
    return {parameter.name: float(parameter.default) for parameter in system.declaration.parameters}


@pytest.mark.parametrize("name", HAMILTONIANS)
def test_the_velocity_is_the_gradient_of_the_kinetic_energy(name):
    system = derive_system(catalogue.load(name, ("hamiltonian",)))
    momentum = np.array([0.3, -0.7, 1.1])
    values = numbers(system)
    kinetic, velocity = lower(system.kinetic), lower(system.gradient)
    found = evaluate(velocity, {**values, "p": momentum}, FLOAT64)
    step = 1e-6
    for k in range(3):
        moved = [momentum.copy(), momentum.copy()]
        moved[0][k] += step
        moved[1][k] -= step
        up, down = (evaluate(kinetic, {**values, "p": one}, FLOAT64) for one in moved)
        assert found[k] == pytest.approx((up - down) / (2 * step), rel=1e-7)


@pytest.mark.parametrize("name", HAMILTONIANS)
def test_friction_and_impulse_solve_their_differential_equations(name):
    system = derive_system(catalogue.load(name, ("hamiltonian",)))
    start = sp.Symbol("start", positive=True)
    decay = system.decay(start, t)
    impulse = system.impulse(start, t)
    assert tidy(decay.subs(t, start)) == 1
    assert sp.simplify(decay.diff(t) + system.gamma * decay) == 0
    assert sp.simplify(impulse.subs(t, start)) == 0
    assert sp.simplify(impulse.diff(t) - 1 + system.gamma * impulse) == 0


def test_a_friction_without_elementary_integral_is_refused(tmp_path):
    path = tmp_path / "odd.toml"
    path.write_text(
        'kind = "hamiltonian"\nname = "odd"\ntitle = "t"\nreference = "r"\n'
        'kinetic = "dot(p, p)/2"\nfriction = "exp(sin(t**2))"\n'
    )
    system = derive_system(catalogue.load(path))
    with pytest.raises(DeclarationError, match="no elementary integral"):
        system.decay(t, t + h)


def test_sums_are_differentiated_through_everything():
    m = sp.Symbol("m", positive=True)
    energy = sp.sqrt(Total(p**2)) * Total(p**4 * Total(p**2)) / m
    momentum = np.array([0.4, 1.3])
    gradient = evaluate(lower(energy.diff(p)), {"p": momentum, "m": 2.0}, FLOAT64)
    step = 1e-6
    for k in range(2):
        ends = []
        for sign in (1, -1):
            moved = momentum.copy()
            moved[k] += sign * step
            ends.append(evaluate(lower(energy), {"p": moved, "m": 2.0}, FLOAT64))
        assert gradient[k] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)


def test_a_sum_takes_scalar_factors_out():
    scale = sp.Symbol("scale", positive=True)
    v = Coordinate("v")
    assert Total((scale * v) ** 2) == scale**2 * Total(v**2)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_host_scalars_are_finite_on_the_closed_domain_of_the_hyper_parameters(name):
    program = program_of(name)
    defaults = {entry.name: float(entry.default) for entry in program.hyperparameters}
    clock = {"t": float(program.start_time), "n": 1.0, "workers": 3.0}
    memory = {name: 0.0 for name, _ in program.host.memory}
    closed = [
        entry.name
        for entry in program.hyperparameters
        if entry.domain in ("nonnegative", "unit-interval")
    ]
    for zeros in ([], *([one] for one in closed), closed):
        inputs = {**defaults, **clock, **dict.fromkeys(zeros, 0.0)}
        with np.errstate(all="raise"):
            values = host_values(program, inputs, memory)
        assert all(math.isfinite(value) for value in values.values()), zeros
        later = {line: values[line] for line in (line for _, line in program.host.memory)}
        kept = {name: later[line] for name, line in program.host.memory}
        again = host_values(program, {**inputs, "n": 2.0}, kept)
        assert all(math.isfinite(value) for value in again.values()), zeros


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_host_scalars_keep_their_digits_near_the_ends_of_the_domain(name):
    program = program_of(name)
    inputs = {entry.name: float(entry.default) for entry in program.hyperparameters}
    inputs |= {"t": float(program.start_time), "n": 1.0, "workers": 3.0}
    memory = {name: 0.25 for name, _ in program.host.memory}
    for small in ({"lr": 1e-12}, {"momentum": 1 - 1e-12}, {"gamma": 1e-12}):
        if not set(small) <= set(inputs):
            continue
        near = inputs | small
        found = host_values(program, near, memory)
        with mpmath.workdps(50):
            exact = _in_fifty_digits(program, {**near, **memory})
        for line in program.host.body:
            assert found[line.name] == pytest.approx(float(exact[line.name]), rel=4e-15)


def _in_fifty_digits(program, values):
    symbols = {name: sp.Float(value, 50) for name, value in values.items()}
    for line in (*program.host.constants, *program.host.body):
        symbols[line.name] = _value(line.value, symbols)
    return symbols


def _value(expr, symbols):
    from hamilforge.gen.program.algebra import Algebra

    functions = {
        **{
            name: lambda x, y, holds=holds: sp.Integer(int(bool(holds(x, y))))
            for name, holds in {
                "greater": operator.gt,
                "at_least": operator.ge,
                "equal": sp.Eq,
            }.items()
        },
        "abs": sp.Abs,
        "max": sp.Max,
        "min": sp.Min,
        "exp": sp.exp,
        "log": sp.log,
        "sqrt": sp.sqrt,
        "expm1": lambda z: sp.exp(z) - 1,
        "log1p": lambda z: sp.log(1 + z),
        "pow": lambda base, exponent: (
            base
            ** (
                sp.Rational(exponent.numerator, exponent.denominator)
                if hasattr(exponent, "numerator") and not isinstance(exponent, sp.Basic)
                else exponent
            )
        ),
    }
    algebra = Algebra(
        lambda value: sp.Rational(value.numerator, value.denominator),
        functions,
        lambda array: array,
        lambda subject, value, then, otherwise: then() if float(subject) == value else otherwise(),
    )
    return sp.N(evaluate(expr, symbols, algebra), 50)


def test_a_scalar_that_is_infinite_in_the_domain_is_refused(tmp_path):
    text = (catalogue.root() / "optimizers" / "yoshida4.toml").read_text()
    path = tmp_path / "yoshida4.toml"
    path.write_text(text.replace("open-unit-interval", "unit-interval"))
    with pytest.raises(DeclarationError, match=r"infinite at momentum = 0.*domain without 0"):
        derive(catalogue.load(path))


def test_a_setting_that_cannot_be_solved_for_the_hyper_parameters_leaves_no_order(tmp_path):
    from hamilforge.gen import pipeline

    text = (catalogue.root() / "optimizers" / "heavy_ball.toml").read_text()
    path = tmp_path / "heavy_ball.toml"
    path.write_text(
        text.replace('gamma = "-log(momentum)/h"', 'gamma = "momentum + exp(momentum)"')
    )
    report = pipeline.check(catalogue.load(path))
    assert report["order"] is None
    assert report.to_dict()["properties"]["order_why"]
    assert not report.holds


def test_a_declaration_is_derived_and_proved_once(tmp_path):
    path = tmp_path / "mine.toml"
    source = next(path for path in catalogue.paths("optimizer") if path.stem == "rgd")
    path.write_text(source.read_text().replace('name = "rgd"', 'name = "mine"'))
    pipeline.check(catalogue.load(source))  # and what it reduces to
    before = derive.cache_info().misses
    for _ in range(2):
        declaration = catalogue.load(path, ("optimizer",))
        pipeline.check(declaration)
        pipeline.render_optimizer(declaration)
    assert derive.cache_info().misses == before + 1
    path.write_text(path.read_text().replace('title = "', 'title = "Another '))
    pipeline.check(catalogue.load(path, ("optimizer",)))
    assert derive.cache_info().misses == before + 2


@pytest.mark.parametrize(
    "friction", ["gamma*step(t - 1)", "gamma*relu(t - 1)", "where(t - 1, gamma, 0)"]
)
def test_frictions_with_kinks_or_jumps_in_time_are_refused(friction, tmp_path):
    """SymPy's antiderivative of a jump jumps: the decay would be false."""
    with pytest.raises(DeclarationError, match="no elementary integral"):
        pipeline.check(_damped(tmp_path, friction))


@pytest.mark.parametrize(
    ("friction", "factor"),
    [("max(gamma, 1)", "exp(-lr*max(g0, 1))"), ("clip(gamma, 0, 1)", "exp(-lr*clip(g0, 0, 1))")],
)
def test_numbers_in_a_friction_may_be_chosen(friction, factor, tmp_path):
    report = pipeline.check(_damped(tmp_path, friction))
    assert (report["order"], report["conformal_factor"]) == (2, factor)


def _damped(folder, friction):
    (folder / "damped.toml").write_text(
        'kind = "hamiltonian"\nname = "damped"\ntitle = "-"\nreference = "-"\n'
        f'kinetic = "dot(p, p)/2"\npotential = "J(q)"\nfriction = "{friction}"\n'
        '[parameters]\ngamma = { default = 2.0, domain = "nonnegative" }\n'
    )
    path = folder / "mine.toml"
    path.write_text(
        'kind = "optimizer"\nname = "mine"\ntitle = "-"\nreference = "-"\n'
        'system = "damped.toml"\nmethod = "conformal_leapfrog"\n'
        '[hyperparameters]\nlr = 0.01\ng0 = { default = 2.0, domain = "nonnegative" }\n'
        '[set]\nh = "lr"\ngamma = "g0"\n'
    )
    return catalogue.load(path, ("optimizer",))
