"""What is said of a step after many: its rest, its drift, and on which parabolas it does not grow.

Formulas are compared with runs of the interpreter, and intervals of the curvature with eigenvalues.
"""

from __future__ import annotations

import random
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.program.optimizers.build_rule import derive_rule
from hamilforge.gen.program.optimizers.interpret import Interpreter
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.prove.optimizers.card_names import PLAIN, Names, start_of
from hamilforge.gen.prove.optimizers.step_map import FrozenSteps, StepMap, curvature, step_map
from hamilforge.gen.prove.optimizers.step_rates import effective_rate
from hamilforge.gen.prove.optimizers.step_rest import resting
from hamilforge.gen.prove.optimizers.step_stability import Stability, stability, stable_intervals
from tests.interpreted import program_of
from tests.optimizers import ASSIGNED
from tests.samples import sampled

HEAD = 'kind = "optimizer"\nname = "{name}"\ntitle = "Mine"\nreference = "-"\n'
EXPECTED = tomllib.loads(
    (Path(__file__).parents[1] / "expected" / "linear_parts.toml").read_text(encoding="utf-8")
)
#: A constant gradient, how many steps make many, and the number of a step that is late.
SLOPE = 0.7
MANY = 600
LATE = 10**9


def rule(folder: Path, assign: list[str], unknowns: list[str], **hyper: tuple[float, str]) -> Any:
    """A rule of one's own; hyper-parameters are defaults with domains, beside lr = 0.1."""
    hyper = {"lr": (0.1, "nonnegative"), **hyper}
    text = HEAD.format(name="mine") + f"unknowns = {unknowns}\nassign = {assign}\n"
    text += "[hyperparameters]\n" + "".join(
        f'{name} = {{ default = {default}, domain = "{domain}" }}\n'
        for name, (default, domain) in hyper.items()
    )
    path = folder / "mine.toml"
    path.write_text(text)
    return catalogue.load(path)


def settings(program: Program) -> dict[str, float]:
    """Hyper-parameters that leave no long memory; what is 0 by default remains so."""
    return {
        entry.name: 0.8
        if entry.domain.endswith("unit-interval")
        else max(float(entry.default), 0.1 if entry.default else 0.0)
        for entry in program.hyperparameters
    }


def numeric(text: str, values: dict[str, float]) -> float:
    """A formula of a card at numbers."""
    names = {name: sp.Symbol(name) for name in values}
    expr = sp.sympify(text.replace("lambda", "lambda_"), locals=names)
    return float(expr.subs({names[name]: value for name, value in values.items()}))


RULES = [
    name
    for name in ASSIGNED
    for program in [program_of(name)]
    if not (program.outer or program.reads_loss or program.noises)
]


@pytest.mark.parametrize("name", RULES)
def test_the_rate_of_a_card_is_that_of_a_run(name: str) -> None:
    """What is left falls as 1/n or faster; of a rate that fades to 0 as any power."""
    program = program_of(name)
    if name not in EXPECTED["has_a_rate"]:
        with pytest.raises((NotDerivableError, NotImplementedError)):
            effective_rate(program)
        return
    text, unit, fixed = effective_rate(program)
    hyper = settings(program)
    hyper |= {symbol.name: float(value) for symbol, value in fixed.items()}
    eps = hyper.get("eps", 0.0)
    units = {"g": SLOPE, "g/(|g| + eps)": SLOPE / (SLOPE + eps), "sign(g)": 1.0, "1": 1.0}
    expected = numeric(text, {**hyper, "g": SLOPE}) * units[unit]
    machine = Interpreter(program, hyper, [np.zeros(1)])
    moved = {}
    for n in range(1, 4 * MANY + 1):
        (before,) = machine.x[0]
        machine.step([np.full(1, SLOPE)])
        moved[n] = before - machine.x[0][0]
    few, many = moved[MANY], moved[4 * MANY]
    if expected:
        assert (4 * many - few) / 3 == pytest.approx(expected, rel=1e-3)
    else:
        assert 0 < many < few / 2


