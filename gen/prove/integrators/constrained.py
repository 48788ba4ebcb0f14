"""What a splitting with constrained steps is worth: order, form, symmetry, and what it keeps.

In: a declared splitting.  Out: its report.  The program is run on
:mod:`drawn_systems`, each with a rational point on its constraints.

Order: one step in exact series in h, its multipliers found by Newton's method in these series,
beside the flow, whose multipliers follow from the second derivative of the constraints,

    G K'' G' lambda = dK/dp' g'' dK/dp - G K'' (dV/dq + gamma p).

Form: the derivative M of a step along a basis of the tangent space of the phase space

    T*M = {(q, p): g(q) = 0, G(q) dK/dp(p) = 0}

by central differences in many digits, whose error lies far below what is compared: M' Omega M = c
Omega there, with c the product of the friction factors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import mpmath
import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.memory import remembered
from hamilforge.gen.derive.calculus import Expr, written
from hamilforge.gen.program.integrators.build_constrained import constrained_flows
from hamilforge.gen.program.integrators.constrained import (
    DIGITS,
    ConstrainedMachine,
    Numbers,
    Vector,
)
from hamilforge.gen.program.integrators.integrator import (
    ConstrainedFlows,
    ConstrainedMove,
    Friction,
)
from hamilforge.gen.prove.integrators.drawn_systems import DrawnSystem, drawn_systems
from hamilforge.gen.prove.report import Finding, Report, compare_claims
from hamilforge.gen.prove.series import (
    FLOATS,
    RATIONALS,
    Field,
    Irrational,
    Series,
    number_field,
    series_algebra,
)

MAX_ORDER = 8
#: What counts as zero among numbers of 60 digits, and where numbers are published digits; by how
#: many powers more than are compared series are known.
ROOM, DIGITS_ROOM, MARGIN = 1e-40, 1e-11, 4
#: Digits of the numbers in which steps are differentiated, and the exponent of the differences.
WORKING, DIFFERENCE = 90, 30
#: What is zero to so many digits counts as zero.
SHOWN = 45
#: The step over which the form is compared; it may be of any size.
STEP = Fraction(1, 200)
REACH = "constant step and friction, H = K(p) + V(q); drawn: 3 positions and 1 constraint, 4 and 2"
UNDAMPED = REACH.replace("and friction", "without friction")
#: The friction of the systems drawn.
GAMMA = Fraction(1, 3)


# --- order ------------------------------------------------------------


def constrained_order(flows: ConstrainedFlows, field: Field, exact: bool = True) -> tuple[int, str]:
    """The order of moves on the drawn systems.

    Args:
        flows: the moves, with numbers in SymPy.
        field: in which these are.
        exact: whether they are, or published digits.

    Returns:
        The order, and what was seen.

    Raises:
        Irrational: a number is not in the field.
        NotDerivableError: the order is higher than is looked for.
    """
    room, systems = ROOM if exact else DIGITS_ROOM, range(len(drawn_systems()))
    for precision in range(4, MAX_ORDER + 4, 2):
        lowest = _lowest(flows, FLOATS, precision, room, systems[:1])
        if lowest < precision:
            break
    else:
        raise NotDerivableError(f"an order above {MAX_ORDER}")
    lowest = _lowest(flows, FLOATS, lowest + 1, room, systems)
    shown = [f"one step in series over {FLOATS.name} on the systems drawn"]
    if field is not FLOATS:  # what vanishes, so far to many digits, does so exactly
        some = systems if field is RATIONALS else systems[:1]
        lowest = min(lowest, _lowest(flows, field, lowest + 1, 0.0, some))
        known = " and ".join(str(drawn_systems()[number]) for number in some)
        shown.append(f"over {field.name} on that with {known} constraints")
    return lowest - 1, (
        f"{', and '.join(shown)}, multipliers included, beside the flow: zero to h^{lowest - 1}, "
        f"not at h^{lowest}"
    )


def _lowest(
    flows: ConstrainedFlows, field: Field, precision: int, room: float, systems: Iterable[int]
) -> int:
    """The lowest power of h at which a step and the flow differ on one of some systems."""
    values = {value: _embedded(value, field) for value in dict.fromkeys(_numbers_of(flows))}
    return min(
        _first_difference(number, flows, field, values, precision, room) for number in systems
    )


def _first_difference(
    number: int,
    flows: ConstrainedFlows,
    field: Field,
    values: Mapping[Expr, Any],
    precision: int,
    room: float,
) -> int:
    """The lowest power of h at which they differ on the so-manieth system."""
    working = precision + MARGIN
    machine = _machine(number, _gamma(flows), flows, field, values, working)
    zero = machine.numbers.algebra.constant(Fraction(0))
    h = Series(field, 1, [field.convert(Fraction(1))], working)
    found = machine.step(zero, h, _start(number, machine))
    differences = [
        entry - Series(field, 0, [field.convert(known) for known in rational], precision)
        for entry, rational in zip(found, _flow(number, precision, _gamma(flows)), strict=True)
    ]
    if min(difference.precision for difference in differences) < precision:
        raise NotDerivableError("the working precision is too small")
    return min(_valuation(difference, precision, room) for difference in differences)


def _machine(
    number: int,
    gamma: Fraction,
    flows: ConstrainedFlows,
    field: Field,
    values: Mapping[Expr, Any],
    working: int,
) -> ConstrainedMachine:
    """Steps of a drawn system in series."""
    system, algebra = drawn_systems()[number], series_algebra(field, working)
    numbers = Numbers(
        algebra,
        lambda value: Series(field, 0, [values[value]], working),
        lambda series: -series.low,
        lambda _, iteration: 2**iteration >= working,  # each doubles the powers that are right
    )
    parameters = {"gamma": algebra.constant(gamma)}
    return ConstrainedMachine(system.problem, flows, parameters, numbers)


def _gamma(flows: ConstrainedFlows) -> Fraction:
    """The friction under which moves are looked at: none where none of them is friction."""
    return GAMMA if any(isinstance(move, Friction) for move in flows.moves) else Fraction(0)


def _start(number: int, machine: ConstrainedMachine) -> Vector:
    return list(map(machine.numbers.algebra.constant, drawn_systems()[number].point))


def _valuation(series: Series, precision: int, room: float) -> int:
    """The first power whose coefficient is not zero."""
    field = series.field
    powers = (k for k in range(precision) if field.magnitude(series[k]) > room)
    return next(powers, precision)


@cache
def _flow(number: int, precision: int, gamma: Fraction) -> tuple[tuple[Fraction, ...], ...]:
    """The Taylor coefficients of the solution from the point, by Picard's iteration."""
    machine = _machine(number, gamma, ConstrainedFlows(()), RATIONALS, {}, precision + MARGIN)
    start = state = _start(number, machine)
    for known in range(1, precision + 1):
        state = [entry.truncated(known) for entry in state]
        rates = _rates(machine, drawn_systems()[number], state)
        state = [entry + rate.integral() for entry, rate in zip(start, rates, strict=True)]
    return tuple(tuple(entry[power] for power in range(precision)) for entry in state)


