"""Rules with an outer step: what is declared, what the interpretation does, what is proved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.kinds import Rule
from hamilforge.gen.program.noise import key_of, normals
from hamilforge.gen.program.optimizers.interpret import Interpreter
from hamilforge.gen.program.optimizers.programs import program_of
from hamilforge.optimizer_cases import reference_cases
from tests.optimizers import ELEMENTWISE

#: How far what is the same by algebra may be apart after a hundred outer steps.
CLOSE = 1e-13
OUTER_STEPS = 100
RULES = {
    name: declared
    for name in ELEMENTWISE
    if isinstance(declared := catalogue.load(name), Rule) and declared.loop
}
MINE = """
kind = "optimizer"
name = "mine"
title = "-"
reference = "-"
unknowns = ["y", "x"]
assign = [{inner}]
solution = "x"
[start]
x = "y"
[outer]
{outer}
[scope]
{scope}
[hyperparameters]
lr = {{ default = 0.1, domain = "nonnegative" }}
L = {{ default = 3, domain = "count" }}
gamma = {{ default = 1, domain = "positive" }}
"""
INNER = '"y = y - lr*grad(y)/gamma_k"'
OUTER = 'every = "L"\nassign = ["x = x + (y - x)/2", "y = x"]'
SCOPE = 'gamma_k = "gamma*(1 + k)"'


def averaging(*lines: str) -> str:
    """An outer step of some lines."""
    return f'every = "L"\nassign = {[*lines]!r}'


def mine(folder: Path, inner: str = INNER, outer: str = OUTER, scope: str = SCOPE) -> Path:
    path = folder / "mine.toml"
    path.write_text(MINE.format(inner=inner, outer=outer, scope=scope))
    return path


def machine(name: str, x: Any, **hyper: float) -> Interpreter:
    """A rule of the catalogue on one array."""
    program = program_of(RULES[name])
    values = {entry.name: float(entry.default) for entry in program.hyperparameters}
    assert not hyper.keys() - values.keys()
    return Interpreter(program, {**values, **hyper}, [np.array(x, np.float64)])


def run(machine: Interpreter, slope: Callable[[Any], Any], steps: int) -> list[Any]:
    """The point after each step."""
    points = []
    for _ in range(steps):
        machine.step([slope(machine.x[0])])
        points.append(machine.x[0])
    return points


def slope(x: Any) -> Any:
    """The gradient of a loss that is no parabola."""
    return np.array([3.0, 0.5]) * x + np.sin(x)


BEGIN = np.array([1.0, -0.7])


def test_there_are_rules_with_loops() -> None:
    assert {"entropy_sgd", "deep_relaxation", "heat", "hamilton_jacobi"} < {*RULES}


# --- the recursions as papers print them ----------------------------------------------------------


@pytest.mark.parametrize("loops", [3])
def test_entropy_sgd_is_its_algorithm(loops: int) -> None:
    """Algorithm 1 of Chaudhari et al.; eps^2 = 2*temperature."""
    lr, length, eta, alpha, stiffness, rate, temperature = 1.5, 4, 0.1, 0.6, 0.4, 0.1, 0.02
    ours = machine(
        "entropy_sgd", BEGIN, lr=lr, L=length, eta=eta, alpha=alpha, stiffness=stiffness, rate=rate,
        temperature=temperature,
    )  # fmt: skip
    run(ours, slope, loops * length)
    x, drawn = BEGIN, 0
    for k in range(loops):
        spring, inner, mean = stiffness * (1 + rate) ** k, x, x
        for _ in range(length):
            noise = normals(key_of(0, 0, "0"), drawn, 0, 0, 2)
            inner = inner - eta * (slope(inner) - spring * (x - inner))
            inner = inner + np.sqrt(eta) * np.sqrt(2 * temperature) * noise
            mean = (1 - alpha) * mean + alpha * inner
            drawn += 1
        x = x - lr * spring * (x - mean)
    np.testing.assert_allclose(ours.solution()[0], x, rtol=CLOSE)
    np.testing.assert_array_equal(ours.x[0], ours.solution()[0])  # y begins at x again


def test_heat_is_a_mean_of_gradients_at_gaussian_points() -> None:
    """The first gradient of all is at the user's own point."""
    lr, length, gamma, rate, loops = 0.2, 5, 0.3, 0.5, 3
    ours = machine("heat", BEGIN, lr=lr, L=length, gamma=gamma, rate=rate)
    run(ours, slope, loops * length)
    x, point, drawn = BEGIN, BEGIN, 0
    for k in range(loops):
        deviation, total = np.sqrt(gamma * (1 - rate) ** k), 0.0
        for _ in range(length):
            total = total + slope(point)
            point = x + deviation * normals(key_of(0, 0, "0"), drawn, 0, 0, 2)
            drawn += 1
        x = x - lr * total / length
        point = x + deviation * normals(key_of(0, 0, "0"), drawn, 1, 0, 2)
    np.testing.assert_allclose(ours.solution()[0], x, rtol=CLOSE)
    np.testing.assert_allclose(ours.x[0], point, rtol=CLOSE)


