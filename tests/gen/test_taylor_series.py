"""Taylor coefficients: every function against mpmath to order 30, and faults that are seen."""

import dataclasses
import math
import random
import tomllib
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest
import sympy as sp

from hamilforge.gen import families, pipeline, products
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.functions import TABLE
from hamilforge.gen.declare.parser import parse
from hamilforge.gen.declare.read_taylor import order_of
from hamilforge.gen.derive.calculus import FUNCTIONS, declared_derivative, to_sympy
from hamilforge.gen.derive.integrators.field import derive_field
from hamilforge.gen.emit.numba.integrators import series_loops
from hamilforge.gen.program.algebra import evaluate
from hamilforge.gen.program.integrators.build import build_integrator
from hamilforge.gen.program.integrators.build_events import build_events
from hamilforge.gen.program.integrators.build_taylor import _folded, build_series, rates_of
from hamilforge.gen.program.integrators.series import (
    FIRST,
    Elementary,
    Power,
    Product,
    Quotient,
    SeriesLine,
)
from hamilforge.gen.program.integrators.series_groups import Copies, Group, Groups, grouped
from hamilforge.gen.program.interpret import run
from hamilforge.gen.program.ir import Apply, Const, Expr, Ref, with_parts
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.reference import FLOAT64
from hamilforge.gen.program.straight import straight
from hamilforge.gen.prove.integrators.taylor import (
    DIGITS,
    _compared,
    prove_coefficients,
    prove_events,
)
from hamilforge.gen.prove.series import Series, series_algebra
from hamilforge.runtime.integrators import series_kernels
from tests.interpreted import as_python
from tests.samples import sampled

ORDER = 30
SMOOTH = [row for row in TABLE if row.declarable and not row.kink and not row.definition]
KINKS = [row for row in TABLE if row.declarable and row.kink]
X0 = {"acosh": Fraction(7, 4)}


def _numbers(function, start):
    """What a function computes in 60 digits."""
    known = {name: Series(DIGITS, 0, [DIGITS.convert(x)], 1) for name, x in start.items()}
    return run(function, known, series_algebra(DIGITS, 1))


def _rates(**values):
    names = tuple(values)
    symbols = {name: sp.Symbol(name, real=True) for name in (*names, "t")}
    rates = {f"d__{n}": to_sympy(parse(text, FUNCTIONS), symbols) for n, text in values.items()}
    return straight("rates", ("t", *names), rates), names


def _precise(name):
    special = {
        "logistic": lambda z: 1 / (1 + mpmath.exp(-z)),
        "softplus": lambda z: mpmath.log(1 + mpmath.exp(z)),
    }
    return special.get(name) or getattr(mpmath, name)


@pytest.mark.parametrize("row", sampled(SMOOTH, every=2, first=1), ids=lambda row: row.name)
def test_every_function_to_order_30_against_mpmath(row):
    rates, names = _rates(x="x*2/3", z=f"{row.name}(x)")
    series = build_series(rates, names, "here").unrolled(ORDER)
    x0 = X0.get(row.name, Fraction(2, 7))
    values = _numbers(series, {"t": Fraction(0), "x": x0, "z": Fraction(1)})
    with mpmath.workdps(120):
        start = mpmath.mpf(x0.numerator) / x0.denominator
        own = _precise(row.name)
        expected = mpmath.taylor(lambda s: own(start * mpmath.exp(2 * s / 3)), 0, ORDER - 1)
        for k, value in enumerate(expected, start=1):
            computed = mpmath.mpf(str(values[f"z__{k}"][0]))
            assert abs(computed - value / k) < mpmath.mpf("1e-35") * (1 + abs(value)), k


@pytest.mark.parametrize("row", [row for row in TABLE if row.rate], ids=lambda row: row.name)
def test_rates_in_the_value_are_the_derivatives(row):
    x, y = sp.symbols("x y", real=True)
    by_value = lower(to_sympy(parse(row.rate, FUNCTIONS), {"x": x, "y": y}))
    for at in (0.3, 1.7, -0.4):
        if at < 0 and row.name in ("sqrt", "log"):
            continue
        value = evaluate(Apply(row.name, (Ref("x"),)), {"x": at}, FLOAT64)
        slope = evaluate(by_value, {"x": at, "y": value}, FLOAT64)
        derivative = evaluate(lower(declared_derivative(row.name, x)), {"x": at}, FLOAT64)
        assert slope == pytest.approx(derivative, rel=1e-13)


