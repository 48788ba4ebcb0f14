"""Reports of networks' fields: dimensions, dependence on time, and whether they are Hamiltonian."""

from __future__ import annotations

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.shapes import written
from hamilforge.gen.prove.report import Finding, Report, compare_claims

THIS = "all dimensions and controls"


def prove(field: kinds.Field) -> Report:
    """What is known of a field."""
    expressions = [value for _, value in field.rates]
    if field.running is not None:
        expressions.append(field.running)
    timed = any("t" in value.names() for value in expressions)
    states = ", ".join(f"{name} {written(shape)}" for name, shape in field.states)
    controls = ", ".join(f"{name} {written(shape)}" for name, shape in field.controls)
    findings = [
        Finding("states", states, "the declaration", THIS),
        Finding("controls", controls or "none", "the declaration", THIS),
        Finding("autonomous", not timed, "t in f", THIS),
    ]
    head = field.head
    claims = compare_claims(head, tuple(findings))
    return Report(head.name, "field", head.title, tuple(findings), claims)


def prove_objective(objective: kinds.Objective) -> Report:
    """What an objective reads and has to learn."""

    def listed(entries: tuple[tuple[str, kinds.Shape], ...]) -> str:
        return ", ".join(f"{name} {written(shape)}" for name, shape in entries) or "none"

    findings = (
        Finding("states", listed(objective.states), "the declaration", THIS),
        Finding("weights", listed(objective.weights), "the declaration", THIS),
        Finding("data", listed(objective.data), "the declaration", THIS),
    )
    head = objective.head
    return Report(head.name, "objective", head.title, findings, compare_claims(head, findings))
