"""What is proved about gradient systems, and about what discretises them by itself."""

from __future__ import annotations

import sympy as sp

from hamilforge.gen.declare.budget import Allowance
from hamilforge.gen.declare.errors import DeclarationError, NotDerivableError
from hamilforge.gen.declare.kinds import GradientSystem, StateUpdate, UnknownSplitting
from hamilforge.gen.derive.calculus import to_sympy
from hamilforge.gen.derive.symbols import Grad, t
from hamilforge.gen.prove.optimizers.commutators import error_findings, without_errors
from hamilforge.gen.prove.optimizers.lyapunov import falls
from hamilforge.gen.prove.optimizers.words import WordOrder, field_with, in_field, product_order
from hamilforge.gen.prove.report import Claim, Finding, Report, attempted, compare_claims

_ANY = "any loss and dimension, all parameters in their domains"
_DECLARED = "the declaration"
_OF_FLOWS = "every system of these unknowns; fixed parameters of it, constant step"
_OF_A_SYSTEM = "an order is one of a method for a system: check an optimizer that names both"


def prove_system(system: GradientSystem) -> Report:
    """The unknowns of a gradient system, and what falls along its solutions.

    Raises:
        DeclarationError: an equation divides by zero, or a claim is about no property of a system.
    """
    head = system.head
    _refuse_infinite(system)
    findings = (
        Finding("unknowns", len(system.unknowns), _DECLARED, _ANY),
        attempted(Allowance(), "lyapunov", lambda: _lyapunov(system), _ANY),
        *(
            Finding(f"noise_{name}", f"{value.text} dW", _DECLARED, _ANY)
            for name, value in system.noise
        ),
    )
    claims = compare_claims(head, findings)
    if system.lyapunov is not None:  # what is declared is claimed
        finding = findings[1]
        holds = isinstance(finding.value, dict) and bool(finding.value["holds"])
        declared = f"falls for {system.lyapunov.free} in the interval"
        because = finding.why if finding.value is None else finding.evidence
        claims += (Claim("lyapunov", declared, finding.value, holds, because),)
    return Report(head.name, "system", head.title, findings, claims)


def _refuse_infinite(system: GradientSystem) -> None:
    """Equations that divide by zero whatever the values are."""
    names = (*system.unknowns, *(entry.name for entry in system.parameters))
    known = {name: sp.Symbol(name, positive=True) for name in names} | {"t": t}
    source = system.head.source
    for table, entries in (("equations", system.equations), ("noise", system.noise)):
        for name, value in entries:
            rate = to_sympy(value, known, {"grad": Grad})
            if rate.has(sp.zoo, sp.nan, sp.oo):
                message = f"{value.text}: divides by zero"
                raise DeclarationError.at(source, message, table, name)


def _lyapunov(system: GradientSystem) -> Finding:
    """Whether a declared energy falls."""
    evidence = "the principal minors of dE/dt, a quadratic form in the gradient and the unknowns"
    if system.lyapunov is None:
        return Finding("lyapunov", None, evidence, _ANY, "no energy is declared")
    try:
        value = falls(system)
    except NotDerivableError as error:
        return Finding("lyapunov", None, evidence, _ANY, str(error))
    return Finding("lyapunov", dict(value), evidence, _ANY + ", the equation, not a step of it")


def prove_part(part: UnknownSplitting | StateUpdate) -> Report:
    """A splitting by unknowns or an update of a state, without a system.

    Raises:
        DeclarationError: a claim is about no property of it.
    """
    kind = "splitting" if isinstance(part, UnknownSplitting) else "update"
    errors = _errors(part) if isinstance(part, UnknownSplitting) else ()
    findings = (Finding("order", None, "the declaration", "every system", _OF_A_SYSTEM), *errors)
    head = part.head
    return Report(head.name, kind, head.title, findings, compare_claims(head, findings))


def _errors(splitting: UnknownSplitting) -> tuple[Finding, ...]:
    """The leading error of a composition of exact flows, whatever the equations are.

    The letters are the unknowns; those that always move together are one, the sum of theirs.  A
    step of a table is no exact flow, and words say nothing about it.
    """
    for move in splitting.moves:
        if move.table is not None:
            name = move.table.head.name
            why = f"{' and '.join(move.unknowns)} move by {name}, which is no exact flow"
            return without_errors(why, _OF_FLOWS)
    return error_findings(lambda: _word_order(splitting), _OF_FLOWS)


def _word_order(splitting: UnknownSplitting) -> WordOrder:
    moves: dict[str, tuple[int, ...]] = {}
    for number, move in enumerate(splitting.moves):
        for name in move.unknowns:
            moves[name] = (*moves.get(name, ()), number)
    together: dict[tuple[int, ...], str] = {}
    for name, numbers in moves.items():
        together[numbers] = f"{together[numbers]} + {name}" if numbers in together else name
    weights = [to_sympy(move.weight, {}) for move in splitting.moves]
    field = field_with(weights)
    flows = [
        (
            tuple(letter for numbers, letter in together.items() if index in numbers),
            in_field(weight, {}, field),
        )
        for index, weight in enumerate(weights)
    ]
    return product_order(flows, tuple(sorted(together.values())), field)
