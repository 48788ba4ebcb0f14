"""Orders measured: errors at a fixed time beside the equations, integrated to 1e-11.

The parameters of a system are held and h is free: what an optimizer says of h only chooses the unit
of time.  The loss is smooth and its gradient has no zero; what is under a root begins positive, and
time begins after that at which coefficients such as r/t are singular.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.program.algebra import evaluate
from hamilforge.gen.program.interpret import run_lines
from hamilforge.gen.program.ir import entries
from hamilforge.gen.program.optimizers.build_rule import derive_rule
from hamilforge.gen.program.optimizers.draws import quiet
from hamilforge.gen.program.optimizers.interpret import Interpreter, host_values
from hamilforge.gen.program.reference import FLOAT64
from hamilforge.gen.prove.optimizers.gradient_order import (
    SLOPE,
    STEP,
    rates_of,
    value_of,
    with_free_step,
)
from hamilforge.gen.tableau.build import build
from tests.gen.test_systems import declared
from tests.optimizers import ASSIGNED
from tests.samples import sampled

Values = Mapping[str, Any]
#: Where time begins and how much of it passes; steps of either are whole.
BEGIN, SPAN = 4.0, 2.0
#: How many halvings of the span a step is.
HALVINGS = range(4, 10)
#: How far a slope may be off its order, and below which errors are those of rounding.
ROOM, FLOOR = 0.15, 1e-11


def gradient(x: Any) -> Any:
    """Of ``J = 3 (x0 + x1)/2 - cos(x0 + x1/2)``; it has no zero."""
    wave = np.sin(x[0] + x[1] / 2)
    return np.array([1.5 + wave, 1.5 + wave / 2])


class Problem:
    """A discretised optimizer with h free, begun anywhere.

    Args:
        optimizer: with a system.
    """

    def __init__(self, optimizer: kinds.Discretised) -> None:
        assert optimizer.system is not None
        self.system = optimizer.system
        derivation = derive_rule(with_free_step(optimizer))
        self.program, self._first = quiet(derivation.program), derivation.first
        generator, own = random.Random(5), {entry.name for entry in self.system.parameters}
        self.parameters = {
            entry.name: float(value_of(entry, generator) if entry.name in own else entry.default)
            for entry in self.program.hyperparameters
            if entry.name != STEP
        }
        self.begin = {
            name: np.array([0.3, 0.7]) + 0.2 * number
            for number, name in enumerate(self.system.unknowns)
        }

    def steps(self, count: int) -> dict[str, Any]:
        """The unknowns after a number of steps of the program."""
        h, program = SPAN / count, self.program
        hyper = {**self.parameters, STEP: h}
        point, *others = self.system.unknowns
        stored = [point, *others] if self._first else others
        machine = Interpreter(program, hyper, [self.begin[point].copy()], n=round(BEGIN / h))
        assert machine.n * h == BEGIN
        for array, name in zip(program.states, stored, strict=False):
            machine.states[array] = [self.begin[name].copy()]
        machine.memory = {name: BEGIN if name == "last_t" else 0.0 for name in machine.memory}
        if self._first is not None:
            inputs = {**hyper, "t": BEGIN, "n": float(machine.n)}
            known = host_values(program, inputs, machine.memory)
            known |= {name: own[0] for name, own in machine.states.items()}
            machine.x = [np.asarray(evaluate(self._first, known, FLOAT64))]
        for _ in range(count * len(program.stages)):
            machine.step([gradient(machine.x[0])])
        end = {point: machine.x[0]}
        return end | {
            name: machine.states[array][0]
            for array, name in zip(program.states, stored, strict=False)
        }

    def flow(self) -> dict[str, Any]:
        """The unknowns at the end by their equations."""
        lines, names = rates_of(self.system), self.system.unknowns
        types = {name: entries(name) for name in (*names, SLOPE)}
        types |= {name: Array(name) for name in (*self.parameters, "t")}
        shape = (len(names), 2)

        def rates(t: float, flat: Any) -> Any:
            known: dict[str, Any] = dict(zip(names, flat.reshape(shape), strict=True))
            known |= {**self.parameters, "t": t, SLOPE: gradient(known[self.system.point])}
            (found,) = run_lines(lines, types, [known])
            return np.array([found[f"{name}__rate"] for name in names]).ravel()

        start = np.array([self.begin[name] for name in names]).ravel()
        options = {"method": "DOP853", "rtol": 1e-13, "atol": 1e-13}
        solution = solve_ivp(rates, (BEGIN, BEGIN + SPAN), start, **options)
        assert solution.success
        return dict(zip(names, solution.y[:, -1].reshape(shape), strict=True))


def slopes(steps: Callable[[int], Values], exact: Values) -> list[float]:
    """The last two slopes of the error over h, of those above rounding."""
    errors = []
    for halving in HALVINGS:
        end = steps(2**halving)
        errors.append(max(abs(end[name] - exact[name]).max() for name in exact))
    usable = [error for error in errors if error > FLOOR]
    assert len(usable) >= 3, errors
    return [float(slope) for slope in -np.diff(np.log2(usable))[-2:]]


def systematic() -> list[str]:
    """Optimizers that discretise a gradient system and claim an order."""
    found = []
    for name in ASSIGNED:
        declaration = catalogue.load(name, ("optimizer",))
        claims = dict(declaration.head.claims)
        if isinstance(declaration, kinds.Discretised) and declaration.system and "order" in claims:
            found.append(name)
    return found


@pytest.mark.parametrize("name", systematic())
def test_the_measured_order_is_the_claimed(name: str) -> None:
    optimizer = catalogue.load(name, ("optimizer",))
    assert isinstance(optimizer, kinds.Discretised)
    problem = Problem(optimizer)
    order = dict(optimizer.head.claims)["order"]
    found = slopes(problem.steps, problem.flow())
    assert found == pytest.approx([order, order], abs=ROOM)


def explicit_tables() -> list[tuple[str, int]]:
    """Explicit tables whose errors are above rounding, and their claimed orders.

    Those of pairs that go on with the lower order are left out: their leading errors are made so
    small that they do not lead at these steps.
    """
    found = []
    for name in catalogue.names("runge-kutta"):
        declaration = catalogue.load(name, ("runge-kutta",))
        assert isinstance(declaration, kinds.RungeKutta)
        order, embedded = (declaration.head.claims.get(key) for key in ("order", "embedded_order"))
        lower = isinstance(embedded, int) and isinstance(order, int) and embedded > order
        short = isinstance(order, int) and order <= 4 and not lower
        if short and build(declaration).is_explicit:
            found.append((name, order))
    return found


@pytest.mark.parametrize(("table", "order"), sampled(explicit_tables(), 8))
def test_a_table_has_its_order_on_the_gradient_flow(table: str, order: int, tmp_path: Path) -> None:
    optimizer = catalogue.load(declared(tmp_path, 'theta = "-grad(theta)"', table), ("optimizer",))
    assert isinstance(optimizer, kinds.Discretised)
    problem = Problem(optimizer)
    assert slopes(problem.steps, problem.flow()) == pytest.approx([order, order], abs=ROOM)
