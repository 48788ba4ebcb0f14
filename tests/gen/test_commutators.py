"""The leading error of a splitting is the commutator that is printed, and its powers of h are."""

from __future__ import annotations

import itertools
import re
import tomllib
from dataclasses import replace
from fractions import Fraction
from math import factorial
from pathlib import Path

import mpmath
import numpy as np
import pytest
import sympy as sp

from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.derive.calculus import to_sympy
from hamilforge.gen.derive.scheme import WeightedFlow, constant_values, derive_scheme
from hamilforge.gen.prove.optimizers.commutators import (
    LISTED,
    bracket_text,
    expanded,
    leading_error,
    lyndon_bracket,
    lyndon_words,
)
from hamilforge.gen.prove.optimizers.words import in_field, letters_moved, word_order
from hamilforge.gen.prove.series import FLOATS
from tests.samples import diagonal, sampled

EXPECTED = tomllib.loads((Path(__file__).parents[1] / "expected" / "commutators.toml").read_text())
#: Friction with noise is friction alone here: brackets of flows are of those without noise.
SPLITTINGS = {
    name: kinds.without_noise(splitting) if isinstance(splitting, kinds.Splitting) else splitting
    for name in catalogue.names("splitting")
    for splitting in [catalogue.load(name, ("splitting",))]
    if not isinstance(splitting, kinds.ConstrainedSplitting)  # whose steps are no flows
}
OF_LETTERS = [name for name, one in SPLITTINGS.items() if isinstance(one, kinds.Splitting)]
#: Those whose every move is an exact flow.
OF_FLOWS = [
    name
    for name, one in SPLITTINGS.items()
    if name in OF_LETTERS or all(move.table is None for move in one.moves)
]


@pytest.fixture(scope="module")
def reports():
    return {name: pipeline.check(one) for name, one in SPLITTINGS.items()}


def scheme_of(name):
    return derive_scheme(SPLITTINGS[name], {})


def error_of(scheme):
    return leading_error(word_order(scheme, letters_moved(scheme)))


@pytest.mark.parametrize("name", EXPECTED["leading"])
def test_the_leading_commutator_is_the_known_one(reports, name):
    assert reports[name]["leading_commutator"] == EXPECTED["leading"][name]


# --- a linear system ------------------------------------------------------------------------------


def composition(splitting):
    """The flows of a splitting in the order of application: names of fields, and a weight."""
    if isinstance(splitting, kinds.UnknownSplitting):
        return [(move.unknowns, to_sympy(move.weight, {})) for move in splitting.moves]
    scheme = derive_scheme(splitting, {})
    values = constant_values(scheme.constants)
    whole = letters_moved(scheme)
    return [
        (
            (flow.letter,) if flow.letter in whole else tuple(flow.letter),
            flow.weight.xreplace(values),
        )
        for flow in scheme.flows
    ]


def linear_system(splitting, seed, entry):
    """A matrix for each name, and the flows as pairs of a matrix and a weight."""
    flows = composition(splitting)
    generator = np.random.default_rng(seed)
    names = sorted({name for names, _ in flows for name in names})
    matrices = {name: entry(generator) for name in names}
    return matrices, [(sum_of(matrices[name] for name in names), w) for names, w in flows]


def sum_of(matrices):
    first, *others = matrices
    for other in others:
        first = first + other
    return first


def real(generator):
    return mpmath.matrix(generator.uniform(-1, 1, (3, 3)).tolist())


def step(flows, h):
    """The matrix of a step: the flow applied first stands on the right."""
    result = mpmath.eye(3)
    for matrix, weight in flows:
        result = mpmath.expm(matrix * (h * mpmath.mpf(str(sp.N(weight, 60))))) * result
    return result


def evaluated(text, degree, matrices):
    """A printed commutator at matrices, without its power of h."""
    assert f"h^{degree}*" in text
    formula = text.replace(f"h^{degree}*", "").replace("[", "bracket(").replace("]", ")")
    return eval(formula, {**matrices, "bracket": lambda x, y: x * y - y * x})


@pytest.mark.parametrize(("name", "seed"), diagonal(OF_FLOWS, [0, 1]))
def test_one_step_of_a_linear_system_errs_by_the_printed_commutator(reports, name, seed):
    report = reports[name]
    with mpmath.workdps(60):
        matrices, flows = linear_system(SPLITTINGS[name], seed, real)
        degree = int(re.fullmatch(r"O\(h\^(\d+)\)", report["one_step_error"])[1])
        leading = evaluated(report["leading_commutator"], degree, matrices)
        deviations = []
        for h in (mpmath.mpf(1) / 32, mpmath.mpf(1) / 64, mpmath.mpf(1) / 128):
            error = step(flows, h) - mpmath.expm(sum_of(matrices.values()) * h)
            deviations.append(mpmath.norm(error / h**degree - leading) / mpmath.norm(leading))
        assert deviations[-1] < 0.15
        for wide, narrow in itertools.pairwise(deviations):  # it tends to it like h
            assert 1.6 < wide / narrow < 2.6


