"""Taylor coefficients: every function against mpmath to order 30, and faults that are seen."""

import dataclasses
from fractions import Fraction

import mpmath
import pytest
import sympy as sp

from hamilforge.gen import families, pipeline, products
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.expression import parse
from hamilforge.gen.declare.functions import TABLE
from hamilforge.gen.declare.read_taylor import order_of
from hamilforge.gen.derive.calculus import FUNCTIONS, declared_derivative, to_sympy
from hamilforge.gen.derive.integrators.field import derive_field
from hamilforge.gen.program.integrators.build import build_integrator
from hamilforge.gen.program.integrators.build_taylor import build_series, rates_of
from hamilforge.gen.program.interpret import FLOAT64, evaluate, run
from hamilforge.gen.program.ir import Apply, Const, Expr, Ref, with_parts
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.straight import straight
from hamilforge.gen.prove.integrators.taylor import DIGITS, _compared, prove_coefficients
from hamilforge.gen.prove.series import Series, series_algebra

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


@pytest.mark.parametrize("row", SMOOTH, ids=lambda row: row.name)
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


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_rates_in_the_value_are_the_derivatives(row):
    if not row.rate:
        pytest.skip("the derivative itself")
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
    assert [order_of(tolerance) for tolerance in (1e-6, 1e-9, 1e-12, 1e-16)] == [8, 12, 15, 20]


@pytest.mark.parametrize("path", catalogue.paths("taylor"), ids=lambda path: path.stem)
def test_the_catalogue_is_proved(path):
    assert pipeline.check(catalogue.load(path)).holds


PROBLEMS = [path for kind in families.serving(families.PROBLEM) for path in catalogue.paths(kind)]


@pytest.mark.parametrize("path", PROBLEMS, ids=lambda path: path.stem)
def test_coefficients_of_every_problem_of_the_catalogue(path):
    try:
        made = products.load_made(path, "taylor", order=5)
        field = derive_field(made[0])
        integrator = build_integrator(field, made[1])
    except DeclarationError as error:
        pytest.skip(str(error).splitlines()[0])
    assert prove_coefficients(integrator, field, 5)["order"] == 5