def _rates(machine: ConstrainedMachine, system: DrawnSystem, state: Vector) -> Vector:
    """The right-hand sides, with the multipliers of the exact solution."""
    zero = machine.numbers.algebra.constant(Fraction(0))
    velocity, force = (machine.call(part.field, zero, state) for part in system.problem.parts)
    half = len(state) // 2
    gamma = machine.parameters["gamma"]
    pulled = [f - gamma * p for f, p in zip(force, state[half:], strict=True)]
    curvature = machine.call(system.curvature, zero, state)
    reaction = machine.reaction(zero, state, pulled, curvature)
    return [*velocity, *(f - r for f, r in zip(pulled, reaction, strict=True))]


# --- form, symmetry, constraints ------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """The largest deviations at drawn points, in many digits.

    Attributes:
        form: of M' Omega M from c Omega along T*M.
        constraint, velocity: of g and G dK/dp from 0 after a step.
        returned: of a step and a step with -h from where they began.
    """

    form: Any
    constraint: Any
    velocity: Any
    returned: Any


def constrained_form(flows: ConstrainedFlows, number: Callable[[Any], Any], span: Any) -> Seen:
    """What steps do to the symplectic form, to constraints and to where they began.

    Args:
        flows: the moves.
        number: one of the numbers of the moves, in the working precision of mpmath.
        span: over how many steps h friction goes.

    Returns:
        The largest deviations over the drawn systems.
    """
    with mpmath.workdps(WORKING):
        numbers = Numbers(DIGITS.algebra, number, DIGITS.size, DIGITS.solved)
        seen = [_seen(system, flows, numbers, span) for system in drawn_systems()]
        names = Seen.__dataclass_fields__
        return Seen(*(max(getattr(one, name) for one in seen) for name in names))


def _seen(system: DrawnSystem, flows: ConstrainedFlows, numbers: Numbers, span: Any) -> Seen:
    parameters = {"gamma": numbers.algebra.constant(_gamma(flows))}
    machine = ConstrainedMachine(system.problem, flows, parameters, numbers)
    zero = mpmath.mpf(0)
    h = mpmath.mpf(STEP.numerator) / STEP.denominator
    factor = mpmath.exp(-parameters["gamma"] * span * h)
    y = [numbers.algebra.constant(entry) for entry in system.point]
    after = machine.step(zero, h, y)
    back = machine.step(h, -h, after)
    value, velocity = machine.constraints(zero, after)
    basis = _tangents(machine, y)
    moved = [_along(lambda at: machine.step(zero, h, at), y, vector) for vector in basis]
    form = max(
        abs(_omega(moved[i], moved[j]) - factor * _omega(basis[i], basis[j]))
        for j in range(len(basis))
        for i in range(j)
    )
    returned = max(abs(a - b) for a, b in zip(back, y, strict=True))
    return Seen(form, max(map(abs, value)), max(map(abs, velocity)), returned)


def _along(map_: Callable[[Vector], Vector], y: Vector, vector: Vector) -> Vector:
    """The derivative of a map along a vector, by a central difference."""
    small = mpmath.mpf(10) ** -DIFFERENCE
    ends = (
        map_([a + sign * small * b for a, b in zip(y, vector, strict=True)]) for sign in (1, -1)
    )
    return [(a - b) / (2 * small) for a, b in zip(*ends, strict=True)]


def _tangents(machine: ConstrainedMachine, y: Vector) -> list[Vector]:
    """A basis of the vectors along which constraints and their velocities stay zero."""
    size = len(y)

    def conditions(at: Vector) -> Vector:
        value, velocity = machine.constraints(mpmath.mpf(0), at)
        return [*value, *velocity]

    units = [[mpmath.mpf(i == k) for i in range(size)] for k in range(size)]
    rows = [list(row) for row in zip(*(_along(conditions, y, unit) for unit in units), strict=True)]
    pivots = []
    for number, row in enumerate(rows):  # reduced to unit columns
        pivot = max(range(size), key=lambda k: abs(row[k]))
        pivots.append(pivot)
        rows[number] = row = [entry / row[pivot] for entry in row]
        for other in range(len(rows)):
            if other != number:
                by = rows[other][pivot]
                rows[other] = [a - by * b for a, b in zip(rows[other], row, strict=True)]
    basis = []
    for free in (k for k in range(size) if k not in pivots):
        vector = units[free][:]
        for row, pivot in zip(rows, pivots, strict=True):
            vector[pivot] = -row[free]
        basis.append(vector)
    return basis


def _omega(left: Vector, right: Vector) -> Any:
    half = len(left) // 2
    pairs = zip(left[:half], right[half:], left[half:], right[:half], strict=True)
    return sum((a * b - c * d for a, b, c, d in pairs), mpmath.mpf(0))


# --- the report ------------------------------------------------------------


@remembered
def prove_constrained_splitting(declaration: kinds.ConstrainedSplitting) -> Report:
    """Order, symplectic form, symmetry, and what a step keeps.

    Args:
        declaration: the splitting.

    Returns:
        The report, with claims compared.
    """
    flows = constrained_flows(declaration, lambda exact: exact)
    findings = findings_of(flows, declaration.exact)
    head = declaration.head
    return Report(head.name, "splitting", head.title, findings, compare_claims(head, findings))


def findings_of(flows: ConstrainedFlows, exact: bool = True) -> tuple[Finding, ...]:
    """What moves are worth.

    Args:
        flows: the moves, with numbers in SymPy.
        exact: whether these are, or published digits.

    Returns:
        The findings.
    """
    return (_order(flows, exact), *_kept(flows), *_counts(flows))


def _reach(flows: ConstrainedFlows) -> str:
    return REACH if _gamma(flows) else UNDAMPED


def _numbers_of(flows: ConstrainedFlows) -> Iterator[Expr]:
    for move in flows.moves:
        fields = ("start", "stop") if isinstance(move, Friction) else _OF_STEPS
        yield from (getattr(move, name) for name in fields)


_OF_STEPS = ("time", "before", "drift", "after")


def _order(flows: ConstrainedFlows, is_exact: bool) -> Finding:
    reach = f"{_reach(flows)}; that it is not higher in general is a proof"
    exact = list(dict.fromkeys(_numbers_of(flows)))
    roots = {power for value in exact for power in value.atoms(sp.Pow) if power.exp.is_Rational}
    roots = {root for root in roots if not root.exp.is_Integer}
    algebraic = is_exact and not any(value.atoms(sp.NumberSymbol, sp.Function) for value in exact)
    field = FLOATS
    if algebraic:
        field = number_field(sorted(roots, key=sp.default_sort_key)) if roots else RATIONALS
    try:
        order, evidence = constrained_order(flows, field, is_exact)
    except Irrational as error:
        return Finding("order", None, "exact series in h", reach, str(error))
    return Finding("order", order, evidence, reach)


def _embedded(value: Expr, field: Field) -> Any:
    if value.is_Rational:
        return field.convert(Fraction(int(value.p), int(value.q)))
    return field.embed(value if field is FLOATS else sp.radsimp(value))


_KEPT = (
    "symplectic_form",
    "conformal_factor",
    "constraints_kept",
    "velocities_kept",
    "symmetric",
)


def _kept(flows: ConstrainedFlows) -> tuple[Finding, ...]:
    ends: list[tuple[Any, Any]] = [
        (move.start, move.stop) for move in flows.moves if isinstance(move, Friction)
    ]
    span = sp.radsimp(sp.expand(sp.Add(*(stop - start for start, stop in ends))))
    reach = _reach(flows)
    try:
        seen = constrained_form(
            flows,
            lambda exact: mpmath.mpf(str(sp.N(exact, WORKING + 5))),
            mpmath.mpf(str(sp.N(span, WORKING + 5))),
        )
    except ArithmeticError as error:
        by, why = f"steps h = {STEP} of the systems drawn", f"one could not be taken: {error}"
        return tuple(Finding(name, None, by, reach, why) for name in _KEPT)
    at = f"in {WORKING} digits at the points of the systems drawn, h = {STEP}"
    by = f"the derivative of a step along a basis of the tangent space of T*M, {at}"
    size = f"deviation {mpmath.nstr(seen.form, 2)}"
    conformal = _vanishes(seen.form)
    factor = sp.exp(-sp.Symbol("gamma") * sp.Symbol("h") * span)
    return (
        Finding("symplectic_form", "conformal" if conformal else "none", f"{by}: {size}", reach),
        Finding(
            "conformal_factor",
            written(factor) if conformal else None,
            "the factors of p; M' Omega M = c Omega as above",
            reach,
            "" if conformal else "the form is not scaled",
        ),
        _vanishing("constraints_kept", seen.constraint, f"g after a step, {at}", reach),
        _vanishing("velocities_kept", seen.velocity, f"G dK/dp after a step, {at}", reach),
        _vanishing("symmetric", seen.returned, f"a step with -h after one with h, {at}", reach),
    )


def _vanishes(value: Any) -> bool:
    return bool(abs(value) < mpmath.mpf(10) ** -SHOWN)


def _vanishing(name: str, value: Any, by: str, reach: str) -> Finding:
    return Finding(name, _vanishes(value), f"{by}: {mpmath.nstr(value, 2)}", reach)


def _counts(flows: ConstrainedFlows) -> tuple[Finding, ...]:
    steps = [move for move in flows.moves if isinstance(move, ConstrainedMove)]
    solves, reach = sum(1 + move.projected for move in steps), _reach(flows)
    return (
        Finding("gradients_per_step", len(steps), "the constrained steps, C", reach),
        Finding("solves_per_step", solves, "for lambda and for nu, in each C", reach),
    )