@pytest.mark.parametrize("row", KINKS, ids=lambda row: row.name)
def test_a_kink_is_refused_by_name(row):
    arguments = ", ".join(("x", "1", "2")[: len(row.derivatives)])
    rates, names = _rates(x=f"{row.name}({arguments})")
    with pytest.raises(DeclarationError, match="has a kink"):
        build_series(rates, names, "here")


def test_powers_where_the_base_is_zero():
    rates, names = _rates(x="1 + x**8 - 3*x**3", y="x**2*y")
    values = _numbers(build_series(rates, names, "").unrolled(12), {"t": 0, "x": 0, "y": 1})
    # x = t - 3/4 t^4 + ..., y' = x^2 y
    assert float(values["x__4"][0]) == pytest.approx(-0.75)
    assert float(values["y__3"][0]) == pytest.approx(1 / 3)


@pytest.mark.parametrize("text", ["(2 + x)**y", "x**y*t**3", "2**x + y**2", "(x*y)**(-5/2)"])
def test_powers_of_all_kinds(text):
    rates, names = _rates(x="y*t", y=text)
    series = build_series(rates, names, "").unrolled(9)
    point = {"t": Fraction(1, 3), "x": Fraction(3, 4), "y": Fraction(5, 4)}
    assert _compared(series, rates, names, point)[1]


def _mutants(expr: Expr):
    """An expression with one index or one number changed."""
    for part in {Ref(name) for name in _refs(expr)}:
        base, _, power = part.name.partition("__")
        if power.isdigit():
            other = f"{base}__{int(power) - 1}" if int(power) > 1 else base
            yield with_parts(expr, {part.name: Ref(other)})
    yield from _changed_numbers(expr)


def _refs(expr: Expr):
    match expr:
        case Ref(name=name):
            yield name
        case Apply(args=args):
            for arg in args:
                yield from _refs(arg)


def _changed_numbers(expr: Expr):
    if not isinstance(expr, Apply):
        return
    for place, arg in enumerate(expr.args):
        others = [Const(Fraction(1))] if isinstance(arg, Const) and arg.value != 1 else []
        for other in (*others, *_changed_numbers(arg)):
            yield Apply(expr.op, (*expr.args[:place], other, *expr.args[place + 1 :]))


@pytest.mark.parametrize("name", ["henon_heiles", "kepler", "damped_pendulum", "lotka_volterra"])
def test_every_wrong_index_and_missing_factor_is_seen(name):
    """An index one less, a factor 1/k or j left out: in each line of the emitted function."""
    field = derive_field(products.load_problem(name))
    rates, names = rates_of(field), tuple(map(str, field.components))
    series = build_series(rates, names, "").unrolled(5)
    point = {"t": Fraction(1, 3), **{n: Fraction(k + 2, k + 5) for k, n in enumerate(names)}}
    point |= {entry.name: entry.default for entry in field.problem.parameters}
    assert _compared(series, rates, names, point)[1]
    known = {array.name for array in series.inputs}
    count = 0
    for place, line in enumerate(series.lines):
        for value in _mutants(line.expr):
            if not {*_refs(value)} <= known | {earlier.name for earlier in series.lines[:place]}:
                continue
            lines = list(series.lines)
            lines[place] = dataclasses.replace(line, value=value)
            wrong = dataclasses.replace(series, lines=tuple(lines))
            with pytest.raises(AssertionError):
                _compared(wrong, rates, names, point)
            count += 1
    assert count > 20


def test_orders_are_those_of_the_tolerance():
    assert [order_of(tolerance) for tolerance in (1e-6, 1e-9, 1e-12, 1e-16)] == [12, 16, 20, 24]


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9, 1e-12, 1e-16])
def test_the_order_is_the_one_of_least_work_per_time(tolerance):
    s = 5 - math.log(tolerance)
    work = {p: 2 * math.log(p + 4) + s / p for p in range(2, 61)}
    assert work[order_of(tolerance)] <= min(work.values()) + 1e-3


@pytest.mark.parametrize("path", catalogue.paths("taylor"), ids=lambda path: path.stem)
def test_the_catalogue_is_proved(path):
    assert pipeline.check(catalogue.load(path)).holds


