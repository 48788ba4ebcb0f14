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
from types import MappingProxyType
from typing import Any

import numpy as np
import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.expression import Expression, Name
from hamilforge.gen.declare.kinds import (
    BETWEEN_0_AND_1,
    Discretised,
    GradientSystem,
    Parameter,
    StateUpdate,
)
from hamilforge.gen.derive.calculus import Coordinate, to_sympy
from hamilforge.gen.program.algebra import evaluate
from hamilforge.gen.program.interpret import run_lines
from hamilforge.gen.program.ir import Expr as IrExpr
from hamilforge.gen.program.ir import Line, entries
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.optimizers.build_rule import RuleDerivation, derive_rule
from hamilforge.gen.program.optimizers.draws import quiet
from hamilforge.gen.prove.optimizers.order import (
    DIMENSION,
    MAX_ORDER,
    Noises,
    Potential,
    valuation,
)
from hamilforge.gen.prove.series import FLOATS, Field, Series, series_algebra

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
    still = replace(derivation, program=quiet(derivation.program))
    for precision in range(3, MAX_ORDER + 3):
        powers = [Experiment(optimizer, still, precision, seed).run() for seed in SEEDS]
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
        loop=None,
    )


def value_of(parameter: Parameter, generator: random.Random) -> Fraction:
    """A value in the domain of a parameter, at which nothing is special."""
    part = Fraction(generator.randint(2, 9), 10)
    if parameter.domain in BETWEEN_0_AND_1:
        return part
    return 1 + part if parameter.domain != "flag" else parameter.default


def rates_of(system: GradientSystem) -> list[Line]:
    """The right-hand sides of a system, as lines.

    Returns:
        For each unknown ``u`` a line ``u__rate``; they read the unknowns, the parameters, ``t``,
        and :data:`SLOPE`, the gradient.
    """
    symbols, known = _symbols(system)
    slope = Coordinate(SLOPE)
    names = {symbol: name for name, symbol in symbols.items()} | {slope: SLOPE}
    return [
        Line(
            entries(f"{name}__rate"),
            lower(to_sympy(equation, known, {"grad": lambda _: slope}), names),
        )
        for name, equation in system.equations
    ]


def squares_of(system: GradientSystem) -> dict[str, IrExpr]:
    """The squares of a system's diffusions, by unknown, in the unknowns and parameters."""
    symbols, known = _symbols(system)
    names = {symbol: name for name, symbol in symbols.items()}
    return {name: lower(to_sympy(value, known) ** 2, names) for name, value in system.noise}


def _symbols(system: GradientSystem) -> tuple[dict[str, Coordinate], dict[str, sp.Expr]]:
    """The unknowns as symbols, and all that equations may read."""
    symbols = {name: Coordinate(name) for name in system.unknowns}
    known = {entry.name: sp.Symbol(entry.name, positive=True) for entry in system.parameters}
    return symbols, {**known, "t": sp.Symbol("t", positive=True), **symbols}


