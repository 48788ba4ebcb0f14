"""What is proved about optimizers whose steps are assignments: typed, or derived from a system."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import sympy as sp

from hamilforge.gen.declare.budget import Allowance
from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.kinds import Discretised, Rule, StateUpdate
from hamilforge.gen.program.ir import Ref
from hamilforge.gen.program.optimizers.build_rule import RuleDerivation, derive_rule
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.program.optimizers.programs import arrays_of
from hamilforge.gen.prove.optimizers.card_names import POINT, Names, names_of
from hamilforge.gen.prove.optimizers.first_steps import THETA, G, first_steps
from hamilforge.gen.prove.optimizers.gradient_order import gradient_order, with_free_step
from hamilforge.gen.prove.optimizers.inner_steps import (
    OF_INNER,
    SHARE,
    inner_rule,
    loop_of_one_step,
)
from hamilforge.gen.prove.optimizers.optimizer import cost
from hamilforge.gen.prove.optimizers.reductions import reduction_claims, reduction_findings
from hamilforge.gen.prove.optimizers.start_order import SPAN, order_from_start
from hamilforge.gen.prove.optimizers.stationary import WITHOUT_NOISE, variance_finding
from hamilforge.gen.prove.optimizers.step_map import (
    StepMap,
    at_defaults,
    at_value,
    curvature,
    step_map,
)
from hamilforge.gen.prove.optimizers.step_rates import effective_decay, effective_rate, gradient
from hamilforge.gen.prove.optimizers.step_rest import resting
from hamilforge.gen.prove.optimizers.step_stability import stability
from hamilforge.gen.prove.optimizers.weak_order import of_system, weak_order_finding
from hamilforge.gen.prove.report import Finding, Report, attempted, compare_claims
from hamilforge.gen.prove.series import Irrational

_NO_SYSTEM = "the rule names no system that it approximates"
_NOT_HAMILTONIAN = "the system is not Hamiltonian"
_STEP = "the emitted program in symbols"
_CHOICES = "choices as the defaults decide them"
_EVERY = "every rule of this form"
_NOT_ALL = "the outer step is no part of the step inside a loop"


def prove_rule(rule: Rule | Discretised) -> Report:
    """Origin, order and cost of a rule.

    Raises:
        DeclarationError: a claim is about no property of a rule.
    """
    whole, derivation = derive_rule(rule), derive_rule(inner_rule(rule))
    looped = bool(whole.program.outer)
    properties = _OF_STEPS if looped else _PROPERTIES
    _derive_for_order(rule)
    system = rule.system if isinstance(rule, Discretised) else None
    why = _NOT_HAMILTONIAN if system else _NO_SYSTEM
    allowance = Allowance()
    order = attempted(allowance, "order", lambda: _order(rule), _EVERY)
    findings = (
        Finding("origin", _origin(rule), "the declaration", _EVERY),
        order,
        *_lower_from_start(allowance, rule, order),
        *(
            Finding(name, None, "the declaration", _EVERY, why)
            for name in ("symplectic_form", "conformal_factor")
        ),
        *(
            attempted(allowance, name, partial(_shown, name, find, derivation), _EVERY)
            for name, find in properties.items()
        ),
        *(
            Finding(name, None, _STEP, _EVERY, _NOT_ALL)
            for name in _PROPERTIES
            if name not in properties
        ),
        *_loop_stability(allowance, rule, whole.program),
        *_noise(allowance, rule, derivation),
        *reduction_findings(rule),
        *cost(whole.program),
    )
    head = rule.head
    claims = (*compare_claims(head, findings), *reduction_claims(findings))
    noisy = bool(derivation.program.noises)
    notes = (*(WITHOUT_NOISE,) * noisy, *(OF_INNER,) * looped)
    parabola = _parabola(names_of(derivation.optimizer))
    return Report(head.name, "optimizer", head.title, findings, claims, notes, looped, parabola)


def _parabola(names: Names) -> str:
    """The loss of which steps are linear."""
    return f"{names.text(curvature)} {names.text(POINT)}^2/2 without weight decay"


def _on_parabola(names: Names) -> str:
    """Of what the linear part of a step is."""
    return f"J = {_parabola(names)}, steps after many, {_CHOICES}"


def _of_part(part: StepMap, names: Names) -> str:
    """Of what a linear part is one."""
    near = ", near rest, where bounds are as they are there" if part.near_rest else ""
    return _on_parabola(names) + near + at_defaults(part.fixed)


def _loop_stability(
    allowance: Allowance, rule: Rule | Discretised, program: Program
) -> tuple[Finding, ...]:
    """For which curvatures loops of workers shrink, for a rule that takes means over them."""
    if not program.averages:
        return ()
    evidence = "the eigenvalues of a step with the outer step after it, from the declaration"
    reach = (
        "one coordinate, J = lambda theta^2/2 of all workers without weight decay, loops of one "
        "step, schedules held; together: of their mean, apart: of their deviations from it; "
        "numbers are those of the defaults, of two workers, and of averages of squares of 1"
    )

    if not isinstance(rule, Rule):
        why = "the steps inside are derived, and not joined with the outer step in symbols"
        return (Finding("loop_stability", None, evidence, reach, why),)

    def stable() -> Finding:
        try:
            part = step_map(derive_rule(loop_of_one_step(rule)).program)
        except NotDerivableError as error:
            return Finding("loop_stability", None, evidence, reach, str(error))
        limits = {}
        for mode, share in (("together", 1), ("apart", 0)):
            found = stability(at_value(part, SHARE, share), names_of(rule))
            limits[mode] = found.text or found.why
        return Finding("loop_stability", limits, evidence, reach)

    return (attempted(allowance, "loop_stability", stable, reach),)


def _noise(
    allowance: Allowance, rule: Rule | Discretised, derivation: RuleDerivation
) -> tuple[Finding, ...]:
    """What noise does on a parabola, and how its steps follow an equation with noise."""
    program = derivation.program
    system = rule.system if isinstance(rule, Discretised) else None
    findings = []
    if program.noises:
        ends = {unknown: Ref(array) for unknown, array in arrays_of(rule).items()}
        reach = f"one coordinate, {_on_parabola(names_of(rule))}, where steps shrink"
        findings.append(variance_finding(allowance, program, ends, reach))
    if isinstance(rule, Discretised) and system and (program.noises or system.noise):
        findings.append(weak_order_finding(lambda: of_system(rule)))
    return tuple(findings)


def _derive_for_order(rule: Rule | Discretised) -> None:
    """The program whose order is proved, which is remembered: deriving it is no part of a proof."""
    if isinstance(rule, Discretised) and rule.system is not None:
        with contextlib.suppress(NotDerivableError):
            derive_rule(with_free_step(rule))


def _origin(rule: Rule | Discretised) -> str:
    """Where the step comes from."""
    if not isinstance(rule, Discretised) or isinstance(rule.method, StateUpdate):
        return "typed as an update"
    assert rule.system is not None
    return f"derived from the equation {rule.system.head.name} by {rule.method.head.name}"


def _shown(
    name: str, find: Callable[[RuleDerivation], Finding], derivation: RuleDerivation
) -> Finding:
    """A property of the step; none, with the reason, where it does not exist."""
    if derivation.program.reads_loss and find is not _first_steps:
        return Finding(name, None, _STEP, _EVERY, "the step reads the loss")
    try:
        return find(derivation)
    except (NotDerivableError, NotImplementedError) as error:
        return Finding(name, None, _STEP, _EVERY, str(error))
    except (ArithmeticError, LookupError, TypeError, ValueError, sp.PolynomialError):
        why = "a step could not be examined in symbols"
        return Finding(name, None, _STEP, _EVERY, why)


def _first_steps(derivation: RuleDerivation) -> Finding:
    names = names_of(derivation.optimizer)
    points, slopes = (" and ".join(map(names.text, pair)) for pair in (THETA, G))
    reach = (
        f"one coordinate, all positive, {_CHOICES}; {points} are the parameters before the steps, "
        f"{slopes} their gradients with L2 decay, at all points"
    )
    value = dict(first_steps(derivation.program, names))
    return Finding("first_steps", value, "two steps of the emitted program in symbols", reach)


def _spectrum(derivation: RuleDerivation) -> Finding:
    part, names = step_map(derivation.program), names_of(derivation.optimizer)
    reach = _of_part(part, names)
    where = names.where(part.polynomial, part.letters)
    return Finding("spectrum", names.text(part.polynomial), _STEP, reach, where=where)


def _stability(derivation: RuleDerivation) -> Finding:
    part, names = step_map(derivation.program), names_of(derivation.optimizer)
    found = stability(part, names)
    reach = _of_part(part, names)
    if found.bound is None:
        reach += ", at the defaults"
        reach += f" and {', '.join(map(names.text, part.letters))} = 1" if part.letters else ""
    shown = part.polynomial if found.bound is None else found.bound
    where = names.where(shown, part.letters) if found.text else ""
    by = "the eigenvalues of a step"
    return Finding("stability_limit", found.text, by, reach, found.why, where=where)


def _effective_lr(derivation: RuleDerivation) -> Finding:
    names = names_of(derivation.optimizer)
    rate, unit, fixed = effective_rate(derivation.program, names)
    evidence = "the drift of the emitted program's linear part under a constant gradient"
    reach = (
        f"steps after many without weight decay, in units of {unit}, {names.text(gradient)} > 0, "
        f"where they have a limit as at the defaults, {_CHOICES}{at_defaults(fixed)}"
    )
    return Finding("effective_lr", rate, evidence, reach)


def _effective_decay(derivation: RuleDerivation) -> Finding:
    program = derivation.program
    if program.own_decay:
        raise NotDerivableError("the rule does its own weight decay")
    if not dict(program.options).get("decoupled_weight_decay"):
        raise NotDerivableError("by default the rule has no decoupled weight decay")
    value, fixed = effective_decay(program, names_of(derivation.optimizer))
    evidence = "the eigenvalues of the emitted program's step without a gradient"
    return Finding(
        "effective_decay", dict(value), evidence, "steps after many, decay on" + at_defaults(fixed)
    )


def _fixed_points(derivation: RuleDerivation) -> Finding:
    text, rest = resting(derivation.program, names_of(derivation.optimizer))
    evidence = "the equations of rest of the emitted program's linear part"
    reach = (
        f"one coordinate, steps after many without weight decay, {_CHOICES}"
        f"{at_defaults(rest.fixed)}{'' if rest.alone else '; others are not excluded'}"
    )
    return Finding("fixed_points", text, evidence, reach)


_PROPERTIES: Mapping[str, Callable[[RuleDerivation], Finding]] = {
    "first_steps": _first_steps,
    "fixed_points": _fixed_points,
    "spectrum": _spectrum,
    "stability_limit": _stability,
    "effective_lr": _effective_lr,
    "effective_decay": _effective_decay,
}


#: What has a meaning for a step inside a loop.
_OF_STEPS = {name: _PROPERTIES[name] for name in ("first_steps", "spectrum", "stability_limit")}


def _lower_from_start(
    allowance: Allowance, rule: Rule | Discretised, order: Finding
) -> tuple[Finding, ...]:
    """The order from the declared start, where it is measured and lower."""
    if not isinstance(rule, Discretised) or not isinstance(order.value, int):
        return ()
    name = "order_from_start"

    def measured() -> Finding:
        try:
            with np.errstate(all="ignore"):
                found = order_from_start(rule)
        except (ArithmeticError, NotDerivableError, ValueError) as error:
            return Finding(name, None, evidence, reach, str(error))
        value, exact = (None, "") if found is None else (float(found), str(found))
        return Finding(name, value, evidence, reach, exact=exact)

    evidence = "not proved but measured: slopes of the distance of two step sizes over the step"
    reach = (
        f"one loss without a critical point, a time of {SPAN} from the declared start, parameters "
        "of the system as by default; constant h"
    )
    finding = attempted(allowance, name, measured, reach)
    lower = isinstance(finding.value, float) and finding.value < order.value
    return (finding,) if lower else ()


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