def test_without_noise_the_mean_of_a_parabola_is_its_closed_form() -> None:
    """mu_L for J = x'Ax/2: with M = I - eta (A + s), y_l = y* + M^l (x - y*)."""
    eta, alpha, stiffness, length = 0.1, 0.75, 0.5, 20
    curvatures = np.array([3.0, 0.5])
    assert eta * (curvatures.max() + stiffness) < 2
    ours = machine(
        "entropy_sgd", BEGIN, lr=1 / stiffness, L=length, eta=eta, alpha=alpha,
        stiffness=stiffness, rate=0.0, temperature=0.0,
    )  # fmt: skip
    run(ours, lambda x: curvatures * x, length)
    rest = stiffness / (curvatures + stiffness) * BEGIN
    shrink = 1 - eta * (curvatures + stiffness)
    mean = (1 - alpha) ** length * BEGIN
    for count in range(1, length + 1):
        mean = mean + alpha * (1 - alpha) ** (length - count) * (
            rest + shrink**count * (BEGIN - rest)
        )
    np.testing.assert_allclose(ours.solution()[0], mean, rtol=1e-14, atol=1e-14)


# --- reductions -----------------------------------------------------------------------------------


def test_one_inner_step_of_entropy_sgd_is_gradient_descent() -> None:
    eta, stiffness = 0.05, 0.4
    ours = machine(
        "entropy_sgd", BEGIN, L=1, alpha=1.0, lr=1 / stiffness, stiffness=stiffness, rate=0.0,
        eta=eta, temperature=0.0,
    )  # fmt: skip
    x = BEGIN
    for point in run(ours, slope, OUTER_STEPS):
        x = x - eta * slope(x)
        np.testing.assert_allclose(point, x, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("name", ["deep_relaxation", "hamilton_jacobi"])
def test_one_inner_step_without_memory_is_gradient_descent(name: str) -> None:
    eta, gamma = 0.05, 0.7
    still = {} if name == "hamilton_jacobi" else {"temperature": 0.0}
    ours = machine(
        name, BEGIN, L=1, a=0.0, lr=gamma, gamma=gamma, rate=0.0, eta=eta, floor=0.1, **still
    )
    x = BEGIN
    for point in run(ours, slope, OUTER_STEPS):
        x = x - eta * slope(x)
        np.testing.assert_allclose(point, x, rtol=0, atol=CLOSE)


def test_an_outer_step_of_gamma_takes_x_to_the_mean() -> None:
    gamma, length = 0.7, 3
    ours = machine("deep_relaxation", BEGIN, L=length, lr=gamma, gamma=gamma, rate=0.0)
    for _ in range(OUTER_STEPS):
        run(ours, slope, length - 1)
        ours.call([slope(ours.x[0])])
        assert ours.is_outer
        mean = ours.states["z"][0]
        ours.call([ours.x[0]])  # its gradient is not read
        np.testing.assert_allclose(ours.solution()[0], mean, rtol=0, atol=CLOSE)
        np.testing.assert_array_equal(ours.x[0], ours.states["z"][0])


def test_deep_relaxation_without_noise_is_hamilton_jacobi() -> None:
    quiet = machine("deep_relaxation", BEGIN, temperature=0.0, L=4)
    inviscid = machine("hamilton_jacobi", BEGIN, L=4)
    for ours, theirs in zip(
        run(quiet, slope, 4 * OUTER_STEPS), run(inviscid, slope, 4 * OUTER_STEPS), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_two_conventions_are_one_method() -> None:
    """entropy_sgd with stiffness 1/gamma and alpha = 1 - a is deep_relaxation with its gamma."""
    gamma, a = 0.8, 0.6
    first = machine("deep_relaxation", BEGIN, gamma=gamma, a=a, rate=0.0, lr=0.5, L=4)
    second = machine("entropy_sgd", BEGIN, stiffness=1 / gamma, alpha=1 - a, rate=0.0, lr=0.5, L=4)
    for ours, theirs in zip(run(first, slope, 400), run(second, slope, 400), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("name", ["entropy_sgd", "deep_relaxation"])
def test_momentum_of_zero_is_none(name: str) -> None:
    without = machine(name, BEGIN, L=4)
    moving = machine(f"{name}_momentum", BEGIN, L=4, momentum=0.0)
    for ours, theirs in zip(run(without, slope, 400), run(moving, slope, 400), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("name", ["entropy_sgd_momentum", "deep_relaxation_momentum"])
def test_each_loop_begins_at_rest(name: str) -> None:
    ours = machine(name, BEGIN, L=3)
    run(ours, slope, 8)
    assert ours.states["v"][0].any()
    run(ours, slope, 1)
    assert not ours.states["v"][0].any()


# --- counting -------------------------------------------------------------------------------------


def test_schedules_hold_through_a_loop_and_count_loops(tmp_path: Path) -> None:
    program = program_of(catalogue.load(mine(tmp_path)))  # type: ignore[arg-type]
    ours = Interpreter(program, {"lr": 0.1, "L": 3.0, "gamma": 2.0}, [BEGIN])
    seen = []
    for number in range(8):
        if number == 4:  # within a loop: nothing of it changes before it ends
            ours.hyper.update(L=2.0, gamma=5.0)
        ours.step([np.zeros(2)])
        memory = ours.memory
        seen.append((memory["last_l"], memory["last_loops"], memory["last_gamma_k"]))
    assert seen == [
        (1, 0, 2), (2, 0, 2), (3, 1, 2),
        (1, 1, 4), (2, 1, 4), (3, 2, 4),
        (1, 2, 15), (2, 3, 15),
    ]  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_steps_do_not_depend_on_where_a_late_run_begins(name: str) -> None:
    """Skipped steps count loops as steps that are made."""
    made, skipped = machine(name, BEGIN), machine(name, BEGIN)
    run(made, slope, 45)
    skipped.skip(45)
    assert made.memory == skipped.memory
    assert (made.n, made.draws) == (skipped.n, skipped.draws)


# --- declarations ---------------------------------------------------------------------------------

REFUSED = [
    ({"outer": 'assign = ["x = y"]'}, "missing; a count was expected", "every"),
    ({"outer": OUTER.replace('"L"', "0")}, "a whole number or a hyper-parameter", "every"),
    ({"outer": OUTER.replace('"L"', '"L/2"')}, "a whole number or a hyper-parameter", "every"),
    ({"outer": OUTER.replace('"L"', '"gamma"')}, "a whole number or a hyper-parameter", "every"),
    ({"outer": OUTER.replace("y = x", "yy = x")}, "'yy' is used nowhere", "assign[2]"),
    ({"scope": 'gamma_k = "gamma"\nloops = "lr"'}, "'loops' is declared twice", "loops"),
    ({"outer": 'every = "L"'}, "a list of 'name = expression'", "outer].assign"),
    ({"outer": 'every = "L"\nassign = ["x = y - lr*grad(y)"]'}, "takes no gradient", "assign[1]"),
    ({"outer": 'every = "L"\nassign = ["x = y", "x = x"]'}, "assigned twice", "assign[2]"),
    ({"outer": 'every = "L"\nassign = ["gamma_k = y", "x = y"]'}, "has a meaning", "assign[1]"),
    ({"outer": 'every = "L"\nassign = ["x = y"]\nstep = 1'}, "unknown key", "step"),
    ({"outer": 'every = "L"\nassign = ["y = y"]'}, "'x' is never assigned", "assign"),
    ({"outer": f"{OUTER}\nhyperparameters = 3"}, "a table was expected", "[outer].hyperparameters"),
    ({"outer": f"{OUTER}\nhyperparameters = {{ mu = 0.5 }}"}, "'mu' is used nowhere", "mu"),
    ({"outer": f"{OUTER}\nhyperparameters = {{ lr = 0.5 }}"}, "'lr' is declared twice", "lr"),
    ({"outer": f"{OUTER}\nhyperparameters = {{ l = 0.5 }}"}, "has a meaning", "hyperparameters].l"),
    ({"scope": 'gamma_k = "gamma*n"'}, "unknown name 'n'", "gamma_k"),
    ({"scope": 'lr = "gamma"\ngamma_k = "gamma"'}, "'lr' is declared twice", "lr"),
    ({"scope": 'gamma_k = "gamma"\nmore = "lr"'}, "'more' is used nowhere", "more"),
    ({"scope": 'gamma_k = "gamma*y"'}, "unknown name 'y'", "gamma_k"),
    (
        {"inner": '"y = y - lr*grad(average(y))/gamma_k"'},
        "stands in [outer] alone",
        "assign[1]",
    ),
    ({"scope": 'gamma_k = "gamma*average(gamma)"'}, "stands in [outer] alone", "gamma_k"),
    ({"outer": averaging("x = y*average(lr)")}, "takes vectors", "assign[1]"),
    ({"outer": averaging("x = average(y, x)")}, "takes 1 argument", "assign[1]"),
    (
        {"outer": OUTER.replace("/2", "/workers")},
        "to take an average(...), and none is",
        "assign[1]",
    ),
    ({"scope": 'gamma_k = "gamma*workers"'}, "to take an average(...), and none is", "gamma_k"),
]
#: Means of what follows from another, and the array that the other is of.
NESTED = [
    (("x = average(average(y))",), "of y"),
    (("x = average(y - average(x))",), "of x"),
    (("m = average(y)", "d = x - m", "x = average(d)"), "of y"),
    (("x = average(y)", "d = 2*x", "y = average(d + y)"), "of y"),
    (("m = average(x + y)", "x = x*sum(m)", "y = average(x)"), "of averaged"),
]


@pytest.mark.parametrize(("parts", "message", "key"), REFUSED)
def test_what_a_loop_may_not_be(
    parts: dict[str, str], message: str, key: str, tmp_path: Path
) -> None:
    with pytest.raises(DeclarationError) as caught:
        catalogue.load(mine(tmp_path, **parts))
    assert message in str(caught.value)
    assert key in str(caught.value)


@pytest.mark.parametrize(("lines", "other"), NESTED)
def test_no_mean_follows_from_another(lines: tuple[str, ...], other: str, tmp_path: Path) -> None:
    """They are taken in one exchange."""
    path = mine(tmp_path, outer=averaging(*lines))
    with pytest.raises(DeclarationError, match=f"follows from that {other}: all means"):
        pipeline.check(catalogue.load(path))


def test_equal_means_are_one(tmp_path: Path) -> None:
    outer = averaging(
        "d = average(y) - average(x)", "s = average(y) + average(x)", "x = d", "y = s"
    )
    program = program_of(catalogue.load(mine(tmp_path, outer=outer)))  # type: ignore[arg-type]
    assert program.averages == ("y_mean", "x_mean")
    assert len(program.outer) == 2
    sent, used = (program.functions[index] for index in program.outer)
    assert [name for name, _ in sent.results] == ["y_mean", "x_mean"]
    assert not {"y_mean", "x_mean"} & {name for name, _ in used.results}


def test_what_the_last_step_computes_is_there_in_the_outer_one(tmp_path: Path) -> None:
    """An array that is no unknown, a number, and what both come to."""
    path = mine(
        tmp_path,
        '"old = y", "half = lr/2/gamma_k", "y = y - 2*half*grad(y)"',
        averaging("x = old + half*x", "y = x"),
    )
    program = program_of(catalogue.load(path))  # type: ignore[arg-type]
    ours = Interpreter(program, {"lr": 0.3, "L": 3.0, "gamma": 2.0}, [BEGIN])
    points = [BEGIN, *run(ours, slope, 3)]
    (x,) = ours.states["x_state"]
    np.testing.assert_allclose(x, points[2] + 0.3 / 2 / 2 * BEGIN, rtol=1e-15)
    np.testing.assert_array_equal(ours.x[0], x)


def test_a_sum_of_the_last_step_is_not_kept(tmp_path: Path) -> None:
    inner = '"s = norm(grad(y))", "y = y - lr*grad(y)/(gamma_k + s)"'
    path = mine(tmp_path, inner, averaging("x = x + y*s", "y = x"))
    with pytest.raises(DeclarationError, match="'s' is a sum over entries, which is not kept"):
        pipeline.check(catalogue.load(path))


@pytest.mark.parametrize(
    "inner",
    [
        '"y = y - lr*grad(y + x)/gamma_k"',
        '"y = y - lr*grad(x)/gamma_k"',
        '"s = y - x", "y = s - lr*grad(s)/gamma_k"',
    ],
)
def test_the_first_gradient_of_a_loop_is_at_the_parameters(inner: str, tmp_path: Path) -> None:
    """The outer step would move another place than the one that the parameters hold."""
    with pytest.raises(DeclarationError, match="where the parameters are not"):
        pipeline.check(catalogue.load(mine(tmp_path, inner)))


@pytest.mark.parametrize("solution", ["x/(1 + k)", "x + l*y", "gamma_k*x"])
def test_a_solution_may_read_the_loop(solution: str, tmp_path: Path) -> None:
    path = mine(tmp_path)
    path.write_text(path.read_text().replace('solution = "x"', f'solution = "{solution}"'))
    assert pipeline.check(catalogue.load(path)).holds


def test_a_name_may_be_that_of_a_new_value(tmp_path: Path) -> None:
    path = mine(tmp_path, '"y = y - lr*grad(y)/gamma_k", "x_state_new = x"')
    path.write_text(path.read_text().replace('["y", "x"]', '["y", "x", "x_state_new"]'))
    assert pipeline.check(catalogue.load(path)).holds


def test_hyperparameters_of_an_outer_step_may_stand_in_it(tmp_path: Path) -> None:
    """Where they are declared changes nothing but their place in the order."""
    outer = OUTER.replace("/2", "*mu")
    inside = catalogue.load(mine(tmp_path, outer=f"{outer}\nhyperparameters = {{ mu = 0.25 }}"))
    path = mine(tmp_path, outer=outer)
    path.write_text(f"{path.read_text()}mu = 0.25\n")
    program = program_of(catalogue.load(path))
    assert [entry.name for entry in program.hyperparameters] == ["lr", "L", "gamma", "mu"]
    assert program_of(inside) == program


def test_a_whole_number_of_steps_needs_no_hyperparameter(tmp_path: Path) -> None:
    path = mine(tmp_path, outer=OUTER.replace('"L"', "2"))
    path.write_text(path.read_text().replace('L = { default = 3, domain = "count" }\n', ""))
    program = program_of(catalogue.load(path))  # type: ignore[arg-type]
    ours = Interpreter(program, {"lr": 0.1, "gamma": 2.0}, [BEGIN])
    run(ours, slope, 5)
    assert ours.memory["last_loops"] == 2


def test_a_schedule_needs_a_loop(tmp_path: Path) -> None:
    path = mine(tmp_path)
    path.write_text(path.read_text().replace("[outer]\n" + OUTER, ""))
    with pytest.raises(DeclarationError, match=r"there is no \[outer\]"):
        catalogue.load(path)


def test_a_count_is_a_whole_number(tmp_path: Path) -> None:
    path = mine(tmp_path)
    path.write_text(path.read_text().replace("default = 3", "default = 2.5"))
    with pytest.raises(DeclarationError, match=r"outside the domain \{1, 2, \.\.\.\}"):
        catalogue.load(path)


def test_what_is_proved_is_said_to_be_of_the_steps_inside(tmp_path: Path) -> None:
    report = pipeline.check(catalogue.load(mine(tmp_path)))
    assert any("steps inside a loop" in note for note in report.notes)
    assert report["stability_limit"] == "lambda < 2*gamma_k/lr near the defaults"


@pytest.mark.parametrize("name", RULES)
def test_a_claim_is_of_each_rule(name: str) -> None:
    report = pipeline.check(RULES[name])
    assert report.claims
    assert report.holds


def test_a_reduction_of_a_loop_is_not_believed(tmp_path: Path) -> None:
    path = mine(tmp_path)
    path.write_text(
        path.read_text() + '[[reductions]]\nto = "gradient_descent"\nvalues = { gamma = "1" }\n'
    )
    report = pipeline.check(catalogue.load(path))
    assert not report.holds


@pytest.mark.parametrize(
    ("inner", "name"),
    [
        ('"y = y - lr*grad(y)/gamma_k + x*noise()"', "stationary_variance"),
        ('"y = y - lr*x*grad(y)/gamma_k"', "spectrum"),
    ],
)
def test_what_an_array_that_is_held_multiplies_is_not_proved(
    inner: str, name: str, tmp_path: Path
) -> None:
    finding = pipeline.check(catalogue.load(mine(tmp_path, inner))).finding(name)
    assert finding.value is None
    assert finding.why


def test_properties_of_whole_steps_are_none_with_a_reason(tmp_path: Path) -> None:
    report = pipeline.check(catalogue.load(mine(tmp_path)))
    assert report["effective_lr"] is None
    assert "the outer step" in report.finding("effective_lr").why
    assert report.sentence().startswith("Typed as an update. Of the step inside a loop:")


@pytest.mark.parametrize("every", ["2", "17"])
def test_cases_of_the_backends_see_an_outer_step(every: str, tmp_path: Path) -> None:
    path = mine(tmp_path, outer=OUTER.replace('"L"', every))
    path.write_text(path.read_text().replace('L = { default = 3, domain = "count" }\n', ""))
    cases = reference_cases(program_of(catalogue.load(path)))  # type: ignore[arg-type]
    assert any(1 in case.stages for case in cases)
