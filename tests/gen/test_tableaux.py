"""Runge–Kutta tableaux and pairs: known values, claims, faults, families, bad input."""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import mpmath
import pytest
import sympy as sp

import hamilforge as hf
from hamilforge.cli import main
from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.tableau import contractivity, order, stability, structure
from hamilforge.gen.tableau.build import build
from hamilforge.gen.tableau.family import family
from hamilforge.gen.tableau.modified import modified_equation
from hamilforge.gen.tableau.pair import is_symplectic_pair
from hamilforge.gen.tableau.stages import Stages
from hamilforge.gen.tableau.tableau import Tableau
from tests.samples import sampled

EXPECTED = tomllib.loads((Path(__file__).parents[1] / "expected" / "tableaux.toml").read_text())[
    "method"
]
METHODS = catalogue.names("runge-kutta")
PAIRS = catalogue.names("partitioned")


def tableau_of(name):
    return build(catalogue.load(name, ("runge-kutta",)))


@pytest.fixture(scope="module")
def reports():
    """Reports by name, each made once."""
    known = {}

    def report(name):
        if name not in known:
            declaration = catalogue.load(name, ("runge-kutta", "partitioned", "system"))
            known[name] = pipeline.check(declaration)
        return known[name]

    return report


@pytest.mark.parametrize("name", [*METHODS, *PAIRS, *catalogue.names("system")])
def test_every_claim_of_the_catalogue_holds(reports, name):
    report = reports(name)
    assert report.claims or "lyapunov" in report  # of a gradient system there may be none
    assert report.holds, [claim for claim in report.claims if not claim.holds]


def test_the_catalogue_is_large_and_referenced():
    assert len(METHODS) >= 70
    for name in (*METHODS, *PAIRS):
        assert len(catalogue.load(name, ("runge-kutta", "partitioned")).head.reference) > 20


def value(text):
    return math.inf if text == "inf" else float(sp.N(sp.sympify(text), 30))


@pytest.mark.parametrize("name", EXPECTED)
def test_known_values(reports, name):
    wanted, found = dict(EXPECTED[name]), reports(name)
    simple = found["simplifying"]
    for key, mine in {"b": "B", "c": "C", "d": "D"}.items():
        if key in wanted:
            assert simple[mine] == wanted.pop(key)
    control = wanted.pop("control_order")
    assert found["control_order"] == (None if control == "none" else control)
    if "at_infinity" in wanted:
        function = stability.stability_function(tableau_of(name))
        text = wanted.pop("at_infinity")
        places = max(len(text.partition(".")[2]), 12 if "." not in text else 0)
        assert abs(abs(float(function.at_infinity())) - float(text)) < 10.0**-places
    for key, mine in {"real": "real_stability", "imaginary": "imaginary_stability"}.items():
        if key in wanted:
            wanted[mine] = wanted.pop(key)
    for key in ("circle_radius", "ssp_radius", "real_stability", "imaginary_stability"):
        if key in wanted:
            text = wanted.pop(key)
            places = 5 if "." in text else 11
            assert float(found[key]) == pytest.approx(value(text), abs=10.0**-places), key
    for key, known in wanted.items():
        assert found[key] == known, key


@pytest.mark.parametrize("name", EXPECTED)
def test_exact_values_are_those_of_the_floats(reports, name):
    plain = reports(name).to_dict()["properties"]
    for key, text in plain.items():
        if key.endswith("_exact") and not text.startswith(("root", "square root")):
            constants = getattr(catalogue.load(name), "constants", ())
            exact = sp.sympify(text, locals={key: sp.Symbol(key) for key, _ in constants})
            if exact.free_symbols:  # written in a named root
                assert "root" in catalogue.load(name).head.source.data.decode()
                continue
            expected = float(sp.N(exact, 30))
            assert plain[key.removesuffix("_exact")] == pytest.approx(expected, rel=1e-12)