@pytest.mark.parametrize("name", RULES)
def test_a_step_from_rest_stays_there(name: str) -> None:
    """The first step leaves numbers that are remembered; late ones are those of the limit."""
    program = program_of(name)
    if name not in EXPECTED["has_a_rest"]:
        with pytest.raises((NotDerivableError, NotImplementedError)):
            resting(program, PLAIN)
        return
    arrays: dict[Any, Any] = {start_of(state): sp.Symbol(state) for state in program.states}
    text, rest = resting(program, Names(arrays=arrays))
    hyper = settings(program)
    hyper |= {symbol.name: float(value) for symbol, value in rest.fixed.items()}
    equations = dict(part.split(" = ") for part in text.split(", "))
    values = {
        name: numeric(formula, {**hyper, "theta": 1.3}) for name, formula in equations.items()
    }
    slope = values.pop("grad J(theta)")
    for n in (2, LATE):
        machine = Interpreter(program, hyper, [np.full(1, 1.3)])
        machine.step([np.full(1, SLOPE)])
        machine.x, machine.n = [np.full(1, 1.3)], n
        for state in program.states:
            machine.states[state] = [np.full(1, values.get(state, 1.0))]
        machine.step([np.full(1, slope)])
        assert machine.x[0] == pytest.approx(1.3, rel=1e-6)
        for state, value in values.items():
            assert machine.states[state][0] == pytest.approx(value, rel=1e-6, abs=1e-6)