@pytest.mark.parametrize("name", OF_FLOWS)
def test_the_global_error_of_a_linear_system_has_the_printed_slope(reports, name):
    printed = re.fullmatch(r"O\(h(?:\^(\d+))?\)", reports[name]["global_error"])
    with mpmath.workdps(60):
        matrices, flows = linear_system(SPLITTINGS[name], 2, real)
        exact = mpmath.expm(sum_of(matrices.values()))
        errors = [mpmath.norm(step(flows, mpmath.mpf(1) / n) ** n - exact) for n in (64, 128)]
        slope = float(mpmath.log(errors[0] / errors[1], 2))
    assert slope == pytest.approx(int(printed[1] or 1), abs=0.15)


# --- nilpotent matrices: exponential and logarithm are finite sums --------------------------------


def power_series(matrix, coefficient, length):
    """The sum of coefficient(k) matrix^k from k = 1 to a length."""
    result, power = matrix * coefficient(1), matrix
    for k in range(2, length + 1):
        power = power @ matrix
        result = result + power * coefficient(k)
    return result


@pytest.mark.parametrize("name", sampled(OF_LETTERS, every=2))
def test_the_logarithm_of_nilpotent_matrices_is_the_sum_and_the_commutator_exactly(name):
    """Products of more than p + 1 strictly triangular matrices of p + 2 rows vanish."""
    scheme = scheme_of(name)
    error = error_of(scheme)
    number, size = error.field.convert, error.degree + 1

    def triangular(generator):
        entries = np.triu(generator.integers(-9, 10, (size, size)), 1)
        return np.vectorize(lambda k: number(Fraction(int(k), 7)), otypes=[object])(entries)

    zero = np.full((size, size), number(Fraction(0)), dtype=object)
    identity = zero + np.diag([number(Fraction(1))] * size)
    matrices, flows = linear_system(SPLITTINGS[name], 3, triangular)
    product = identity
    for matrix, weight in flows:
        scaled = matrix * in_field(weight, {}, error.field)
        flow = power_series(scaled, lambda k: number(Fraction(1, factorial(k))), error.degree)
        product = (identity + flow) @ product
    rest = power_series(
        product - identity, lambda k: number(Fraction((-1) ** (k + 1), k)), error.degree
    ) - sum_of(matrices.values())

    def at(bracket):
        if isinstance(bracket, str):
            return matrices[bracket]
        x, y = map(at, bracket)
        return x @ y - y @ x

    assert not all(error.field.is_zero(entry) for entry in rest.flat)
    rest = rest - sum_of([at(bracket) * value for bracket, value in error.terms.items()])
    limit = 1e-9 if error.field is FLOATS else 0.0
    sizes = [0 if error.field.is_zero(one) else error.field.magnitude(one) for one in rest.flat]
    assert max(sizes) <= limit


# --- vector fields --------------------------------------------------------------------------------

Q, P, H, GAMMA = sp.symbols("q p h gamma", positive=True)
POINT = sp.Matrix([Q, P])
FORCE = -(Q**2)
FIELDS = {
    "A": sp.Matrix([P + P**2, 0]),
    "B": sp.Matrix([0, FORCE]),
    "D": sp.Matrix([0, -GAMMA * P]),
}
FIELDS["BD"] = FIELDS["B"] + FIELDS["D"]


def moved(letter, span, q, p):
    """The exact flow of a letter."""
    force = FORCE.xreplace({Q: q})
    if letter == "A":
        return q + span * (p + p**2), p
    if letter == "B":
        return q, p + span * force
    decay = sp.exp(-GAMMA * span)
    return q, decay * p + ((1 - decay) / GAMMA * force if letter == "BD" else 0)


def in_h(expr, degree):
    """The coefficient of h^degree."""
    return sp.expand(sp.diff(expr, H, degree).subs(H, 0) / factorial(degree))