def faults(tableau):
    """The tableau with one coefficient multiplied by 1 + 1e-6."""
    nudge = Fraction(10**6 + 1, 10**6)

    def changed(entries, k):
        return (*entries[:k], entries[k] * nudge, *entries[k + 1 :])

    ones = tableau.stages.one
    for i, row in enumerate(tableau.a):
        for j, entry in enumerate(row):
            if not tableau.is_zero(entry):
                a = (*tableau.a[:i], changed(row, j), *tableau.a[i + 1 :])
                c = tuple(
                    sum((x * y for x, y in zip(line, ones, strict=True)), Fraction(0)) for line in a
                )
                yield f"a[{i}][{j}]", replace(tableau, a=a, c=c)
    for key in ("b", "b_hat"):
        entries = getattr(tableau, key) or ()
        for k, entry in enumerate(entries):
            if not tableau.is_zero(entry):
                yield f"{key}[{k}]", replace(tableau, **{key: changed(entries, k)})


def l_stable(tableau, claims):
    return stability.stability(tableau, claims["order"]).l_stable


def some_claim_flips(tableau, claims):
    """Whether a claim that says something of the coefficients is false of a changed tableau."""
    if order.classical_order(tableau, highest=claims["order"]).order < claims["order"]:
        return True
    if "embedded_order" in claims:
        found = order.classical_order(tableau, embedded=True, highest=claims["embedded_order"])
        if found.order < claims["embedded_order"]:
            return True
    if claims.get("stiffly_accurate") and not structure.is_stiffly_accurate(tableau):
        return True
    if claims.get("l_stable") and not l_stable(tableau, claims):
        return True
    if "error_constant" in claims:
        power = claims["order"] + 1
        constant = Fraction(1, math.factorial(power))
        constant = constant - stability.stability_function(tableau).taylor(power + 1)[power]
        wanted = value(claims["error_constant"])
        return abs(float(constant) - wanted) > 1e-12
    return False


@pytest.mark.parametrize("name", METHODS)
def test_every_changed_coefficient_falsifies_a_claim(name):
    tableau = tableau_of(name).by_stages
    claims = catalogue.load(name, ("runge-kutta",)).head.claims
    assert not some_claim_flips(tableau, claims)
    survivors = [
        place for place, changed in faults(tableau) if not some_claim_flips(changed, claims)
    ]
    assert not survivors


@pytest.mark.parametrize("name", METHODS)
def test_the_adjoint_conserves_what_it_should(name):
    tableau = tableau_of(name)
    adjoint = tableau.adjoint()
    if adjoint is None:
        assert any(abs(weight) < 1e-30 for weight in tableau.precise[1])
        return
    assert is_symplectic_pair(tableau, adjoint)
    one = stability.stability_function(tableau)
    other = stability.stability_function(adjoint)
    for z in (Fraction(1, 3), Fraction(-2, 7), Fraction(5, 2)):
        left, right = (
            sum((c * at**k for k, c in enumerate(function.numerator)), Fraction(0))
            / sum((c * at**k for k, c in enumerate(function.denominator)), Fraction(0))
            for function, at in ((one, z), (other, -z))
        )
        assert tableau.is_zero(left * right - 1) or abs(float(left * right) - 1) < 1e-12


def test_symplectic_methods_and_pairs_of_lobatto():
    for stages in (1, 2, 3, 4, 5):
        gauss = tableau_of(f"gauss{stages}")
        assert gauss.adjoint().a == gauss.a
    for stages in (2, 3, 4):
        for first, second in (("iiia", "iiib"), ("iiic", "iiic_star")):
            one, two = (tableau_of(f"lobatto_{kind}{stages}") for kind in (first, second))
            assert one.adjoint().a == two.a
            assert two.adjoint().a == one.a


def test_the_three_stage_family_is_of_control_order_three_exactly_where_the_last_node_is_one():
    declaration = catalogue.load("generic3", ("runge-kutta",))
    classical, control = family(declaration)
    assert (classical.order, control.order) == (3, 2)
    assert not classical.solutions
    c2, c3 = (sp.Symbol(name, real=True) for name in ("c2", "c3"))
    (residual,) = control.equations
    known = -(3 * c2 - 2) * (c3 - 1) ** 2 / (2 * (3 * c3 - 2))
    known /= 6 * c2 * c3 - 3 * c2 - 3 * c3 + 2
    assert sp.simplify(residual - known) == 0
    assert control.solutions == ({c3: 1},)