OWN: dict[str, tuple[list[str], dict[str, tuple[float, str]], dict[str, Any]]] = {
    "decay of its own": (
        ["theta = theta - lr*(grad(theta) + wd*theta)"],
        {"wd": (0.5, "nonnegative")},
        {"fixed_points": "grad J(theta) = -theta*wd"},
    ),
    "a decay of that name": (
        ["theta = theta - lr*(grad(theta) + weight_decay*theta)"],
        {"weight_decay": (0.01, "nonnegative")},
        {
            "spectrum": "-1 + z + lambda*lr",
            "fixed_points": "grad J(theta) = 0",
            "effective_lr": "lr",
        },
    ),
    "stable in between": (
        ["theta = theta*(1 + a) - lr*grad(theta)"],
        {"a": (0.1, "nonnegative")},
        {
            "fixed_points": "grad J(theta) = a*theta/lr",
            "stability_limit": "1 < lambda < 21",
            "effective_lr": None,
        },
    ),
    "no friction": (
        ["m = a*m + grad(theta)", "theta = theta - lr*m"],
        {"a": (1, "nonnegative")},
        {"stability_limit": "lambda < 40", "effective_lr": None},
    ),
    "growth however small the curvature": (
        ["m = m + grad(theta)", "theta = theta - lr*(m - grad(theta))"],
        {},
        {"stability_limit": None, "effective_lr": None},
    ),
    "two roots at -1 with two eigenvectors": (
        ["m = -m", "v = -v", "theta = theta - lr*grad(theta) - m - v"],
        {},
        {"stability_limit": "lambda < 20"},
    ),
    "two roots at -1 with one eigenvector": (
        ["v = -v + m", "m = -m", "theta = theta - lr*grad(theta) - v"],
        {},
        {"stability_limit": None},
    ),
    "a limit on the other side": (
        ["theta = theta*(1 - a) + lr*grad(theta)"],
        {"a": (0.5, "open-unit-interval")},
        {"stability_limit": "lambda < a/lr"},
    ),
    "a rate of either sign": (
        ["theta = theta - lr*(1 + a)*grad(theta)"],
        {"a": (1, "real")},
        {"stability_limit": "lambda < 2/(lr + a*lr) near the defaults"},
    ),
    "a rate that fades but at its default": (
        ["theta = theta - lr*grad(theta)/(1 + (c - 2)**2*n)"],
        {"c": (2, "nonnegative")},
        {"spectrum": "-1 + z + lambda*lr", "effective_lr": "lr"},
    ),
    "a rate that fades but where two are equal": (
        ["theta = theta - lr*grad(theta)/(1 + (c - d)**2*n)"],
        {"c": (2, "nonnegative"), "d": (2, "nonnegative")},
        {"spectrum": "-1 + z + lambda*lr"},
    ),
    "a cubic": (
        ["slope = grad(theta)", "theta = theta - lr*r", "r = p", "p = slope"],
        {},
        {"stability_limit": f"lambda < {10 * (5**0.5 - 1) / 2:.10g}", "effective_lr": "lr"},
    ),
    "a rate that may fade": (
        ["theta = theta - lr*grad(theta)/(1 + c*n)"],
        {"c": (0, "nonnegative")},
        {"spectrum": "-1 + z + lambda*lr", "effective_lr": "lr"},
    ),
    "a rate that may swing": (
        ["theta = theta - lr*cos(c*n)*grad(theta)"],
        {"c": (0, "nonnegative")},
        {"spectrum": "-1 + z + lambda*lr"},
    ),
    "a rate that swings": (
        ["theta = theta - lr*(1 + cos(pi*n))*grad(theta)"],
        {},
        {"spectrum": None, "stability_limit": None, "effective_lr": None},
    ),
    "a mean gradient": (
        ["v = v + grad(theta)", "theta = theta - lr*v/n"],
        {},
        {"spectrum": None, "stability_limit": None, "effective_lr": None},
    ),
    "a count over n": (
        ["v = v + 1", "theta = theta - lr*grad(theta)*v/n"],
        {},
        {"spectrum": None, "effective_lr": None},
    ),
    "a mean of squares": (
        ["v = v + grad(theta)**2", "theta = theta - lr*grad(theta)/(sqrt(v/n) + 1/100)"],
        {},
        {"effective_lr": None},
    ),
    "decay that fades": (
        ["theta = theta*(1 - 1/n) - lr*grad(theta)"],
        {},
        {"fixed_points": None, "effective_lr": None},
    ),
    "a step that begins late": (
        ["theta = theta - lr*where(n > 5000000, 0, 1)*grad(theta)"],
        {},
        {"spectrum": None, "effective_lr": None},
    ),
    "a gradient that is clipped by a choice": (
        ["s = grad(theta)", "theta = theta - lr*where(abs(s) > 1, sign(s), s)"],
        {},
        {"spectrum": None, "effective_lr": None},
    ),
    "an array that stays where it begins": (
        ["v = v*(2 - v)", "theta = theta - lr*grad(theta)*(1 + v)"],
        {},
        {"effective_lr": None},
    ),
    "no rate at its default": (
        ["theta = theta - lr*a*grad(theta)"],
        {"a": (0, "nonnegative")},
        {"fixed_points": None},
    ),
    "noise that one array keeps": (
        ["v = v + noise()", "m = m/2 + noise()", "theta = theta - lr*grad(theta) + v + m"],
        {},
        {"stationary_variance": {"theta": "oo", "m": "4/3", "v": "oo"}},
    ),
    "noise beside an array that swings": (
        ["v = -v", "theta = theta - lr*grad(theta) + v + noise()"],
        {},
        {"stationary_variance": None},
    ),
    "noise that fades": (
        ["theta = theta - lr*grad(theta) + noise()/sqrt(n)"],
        {},
        {"stationary_variance": None},
    ),
    "noise that may fade": (
        ["theta = theta - lr*grad(theta) + sqrt(2*lr*T)*noise()/(1 + (n - 1)*fade)"],
        {"T": (1, "positive"), "fade": (0, "nonnegative")},
        {"stationary_variance": {"theta": "2*T/(lambda*(2 - lambda*lr))"}},
    ),
    "a bound that does not bind at rest": (
        ["theta = theta - lr*min(grad(theta), 3)"],
        {},
        {"spectrum": "-1 + z + lambda*lr", "stability_limit": "lambda < 2/lr"},
    ),
    "a bound of what is remembered": (
        ["v = max(mu*v, -5) + grad(theta)", "theta = theta - lr*v"],
        {"mu": (0.9, "unit-interval")},
        {"fixed_points": "grad J(theta) = 0, v = 0", "stability_limit": "lambda < (2 + 2*mu)/lr"},
    ),
    "a bound at a letter": (
        ["theta = theta - lr*clip(grad(theta), -c, c)"],
        {"c": (1, "positive")},
        {"fixed_points": "grad J(theta) = 0", "spectrum": "-1 + z + lambda*lr"},
    ),
    "two bounds that meet at rest": (
        ["theta = theta - lr*max(grad(theta), 0) - lr*min(grad(theta), 0)"],
        {},
        {"spectrum": None, "stability_limit": None, "effective_lr": "lr"},
    ),
    "a bound of the rate": (
        ["theta = theta - min(lr, 1)*grad(theta)"],
        {},
        {"spectrum": "-1 + z + lambda*min(lr, 1)", "stability_limit": "lambda < 2/min(lr, 1)"},
    ),
    "a clipped quotient": (
        [
            "m = b*m + (1 - b)*grad(theta)",
            "v = b*v + (1 - b)*grad(theta)**2",
            "theta = theta - lr*clip(m/max(v, c), -1, 1)",
        ],
        {"b": (0.9, "unit-interval"), "c": (0.01, "positive")},
        {
            "fixed_points": "grad J(theta) = 0, m = 0",
            "stability_limit": "lambda < 2*c*(1 + b)/(lr*(1 - b))",
        },
    ),
    "a rate that alternates": (
        ["theta = theta - lr*where(cos(pi*n) > 0, 1, 2)*grad(theta)"],
        {},
        {"spectrum": None, "stability_limit": None, "effective_lr": None},
    ),
    "a restart now and then": (
        ["m = where(cos(2*pi*n/50) > 0.999, 0, a)*m + grad(theta)", "theta = theta - lr*m"],
        {"a": (0.9, "unit-interval")},
        {"spectrum": None, "stability_limit": None, "effective_lr": None},
    ),
    "a rate that is another one later": (
        ["theta = theta - lr*where(n > 100, 1, 2)*grad(theta)"],
        {},
        {"stability_limit": "lambda < 2/lr", "effective_lr": "lr"},
    ),
    "an average that grows": (
        ["m = b*m + grad(theta)", "theta = theta - lr*m"],
        {"b": (1.5, "nonnegative")},
        {"effective_lr": None},
    ),
}