@pytest.mark.parametrize(
    "name",
    sampled([name for name in OF_LETTERS if SPLITTINGS[name].head.claims["order"] <= 2], every=3),
)
def test_one_step_of_a_nonlinear_system_errs_by_the_commutator_of_its_vector_fields(name):
    scheme = scheme_of(name)
    error = error_of(scheme)
    values = constant_values(scheme.constants)
    q, p = Q, P
    for flow in scheme.flows:
        q, p = moved(flow.letter, flow.weight.xreplace(values) * H, q, p)
    field = sum_of([FIELDS[letter] for letter in error.letters])
    flow = POINT
    for _ in range(error.degree):  # the Taylor coefficients of the exact flow, times k!
        flow = flow.jacobian(POINT) * field

    def at(bracket):
        if isinstance(bracket, str):
            return FIELDS[bracket]
        x, y = map(at, bracket)
        return x.jacobian(POINT) * y - y.jacobian(POINT) * x

    leading = sum_of([at(b) * error.field.written(value) for b, value in error.terms.items()])
    taken = sp.Matrix([in_h(one, error.degree) for one in (q, p)])
    difference = (taken - flow / factorial(error.degree) - leading).expand()
    point = {Q: sp.Rational(3, 7), P: sp.Rational(-2, 5), GAMMA: sp.Rational(1, 3)}
    if error.field is FLOATS:
        assert all(abs(sp.N(entry.xreplace(point), 30)) < 1e-12 for entry in difference)
    else:
        assert difference == sp.zeros(2, 1)


# --- published coefficients -----------------------------------------------------------------------


def test_the_free_constant_of_the_smallest_error_makes_it_stationary():
    (name, *_) = [key for key in EXPECTED if key != "leading"]
    published = EXPECTED[name]
    scheme = scheme_of(name)
    (free,) = scheme.constants
    assert free.name == published["free"]
    formulas = [sp.sympify(text, {free.name: free}) for text in published["coefficients"]]
    found = [error_of(scheme).field.written(c) for c in error_of(scheme).terms.values()]
    at = {free: scheme.constants[free]}
    for formula, value in zip(formulas, found, strict=True):
        assert abs(formula.xreplace(at) - value) < 1e-40
    squares = sp.diff(sum(formula**2 for formula in formulas), free)
    curvature = sp.diff(squares, free).xreplace(at)
    assert curvature > 0
    assert abs(squares.xreplace(at) / curvature) < 1e-15  # how far the digits are from the minimum


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in OF_LETTERS
        if word_order(scheme_of(name)).field is not FLOATS and scheme_of(name).constants
    ],
)
def test_twelve_digits_of_irrational_constants_give_twelve_digits_of_the_commutator(name):
    """What rounding leaves in shorter words is no part of it, and all else is brackets."""
    scheme = scheme_of(name)
    exact = error_of(scheme)
    values = constant_values(scheme.constants)
    digits = {one: sp.Rational(str(sp.N(value, 12))) for one, value in values.items()}
    rounded = error_of(replace(scheme, constants=digits, exact=False))
    assert max(word_order(replace(scheme, constants=digits, exact=False)).residuals[:-1]) > 1e-13
    assert rounded.remainder < 1e-20
    assert rounded.terms.keys() == exact.terms.keys()
    for bracket, value in exact.terms.items():
        assert abs(float(exact.field.written(value)) - float(rounded.terms[bracket])) < 1e-10


# --- the basis ------------------------------------------------------------------------------------