def test_the_modified_equations_of_known_examples():
    y, q, p = sp.symbols("y q p", real=True)
    found = modified_equation(tableau_of("euler"), [y], [y**2], 4)
    rest = {1: -(y**3), 2: 3 * y**4 / 2, 3: -8 * y**5 / 3, 4: 31 * y**6 / 6}
    assert {power: term[0] for power, term in found.terms.items()} == rest
    found = modified_equation(tableau_of("implicit_midpoint"), [q, p], [p, -q], 5)
    h = sp.Symbol("h")
    frequency = sp.series(2 * sp.atan(h / 2) / h, h, 0, 7).removeO()
    assert found.hamiltonian is not None
    for power, energy in found.hamiltonian.items():
        assert sp.expand(energy - frequency.coeff(h, power) * (p**2 + q**2) / 2) == 0


@pytest.mark.parametrize(
    "name", sampled(["gauss2", "rk4", "euler", "radau_iia2", "gill4"], every=2)
)
def test_a_step_is_the_flow_of_the_modified_equation(name):
    """The error against the modified field shrinks by the powers that its terms take away."""
    x, v = sp.symbols("x v", real=True)
    field = [v + x * v / 3, -sp.sin(x) - v / 5]
    tableau = tableau_of(name)
    found = modified_equation(tableau, [x, v], field, 2)
    with mpmath.workdps(50):
        a, b, _ = tableau.precise
        fine = tableau_of("gauss5").precise[:2]
        plain = sp.lambdify((x, v), field, "mpmath")
        start = [mpmath.mpf("0.7"), mpmath.mpf("0.4")]
        errors = []
        for h in (mpmath.mpf(1) / 20, mpmath.mpf(1) / 40):
            total = [
                f + sum(sp.Float(h, 40) ** power * term[k] for power, term in found.terms.items())
                for k, f in enumerate(field)
            ]
            modified = sp.lambdify((x, v), total, "mpmath")
            exact = start
            for _ in range(3):
                exact = one_step(modified, *fine, exact, h / 3)
            step = one_step(plain, a, b, start, h)
            errors.append(max(abs(s - e) for s, e in zip(step, exact, strict=True)))
        slope = mpmath.log(errors[0] / errors[1], 2)
    assert slope > found.order + 2 + 1 - 0.3


def one_step(field, a, b, start, h):
    size = len(b)
    slopes = [list(field(*start))] * size
    for _ in range(30):
        slopes = [
            list(
                field(
                    *(
                        y + h * sum(a[i][j] * slopes[j][k] for j in range(size))
                        for k, y in enumerate(start)
                    )
                )
            )
            for i in range(size)
        ]
    return [y + h * sum(b[i] * slopes[i][k] for i in range(size)) for k, y in enumerate(start)]


HEAD = 'kind = "runge-kutta"\nname = "mine"\ntitle = "t"\nreference = "r"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('A = [[], ["1/2", 0, 0]]\nb = [0, 1]', r"row 2 has 3 entries, but there are 2 stages"),
        ("A = [[], [1]]\nb = [1]", r"b: b has 1 entries, but there are 2 stages"),
        ("A = [[]]\nb = [1]\nc = [1]", r"c_1 = 1 is not the sum 0 .*row_sums = false"),
        ('A = [["one"]]\nb = [1]', r"unknown name 'one'"),
        ('A = [["1/0"]]\nb = [1]', r"division by zero"),
        ('A = [["1/(2 - 2)"]]\nb = [1]', r"division by zero"),
        ('A = [["sqrt(-2)"]]\nb = [1]', r"no real number"),
        ("A = [[true]]\nb = [1]", r"not an expression"),
        ('A = [["s"]]\nb = [1]\n[parameters]\ns = { doc = "no default" }', r"needs a default"),
        ("b = [1]", r"expected one of A"),
        ("A = [[]]", r"the weights b are missing"),
        ("A = []\nb = []", r"a list of rows was expected"),
        ("A = [[]]\nb = [1]\n[claims]\norder = 2", None),
        ('[collocation]\nnodes = "x**2 + 1"\nconditions = "C"', r"roots .* must be real"),
        ('[collocation]\nnodes = "(x - 1)**2"\nconditions = "C"', r"must be distinct"),
        ('[collocation]\nnodes = "legendre(2)"\nconditions = "E"', r"expected 'C' or 'D'"),
        ('[collocation]\nnodes = "sin(x)"\nconditions = "C"', r"no meaning here"),
        ('mean = ["gauss2", "lobatto_iiia2"]', r"not the same nodes"),
        ('mean = ["mine.toml", "mine.toml", "mine.toml"]', r"in a circle$"),
        ('A = [["r"]]\nb = [1]\n[constants]\nr = 1\n[parameters]\nr = 1', r"a parameter already"),
        ('stages = "1/2"\nA = "1"\nb = "1"', r"1/2 stages"),
        ('A = [["r"]]\nb = [1]\n[constants]\nr = { root = "x**2 + 1", near = 0 }', r"no real root"),
    ],
)
def test_bad_tables_are_refused_with_what_was_expected(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + text + "\n")
    if message is None:
        assert not pipeline.check(catalogue.load(path)).holds
        return
    with pytest.raises(DeclarationError, match=message):
        pipeline.check(catalogue.load(path))


