"""Reports of problems for integrators: what of them holds along every exact solution."""

from __future__ import annotations

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.derive.calculus import written
from hamilforge.gen.derive.field import VectorField, derive_field
from hamilforge.gen.prove.report import Finding, Report, compare_claims

BY = "differentiated by SymPy"
THIS = "this problem, all parameters"
ENDS = (sp.Symbol("start", real=True), sp.Symbol("stop", real=True))


def prove(declaration: kinds.Problem) -> Report:
    """Dimension, structure and invariants of a problem."""
    field = derive_field(declaration)
    head = declaration.head
    findings = [
        Finding("dimension", len(field.components), "the components", THIS),
        Finding("autonomous", field.autonomous, "t in the equations", THIS),
    ]
    kind = "system"
    if isinstance(declaration, kinds.Mechanics):
        kind = "hamiltonian"
        findings += _mechanics(field)
    findings.append(Finding("divergence", written(field.divergence), BY, THIS))
    if field.structure is not None:
        by = "S + S' = 0, S grad H equals the equations, and Jacobi's identity, by SymPy"
        findings.append(Finding("poisson", field.jacobi, by, THIS))
    for name, value in field.invariants:
        rate = field.rate(value)
        findings.append(
            Finding(
                f"invariant_{name}",
                rate == 0,
                f"its derivative along solutions is {written(rate)}, {BY}",
                THIS,
            )
        )
    claimed = {f"invariant_{name}": True for name, _ in field.invariants}
    claims = compare_claims(_with_invariants(head, claimed), tuple(findings))
    return Report(head.name, kind, head.title, tuple(findings), claims)


def _with_invariants(head: kinds.Head, claimed: dict[str, bool]) -> kinds.Head:
    """A declared invariant is a claim."""
    return kinds.Head(
        head.name, head.title, head.reference, {**claimed, **head.claims}, head.source
    )


def _mechanics(field: VectorField) -> list[Finding]:
    found = [
        Finding(
            "separable",
            field.separable,
            "the variables in dH/dp and dH/dq",
            "an explicit splitting exists if true",
        ),
        Finding(
            "conformal_factor",
            written(field.decay(*ENDS)),
            "exp(-int gamma) from start to stop, integrated by SymPy: the flow scales the "
            "symplectic form by it",
            THIS,
        ),
    ]
    text = "dH/dt = " + written(field.rate(field.energy))
    found.append(Finding("energy_rate", text, BY, THIS))
    return found
