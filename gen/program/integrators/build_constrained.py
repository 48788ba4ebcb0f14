"""A splitting with constrained steps becomes its moves, with numbers of any kind.

In: a declared splitting and what numbers are.  Out: moves; the clock of forces and velocities moves
with friction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp

from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.derive.calculus import Expr
from hamilforge.gen.derive.integrators.vector_field import VectorField
from hamilforge.gen.derive.scheme import MAX_FLOWS, constant_values, flatten, flow_count
from hamilforge.gen.program.integrators.integrator import (
    ConstrainedFlows,
    ConstrainedMove,
    Friction,
)
from hamilforge.gen.program.stages import Coefficient


def build_constrained(field: VectorField, method: kinds.ConstrainedSplitting) -> ConstrainedFlows:
    """The moves of a splitting on a problem with constraints.

    Raises:
        DeclarationError: the problem has no constraints, or depends on a time that does not move.
    """
    where, name = method.head.source.where, field.problem.head.name
    if not field.constraints:
        raise DeclarationError.single(
            where,
            f"'{name}' has no [constraints]: there is nothing that constrained steps, C, would "
            "solve for; a splitting into drift A and kick B fits it where H = K(p) + V(q)",
        )
    flows = constrained_flows(method, coefficient)
    needs_friction = field.friction != 0 or not field.autonomous
    if needs_friction and not any(isinstance(move, Friction) for move in flows.moves):
        raise DeclarationError.single(
            where, f"'{name}' has friction or depends on time, and no flow moves these: D"
        )
    return flows


def coefficient(exact: Expr) -> Coefficient:
    """A number in double precision, with its exact text if that is short."""
    text = str(exact) if exact.is_Rational else ""
    return Coefficient(float(sp.N(exact, 30)), text)


def constrained_flows(
    method: kinds.ConstrainedSplitting, number: Callable[[Expr], Any]
) -> ConstrainedFlows:
    """The moves of a splitting.

    Args:
        method: the declaration.
        number: of an exact weight.

    Raises:
        DeclarationError: there are too many, or a weight is no real number.
    """
    if flow_count(method) > MAX_FLOWS:
        raise DeclarationError.single(
            method.head.source.where,
            f"{flow_count(method)} flows with all blocks written out; at most {MAX_FLOWS}",
            "compose",
        )
    flows, constants, _ = flatten(method)
    values = constant_values(constants)
    moves: list[Friction | ConstrainedMove] = []
    clock: Expr = sp.S.Zero
    for flow in flows:
        weight = flow.weight.xreplace(values)
        if flow.letter == "D":
            moves.append(Friction(number(clock), number(clock + weight)))
            clock = clock + weight
        else:
            half = number(weight / 2)
            moves.append(ConstrainedMove(number(clock), half, number(weight), half))
    return ConstrainedFlows(tuple(moves))


def refuse_unconstrained(field: VectorField, method: kinds.Integration) -> DeclarationError:
    """Why a method that knows no constraints cannot integrate a problem that has some."""
    fit = [
        path.stem
        for path in catalogue.paths("splitting")
        if isinstance(catalogue.load(path), kinds.ConstrainedSplitting)
    ]
    called = ", ".join(name for name, _ in field.constraints)
    return DeclarationError.single(
        method.head.source.where,
        f"'{field.problem.head.name}' has [constraints] ({called}), which '{method.head.name}' "
        "would leave: only a splitting with constrained steps, C, keeps them, as "
        f"{' and '.join(fit)} do",
    )