PROBLEMS = [path for kind in families.serving(families.PROBLEM) for path in catalogue.paths(kind)]


def refused(path):
    """Why a problem has no Taylor method; nothing if it has one."""
    text = path.read_text(encoding="utf-8")
    declaration = tomllib.loads(text)
    if "constraints" in declaration:
        return r"has \[constraints\]"
    if "sites" in declaration:
        return "is a lattice"
    with_all = "coordinates" in declaration or ("equations" in declaration and "grad(" not in text)
    return "" if with_all else "leaves J to the user"


@pytest.mark.parametrize("path", PROBLEMS, ids=lambda path: path.stem)
def test_coefficients_of_every_problem_of_the_catalogue(path):
    def made():
        problem, method, *_ = products.load_made(path, "taylor", order=5)
        field = derive_field(problem)
        return build_integrator(field, method), field

    if reason := refused(path):
        with pytest.raises(DeclarationError, match=reason):
            made()
    else:
        assert prove_coefficients(*made(), 5)["order"] == 5


# --- groups of like operations, as loops take them ---------------------------------------------


def _shifted(groups):
    """The same statements, with one operand, one source or one result a column off, in turns."""
    for place, statement in enumerate(groups.statements):
        changed = []
        if isinstance(statement, Copies):
            changed.append(dataclasses.replace(statement, target=statement.target + 1))
            sources = (statement.sources[0] + 1, *statement.sources[1:])
            changed.append(dataclasses.replace(statement, sources=sources))
        elif isinstance(statement, Group):
            changed.append(dataclasses.replace(statement, result=statement.result + 1))
            # the fill of a group in the columns of another; a group that reads what it writes
            others = [g.result for g in groups.statements if isinstance(g, Group) if g != statement]
            changed += [dataclasses.replace(statement, result=first - 7) for first in others]
            itself = (statement.result - 1, *statement.operands[1:])
            changed.append(dataclasses.replace(statement, operands=itself))
            for k, first in enumerate(statement.operands):
                if first is not None:
                    operands = (*statement.operands[:k], first + 1, *statement.operands[k + 1 :])
                    changed.append(dataclasses.replace(statement, operands=operands))
        for wrong in changed:
            others = (*groups.statements[:place], wrong, *groups.statements[place + 1 :])
            yield dataclasses.replace(groups, statements=others)


@pytest.mark.parametrize("name", ["kepler", "double_pendulum", "lotka_volterra"])
def test_groups_that_are_a_column_off_are_seen(name):
    field = derive_field(products.load_problem(name))
    rates, names = rates_of(field), tuple(map(str, field.components))
    series = build_series(rates, names, "")
    groups = grouped(series)
    point = {"t": Fraction(1, 3), **{n: Fraction(k + 2, k + 5) for k, n in enumerate(names)}}
    point |= {entry.name: entry.default for entry in field.problem.parameters}
    assert _compared(groups.ungrouped(series).unrolled(5), rates, names, point)[1]
    count = 0
    for wrong in _shifted(groups):
        with pytest.raises((AssertionError, KeyError)):
            _compared(wrong.ungrouped(series).unrolled(5), rates, names, point)
        count += 1
    assert count >= 3


def test_series_of_events_are_proved_and_wrong_ones_are_seen(monkeypatch):
    field = derive_field(products.load_problem("kepler"))
    finding = prove_events(field)
    assert finding.value == "periapsis, apoapsis, axis"
    assert "exact" in finding.reach
    of, count = Groups.ungrouped, 0
    _, series = build_events(field)
    for wrong in _shifted(grouped(series)):
        monkeypatch.setattr(Groups, "ungrouped", lambda _, program, wrong=wrong: of(wrong, program))
        with pytest.raises((AssertionError, KeyError)):
            prove_events(field)
        count += 1
    assert count >= 3


THIRDS = Const(Fraction(2, 3))
LANES = [
    ("product", (0, 16), Product("a", "b")),
    ("square", (0,), Product("a", "a")),
    ("quotient", (0, 16), Quotient("a", "b")),
    ("quotient", (-1, 16), Quotient(None, "b")),
    ("power", (Fraction(-3, 2), 0), Power("a", Const(Fraction(-3, 2)), Ref(FIRST))),
    ("elementary", (THIRDS.value, 0, 16, 32), Elementary("f", "a", THIRDS, "b", "c")),
    ("elementary", (THIRDS.value, 0, -1, 32), Elementary("f", "a", THIRDS, None, "c")),
    ("elementary", (THIRDS.value, 0, 16, -1), Elementary("f", "a", THIRDS, "b", None)),
]


