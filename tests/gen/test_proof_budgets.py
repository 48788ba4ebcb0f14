"""A proof that takes too long leaves its property undecided, and nothing else."""

from __future__ import annotations

import pytest

from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.prove import tableau as tables
from hamilforge.gen.prove.optimizers import parts
from hamilforge.gen.tableau.build import build
from hamilforge.gen.tableau.stability import stability_function


def for_ever(*_):
    while True:
        pass


def test_a_property_of_a_table_is_undecided_by_itself(monkeypatch):
    usual = pipeline.check(catalogue.load("rk4", ("runge-kutta",)))
    monkeypatch.setattr(tables, "PROOFS", 0.05)
    monkeypatch.setattr(tables.contractivity, "ssp_radius", for_ever)
    report = tables.prove_runge_kutta(catalogue.load("rk4", ("runge-kutta",)))
    finding = report.finding("ssp_radius")
    assert finding.value is None
    assert "the proof of ssp_radius takes more than its budget" in finding.why
    assert [f.name for f in report.findings] == [f.name for f in usual.findings]
    for name in ("order", "a_stable", "circle_radius", "error_constant"):
        assert report[name] == usual[name]


def test_digits_without_a_solution_in_time_are_digits(monkeypatch):
    monkeypatch.setattr(parts, "PROOF", 0.05)
    monkeypatch.setattr(parts, "true_solution", for_ever)
    report = parts.prove_splitting(catalogue.load("blanes_moan_s6", ("splitting",)))
    assert report["order"] == 4
    assert "whether a true solution lies near the digits takes more than" in (
        report.finding("order").evidence
    )


@pytest.mark.parametrize("name", ["rk4", "gauss2", "radau_iia2", "lobatto_iiic3"])
def test_the_stability_of_adjoint_equations_is_that_of_their_table(name):
    tableau = build(catalogue.load(name, ("runge-kutta",)))
    adjoint = tableau.adjoint()
    assert adjoint is not None
    assert stability_function(tableau).of_adjoint == stability_function(adjoint)