def test_a_false_order_names_the_first_tree_that_fails(tmp_path, capsys):
    text = (catalogue.root() / "runge_kutta" / "kraaijevanger_spijker.toml").read_text()
    path = tmp_path / "wrong.toml"
    path.write_text(text.replace("order = 1", "order = 2", 1))
    assert main(["check", str(path)]) == 1
    printed = capsys.readouterr().out
    assert "claim order = 2 is FALSE: found 1" in printed
    assert "the tree [.] of order 2 leaves 3/2" in printed


def explicit_chain(size):
    """Forward Euler steps of equal size, one after the other."""
    row = f'"1/{size}"'
    rows = ", ".join("[" + ", ".join([row] * i) + "]" for i in range(size))
    return f"A = [{rows}]\nb = [{', '.join([row] * size)}]\n"


def test_forty_stages_are_read_and_four_thousand_are_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + explicit_chain(40))
    report = pipeline.check(catalogue.load(path))
    assert (report["stages"], report["order"]) == (40, 1)
    assert report["real_stability"] == pytest.approx(80)
    path.write_text(HEAD + "A = [" + "[]," * 4000 + "]\nb = [1]\n")
    with pytest.raises(DeclarationError, match="4000 stages; at most"):
        catalogue.load(path)


def test_nodes_that_are_not_row_sums_lower_the_order_where_time_matters(tmp_path):
    path = tmp_path / "mine.toml"
    table = 'A = [[], ["1/2"]]\nb = [0, 1]\n'
    path.write_text(HEAD + table + 'c = [0, "1/3"]\nrow_sums = false\n')
    assert pipeline.check(catalogue.load(path))["order"] == 1
    path.write_text(HEAD + table + 'c = [0, "1/2"]\nrow_sums = false\n')
    assert pipeline.check(catalogue.load(path))["order"] == 2


def test_the_json_of_a_tableau_has_the_promised_names(capsys):
    assert main(["check", "rk4", "heun3", "--json"]) == 0
    one, other = json.loads(capsys.readouterr().out)
    names = (
        "stages explicit order embedded_order control_order stage_order simplifying symplectic "
        "symmetric stability_function a_stable l_stable algebraically_stable stiffly_accurate "
        "circle_radius ssp_radius real_stability imaginary_stability error_constant "
        "principal_error_norm"
    ).split()
    assert set(names) <= set(one["properties"])
    assert one["properties"]["stability_function"]["numerator"] == ["1", "1", "1/2", "1/6", "1/24"]
    assert one["properties"]["error_constant_exact"] == "1/120"
    assert other["properties"]["control_order"] is None
    assert "vanishes" in other["properties"]["control_order_why"]


@pytest.mark.parametrize("style", ["text", "markdown", "latex"])
@pytest.mark.parametrize("name", ["gill4", "lobatto_iiic3", "ssprk54", "rk4_adjoint"])
def test_tables_are_shown_in_every_format(capsys, name, style):
    assert main(["show", name, "--format", style]) == 0
    printed = capsys.readouterr().out
    assert "1/6" in printed or r"\frac{1}{6}" in printed or "0.14681187615" in printed
    assert printed.count("{") == printed.count("}")


@pytest.mark.parametrize("name", ["dormand_prince54", "gauss3", "ssprk_s2"])
def test_stability_is_drawn(tmp_path, name):
    for suffix in ("png", "svg"):
        out = tmp_path / f"{name}.{suffix}"
        assert main(["plot", name, "--out", str(out)]) == 0
        assert out.stat().st_size > 10_000