class _Numbers(dict):
    """Coefficients as numbers of expressions."""

    def __call__(self, name, k):
        return Const(self[name, k])

    def inverse(self, name):
        return Const(1 / self[name, 0])


@pytest.mark.parametrize(("kernel", "given", "operation"), LANES)
def test_loops_over_groups_are_the_recurrences(kernel, given, operation):
    """What kernels of large systems do with a group, run as Python in 60 digits."""
    kernels = as_python(Path(series_kernels.__file__).read_text(), "exact_kernels")
    powers, width, draw = 7, 16, random.Random(0)  # two blocks of eight
    result = 3 * width
    exact = [[Fraction(draw.randint(1, 9), 7) for _ in range(4 * width)] for _ in range(powers)]
    with mpmath.workdps(60):
        rows = np.array([[mpmath.mpf(x.numerator) / x.denominator for x in row] for row in exact])
        given = [mpmath.mpf(x.numerator) / x.denominator if x.denominator > 1 else x for x in given]
        for k in range(0 if kernel in ("product", "square", "quotient") else 1, powers):
            rows[k, result : result + width] = mpmath.nan  # is not read
            getattr(kernels, kernel)(rows, k, *given, result, width)
            for lane in range(width):
                of = _Numbers(
                    ((name, j), exact[j][first + lane])
                    for name, first in zip("abcy", (0, width, 2 * width, result), strict=True)
                    for j in range(powers)
                )
                value = _folded(SeriesLine("y", operation).coefficient(k, of)).value
                exact[k][result + lane] = value
                own = rows[k, result + lane]
                assert abs(own - mpmath.mpf(value.numerator) / value.denominator) < 1e-45


@pytest.mark.parametrize("terms", [600, 0])
def test_kernels_of_events_are_in_the_time_of_a_step(terms, tmp_path, monkeypatch):
    """Coefficients by the step: time goes on by h, and a state by what its polynomial says."""
    path = tmp_path / "swing.toml"
    event = "sin(a)*exp(-m) + t**2/(1 + m**2) - sqrt(2 + cos(t))*a + tanh(t*m)"
    path.write_text(
        'kind = "hamiltonian"\nname = "swing"\ntitle = "A pendulum"\nreference = "none"\n'
        'coordinates = { q = ["a"], p = ["m"] }\nenergy = "m**2/2 - cos(a)"\n'
        f'start = {{ a = 2, m = 0 }}\n[events]\nmany = "{event}"\nlate = "t - 5/2"\n'
    )
    monkeypatch.setattr(series_loops, "MOST_TERMS", terms)
    monkeypatch.setattr(series_loops, "FEW", 1)
    made = products.load_made(path, "taylor", order=8)
    assert ("EVENT_PLACES[" in pipeline.rendered(made)["swing__taylor_numba.py"]) == (terms == 0)
    module = as_python(pipeline.rendered(made)["swing__taylor_numba.py"], "swing")
    field, (t, h) = derive_field(made[0]), (Fraction(3, 4), Fraction(5, 16))
    powers = module.POWERS
    states = {"a": [Fraction(k + 2, 7 * k + 5) for k in range(powers + 1)]}
    states["m"] = [Fraction((-1) ** k, k + 3) for k in range(powers + 1)]
    rows = np.zeros(module.SERIES)
    for place, values in enumerate(states.values()):
        rows[: powers + 1, place] = list(map(float, values))
    module.event_series(float(t), float(h), np.empty(0), rows[: powers + 1])
    known = {**states, "t": [t, h]}
    series = {
        name: Series(DIGITS, 0, list(map(DIGITS.convert, values)), powers + 1)
        for name, values in known.items()
    }
    for place, event in enumerate(build_events(field)[0]):
        ((_, end),) = event.value.results
        exact = run(event.value, series, series_algebra(DIGITS, powers + 1))[end.name]
        column = rows[: powers + 1, module.EVENT_COLUMN + place]
        np.testing.assert_allclose(
            column, [float(exact[k]) for k in range(powers + 1)], rtol=1e-11, atol=1e-12
        )