@pytest.mark.parametrize("letters", [("A", "BD"), ("A", "B", "D")])
@pytest.mark.parametrize("length", range(1, 8))
def test_lyndon_brackets_are_a_triangular_basis_of_the_dimension_of_witt(letters, length):
    words = lyndon_words(letters, length)
    witt = sum(
        sp.mobius(d) * len(letters) ** (length // d)
        for d in range(1, length + 1)
        if length % d == 0
    )
    assert len(words) == witt / length
    for word in words:
        inside = expanded(lyndon_bracket(word))
        assert min(inside) == word
        assert inside[word] == 1


# --- planted faults -------------------------------------------------------------------------------


def printed(scheme):
    error = error_of(scheme)
    return str(error)


@pytest.mark.parametrize("name", OF_LETTERS)
def test_every_weight_counts_in_the_leading_commutator(name):
    scheme = scheme_of(name)
    before = printed(scheme)
    for index, flow in enumerate(scheme.flows):
        lines = list(scheme.lines)
        weight = flow.weight * sp.Rational(10**6 + 1, 10**6)
        lines[index] = replace(lines[index], flow=WeightedFlow(flow.letter, weight))
        assert printed(replace(scheme, lines=tuple(lines))) != before


@pytest.mark.parametrize("name", OF_LETTERS)
def test_swapped_flows_change_the_leading_commutator(name):
    scheme = scheme_of(name)
    before = printed(scheme)
    for index in range(len(scheme.lines) - 1):
        lines = list(scheme.lines)
        lines[index : index + 2] = lines[index + 1], lines[index]
        assert printed(replace(scheme, lines=tuple(lines))) != before


@pytest.mark.parametrize("name", OF_LETTERS)
def test_words_that_make_no_commutator_are_refused(name):
    """One coefficient off, and nothing is printed."""
    found = word_order(scheme_of(name))
    word = max(found.differences, key=len)
    value = found.differences[word] + found.field.convert(Fraction(1, 1000))
    with pytest.raises(NotImplementedError, match="no commutator"):
        leading_error(replace(found, differences={**found.differences, word: value}))


# --- what is printed ------------------------------------------------------------------------------


def outermost_brackets(text):
    """The brackets of a sum, those inside others left out."""
    found, depth, begin = [], 0, 0
    for index, character in enumerate(text):
        if character == "[":
            begin = index if depth == 0 else begin
            depth += 1
        elif character == "]":
            depth -= 1
            found += [text[begin : index + 1]] if depth == 0 else []
    return found


@pytest.mark.parametrize("name", OF_FLOWS)
def test_a_card_lists_few_brackets_and_counts_many_and_the_data_have_all(reports, name):
    report = reports[name]
    value = report.to_dict()["properties"]["leading_commutator"]
    brackets = outermost_brackets(value)
    assert len({*brackets}) == len(brackets) > 0
    card = dict(line.split(maxsplit=1) for line in str(report).splitlines() if line.strip())
    if len(brackets) <= LISTED:
        assert card["leading_commutator"] == value
    else:
        assert f"a sum of {len(brackets)} of the " in card["leading_commutator"]
        assert len(card["leading_commutator"]) < 220
    evidence = report.finding("leading_commutator").evidence
    assert "[X, Y] = X'Y - Y'X of vector fields, XY - YX of the matrices" in evidence


@pytest.mark.parametrize("name", OF_LETTERS)
def test_errors_of_one_and_many_steps_go_with_the_order(reports, name):
    order = reports[name]["order"]
    assert reports[name]["one_step_error"] == f"O(h^{order + 1})"
    assert reports[name]["global_error"] == ("O(h)" if order == 1 else f"O(h^{order})")


def declared(folder, steps):
    path = folder / "mine.toml"
    path.write_text(
        f'kind = "splitting"\nname = "mine"\ntitle = "T"\nreference = "R"\nsteps = {steps}'
    )
    return pipeline.check(catalogue.load(path))


def test_a_splitting_without_friction_has_the_commutator_of_its_own_letters(tmp_path):
    report = declared(tmp_path, '[["B", 1], ["A", 1]]')
    assert report["leading_commutator"] == "h^2*[A, B]/2"
    assert report.finding("leading_commutator").reach.startswith("the flow of A + B alone")
    report = declared(tmp_path, '[["B", "1/2"], ["A", 1], ["B", "1/2"]]')
    assert report["leading_commutator"] == "h^3*([A, [A, B]]/12 - [[A, B], B]/24)"
    order = report.finding("order")
    assert order.value == 2
    assert "no flow of friction, with which its order is 0" in order.evidence
    assert order.reach == report.finding("leading_commutator").reach


def test_friction_by_itself_and_with_the_kick_is_one_letter_of_two_flows(tmp_path):
    report = declared(tmp_path, '[["BD", "1/2"], ["A", 1], ["B", "1/2"], ["D", "1/2"]]')
    assert report["leading_commutator"] == "-h^2*[B, D]/8"


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ('[["A", "1/2"], ["BD", 1]]', "the flows of A do not add up to one step"),
        ('[["BD", 1]]', "an order above"),
        ('[["x", "1/2"], ["v", 2]]', "the flows of v and x do not add up to one step"),
        ('[["t", 1], ["x v", 1, "euler"]]', "x and v move by euler, which is no exact flow"),
    ],
)
def test_where_there_is_no_leading_commutator_the_report_says_why(tmp_path, steps, why):
    report = declared(tmp_path, steps)
    for name in ("leading_commutator", "one_step_error", "global_error"):
        assert report[name] is None
        assert why in report.finding(name).why


def test_unknowns_that_always_move_together_are_one_letter(tmp_path):
    report = declared(tmp_path, '[["v t", "1/2"], ["x", 1], ["v t", "1/2"]]')
    assert report["leading_commutator"] == ("h^3*(-[v + t, [v + t, x]]/24 + [[v + t, x], x]/12)")
    report = declared(tmp_path, '[["t v", "1/2"], ["x", 1], ["v", "1/2"], ["t", "1/2"]]')
    assert report["leading_commutator"] == "h^2*[t, v]/8"


def test_brackets_are_written_as_they_are_read():
    assert bracket_text(lyndon_bracket(("A", "A", "B", "D", "B"))) == "[A, [[A, [B, D]], B]]"
