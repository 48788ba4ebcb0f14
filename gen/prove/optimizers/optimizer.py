"""The report of an optimizer: every property with its evidence and its reach.

In: a derivation.  Out: a :class:`Report`, with the author's claims compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import sympy as sp

from hamilforge.gen.declare.budget import Allowance, at
from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.kinds import Optimizer, Splitting, without_noise
from hamilforge.gen.derive.calculus import Expr, Total, tidy, written
from hamilforge.gen.derive.optimizers.system import System
from hamilforge.gen.derive.scheme import derive_scheme
from hamilforge.gen.derive.symbols import p, t
from hamilforge.gen.program.interpret import run_function
from hamilforge.gen.program.ir import Ref
from hamilforge.gen.program.optimizers.build import Derivation, derive
from hamilforge.gen.program.optimizers.draws import quiet
from hamilforge.gen.program.optimizers.interpret import host_values
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.program.passes import bytes_per_parameter, schedule
from hamilforge.gen.program.reference import FLOAT64
from hamilforge.gen.prove.optimizers.choices import CHOICES
from hamilforge.gen.prove.optimizers.conformal import Form, block_text, form_of, telescoped
from hamilforge.gen.prove.optimizers.differences import numeric_factor
from hamilforge.gen.prove.optimizers.jets import is_conformal
from hamilforge.gen.prove.optimizers.order import program_order
from hamilforge.gen.prove.optimizers.reductions import reduction_claims, reduction_findings
from hamilforge.gen.prove.optimizers.stability import Limit, rest_is_isolated, stability_limit
from hamilforge.gen.prove.optimizers.stationary import WITHOUT_NOISE, variance_finding
from hamilforge.gen.prove.optimizers.weak_order import of_hamiltonian, weak_order_finding
from hamilforge.gen.prove.optimizers.words import word_order
from hamilforge.gen.prove.report import Finding, Report, compare_claims

#: Values of hyper-parameters at which the Jacobian of a step is taken by differences.
USUAL = 1e-4, 1e4
#: At how many random points a step is looked at, and one that chooses: at a few of them all
#: coordinates may be on one side.
FEW, MANY = 2, 24
ANY = "any K, J, friction and dimension"


def prove_optimizer(optimizer: Optimizer) -> Report:
    """Everything that can be proved about a declared optimizer."""
    return prove(derive(optimizer))


def prove(derivation: Derivation) -> Report:
    """Everything that can be proved about an optimizer.

    One that draws noise is proved without it, and its variances and weak order with it.
    """
    if not derivation.scheme.noises:
        return _report(derivation)
    return _report(_still(derivation), _noise(derivation), (WITHOUT_NOISE,))


def _still(derivation: Derivation) -> Derivation:
    """What was derived, with the noise zero: the same lines, and O as D."""
    method, noises = derivation.optimizer.method, derivation.scheme.noises
    assert isinstance(method, Splitting)
    return replace(
        derivation,
        scheme=derive_scheme(without_noise(method), derivation.system.symbols),
        rotated=derivation.rotated.without(noises),
        program=quiet(derivation.program),
    )


def _noise(derivation: Derivation) -> tuple[Finding, ...]:
    """What position and momentum spread to on a parabola, and the order of their distribution."""
    program = derivation.program
    assert program.boundary is not None
    ends = {"q": program.boundary.position, "p": program.boundary.momentum}
    if program.shifted:
        ends["point"] = Ref("x")
    reach = "one coordinate, J = lambda q^2/2, steps after many, constant steps, where they shrink"
    return (
        variance_finding(Allowance(), program, ends, reach),
        weak_order_finding(lambda: of_hamiltonian(derivation)),
    )


def _report(
    derivation: Derivation, more: tuple[Finding, ...] = (), notes: tuple[str, ...] = ()
) -> Report:
    head = derivation.optimizer.head
    with at("the proof of its order"):
        order = _order(derivation)
    with at("the proof of its symplectic form"):
        form = _form(derivation)
    with at("the proofs of its fixed points, energy and stability"):
        rest = _fixed_points(derivation), _energy_rate(derivation), _stability(derivation)
    reductions = reduction_findings(derivation.optimizer)
    findings = (*order, *form, *rest, *more, *reductions, *cost(derivation.program))
    return Report(
        head.name,
        "optimizer",
        head.title,
        findings,
        (*compare_claims(head, findings), *reduction_claims(findings)),
        (*_notes(derivation), *notes),
    )


def order_evidence(derivation: Derivation) -> tuple[int, str]:
    """The order on paper and how it was found; 1 and nothing for an update."""
    if not derivation.scheme.flows:
        return 1, ""
    words = word_order(derivation.scheme)
    return words.order, (
        f"the coefficients of all {words.words} words over {', '.join(words.letters)} up to length "
        f"{words.order + 1} in {words.field.name}: largest residual "
        f"{max(words.residuals[:-1], default=0):.0e} to length {words.order}, "
        f"{words.residuals[-1]:.0e} at "
        f"{words.order + 1} (any K, J, friction, dimension); and "
    )


def _order(derivation: Derivation) -> tuple[Finding, ...]:
    on_paper, evidence = order_evidence(derivation)
    evidence += "one step of the emitted program in series in h"
    reach = "constant step and fixed system parameters"
    try:
        emitted = program_order(derivation, on_paper)
    except NotDerivableError as error:
        why = f"a step is not known as a series in h: {error}"
        return (Finding("order", None, evidence, reach, why),)
    if emitted.order < 0:
        raise NotDerivableError(
            "the step does not vanish with the hyper-parameters that it is made of"
        )
    if derivation.scheme.flows and emitted.order < on_paper:
        raise NotImplementedError(
            f"{derivation.program.name}: the program has order {emitted.order}, its composition "
            f"{on_paper}"
        )
    evidence += (
        f", {emitted.field}, against the flow: zero to h^{emitted.order}, "
        f"not at h^{emitted.order + 1}"
    )
    reach += f"; the series at {emitted.points} points with a polynomial J in 2 dimensions"
    return (Finding("order", emitted.order, evidence, reach),)


def _form(derivation: Derivation) -> tuple[Finding, ...]:
    form = form_of(derivation.scheme, linear_velocity(derivation.system))
    inputs = _usual_inputs(derivation)
    numeric = numeric_factor(derivation.program, inputs)
    chooses = any(line.value.has(*CHOICES) for line in derivation.scheme.lines)
    points = MANY if chooses else FEW
    random_jets = is_conformal(derivation.program, seeds=range(1, points + 1))
    if chooses and form.factor is None:
        numeric = None  # at the points of differences bounds may bind nowhere
    if (random_jets or numeric is not None) != (form.factor is not None):
        raise NotImplementedError("scheme and program disagree on conformal symplecticity")
    exact = (
        f"an exact Jacobian of the emitted program at {points} random points in 2 dimensions"
        if random_jets == (form.factor is not None)
        else "the Jacobian of the emitted program by differences at 2 points in 2 dimensions"
    )
    if form.factor is not None:
        factor = tidy(
            telescoped(derivation.scheme, form.factor, derivation.system.decay).xreplace(
                derivation.values
            )
        )
        how = (
            "each flow is a shear with a symmetric Hessian or scales p"
            if form.lines
            else "the chain rule with symmetric Hessians at each point"
        )
        _compare_factor(derivation, factor, inputs, numeric)
        evidence = f"{how}; and {exact}"
        return (
            Finding("symplectic_form", "conformal", evidence, ANY),
            Finding(
                "conformal_factor",
                written(factor),
                "the product of the factors of p; where the friction is constant, that of the "
                "emitted program at the defaults is the same",
                ANY,
            ),
            Finding("defect", None, evidence, ANY, "the form is only scaled"),
        )
    evidence = f"the chain rule with symmetric Hessians at each point; and {exact}"
    text = defect_text(form, derivation.in_hyperparameters)
    return (
        Finding("symplectic_form", "none", evidence, ANY),
        Finding("conformal_factor", None, evidence, ANY, "the form is not only scaled"),
        Finding("defect", text, evidence, ANY),
    )


def _usual_inputs(derivation: Derivation) -> dict[str, float]:
    """The default hyper-parameters, a half where a step made of them might be lost in rounding or
    differences; a time and a number of a step.
    """
    program = derivation.program
    defaults = {parameter.name: float(parameter.default) for parameter in program.hyperparameters}
    least, most = USUAL
    values = {
        name: default if least <= default <= most else 0.5 for name, default in defaults.items()
    }
    return {**values, "t": float(program.start_time) + 1.0, "n": 3.0}


def _compare_factor(
    derivation: Derivation, factor: Expr, inputs: dict[str, float], numeric: float | None
) -> None:
    """Compare the factor on paper with that of the emitted program; a rotated step of a friction
    that changes with time spans other times.
    """
    if numeric is None or derivation.system.gamma.has(t):
        return
    values = {symbol: inputs[symbol.name] for symbol in factor.free_symbols}
    wanted = float(factor.xreplace({s: sp.Float(v, 30) for s, v in values.items()}))
    if abs(numeric - wanted) > 1e-7 * abs(wanted):
        raise NotImplementedError(f"the factor on paper is {wanted}, that of the program {numeric}")


def linear_velocity(system: System) -> Callable[[Expr], Expr] | None:
    """Grad K as a function of the momentum, where it is a multiple of it."""
    slope = tidy(system.gradient / p)
    if slope.has(p) or slope.has(Total):
        return None
    return lambda momentum: slope * momentum


def defect_text(form: Form, write: Callable[[Expr], Expr]) -> str:
    """M' Omega M as text, with what its letters mean."""
    assert form.blocks is not None
    diagonal, corner = (block_text(block, write) for block in form.blocks)
    letters = "; ".join(f"{letter} = {what}" for letter, what in form.letters.items())
    return f"M' Omega M = [[{diagonal}, {corner}], [-transpose, ...]] with {letters}"


