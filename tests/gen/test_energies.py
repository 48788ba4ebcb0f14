"""The loss is taken out of an energy's tree, wherever parentheses and signs stand."""

from __future__ import annotations

import pytest
import sympy as sp

from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.expression import walk
from hamilforge.gen.declare.parser import parse
from hamilforge.gen.derive.calculus import Coordinate, Total, to_sympy

M, P = sp.Symbol("m", positive=True), Coordinate("p")


@pytest.fixture
def declared(tmp_path):
    def load(energy):
        path = tmp_path / "energy.toml"
        path.write_text(
            'kind = "hamiltonian"\nname = "energy"\ntitle = "-"\nreference = "-"\n'
            f'energy = "{energy}"\nfriction = "0"\n'
            '[parameters]\nm = { default = 1, domain = "positive" }\n'
        )
        return catalogue.load(path)

    return load


SQUARE = Total(P**2)


@pytest.mark.parametrize(
    ("energy", "kinetic"),
    [
        ("J(q) + dot(p, p)/(2*m)", SQUARE / (2 * M)),
        (
            "J(q) + dot(p, p)/(2*(1 + m)) + ((1 + m)*dot(p, p) + m)/4",
            SQUARE / (2 * (1 + M)) + ((1 + M) * SQUARE + M) / 4,
        ),
        ("(J(q)) + (dot(p, p)/(2*m))", SQUARE / (2 * M)),
        ("(dot(p, p)/2 - (m - J(q)))", SQUARE / 2 - M),
        ("-(-J(q) - dot(p, p))", SQUARE),
        ("dot(p, p)*(1 + m) + J(q)", SQUARE * (1 + M)),
        ("J(q) - (-(dot(p, p)))/(m)", SQUARE / M),
    ],
)
def test_the_kinetic_energy_is_what_is_left_of_the_tree(declared, energy, kinetic):
    found = to_sympy(declared(energy).kinetic, {"m": M, "p": P})
    assert sp.simplify(found - kinetic) == 0


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        ("J(2*q) + dot(p, p)", "the loss is taken at q"),
        ("-J(q) + dot(p, p)", "exactly one term J"),
        ("J(q) + J(q) + dot(p, p)", "exactly one term J"),
        ("2*J(q)/2 + dot(p, p)", "expected 'J"),
        ("dot(p, p)", "exactly one term J"),
        ("J(q) + (dot(p, p) + dot(q, p))/2", "couples q and p"),
    ],
)
def test_other_potentials_are_refused(declared, energy, message):
    with pytest.raises(DeclarationError, match=message):
        declared(energy)


def test_carets_point_at_what_is_wrong_behind_parentheses(declared):
    energy = "(J(q)) + ((dot(p, p)) + dot(q, p))/2"
    with pytest.raises(DeclarationError) as caught:
        declared(energy)
    (problem,) = caught.value.problems
    text, caret = problem.excerpt.splitlines()[-2:]
    at = caret.index("^") - text.index(energy)
    assert energy[at : at + caret.count("^")] == "q"
    assert at == energy.index("q, p")


@pytest.mark.parametrize("text", ["((a + b)*(c))/(d - (e))", "-(a)**(b)", "(a)", "(a + (b))"])
def test_a_span_is_an_expression_of_its_own(text):
    for node in walk(parse(text).tree):
        again = parse(text[node.start : node.stop]).tree
        assert type(again) is type(node)
        assert getattr(again, "op", None) == getattr(node, "op", None)
