"""A declared optimizer becomes a program.

In: an :class:`Optimizer`.  Out: a :class:`Program`: for each stage a function of the point ``x``,
the buffer and the gradient ``g``, linear where the mathematics is, with every scalar that does not
need an array computed on the host in the user's hyper-parameters, finite on their closed domain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import sympy as sp

from hamilforge.gen.declare.budget import at
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.kinds import Optimizer
from hamilforge.gen.declare.memory import remembered
from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.derive.calculus import Expr, coordinates, tidy, to_sympy
from hamilforge.gen.derive.optimizers.rotation import (
    Rotated,
    b,
    g,
    is_last,
    last,
    last_b,
    new_b,
    rotate,
    x,
)
from hamilforge.gen.derive.optimizers.system import System, derive_system, per_coordinate
from hamilforge.gen.derive.scheme import Scheme, derive_scheme
from hamilforge.gen.derive.symbols import h, p, parameter_symbol, q
from hamilforge.gen.program.ir import Function, Line
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.optimizers.functions import FunctionWriter
from hamilforge.gen.program.optimizers.host import LAST_TIMES, HostWriter
from hamilforge.gen.program.optimizers.optimizer import Boundary, Program


@dataclass(frozen=True, slots=True)
class Derivation:
    """What was derived on the way to a program; proofs and documents read it.

    Attributes:
        values: h and the parameters in the hyper-parameters, as ``[set]`` says.
        equations: the same, each in the hyper-parameters and the left sides before it.
        unit: what the buffer holds, as a multiple of p.
    """

    optimizer: Optimizer
    system: System
    scheme: Scheme
    rotated: Rotated
    values: Mapping[sp.Symbol, Expr]
    equations: Mapping[sp.Symbol, Expr]
    unit: Expr
    program: Program

    def specialised(self, expr: Expr) -> Expr:
        """An expression with the system's closed forms for Velocity, Decay and Impulse."""
        return _specialise(expr, self.system)

    def in_hyperparameters(self, expr: Expr) -> Expr:
        """A scalar of system and method as the user would write it."""
        return tidy(self.specialised(expr).xreplace(self.values))


@remembered
def derive(optimizer: Optimizer) -> Derivation:
    """Derive the program of a declared optimizer.

    Raises:
        DeclarationError: the method does not fit the system, or a scalar is infinite.
    """
    system = derive_system(optimizer.system)
    if optimizer.scope == "coordinate":
        system = per_coordinate(system)
    with at("the program of its step"):
        return _derived(optimizer, system)


def _derived(optimizer: Optimizer, system: System) -> Derivation:
    names = {entry.name: parameter_symbol(entry) for entry in optimizer.hyperparameters}
    scheme = derive_scheme(optimizer.method, {**names, **system.symbols})
    rotated = rotate(scheme)
    equations, unit = _settings(optimizer, system, scheme)
    values: dict[sp.Symbol, Expr] = {}
    for symbol, expr in equations.items():
        values[symbol] = expr.xreplace(values)
    _refuse_a_constant_step(optimizer, values[h])
    unit = tidy(unit.xreplace(values))
    program = _Builder(optimizer, system, scheme, rotated, values, unit).program()
    return Derivation(optimizer, system, scheme, rotated, values, equations, unit, program)


def _settings(
    optimizer: Optimizer, system: System, scheme: Scheme
) -> tuple[dict[sp.Symbol, Expr], Expr]:
    hyper = {entry.name: parameter_symbol(entry) for entry in optimizer.hyperparameters}
    inner = {**scheme.symbols, **system.symbols, "h": h}
    known: dict[str, Expr] = {**inner, **hyper}
    values = {inner[name]: to_sympy(expression, known) for name, expression in optimizer.settings}
    unit: Expr = sp.Integer(1)
    if optimizer.buffer_value is not None:
        whole = to_sympy(optimizer.buffer_value, {**known, "p": p})
        unit = tidy(whole / p)
        if coordinates(unit) or unit == 0:
            raise DeclarationError.single(
                optimizer.head.source.where, "the buffer must be a multiple of p", "[state]"
            )
    return values, unit


