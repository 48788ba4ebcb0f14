"""Trajectories with steps of their own, in parallel: each is what it is alone."""

import numpy as np
import pytest

import hamilforge as hf
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.integrators import adaptive_ensembles
from tests.samples import diagonal

METHODS = ("taylor", "dormand_prince54")
#: In lanes sums of coefficients are taken in another order; orbits make more of it.
ROUNDING = {"taylor": 1e-10, "dormand_prince54": 0.0}


KEPLER = np.array([0.4, 0, 0, 2])


def _starts(count):
    return KEPLER + 0.1 * np.random.default_rng(1).standard_normal((count, 4))


@pytest.mark.parametrize(("span", "method"), diagonal([(0, 30), (30, 0)], METHODS))
def test_each_is_what_it_is_alone(method, span, monkeypatch):
    monkeypatch.setattr(adaptive_ensembles, "FIRST_STRETCH", 3)  # several calls
    starts, times = _starts(9), np.linspace(*span, 12)
    for t_eval in (times, times[2:-3]):
        together = hf.integrate("kepler", method, starts, span, t_eval=t_eval)
        assert together.y.shape == (9, len(t_eval), 4)
        assert (together.t == t_eval).all()
        counts = []
        for start, states in zip(starts, together.y, strict=True):
            alone = hf.integrate("kepler", method, start, span, t_eval=t_eval)
            np.testing.assert_allclose(alone.y, states, rtol=0, atol=ROUNDING[method])
            counts.append(alone.steps)
        assert together.steps == max(counts)


def test_none_at_all():
    assert hf.integrate("kepler", "taylor", np.empty((0, 4)), t_eval=[0.5]).y.shape == (0, 1, 4)


@pytest.mark.parametrize("method", METHODS)
def test_one_that_fails_is_named(method):
    starts = _starts(5)
    starts[3] = [1, 0, 0, 0]  # falls into the sun
    with pytest.raises(IntegrationError, match=r"trajectory 3; 1 of 5 failed") as caught:
        hf.integrate("kepler", method, starts, (0, 4), t_eval=[0.1, 0.2, 3])
    assert caught.value.solution.t == pytest.approx([0.1, 0.2])
    assert 0 < caught.value.t < 1.2
    with pytest.raises(IntegrationError, match=r"budget of 5 steps .* of 5 failed"):
        hf.integrate("kepler", method, _starts(5), (0, 40), t_eval=[40], max_steps=5)


def test_parameters_differ():
    gammas = np.array([0.0, 0.1, 0.5])
    together = hf.integrate(
        "damped_pendulum", "dormand_prince54", t_span=(0, 5), t_eval=[5],
        parameters={"gamma": gammas},
    )  # fmt: skip
    for gamma, states in zip(gammas, together.y, strict=True):
        alone = hf.integrate(
            "damped_pendulum", "dormand_prince54", t_span=(0, 5), t_eval=[5],
            parameters={"gamma": gamma},
        )  # fmt: skip
        assert (alone.y == states).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_span_whose_square_is_no_number(method):
    for stop in (1e-300, -1e-300):
        for start in (KEPLER, np.tile(KEPLER, (9, 1))):
            solution = hf.integrate("kepler", method, start, (0, stop), t_eval=[stop])
            np.testing.assert_allclose(solution.y[..., -1, 1], 2 * stop, rtol=1e-12, atol=0)


def test_a_splitting_by_unknowns_is_none_for_trajectories():
    with pytest.raises(DeclarationError, match="splits a system by its unknowns"):
        hf.integrate("kepler", "extended_leapfrog", t_span=(0, 1), h=0.1)
