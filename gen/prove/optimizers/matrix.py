"""Reports of optimizers of matrices: whether steps stay on the manifold, order, symplectic form.

In: a declared optimizer.  Out: a report.  Everything is looked at in the program that is emitted,
with the digits of :mod:`manifold_points`, at drawn points, momenta and gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mpmath

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.expression import GRADIENT, INNER, Operation, walk
from hamilforge.gen.derive.calculus import tidy, written
from hamilforge.gen.derive.optimizers.manifold_flows import motion, settings
from hamilforge.gen.exact import matrices
from hamilforge.gen.program.optimizers.build_matrix import (
    MatrixDerivation,
    derive_matrix_optimizer,
)
from hamilforge.gen.program.optimizers.interpret_matrix import MatrixInterpreter
from hamilforge.gen.program.precise import PRECISE_OR_NAN
from hamilforge.gen.prove.optimizers.manifold_moves import Moves, difference
from hamilforge.gen.prove.optimizers.manifold_orders import generic_place, special_places
from hamilforge.gen.prove.optimizers.manifold_points import (
    DIGITS,
    NEAR,
    RATE,
    STEP,
    ZERO,
    Matrix,
    Place,
    power,
    slope,
    whole_order,
)
from hamilforge.gen.prove.optimizers.singular_values import singular_values
from hamilforge.gen.prove.optimizers.violation import violations
from hamilforge.gen.prove.report import Claim, Finding, Report, compare_claims

#: How many steps a point is followed.
STEPS = 3
#: What a derivative by differences is good to.
CLOSE = mpmath.mpf("1e-30")
_HALVED = (
    f"a step beside two half steps, whose distance is O(h^(order + 1)), at h = "
    f"{' and '.join(f'{float(h):g}' for h in NEAR)}; {DIGITS} digits"
)


def prove_matrix_optimizer(optimizer: kinds.MatrixOptimizer) -> Report:
    """What is known of an optimizer of matrices.

    Raises:
        DeclarationError: it cannot be derived, or a map of its manifold has no value.
    """
    derivation = derive_matrix_optimizer(optimizer)
    states = derivation.program.states
    findings = [
        Finding("unknowns", ", ".join(optimizer.unknowns), "the declaration", "all sizes"),
        Finding("state_buffers", len(states), "the program", "all sizes"),
        Finding("gradients_per_step", 1, "the language, which has one", "all sizes"),
    ]
    findings += singular_values(derivation)
    if optimizer.manifold is not None:
        findings += _on_manifold(optimizer, optimizer.manifold, derivation)
    head = optimizer.head
    broken = [
        Claim(f"{finding.name} {key}", True, False, False, finding.evidence)
        for finding in findings
        if finding.name == "stays" and isinstance(finding.value, dict)
        for key, value in finding.value.items()
        if value is False and (key == "point" or isinstance(optimizer, kinds.ManifoldOptimizer))
    ]
    claims = (*compare_claims(head, tuple(findings)), *broken)
    return Report(head.name, "optimizer", head.title, tuple(findings), claims)


def _on_manifold(
    optimizer: kinds.MatrixOptimizer, manifold: kinds.Manifold, derivation: MatrixDerivation
) -> Iterator[Finding]:
    place = generic_place(manifold)
    reach = f"{place.named}; drawn points and gradients"
    yield Finding("manifold", manifold.head.name, "the declaration", "all sizes")
    if _uses_metric(optimizer):
        yield Finding("metric", optimizer.metric, "the declaration", "all sizes")
    yield Finding("retraction", optimizer.retraction, "the declaration", "all sizes")
    with mpmath.workdps(DIGITS):
        if isinstance(optimizer, kinds.MatrixRule) and optimizer.retraction == kinds.FREE:
            yield from violations(place, optimizer, derivation, reach)
        else:
            yield _stays(place, derivation, reach)
        if isinstance(optimizer, kinds.MatrixRule):
            yield _order_of_rule(place, optimizer, derivation, reach)
            return
        moves = Moves(place, optimizer, derivation)
        if not moves.is_embedded and manifold.metric(optimizer.metric).geodesic is None:
            why = "the metric is not sum(U*V), and no geodesic of it is declared"
            for name in ("order", "conformal_factor"):
                yield Finding(name, None, "the declaration", reach, why)
            return
        yield _order(moves, reach)
        yield _symplectic(moves, optimizer, reach)
        if motion(optimizer).stay.fades:
            yield _factors_elsewhere(manifold, optimizer, derivation)


def _uses_metric(optimizer: kinds.MatrixOptimizer) -> bool:
    """Whether anything in the rule is measured in a metric."""
    return not isinstance(optimizer, kinds.MatrixRule) or any(
        isinstance(node, Operation) and node.op in (GRADIENT, INNER)
        for line in optimizer.assignments
        for node in walk(line.value.tree)
    )


def objective(place: Place) -> Callable[[Matrix], Matrix]:
    """The derivative of a drawn polynomial in the entries; of a quotient the same at all bases."""
    left, slopes = place.drawn(place.shape[0]), place.drawn()
    left = left + left.T

    def derivative(point: Matrix) -> Matrix:
        return left @ point + slopes * point**2 + slopes

    def invariant(point: Matrix) -> Matrix:  # of sum((X'L X)^2)/4
        along = left @ point
        return along @ (point.T @ along)

    return invariant if place.manifold.quotient else derivative


def _stays(place: Place, derivation: MatrixDerivation, reach: str) -> Finding:
    """Whether points stay on the manifold, and states tangent to it."""
    machine = MatrixInterpreter(derivation, algebra=PRECISE_OR_NAN)
    (function,) = derivation.program.functions
    point = function.arrays[0]
    shapes = {name: function.types[name].shape for name in derivation.program.states}
    arrays = {point: place.point}
    arrays |= {name: place.zeros(shape) for name, shape in shapes.items()}
    vectors = [name for name, shape in shapes.items() if shape == place.manifold.shape]
    off, beside = mpmath.mpf(0), dict.fromkeys(vectors, mpmath.mpf(0))
    derivative = objective(place)
    for _ in range(STEPS):
        slopes = derivative(arrays[point])
        slopes = slopes / max(matrices.size_of(slopes), STEP)  # so that points stay of their size
        arrays = machine.step(arrays, slopes)
        scale = 1 + matrices.size_of(arrays[point])
        off = max(off, place.violation(arrays[point]) / scale**2)
        for name in beside:
            along = place.value("project", arrays[point], arrays[name])
            scale = 1 + matrices.size_of(arrays[name])
            beside[name] = max(beside[name], matrices.size_of(along - arrays[name]) / scale)
    values = {"point": bool(off <= ZERO)}
    values |= {f"{name} tangent": bool(value <= ZERO) for name, value in beside.items()}
    listed = ", ".join(f"{key} {'yes' if value else 'NO'}" for key, value in values.items())
    return Finding(
        "stays",
        values,
        f"the constraint, and what the projection changes, after {STEPS} steps along gradients of "
        f"size 1, beside the sizes of points and arrays, in {DIGITS} digits",
        reach,
        brief=listed,
    )


def _read_off(apart: Callable[[Any], Any], reach: str) -> Finding:
    """The order, from the distance of a step and two half steps."""
    measured = power(apart, NEAR)
    order = whole_order(measured)
    why = "" if order is not None else f"the power is {measured:.3f}"
    return Finding("order", order, _HALVED, reach, why)


def _order_of_rule(
    place: Place, rule: kinds.MatrixRule, derivation: MatrixDerivation, reach: str
) -> Finding:
    """The order for the gradient flow in some metric, of a rule without a state.

    A step of h beside two of h/2: they differ by O(h^(order + 1)), and not by less, where the step
    has the derivative of the flow, or of one at another speed, at h = 0.
    """
    why = ""
    if derivation.program.states:
        why = "its assignments are typed: no differential equation is declared with them"
    elif RATE not in {entry.name for entry in rule.hyperparameters}:
        why = f"it has no hyper-parameter {RATE}, the step along the gradient"
    if why:
        return Finding("order", None, "the declaration", reach, why)
    (function,) = derivation.program.functions
    point, derivative = function.arrays[0], objective(place)

    def step(h: Any, at: Matrix, times: int = 1) -> Matrix:
        machine = MatrixInterpreter(derivation, {RATE: h}, PRECISE_OR_NAN)
        return machine.step({point: at}, times * derivative(at))[point]

    start = place.point
    begins = slope(lambda h: step(h, start))
    thrice = slope(lambda h: step(h, start, 3))
    if place.manifold.quotient:
        begins, thrice = (place.value("project", start, own) for own in (begins, thrice))
    others = [own.name for own in place.manifold.metrics if own.name != rule.metric]
    for metric in (rule.metric, *others):
        flow = -place.value(f"gradient_{metric}", start, derivative(start))
        speed = (begins * flow).sum() / (flow * flow).sum()
        if speed > 0 and matrices.size_of(begins - speed * flow) <= CLOSE:
            if matrices.size_of(thrice - 3 * speed * flow) > CLOSE:
                why = "the speed of its step along the gradient flow depends on the gradient"
                return Finding("order", None, f"the derivative of a step by {RATE}", reach, why)
            named = "" if metric == rule.metric else f" {metric}"
            slower = "" if abs(speed - 1) <= CLOSE else f" at {mpmath.nstr(speed, 4)} of its speed"
            return _read_off(
                lambda h: place.apart(step(h, start), step(h / 2, step(h / 2, start))),
                f"the gradient flow in the{named} metric{slower}; {reach}",
            )
    why = f"its step has not the derivative of a gradient flow at {RATE} = 0"
    return Finding("order", None, f"the derivative of a step by {RATE}", reach, why)


def _order(moves: Moves, reach: str) -> Finding:
    """The order for the Hamiltonian system, in the solution and its momentum."""
    derivative = objective(moves.place)
    start = (moves.place.point, moves.place.tangent())

    def step(h: Any, at: tuple[Matrix, Matrix]) -> tuple[Matrix, Matrix]:
        return moves.step(h, at, derivative)

    slopes = difference([step(STEP, start), step(-STEP, start)])
    if not moves.follows(slopes, start, derivative):
        why = "its step has not the derivative of the system at h = 0"
        return Finding("order", None, "the derivative of a step by h", reach, why)

    def apart(h: Any) -> Any:
        once, twice = step(h, start), step(h / 2, step(h / 2, start))
        return sum(matrices.size_of(a - b) for a, b in zip(once, twice, strict=True))

    return _read_off(apart, f"the system on the manifold; {reach}")


#: The step at which symplectic forms are compared.
_STEP = mpmath.mpf(1) / 4
_FORMS = (
    "the form dX dP of pairs of vectors that are tangent to the tangent bundle, before and "
    f"after a step of h = {float(_STEP):g}, by differences; {DIGITS} digits"
)


def _factor(moves: Moves, optimizer: kinds.ManifoldOptimizer) -> str | None:
    """The one factor by which a step multiplies the symplectic form of the cotangent bundle.

    A friction P contributes a whole power of exp(-gamma h), or there is no factor.
    """
    ratios = moves.ratios(_STEP, objective(moves.place))
    fading = moves.fading(_STEP)
    power = 0
    if fading != 1:
        power = int(mpmath.nint(mpmath.log(abs(ratios[0] / moves.factor(_STEP)), fading)))
    expected = moves.factor(_STEP) * fading**power
    if max(abs(ratio - expected) for ratio in ratios) > CLOSE:
        return None
    own = motion(optimizer).of(settings(optimizer))
    return written(tidy(own.factor * own.fading**power))


def _symplectic(moves: Moves, optimizer: kinds.ManifoldOptimizer, reach: str) -> Finding:
    """Whether a step multiplies the symplectic form of the cotangent bundle by one factor."""
    factor = _factor(moves, optimizer)
    if factor is not None:
        return Finding("conformal_factor", factor, _FORMS, reach)
    why = "the form is not multiplied by one factor, that of the friction"
    if motion(optimizer).stay.fades:
        why += ": as a force in the space around it fades parts of the momentum at several rates"
    elif optimizer.transport == kinds.PROJECTION:
        why += ": a retraction with projection is no flow, and shortens momenta"
    return Finding("conformal_factor", None, _FORMS, reach, why)


def _factors_elsewhere(
    manifold: kinds.Manifold, optimizer: kinds.ManifoldOptimizer, derivation: MatrixDerivation
) -> Finding:
    """The factors at sizes at which a friction as a force may have one."""
    values: dict[str, Any] = {}
    for place in special_places(manifold):
        values[place.named] = _factor(Moves(place, optimizer, derivation), optimizer)
    told = "; ".join(f"{sizes}: {factor or 'none'}" for sizes, factor in values.items())
    return Finding("conformal_factor_elsewhere", values, _FORMS, "; ".join(values), brief=told)
