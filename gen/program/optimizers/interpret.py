"""The NumPy interpretation of optimizers: the reference of every cross-check.

In: a :class:`Program` with values of its hyper-parameters.  Out: point and state after each
stage, and the solution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hamilforge.gen.declare.read_loops import WORKERS
from hamilforge.gen.derive.symbols import LOSS
from hamilforge.gen.program.algebra import Algebra, evaluate
from hamilforge.gen.program.interpret import run_function
from hamilforge.gen.program.ir import Apply, Function, Line, Value
from hamilforge.gen.program.noise import key_of, normals
from hamilforge.gen.program.optimizers.draws import draws
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.program.optimizers.preparation import NEUTRAL, prepared
from hamilforge.gen.program.reference import FLOAT64, LONG
from hamilforge.gen.program.rounding import Rounded, errors, scalar_errors

EPSILON = float(np.finfo(np.float64).eps)


def host_values(
    program: Program,
    inputs: Mapping[str, Any],
    memory: Mapping[str, Any],
    algebra: Algebra = FLOAT64,
) -> dict[str, Any]:
    """All host lines of a step.

    Args:
        program: the program.
        inputs: the hyper-parameters, ``t`` and ``n``.
        memory: what the last step left; zeros before the first.
        algebra: what numbers are.

    Returns:
        The inputs, the memory, and the value of every line, by name.
    """
    values = {**inputs, **memory}
    for line in (*program.host.constants, *program.host.body):
        values[line.name] = algebra.scalar(evaluate(line.value, values, algebra))
    return values


def _terms(expr: Value) -> tuple[Value, ...]:
    return expr.args if isinstance(expr, Apply) and expr.op == "add" else (expr,)


@dataclass(slots=True)
class Interpreter:
    """A program run by the book, on NumPy arrays: the reference of every cross-check.

    Attributes:
        hyper: the hyper-parameters in force; read at a step's first stage.
        x: the point, a list of arrays.
        states: the state's arrays by name, alike.
        preparation: the gradient's sign, the L2 factor, the factor of decoupled decay, which acts
            in a step's first stage.
        long: whether what follows from sums is computed in long numbers, where the platform has
            them: squares of what is in the range of float64 may not be.
        keys: of the noise of each array; those of parameters without names, with the seed 0, if
            there are none.
        draws: how many gradients have been taken.
        workers: how many there are.
    """

    program: Program
    hyper: dict[str, float]
    x: list[Any]
    states: dict[str, list[Any]] = field(default_factory=dict)
    preparation: tuple[float, float, float] = NEUTRAL
    t: float = 0.0
    n: int = 1
    stage: int = 0
    memory: dict[str, float] = field(default_factory=dict)
    loss: float = 1.0
    long: bool = False
    keys: tuple[int, ...] = ()
    draws: int = 0
    workers: int = 1
    _host: dict[str, float] = field(default_factory=dict)
    _rounded: dict[str, Rounded] = field(default_factory=dict)
    _functions: tuple[Function, ...] = ()

    def __post_init__(self) -> None:
        self.states = {
            name: [np.zeros_like(tensor) for tensor in self.x] for name in self.program.states
        }
        self._functions = tuple(map(prepared, self.program.functions))
        self.keys = self.keys or tuple(key_of(0, 0, str(place)) for place in range(len(self.x)))
        self.states |= self._started()
        self.t = float(self.program.start_time)
        self.memory = {name: 0.0 for name, _ in self.program.host.memory}

    def step(self, gradients: Sequence[Any]) -> None:
        """One stage, with the gradients at the point, and the outer step where a loop ends.

        A mean over workers is that of one.
        """
        self.call(gradients)
        while self.is_outer:
            self.call(gradients)

    @property
    def is_outer(self) -> bool:
        """Whether a function of the outer step is next, which reads no gradient."""
        return self.stage >= len(self.program.stages)

    @property
    def is_exchange(self) -> bool:
        """Whether means over workers are taken before what is next."""
        return bool(self.program.averages) and self.stage == len(self.program.calls) - 1

    def call(self, gradients: Sequence[Any]) -> None:
        """One stage, or an outer step."""
        changed = self.after(gradients)
        self.x = changed.pop("x", self.x)
        self.states = {**self.states, **changed}
        self.draws += not self.is_outer
        self.stage += 1
        closes = self.program.host.closes
        calls = self.program.calls if closes and self._host[closes] > 0 else self.program.stages
        if self.stage == len(calls):
            self._end_of_step()

    def skip(self, count: int) -> None:
        """Let the clock go on by some whole steps; the arrays stay as they are."""
        for _ in range(count):
            self.row()
            self._end_of_step()
            self.draws += len(self.program.stages)

    def after(self, gradients: Sequence[Any]) -> dict[str, list[Any]]:
        """What the next stage changes, with these gradients; nothing is changed."""
        function, scalars = self._next()
        return self._run(function, self._arrays(gradients, scalars), scalars)

    def _arrays(
        self, gradients: Sequence[Any], scalars: Mapping[str, float]
    ) -> dict[str, list[Any]]:
        """What the next stage reads: point, state, gradients and noise."""
        function = self.program.functions[self.program.calls[self.stage]]
        arrays = {"x": self.x, **self.states, "g": list(gradients)}
        for draw in draws(self.program, function):
            still = draw.amplitude and scalars[draw.amplitude] == 0
            arrays[draw.name] = [
                np.zeros_like(array) if still else self._noise(key, draw.occurrence, array)
                for key, array in zip(self.keys, self.x, strict=True)
            ]
        return arrays

    def _noise(self, key: int, occurrence: int, array: Any) -> Any:
        """Normal numbers in the type of an array."""
        numbers = normals(key, self.draws, occurrence, 0, array.size)
        return numbers.reshape(array.shape).astype(array.dtype)

    def _started(self) -> dict[str, list[Any]]:
        """The states that do not begin at zero."""
        start = self.program.start
        if start is None:
            return {}
        scalars = dict(zip(start.scalars, self.start_row(), strict=True))
        return self._run(start, {"x": self.x, **self.states}, scalars)

    def start_row(self) -> tuple[float, ...]:
        """The scalars of the start of the state."""
        values: dict[str, Any] = dict(self.hyper)
        for line in self.program.host.start:
            values[line.name] = FLOAT64.scalar(evaluate(line.value, values, FLOAT64))
        return tuple(values[line] for line in self.program.host.start_row)

    def start_row_rounding(self) -> tuple[float, ...]:
        """For each scalar of the start of the state a bound of its rounding errors."""
        host = self.program.host
        known = scalar_errors(host.start, self.hyper)
        return tuple(float(known[line].error) * EPSILON for line in host.start_row)

    def start_rounding(self) -> dict[str, list[Any]]:
        """For each entry of the state a bound of the rounding errors of its start."""
        start = self.program.start
        if start is None:
            still = [np.zeros(np.shape(tensor)) for tensor in self.x]
            return dict.fromkeys(self.program.states, still)
        scalars = dict(zip(start.scalars, self.start_row(), strict=True))
        return self._errors(start, scalars, {"x": self.x, **self.states})

    def operands(self, gradients: Sequence[Any]) -> dict[str, list[Any]]:
        """For each entry of point and state, the largest operand of the next stage's last sum."""
        program = self.program
        function, scalars = self._next()
        arrays = self._arrays(gradients, scalars)
        still = [np.zeros(np.shape(tensor)) for tensor in self.x]
        largest: dict[str, list[Any]] = dict.fromkeys(("x", *program.states), still)
        for array, local in function.results:
            line = next(line for line in function.lines if line.target == local)
            operand = replace(local, name="operand__")
            sizes = []
            for term in (*_terms(line.value), line.value):
                whole = replace(
                    function,
                    lines=(*function.lines, Line(operand, term)),
                    results=((array, operand),),
                )
                values = self._run(whole, arrays, scalars)[array]
                sizes.append([abs(np.asarray(value, np.float64)) for value in values])
            largest[array] = [np.maximum.reduce(entries) for entries in zip(*sizes, strict=True)]
        return largest

    def rounding(self, gradients: Sequence[Any]) -> dict[str, list[Any]]:
        """For each entry of point and state, a bound of the next stage's rounding errors."""
        function, scalars = self._next()
        return self._errors(function, scalars, self._arrays(gradients, scalars))

    def solution(self) -> list[Any]:
        """The solution at the end of a step."""
        if not self.program.shifted:
            return self.x
        return self._run(self.program.solution, {"x": self.x, **self.states}, self._left())["x"]

    def solution_rounding(self) -> list[Any]:
        """For each entry of the solution, a bound of its rounding errors."""
        if not self.program.shifted:
            return [np.zeros_like(tensor) for tensor in self.x]
        arrays = {"x": self.x, **self.states}
        return self._errors(self.program.solution, self._left(), arrays)["x"]

    def _left(self) -> dict[str, float]:
        """The scalars of the solution, from what the last step left."""
        pairs = zip(self.program.solution.scalars, self.program.host.solution, strict=True)
        return {name: self.memory[line] for name, line in pairs}

    def _errors(
        self, function: Function, scalars: Mapping[str, float], arrays: Mapping[str, Sequence[Any]]
    ) -> dict[str, list[Any]]:
        per_tensor = self.program.scope == "tensor"
        still = [np.zeros(np.shape(tensor)) for tensor in self.x]
        known = errors(function, arrays, scalars, self.x[0].dtype.name, per_tensor, self.long)
        return {**dict.fromkeys(("x", *self.program.states), still), **known}

    def row(self) -> tuple[float, ...]:
        """The scalars of the next stage: of its preparation, then those of the host.

        The host lines are computed at a step's first stage.
        """
        program = self.program
        if self.stage == 0:
            self._host = host_values(program, self._inputs, self.memory)
        sign, l2, shrink = self.preparation
        own = (self._host[line] for line in program.host.rows[self.stage])
        l2 = l2 if program.decaying[self.stage] else 0.0
        return (sign, l2, 1.0 if self.stage else shrink, *own)

    @property
    def _inputs(self) -> dict[str, float]:
        """What the host reads beside its memory; the loss has the gradient's sign."""
        sign, *_ = self.preparation
        numbers = {"t": self.t, "n": float(self.n), WORKERS: float(self.workers)}
        return {LOSS: sign * self.loss, **numbers, **self.hyper}

    def row_rounding(self) -> tuple[float, ...]:
        """For each of the next stage's scalars a bound of its rounding errors, but for exact ones.

        It is asked for in every stage: what a step remembers keeps its errors.
        """
        program = self.program
        if self.stage == 0:
            lines = (*program.host.constants, *program.host.body)
            inputs = self._inputs | self.memory | self._rounded
            self._rounded = scalar_errors(lines, inputs)
        errors = (self._rounded[line].error for line in program.host.rows[self.stage])
        return (*(0.0 for _ in NEUTRAL), *(float(error) * EPSILON for error in errors))

    def memory_rounding(self) -> tuple[float, ...]:
        """For each number that the last step left a bound of its rounding errors."""
        return tuple(float(self._rounded[name].error) * EPSILON for name in self.memory)

    def _next(self) -> tuple[Function, dict[str, float]]:
        """The function of the next stage, after its preparation, and its scalars."""
        function = self._functions[self.program.calls[self.stage]]
        return function, dict(zip(function.scalars, self.row(), strict=True))

    def _end_of_step(self) -> None:
        self.memory = {name: self._host[line] for name, line in self.program.host.memory}
        self._rounded = {
            name: self._rounded[line]
            for name, line in self.program.host.memory
            if line in self._rounded
        }
        if self.program.host.step:
            self.t += float(self._host[self.program.host.step])
        self.n += 1
        self.stage = 0

    def _run(
        self, function: Function, arrays: Mapping[str, Sequence[Any]], scalars: Mapping[str, float]
    ) -> dict[str, list[Any]]:
        dtype = self.x[0].dtype
        cast = {name: dtype.type(value) for name, value in scalars.items()}
        if self.long:
            arrays = {name: [*map(np.longdouble, own)] for name, own in arrays.items()}
        changed = run_function(
            function,
            arrays,
            dict(scalars) if function.sums else cast,
            LONG if self.long else FLOAT64,
            per_tensor=self.program.scope == "tensor",
        )
        return {
            name: [np.asarray(value, dtype=dtype) for value in values]
            for name, values in changed.items()
        }
