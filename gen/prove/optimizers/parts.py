"""Reports of the parts of an optimizer: Hamiltonians, splittings and updates by themselves.

A splitting is proved for any system, with its leading error.  An update is proved for any system as
far as its symplectic form goes; its order with the classical kinetic energy in the place of the
system it will meet.
"""

from __future__ import annotations

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.budget import PROOF, BudgetError, within
from hamilforge.gen.derive.calculus import tidy, tidy_scalars, written
from hamilforge.gen.derive.optimizers.rotation import rotate
from hamilforge.gen.derive.optimizers.system import derive_system
from hamilforge.gen.derive.scheme import Scheme, derive_scheme
from hamilforge.gen.prove.optimizers.commutators import error_findings
from hamilforge.gen.prove.optimizers.conformal import form_of, telescoped
from hamilforge.gen.prove.optimizers.krawczyk import true_solution
from hamilforge.gen.prove.optimizers.optimizer import ANY, defect_text
from hamilforge.gen.prove.optimizers.update_order import update_order
from hamilforge.gen.prove.optimizers.words import (
    letters_moved,
    word_order,
)
from hamilforge.gen.prove.report import Finding, Report, compare_claims


def prove_hamiltonian(declaration: kinds.Hamiltonian) -> Report:
    """What is known of a Hamiltonian: its velocity, its energy rate, what is at rest."""
    system = derive_system(declaration)
    findings = (
        Finding(
            "velocity",
            written(tidy_scalars(system.gradient)),
            "differentiation by SymPy",
            "any dimension, for the generic coordinate",
        ),
        Finding(
            "energy_rate",
            "dH/dt = " + written(system.energy_rate()),
            "dH/dt = -gamma p . grad K(p), differentiated by SymPy",
            "any J and dimension" + ", without the noise of the bath" * bool(system.temperature),
        ),
    )
    head = declaration.head
    claims = compare_claims(head, findings)
    return Report(head.name, "hamiltonian", head.title, findings, claims)


#: What the letters of a splitting with noise stand for in its report.
WITHOUT_NOISE = "Noise: O stands for D, friction alone; what is shown is of the step without noise."


def prove_splitting(declaration: kinds.Splitting) -> Report:
    """Order, leading error, symplectic form and gradients of a composition of exact flows."""
    scheme = derive_scheme(kinds.without_noise(declaration), {})
    letters = letters_moved(scheme)
    alone = f"the flow of {' + '.join(letters)} alone, any dimension; constant step"
    conservative = letters == ("A", "B")
    words = word_order(scheme, letters if conservative else None)
    reach = alone if conservative else f"{ANY}; constant step"
    evidence = (
        f"the coefficients of all {words.words} words over {', '.join(words.letters)} in "
        f"{words.field.name}: largest residual {max(words.residuals[:-1], default=0):.0e} to "
        f"length {words.order}, {words.residuals[-1]:.0e} at {words.order + 1}"
    )
    if not scheme.exact:
        evidence += f"; {_near_digits(scheme, words.order)}"
    if conservative:
        evidence += "; it has no flow of friction, with which its order is 0"
    order = Finding("order", words.order, evidence, reach)
    if letters == words.letters:
        errors = error_findings(lambda: words, reach)
    else:
        errors = error_findings(lambda: word_order(scheme, letters), alone)
    return _report(declaration, "splitting", scheme, order, *errors)


def _near_digits(scheme: Scheme, order: int) -> str:
    """Whether a true solution of the conditions of an order is near the digits of a splitting."""
    what = "whether a true solution lies near the digits"
    try:
        near = within(PROOF, what, lambda: true_solution(scheme, order))
    except BudgetError as error:
        return f"not found: {error}"
    if near is None:
        return "the digits satisfy no condition that determines them"
    return (
        f"a true solution of {near.conditions} independent conditions lies within "
        f"{near.radius:.0e} of the digits (Krawczyk's test)"
    )


def prove_update(declaration: kinds.Update) -> Report:
    """Order, symplectic form and gradients of an update."""
    scheme = derive_scheme(declaration, {})
    degree = update_order(scheme)
    order = Finding(
        "order",
        degree,
        "Taylor expansion of one step in h with an arbitrary J: zero to "
        f"h^{degree}, not at h^{degree + 1}",
        "one dimension, any J, K = p^2/2, constant friction, or 3/t where the update names n",
    )
    return _report(declaration, "update", scheme, order)


def _report(
    declaration: kinds.Splitting | kinds.Update, kind: str, scheme: Scheme, *orders: Finding
) -> Report:
    form = form_of(scheme)
    evidence = (
        "each flow is a shear with a symmetric Hessian or scales p"
        if form.lines
        else "the chain rule with symmetric Hessians at each point"
    )
    gamma = sp.Symbol("gamma", positive=True)
    if form.factor is not None:
        factor = telescoped(scheme, form.factor, lambda a, b: sp.exp(-gamma * sp.expand(b - a)))
        form_findings = (
            Finding("symplectic_form", "conformal", evidence, ANY),
            Finding("conformal_factor", written(factor), "the factors of p", "constant friction"),
        )
    else:
        text = defect_text(form, lambda expr: tidy(expr))
        form_findings = (
            Finding("symplectic_form", "none", evidence, ANY),
            Finding("defect", text, evidence, ANY),
        )
    rotated = rotate(scheme)
    findings = (
        *orders,
        *form_findings,
        Finding("gradients_per_step", len(rotated.stages), "rotation of the scheme", ANY),
        Finding(
            "points", "shifted" if rotated.shifted else "solution", "rotation of the scheme", ANY
        ),
    )
    head = declaration.head
    notes = (WITHOUT_NOISE,) if kinds.draws_noise(declaration) else ()
    return Report(head.name, kind, head.title, findings, compare_claims(head, findings), notes)
