"""An integrator that is made once and run many times, beside runs that are made anew."""

from __future__ import annotations

import copy
import itertools
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hamilforge as hf
from hamilforge.runtime.core.errors import IntegrationError

START = np.array([0.0, 0.1, 0.49, 0.0])
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("taylor", {"rtol": 1e-9, "atol": 1e-9}),
    ("dormand_prince54", {"rtol": 1e-9, "atol": 1e-9, "max_step": 0.25}),
    ("rk4", {"h": 0.125}),
]


@pytest.mark.parametrize(("method", "options"), KINDS)
@pytest.mark.parametrize("span", [(0.0, 3.0), (1.0, -2.0)])
def test_ends_are_those_of_runs_made_anew(
    method: str, options: dict[str, Any], span: tuple[float, float]
) -> None:
    integrator = hf.integrator("henon_heiles", method, **options)
    starts = START * np.array([[1.0], [0.5], [0.9]])
    for _ in range(2):  # nothing is kept of a run
        for start in (None, START, starts[1]):
            alone = hf.integrate("henon_heiles", method, start, span, **options)
            # which of Taylor's method is the polynomial, without what rounding left of the sum
            np.testing.assert_allclose(integrator.end(start, span), alone.y[-1], rtol=0, atol=1e-15)
            again = integrator.solve(start, span)
            assert np.array_equal(again.y, alone.y)
            assert np.array_equal(again.t, alone.t)
        ends = integrator.end(starts, span)
        assert ends.shape == (3, 4)
        each = [integrator.end(start, span) for start in starts]
        np.testing.assert_allclose(ends, each, rtol=0, atol=1e-13)
    assert np.array_equal(START, [0.0, 0.1, 0.49, 0.0])


def test_parameters_are_checked_once_and_kept() -> None:
    frictions = np.array([0.0, 0.1, 0.5])
    method = {"rtol": 1e-8, "atol": 1e-8}
    integrator = hf.integrator(
        "damped_pendulum", "dormand_prince54", parameters={"gamma": frictions}, **method
    )
    ends = integrator.end([1.0, 0.0], (0.0, 2.0))
    for gamma, end in zip(frictions, ends, strict=True):
        alone = hf.integrator(
            "damped_pendulum", "dormand_prince54", parameters={"gamma": gamma}, **method
        )
        np.testing.assert_allclose(alone.end([1.0, 0.0], (0.0, 2.0)), end, rtol=0, atol=1e-14)
    assert repr(alone) == "Integrator(damped_pendulum__dormand_prince54, steps of its own)"


def test_what_is_done_to_a_solution_is_not_done_to_its_integrator() -> None:
    gammas = np.array([0.1, 0.2])
    for gamma in (0.1, gammas):
        integrator = hf.integrator(
            "damped_pendulum", "dormand_prince54", rtol=1e-8, parameters={"gamma": gamma}
        )
        before = integrator.end([1.0, 0.0], (0.0, 2.0))
        solution = integrator.solve([1.0, 0.0], (0.0, 2.0), t_eval=[2.0])
        if gamma is gammas:
            solution.parameters["gamma"][:] = 9.0
        solution.parameters["gamma"] = 9.0
        gammas[:] = 9.0
        assert np.array_equal(integrator.end([1.0, 0.0], (0.0, 2.0)), before)
        copies = pickle.loads(pickle.dumps(integrator)), copy.deepcopy(integrator)
        for other in copies:
            assert np.array_equal(other.end([1.0, 0.0], (0.0, 2.0)), before)


def test_a_start_without_energy_is_refused_by_all_runs(tmp_path: Path) -> None:
    path = tmp_path / "well.toml"
    path.write_text(
        'kind = "hamiltonian"\nname = "well"\ntitle = "A well"\nreference = "none"\n'
        'coordinates = { q = ["x"], p = ["v"] }\nenergy = "v**2/2 + x**2/2 - log(x)"\n'
    )
    tries = itertools.product(("dormand_prince54", "taylor"), ({"rtol": 1e-6}, {"h": 0.1}))
    for method, options in tries:
        integrator = hf.integrator(path, method, **options)
        for run in (integrator.end, integrator.solve):
            for start in ([-1.5, 0.0], [0.0, 0.0]):  # the right-hand side is a number at the first
                with pytest.raises(ValueError, match="is not defined at the start") as error:
                    run(start, (0.0, 1.0))
                assert error.value.__context__ is None
        assert np.isfinite(integrator.end([1.5, 0.0], (0.0, 1.0))).all()


def test_events_are_looked_for_by_solve() -> None:
    def falls(t: float, y: Any) -> float:
        return float(y[0])

    integrator = hf.integrator("henon_heiles", "taylor", rtol=1e-9, atol=1e-9)
    solution = integrator.solve(START, (0.0, 20.0), events=falls)
    alone = hf.integrate(
        "henon_heiles", "taylor", START, (0.0, 20.0), rtol=1e-9, atol=1e-9, events=falls
    )
    assert np.array_equal(solution.t_events[0], alone.t_events[0])
    assert len(solution.t_events[0]) > 2


