"""What is proved about a rule of which no differential equation is declared."""

from __future__ import annotations

from hamilforge.gen.declare.kinds import Rule
from hamilforge.gen.program.optimizers.build_rule import derive_rule
from hamilforge.gen.prove.optimizers.optimizer import cost
from hamilforge.gen.prove.report import Finding, Report, compare_claims

_NO_SYSTEM = "the rule names no system that it approximates"
_NOT_ANALYSED = "not analysed for rules without a system"


def prove_rule(rule: Rule) -> Report:
    """The cost of a rule, by its program; order and form are those of a system, and there is none.

    Raises:
        DeclarationError: a claim is about no property of a rule.
    """
    derivation = derive_rule(rule)
    findings = (
        *(
            Finding(name, None, "the declaration", "every rule of this form", why)
            for name, why in (
                ("order", _NO_SYSTEM),
                ("symplectic_form", _NO_SYSTEM),
                ("conformal_factor", _NO_SYSTEM),
                ("stability_limit", _NOT_ANALYSED),
            )
        ),
        *cost(derivation.program),
    )
    head = rule.head
    return Report(head.name, "optimizer", head.title, findings, compare_claims(head, findings))
