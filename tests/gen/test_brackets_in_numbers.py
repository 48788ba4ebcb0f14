"""Brackets in floating point are SymPy's; what is no field of brackets is refused."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

import hamilforge as hf
from hamilforge.gen.declare.errors import DeclarationError, NotDerivableError
from hamilforge.gen.fields import jets

POINTS = np.array([[0.3, -0.7], [1.1, 0.4], [-0.2, 0.9]])
FUNCTIONS = {
    "tanh": sp.tanh,
    "sin": sp.sin,
    "exp": sp.exp,
    "logistic": lambda r: 1 / (1 + sp.exp(-r)),
    "softplus": lambda r: sp.log(1 + sp.exp(r)),
    "atan": sp.atan,
    "sqrt": lambda r: sp.sqrt(r),
}


def fields(name, order):
    """g(y1 + y2/2 + 2), y1; and y2, g(y1*y2/4 + 2), as jets and in symbols."""
    a, b = jets.variables(POINTS, order)
    x, y = sp.symbols("x y")
    g = FUNCTIONS[name]
    one = [jets.function(name, a + b * 0.5 + 2), a]
    other = [b, jets.function(name, a * b * 0.25 + 2)]
    symbolic = [[g(x + y / 2 + 2), x], [y, g(x * y / 4 + 2)]]
    return (one, other), symbolic, (x, y)


def commutator(v, w, x):
    return [
        sum(sp.diff(b, s) * c for s, c in zip(x, v, strict=True))
        - sum(sp.diff(a, s) * c for s, c in zip(x, w, strict=True))
        for a, b in zip(v, w, strict=True)
    ]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_brackets_of_jets_are_those_of_sympy(name):
    (v, w), (v_symbols, w_symbols), x = fields(name, 2)
    found = jets.values(jets.bracket(w, jets.bracket(v, w)))
    expected = commutator(w_symbols, commutator(v_symbols, w_symbols, x), x)
    value = sp.lambdify(x, expected, "numpy")
    wanted = np.array([value(*point) for point in POINTS]).ravel()
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)
    assert np.abs(wanted).max() > 1e-3


HEAD = """
kind = "field"
name = "own"
title = "own"
reference = "own"
state = { y = ["d"] }
"""


def declared(tmp_path, text):
    path = tmp_path / "own.toml"
    path.write_text(HEAD + text)
    return path


@pytest.mark.parametrize(
    "f", ["u[1]*sin(y) + u[2]*cos(y) + u[1]*u[2]*exp(y)", "tanh(u[1]*y) + u[2]*y"]
)
def test_products_of_controls_are_refused_where_no_polynomial_shows_them(tmp_path, f):
    path = declared(tmp_path, f'controls = {{ u = ["2"] }}\nf = "{f}"\n')
    with pytest.raises(DeclarationError, match="not linear in its controls"):
        hf.controllability(path, 2, sizes={"d": 2})


@pytest.mark.parametrize("f", ["u[1]*t*y + u[2]*y", "u[1]*sin(t)*y + u[2]*sin(y)"])
def test_fields_that_depend_on_time_are_refused(tmp_path, f):
    path = declared(tmp_path, f'controls = {{ u = ["2"] }}\nf = "{f}"\n')
    with pytest.raises(DeclarationError, match="time"):
        hf.controllability(path, 2, sizes={"d": 2})


@pytest.mark.parametrize("f", ["a*pi*y + b*y**2", "a*sqrt(2)*y + b*y**2"])
def test_irrational_coefficients_have_no_exact_path(tmp_path, f):
    path = declared(tmp_path, f'controls = {{ a = [], b = [] }}\nf = "{f}"\n')
    report = hf.controllability(path, [[0.5], [1.5]])
    assert report["interpolates"] is None
    assert any("irrational" in note for note in report.notes)


def test_a_point_where_every_field_vanishes_stays(tmp_path):
    path = declared(tmp_path, 'controls = { a = [], b = [] }\nf = "a*y**2 + b*y**3"\n')
    report = hf.controllability(path, [[0.5], [0], [1.5]])
    assert report["interpolates"] is False
    assert "point 2" in report.finding("interpolates").evidence
    report = hf.controllability(path, [[0.5], [1.5]])
    assert report["interpolates"] is True


@pytest.mark.parametrize("name", ["relu", "abs", "elu", "leaky_relu"])
def test_kinks_have_no_brackets(tmp_path, name):
    text = f'controls = {{ a = [], b = [] }}\nf = "a*{name}(y) + b*sin(y)"\n'
    path = declared(tmp_path, text)
    with pytest.raises(NotDerivableError, match="kink"):
        hf.controllability(path, [[0.0, 1.0]])
    assert hf.controllability(path, [[0.5, 1.0]])["interpolates"] is None


def test_values_that_are_not_finite_are_told(tmp_path):
    path = declared(tmp_path, 'controls = { a = [], b = [] }\nf = "a*log(y) + b*sin(y)"\n')
    with pytest.raises(DeclarationError, match="no finite derivatives"):
        hf.controllability(path, [[-1.0, 1.0]])


def test_a_report_says_what_its_certificate_needs():
    """The seed of what is drawn, the prime, the bound of degrees, the words."""
    report = hf.controllability("universal5", [[0.5, 1], [0.25, -1]], draw=3)
    assert "Fixed arrays are drawn from seed 3." in report.notes
    assert sorted(report["certificate"]) == ["degree", "prime", "rank", "words"]
