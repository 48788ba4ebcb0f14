"""Ensembles in vector registers: each trajectory is what it is alone, whoever is beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hamilforge as hf
from hamilforge.gen.declare.functions import TABLE
from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.integrators import side_by_side
from tests.samples import diagonal

KEPLER = np.array([0.4, 0.0, 0.0, 2.0])
SYSTEM = """\
kind = "system"
name = "own"
title = "A system for a test"
reference = "none"

[equations]
x = "{x}"
y = "{y}"

[parameters]
a = {{ default = 0.5, domain = "real", doc = "a number" }}

[start]
x = 0.3
y = 0.2
"""


def _declared(folder: Path, x: str, y: str) -> Path:
    file = folder / "own.toml"
    file.write_text(SYSTEM.format(x=x, y=y))
    return file


def _starts(count: int, spread: float = 0.05) -> Any:
    return KEPLER + spread * np.random.default_rng(1).standard_normal((count, 4))


@pytest.mark.parametrize(
    ("method", "count"), diagonal(["rk4", "yoshida6", "dormand_prince54"], [2, 8, 13])
)
def test_fixed_steps_are_to_the_last_bit_those_alone(method: str, count: int) -> None:
    starts = _starts(count)
    together = hf.integrate("kepler", method, starts, (0, 3), h=0.01, every=7)
    for start, states in zip(starts, together.y, strict=True):
        alone = hf.integrate("kepler", method, start, (0, 3), h=0.01, every=7)
        np.testing.assert_array_equal(alone.y, states)


def test_fixed_steps_of_a_series_are_those_alone() -> None:
    starts = _starts(11)
    together = hf.integrate("kepler", "taylor", starts, (0, 3), h=0.01, order=12)
    for start, states in zip(starts, together.y, strict=True):
        alone = hf.integrate("kepler", "taylor", start, (0, 3), h=0.01, order=12)
        np.testing.assert_allclose(alone.y, states, rtol=0, atol=1e-12)


@pytest.mark.parametrize("times", [[7.0], np.linspace(0, 7, 400), [0.01, 0.02, 6.99]])
def test_a_trajectory_does_not_depend_on_those_beside_it(times: Any) -> None:
    starts = _starts(21, 0.2)
    whole = hf.integrate("kepler", "taylor", starts, (0, 7), t_eval=times).y
    some = np.random.default_rng(2).permutation(21)[:10]
    part = hf.integrate("kepler", "taylor", starts[some], (0, 7), t_eval=times).y
    np.testing.assert_array_equal(part, whole[some])


@pytest.mark.parametrize("count", [9, 30])
def test_one_that_has_come_to_its_end_makes_room_for_the_next(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "get_num_threads", lambda: 1)
    monkeypatch.setattr(side_by_side, "GROUPS", 1)
    starts = _starts(count, 0.2)
    starts[4] = [1.0, 0.0, 0.0, 0.02]  # it passes the sun at a ten-thousandth of the distance
    together = hf.integrate("kepler", "taylor", starts, (0, 5), t_eval=[1, 5])
    steps = []
    for start, states in zip(starts, together.y, strict=True):
        alone = hf.integrate("kepler", "taylor", start, (0, 5), t_eval=[1, 5])
        np.testing.assert_allclose(states, alone.y, rtol=0, atol=1e-9)
        steps.append(alone.steps)
    assert steps[4] > 2 * steps[0]
    assert together.steps == max(steps)


def test_steps_that_grow_after_a_pulse_are_as_many_as_alone(tmp_path: Path) -> None:
    file = _declared(tmp_path, "exp(-100*(t - 3)**2)*a", "-x")
    how: dict[str, Any] = {"t_span": (2.5, 6), "t_eval": [6], "rtol": 1e-9, "atol": 1e-12}
    values = np.linspace(0.1, 1, 12)
    together = hf.integrate(file, "taylor", parameters={"a": values}, **how)
    exact = 0.3 + values * np.sqrt(np.pi) / 10
    counts = [
        hf.integrate(file, "taylor", parameters={"a": value}, **how).steps for value in values
    ]
    np.testing.assert_allclose(together.y[:, -1, 0], exact, rtol=0, atol=1e-7)
    assert together.steps == max(counts)


def test_what_is_missing_in_the_time_is_carried_along(tmp_path: Path) -> None:
    file = _declared(tmp_path, "cos(t)*a", "-y")
    start = 1e9  # whose neighbours are 1e-7 apart
    how: dict[str, Any] = {"t_span": (start, start + 50), "t_eval": [start + 50], "rtol": 1e-10}
    values = np.linspace(0.1, 1, 12)
    together = hf.integrate(file, "taylor", parameters={"a": values}, **how)
    for value, states in zip(values, together.y, strict=True):
        alone = hf.integrate(file, "taylor", parameters={"a": value}, **how)
        np.testing.assert_allclose(states, alone.y, rtol=0, atol=1e-12)


def test_the_longest_step_and_the_budget_hold_for_each() -> None:
    starts = _starts(9)
    counts = [hf.integrate("kepler", "taylor", x, (0, 3), max_step=0.01).steps for x in starts]
    how: dict[str, Any] = {"t_eval": [0, 1, 3], "max_step": 0.01}
    assert hf.integrate("kepler", "taylor", starts, (0, 3), **how).steps == max(counts)
    with pytest.raises(IntegrationError, match=r"budget of 299 .* 9 of 9 failed") as caught:
        hf.integrate("kepler", "taylor", starts, (0, 3), max_steps=299, **how)
    assert caught.value.step == 299
    starts = np.tile(KEPLER, (9, 1))
    starts[3] = [1.0, 0.0, 0.0, 0.02]
    most = hf.integrate("kepler", "taylor", starts[0], (0, 5)).steps + 4
    with pytest.raises(IntegrationError, match=r"budget .* \(trajectory 3; 1 of 9 failed"):
        hf.integrate("kepler", "taylor", starts, (0, 5), t_eval=[5], max_steps=most)


@pytest.mark.parametrize("times", [[0.0], [0.0, 5.0], [5.0]])
@pytest.mark.parametrize("method", ["taylor", "dormand_prince54"])
def test_a_start_without_meaning_is_refused(method: str, times: list[float]) -> None:
    starts = _starts(9)
    starts[5] = [0.0, 0.0, 0.0, 1.0]
    for few in (starts[5:], starts):
        number = 5 - (9 - len(few))
        with pytest.raises(ValueError, match=f"not defined at the start of trajectory {number}"):
            hf.integrate("kepler", method, few, (0, 5), t_eval=times, max_steps=10)


def test_a_few_go_one_by_one() -> None:
    product = hf.integrator("kepler", "taylor").product
    assert side_by_side.of_own_steps(product, 4) is None
    assert side_by_side.of_own_steps(product, 5) is not None
    assert side_by_side.of_equal_steps(product, 4) is None
    assert side_by_side.of_equal_steps(product, 10_000) is not None


def test_an_energy_that_jumps_is_that_of_a_trajectory() -> None:
    starts = np.tile(KEPLER, (9, 1))
    starts[6] = [1.0, 0.0, 0.0, 0.0]  # falls into the sun
    with pytest.raises(IntegrationError, match=r"\(step \d+ of trajectory 6\) the energy"):
        hf.integrate("kepler", "rk4", starts, (0, 3), h=0.01)


def test_one_of_fixed_steps_that_fails_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    file = _declared(tmp_path, "x**2", "a*x")
    starts = np.linspace(0.1, 0.9, 18).reshape(9, 2)
    starts[5, 0] = 1e150
    with pytest.raises(IntegrationError, match=r"trajectory 5; 1 of 9 failed") as caught:
        hf.integrate(file, "rk4", starts, (0, 1), h=0.01)
    assert caught.value.step == 0
    starts[5, 0] = 2.0  # infinite at t = 1/2
    with pytest.raises(IntegrationError, match=r"trajectory 5; 1 of 9 failed") as caught:
        hf.integrate(file, "rk4", starts, (0, 1), h=0.01)
    solution = caught.value.solution
    assert 0.4 < solution.t[-1] < 0.7
    exact = 1 / (1 / starts[0, 0] - solution.t)
    np.testing.assert_allclose(solution.y[0, :, 0], exact, rtol=1e-8)


def _calls(names: list[str]) -> str:
    return " + ".join(f"{name}(x{' + 2' if name == 'acosh' else ''})/64" for name in names)


FUNCTIONS = [row for row in TABLE if row.declarable and len(row.arguments) == 1]
SMOOTH = [row.name for row in FUNCTIONS if not row.kink]


def test_every_function_in_fixed_steps(tmp_path: Path) -> None:
    file = _declared(tmp_path, "a*y + sin(t)/4", _calls([row.name for row in FUNCTIONS]) + " - y")
    a = np.linspace(0.2, 0.8, 10)
    together = hf.integrate(file, "rk4", t_span=(0, 1), parameters={"a": a}, h=0.125)
    for value, states in zip(a, together.y, strict=True):
        alone = hf.integrate(file, "rk4", t_span=(0, 1), parameters={"a": value}, h=0.125)
        np.testing.assert_array_equal(states, alone.y)


@pytest.mark.parametrize(
    "names",
    [["exp", "log", "tanh", "cbrt"], *(pytest.param([x], marks=pytest.mark.full) for x in SMOOTH)],
    ids=lambda names: " ".join(names),
)
def test_functions_in_series(names: list[str], tmp_path: Path) -> None:
    file = _declared(tmp_path, "a*y + sin(t)/4", _calls(names) + " - y/2")
    how: dict[str, Any] = {"t_span": (0, 1), "t_eval": [0.5, 1]}
    a = np.linspace(0.2, 0.8, 10)
    together = hf.integrate(file, "taylor", parameters={"a": a}, **how)
    for value, states in zip(a, together.y, strict=True):
        alone = hf.integrate(file, "taylor", parameters={"a": value}, **how)
        np.testing.assert_allclose(states, alone.y, rtol=0, atol=1e-13)
