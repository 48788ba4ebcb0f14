"""Reports of problems for integrators: what of them holds along every exact solution."""

from __future__ import annotations

import functools
from collections.abc import Callable

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.budget import Allowance
from hamilforge.gen.derive.calculus import Expr, written
from hamilforge.gen.derive.integrators.field import derive_field
from hamilforge.gen.derive.integrators.lattice import LatticeField, at_sites
from hamilforge.gen.derive.integrators.vector_field import VectorField
from hamilforge.gen.prove.integrators.along_constraints import (
    NO_WORK,
    constrained_invariant,
    constrained_proofs,
)
from hamilforge.gen.prove.integrators.taylor import prove_events
from hamilforge.gen.prove.report import Finding, Report, attempted, compare_claims

BY = "differentiated by SymPy"
THIS = "this problem, all parameters"
ENDS = (sp.Symbol("start", real=True), sp.Symbol("stop", real=True))


#: Proofs by the names of their findings.
Proofs = dict[str, Callable[[], Finding]]


def prove(declaration: kinds.Problem, claimed_only: bool = False) -> Report:
    """Dimension, structure, invariants and series of events of a problem.

    Args:
        declaration: the problem.
        claimed_only: whether only what is claimed is proved, as for code; the rest has no value.
    """
    field = derive_field(declaration)
    mechanical = isinstance(declaration, kinds.Mechanics)
    proofs = _proofs(field) | (_mechanics(field) if mechanical else {}) | _along(field)
    if field.constraints:
        proofs |= constrained_proofs(field)
    head = _with_invariants(declaration.head, field)
    allowance = Allowance(size=len(declaration.head.source.data))
    findings = tuple(
        _skipped(name)
        if claimed_only and name not in head.claims
        else attempted(allowance, name, proof, _reach(field))
        for name, proof in proofs.items()
    )
    kind = "hamiltonian" if mechanical else "system"
    return Report(head.name, kind, head.title, findings, compare_claims(head, findings))


def _skipped(name: str) -> Finding:
    return Finding(name, None, "not looked at", THIS, "it is not claimed")


def _reach(field: VectorField) -> str:
    """For what is proved: of a lattice, also for how many sites."""
    if isinstance(field, LatticeField):
        return f"{THIS}, {field.count} >= {2 * field.reach + 1} sites in a ring"
    return THIS


def _proofs(field: VectorField) -> Proofs:
    reach = _reach(field)
    size: int | str = len(field.components)
    if isinstance(field, LatticeField):
        count = field.sites.count
        size = f"{size}*{field.count}" if count is None else size * count
    of_size = (
        reach
        if isinstance(size, str) or not isinstance(field, LatticeField)
        else (f"{THIS}, {field.count} = {field.sites.count}")
    )
    return {
        "dimension": lambda: Finding("dimension", size, "the components", of_size),
        "autonomous": lambda: Finding("autonomous", field.autonomous, "t in the equations", reach),
    }


def _along(field: VectorField) -> Proofs:
    """What holds along solutions."""
    proofs: Proofs = {}
    if not field.constraints:  # what multipliers do to volumes is not in the field
        proofs["divergence"] = lambda: Finding(
            "divergence", written(field.divergence), BY, _reach(field)
        )
    if field.structure is not None:
        by = "S + S' = 0, S grad H equals the equations, and Jacobi's identity, by SymPy"
        proofs["poisson"] = lambda: Finding("poisson", field.jacobi, by, THIS)
    for name, value in field.invariants:
        proofs[f"invariant_{name}"] = functools.partial(_invariant, field, name, value)
    if field.events:
        proofs["events"] = functools.partial(prove_events, field)
    return proofs


def _invariant(field: VectorField, name: str, value: Expr) -> Finding:
    rate = field.rate(value)
    if field.constraints:
        return constrained_invariant(field, name, value, rate)
    by = f"its derivative along solutions is {_written(field, rate)}, {BY}"
    if rate == 0:
        return Finding(f"invariant_{name}", True, by, _reach(field))
    if field.differs(rate):
        return Finding(f"invariant_{name}", False, by, f"{THIS}, by numbers that were put in")
    why = "its derivative was not shown to vanish, nor not to vanish"
    return Finding(f"invariant_{name}", None, by, _reach(field), why)


def _written(field: VectorField, expr: Expr) -> str:
    """An expression as people write it, with the sites of a lattice."""
    return written(at_sites(expr) if isinstance(field, LatticeField) else expr)


def _with_invariants(head: kinds.Head, field: VectorField) -> kinds.Head:
    """A declared invariant is a claim."""
    claimed = {f"invariant_{name}": True for name, _ in field.invariants}
    return kinds.Head(
        head.name, head.title, head.reference, {**claimed, **head.claims}, head.source
    )


def _mechanics(field: VectorField) -> Proofs:
    return {
        "separable": lambda: Finding(
            "separable",
            field.separable,
            "the variables in dH/dp and dH/dq",
            f"{'a constrained' if field.constraints else 'an explicit'} splitting exists if true",
        ),
        "conformal_factor": lambda: Finding(
            "conformal_factor",
            written(field.decay(*ENDS)),
            "exp(-int gamma) from start to stop, integrated by SymPy: the flow scales the "
            "symplectic form by it"
            + ", on the constraints and their velocities"
            * bool(field.constraints),
            _reach(field),
        ),
        "energy_rate": lambda: Finding(
            "energy_rate",
            "dH/dt = " + _written(field, field.rate(field.energy)),
            BY + NO_WORK * bool(field.constraints),
            _reach(field),
        ),
    }
