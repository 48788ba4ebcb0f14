"""Optimizers that carry their equations and steps: the same as those that name them."""

from __future__ import annotations

from pathlib import Path

import pytest

import hamilforge as hf
from hamilforge.gen.declare.errors import DeclarationError
from tests.interpreted import verified

HEAD = 'title = "T"\nreference = "R"\n'
EQUATIONS = """
[equations]
x = "v - beta*grad(x)"
v = "-r/t*(v - beta*grad(x)) - grad(x)"
[start]
t = 1
v = "0.1*x"
"""
NUMBERS = """
[hyperparameters]
lr = { default = 0.05, domain = "nonnegative" }
r = { default = 3, domain = "positive" }
beta = { default = 0.1, domain = "nonnegative" }
[set]
h = "lr"
"""
PARAMETERS = """
[parameters]
r = { default = 3, domain = "positive" }
beta = { default = 0.1, domain = "nonnegative" }
"""
STEPS = 'steps = [["t v", 1], ["x", 1]]\n'


def written(folder: Path, name: str, kind: str, text: str) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(f'kind = "{kind}"\nname = "{name}"\n{HEAD}{text}')
    return path


@pytest.mark.parametrize("method", ['method = "heun2"\n', STEPS])
def test_what_stands_in_the_file_is_what_is_named(tmp_path: Path, method: str) -> None:
    equations = EQUATIONS
    if method == STEPS:
        written(tmp_path, "moves", "splitting", STEPS)
        equations = EQUATIONS.replace("-r/t*(v - beta*grad(x)) - ", "-r/t*v - ")
    written(tmp_path, "damped", "system", equations + PARAMETERS)
    naming = 'system = "damped.toml"\n' + method.replace(STEPS, 'method = "moves.toml"\n')
    named = written(tmp_path, "named", "optimizer", naming + NUMBERS)
    carried = written(tmp_path, "carried", "optimizer", method + equations + NUMBERS)
    reports = [hf.check(path) for path in (named, carried)]
    for name in ("order", "first_steps", "gradients_per_step", "state_buffers"):
        assert reports[0][name] == reports[1][name]
    assert method == STEPS or reports[1]["order"] == 2
    verification = verified(carried)
    assert verification.holds, str(verification)


def test_steps_of_a_hamiltonian_may_stand_in_the_file(tmp_path: Path) -> None:
    text = """system = "classical"
steps = [["D", "1/2"], ["A", "1/2"], ["B", 1], ["A", "1/2"], ["D", "1/2"]]
[hyperparameters]
lr = { default = 1e-3, domain = "nonnegative" }
momentum = { default = 0.9, domain = "unit-interval" }
[set]
h = "sqrt(2*m*lr)"
gamma = "-log(momentum)/h"
[claims]
order = 2
conformal_factor = "momentum"
"""
    path = written(tmp_path, "carried", "optimizer", text)
    report = hf.check(path)
    assert report.holds
    assert report["stability_limit"] == hf.check("conformal_leapfrog")["stability_limit"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('x = "v - beta*grad(x)"', 'x = "v - beta*grad(y)"', "unknown name 'y'"),
        ('v = "0.1*x"', 'w = "0.1*x"', "'w' is no unknown"),
        ("[set]\n", "[set]\ngamma = 1\n", "'gamma' is no parameter"),
        ('["x", 1]', '["w", 1]', "moves 'w'"),
        (STEPS, "", "missing; a text was expected"),
        (STEPS, STEPS + 'system = "adam"\n', "unknown key"),
    ],
)
def test_mistakes_in_them_are_told_with_their_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = STEPS + EQUATIONS + NUMBERS
    assert old in text
    path = written(tmp_path, "carried", "optimizer", text.replace(old, new))
    with pytest.raises(DeclarationError, match=message) as caught:
        hf.check(path)
    assert any(problem.line for problem in caught.value.problems) or "missing" in message


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('h = "lr"', 'h = "lr/(r - r)"', "[set].h: lr/(r - r): divides by zero"),
        ('x = "v - ', 'x = "v/(r - r) - ', "divides by zero"),
        ("[set]", '[claims]\nfirst_steps = ["-lr*(g1", "x"]\n[set]', "[claims].first_steps[1]"),
    ],
)
def test_what_has_no_value_or_is_no_formula_is_told(
    tmp_path: Path, old: str, new: str, line: str
) -> None:
    text = 'method = "heun2"\n' + EQUATIONS + NUMBERS
    path = written(tmp_path, "carried", "optimizer", text.replace(old, new))
    with pytest.raises(DeclarationError) as caught:
        hf.check(path)
    assert line in str(caught.value)


def test_an_equation_that_divides_by_zero_is_told_by_the_system(tmp_path: Path) -> None:
    text = EQUATIONS.replace("- grad(x)", "- grad(x)/(r - r)") + PARAMETERS
    path = written(tmp_path, "damped", "system", text)
    with pytest.raises(DeclarationError, match=r"\[equations\].v: .*divides by zero") as caught:
        hf.check(path)
    assert caught.value.problems[0].line == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('method = "euler"\n' + STEPS + EQUATIONS + NUMBERS, "one of both is read"),
        (STEPS + EQUATIONS.replace("grad", "abs") + NUMBERS, "has no grad"),
    ],
)
def test_what_would_be_overlooked_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        hf.check(written(tmp_path, "carried", "optimizer", text))


def test_only_optimizers_are_taken_for_one() -> None:
    for name in ("problem/rosenbrock", "objective/mean_squared_error"):
        with pytest.raises(ValueError, match="is none"):
            hf.optimizer(name)
        with pytest.raises(ValueError, match="is no optimizer"):
            hf.minimize(lambda x: 0.0, [1.0], jac=lambda x: 0 * x, method=name)


def test_weights_with_many_digits_are_looked_at_quickly(tmp_path: Path) -> None:
    """Their sum is 1 + 4e-17, and no polynomial of that degree is made."""
    outer, inner = "0.19318332750378357", "0.6136333449924329"
    steps = f'[["BD", "{outer}"], ["A", "1/2"], ["BD", "{inner}"], ["A", "1/2"], ["BD", "{outer}"]]'
    report = hf.check(written(tmp_path, "digits", "splitting", f"steps = {steps}\n"))
    assert report["order"] == 0
