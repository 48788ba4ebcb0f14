"""The expression language: what it reads, exactly, and what it refuses at once."""

from __future__ import annotations

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamilforge.gen.declare.errors import ExpressionError
from hamilforge.gen.declare.expression import Number, constant
from hamilforge.gen.declare.parser import parse
from hamilforge.gen.declare.shapes import SCALAR, VECTOR, infer_shape


@given(st.fractions(max_denominator=10**6))
def test_rational_constants_are_read_exactly(value):
    assert constant(parse(f"({value.numerator})/{value.denominator}").tree) == value


@given(st.integers(-(10**9), 10**9), st.integers(0, 12))
def test_decimals_are_exact_rationals(digits, places):
    text = f"{digits}e-{places}"
    assert constant(parse(text).tree) == Fraction(digits, 10**places)


@st.composite
def arithmetic(draw, depth=4):
    if depth == 0 or draw(st.booleans()):
        return str(draw(st.integers(0, 99)))
    left, right = draw(arithmetic(depth=depth - 1)), draw(arithmetic(depth=depth - 1))
    operator = draw(st.sampled_from(["+", "-", "*"]))
    return draw(st.sampled_from([f"({left}{operator}{right})", f"-({left} {operator} {right})"]))


@given(arithmetic())
def test_arithmetic_means_what_it_means_in_python(text):
    assert constant(parse(text).tree) == eval(text)


def test_precedence_is_pythons():
    for text in ("-2**2", "2**-1", "1 - 2 - 3", "8/4/2", "-3*2 + 1", "2*3**2"):
        assert constant(parse(text).tree) == Fraction(eval(text)).limit_denominator(10**9)


def test_flat_sums_of_thousands_of_terms_are_read():
    tree = parse("+".join(["0.001"] * 5000)).tree
    assert constant(tree) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9**9**9", "tower"),
        ("(9**9)**9", "tower"),
        ("2**1000", "beyond the exponent 64"),
        ("n**0.01", "the exponent is 1/100, and denominators are at most 64"),
        ("(a + b + c + d)**40", "too many terms"),
        ("-" * 5000 + "1", "nested more than"),
        ("(" * 5000 + "1" + ")" * 5000, "nested more than"),
        ("1e400", "exponent beyond"),
        ("1" * 400, "digits"),
        ("x" * 300_000, "characters"),
        ("__import__('os')", "not a function"),
        ("p.real", "does not belong"),
        ("p[0]", "does not belong"),
        ("lambda: 1", "not expected|does not belong"),
        ("exp(1", r"'\)' was expected"),
        ("tanhh(p)", "did you mean 'tanh'"),
        ("sigmoid(p)", "did you mean 'logistic'"),
        ("dot(p)", "takes 2 arguments"),
        ("", "a number, a name"),
        ("1 2", "not expected"),
        ("inf + nan(1)", "not a function"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_place(text, message):
    with pytest.raises(ExpressionError, match=message) as caught:
        parse(text)
    assert 0 <= caught.value.start < caught.value.stop


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(ExpressionError):
        assert parse(text).text == text


def test_types_are_checked():
    types = {"p": VECTOR, "m": SCALAR}
    assert infer_shape(parse("dot(p, p)/m"), types, ("dot",)) == SCALAR
    assert infer_shape(parse("p*m + 1"), types, ()) == VECTOR
    with pytest.raises(ExpressionError, match="takes vectors"):
        infer_shape(parse("norm(m)"), types, ("norm",))
    with pytest.raises(ExpressionError, match=r"unknown name 'mm'.*did you mean 'm'"):
        infer_shape(parse("mm*p"), types, ())
    with pytest.raises(ExpressionError, match="no meaning here"):
        infer_shape(parse("grad(p)"), types, ("dot",))


def test_beta_gamma_S_N_E_I_are_ordinary_names():
    for name in ("beta", "gamma", "S", "N", "E", "I"):
        assert parse(name).names() == {name}
    assert isinstance(parse("1").tree, Number)
