"""Methods as assignments: splittings and updates in one form.

In: a :class:`Splitting` or an :class:`Update`.  Out: a :class:`Scheme`, assignments to q, p and
locals in order, written with the functions ``Grad``, ``Velocity``, ``Decay``, ``Impulse`` and
``Heat``, for any system.  A splitting becomes one by writing down the exact flow of each letter;
the clock moves with the letters of friction: D, BD and O, which draws noise.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

import sympy as sp

from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.kinds import (
    Composition,
    ConstrainedSplitting,
    Method,
    Splitting,
    Update,
    relettered,
)
from hamilforge.gen.derive.calculus import Coordinate, Expr, is_host, tidy, to_sympy
from hamilforge.gen.derive.symbols import (
    Decay,
    Grad,
    Heat,
    Impulse,
    Velocity,
    h,
    n,
    p,
    parameter_symbol,
    q,
    t,
)

#: The most flows of a splitting with its blocks written out.
MAX_FLOWS = 500


#: The letters with which the clock moves.
CLOCK = ("D", "BD", "O")
#: What a program calls its point and the gradient at it.
PROGRAM_NAMES = ("x", "x_new", "g")


@dataclass(frozen=True, slots=True)
class WeightedFlow:
    """The exact flow of a letter over ``weight * h``."""

    letter: str
    weight: Expr


@dataclass(frozen=True, slots=True)
class Line:
    """One assignment of a scheme, with the flow it is, if it is one."""

    target: Coordinate | sp.Symbol
    value: Expr
    flow: WeightedFlow | None = None


@dataclass(frozen=True, slots=True)
class Scheme:
    """A method for any separable system.

    Attributes:
        lines: the assignments of a step that starts at time ``t`` with number ``n``.
        constants: named numbers, each with its exact value.
        symbols: the method's own parameters.
        exact: whether the constants are exact, or published digits.
        noises: arrays of independent standard normal numbers, in the order of their occurrences.
    """

    method: Method
    lines: tuple[Line, ...]
    constants: Mapping[sp.Symbol, Expr]
    symbols: Mapping[str, sp.Symbol]
    exact: bool
    noises: tuple[Coordinate, ...] = ()

    @property
    def flows(self) -> tuple[WeightedFlow, ...]:
        """The flows of a splitting, neighbours of one letter merged; empty for an update."""
        return tuple(line.flow for line in self.lines if line.flow is not None)


def derive_scheme(method: Method, system_symbols: Mapping[str, sp.Symbol]) -> Scheme:
    """Write a method as assignments; the letter P is D, which it is where there is no manifold.

    Args:
        method: the declaration.
        system_symbols: the parameters of the system that an update may name.
    """
    if isinstance(method, Update):
        return _from_update(method, system_symbols)
    method = relettered(method, {"P": "D"})
    if flow_count(method) > MAX_FLOWS:
        raise DeclarationError.single(
            method.head.source.where,
            f"{flow_count(method)} flows with all blocks written out; at most {MAX_FLOWS}",
            "compose",
        )
    taken = frozenset((*system_symbols, *PROGRAM_NAMES))
    flows, constants, exact = flatten(method, taken=taken)
    lines = []
    noises: list[Coordinate] = []
    clock: Expr = sp.Integer(0)
    for flow in flows:
        start, stop = t + clock * h, t + tidy(clock + flow.weight) * h
        if flow.letter == "A":
            line = Line(q, q + flow.weight * h * Velocity(p), flow)
        elif flow.letter == "B":
            line = Line(p, p - flow.weight * h * Grad(q), flow)
        elif flow.letter == "D":
            line = Line(p, Decay(start, stop) * p, flow)
        elif flow.letter == "O":
            noises.append(noise_named(len(noises) + 1, taken))
            line = Line(p, Decay(start, stop) * p + Heat(start, stop) * noises[-1], flow)
        else:
            line = Line(p, Decay(start, stop) * p - Impulse(start, stop) * Grad(q), flow)
        if flow.letter in CLOCK:
            clock = tidy(clock + flow.weight)
        lines.append(line)
    return Scheme(method, tuple(lines), constants, {}, exact, tuple(noises))


def noise_named(number: int, taken: Container[str]) -> Coordinate:
    """An array of noise.

    Args:
        number: which occurrence, from 1.
        taken: names that it must not have.
    """
    name = "noise" if number == 1 else f"noise_{number}"
    while name in taken:
        name += "_"
    return Coordinate(name)


def flatten(
    splitting: Splitting | ConstrainedSplitting,
    depth: int = 0,
    taken: frozenset[str] = frozenset(),
) -> tuple[tuple[WeightedFlow, ...], dict[sp.Symbol, Expr], bool]:
    """A splitting as one list of flows: blocks written out, neighbours of one letter merged.

    Constrained steps, C, are no flows, and two of them are not one.

    Args:
        splitting: the declaration.
        depth: how many compositions it stands in; constants of blocks are named after it.
        taken: names that constants must not have.

    Returns:
        The flows, without those of weight 0; the constants with their values; and whether all of
        these are exact and not published digits.

    Raises:
        DeclarationError: a weight or a constant divides by zero, or is not real.
    """
    suffix = f"_block{depth}" if depth else ""
    names = {
        name: sp.Symbol(name + suffix + "_weight" * (name + suffix in taken), real=True)
        for name, _ in splitting.constants
    }
    values: dict[sp.Symbol, Expr] = {}
    for name, expression in splitting.constants:
        values[names[name]] = to_sympy(expression, names)
    exact = splitting.exact
    if isinstance(splitting.steps, Composition):
        inner, block_values, block_exact = flatten(splitting.steps.block, depth + 1, taken)
        values = {**block_values, **values}
        exact = exact and block_exact
        raw = [
            WeightedFlow(flow.letter, to_sympy(weight, names) * flow.weight)
            for weight in splitting.steps.weights
            for flow in inner
        ]
    else:
        raw = [WeightedFlow(flow.letter, to_sympy(flow.weight, names)) for flow in splitting.steps]
    resolved = constant_values(values)
    for name, expr in values.items():
        _require_real(splitting, f"[constants].{name}", expr, resolved)
    key = "compose" if isinstance(splitting.steps, Composition) else "steps"
    for expr in dict.fromkeys(flow.weight for flow in raw):
        _require_real(splitting, key, expr, resolved)
    merged: list[WeightedFlow] = []
    for flow in raw:
        if merged and merged[-1].letter == flow.letter != "C":
            flow = WeightedFlow(flow.letter, merged.pop().weight + flow.weight)
        if flow.weight != 0:
            merged.append(flow)
    return tuple(merged), values, exact


def _require_real(
    splitting: Splitting | ConstrainedSplitting,
    key: str,
    expr: Expr,
    constants: Mapping[sp.Symbol, Expr],
) -> None:
    """That a number of a splitting is one: 1/(w - 2) is none where w is 2, nor is sqrt(w - 3)."""
    value = expr.xreplace(constants)
    if value.has(sp.zoo, sp.nan, sp.oo):
        message = f"{expr} divides by zero"
    elif value.is_Rational or sp.N(value).is_real:
        return
    else:
        message = f"{expr} is not a real number"
    raise DeclarationError.single(splitting.head.source.where, message, key)


def flow_count(splitting: Splitting | ConstrainedSplitting) -> int:
    """The number of flows of a splitting with its blocks written out."""
    if isinstance(splitting.steps, Composition):
        return len(splitting.steps.weights) * flow_count(splitting.steps.block)
    return len(splitting.steps)


def constant_values(constants: Mapping[sp.Symbol, Expr]) -> dict[sp.Symbol, Expr]:
    """The constants with their references to each other resolved."""
    values: dict[sp.Symbol, Expr] = {}
    for symbol, expr in constants.items():
        values[symbol] = expr.xreplace(values)
    return values


def free_constants(constants: Mapping[sp.Symbol, Expr], expr: Expr) -> Expr:
    """An expression in those constants that are not given by others (``w0 = 1 - 2*w1``)."""
    dependent: dict[sp.Symbol, Expr] = {}
    for symbol, value in constants.items():
        if value.free_symbols:
            dependent[symbol] = value.xreplace(dependent)
    return expr.xreplace(dependent)


def _from_update(update: Update, system_symbols: Mapping[str, sp.Symbol]) -> Scheme:
    own = {parameter.name: parameter_symbol(parameter) for parameter in update.parameters}
    names: dict[str, Expr] = {**system_symbols, **own, "q": q, "p": p, "t": t, "h": h, "n": n}
    for assignment in update.assignments:
        for name in sorted(assignment.value.names()):
            names.setdefault(name, sp.Symbol(name, positive=True))
    oracles = {"grad": Grad, "velocity": Velocity, "decay": lambda span: Decay(t, t + span)}
    lines = []
    for assignment in update.assignments:
        value = to_sympy(assignment.value, names, oracles)
        if assignment.target not in ("q", "p") and is_host(value) and not value.has(Grad, Velocity):
            names[assignment.target] = value
            continue
        target = {"q": q, "p": p}.get(assignment.target)
        if target is None:
            target = Coordinate(assignment.target)
            names[assignment.target] = target
        lines.append(Line(target, value))
    return Scheme(update, tuple(lines), {}, own, True)
