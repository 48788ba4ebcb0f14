"""Order of a method for a gradient system, by running its program in series in h.

In: a discretised optimizer.  Out: the order of the method at fixed parameters of the system, those
of the method itself at their defaults, h free: what the optimizer says of h only chooses the unit
of time.  One step of the method's program
from a point with a time behind it is compared with the solution of the equations, which Picard's
iteration gives; the loss is a polynomial with random rational coefficients in two coordinates.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.expression import Expression, Name
from hamilforge.gen.declare.kinds import Discretised, GradientSystem, Parameter, StateUpdate
from hamilforge.gen.derive.calculus import Coordinate, to_sympy
from hamilforge.gen.program.interpret import evaluate, run_lines
from hamilforge.gen.program.ir import Line, entries
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.optimizers.build_rule import RuleDerivation, derive_rule
from hamilforge.gen.prove.optimizers.order import DIMENSION, MAX_ORDER, Potential, valuation
from hamilforge.gen.prove.series import FLOATS, Series, series_algebra

#: What the step is called where it is a hyper-parameter of its own; no declared name has ``__``.
STEP = "step__size"
#: What the gradient is called in the lines of a system.
SLOPE = "slope__"
SEEDS = (3, 4)
#: The time at which the step begins.
TIME = Fraction(7, 3)


def gradient_order(optimizer: Discretised) -> int:
    """The order of a method for its system.

    Raises:
        NotDerivableError: the step is no series in h.
    """
    derivation = derive_rule(with_free_step(optimizer))
    for precision in range(3, MAX_ORDER + 3):
        powers = [_Experiment(optimizer, derivation, precision, seed).run() for seed in SEEDS]
        if min(powers) < precision:
            return min(powers) - 1
    raise NotDerivableError(f"an order above {MAX_ORDER}")


def with_free_step(optimizer: Discretised) -> Discretised:
    """The same method with h and the parameters of system and method as hyper-parameters."""
    system, method = optimizer.system, optimizer.method
    assert system is not None
    own = method.parameters if isinstance(method, StateUpdate) else ()
    step = Parameter(STEP, Fraction(1, 10), "positive", "the step")
    return replace(
        optimizer,
        hyperparameters=(*system.parameters, *own, step),
        settings=(("h", Expression(STEP, Name(STEP, 0, len(STEP)))),),
        options=(),
        decay_at=None,
        requirements=(),
    )


def value_of(parameter: Parameter, generator: random.Random) -> Fraction:
    """A value in the domain of a parameter, at which nothing is special."""
    part = Fraction(generator.randint(2, 9), 10)
    if parameter.domain.endswith("interval"):
        return part
    return 1 + part if parameter.domain != "flag" else parameter.default


def rates_of(system: GradientSystem) -> list[Line]:
    """The right-hand sides of a system, as lines.

    Returns:
        For each unknown ``u`` a line ``u__rate``; they read the unknowns, the parameters, ``t``,
        and :data:`SLOPE`, the gradient.
    """
    symbols = {name: Coordinate(name) for name in system.unknowns}
    known = {entry.name: sp.Symbol(entry.name, positive=True) for entry in system.parameters}
    known |= {"t": sp.Symbol("t", positive=True), **symbols}
    slope = Coordinate(SLOPE)
    names = {symbol: name for name, symbol in symbols.items()} | {slope: SLOPE}
    return [
        Line(
            entries(f"{name}__rate"),
            lower(to_sympy(equation, known, {"grad": lambda _: slope}), names),
        )
        for name, equation in system.equations
    ]


class _Experiment:
    """One step beside the equations, from one point."""

    def __init__(
        self, optimizer: Discretised, derivation: RuleDerivation, precision: int, seed: int
    ) -> None:
        assert optimizer.system is not None
        self._system: GradientSystem = optimizer.system
        self._first, self._precision = derivation.first, precision
        self._program = program = derivation.program
        working = precision + 4
        self._algebra = series_algebra(FLOATS, working)
        self._potential = Potential(seed, FLOATS, max(4, precision))
        self._step = Series(FLOATS, 1, [FLOATS.convert(Fraction(1))], working)
        generator = random.Random(seed)
        of_system = {entry.name for entry in self._system.parameters}
        self._parameters = {
            entry.name: self._algebra.constant(
                value_of(entry, generator) if entry.name in of_system else entry.default
            )
            for entry in program.hyperparameters
            if entry.name != STEP
        }
        self._begin = {
            name: self._vector([Fraction(generator.randint(3, 9), 7) for _ in range(DIMENSION)])
            for name in self._system.unknowns
        }

    def _vector(self, numbers: list[Fraction]) -> Any:
        vector = np.empty(len(numbers), dtype=object)
        for index, number in enumerate(numbers):
            vector[index] = self._algebra.constant(number)
        return vector

    def run(self) -> int:
        """The lowest power of h in which the step and the flow differ."""
        program, algebra, system = self._program, self._algebra, self._system
        time = algebra.constant(TIME)
        scalars = {**self._parameters, STEP: self._step, "n": time / self._step}
        for memory, _ in program.host.memory:
            scalars[memory] = time if memory == "last_t" else algebra.constant(Fraction(0))
        for line in program.host.body:
            scalars[line.name] = evaluate(line.value, scalars, algebra)
        unknowns = system.unknowns if self._first else system.unknowns[1:]
        own = dict(zip(unknowns, program.states, strict=False))
        arrays = {name: self._begin[unknown] for unknown, name in own.items()}
        zero = self._vector([Fraction(0)] * DIMENSION)
        arrays |= {name: zero for name in program.states if name not in arrays}
        arrays["x"] = self._begin[system.point]
        if self._first:
            arrays["x"] = evaluate(self._first, {**scalars, **arrays}, algebra)
        for index, row in zip(program.stages, program.host.rows, strict=True):
            function = program.functions[index]
            named = {name: scalars[line] for name, line in zip(function.scalars, row, strict=True)}
            values = {**arrays, **named, "g": self._potential.gradient(arrays["x"])}
            types = {array.name: array for array in function.inputs}
            (known,) = run_lines(function.lines, types, [values], algebra)
            arrays |= {key: known[array.name] for key, array in function.results}
        end = {system.point: arrays["x"]} | {name: arrays[array] for name, array in own.items()}
        exact = self._flow(time)
        differences = [entry for name in end for entry in end[name] - exact[name]]
        if min(difference.precision for difference in differences) < self._precision:
            raise NotDerivableError("the working precision is too small")
        return min(valuation(entry, self._precision, 0.0) for entry in differences)

    def _flow(self, time: Series) -> Mapping[str, Any]:
        """The solution at time h by Picard's iteration."""
        system, algebra = self._system, self._algebra
        lines = rates_of(system)
        types = {name: entries(name) for name in (*system.unknowns, SLOPE)}
        state = dict(self._begin)
        for _ in range(self._precision + 1):
            values = {**self._parameters, **state, "t": time + self._step}
            values[SLOPE] = self._potential.gradient(state[system.point])
            (rates,) = run_lines(lines, types, [values], algebra)
            state = {
                name: self._begin[name] + self._integral(rates[f"{name}__rate"]) for name in state
            }
        return state

    def _integral(self, vector: Any) -> Any:
        result = np.empty(DIMENSION, dtype=object)
        for index in range(DIMENSION):
            entry = vector[index] if isinstance(vector, np.ndarray) else vector
            result[index] = entry.integral().truncated(self._precision + 1)
        return result
