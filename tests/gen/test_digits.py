"""Exact texts are the numbers beside them, and published digits count for what they are."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp

from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.exact import numbers
from hamilforge.gen.exact.numbers import NumberField, written
from hamilforge.gen.tableau import dense
from hamilforge.gen.tableau.build import build


@pytest.fixture
def checked(tmp_path):
    def check(text, kind="runge-kutta"):
        path = tmp_path / "mine.toml"
        head = f'kind = "{kind}"\nname = "mine"\ntitle = "-"\nreference = "-"\n'
        path.write_text(f"{head}{text}\n")
        return pipeline.check(catalogue.load(path))

    return check


def test_numbers_in_a_field_of_two_radicals_are_written_as_they_are(checked):
    report = checked(
        'A = [["sqrt(2)/3"], ["1/4*sqrt(3)", "sqrt(2) + 2*sqrt(3)"]]\nb = ["1/2", "1/2"]'
    )
    findings = [each for each in report.findings if getattr(each, "exact", "")]
    exact = [(finding.value, finding.exact) for finding in findings]
    assert exact
    for value, text in exact:
        text = re.sub(r"^root of .*", "", text)
        if text:
            assert np.isclose(float(sp.sympify(text, rational=True)), float(value), rtol=1e-9), text


@pytest.mark.parametrize("name", ["theta", "sqrt(2) + sqrt(3)", "2**(1/3)", "CRootOf(x**3 - 2, 0)"])
def test_generators_of_any_name_are_grouped(name):
    theta = {"sqrt(2) + sqrt(3)": ((1, 0, -10, 0, 1), "3.14", "3.15")}.get(
        name, ((-2, 0, 0, 1), "1.25", "1.26")
    )
    field = NumberField(
        tuple(map(Fraction, theta[0])), Fraction(theta[1]), Fraction(theta[2]), name
    )
    text = written(field.element([1, Fraction(9, 2), -2]))
    assert text.count(name) == 2
    if " + " in name or "**(" in name:
        assert f"9*({name})/2" in text


def test_a_text_that_is_not_its_number_is_never_printed(monkeypatch):
    field = NumberField(
        tuple(map(Fraction, (1, 0, -10, 0, 1))), Fraction("3.14"), Fraction("3.15"),
        "sqrt(2) + sqrt(3)",
    )  # fmt: skip
    monkeypatch.setattr(numbers, "_grouped", lambda name: name)
    with pytest.raises(AssertionError, match="is not"):
        written(field.element([0, 2]))


def test_the_slack_of_a_radius_follows_from_the_digits(checked):
    """SSPRK(3, 3) in six digits: the radius 1 to a few units of the last."""
    text = 'A = [[], ["{0}"], ["0.250000", "0.250000"]]\nb = ["0.166667", "0.166667", "0.666666"]'
    decimal = checked('coefficients = "decimal"\n' + text.format("1.000000"))
    assert abs(float(decimal["ssp_radius"]) - 1) < 1e-4


def test_a_perturbed_table_has_the_radius_of_its_digits(checked):
    table = 'A = [[], ["0.50000000"]]\nb = ["0.00000000", "1.00000000"]'
    exact = checked(table.replace("0.50000000", "1/2").replace("0.00000000", "0"))
    decimal = checked('coefficients = "decimal"\n' + table)
    assert abs(float(decimal["ssp_radius"]) - float(exact["ssp_radius"])) < 1e-5


def test_nodes_that_are_not_row_sums_count_in_the_principal_error(checked):
    """The explicit trapezoidal rule with c_2 = 1/2: of order 1 where f depends on t."""
    report = checked('A = [[], [1]]\nb = ["1/2", "1/2"]\nc = [0, "1/2"]\nrow_sums = false')
    assert report["order"] == 1
    # sum b_i c_i - 1/2 for the time leaf; the autonomous tree holds
    assert report["principal_error_norm"] == 0.25
    sums = checked('A = [[], [1]]\nb = ["1/2", "1/2"]')
    assert report["principal_error_norm"] > sums["error_constant"]


@pytest.mark.parametrize("method", ["dormand_prince54", "bogacki_shampine54", "kvaerno43"])
def test_continuous_weights_satisfy_their_conditions_and_join_the_ends(method):
    tableau = build(catalogue.load(method))
    curve = dense.continuous_weights(tableau)
    a, b, _ = tableau.by_stages.floats
    assert np.allclose(curve.coefficients.sum(1), [*b, 0.0], atol=1e-15)
    c = np.array([*a.sum(1), 1.0])
    for power in range(curve.order):
        moments = c**power @ curve.coefficients
        wanted = np.zeros(curve.coefficients.shape[1])
        wanted[power] = 1 / (power + 1)
        assert np.allclose(moments, wanted, atol=1e-14)


def test_continuous_weights_do_not_depend_on_how_floats_round(monkeypatch):
    tableau = build(catalogue.load("dormand_prince54"))
    exact = dense.continuous_weights(tableau).coefficients
    inverse = np.linalg.pinv
    generator = np.random.default_rng(0)

    def rough(matrix, rcond):
        found = inverse(matrix, rcond=rcond)
        return found * (1 + 1e-12 * generator.standard_normal(found.shape))

    monkeypatch.setattr(np.linalg, "pinv", rough)
    assert (dense.continuous_weights(tableau).coefficients == exact).all()
    assert (exact[1] == 0).all()


@pytest.mark.parametrize(
    ("method", "order"), [("dormand_prince54", 4), ("dormand_prince87", 8), ("rk4", None)]
)
def test_the_order_of_dense_output_is_reported(method, order):
    assert pipeline.check(catalogue.load(method))["dense_order"] == order


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("system", 'equations = { x = "pi*y", y = "-sin(pi*x)*exp(1)" }\n'
                   '[start]\nx = "pi/2"\ny = 0'),
        ("hamiltonian", 'coordinates = { q = ["x"], p = ["p"] }\n'
                        'energy = "p**2/2 + (1 + x**2)**(sqrt(2)/2) - cos(2*pi*x)/pi**2"'),
        ("system", 'equations = { x = "pi*x" }\n[parameters]\npi = 3'),
        ("splitting", 'steps = [["A", "w"], ["B", 1], ["A", "1 - w"]]\n[constants]\nw = "1/pi"'),
        ("runge-kutta", 'A = [[], ["cos(pi/3)"]]\nb = [0, 1]'),
        ("field", 'state = { y = ["d"] }\nf = "sin(pi*y)*exp(1)"'),
    ],
)  # fmt: skip
def test_pi_is_a_number_everywhere(checked, kind, text):
    assert checked(text, kind).holds


@pytest.mark.parametrize("number", ["2**sqrt(2)", "4**g", "sqrt(pi)"])
def test_powers_that_are_no_roots_in_a_table_are_taken_in_digits(checked, number):
    root = '[constants]\ng = { root = "x**2 - 3", near = "1.7" }\n'
    table = f'A = [[], ["{number}"]]\nb = ["1/2", "1/2"]\n{root}'
    with pytest.raises(DeclarationError, match=r"is no algebraic number.*decimal"):
        checked(table)
    assert checked('coefficients = "decimal"\n' + table)["order"] == 1


def test_pi_in_a_table_is_taken_in_digits(checked):
    table = 'A = [[], ["pi/4"]]\nb = ["1/2", "1/2"]'
    with pytest.raises(DeclarationError, match=r"pi is no algebraic number.*decimal"):
        checked(table)
    assert checked('coefficients = "decimal"\n' + table)["order"] == 1


@pytest.mark.parametrize("power", ["9**9**9", "2**exp(1000)", "x**sqrt(10**60)", "2**(3**sqrt(2))"])
def test_powers_are_bounded_whatever_their_exponent_is_made_of(checked, power):
    with pytest.raises(DeclarationError, match=r"tower|beyond the exponent"):
        checked(f'equations = {{ x = "{power}" }}', "system")