@pytest.mark.parametrize("case", OWN)
def test_rules_of_ones_own(case: str, tmp_path: Path) -> None:
    assign, hyper, expected = OWN[case]
    targets = [line.split(" = ")[0] for line in assign]
    unknowns = [name for name in ("theta", "m", "v", "r", "p") if name in targets]
    report = pipeline.check(rule(tmp_path, assign, unknowns, **hyper))
    assert {name: report[name] for name in expected} == expected
    for name, value in expected.items():
        if value is None:
            assert report.finding(name).why


#: What a rule's card says whose average forgets by a hyper-parameter of some name.
NAMED = {
    "b": {
        "spectrum": "(-1 - 10*s + 10*lambda*lr)/(1 + 10*s) + z",
        "stability_limit": "lambda < (1/5 + 2*s)/lr",
        "stability_limit_where": "s = sqrt(lambda**2*theta**2*(1 - b) + b*v)",
        "effective_lr": "10*g*lr/(1 + 10*g)",
    },
    "z": {
        "spectrum": "(-1 - 10*s + 10*lambda*lr)/(1 + 10*s) + z_",
        "stability_limit": "lambda < (1/5 + 2*s)/lr",
    },
    "s": {
        "spectrum": "(-1 - 10*r + 10*lambda*lr)/(1 + 10*r) + z",
        "stability_limit": "lambda < (1/5 + 2*r)/lr",
        "stability_limit_where": "r = sqrt(s*v + lambda**2*theta**2*(1 - s))",
    },
    "g": {"effective_lr": "10*g_*lr/(1 + 10*g_)"},
    "w0": {"stability_limit_where": "s = sqrt(v*w0 + lambda**2*theta**2*(1 - w0))"},
    "theta": {"stability_limit_where": "s = sqrt(theta*v + lambda**2*theta_**2*(1 - theta))"},
    "g1": {
        "first_steps": {
            "1": "-g1_*lr/(1/10 + g1_*sqrt(1 - g1))",
            "2": "-g2*lr/(1/10 + sqrt(1 - g1)*sqrt(g2**2 + g1*g1_**2))",
        }
    },
}


@pytest.mark.parametrize("name", NAMED)
def test_letters_of_a_card_are_no_hyper_parameters(name: str, tmp_path: Path) -> None:
    assign = [f"v = {name}*v + (1 - {name})*grad(w)**2", "w = w - lr*grad(w)/(sqrt(v) + 1/10)"]
    report = pipeline.check(rule(tmp_path, assign, ["w", "v"], **{name: (0.5, "unit-interval")}))
    properties = report.to_dict()["properties"]
    assert {key: properties[key] for key in NAMED[name]} == NAMED[name]
    for key, words in {
        "effective_lr": "in units of 1, {g} > 0",
        "spectrum": "J = lambda {theta}^2/2",
        "first_steps": "theta0 and theta1 are the parameters before the steps, {g1} and g2",
    }.items():
        letters = {
            letter: f"{letter}_" * (letter == name) or letter for letter in ("g", "g1", "theta")
        }
        assert words.format(**letters) in report.finding(key).reach