def test_the_catalogue_is_filtered_by_what_is_proved(capsys):
    where = "order >= 6 and symplectic and free_tree_conditions >= 100"
    assert main(["list", "--kind", "partitioned", "--where", where]) == 0
    listed = {line.split()[1] for line in capsys.readouterr().out.splitlines() if "partit" in line}
    assert listed == {"lobatto_iiia_iiib4", "lobatto_iiic_iiic_star4"}
    assert main(["list", "--kind", "partitioned", "--where", "orders > 2"]) == 2
    assert "did you mean 'order'" in capsys.readouterr().err


def test_radii_of_methods_with_vanishing_and_negative_weights():
    one = Fraction(1)
    idle = Tableau(
        Stages(2), ((0 * one, 0 * one), (0 * one, one)), (one, 0 * one), None, (0 * one, one)
    )
    radius = contractivity.circle_radius(idle)
    assert radius is not None
    assert radius.lower == radius.upper == 1
    assert structure.is_dj_reducible(idle)
    twice = Tableau(
        Stages(2), ((one / 2, one / 2), (one / 2, one / 2)), (one / 2, one / 2), None, (one, one)
    )
    assert structure.is_hs_reducible(twice)
    assert structure.is_confluent(twice)
    assert not structure.is_hs_reducible(tableau_of("rk4"))


def test_orders_of_pairs_are_told_apart(reports):
    assert reports("mclachlan_atela4_pair")["separable_order"] == 3
    assert reports("mclachlan_atela4_pair")["nystrom_order"] == 4
    assert reports("stormer_verlet_pair")["explicit"] is True
    assert reports("ssprk3_adjoint")["order"] == 2


def test_modified_equations_have_a_door_of_their_own(capsys):
    assert main(["show", "implicit_midpoint", "--on", "pendulum_field"]) == 0
    assert "-p * cos(q) / 12" in capsys.readouterr().out
    assert main(["show", "alexander3", "--on", "pendulum_field"]) == 0
    assert "gamma" in capsys.readouterr().out
    found = hf.modified_equation("euler", "blow_up")
    assert set(found.terms) == {1, 2}
    with pytest.raises(DeclarationError, match="of order"):
        hf.modified_equation("gauss5", "blow_up")


def checked(tmp_path, text, name="mine", head=HEAD):
    path = tmp_path / f"{name}.toml"
    path.write_text(head.replace('"mine"', f'"{name}"') + text)
    return pipeline.check(catalogue.load(path))


@pytest.mark.parametrize(
    "claim",
    [
        'circle_radius = "1"',
        "real_stability = 2",
        "real_stability = 2.52",
        "imaginary_stability = 1.8",
        'symplectic = "0"',
        "circle_radius = 5e-3",
        'ssp_radius = "nan"',
        'real_stability = "1/0"',
    ],
)
def test_claims_that_are_nearly_true_are_false(tmp_path, claim):
    table = 'A = [[], ["1/2"], [-1, 2]]\nb = ["1/6", "2/3", "1/6"]\n[claims]\n'
    assert not checked(tmp_path, f"{table}{claim}\n").holds
    for true in ("real_stability = 2.51", "real_stability = 2.513", "circle_radius = 0.5"):
        assert checked(tmp_path, f"{table}{true}\n").holds


def test_a_multiple_root_is_found_where_it_is(tmp_path):
    constants = '[constants]\nr = { root = "(x**2 - 2)**2", near = "1.4" }\n'
    report = checked(tmp_path, f'A = [["r"]]\nb = [1]\n{constants}')
    assert report["error_constant"] == pytest.approx(0.5 - math.sqrt(2))


def rounded_copy(name, digits):
    a, b, _ = tableau_of(name).precise

    def text(number):
        return f'"{mpmath.nstr(number, 30)[: digits + 3]}"' if number else "0"

    rows = ", ".join("[" + ", ".join(map(text, row)) + "]" for row in a)
    return f'coefficients = "decimal"\nA = [{rows}]\nb = [{", ".join(map(text, b))}]\n'