def _refuse_a_constant_step(optimizer: Optimizer, step: Expr) -> None:
    """A step that no hyper-parameter makes small has no order and no limit."""
    if step.has(sp.zoo, sp.nan, sp.oo):
        raise DeclarationError.single(
            optimizer.head.source.where, "the step h is no real number", "[set].h"
        )
    if not step.free_symbols & {parameter_symbol(entry) for entry in optimizer.hyperparameters}:
        raise DeclarationError.single(
            optimizer.head.source.where,
            f"the step h = {step} depends on no hyper-parameter, so nothing makes it small",
            "[set].h",
        )


def _specialise(expr: Expr, system: System) -> Expr:
    """Put the system's closed forms in the place of Velocity, Decay and Impulse."""
    names = {symbol: last(symbol) for symbol in system.symbols.values()}

    def in_force(value: Expr, args: sp.Tuple) -> Expr:
        of_last = args.has(last_b, *LAST_TIMES) and any(map(is_last, args.free_symbols))
        return value.xreplace(names) if of_last else value

    return system.closed(expr, in_force)


def _lasting(values: Mapping[sp.Symbol, Expr], constants: Iterable[sp.Symbol]) -> dict[Expr, Expr]:
    """The values of the last step; constants do not change from step to step."""
    lasting = {last(symbol): last(value) for symbol, value in values.items()}
    return lasting | {last(symbol): symbol for symbol in constants}


class _Builder:
    def __init__(
        self,
        optimizer: Optimizer,
        system: System,
        scheme: Scheme,
        rotated: Rotated,
        values: Mapping[sp.Symbol, Expr],
        unit: Expr,
    ) -> None:
        self._optimizer, self._system, self._scheme = optimizer, system, scheme
        self._rotated, self._values, self._unit = rotated, values, unit
        self._lasting = _lasting(values, scheme.constants)
        self._buffer = optimizer.buffer
        self._writer = FunctionWriter(optimizer.buffer, bool(unit.is_positive), scheme.noises)

    def _finished(self, expr: Expr) -> Expr:
        """An array expression in the hyper-parameters and the stored buffer."""
        unit, last_unit = self._unit, last(self._unit).xreplace(self._lasting)
        stored = {b: b / unit, new_b: new_b / unit, last_b: last_b / last_unit}
        special = _specialise(expr, self._system).xreplace(self._lasting).xreplace(self._values)
        return special.xreplace(stored)

    def program(self) -> Program:
        stages = [
            self._writer.stage(
                self._finished(stage.buffer) * self._unit, self._finished(stage.point)
            )
            for stage in self._rotated.stages
        ]
        solution = self._writer.solution(self._finished(self._rotated.position))
        functions: list[Function] = []
        order = []
        for function, _ in stages:
            if function not in functions:
                functions.append(function)
            order.append(functions.index(function))
        if len(functions) > 1:
            functions = [
                replace(function, name=f"{function.name}_{number}")
                for number, function in enumerate(functions, start=1)
            ]
        host_writer = HostWriter(
            self._optimizer, self._system, self._scheme, self._rotated, self._values[h]
        )
        hyper, host = host_writer.write(
            [named for _, named in stages], solution[1], functions, order
        )
        reduced = any(function.sums for function in functions)
        return Program(
            name=self._optimizer.head.name,
            hyperparameters=hyper,
            settings=tuple(
                Line(Array(symbol.name), lower(value)) for symbol, value in self._values.items()
            ),
            states=(self._buffer,),
            scope=self._optimizer.scope if reduced else "coordinate",
            host=host,
            functions=tuple(functions),
            stages=tuple(order),
            solution=solution[0],
            shifted=self._rotated.shifted,
            boundary=self._boundary(),
            start_time=self._optimizer.start_time,
            noises=tuple(noise.name for noise in self._scheme.noises),
        )

    def _boundary(self) -> Boundary:
        """The ends of a step, for proofs."""
        position = self._finished(self._rotated.position)
        momentum = self._finished(self._rotated.momentum)
        momentum = sp.expand(momentum)
        scale = momentum.coeff(last_b)
        pull = momentum.coeff(g)
        names = {**self._writer.names, p: "p", q: "q"}
        point = sp.expand(q + x - position)
        ends = (position, momentum, (p - pull * g) / scale, point)
        return Boundary(*(lower(end, names) for end in ends))
