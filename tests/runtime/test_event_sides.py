"""Events where rounding and the error of series would decide on which side a function is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hamilforge as hf
from hamilforge.runtime.integrators import step_functions

pytestmark = pytest.mark.usefixtures("kernels")
METHODS = ("taylor", "dormand_prince54", "dormand_prince87", "kvaerno54")
HEAD = 'kind = "system"\nname = "{name}"\ntitle = "-"\nreference = "-"\n'
FALL = '[equations]\nx = "v"\nv = "{force}"\n[parameters]\nc = 0\n[start]\nx = 0\nv = 0\n'
SWING = HEAD.format(name="swing") + FALL.format(force="-sin(x)") + '[events]\nback = "x - c"\n'
DROP = HEAD.format(name="drop") + FALL.format(force="-1 - v/10") + '[events]\nback = "x - c"\n'
FORCED = (
    HEAD.format(name="forced")
    + '[equations]\nx = "v"\nv = "mu*(1 - x**2)*v - x + cos(2*t)/5"\n[parameters]\nmu = 5\n'
    '[start]\nx = 2\nv = 0\n[events]\nwave = "v/(1 + x**2) - sin(30*t)/10"\n'
)
CLOCK = (
    HEAD.format(name="clock")
    + '[equations]\nx = "-x/5"\n[parameters]\nw = 30\nc = 0.99\n[start]\nx = 1\n'
    '[events]\nany = "sin(w*t) - c"\nrising = { value = "sin(w*t) - c", direction = 1 }\n'
)


def written(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("method", METHODS)
def test_a_start_at_rest_is_found_again_after_a_period_alone(method: str, tmp_path: Path) -> None:
    swing = written(tmp_path, SWING)
    for start in np.random.default_rng(1).uniform(0.1, 2.5, 8):
        given = {"parameters": {"c": start}, "rtol": 1e-9, "atol": 1e-9}
        span = (0, 9.5)  # the periods are from 2 pi to 2.4 pi, the next turn beyond it
        for events in ("back", lambda t, y, c=start: y[0] - c):
            solution = hf.integrate(swing, method, [start, 0.0], span, events=events, **given)
            (times,) = solution.t_events
            assert ((times > 6.28) & (times < 7.6 * 1.3)).all()
            assert len(times) <= 2


@pytest.mark.parametrize("method", METHODS)
def test_a_fall_from_rest_at_zero_has_no_event(method: str, tmp_path: Path) -> None:
    drop = written(tmp_path, DROP)
    for events in ("back", lambda t, y: y[0]):
        solution = hf.integrate(drop, method, [0.0, 0.0], (0, 3), rtol=1e-6, events=events)
        assert solution.t_events[0].size == 0


@pytest.mark.parametrize("method", ["taylor", "dormand_prince87"])
@pytest.mark.parametrize(("w", "c"), [(30, 0.995), (80, 0.995), (30, 0.97), (150, 0.0)])
def test_zeros_of_a_wave_are_counted_in_long_steps(
    method: str, w: float, c: float, tmp_path: Path
) -> None:
    clock = written(tmp_path, CLOCK)
    solution = hf.integrate(
        clock, method, t_span=(0, 10), rtol=1e-3, atol=1e-3, events=["any", "rising"],
        parameters={"w": w, "c": c},
    )  # fmt: skip
    turns = 2 * np.pi * np.arange(1000)
    rising = (np.arcsin(c) + turns) / w
    falling = (np.pi - np.arcsin(c) + turns) / w
    every = np.sort(np.concatenate([rising, falling]))
    for found, zeros in zip(solution.t_events, (every, rising), strict=True):
        expected = zeros[(zeros > 0) & (zeros <= 10)]
        assert found.shape == expected.shape
        assert np.allclose(found, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("start", "mu", "tolerance", "last"),
    [
        ([1.9233413551049203, 0.7421679379227788], 4.077526019472989, 1e-2, 10.46),
        ([-0.04460181266614294, 1.9058492877441782], 4.766301534560056, 1e-3, 14.2),
    ],
)
def test_the_far_side_is_the_functions_own(
    start: list[float], mu: float, tolerance: float, last: float, tmp_path: Path
) -> None:
    forced = written(tmp_path, FORCED)
    given = {"rtol": tolerance, "atol": tolerance, "parameters": {"mu": mu}}
    solution = hf.integrate(forced, "dormand_prince87", start, (0, 15), events="wave", **given)
    times, states = solution.t_events[0], solution.y_events[0]
    values = states[:, 1] / (1 + states[:, 0] ** 2) - np.sin(30 * times) / 10
    nearest = abs(times - last).argmin()
    assert abs(times[nearest] - last) < 1e-2
    assert abs(values[nearest]) < 1e-12
    assert np.count_nonzero(abs(values) > 1e-12) <= 1  # a touch, to the tolerance


def test_a_conserved_function_that_begins_at_zero_is_not_halved_for_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is looked for is lost in rounding all along."""
    pieces: list[float] = []
    real = step_functions.Step._series_of

    def counted(step: Any, event: Any, begin: float, length: float, near: float) -> Any:
        pieces.append(length)
        return real(step, event, begin, length, near)

    monkeypatch.setattr(step_functions.Step, "_series_of", counted)
    text = SWING.replace('"x - c"', '"v**2/2 - cos(x) + cos(1)"')
    solution = hf.integrate(
        written(tmp_path, text), "taylor", [1.0, 0.0], (0, 20), rtol=1e-12, events="back"
    )
    assert len(pieces) <= 4 * len(solution.t)


@pytest.mark.parametrize("method", METHODS)
def test_functions_that_jump_at_the_start_are_looked_at(method: str, tmp_path: Path) -> None:
    """Beside the start they have other values, or none."""
    drop = written(tmp_path, DROP)

    def angle(t: float, y: Any) -> float:
        return (2 * t + 4 * np.pi) % (2 * np.pi) - np.pi

    def table(t: float, y: Any) -> float:
        if t < 1:
            raise IndexError("outside of the table")
        return t - 1.5

    def infinite(t: float, y: Any) -> float:
        return np.inf if t < 1 else t - 1.25

    given = {"rtol": 1e-6, "max_step": 0.5}
    found = hf.integrate(drop, method, [0.0, 0.0], (0, 2), events=angle, **given)
    assert np.allclose(found.t_events[0], [np.pi / 2])
    for event, time in ((table, 1.5), (infinite, 1.25)):
        found = hf.integrate(drop, method, [0.0, 0.0], (1, 2), events=event, **given)
        assert np.allclose(found.t_events[0], [time])
