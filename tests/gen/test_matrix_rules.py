"""Rules for matrices: their language, what is proved of them, and faults that are planted."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest

import hamilforge as hf
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.program.optimizers.build_matrix import derive_matrix_optimizer
from hamilforge.gen.program.optimizers.interpret_matrix import MatrixInterpreter
from hamilforge.gen.prove.optimizers import violation
from hamilforge.gen.prove.optimizers.singular_values import Iteration
from tests.samples import covered

HEAD = """kind = "optimizer"
name = "own"
title = "A rule"
reference = "none"
point = { X = ["rows", "columns"] }
"""
NUMBERS = """
[hyperparameters]
lr = { default = 0.1, domain = "nonnegative" }
"""
ONE = 'how = { default = "first", choices = ["first", "second"] }\n'
TWO = ONE + 'other = { default = "second", choices = ["second", "third"] }\n'


def declared(tmp_path, lines, more=NUMBERS, head=HEAD):
    path = tmp_path / "own.toml"
    listed = ",\n".join(f'    "{line}"' for line in lines)
    unknowns = "" if "[unknowns]" in more else 'unknowns = ["X"]\n'
    path.write_text(f"{head}{unknowns}assign = [\n{listed}\n]\n{more}")
    return path


def stepped(path, **arrays):
    derivation = derive_matrix_optimizer(catalogue.load(path, ("optimizer",)))
    machine = MatrixInterpreter(derivation)
    gradient = arrays.pop("G")
    return machine.step(arrays, gradient)


LOOP = "repeat(3, G2, G2 @ transpose(G2) @ G2)"
LANGUAGE = [
    ("rowmean(G2)", lambda g: g.mean(1, keepdims=True) + 0 * g),
    ("colmean(G2)", lambda g: g.mean(0, keepdims=True) + 0 * g),
    ("mean(G2)", lambda g: g.mean() + 0 * g),
    ("rms(G2)", lambda g: np.sqrt((g**2).mean()) + 0 * g),
    ("sqrt(rows/columns)", lambda g: np.sqrt(5 / 3) + 0 * g),
    (
        "quintic(G2, 2, -1, 1/2)",
        lambda g: 2 * g - g @ (g.T @ g) + g @ (g.T @ g) @ (g.T @ g) / 2,
    ),
    (LOOP, None),
    ("repeat(1, G2, 2*G2/(1 + rms(G2)))", lambda g: 2 * g / (1 + np.sqrt((g**2).mean()))),
]


@pytest.mark.parametrize(
    ("text", "value", "kernels"), covered(LANGUAGE, [LOOP]), indirect=["kernels"]
)
def test_functions_of_the_language(tmp_path, text, value, kernels):
    lines = ["G2 = grad(X)/norm(grad(X))", f"X = 0*X + 0*lr + {text}"]
    gradient = np.random.default_rng(0).standard_normal((5, 3))
    after = stepped(declared(tmp_path, lines), X=np.zeros((5, 3)), G=gradient)["X"]
    unit = gradient / np.linalg.norm(gradient)
    if value is None:
        expected = unit
        for _ in range(3):
            expected = expected @ expected.T @ expected
    else:
        expected = value(unit)
    assert abs(after - expected).max() < 1e-13
    assert hf.verify(declared(tmp_path, lines)).holds


def test_what_does_not_change_in_a_loop_is_computed_before_it(tmp_path):
    lines = ["Y = grad(X)", "X = X - lr*repeat(4, Y, (X @ transpose(X)) @ Y)"]
    derivation = derive_matrix_optimizer(catalogue.load(declared(tmp_path, lines), ("optimizer",)))
    (function,) = derivation.program.functions
    (loop,) = (line.value for line in function.lines if hasattr(line.value, "carried"))
    assert len(loop.lines) == 1


@pytest.mark.parametrize(
    ("lines", "more", "message"),
    [
        (["X = X - lr*repeat(2.5, X, X)*sum(grad(X))"], NUMBERS, "a whole number or a hyper-param"),
        (["X = X - lr*repeat(lr, X, X)*sum(grad(X))"], NUMBERS, "a whole number or a hyper-param"),
        (["X = X - lr*repeat(2, Y, X)*sum(grad(X))"], NUMBERS, "unknown name 'Y'"),
        (["X = X - lr*repeat(2, X, rowsum(X))*sum(grad(X))"], NUMBERS, "stays one of its shape"),
        (["X = X - lr*repeat(2, lr, X)*sum(grad(X))"], NUMBERS, "stays one of its shape"),
        (["X = X - lr*quintic(grad(X), X, 1, 1)"], NUMBERS, "a matrix and three numbers"),
        (
            ["r = rowsum(grad(X))", "X = X - lr*grad(X)"],
            '\n[unknowns]\nr = ["columns", 1]' + NUMBERS,
            r"\(rows, 1\); \(columns, 1\) was expected",
        ),
        (
            ["r = rowsum(grad(X))", "X = X - lr*grad(X)"],
            '\n[unknowns]\nr = ["rows", 2]' + NUMBERS,
            "a list of two dimensions was expected, of rows, columns and 1",
        ),
        (
            ["X = X - lr*grad(X)*(how == other)"],
            NUMBERS + 'how = { default = "first", choices = ["first", "second"] }',
            r"'\)' was expected, not '=='",
        ),
        (
            ["X = X - lr*where(how == other, grad(X), X)"],
            NUMBERS + 'how = { default = "first", choices = ["first", "second"] }',
            "'how' is compared with one of first, second",
        ),
        (
            ["X = X - lr*where(how == second, grad(X), X)"],
            NUMBERS + 'how = { default = "third", choices = ["first", "second"] }',
            "no choice 'third'; expected one of first, second",
        ),
        (
            ["X = X - lr*grad(X)"],
            NUMBERS + 'how = { default = "first", choices = ["first", "second"] }',
            "nothing reads 'how'",
        ),
        *(
            ([f"X = X - lr*where({test}, grad(X), X)"], NUMBERS + TWO, message)
            for test, message in (
                ("how >= second", "'how' is a choice: it is compared by == or !="),
                ("how + 1 > 1", "'how' is a choice: it is compared by == or !="),
                ("how == other", "'how' is compared with one of first, second"),
                ("other == first", "'other' is compared with one of second, third"),
                ("how == second*1", "'how' is compared with one of first, second"),
                ("second == 1", "unknown name 'second'"),
            )
        ),
        *(
            (
                ["X = X - lr*where(how == first, grad(X), X)"],
                NUMBERS + f'how = {{ default = "first", choices = ["first", "{name}"] }}',
                f"'{name}' cannot be a choice|'{name}' cannot be a name here|declared twice",
            )
            for name in ("rows", "lr", "how", "G", "X", "n")
        ),
        (
            ["X = X - lr*where(how == first, grad(X), X)"],
            NUMBERS + ONE + '[require]\n"how == none" = "no"',
            "'how' is compared with one of first, second",
        ),
        (["X = X - lr*grad(X)"], NUMBERS + '[require]\n"lrr > 0" = "no"', "unknown name 'lrr'"),
        (
            ["X = X - lr*eps*grad(X)"],
            NUMBERS
            + 'eps = { default = "none", domain = "nonnegative-or-none" }\n'
            + '[require]\n"eps < 1" = "no"',
            "'eps' may be None",
        ),
        (["X = X - lr*grad(X)"], "[vector]\nassign = ['Y = 1']" + NUMBERS, "'X' is never assigned"),
        (["X = X - lr*grad(X)"], "[vector]" + NUMBERS, "a list of 'name = expression' was"),
        (
            ["X = X - lr*grad(X)"],
            "[vector]\nasign = []\nassign = ['X = X - lr*grad(X)']" + NUMBERS,
            "unknown key; expected assign; did you mean 'assign'",
        ),
        (
            ["X = X - lr*grad(X)"],
            "[vector]\nassign = ['X = X - lr*columns*grad(X)']" + NUMBERS,
            "unknown name 'columns'|takes a dimension",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_the_language_refuses(tmp_path, lines, more, message):
    with pytest.raises(DeclarationError, match=message):
        catalogue.load(declared(tmp_path, lines, more), ("optimizer",))


def test_the_number_of_the_step_is_no_dimension(tmp_path):
    head = HEAD.replace('["rows", "columns"]', '["n", "p"]')
    path = declared(tmp_path, ["X = X - lr/n*grad(X)"], head=head)
    with pytest.raises(DeclarationError, match="'n' is the number of the step"):
        catalogue.load(path, ("optimizer",))


def changed(tmp_path, name, old, new):
    text = (catalogue.root() / "optimizers" / f"{name}.toml").read_text()
    assert old in text
    path = tmp_path / "own.toml"
    path.write_text(text.replace(old, new).replace(f'name = "{name}"', 'name = "own"'))
    return path


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("pogo", "M @ F/2", "M @ F/3"),
        ("pogo", "-3*E @ E/4 + E", "-3*E @ E/4 - E"),
        ("pogo", "-3*F @ F/4", "-F @ F/2"),
        ("pogo", "R = gradient(B)", "R = B"),
        ("landing", "2*lr*attraction", "lr*attraction"),
        ("landing", "- X @ (transpose(grad(X)) @ X)", "+ X @ (transpose(grad(X)) @ X)"),
    ],
)
def test_faults_of_claims_of_the_violation_are_seen(tmp_path, name, old, new):
    report = hf.check(name)
    assert report.holds
    assert not hf.check(changed(tmp_path, name, old, new)).holds


def test_a_claim_in_what_a_step_computes_holds_whatever_its_factor(tmp_path):
    assert hf.check(changed(tmp_path, "landing", '/2"', '/3"')).holds


def leaving(tmp_path, lines, claim, more=""):
    """A rule without a retraction, with a claim of the violation."""
    head = HEAD.replace('point = { X = ["rows", "columns"] }', 'manifold = "stiefel"')
    claims = f'{more}\n[claims]\nviolation = "{claim}"\n'
    return declared(tmp_path, lines, NUMBERS + claims, head + 'retraction = "none"\n')


@pytest.mark.parametrize(
    ("claim", "bound"),
    [
        ("E", "|E|**1 where 0 <= E"),
        ("-3*E @ E/4 + E @ E @ E/4", "3/4*|E|**2 where 0 <= E <= 6"),
        ("E @ E + E @ E @ E", ""),  # more than |E|^2 as soon as E is not 0
        ("E*E", ""),  # no product of matrices
        ("1 - E", ""),  # a number is added to all entries
        ("E @ E - 2*E", "2*|E|**1 where 0 <= E <= 4"),
    ],
)
def test_bounds_of_polynomials_in_one_matrix(tmp_path, claim, bound):
    lines = ["E = lr*transpose(grad(X)) @ grad(X)", "X = X - lr*grad(X)"]
    rule = catalogue.load(leaving(tmp_path, lines, claim), ("optimizer",))
    assert violation._bound(rule, dict(rule.violations)["violation"]) == bound


@pytest.mark.parametrize(
    ("factor", "more", "holds"),
    [
        ("1", "", True),
        ("n", "", False),  # the same in the first step alone
        ("where(how == second, 2, 1)", ONE, False),
        ("where(careful, 1, 2)", "careful = { default = true, domain = 'flag' }", False),
        ("where(lr > 2, 2, 1)", "", False),
    ],
)
def test_claims_are_looked_at_in_all_settings_and_later_steps(tmp_path, factor, more, holds):
    lines = ["R = project(grad(X))", f"X = X - {factor}*lr*R"]
    report = hf.check(leaving(tmp_path, lines, "lr**2*transpose(R) @ R", more))
    assert report.holds == holds


def test_a_claim_on_the_sphere_is_a_number(tmp_path, kernels):
    path = leaving(tmp_path, ["R = project(grad(X))", "X = X - lr*R"], "lr**2*sum(R*R)")
    path.write_text(path.read_text().replace('"stiefel"', '"sphere"'))
    report = hf.check(path)
    assert report.holds
    assert report["violation_order"] == 2
    assert hf.verify(path).holds


def test_of_a_rule_that_stays_there_is_no_power_of_what_it_leaves(tmp_path):
    path = leaving(tmp_path, ["X = polar(X - lr*grad(X))"], "0*transpose(X) @ X")
    report = hf.check(path)
    assert report.holds
    assert "violation_order" not in {finding.name for finding in report.findings}


def test_what_a_step_leaves_of_the_constraint():
    pogo, landing = hf.check("pogo"), hf.check("landing")
    assert pogo["violation_order"] == 4
    assert pogo["violation_bound"] == "3/4*|E|**2 where 0 <= E <= 6"
    assert landing["violation_order"] == 2


def test_a_high_power_of_what_a_step_leaves_is_read_off(tmp_path):
    """Two steps of Newton and Schulz: -3/4 F^2 + ... of what one leaves, lr^8."""
    path = changed(
        tmp_path,
        "pogo",
        '"X = M - M @ F/2",',
        '"N = M - M @ F/2",\n    "X = N - N @ (transpose(N) @ N - eye(p))/2",',
    )
    text = path.read_text()
    path.write_text(text[: text.index("[claims]")] + '[claims]\nviolation = "E + E"\n')
    report = hf.check(path)
    assert report["violation_order"] == 8
    assert not report.holds


def test_the_flow_of_a_rule_may_be_slower_and_in_another_metric(tmp_path):
    landing = hf.check("landing").finding("order")
    assert landing.value == 1
    assert "in the canonical metric at 0.5 of its speed" in landing.reach
    path = changed(tmp_path, "landing", ')/2",', ')",')
    assert "in the canonical metric;" in hf.check(path).finding("order").reach
    path = changed(tmp_path, "landing", "X - lr*F", "X + lr*F")
    assert hf.check(path)["order"] is None


def test_a_speed_that_depends_on_the_gradient_is_none(tmp_path):
    change = "gradient(grad(X))/(1 + norm(grad(X))))"
    path = changed(tmp_path, "stiefel_descent", "gradient(grad(X)))", change)
    text = path.read_text()
    path.write_text(text[: text.index("[claims]")])
    order = hf.check(path).finding("order")
    assert order.value is None
    assert "depends on the gradient" in order.why


def test_a_rule_without_an_lr_says_so(tmp_path):
    text = (catalogue.root() / "optimizers" / "stiefel_descent.toml").read_text()
    path = tmp_path / "own.toml"
    path.write_text(
        text[: text.index("[claims]")].replace("lr", "rate").replace("stiefel_descent", "own")
    )
    assert "no hyper-parameter lr" in hf.check(path).finding("order").why


def test_a_rule_without_a_retraction_says_by_how_much_it_leaves(tmp_path):
    path = changed(tmp_path, "landing", "violation = ", "# violation = ")
    with pytest.raises(DeclarationError, match="a claim says by how much"):
        catalogue.load(path, ("optimizer",))
    path = changed(tmp_path, "landing", 'violation = "lr', 'violation = "X + lr')
    with pytest.raises(DeclarationError, match="the shapes do not fit"):
        catalogue.load(path, ("optimizer",))


def test_a_second_moment_for_each_entry_leaves_the_tangent_space(tmp_path):
    assert hf.check("stiefel_adam")["stays"]["V tangent"]
    path = changed(
        tmp_path,
        "stiefel_adam",
        "M = beta1*V + (1 - beta1)*R",
        "M = (beta1*V + (1 - beta1)*R)/(sqrt(R**2) + 1)",
    )
    text = path.read_text().replace("V = transport(M)", "V = M")
    path.write_text(text)
    assert not hf.check(path)["stays"]["V tangent"]


def test_where_the_values_of_five_steps_of_muon_lie():
    """Largest 1.2024; from 0.6818 on, where a value was 1.51e-3 of the norm; 484.88 near 0."""
    values = hf.check("muon")["singular_values"]
    assert values["least"] == 0
    assert abs(values["largest"] - 1.2024) < 5e-5
    assert abs(values["floor"] - 0.6818) < 5e-5
    assert abs(values["from"] - 1.51e-3) < 1e-5
    assert abs(values["slope"] - 3.4445**5) < 1e-9
    # beside the values on a grid
    x = np.linspace(0, 1, 200_001)
    y = x.copy()
    for _ in range(5):
        y = 3.4445 * y - 4.775 * y**3 + 2.0315 * y**5
    assert abs(y.max() - values["largest"]) < 1e-6
    assert abs(y[x >= values["from"]].min() - values["floor"]) < 1e-3
    assert y[x < values["from"] - 1e-5].max() < values["floor"]


@pytest.mark.parametrize(
    ("coefficients", "count", "extremes"),
    [
        ((1.5, -0.5, 0), 4, 0),
        ((1.875, -1.25, 0.375), 3, 0),  # q' has a double root at 1
        ((2, -1.5, 0.5), 2, 3),
        ((3.4445, -4.775, 2.0315), 2, 4),
    ],
)
def test_other_coefficients(coefficients, count, extremes):
    """Beside values and changes of sign of their differences on a grid."""
    with mpmath.workdps(120):
        iteration = Iteration(*map(mpmath.mpf, coefficients), count)
        low, high = iteration.image()
        grid = [iteration(mpmath.mpf(k) / 500) for k in range(501)]
        assert low == 0
        assert max(grid) <= high + mpmath.mpf("1e-30")
        assert abs(high - max(grid)) < 1e-3
        rises = [after > before for before, after in itertools.pairwise(grid)]
        turns = [k / 500 for k in range(1, 500) if rises[k] != rises[k - 1]]
        extrema = iteration.extrema()
        assert len(extrema) == len(turns) == extremes
        assert all(abs(x - k) <= 1 / 500 for x, k in zip(extrema, turns, strict=True))


def test_an_iteration_that_begins_too_large_is_told(tmp_path):
    path = changed(tmp_path, "muon", "S = M/max(norm(M), eps)", "S = 3*M/max(norm(M), eps)")
    finding = hf.check(path).finding("singular_values")
    assert finding.value is None
    assert "does not begin" in finding.why


def test_an_iteration_that_begins_too_large_for_large_gradients_is_told(tmp_path):
    path = changed(tmp_path, "muon", "S = M/max(norm(M), eps)", "S = M/(20 + eps)")
    assert hf.check(path)["singular_values"] is None


def test_an_iteration_that_grows_is_told_and_can_be_used(tmp_path):
    path = changed(tmp_path, "muon", "[3.4445, -4.775, 2.0315]", "[8, -22, 16]")
    finding = hf.check(path).finding("singular_values")
    assert finding.value is None
    assert "grow beyond" in finding.why


@pytest.mark.parametrize(
    ("old", "new", "holds"),
    [
        ("- lr*ratio*O", "+ lr*ratio*O", False),
        ("- lr*ratio*O", "- lr*(ratio*O + X)", False),
        ("- lr*ratio*O", "- 2*lr*ratio*O", True),
    ],
)
def test_whether_a_step_is_one_of_steepest_descent(tmp_path, old, new, holds):
    report = hf.check(changed(tmp_path, "muon", old, new))
    assert (report["steepest_descent"] is not None) == holds


def test_functions_of_tall_matrices_are_seen_inside_loops(tmp_path):
    torch = pytest.importorskip("torch")
    path = declared(tmp_path, ["X = X - lr*repeat(2, X, polar(X + grad(X)))"])
    with pytest.raises(ValueError, match="4 columns and 2 rows"):
        hf.optimizer(path)([torch.nn.Parameter(torch.ones(2, 4))])


def test_what_does_not_change_may_be_repeated(tmp_path, kernels):
    path = declared(tmp_path, ["Y = grad(X)", "X = X - lr*repeat(2, Y, Y)"])
    assert hf.verify(path).holds


def test_two_choices_may_share_a_name(tmp_path, kernels):
    lines = ["X = X - lr*where(how == second, 2, 3)*where(other == second, 5, 7)*grad(X)"]
    path = declared(tmp_path, lines, NUMBERS + TWO)
    arrays = {"X": np.zeros((3, 2)), "G": np.ones((3, 2))}
    assert stepped(path, **arrays)["X"][0, 0] == -0.1 * 3 * 5
    assert hf.verify(path).holds


def test_a_vector_of_a_square_matrix_is_refused(tmp_path):
    head = HEAD.replace('["rows", "columns"]', '["rows", "rows"]')
    more = "[vector]\nassign = ['X = X - lr*grad(X)']" + NUMBERS
    with pytest.raises(DeclarationError, match=r"X is \(rows, rows\)"):
        catalogue.load(declared(tmp_path, ["X = X - lr*grad(X)"], more, head), ("optimizer",))


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["S = grad(X)/(4*rms(grad(X)))"], "does not begin"),  # its norm grows with the size
        (["S = where(rows > 5, 3, 1)*grad(X)/norm(grad(X))"], "does not begin"),
    ],
)
def test_an_iteration_that_begins_too_large_at_some_sizes_is_told(tmp_path, lines, why):
    lines = [*lines, "X = X - lr*repeat(5, S, quintic(S, 2, -3/2, 1/2))"]
    assert why in hf.check(declared(tmp_path, lines)).finding("singular_values").why


def test_where_values_begin_is_of_the_norm_only_where_that_is_divided_by(tmp_path):
    end = "X = X - lr*repeat(5, S, quintic(S, 2, -3/2, 1/2))"
    whole = hf.check(declared(tmp_path, ["S = grad(X)/norm(grad(X))", end]))
    half = hf.check(declared(tmp_path, ["S = grad(X)/(2*norm(grad(X)))", end]))
    assert "of the norm or more" in whole.finding("singular_values").brief
    assert "of the norm" not in half.finding("singular_values").brief


def test_a_claim_that_does_not_hold_has_no_bound(tmp_path):
    lines = [
        "E = lr**2*transpose(project(grad(X))) @ project(grad(X))",
        "X = X - lr*project(grad(X))",
    ]
    assert hf.check(leaving(tmp_path, lines, "E"))["violation_bound"] == "|E|**1 where 0 <= E"
    report = hf.check(leaving(tmp_path, lines, "2*E"))
    assert not report.holds
    assert "violation_bound" not in {finding.name for finding in report.findings}


def test_more_settings_than_are_looked_at_show_nothing(tmp_path):
    flags = [f"f{k}" for k in range(8)]
    more = "\n".join(f"{name} = {{ default = false, domain = 'flag' }}" for name in flags)
    lines = ["R = project(grad(X))", f"X = X - (1 + {'*'.join(flags)})*lr*R"]
    report = hf.check(leaving(tmp_path, lines, "lr**2*transpose(R) @ R", more))
    assert not report.holds
    assert report["violation"] is None
