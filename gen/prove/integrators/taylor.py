"""Proofs about Taylor's method: its coefficients are those of the solution.

In: the function of the coefficients, and the right-hand sides.  Out: findings.  There is one power
series y(s) with y(0) given and y' = f(y), so the coefficients c_1, ..., c_p are the solution's if
their polynomial satisfies the equation to s^(p-1).  That is seen in the truncated series that all
proofs use, exactly where all values at the point are rational, in 60 digits where they are not.
Series of events are looked at likewise, along components whose series are drawn.

Kernels of large systems, and all that look for events, take like operations in loops: the groups
are undone column by column, and what that gives is proved as lines are.  What a loop does with a
group is tested with exact numbers too, not proved here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.functions import TABLE, Elementwise
from hamilforge.gen.declare.parser import parse
from hamilforge.gen.declare.read_taylor import order_of
from hamilforge.gen.derive.calculus import FUNCTIONS, to_sympy
from hamilforge.gen.derive.integrators.vector_field import VectorField
from hamilforge.gen.program.integrators.build_events import build_events
from hamilforge.gen.program.integrators.build_taylor import build_series, rates_of
from hamilforge.gen.program.integrators.integrator import Integrator, TaylorSteps
from hamilforge.gen.program.integrators.series import TIME
from hamilforge.gen.program.integrators.series_groups import grouped
from hamilforge.gen.program.interpret import run
from hamilforge.gen.program.ir import Function
from hamilforge.gen.program.straight import straight
from hamilforge.gen.prove.report import Finding, Report, compare_claims
from hamilforge.gen.prove.series import FLOATS, RATIONALS, Field, Irrational, Series, series_algebra

#: The orders that are looked at where the order follows from the tolerance.
SEVERAL = (2, order_of(1e-6), order_of(1e-12))
#: Numbers of 60 digits, of which only 0 is zero: coefficients become small.
DIGITS = replace(FLOATS, is_zero=lambda value: value == 0)
#: What 60-digit numbers may differ by, relative to the terms' sizes.
ALIKE = 1e-40
#: Up to which power the series of events are looked at.
EVENT_POWERS = 12
#: Where the drawn system is looked at.
_DRAWN = {"x": Fraction(1, 3), "y": Fraction(2, 7), "z": Fraction(3, 11)}


def prove(declaration: kinds.Taylor) -> Report:
    """The order of the coefficients, on a system with every function that has a Taylor series."""
    rates = _drawn_rates()
    components = tuple(_DRAWN)
    series = build_series(rates, components, "")
    point = {**_DRAWN, TIME: Fraction(1, 5)}
    orders = SEVERAL if declaration.order is None else (declaration.order,)
    for order in orders:
        _, ends = _compared(series.unrolled(order), rates, components, point)
        if not ends:
            raise AssertionError(f"the coefficient after order {order} is zero")
    finding = Finding(
        "order",
        declaration.order or "of the tolerance",
        f"coefficients up to {', '.join(map(str, orders))} equal those of the solution's own "
        "series, and the next one is not zero",
        f"{DIGITS.name} at a rational point of a system with products, quotients, powers, "
        + ", ".join(sorted(row.name for row in _smooth())),
    )
    claims = compare_claims(declaration.head, (finding,))
    return Report(declaration.head.name, "taylor", declaration.head.title, (finding,), claims)


def prove_coefficients(integrator: Integrator, field: VectorField, order: int) -> Report:
    """The order of a problem's own coefficients.

    Args:
        integrator: the problem by Taylor's method.
        field: the problem's, with its right-hand sides.
        order: the highest power of the step.

    Returns:
        A report with ``order``; None where the problem is defined at no point that was tried.

    Raises:
        AssertionError: a coefficient is not that of the solution.
    """
    problem, rates, step = integrator.problem, rates_of(field), integrator.step
    assert isinstance(step, TaylorSteps)
    parameters = {entry.name: entry.default for entry in problem.parameters}
    evidence = f"coefficients up to {order} equal those of the solution's own series"
    forms = [step.coefficients]
    if step.looped:
        forms.append(grouped(step.series).ungrouped(step.series).unrolled(step.order))
        evidence += ", by lines and by groups of like operations"
    for start in _points(problem.components, problem.start, problem.start_time):
        point = {**parameters, **start}
        try:
            for coefficients in forms:
                numbers, ends = _compared(coefficients, rates, problem.components, point)
        except (Irrational, ArithmeticError):
            continue
        evidence += ", and the next one is not zero" if ends else ", and the next one is zero"
        finding = Finding("order", order, evidence, f"{numbers.name} at a rational point")
        break
    else:
        why = "the equations have no value at the points that were tried"
        finding = Finding("order", None, evidence, "nowhere", why)
    return Report(integrator.name, "taylor", "", (finding,), ())


def prove_events(field: VectorField) -> Finding:
    """The series of a problem's events, as kernels compute them.

    Args:
        field: the problem's.

    Returns:
        A finding ``events`` with their names; None where one of them has no value at the points
        that were tried.

    Raises:
        AssertionError: a coefficient is not that of the event.
    """
    problem = field.problem
    events, series = build_events(field)
    assert series is not None
    names = tuple(event.name for event in events)
    emitted = grouped(series).ungrouped(series).along(EVENT_POWERS, names)
    functions = {event.name: event.value for event in events}
    parameters = {entry.name: entry.default for entry in problem.parameters}
    by = (
        f"coefficients up to {EVENT_POWERS} of their series, by groups of like operations, equal "
        "those of the functions along drawn series of the components"
    )
    components = tuple(map(str, field.components))
    values = dict(problem.start.values)
    starts = [values.get(name) for name in components]
    for start in _points(components, starts, problem.start.time):
        for numbers in (RATIONALS, DIGITS):
            try:
                _compare_events(numbers, emitted, functions, components, {**parameters, **start})
            except (Irrational, ArithmeticError):
                continue
            return Finding("events", ", ".join(names), by, f"{numbers.name} at a rational point")
    why = "they have no values at the points that were tried"
    return Finding("events", None, by, "nowhere", why)


def _compare_events(
    numbers: Field,
    emitted: Function,
    functions: Mapping[str, Function],
    components: Sequence[str],
    point: Mapping[str, Fraction],
) -> None:
    """Series of events by emitted operations, beside their functions in truncated series.

    Raises:
        AssertionError: they differ.
        Irrational: they have no value at the point.
    """
    known = _in_time(numbers, point)
    drawn: dict[str, Any] = {}
    for place, name in enumerate(components, 1):
        for k in range(1, EVENT_POWERS + 1):
            value = numbers.convert(Fraction((-1) ** (k * place), k + place))
            known[name].append(value)
            drawn[f"{name}__{k}"] = [value]
    start = _series(numbers, {**_constant(numbers, point), **drawn}, 1)
    coefficients = run(emitted, start, series_algebra(numbers, 1))
    precision = EVENT_POWERS + 1
    series = _series(numbers, known, precision)
    for name, function in functions.items():
        ((_, end),) = function.results
        exact = run(function, series, series_algebra(numbers, precision))[end.name]
        for k in range(precision):
            value, own = coefficients[f"{name}__{k}"][0], exact[k]
            size = max(numbers.magnitude(exact[j]) for j in range(precision))
            if numbers.magnitude(value - own) > _room(numbers) * size:
                raise AssertionError(f"{name}__{k} is no Taylor coefficient of the event")


def _points(
    components: Sequence[str], starts: Sequence[Fraction | None], start_time: Fraction
) -> Iterator[dict[str, Fraction]]:
    """Rational points beside the declared start, where nothing is special."""
    for away in (Fraction(1, 97), Fraction(1), Fraction(1, 7)):
        point = {TIME: start_time + away}
        for k, (name, start) in enumerate(zip(components, starts, strict=True), 1):
            point[name] = (start or Fraction(0)) + away * Fraction(k, k + 1)
        yield point


def _compared(
    coefficients: Function,
    rates: Function,
    components: Sequence[str],
    point: Mapping[str, Fraction],
) -> tuple[Field, bool]:
    """Emitted coefficients beside those of the solution.

    Returns:
        The numbers that they were computed in, and whether the solution has a next coefficient.

    Raises:
        AssertionError: they differ.
        Irrational: the equations have no value at the point.
    """
    try:
        return RATIONALS, _compared_in(RATIONALS, coefficients, rates, components, point)
    except Irrational:
        return DIGITS, _compared_in(DIGITS, coefficients, rates, components, point)


def _compared_in(
    numbers: Field,
    coefficients: Function,
    rates: Function,
    components: Sequence[str],
    point: Mapping[str, Fraction],
) -> bool:
    order = len(coefficients.results) // len(components)
    start = _series(numbers, _constant(numbers, point), 1)
    emitted = run(coefficients, start, series_algebra(numbers, 1))
    known = _in_time(numbers, point)
    for name in components:
        known[name] += [emitted[f"{name}__{k}"][0] for k in range(1, order + 1)]
    precision = order + 1
    series = _series(numbers, known, precision)
    slopes = run(rates, series, series_algebra(numbers, precision))
    for k in range(1, order + 1):
        for name, (_, end) in zip(components, rates.results, strict=True):
            slope = slopes[end.name][k - 1]
            value = numbers.convert(Fraction(k)) * series[name][k]
            size = numbers.magnitude(slope) + numbers.magnitude(known[name][0])
            if numbers.magnitude(value - slope) > _room(numbers) * size:
                raise AssertionError(f"{name}__{k} is no Taylor coefficient of the solution")
    return any(not numbers.is_zero(slopes[end.name][order]) for _, end in rates.results)


def _constant(numbers: Field, point: Mapping[str, Fraction]) -> dict[str, list[Any]]:
    """The first coefficients of series that begin at a point."""
    return {name: [numbers.convert(x)] for name, x in point.items()}


def _in_time(numbers: Field, point: Mapping[str, Fraction]) -> dict[str, list[Any]]:
    """The same, of which the time grows as it does."""
    return {**_constant(numbers, point), TIME: [*map(numbers.convert, (point[TIME], Fraction(1)))]}


def _series(
    numbers: Field, coefficients: Mapping[str, list[Any]], precision: int
) -> dict[str, Series]:
    """Series with these first coefficients."""
    return {name: Series(numbers, 0, values, precision) for name, values in coefficients.items()}


def _room(numbers: Field) -> float:
    """What two equal numbers may differ by, relative to the sizes of what they are made of."""
    return 0.0 if numbers is RATIONALS else ALIKE


def _smooth() -> list[Elementwise]:
    """The functions that have Taylor series and that declarations may call."""
    return [row for row in TABLE if row.declarable and not row.kink and not row.definition]


def _drawn_rates() -> Function:
    """Rates in which every function with a Taylor series occurs, products, quotients and powers."""
    names = tuple(_DRAWN)
    symbols = {name: sp.Symbol(name, real=True) for name in (*names, TIME)}
    terms: dict[str, list[str]] = {name: [] for name in names}
    for k, row in enumerate(_smooth()):
        shift = "3/2" if row.name == "acosh" else "1/4"
        inner = f"{shift} + {names[k % 3]}/5"
        terms[names[(k + 1) % 3]].append(f"{row.name}({inner})*{names[(k + 2) % 3]}/{k + 3}")
    terms["x"] += ["x**2*y/3", "y/(2 + x*z)", "t*x"]
    terms["y"] += ["(1 + x**2 + y**2)**(-3/2)*z", "-y**3", "(2 + z)**x/7"]
    terms["z"] += ["1/(3 + t)", "(1 + z)**(2/3)*x", "-2*z", "5"]
    rates = {
        f"d__{name}": to_sympy(parse(" + ".join(own), FUNCTIONS), symbols)
        for name, own in terms.items()
    }
    return straight("rates", (TIME, *names), rates)
