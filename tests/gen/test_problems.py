"""Problems to minimise: read, derived and proved; what is false of them is told.

Losses are compared with formulas written here by hand from the same papers, and with SciPy's.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import mpmath
import numpy as np
import pytest
from scipy import optimize

import hamilforge as hf
from hamilforge import cli
from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import ClaimError, DeclarationError
from hamilforge.gen.declare.functions import PRIMITIVE
from hamilforge.gen.program.precise import PRECISE
from hamilforge.gen.program.problems.build import build_problem
from hamilforge.gen.program.problems.interpret import ProblemInterpreter
from hamilforge.gen.program.reference import FLOAT64
from tests.samples import covered

NAMES = catalogue.names("problem")


def _levy(x):
    w = 1 + (x - 1) / 4
    inner = (w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)
    last = (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)
    return np.sin(np.pi * w[0]) ** 2 + inner.sum() + last


def _zakharov(x):
    weighted = (0.5 * np.arange(1, len(x) + 1) * x).sum()
    return (x**2).sum() + weighted**2 + weighted**4


def _ackley(x):
    mean = np.cos(2 * np.pi * x).mean()
    return -20 * np.exp(-0.2 * np.sqrt((x**2).mean())) - np.exp(mean) + 20 + np.e


def _griewank(x):
    return 1 + (x**2).sum() / 4000 - np.cos(x / np.sqrt(np.arange(1, len(x) + 1))).prod()


def _correlated(x):
    place = np.arange(len(x))
    return x @ 0.95 ** abs(place[:, None] - place) @ x / 2


def _chained_lq(x):
    a, b = x[:-1], x[1:]
    return np.maximum(-a - b, -a - b + (a**2 + b**2 - 1)).sum()


#: The losses of problems whose data are not drawn.
BY_HAND = {
    "absolute": lambda x: abs(x).sum(),
    "ackley": _ackley,
    "beale": lambda x: (
        (1.5 - x[0] + x[0] * x[1]) ** 2
        + (2.25 - x[0] + x[0] * x[1] ** 2) ** 2
        + (2.625 - x[0] + x[0] * x[1] ** 3) ** 2
    ),
    "booth": lambda x: (x[0] + 2 * x[1] - 7) ** 2 + (2 * x[0] + x[1] - 5) ** 2,
    "chained_lq": _chained_lq,
    "correlated_quadratic": _correlated,
    "griewank": _griewank,
    "himmelblau": lambda x: (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2,
    "ill_conditioned": lambda x: (np.geomspace(1, 1000, len(x)) * x**2).sum() / 2,
    "levy": _levy,
    "matyas": lambda x: 0.26 * (x**2).sum() - 0.48 * x.prod(),
    "rastrigin": lambda x: 10 * len(x) + (x**2 - 10 * np.cos(2 * np.pi * x)).sum(),
    "rosenbrock": optimize.rosen,
    "sphere": lambda x: (x**2).sum(),
    "styblinski_tang": lambda x: (x**4 - 16 * x**2 + 5 * x).sum() / 2,
    "two_kinks": lambda x: abs(abs(x) - 1).sum(),
    "zakharov": _zakharov,
}
#: Published minimizers and minima, where the declaration has them by a formula.
PUBLISHED = {"styblinski_tang": (-2.903534, -39.16616570377142)}


def interpreter(name, **sizes):
    problem = catalogue.load(f"problem/{name}", ("problem",))
    chosen = {key: sizes.get(key, size) for key, size in problem.sizes}
    return ProblemInterpreter(build_problem(problem), chosen)


def with_vector(machine, x):
    point, used = {}, 0
    for array in machine.landscape.variables:
        shape = machine.shape(array.shape)
        count = math.prod(shape)
        point[array.name] = x[used : used + count].reshape(shape) if shape else x[used]
        used += count
    return point


def vector(slopes):
    return np.concatenate([np.ravel(slope) for slope in slopes.values()])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_declared_of_minimizers_is_proved(name):
    report = hf.check(f"problem/{name}")
    assert report.holds
    assert report["stationary"] is True
    assert isinstance(report["minimum"], float)


@pytest.mark.parametrize("name", sorted(BY_HAND))
@pytest.mark.parametrize("size", [2, 5])
def test_losses_are_those_of_the_papers(name, size):
    machine = interpreter(name, d=size)
    length = sum(math.prod(machine.shape(array.shape)) for array in machine.landscape.variables)
    for x in np.random.default_rng(3).uniform(-3, 3, (5, length)):
        wanted = BY_HAND[name](x)
        assert machine.loss(with_vector(machine, x)) == pytest.approx(wanted, rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_the_slopes_of_the_losses(name):
    machine = interpreter(name, d=4, n=5, m=4, k=3, r=2)
    start = vector(machine.point("start"))
    x = start + 0.1 * np.random.default_rng(4).standard_normal(start.shape)
    value, slopes = machine.gradient(with_vector(machine, x))
    assert value == machine.loss(with_vector(machine, x))
    step = 1e-6
    for k, unit in enumerate(np.eye(len(x))):
        ahead, behind = (machine.loss(with_vector(machine, x + s * unit)) for s in (step, -step))
        scale = 1 + abs(vector(slopes)).max()
        assert vector(slopes)[k] == pytest.approx((ahead - behind) / (2 * step), abs=2e-7 * scale)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_minimizers_by_formulas_are_the_published_ones(name):
    point, least = PUBLISHED[name]
    problem = hf.problem(name, d=1)
    assert problem.minimizers[0] == pytest.approx([point], abs=1e-6)
    assert problem.minimum == pytest.approx(least, abs=1e-12)


HEAD = 'kind = "problem"\nname = "mine"\ntitle = "T"\nreference = "R"\n'
PARABOLA = (
    HEAD + 'variables = { x = ["d"] }\nsizes = { d = 3 }\nloss = "sum((x - 1)**2)"\n'
    "[start]\nx = 0\n[[minimizers]]\nx = 1\n"
)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("extra", "minimizer", "named", "true"),
    [
        ("", "1.001", "stationary", False),
        ("", "1 + 1e-35", "stationary", False),
        ("minimum = 1e-30\n", "1", "minimum", "0.0"),
        ("minimum = -1\n", "1", "minimum", "0.0"),
    ],
)
def test_a_point_or_a_minimum_that_is_none_is_told_and_refused(
    tmp_path, extra, minimizer, named, true
):
    path = written(
        tmp_path,
        PARABOLA.replace("[start]", f"{extra}[start]").replace("x = 1", f'x = "{minimizer}"'),
    )
    report = hf.check(path)
    (claim,) = [claim for claim in report.claims if not claim.holds]
    assert (claim.name, claim.found) == (named, true)
    with pytest.raises(ClaimError, match=named):
        hf.problem(path)


def test_a_minimizer_that_a_lower_point_is_found_beside_is_told(tmp_path):
    text = (
        HEAD + 'variables = { x = [] }\nloss = "x**4 - 2*x**2 + x/2"\n[start]\nx = 2\n'
        '[[minimizers]]\nx = "ROOT"\n'
    )
    # the roots of 4 x^3 - 4 x + 1/2 by the cosine of thirds of an angle
    roots = [f"2/sqrt(3)*cos(acos(-3*sqrt(3)/16)/3 - 2*pi*{k}/3)" for k in range(3)]
    values = {root: hf.check(written(tmp_path, text.replace("ROOT", root))) for root in roots}
    assert [report["stationary"] for report in values.values()] == [True] * 3
    lowest = min(report["minimum"] for report in values.values())
    for report in values.values():
        assert report.holds == (report["minimum"] == lowest)


def test_of_kinks_zero_is_a_combination_of_slopes_or_the_point_is_refused(tmp_path):
    text = (catalogue.root() / "problems" / "two_kinks.toml").read_text()
    assert hf.check(written(tmp_path, text))["critical"] is True
    for place in ("0.5", "where(i == 0, 0.2, 1)", "1 + 1e-5"):
        wrong = text.replace('x = "where(i == 0, 0, 1)"', f'x = "{place}"')
        assert wrong != text
        report = hf.check(written(tmp_path, wrong))
        assert report["critical"] is False
        assert not report.holds


@pytest.mark.parametrize(
    ("line", "other", "message"),
    [
        ('loss = "sum((x - 1)**2)"', 'loss = "(x - 1)**2"', "a loss is a scalar"),
        ('loss = "sum((x - 1)**2)"', 'loss = "d**2"', "depends on no variable"),
        ('loss = "sum((x - 1)**2)"', 'loss = "sum((y - 1)**2)"', "unknown name 'y'"),
        ('loss = "sum((x - 1)**2)"', 'loss = "sum(shift(x, d))"', "a whole number from"),
        ("sizes = { d = 3 }", "sizes = { d = 0 }", "a whole number from 1"),
        ("sizes = { d = 3 }", "sizes = { d = 3, n = 2 }", "no variable has a dimension n"),
        ("sizes = { d = 3 }\n", "", "the dimension d has no size"),
        ('{ x = ["d"] }', '{ x = ["d", "d", "d"] }', "a shape was expected"),
        ('{ x = ["d"] }', '{ i = ["d"] }', "'i' cannot be a name here"),
        ("[start]\nx = 0\n", "", "this table is missing"),
        ("[start]\nx = 0\n", "[start]\ny = 0\n", "'y' is no variable"),
        ("[start]\nx = 0\n", '[start]\nx = "x"\n', "unknown name 'x'"),
        ("[start]\nx = 0\n", '[start]\nx = "j"\n', "unknown name 'j'"),
        ("[[minimizers]]", "[minimizers]", "tables were expected"),
        ("[start]", '[data]\nA = { shape = ["d"] }\n[start]', "either a value or a draw"),
        (
            "[start]",
            '[data]\nA = { shape = ["d"], draw = "cauchy" }\n[start]',
            "expected one of normal, uniform, rotation",
        ),
        (
            "[start]",
            '[data]\nA = { shape = ["d"], draw = "rotation" }\n[start]',
            "a rotation is a square matrix",
        ),
        (
            "[start]",
            '[data]\nA = { shape = ["d"], value = "1", seed = 2 }\n[start]',
            "a seed belongs to what is drawn",
        ),
        ("[start]", '[data]\nx = { shape = [], value = "1" }\n[start]', "has a meaning already"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(tmp_path, line, other, message):
    assert line in PARABOLA
    with pytest.raises(DeclarationError, match=re.escape(message)) as caught:
        catalogue.load(written(tmp_path, PARABOLA.replace(line, other)))
    assert all(problem.line for problem in caught.value.problems if "missing" not in message)


def test_a_start_without_a_finite_loss_is_refused(tmp_path):
    text = PARABOLA.replace("(x - 1)**2", "log(x)**2")
    with pytest.raises(DeclarationError, match="no finite value at the start"):
        hf.check(written(tmp_path, text))


def test_every_function_of_programs_has_a_precise_value():
    """Beside the reference in float64, at a point of all their domains."""
    two = {"at_least", "equal", "greater", "max", "min"}
    with mpmath.workdps(30):
        for name in PRIMITIVE:
            x = 1.25 if name == "acosh" else 0.375
            args = [np.array([x])] * (1 + (name in two))
            wanted = FLOAT64.functions[name](*args)[0]
            numbers = [np.array([mpmath.mpf(x)], object)] * len(args)
            found = PRECISE.functions[name](*numbers)[0]
            assert float(found) == pytest.approx(wanted, rel=1e-14), name


def test_the_derivative_of_a_product_divides_by_no_factor(tmp_path):
    text = (
        HEAD + 'variables = { x = ["d"] }\nsizes = { d = 4 }\nloss = "prod(x) + sum(x**2)"\n'
        '[start]\nx = "i - 1"\n'
    )
    problem = hf.problem(written(tmp_path, text))
    x = np.array([3.0, 0.0, -2.0, 5.0])
    others = [np.delete(x, k).prod() for k in range(4)]
    assert problem.gradient(x) == pytest.approx(others + 2 * x, rel=1e-15)


def test_show_tells_data_points_and_gradient(capsys):
    assert cli.main(["show", "problem/rosenbrock"]) == 0
    shown = capsys.readouterr().out
    for text in ("followed", "minimizer x: 1", "x_plus_1_bar", "The derived gradient"):
        assert text in shown
    for form in ("latex", "markdown"):
        assert cli.main(["show", "problem/griewank", "--format", form]) == 0


def test_generated_problems_carry_their_declaration(tmp_path):
    made = (catalogue.load("problem/beale", ("problem",)),)
    texts = pipeline.generate(made)
    assert set(texts) == {"beale__problem_numba.py", "beale__problem_torch.py"}
    assert all("Jamil" not in text and "problem 5" in text for text in texts.values())


def renamed(variable: str, datum: str) -> str:
    return (
        HEAD + f'variables = {{ {variable} = ["d"] }}\nsizes = {{ d = 3 }}\nminimum = 5\n'
        f'loss = "sum({datum}*({variable} - 1)**2) + 5"\n'
        f'[data]\n{datum} = {{ shape = ["d"], value = "3 + i" }}\n'
        f"[start]\n{variable} = 2\n[[minimizers]]\n{variable} = 1\n"
    )


RESULTS = ("loss", "minimum", "start", "critical", "gradient", "prepare")


@pytest.mark.parametrize(("name", "kernels"), covered(RESULTS, ["loss"]), indirect=["kernels"])
def test_what_results_are_called_may_be_declared(tmp_path, name, kernels):
    x = np.array([2.0, -1.0, 0.5])
    plain = hf.problem(written(tmp_path, renamed("x", "A")))
    wanted = plain.value_and_gradient(x)
    for variable, datum in ((name, "A"), ("x", name)):
        path = tmp_path / f"{variable}_{datum}.toml"
        path.write_text(renamed(variable, datum))
        problem = hf.problem(path)
        value, slope = problem.value_and_gradient(x)
        assert (problem(x), value) == (wanted[0], wanted[0])
        assert (slope == wanted[1]).all()
        assert (problem.data[datum] == plain.data["A"]).all()
        assert problem.minimum == plain.minimum == 5
        verification = hf.verify(path)
        assert verification.holds, str(verification)


def smooth(loss: str, minimizer: str = "0", start: str = "1", more: str = "") -> str:
    return (
        HEAD + f'variables = {{ x = ["d"] }}\nsizes = {{ d = 4 }}\n{more}loss = "{loss}"\n'
        f'[start]\nx = "{start}"\n[[minimizers]]\nx = "{minimizer}"\n'
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        # slopes that are small beside those at the start, or everywhere
        (smooth("sum(abs(x)) + sum(x**4)", "0.4", "1000"), "stationary"),
        (smooth("sum(abs(x))/10**6", "0.3"), "stationary"),
        (smooth("sum(x**2) - 1.001*sum(w*x**2)").replace(
            "[start]", '[data]\nw = { shape = ["d"], value = "where(i == 0, 1, 0)" }\n[start]'
        ), "minimum"),
        (smooth("sum((x - 1)**2)", "where(d < 4, 1, 0.9)"), "stationary"),
    ],
)  # fmt: skip
def test_points_that_are_none_are_seen_whatever_the_scale(tmp_path, text, named):
    report = hf.check(written(tmp_path, text))
    assert named in [claim.name for claim in report.claims if not claim.holds]


def test_sizes_at_which_the_data_have_no_value_are_left_out(tmp_path):
    weights = '[data]\nw = { shape = ["d"], value = "VALUE" }\n[start]'
    for value, size in (("1/(d - 2)", 5), ("log(d - 3)*(d - 2)", 5), ("sqrt(d - 5)", 7)):
        text = smooth("sum(w*(x - 1)**2)", "1").replace("[start]", weights).replace("VALUE", value)
        report = hf.check(written(tmp_path, text.replace("d = 4", f"d = {size}")))
        assert report["stationary"] is True
        assert "d = 2" not in report.finding("stationary").reach
        with pytest.raises(DeclarationError, match="at the declared sizes"):
            hf.check(written(tmp_path, text.replace("d = 4", "d = 2").replace("d - 5", "d - 9")
                             .replace("d - 3", "d - 2")))  # fmt: skip


def test_many_dimensions_with_kinks_need_many_sides(tmp_path):
    text = (
        HEAD + 'variables = { x = ["n", "m"], y = ["m", "n"] }\nsizes = { n = 7, m = 8 }\n'
        'loss = "sum(abs(x)) + sum(abs(y))"\n[start]\nx = 1\ny = 1\n'
        "[[minimizers]]\nx = 0\ny = 0\n"
    )
    assert hf.check(written(tmp_path, text))["stationary"] is True


def test_a_minimum_needs_a_minimizer(tmp_path):
    text = smooth("sum(x**2)", more="minimum = 17\n").split("[[minimizers]]")[0]
    with pytest.raises(DeclarationError, match="it is checked at minimizers"):
        hf.check(written(tmp_path, text))


def test_names_of_options_are_no_sizes_or_parameters(tmp_path):
    text = smooth("sum(x**2)").replace("sizes = { d = 4 }", "sizes = { d = 4, device = 2 }")
    with pytest.raises(DeclarationError, match="'device' cannot be a name here"):
        hf.check(written(tmp_path, text))
    path = written(
        tmp_path, smooth("sum(x**2)").replace('"d"', '"name"').replace("d = 4", "name = 4")
    )
    assert hf.problem(path, name=6).start.shape == (6,)


def test_a_loss_without_a_derivative_at_its_minimizer_is_not_called_false(tmp_path):
    for loss in ("sum(sqrt(abs(x)))", "sqrt(sum(x**2))"):
        report = hf.check(written(tmp_path, smooth(loss, more="minimum = 0\n")))
        assert report.holds, str(report)
        assert report["stationary"] in (True, None)


def test_a_lower_loss_is_one_claim(tmp_path):
    report = hf.check(written(tmp_path, smooth("1 - sum(x**2)", more="minimum = 1\n")))
    (claim,) = [claim for claim in report.claims if claim.name == "minimum"]
    assert (claim.declared, claim.holds) == ("1", False)


def test_a_loss_that_divides_by_zero_is_told_with_its_line(tmp_path):
    with pytest.raises(DeclarationError, match="divides by zero") as caught:
        hf.check(written(tmp_path, smooth("sum(x**2)/0")))
    assert caught.value.problems[0].line == 7