class Experiment:
    """One step beside the equations, from one point.

    Args:
        optimizer: a method for a system.
        derivation: of it with a free step.
        precision: the first power that is not looked at.
        seed: of the loss, the parameters and the point.
        field: of numbers.
        unit: the power of the letter of the series that h is.
        values: of parameters of the system; drawn where there is none.
    """

    def __init__(
        self,
        optimizer: Discretised,
        derivation: RuleDerivation,
        precision: int,
        seed: int,
        field: Field = FLOATS,
        unit: int = 1,
        values: Mapping[str, Fraction] = MappingProxyType({}),
    ) -> None:
        assert optimizer.system is not None
        self._system: GradientSystem = optimizer.system
        self._rates = rates_of(self._system)
        self._first, self._precision = derivation.first, precision
        self._program = program = derivation.program
        working = precision + 4 * unit
        self._algebra = series_algebra(field, working)
        self._potential = Potential(seed, field, max(4, precision))
        self._step = Series(field, unit, [field.convert(Fraction(1))], working)
        self._time = self._algebra.constant(TIME)
        generator = random.Random(seed)
        drawn = {entry.name: value_of(entry, generator) for entry in self._system.parameters}
        drawn |= values
        self._parameters = {
            entry.name: self._algebra.constant(drawn.get(entry.name, entry.default))
            for entry in program.hyperparameters
            if entry.name != STEP
        }
        self.start = {
            name: self._vector([Fraction(generator.randint(3, 9), 7) for _ in range(DIMENSION)])
            for name in self._system.unknowns
        }

    def _vector(self, numbers: list[Fraction]) -> Any:
        vector = np.empty(len(numbers), dtype=object)
        for index, number in enumerate(numbers):
            vector[index] = self._algebra.constant(number)
        return vector

    def end(self, noises: Noises = MappingProxyType({})) -> dict[str, Any]:
        """The unknowns after a step.

        Args:
            noises: the arrays of noise that the step draws, by name.
        """
        program, algebra, system = self._program, self._algebra, self._system
        scalars = {**self._parameters, STEP: self._step, "n": self._time / self._step}
        for memory, _ in program.host.memory:
            scalars[memory] = self._time if memory == "last_t" else algebra.constant(Fraction(0))
        for line in program.host.body:
            scalars[line.name] = evaluate(line.value, scalars, algebra)
        unknowns = system.unknowns if self._first else system.unknowns[1:]
        own = dict(zip(unknowns, program.states, strict=False))
        arrays = {name: self.start[unknown] for unknown, name in own.items()}
        zero = self._vector([Fraction(0)] * DIMENSION)
        arrays |= {name: zero for name in program.states if name not in arrays}
        arrays["x"] = self.start[system.point]
        if self._first:
            arrays["x"] = evaluate(self._first, {**scalars, **arrays}, algebra)
        for index, row in zip(program.stages, program.host.rows, strict=True):
            function = program.functions[index]
            named = {name: scalars[line] for name, line in zip(function.scalars, row, strict=True)}
            slope = self._potential.gradient(arrays["x"])
            values = {**arrays, **noises, **named, "g": slope}
            types = {array.name: array for array in function.inputs}
            (known,) = run_lines(function.lines, types, [values], algebra)
            arrays |= {key: known[array.name] for key, array in function.results}
        return {system.point: arrays["x"]} | {name: arrays[array] for name, array in own.items()}

    def run(self) -> int:
        """The lowest power of h in which the step and the flow differ."""
        end, exact = self.end(), self._flow()
        differences = [entry for name in end for entry in end[name] - exact[name]]
        if min(difference.precision for difference in differences) < self._precision:
            raise NotDerivableError("the working precision is too small")
        return min(valuation(entry, self._precision, 0.0) for entry in differences)

    def rates(self, state: Mapping[str, Any], clock: Any) -> dict[str, Any]:
        """The right-hand sides of the equations, by unknown."""
        types = {name: entries(name) for name in (*self._system.unknowns, SLOPE)}
        values = {**self._parameters, **state, "t": clock}
        values[SLOPE] = self._potential.gradient(state[self._system.point])
        (rates,) = run_lines(self._rates, types, [values], self._algebra)
        return {name: rates[f"{name}__rate"] for name in state}

    def squares(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The squares of the diffusions, by unknown that has one."""
        values = {**self._parameters, **state}
        return {
            name: evaluate(form, values, self._algebra)
            for name, form in squares_of(self._system).items()
        }

    def _flow(self) -> Mapping[str, Any]:
        """The solution at time h by Picard's iteration."""
        state = dict(self.start)
        for _ in range(self._precision + 1):
            rates = self.rates(state, self._time + self._step)
            state = {name: self.start[name] + self._integral(rates[name]) for name in state}
        return state

    def _integral(self, vector: Any) -> Any:
        result = np.empty(DIMENSION, dtype=object)
        for index in range(DIMENSION):
            entry = vector[index] if isinstance(vector, np.ndarray) else vector
            result[index] = entry.integral().truncated(self._precision + 1)
        return result