def _fixed_points(derivation: Derivation) -> Finding:
    if not _stays_at_rest(derivation):
        return Finding("fixed_points", None, "the program at rest", "", "a point at rest moves")
    evidence = "the emitted program leaves every x in place where the buffer and g are 0"
    try:
        isolated = rest_is_isolated(derivation)
    except (NotImplementedError, TypeError):
        isolated = None
    positive = _velocity_vanishes_only_at_rest(derivation.system)
    if isolated is False:
        why = "on J = q^2/2 a step leaves other points than rest in place"
        return Finding("fixed_points", None, evidence, "the defaults", why)
    if not positive:
        text = "grad J(q) = -gamma p and grad K(p) = 0"
        evidence += "; p . grad K(p) is not positive for all p > 0"
    else:
        text = "grad J(q) = 0, p = 0"
        evidence += "; p . grad K(p) > 0 for p > 0"
    if isolated:
        evidence += "; on J = q^2/2 the matrix of a step has no eigenvalue 1 at the defaults"
    return Finding("fixed_points", text, evidence, "one dimension, steps h > 0")


def _stays_at_rest(derivation: Derivation) -> bool:
    """The program in floating point at rest: exact, since only zeros are added."""
    program = derivation.program
    inputs = {parameter.name: float(parameter.default) for parameter in program.hyperparameters}
    inputs |= {"t": float(program.start_time) + 1.0, "n": 2.0}
    memory = {name: 0.0 for name, _ in program.host.memory}
    host = host_values(program, inputs, memory)
    point, rest = np.array([1.0, -2.0]), np.zeros(2)
    values = {"x": [point], program.buffer: [rest], "g": [rest]}
    for index, row in zip(program.stages, program.host.rows, strict=True):
        function = program.functions[index]
        scalars = {name: host[line] for name, line in zip(function.scalars, row, strict=True)}
        values |= run_function(function, values, scalars, FLOAT64)
    return bool((values["x"][0] == point).all() and (values[program.buffer][0] == 0).all())


