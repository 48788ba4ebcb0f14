"""A declared method becomes the step of an integrator.

In: a problem's field and a method.  Out: an :class:`Integrator`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.derive.calculus import Expr, limit, primitive
from hamilforge.gen.derive.integrators.field import refuse_coupling
from hamilforge.gen.derive.integrators.lattice import LatticeField
from hamilforge.gen.derive.integrators.vector_field import VectorField, t
from hamilforge.gen.derive.scheme import WeightedFlow, constant_values, derive_scheme
from hamilforge.gen.program.build_stages import Entries, build_stages, coefficient
from hamilforge.gen.program.integrators.build_constrained import (
    build_constrained,
    refuse_unconstrained,
)
from hamilforge.gen.program.integrators.build_lattice import build_lattice
from hamilforge.gen.program.integrators.build_problem import build_problem
from hamilforge.gen.program.integrators.build_taylor import build_taylor
from hamilforge.gen.program.integrators.integrator import (
    START,
    STOP,
    DiscreteGradient,
    Flow,
    Flows,
    Integrator,
    Step,
    TaylorSteps,
)
from hamilforge.gen.program.ir import Expr as IrExpr
from hamilforge.gen.program.ir import Ref, Select
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.stages import Coefficient, Stages
from hamilforge.gen.tableau.build import build
from hamilforge.gen.tableau.pair import build_pair

#: Equations that are solved at once, with a full matrix.
MOST_UNKNOWNS = 2400


def build_integrator(field: VectorField, method: kinds.Integration) -> Integrator:
    """The integrator of a problem by a method.

    Raises:
        DeclarationError: the method does not fit the problem, with the reason.
    """
    if field.constraints and not isinstance(method, kinds.ConstrainedSplitting):
        raise refuse_unconstrained(field, method)
    at_once = kinds.RungeKutta | kinds.DiscreteGradient | kinds.Taylor
    whole = isinstance(method, at_once) and not field.friction
    whole = bool(whole) or len(field.parts) == 1
    needs = field.parts_needed(whole)
    name = field.problem.head.name
    step: Step
    match method:
        case kinds.RungeKutta():
            step = build_stages(needs, (build(method),) * len(needs), len(field.parts) == 2)
        case kinds.Partitioned():
            if len(field.parts) != 2:
                raise _refuse(
                    method,
                    f"a pair needs positions and momenta, and '{name}' has none: it is a "
                    "plain system; a Runge-Kutta method fits it",
                )
            step = build_stages(needs, build_pair(method), canonical=True)
        case kinds.Splitting():
            step = _flows(field, method)
        case kinds.ConstrainedSplitting():
            step = build_constrained(field, method)
        case kinds.DiscreteGradient():
            step = _discrete_gradient(field, method)
        case kinds.Taylor(chosen=order):
            assert order is not None  # a caller's, the declared one, or that of a tolerance
            step = build_taylor(field, order)
    if isinstance(field, LatticeField):
        problem = build_lattice(field, whole, _solves(field, method, step, len(needs)))
    else:
        problem = build_problem(field, whole, not isinstance(step, TaylorSteps))
    return Integrator(f"{name}__{method.head.name}", problem, step)


def _solves(field: LatticeField, method: kinds.Integration, step: Step, parts: int) -> bool:
    """Whether a step on a lattice solves equations, which have a full matrix.

    Raises:
        DeclarationError: there are too many.
    """
    match step:
        case Stages(blocks=blocks):
            most = max((len(block.increments) for block in blocks if block.implicit), default=0)
        case DiscreteGradient():
            most = parts
        case _:
            most = 0
    assert field.sites.count is not None
    unknowns = most * len(field.components) * field.sites.count // parts
    if unknowns > MOST_UNKNOWNS:
        raise _refuse(
            method,
            f"{unknowns} equations with a full matrix would be solved in a step, and at most "
            f"{MOST_UNKNOWNS} are; an explicit method or a splitting solves none",
        )
    return unknowns > 0


def _refuse(method: kinds.Integration, message: str) -> DeclarationError:
    return DeclarationError.single(method.head.source.where, message)


# --- splittings ------------------------------------------------------------


def _flows(field: VectorField, method: kinds.Splitting) -> Flows:
    if len(field.parts) != 2:
        raise _refuse(
            method,
            f"a splitting needs H = K(p, t) + V(q, t), and '{field.problem.head.name}' is a plain "
            "system; a Runge-Kutta method fits it",
        )
    if not field.separable:
        raise refuse_coupling(field)
    if kinds.draws_noise(method):
        raise _refuse(method, "the letter O draws noise: it is for optimizers, with a temperature")
    scheme = derive_scheme(method, {})
    values = constant_values(scheme.constants)

    def number(weight: Expr) -> Coefficient:
        exact = weight.xreplace(values)
        text = str(exact) if exact.is_Rational else ""
        return Coefficient(float(sp.N(exact, 30)), text)

    timed = [any(value.has(t) for value in part.values) for part in field.parts]
    damped = field.friction != 0
    letters = {flow.letter for flow in scheme.flows}
    if damped and not letters & {"D", "BD"}:
        raise _refuse(method, "no flow takes up the friction of the problem: D or BD")
    if any(timed) and not letters & {"D", "BD"}:
        raise _refuse(method, "no flow advances the time, which the problem depends on: D or BD")
    if timed[1] and "BD" in letters:
        raise _refuse(
            method,
            "the flow BD has no closed form for a force that depends on t; use the letters B and D",
        )
    flows: list[tuple[WeightedFlow, Expr]] = []
    clock: Expr = sp.S.Zero
    for flow in scheme.flows:
        start = clock
        if "D" in flow.letter:
            clock = clock + flow.weight
        letter = flow.letter if damped else flow.letter.replace("D", "")
        if not letter:
            continue
        moves_in_time = timed["AB".index(letter)] if letter in "AB" else True
        if flows and flows[-1][0].letter == letter and not moves_in_time:
            flow = WeightedFlow(letter, flows[-1][0].weight + flow.weight)
            start = flows.pop()[1]
        flows.append((WeightedFlow(letter, flow.weight), start))
    kept = not timed[1]
    numbered = []
    for k, (flow, start) in enumerate(flows):
        at_same_place = kept and "B" in flow.letter and _same_place(flows, k)
        numbered.append(
            Flow(
                flow.letter,
                number(flow.weight),
                number(start),
                number(start + flow.weight),
                at_same_place,
            )
        )
    impulse = _impulse(field) if damped and "BD" in letters else None
    return Flows(tuple(numbered), impulse)


def _same_place(flows: Sequence[tuple[WeightedFlow, Expr]], k: int) -> bool:
    """Whether the kick before, perhaps of the step before, was at the same positions."""
    for back in range(1, len(flows) + 1):
        letter = flows[(k - back) % len(flows)][0].letter
        if letter == "A":
            return False
        if "B" in letter:
            return True
    return False


def _impulse(field: VectorField) -> IrExpr:
    """Int decay(u, stop) du from ``start`` to ``stop``: what a kick with friction adds up to.

    Where a parameter may vanish and the closed form is 0/0 there, its limit is taken.
    """
    start, stop, u = (sp.Dummy(name, real=True) for name in ("start", "stop", "u"))
    integral = primitive(field.decay(u, stop), u)
    if integral is None:
        raise DeclarationError.single(
            field.problem.head.source.where,
            f"a kick with friction {field.friction} (letters BD) has no elementary integral",
            "friction",
        )
    whole = sp.simplify(integral.xreplace({u: stop}) - integral.xreplace({u: start}))
    names = {start: START, stop: STOP}
    impulse = lower(whole, names)
    for parameter, symbol in zip(field.problem.parameters, field.parameters, strict=True):
        if parameter.domain in (*kinds.ZERO_IN_DOMAIN, "real") and whole.has(symbol):
            there = whole.subs(symbol, 0)
            if there.has(sp.nan, sp.zoo, sp.oo):
                end = lower(limit(whole, symbol, 0), names)
                impulse = Select(Ref(parameter.name), Fraction(0), end, impulse)
    return impulse


# --- discrete gradients ------------------------------------------------------------


def _discrete_gradient(field: VectorField, method: kinds.DiscreteGradient) -> DiscreteGradient:
    name = field.problem.head.name
    if field.energy is None:
        raise _refuse(
            method,
            f"a discrete gradient needs an energy, and '{name}' declares none; a Hamiltonian does, "
            "or a system with [poisson]",
        )
    if field.energy.has(t):
        raise _refuse(method, f"the energy of '{name}' depends on t, so no step can conserve it")
    if method.increments == "random":
        raise _refuse(
            method,
            "a step along a drawn direction alone is one of a gradient flow, as hf.minimize takes",
        )
    return build_discrete_gradient(method)


def build_discrete_gradient(method: kinds.DiscreteGradient) -> DiscreteGradient:
    """Nodes and weights of a mean of gradients, or the directions of increments."""
    if method.increments is not None:
        directions = {"forward": (1,), "symmetric": (1, -1), "random": ()}
        return DiscreteGradient((), (), directions[method.increments])
    assert method.quadrature is not None
    exact = Entries(build(method.quadrature))
    return DiscreteGradient(tuple(map(coefficient, exact.c)), tuple(map(coefficient, exact.b)), ())
