"""What was proved is seen in numbers: convergence slopes, and the form on compiled kernels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.derive.symbols import p, parameter_symbol, t
from hamilforge.gen.program.algebra import evaluate
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.optimizers.build import derive
from hamilforge.gen.program.optimizers.interpret import Interpreter
from hamilforge.gen.program.reference import FLOAT64
from hamilforge.gen.prove.optimizers.order import invert
from hamilforge.runtime.core.loader import load
from hamilforge.runtime.optimizers.clock import NEUTRAL, latch, start, tick
from hamilforge.runtime.optimizers.verify import numba_backend
from tests.optimizers import MECHANICAL
from tests.samples import sampled

OPTIMIZERS = MECHANICAL
SPAN = 2.0


def gradient(q):
    """Of a nonlinear potential in two dimensions."""
    x, y = q
    return np.array([x + 0.6 * x * y + 0.4 * x**3, 1.7 * y + 0.3 * x**2 + 0.2 * y**3])


def parameters(derivation):
    """Values of the system's parameters at which every catalogue system is regular."""
    found = {entry.name: float(entry.default) for entry in derivation.optimizer.system.parameters}
    found |= {"gamma": 0.7} if "gamma" in found else {}
    found |= {"kappa": 0.5} if "kappa" in found else {}
    method = derivation.optimizer.method
    return found | {e.name: float(e.default) for e in getattr(method, "parameters", ())}


def hyper(derivation, h):
    values = {**parameters(derivation), "h": h}
    inverse = invert(derivation)
    found = {}
    for entry in derivation.program.hyperparameters:
        symbol = parameter_symbol(entry)
        if symbol in inverse:
            expr = inverse[symbol]
            found[entry.name] = float(expr.subs({s: values[s.name] for s in expr.free_symbols}))
        else:
            found[entry.name] = values.get(entry.name, float(entry.default))
    return found


def flow(derivation, first, span, time):
    system = derivation.system
    constants = parameters(derivation)
    energy = system.gradient
    velocity, friction = lower(energy, {p: "p"}), lower(system.gamma, {t: "t"})

    def right_side(now, z):
        values = {**constants, "p": z[2:], "t": now}
        speed = evaluate(velocity, values, FLOAT64)
        drag = evaluate(friction, values, FLOAT64)
        return np.concatenate([speed, -gradient(z[:2]) - drag * z[2:]])

    z = np.concatenate([first, [0.0, 0.0]])
    solution = solve_ivp(right_side, (time, time + span), z, "DOP853", rtol=1e-13, atol=1e-14)
    return solution.y[:2, -1]


@pytest.mark.parametrize("name", sampled(OPTIMIZERS, every=2))
def test_the_error_falls_with_the_proved_order(name):
    derivation = derive(catalogue.load(name, ("optimizer",)))
    order = pipeline.check(derivation.optimizer)["order"]
    program = derivation.program
    numbered = "n" in program.host.inputs
    first = np.array([0.8, -0.6])
    errors = []
    for count in (40, 80, 160) if order < 4 else (10, 20, 40):
        h = SPAN / count
        cold = {"temperature": 0.0} if program.noises else {}
        machine = Interpreter(program, {**hyper(derivation, h), **cold}, [first.copy()])
        began = float(program.start_time)
        if numbered:  # the scheme's clock is its step number
            began, machine.n = 1.0, round(1.0 / h)
        for _ in range(count * len(program.stages)):
            machine.step([gradient(machine.x[0])])
        exact = flow(derivation, first, SPAN, began)
        errors.append(abs(machine.solution()[0] - exact).max())
    if order == 0:
        assert errors[-1] > 0.5 * errors[0]
        return
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert errors[-1] > 1e-11
    assert abs(slopes[-1] - order) < 0.15, (order, slopes, errors)


OMEGA = np.block([[np.zeros((2, 2)), np.eye(2)], [-np.eye(2), np.zeros((2, 2))]])


def compiled_step(name):
    """A step of the compiled kernels as a map of (x, buffer), with the memory of a running one."""
    product = load(name).module("numba")
    backend = numba_backend(product)
    defaults = {key: value for key, (value, _) in product.HYPERPARAMETERS.items()}
    given = defaults | ({"lr": 0.05} if "lr" in defaults else {})
    clock = latch(product, start(product), given)
    for _ in product.STAGES:
        clock = tick(clock)
    clock = latch(product, clock, given)

    def step(z):
        x, buffer = [z[:2].copy()], [z[2:].copy()]
        for number, row in enumerate(clock.rows):
            arrays = [x, buffer, [gradient(x[0])]]
            x, buffer = backend(number, (*NEUTRAL, *row), arrays, ((0,), 0))
        return np.concatenate([x[0], buffer[0]])

    return step


@pytest.mark.parametrize("name", sampled(OPTIMIZERS, every=2))
def test_compiled_steps_scale_the_symplectic_form_where_it_is_proved(name):
    """The Jacobian by differences of fourth order; the form to 1e-9, at two points."""
    report = pipeline.check(catalogue.load(name, ("optimizer",)))
    step = compiled_step(name)
    factors = []
    worst = 0.0
    for z in (np.array([0.7, -0.4, 0.3, 0.5]), np.array([-0.2, 0.9, -0.6, 0.1])):
        size = 2e-3
        columns = []
        for unit in np.eye(4) * size:
            ends = [step(z + k * unit) for k in (-2, -1, 1, 2)]
            columns.append((ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * size))
        jacobian = np.array(columns).T
        form = jacobian.T @ OMEGA @ jacobian
        factors.append(form[0, 2])
        worst = max(worst, abs(form - form[0, 2] * OMEGA).max())
    conformal = worst < 1e-9 and abs(factors[0] - factors[1]) < 1e-9
    assert conformal == (report["symplectic_form"] == "conformal"), (worst, factors)