def _velocity_vanishes_only_at_rest(system: System) -> bool:
    entry = sp.Symbol("entry", positive=True)
    radial = system.gradient.replace(Total, lambda arg: arg).xreplace({p: entry})
    return bool(tidy(radial).is_positive)


def _energy_rate(derivation: Derivation) -> Finding:
    rate = written(derivation.system.energy_rate())
    return Finding(
        "energy_rate",
        f"dH/dt = {rate}",
        "dH/dt = -gamma p . grad K(p), differentiated by SymPy",
        "the differential equation, any J and dimension",
    )


def _stability(derivation: Derivation) -> Finding:
    try:
        limit = stability_limit(derivation)
    except (NotImplementedError, TypeError) as error:
        limit = Limit(None, f"the step has no linear part that could be examined ({error})")
    evidence = (
        "the Schur-Cohn conditions on the 2 x 2 matrix of a step"
        if limit.symbolic or limit.text is None
        else "the roots of the Schur-Cohn conditions at the default hyper-parameters"
    )
    reach = "J = lambda q^2/2, K replaced by its quadratic part at rest"
    return Finding("stability_limit", limit.text, evidence, reach, limit.why)


def cost(program: Program) -> tuple[Finding, ...]:
    """What a step of a program asks for: gradients, arrays, passes over memory."""
    passes = [schedule(program.functions[index]) for index in program.stages]
    sweeps = [sweep for scheduled in passes for sweep in scheduled]
    idle = {array for sweep in sweeps for array, _ in sweep.stores if sweep.left_alone(array)}
    fewer = f"; fewer where scalars leave {' and '.join(sorted(idle))} alone" if idle else ""
    by, reach = "the emitted program", "every stage"
    return (
        Finding("points", "shifted" if program.shifted else "solution", by, reach),
        Finding("gradients_per_step", len(program.stages), by, "a whole step"),
        Finding("state_buffers", len(program.states), by, reach),
        Finding("passes", max(len(scheduled) for scheduled in passes), by, reach),
        Finding(
            "bytes_per_parameter",
            max(bytes_per_parameter(scheduled, program.noises) for scheduled in passes),
            "the loads and stores of the passes of the emitted program",
            f"float32, each stage{fewer}",
        ),
    )


def _notes(derivation: Derivation) -> tuple[str, ...]:
    has_step = bool(derivation.unit.free_symbols)
    notes = [
        "Weight decay: L2 adds weight_decay*|x|^2/2 to J, at the point of the gradient, and leaves "
        "the factor as it is"
        + (
            "; decoupled decay multiplies x by 1 - lr*weight_decay once in a step, and the factor "
            "with it."
            if any(parameter.name == "lr" for parameter in derivation.program.hyperparameters)
            else "; decoupled decay is refused, since no hyper-parameter is named lr."
        )
    ]
    if has_step:
        notes.append(
            "Changing steps: the buffer contains h and is kept when h changes, which adds the "
            "friction h'/h; no order then."
        )
    elif not derivation.program.shifted:
        notes.append(
            "Changing steps: the buffer is p and the last step's share of a joined kick is "
            "remembered; the steps h_n are those in force at each call."
        )
    return tuple(notes)
