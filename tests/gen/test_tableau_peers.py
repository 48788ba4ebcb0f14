"""The catalogue beside what others ship: coefficients, and properties where they compute them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import scipy.integrate

from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.tableau.build import build

PEERS = tomllib.loads((Path(__file__).parents[1] / "expected" / "tableaux.toml").read_text())[
    "peers"
]


def load(name):
    return catalogue.load(name, ("runge-kutta",))


@pytest.fixture(scope="module")
def nodepy():
    """Its methods by name, in floating point."""
    from nodepy import rk

    return rk.loadRKM()


@pytest.mark.parametrize(("name", "theirs"), PEERS["nodepy"].items())
def test_coefficients_are_those_of_nodepy(nodepy, name, theirs):
    tableau = build(load(name))
    a, b, c = tableau.floats
    method = nodepy[theirs].__num__()
    theirs_a, theirs_b = np.array(method.A, float), np.array(method.b, float)
    if not tableau.is_explicit:  # stages may stand in another order
        mine, order = np.argsort(c), np.argsort(np.array(method.c, float))
        a, b = a[np.ix_(mine, mine)], b[mine]
        theirs_a, theirs_b = theirs_a[np.ix_(order, order)], theirs_b[order]
    assert theirs_a == pytest.approx(a, abs=5e-15)
    assert theirs_b == pytest.approx(b, abs=5e-15)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [pair for pair in PEERS["nodepy"].items() if pair[0] not in ("dormand_prince87", "calvo65")],
)
def test_properties_are_those_of_nodepy(nodepy, name, theirs):
    method, report = nodepy[theirs].__num__(), pipeline.check(load(name))
    assert method.order(tol=1e-12) == report["order"]
    found = np.inf if report["ssp_radius"] == "inf" else report["ssp_radius"]
    if np.isfinite(found):
        assert method.absolute_monotonicity_radius(acc=1e-9) == pytest.approx(found, abs=1e-5)
    if report["explicit"]:
        assert method.real_stability_interval() == pytest.approx(report["real_stability"], abs=1e-4)


@pytest.mark.parametrize(("name", "theirs"), PEERS["scipy"].items())
def test_coefficients_are_those_of_scipy(name, theirs):
    solver = getattr(scipy.integrate, theirs)
    tableau = build(load(name))
    a, b, c = tableau.floats
    stages = solver.n_stages
    width = solver.A.shape[1]
    assert a[:stages, :width] == pytest.approx(solver.A[:stages], abs=1e-16)
    assert b[:stages] == pytest.approx(solver.B, abs=1e-16)
    assert c[:stages] == pytest.approx(solver.C[:stages], abs=1e-16)
    hat = np.array([float(weight) for weight in tableau.b_hat])
    difference = b - hat
    scale = solver.E[0] / difference[0]
    assert abs(scale) == pytest.approx(1)
    assert solver.E == pytest.approx(scale * difference, abs=1e-15)