def test_unknowns_are_no_letters_of_a_card(tmp_path: Path) -> None:
    """The point is where the gradient is taken, unless parameters hold another place."""
    assign = ["theta = 9*theta/10 + grad(w)**2/10", "w = w - lr*grad(w)/(sqrt(theta) + 1/10)"]
    report = pipeline.check(rule(tmp_path, assign, ["w", "theta"]))
    assert report.finding("spectrum").where == "s = sqrt(9*theta/10 + lambda**2*theta_**2/10)"
    assign = ["z = 9*z/10 + grad(s)**2/10", "s = s - lr*grad(s)/(sqrt(z) + 1/10)"]
    report = pipeline.check(rule(tmp_path, assign, ["s", "z"]))
    assert report["spectrum"] == "(-1 - 10*s_ + 10*lambda*lr)/(1 + 10*s_) + z_"
    assign = [
        "v = v/2 + grad(theta + p/2)**2/2",
        "p = p/2 - lr*grad(theta + p/2)/(sqrt(v) + 1/10)",
        "theta = theta + p",
    ]
    finding = pipeline.check(rule(tmp_path, assign, ["theta", "p", "v"])).finding("spectrum")
    assert finding.where == (
        "s = sqrt(v/2 + ahead**2*lambda**2/2), ahead where the gradient is taken"
    )


def test_a_rate_is_in_units_of_what_there_is(tmp_path: Path) -> None:
    report = pipeline.check(rule(tmp_path, ["theta = theta - lr*sign(grad(theta))"], ["theta"]))
    assert "in units of sign(g), g > 0" in report.finding("effective_lr").reach
    wd = {"weight_decay": (0.01, "nonnegative")}
    assign = ["theta = theta*(1 - lr*weight_decay) - lr*grad(theta)"]
    report = pipeline.check(rule(tmp_path, assign, ["theta"], **wd))
    assert report.finding("effective_decay").why == "the rule does its own weight decay"


def test_letters_that_a_formula_does_not_have_are_not_written_out(tmp_path: Path) -> None:
    assign = ["m = max(m, grad(theta)**2)", "theta = theta - lr*grad(theta)"]
    assert not pipeline.check(rule(tmp_path, assign, ["theta", "m"])).finding("spectrum").where


def test_what_a_limit_is_fixed_at_is_said() -> None:
    report = pipeline.check(catalogue.load("adagrad", ("optimizer",)))
    assert "lr_decay = 0" in report.finding("spectrum").reach
    assert report["spectrum"] == "(-s + lambda*lr - eps)/(s + eps) + z"
    asgd = pipeline.check(catalogue.load("asgd", ("optimizer",)))
    assert asgd["fixed_points"] == "grad J(theta) = -lambd*theta"


@pytest.mark.parametrize("name", ASSIGNED)
def test_linear_parts_are_without_weight_decay_and_say_so(name: str) -> None:
    report = pipeline.check(catalogue.load(name, ("optimizer",)))
    for finding in map(report.finding, {*report} & {"spectrum", "stability_limit"}):
        assert finding.why or "without weight decay" in finding.reach
    if "loop_stability" in report:
        assert "without weight decay" in report.finding("loop_stability").reach


@pytest.mark.parametrize(
    ("slope", "alone"),
    [
        ("relu(grad(theta) - 1)", False),
        ("sign(grad(theta))", False),
        ("grad(theta)*theta", False),
        ("grad(theta)*2", True),
    ],
)
def test_where_other_gradients_may_rest_it_is_said(slope: str, alone: bool, tmp_path: Path) -> None:
    report = pipeline.check(rule(tmp_path, [f"theta = theta - lr*{slope}"], ["theta"]))
    assert report["fixed_points"] == "grad J(theta) = 0"
    assert ("others are not excluded" in report.finding("fixed_points").reach) != alone


SEEDS = range(60)


def drawn_map(seed: int) -> StepMap:
    """A step on a few arrays, with entries that are linear in the curvature."""
    generator = random.Random(seed)
    size = generator.randint(1, 3)

    def entry() -> Any:
        whole = sp.Rational(generator.randint(-9, 9), 8)
        slope = sp.Rational(generator.randint(-8, 8), 4) if generator.random() < 0.7 else 0
        return whole + slope * curvature

    matrix = sp.Matrix(size, size, lambda *_: entry())
    program = program_of("gradient_descent")
    names = tuple(f"array_{k}" for k in range(size))
    return StepMap(program, names, matrix, {}, {}, {}, {}, frozenset(), False)


def test_some_drawn_steps_have_two_intervals() -> None:
    counts = {len(stable_intervals(drawn_map(seed), {})) for seed in SEEDS}
    assert counts >= {0, 1, 2}


