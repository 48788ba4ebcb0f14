"""What is proved about gradient systems, and about what discretises them by itself."""

from __future__ import annotations

from hamilforge.gen.declare.kinds import GradientSystem, StateUpdate, UnknownSplitting
from hamilforge.gen.prove.report import Finding, Report, compare_claims

_OF_A_SYSTEM = "an order is one of a method for a system: check an optimizer that names both"


def prove_system(system: GradientSystem) -> Report:
    """The unknowns of a gradient system, and what falls along its solutions.

    Raises:
        DeclarationError: a claim is about no property of a system.
    """
    head = system.head
    findings = (
        Finding("unknowns", len(system.unknowns), "the declaration", "any loss and dimension"),
    )
    return Report(head.name, "system", head.title, findings, compare_claims(head, findings))


def prove_part(part: UnknownSplitting | StateUpdate) -> Report:
    """A splitting by unknowns or an update of a state, without a system.

    Raises:
        DeclarationError: a claim is about no property of it.
    """
    kind = "splitting" if isinstance(part, UnknownSplitting) else "update"
    findings = (Finding("order", None, "the declaration", "every system", _OF_A_SYSTEM),)
    head = part.head
    return Report(head.name, kind, head.title, findings, compare_claims(head, findings))