def test_too_few_digits_are_refused_rather_than_judged(tmp_path):
    with pytest.raises(DeclarationError, match="the digits do not decide the order"):
        checked(tmp_path, rounded_copy("dormand_prince87", 6))


@pytest.mark.parametrize("name", ["crouzeix3", "gauss2", "radau_iia3", "rk38", "gill4"])
def test_published_digits_have_the_properties_of_what_they_round(reports, tmp_path, name):
    exact, rounded = reports(name), checked(tmp_path, rounded_copy(name, 15))
    for key in ("order", "control_order", "symplectic", "symmetric", "a_stable", "l_stable"):
        assert rounded[key] == exact[key], key
    for key in ("algebraically_stable", "stiffly_accurate", "simplifying", "dispersion_order"):
        assert rounded[key] == exact[key], key
    for key in ("circle_radius", "real_stability", "imaginary_stability"):
        assert float(rounded[key]) == pytest.approx(float(exact[key]), rel=1e-6), key


def test_a_reducible_table_is_what_it_reduces_to(reports, tmp_path):
    table = 'A = [["1/2", 0], ["1/4", "1/4"]]\nb = ["1/2", "1/2"]\n'
    report, midpoint = checked(tmp_path, table), reports("implicit_midpoint")
    assert report["hs_reducible"]
    for key in ("symplectic", "symmetric", "algebraically_stable", "circle_radius", "ssp_radius"):
        assert report[key] == midpoint[key], key


def test_orders_beyond_the_trees_are_settled_by_the_simplifying_assumptions(tmp_path):
    report = checked(tmp_path, '[collocation]\nnodes = "legendre(7)"\nconditions = "C"\n')
    assert (report["order"], report["control_order"], report["stage_order"]) == (14, 14, 7)
    assert report["error_constant"] != 0
    assert "Butcher's theorem" in report.finding("order").evidence


def test_the_adjoint_of_the_adjoint_is_the_method(tmp_path):
    adjoint = tableau_of("ssprk3").adjoint()
    rows = ", ".join("[" + ", ".join(f'"{entry}"' for entry in row) + "]" for row in adjoint.a)
    weights = ", ".join(f'"{weight}"' for weight in adjoint.b)
    report = checked(tmp_path, f"A = [{rows}]\nb = [{weights}]\n")
    assert report["order"] == 2
    assert report["adjoint"]["order"] == 3
    assert report["adjoint"]["explicit"] is True


def test_computed_tables_can_be_explicit(reports):
    assert reports("lobatto_iiic_star2")["explicit"] is True
    assert reports("lobatto_iiia3")["explicit"] is False


def test_pairs_of_exact_and_published_tables_know_the_digits(tmp_path):
    head = 'kind = "partitioned"\nname = "mine"\ntitle = "t"\nreference = "r"\n'
    exact = 'A = [[0, 0], ["1/3", "1/3"]]\nb = ["1/4", "3/4"]\n'
    digits = (
        'coefficients = "decimal"\n'
        'A = [["0.25", "-0.25"], ["0.25", "0.4166666666666667"]]\nb = ["0.25", "0.75"]\n'
    )
    for q, p in ((exact, digits), (digits, exact)):
        path = tmp_path / "mine.toml"
        path.write_text(f"{head}[q]\n{q}\n[p]\n{p}")
        report = pipeline.check(catalogue.load(path))
        assert "digits" in report.finding("order").evidence
        assert report["order"] >= 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('b_hat = [1]\n[collocation]\nnodes = "x"\nconditions = "C"', "b_hat means nothing here"),
        ("stages = 3\nA = [[]]\nb = [1]", "stages means nothing here"),
        ('A = [["sqrt(2) + sqrt(3) + sqrt(5) + sqrt(7) + sqrt(11)"]]\nb = [1]', "field of degree"),
    ],
)
def test_keys_and_numbers_that_mean_nothing_are_refused(tmp_path, text, message):
    with pytest.raises(DeclarationError, match=message):
        checked(tmp_path, text + "\n")


def test_roots_may_stand_among_published_digits(tmp_path):
    report = checked(
        tmp_path,
        'coefficients = "decimal"\nA = [[], ["sqrt(2)/2"]]\n'
        'b = ["0.2928932188134524", "0.7071067811865475"]\n',
    )
    assert report["order"] == 2