@pytest.mark.parametrize("seed", sampled(SEEDS, every=3))
def test_intervals_are_where_no_eigenvalue_is_outside(seed: int) -> None:
    part = drawn_map(seed)
    intervals = stable_intervals(part, {})
    ends = {end for interval in intervals for end in interval}
    for value in np.geomspace(1e-3, 1e3, 300):
        if any(abs(value - end) < 1e-3 * end for end in ends):
            continue
        matrix = np.array(part.matrix.subs(curvature, float(value)), float)
        radius = max(abs(np.linalg.eigvals(matrix)))
        if abs(radius - 1) > 1e-6:
            assert any(low < value < high for low, high in intervals) == (radius < 1)


def test_a_pair_that_stays_on_the_circle_leaves_it_where_it_meets(tmp_path: Path) -> None:
    """Leapfrog without friction: on the circle to 4/lr, and for no curvature inside."""
    steps = ["m = m + grad(theta)", "theta = theta - lr*m"]
    part = step_map(derive_rule(rule(tmp_path, steps, ["theta", "m"])).program)
    assert stable_intervals(part, part.usual) == [(0, 40)]


def test_more_roots_than_letters_are_refused(tmp_path: Path) -> None:
    roots = " + ".join(f"sqrt({k} + theta**2)" for k in range(1, 6))
    optimizer = rule(tmp_path, [f"theta = theta - lr*grad(theta)/({roots})"], ["theta"])
    with pytest.raises(NotDerivableError, match="more than 4 roots"):
        FrozenSteps(derive_rule(optimizer).program, letters=True).moved(lambda point: point)


@pytest.mark.parametrize("name", ASSIGNED)
def test_why_there_is_no_value_is_said_in_words(name: str) -> None:
    """Nothing of SymPy's own is printed."""
    report = pipeline.check(catalogue.load(name, ("optimizer",)))
    for finding in map(report.finding, report):
        text = f"{finding.value} {finding.why}"
        for word in ("No algorithms", "generators", "AccumBounds", "Traceback", "__", "\n"):
            assert word not in text, f"{finding.name}: {text}"


def test_where_no_formula_is_the_limit_it_is_a_number(tmp_path: Path) -> None:
    steps = ["slope = grad(theta)", "theta = theta - lr*r", "r = p", "p = slope"]
    part = step_map(derive_rule(rule(tmp_path, steps, ["theta", "r", "p"])).program)
    assert stability(part) == Stability("lambda < 6.180339887")


def test_roots_that_are_not_found_decide_nothing(tmp_path: Path) -> None:
    """Double roots at -1 that rounding splits."""
    steps = ["a = (m - v)/sqrt(2)", "b = (m + v)/sqrt(2)", "m = -a + b/3", "v = -b - a"]
    optimizer = rule(tmp_path, [*steps, "theta = theta - lr*grad(theta) - m"], ["theta", "m", "v"])
    finding = pipeline.check(optimizer).finding("stability_limit")
    assert finding.value is not None or finding.why


def test_a_rate_whose_sign_depends_on_the_gradient(tmp_path: Path) -> None:
    report = pipeline.check(rule(tmp_path, ["w = w - lr*(grad(w) - c)"], ["w"], c=(0.3, "real")))
    assert report["effective_lr"] == "lr*(g - c)"


def test_the_reason_for_no_rate_is_that_squares_add_up(tmp_path: Path) -> None:
    assign = ["v = v + grad(w)**2", "w = w - lr*grad(w)/(sqrt(v) + 1e-8)"]
    finding = pipeline.check(rule(tmp_path, assign, ["w", "v"])).finding("effective_lr")
    assert finding.why == "its arrays are not seen to settle under a constant gradient"


def test_bounds_decided_at_rest_are_said_to_be(tmp_path: Path) -> None:
    near = "near rest, where bounds are as they are there"
    assign = ["m = b*m + (1 - b)*grad(w)", "w = w - lr*clip(m, -1, 1)"]
    report = pipeline.check(rule(tmp_path, assign, ["w", "m"], b=(0.9, "unit-interval")))
    assert near in report.finding("stability_limit").reach
    assert near in report.finding("spectrum").reach
    plain = [assign[0], "w = w - lr*m"]
    report = pipeline.check(rule(tmp_path, plain, ["w", "m"], b=(0.9, "unit-interval")))
    assert near not in report.finding("stability_limit").reach