def test_ends_that_are_not_reached_say_why() -> None:
    integrator = hf.integrator("kepler", "taylor", rtol=1e-9)
    with pytest.raises(ValueError, match="is not defined at the start"):
        integrator.end([0.0, 0.0, 0.0, 0.0], (0.0, 1.0))
    with pytest.raises(IntegrationError, match="no radius of convergence") as caught:
        integrator.end([1.0, 0.0, 0.0, 0.0], (0.0, 5.0))  # falls into the centre
    assert caught.value.solution is not None
    assert caught.value.solution.t[0] == 0.0 < caught.value.solution.t[-1] < 5.0
    few = hf.integrator("kepler", "taylor", rtol=1e-9, max_steps=3)
    with pytest.raises(IntegrationError, match="the budget of 3 steps is used up"):
        few.end(None, (0.0, 100.0))
    with pytest.raises(IntegrationError, match="more than max_steps = 3"):
        hf.integrator("kepler", "rk4", h=0.1, max_steps=3).end(None, (0.0, 1.0))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"h": 0.1, "rtol": 1e-6}, ValueError, "exclude each other"),
        ({"h": -0.1}, ValueError, "a positive step"),
        ({"h": "long"}, ValueError, "a number was expected"),
        ({"max_step": -1.0}, ValueError, "a positive number"),
        ({"h": 0.1, "max_step": 0.1}, ValueError, "leave h out"),
        ({"rtol": -1.0}, ValueError, "a positive number"),
        ({"parameters": {"nothing": 1.0}}, ValueError, "no parameter 'nothing'"),
        ({"max_steps": 0}, ValueError, "max_steps = 0"),
        ({"t_eval": [1.0]}, TypeError, "t_eval"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        hf.integrator("kepler", "rk4" if "h" in options else "dormand_prince54", **options)


def test_a_start_that_does_not_fit_is_refused() -> None:
    integrator = hf.integrator("kepler", "dormand_prince54", rtol=1e-6)
    with pytest.raises(ValueError, match=r"y0 has the shape \(3,\)"):
        integrator.end([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="two different finite times"):
        integrator.end(None, (1.0, 1.0))
    with pytest.raises(ValueError, match="every counts steps of a fixed h"):
        integrator.solve(every=2)


def axis(t: float, y: Any) -> Any:
    return y[1]


def above(t: float, y: Any) -> Any:
    return y[1] - 0.1


above.terminal = True  # type: ignore[attr-defined]


ENSEMBLE = np.array([[0.4, 0.0, 0.0, 2.0], [0.5, 0.0, 0.0, 1.5]])


def made(**attributes: Any) -> hf.Solution:
    times = attributes.get("t", np.array([0.0, 1.0]))
    given = {"components": ("x", "v"), "t": times, "y": np.zeros((len(times), 2)), "steps": 7}
    return hf.Solution("a__b", parameters={}, **{**given, **attributes})


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({}, "x, v at 2 times from 0 to 1; 7 steps"),
        ({"t": [0.0, 1.0]}, "x, v at 2 times from 0 to 1; 7 steps"),
        ({"t": np.array([1234567.5])}, "x, v at the time 1234567.5; 7 steps"),
        ({"t": np.zeros(0), "steps": 1}, "x, v; 1 step"),
        ({"rejected": 3}, "x, v at 2 times from 0 to 1; 7 steps, 3 taken back"),
        (
            {"events": ("up", "down"), "t_events": (np.zeros(3), np.zeros(0)), "status": 1},
            "x, v at 2 times from 0 to 1; 7 steps; zeros of up: 3; zeros of down: 0; "
            "ended by an event",
        ),
        (
            {
                "y": np.zeros((3, 2, 2)),
                "events": ("up", "down"),
                "t_events": ((np.zeros(1), np.zeros(2)), (np.zeros(3), []), ([], np.zeros(1))),
                "status": np.array([1, 0, 1]),
            },
            "x, v of 3 trajectories at 2 times from 0 to 1; 7 steps; zeros of up: 4; "
            "zeros of down: 3; 2 ended by an event",
        ),
        ({"y": np.zeros((1, 2, 2))}, "x, v of 1 trajectory at 2 times from 0 to 1; 7 steps"),
        (
            {"components": ("x[0]", "x[1]", "x[2]"), "y": np.zeros((2, 3))},
            "x[0] to x[2] at 2 times from 0 to 1; 7 steps",
        ),
        ({"components": (*"abcdefghi",)}, "9 components at 2 times from 0 to 1; 7 steps"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_solution_says_what_it_is(attributes: dict[str, Any], text: str) -> None:
    assert repr(made(**attributes)) == f"a__b: {text}"


def test_a_run_says_what_it_is() -> None:
    one = hf.integrate("kepler", "rk4", t_span=(0, 1), h=0.1)
    assert repr(one) == "kepler__rk4: x, y, px, py at 11 times from 0 to 1; 10 steps"
    several = hf.integrate(
        "kepler", "dormand_prince54", ENSEMBLE, (0, 6), rtol=1e-6, t_eval=[0, 3, 6],
        events=[axis, above],
    )  # fmt: skip
    assert re.fullmatch(
        r"kepler__dormand_prince54: x, y, px, py of 2 trajectories at 3 times from 0 to 6; "
        r"\d+ steps; zeros of axis: 0; zeros of above: 2; 2 ended by an event",
        repr(several),
    )


def test_what_is_not_along_a_solution_is_refused_with_what_is(tmp_path: Path) -> None:
    solution = hf.integrate("kepler", "rk4", t_span=(0, 1), h=0.1)
    for sol in (solution, hf.Solution.read(solution.save(tmp_path / "kepler.npz"))):
        with pytest.raises(AttributeError, match="there is angular_momentum, energy, runge_lenz"):
            sol.invariant("nothing")
