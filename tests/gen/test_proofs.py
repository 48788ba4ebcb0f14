"""Proofs: they find what is known, fail at the next order, and no planted fault passes."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import sympy as sp

from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.derive.scheme import WeightedFlow, derive_scheme
from hamilforge.gen.program.ir import Apply, Const, Ref
from hamilforge.gen.program.optimizers.build import derive
from hamilforge.gen.program.optimizers.draws import quiet
from hamilforge.gen.prove.optimizers.conformal import form_of
from hamilforge.gen.prove.optimizers.jets import is_conformal
from hamilforge.gen.prove.optimizers.krawczyk import true_solution
from hamilforge.gen.prove.optimizers.order import program_order
from hamilforge.gen.prove.optimizers.words import word_order
from hamilforge.gen.prove.series import FLOATS, RATIONALS, Series
from tests.optimizers import MECHANICAL

EXPECTED = tomllib.loads((Path(__file__).parents[1] / "expected" / "proofs.toml").read_text())
OPTIMIZERS = MECHANICAL
SPLITTINGS = [
    name
    for name in catalogue.names("splitting")
    if isinstance(catalogue.load(name, ("splitting",)), kinds.Splitting)
]


@pytest.fixture(scope="module")
def reports():
    return {name: pipeline.check(catalogue.load(name, ("optimizer",))) for name in OPTIMIZERS}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_claim_of_an_optimizer_is_proved(reports, name):
    assert reports[name].holds, str(reports[name])


@pytest.mark.parametrize("name", EXPECTED["optimizer"])
def test_the_properties_of_an_optimizer_are_the_known_ones(reports, name):
    for key, value in EXPECTED["optimizer"][name].items():
        assert reports[name][key] == value


@pytest.mark.parametrize("kind", ["splitting", "update"])
def test_the_order_of_a_method_is_the_known_one(kind):
    for name, order in EXPECTED[kind].items():
        report = pipeline.check(catalogue.load(name, (kind,)))
        assert (name, report["order"]) == (name, order)
        assert report.holds
    of_states = (kinds.UnknownSplitting, kinds.StateUpdate)  # an order is one with their system
    loaded = {name: catalogue.load(name, (kind,)) for name in catalogue.names(kind)}
    assert {*EXPECTED[kind]} == {n for n, one in loaded.items() if not isinstance(one, of_states)}


@pytest.mark.parametrize("name", SPLITTINGS)
def test_every_weight_of_a_splitting_counts(name):
    """One weight times 1 + 1e-6, for every flow: the order falls."""
    scheme = derive_scheme(kinds.without_noise(catalogue.load(name, ("splitting",))), {})
    order = word_order(scheme).order
    nudge = sp.Rational(10**6 + 1, 10**6)
    for index, flow in enumerate(scheme.flows):
        lines = list(scheme.lines)
        lines[index] = replace(lines[index], flow=WeightedFlow(flow.letter, flow.weight * nudge))
        changed = word_order(replace(scheme, lines=tuple(lines)))
        assert changed.order < order, (index, flow)


def triple(tmp_path, coefficients, **constants):
    """A composition of three leapfrogs with weights w1, w0, w1."""
    path = tmp_path / "triple.toml"
    lines = [f'{name} = "{text}"' for name, text in constants.items()]
    path.write_text(
        'kind = "splitting"\nname = "triple"\ntitle = "T"\nreference = "R"\n'
        f'coefficients = "{coefficients}"\n[compose]\nblock = "conformal_leapfrog"\n'
        'weights = ["w1", "w0", "w1"]\n[constants]\n' + "\n".join(lines)
    )
    return catalogue.load(path)


@pytest.mark.parametrize(
    ("constants", "order"),
    [
        ({"c": "2**(1/3)", "w1": "1/(2 - c)", "w0": "-c/(2 - c)"}, 4),
        ({"third": "1/3", "w1": "1/(2 - 2**third)", "w0": "1 - 2*w1"}, 4),
        ({"c": "4**(1/3)", "w1": "1/(2 - sqrt(c))", "w0": "1 - 2*w1"}, 4),
        ({"w1": "1/(2 - 2**(1/3))", "w0": "1 - 2*2**w1"}, 0),
        ({"e": "sqrt(2)", "w1": "2**e", "w0": "1 - 2*w1"}, 2),
        ({"w1": "pi", "w0": "1 - 2*w1"}, 2),
        ({"w1": "1/3", "w0": "sqrt(w1 - 2/9)"}, 2),
    ],
)
@pytest.mark.parametrize("coefficients", ["exact", "decimal"])
def test_constants_of_a_splitting_may_depend_on_one_another(
    tmp_path, constants, order, coefficients
):
    assert pipeline.check(triple(tmp_path, coefficients, **constants))["order"] == order


@pytest.mark.parametrize(
    ("w0", "message"),
    [
        ("sqrt(w1 - 3)", r"toml:11: \[constants\].w0: sqrt\(w1 - 3\) is not a real number"),
        ("1/(w1 - 2)", r"toml:11: \[constants\].w0: 1/\(w1 - 2\) divides by zero"),
        ("(1 - w1)**(1/3)", "is not a real number"),
        ("(w1 - 2)/(w1 - 2)", "divides by zero"),
        ("w1 + 0*(1/(w1 - 2))", "divides by zero"),
        ("sqrt(1 - w1)**2", "not a real number, or something in it is not"),
        ("1/(sqrt(5 + 2*sqrt(6)) - sqrt(2) - sqrt(3))", "divides by zero"),
    ],
)
def test_a_constant_of_a_splitting_is_a_real_number(tmp_path, w0, message):
    with pytest.raises(DeclarationError, match=message):
        pipeline.check(triple(tmp_path, "exact", w1="2", w0=w0))


@pytest.mark.parametrize("name", ["x", "g", "x_new", "v", "kick"])
def test_a_constant_of_a_splitting_may_be_called_as_a_program_calls_its_point(tmp_path, name):
    (tmp_path / "halves.toml").write_text(
        'kind = "splitting"\nname = "halves"\ntitle = "T"\nreference = "R"\n'
        f'steps = [["D", "1/2"], ["A", "{name}"], ["B", 1], ["A", "1 - {name}"], ["D", "1/2"]]\n'
        f'[constants]\n{name} = "1/4"\n'
    )
    path = tmp_path / "mine.toml"
    path.write_text(
        'kind = "optimizer"\nname = "mine"\ntitle = "T"\nreference = "R"\nsystem = "classical"\n'
        'method = "halves.toml"\n[hyperparameters]\n'
        'lr = { default = 0.1, domain = "nonnegative" }\n'
        'momentum = { default = 0.9, domain = "open-unit-interval" }\n'
        '[set]\nm = "1"\nh = "sqrt(lr)"\ngamma = "-log(momentum)/h"\n'
    )
    assert pipeline.check(catalogue.load(path))["order"] == 1


def test_a_claim_about_nothing_is_an_error(tmp_path):
    text = (catalogue.root() / "optimizers" / "rgd.toml").read_text()
    path = tmp_path / "rgd.toml"
    path.write_text(text.replace("order = 2", "ordr = 2"))
    with pytest.raises(DeclarationError, match=r"rgd.toml:\d+: .*ordr: .*did you mean 'order'"):
        pipeline.check(catalogue.load(path))


def test_a_wrong_claim_is_reported_with_what_is_true(tmp_path):
    text = (catalogue.root() / "optimizers" / "rgd.toml").read_text()
    path = tmp_path / "rgd.toml"
    path.write_text(
        text.replace("order = 2", "order = 3").replace('"momentum"\n', '"momentum/2"\n')
    )
    report = pipeline.check(catalogue.load(path))
    assert not report.holds
    assert {claim.name: claim.found for claim in report.claims if not claim.holds} == {
        "order": 2,
        "conformal_factor": "momentum",
    }


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_emitted_program_is_conformal_exactly_where_the_method_is(reports, name):
    program = quiet(derive(catalogue.load(name, ("optimizer",))).program)
    claimed = reports[name]["symplectic_form"] == "conformal"
    assert is_conformal(program, dimension=2) == claimed
    assert is_conformal(program, dimension=3, seeds=(5, 6)) == claimed


def test_in_one_dimension_every_map_of_the_plane_would_pass():
    nesterov = derive(catalogue.load("nesterov", ("optimizer",))).program
    one_point = is_conformal(nesterov, dimension=1, seeds=(1,))
    assert one_point
    assert not is_conformal(nesterov, dimension=2, seeds=(1,))


def test_a_method_with_a_kick_that_is_no_gradient_is_not_conformal():
    scheme = derive_scheme(catalogue.load("nesterov", ("update",)), {})
    form = form_of(scheme)
    assert form.factor is None
    assert form.blocks is not None


def _mutations(expr):
    """Every expression that differs in one sign or one constant."""
    if isinstance(expr, Const):
        yield Const(expr.value + Fraction(1, 3))
    if isinstance(expr, Ref):
        yield Apply("mul", (Const(Fraction(1000001, 1000000)), expr))
    if isinstance(expr, Apply):
        if expr.op == "neg":
            yield expr.args[0]
        for index, arg in enumerate(expr.args):
            for changed in _mutations(arg):
                yield Apply(expr.op, (*expr.args[:index], changed, *expr.args[index + 1 :]))
        if expr.op == "add":
            for index, arg in enumerate(expr.args):
                flipped = (
                    arg.args[0]
                    if isinstance(arg, Apply) and arg.op == "neg"
                    else Apply("neg", (arg,))
                )
                yield Apply("add", (*expr.args[:index], flipped, *expr.args[index + 1 :]))


@pytest.mark.parametrize("name", EXPECTED["mutation"]["order"])
def test_every_sign_and_coefficient_of_a_program_decides_its_order(name):
    derivation = derive(catalogue.load(name, ("optimizer",)))
    program = derivation.program
    (function,) = program.functions
    order = program_order(derivation).order
    tried = 0
    for index, line in enumerate(function.lines):
        for value in _mutations(line.value):
            lines = list(function.lines)
            lines[index] = replace(line, value=value)
            faulty = replace(program, functions=(replace(function, lines=tuple(lines)),))
            found = program_order(replace(derivation, program=faulty)).order
            assert found < order, (line.name, value)
            tried += 1
    assert tried >= 6


def test_series_are_an_algebra():
    one = RATIONALS.convert(Fraction(1))
    h = Series(RATIONALS, 1, [one], 8)
    assert (h.exp().log() - h).low >= 8
    assert ((1 + h).sqrt() * (1 + h).sqrt() - 1 - h).low >= 8
    assert ((1 / (1 - h)) * (1 - h) - 1).low >= 8
    tangent = h.tanh()
    rebuilt = (h.exp() - (-h).exp()) / (h.exp() + (-h).exp())
    assert (tangent - rebuilt).low >= 8
    assert [h.exp()[k] for k in range(4)] == [1, 1, Fraction(1, 2), Fraction(1, 6)]
    assert (h * h / (2 * h))[1] == Fraction(1, 2)


def test_sixty_digits_are_not_mistaken_for_zero():
    assert FLOATS.is_zero(FLOATS.convert(Fraction(1, 10**40)))
    assert not FLOATS.is_zero(FLOATS.convert(Fraction(1, 10**20)))


DECIMAL = [
    name for name in SPLITTINGS if not derive_scheme(catalogue.load(name, ("splitting",)), {}).exact
]


@pytest.mark.parametrize("name", DECIMAL)
def test_near_published_digits_there_is_a_true_solution_and_near_wrong_ones_there_is_none(name):
    scheme = derive_scheme(catalogue.load(name, ("splitting",)), {})
    order = word_order(scheme).order
    near = true_solution(scheme, order)
    if order == 2:  # every value of the free parameter has this order: nothing is determined
        assert near is None
        return
    assert near.radius <= 1e-13
    assert near.conditions >= 2
    wrong = {
        symbol: value if value.free_symbols else value * sp.Rational(10**6 + 1, 10**6)
        for symbol, value in scheme.constants.items()
    }
    assert true_solution(replace(scheme, constants=wrong), order) is None
