"""What is proved about optimizers whose steps are assignments: typed, or derived from a system."""

from __future__ import annotations

from hamilforge.gen.declare.budget import Allowance
from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.kinds import Discretised, Rule, StateUpdate
from hamilforge.gen.program.optimizers.build_rule import RuleDerivation, derive_rule
from hamilforge.gen.prove.optimizers.first_steps import first_steps
from hamilforge.gen.prove.optimizers.gradient_order import gradient_order
from hamilforge.gen.prove.optimizers.optimizer import cost
from hamilforge.gen.prove.report import Finding, Report, attempted, compare_claims
from hamilforge.gen.prove.series import Irrational

_NO_SYSTEM = "the rule names no system that it approximates"
_NOT_HAMILTONIAN = "the system is not Hamiltonian"
_NOT_ANALYSED = "not analysed for rules without a Hamiltonian"
_EVERY = "every rule of this form"


def prove_rule(rule: Rule | Discretised) -> Report:
    """Origin, order and cost of a rule.

    Raises:
        DeclarationError: a claim is about no property of a rule.
    """
    derivation = derive_rule(rule)
    system = rule.system if isinstance(rule, Discretised) else None
    why = _NOT_HAMILTONIAN if system else _NO_SYSTEM
    findings = (
        Finding("origin", _origin(rule), "the declaration", _EVERY),
        attempted(Allowance(), "order", lambda: _order(rule), _EVERY),
        *(
            Finding(name, None, "the declaration", _EVERY, reason)
            for name, reason in (
                ("symplectic_form", why),
                ("conformal_factor", why),
                ("stability_limit", _NOT_ANALYSED),
            )
        ),
        attempted(Allowance(), "first_steps", lambda: _first_steps(derivation), _EVERY),
        *cost(derivation.program),
    )
    head = rule.head
    return Report(head.name, "optimizer", head.title, findings, compare_claims(head, findings))


def _origin(rule: Rule | Discretised) -> str:
    """Where the step comes from."""
    if not isinstance(rule, Discretised) or isinstance(rule.method, StateUpdate):
        return "typed as an update"
    assert rule.system is not None
    return f"derived from the equation {rule.system.head.name} by {rule.method.head.name}"


def _first_steps(derivation: RuleDerivation) -> Finding:
    evidence = "two steps of the emitted program in symbols"
    reach = (
        "one coordinate, all positive, choices as the defaults decide them; theta0 and theta1 are "
        "the parameters before the steps, g1 and g2 the gradients there with their L2 decay"
    )
    try:
        return Finding("first_steps", dict(first_steps(derivation.program)), evidence, reach)
    except (NotDerivableError, NotImplementedError) as error:
        return Finding("first_steps", None, evidence, reach, str(error))


def _order(rule: Rule | Discretised) -> Finding:
    if not isinstance(rule, Discretised) or rule.system is None:
        return Finding("order", None, "the declaration", _EVERY, _NO_SYSTEM)
    reach = "two dimensions, a loss that is a polynomial with random coefficients; constant h"
    if isinstance(rule.method, StateUpdate) and rule.method.parameters:
        defaults = (f"{entry.name} = {entry.default}" for entry in rule.method.parameters)
        reach += f"; parameters of the method as by default: {', '.join(defaults)}"
    evidence = "one step in series in h beside the solution of the equations, from a time > 0"
    try:
        return Finding("order", gradient_order(rule), evidence, reach)
    except (NotDerivableError, Irrational) as error:
        return Finding("order", None, evidence, reach, str(error))
