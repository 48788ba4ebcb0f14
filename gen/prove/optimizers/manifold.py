"""Reports of manifolds: whether its maps are what they are called.

In: a declared manifold.  Out: a report.  Everything is looked at in the program that is emitted, at
drawn points and tangent vectors, with :data:`DIGITS` digits; derivatives are differences whose step
makes them good to more than the 40 digits that count as zero.  An identity between rational
functions that is false fails at a drawn point but for a set of measure zero; so what is said here
is of the points that were drawn, and of all others with probability one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import mpmath
import numpy as np

from hamilforge.gen.declare import kinds
from hamilforge.gen.exact import matrices
from hamilforge.gen.prove.optimizers.manifold_orders import (
    dimension,
    generic_place,
    listed,
    orders_elsewhere,
    retraction_orders,
)
from hamilforge.gen.prove.optimizers.manifold_points import (
    DIGITS,
    STEP,
    ZERO,
    Matrix,
    Place,
    slope,
)
from hamilforge.gen.prove.report import Claim, Finding, Report, compare_claims

#: What counts as no part, and as no change, of how far a point is off.
SMALL = 1e-6
#: Lengths of tangent vectors along which conditions are looked at.
LENGTHS = (mpmath.mpf("0.1"), mpmath.mpf(1), mpmath.mpf(10), mpmath.mpf(100))
_AT = "the drawn points"
_CHECKED = f"{DIGITS} digits, at drawn points and vectors"


def prove_manifold(manifold: kinds.Manifold) -> Report:
    """What is known of a manifold.

    Raises:
        DeclarationError: no point was found, or a map has no value at one.
    """
    place = generic_place(manifold)
    reach = f"{place.named}; {_AT}"
    with mpmath.workdps(DIGITS):
        geodesics = [*_geodesics(place)]
        orders, order_evidence = retraction_orders(
            place, [name for name, holds, _ in geodesics if holds]
        )
        findings = [
            Finding("points", _points(manifold), "the declaration", "all sizes"),
            dimension(manifold),
            Finding(
                "metrics",
                ", ".join(metric.name for metric in manifold.metrics),
                "the declaration; the first is the default",
                "all sizes",
            ),
            *_flags("projection", _projection(place), reach),
            *_flags("metric", _metrics(place), reach),
            *_flags("gradient", _gradients(place), reach),
            *_flags("rates", _rates(place), reach),
            *_flags("geodesic", geodesics, reach),
            *_flags("retraction", _retractions(place), reach),
            *_flags("multipliers", _multipliers(place), reach),
            Finding(
                "retraction_order",
                orders or None,
                order_evidence if orders else "the declaration",
                reach if orders else "all sizes",
                "" if orders else "no metric has a geodesic to compare with",
                brief="; ".join(f"{name}: {listed(own)}" for name, own in orders.items()),
            ),
            *orders_elsewhere(manifold, orders),
            _off(place, reach),
            *_flags("transport", _transport(place), reach),
            *_quotient(place, reach),
            *_kept(place, reach),
        ]
    head = manifold.head
    claims = (*compare_claims(head, tuple(findings)), *_broken(findings))
    return Report(head.name, "manifold", head.title, tuple(findings), claims)


#: What must hold of each map: property, name of the map, whether it does, and what was computed.
Flag = tuple[str, bool, str]
#: What is told of a map and need not hold: of a property, or of a finding.
OPTIONAL = ("isometric", "conditions_kept")


def _flags(name: str, flags: Iterable[Flag], reach: str) -> Iterator[Finding]:
    """A finding of what holds, by map."""
    known = [*flags]
    if known:
        values = {key: holds for key, holds, _ in known}
        evidence = "; ".join(dict.fromkeys(text for _, _, text in known))
        yield Finding(name, values, f"{evidence}: {_CHECKED}", reach, brief=listed(values))


def _broken(findings: list[Finding]) -> Iterator[Claim]:
    """A false claim for each map that is not what it is called."""
    for finding in findings:
        if not isinstance(finding.value, dict) or finding.name in OPTIONAL:
            continue
        for key, value in finding.value.items():
            if value is False and not key.startswith(OPTIONAL):
                yield Claim(f"{finding.name} {key}", True, False, False, finding.evidence)


def _points(manifold: kinds.Manifold) -> str:
    text = f"X {manifold.written_shape} with {manifold.constraint.text} = 0"
    for condition in manifold.conditions:
        text += f", {condition.value.text}" + (" positive definite" if condition.definite else "")
    return text + (f", up to {manifold.quotient}" if manifold.quotient else "")


def _zero(value: Any, scale: Any = 1) -> bool:
    """Whether a number or a matrix vanishes, beside the size of what it was made of."""
    return bool(matrices.size_of(np.atleast_2d(value)) <= ZERO * (1 + scale))


# --- projection, metrics, gradients


def _tangent(place: Place, at: Matrix, vector: Matrix) -> bool:
    """Whether the constraint does not change along a vector."""
    size = matrices.size_of(vector)
    change = slope(lambda t: place.value("constraint", at + t * vector))
    return _zero(change, size)


def _projection(place: Place) -> Iterator[Flag]:
    point, drawn = place.point, place.drawn()
    once = place.value("project", point, drawn)
    size = matrices.size_of(drawn)
    twice = place.value("project", point, once)
    yield "idempotent", _zero(twice - once, size), "P(P(V)) = P(V)"
    other = place.drawn()
    linear = place.value("project", point, drawn + 3 * other) - once
    linear = linear - 3 * place.value("project", point, other)
    yield "linear", _zero(linear, size), "P(V + 3 U) = P(V) + 3 P(U)"
    yield "tangent", _tangent(place, point, once), "the constraint does not change along P(V)"
    rank, left = place.dimension()
    yield "onto", rank == left, f"its rank {rank} beside the dimension {left} left by constraint"
    for metric in place.manifold.metrics:
        other = place.drawn()
        ours = place.inner(metric.name, once, other)
        theirs = place.inner(metric.name, drawn, place.value("project", point, other))
        size = 1 + matrices.size_of(drawn) * matrices.size_of(other)
        same = _zero(ours - theirs, size)
        yield f"self-adjoint ({metric.name})", same, "<P(V), U> = <V, P(U)>"


def _metrics(place: Place) -> Iterator[Flag]:
    text = "symmetric and linear; positive: the Gram matrix of a basis of the tangent space"
    for metric in place.manifold.metrics:
        u, v, w = place.tangent(), place.tangent(), place.tangent()
        inner = [place.inner(metric.name, *pair) for pair in ((u, v), (v, u))]
        both = place.inner(metric.name, u + 2 * w, v)
        alone = inner[0] + 2 * place.inner(metric.name, w, v)
        holds = _zero(inner[0] - inner[1], 10) and _zero(both - alone, 10)
        yield metric.name, holds and _is_positive(place, metric.name), text


def _is_positive(place: Place, metric: str) -> bool:
    """Whether a metric is positive on the whole tangent space, at the point."""
    vectors = [place.tangent() for _ in range(place.dimension()[0])]
    gram = matrices.identity(len(vectors))
    for i, left in enumerate(vectors):
        for j in range(i + 1):
            gram[i, j] = gram[j, i] = place.inner(metric, left, vectors[j])
    try:
        matrices.cholesky(gram)
    except ZeroDivisionError:
        return False
    return True


def _gradients(place: Place) -> Iterator[Flag]:
    for metric in place.manifold.metrics:
        slopes, vector = place.drawn(), place.tangent()
        gradient = place.value(f"gradient_{metric.name}", place.point, slopes)
        inside = _zero(place.value("project", place.point, gradient) - gradient, 10)
        ours = place.inner(metric.name, gradient, vector)
        holds = inside and _zero(ours - (slopes * vector).sum(), 100)
        yield metric.name, holds, "tangent, and <grad, V> = sum(G*V) for tangent V"


def _rates(place: Place) -> Iterator[Flag]:
    for metric in place.manifold.metrics:
        if metric.rates:
            text = "the product of G - rate vanishes on tangent V, G V the gradient of V; none less"
            yield metric.name, _are_rates(place, metric), text


def _are_rates(place: Place, metric: kinds.Metric) -> bool:
    """Whether the declared eigenvalues are all there are, and each is one."""
    vector = place.tangent()

    def without(rates: Iterable[int]) -> Matrix:
        left = vector
        for rate in rates:
            raised = place.value(f"gradient_{metric.name}", place.point, left)
            left = raised - rate * left
        return left

    fewer = (tuple(r for r in metric.rates if r != rate) for rate in metric.rates)
    return _zero(without(metric.rates), 100) and not any(_zero(without(own)) for own in fewer)


# --- geodesics, retractions


def _geodesics(place: Place) -> Iterator[Flag]:
    """They begin as they should, stay on the manifold, and solve the equation of geodesics."""
    text = "begins at X with V, keeps the constraint, solves the equation of geodesics at t = 0.7"
    for metric in place.manifold.metrics:
        if metric.geodesic is not None:
            yield metric.name, _is_geodesic(place, metric.name), text


def _is_geodesic(place: Place, metric: str) -> bool:
    """Whether a map is the geodesic of a metric, by the equation in its weak form.

    d/dt <c', eta> = d/ds <c_s', c_s'>/2 at s = 0 for a variation c_s of the curve c with direction
    eta, at one time that is not zero: curves of the second order alone would pass at zero.
    """
    velocity, drawn = place.tangent(), place.drawn()
    zero, time = mpmath.mpf(0), mpmath.mpf(7) / 10
    retraction = f"retract_{place.manifold.retractions[0].name}"

    @functools.cache
    def curve(t: Any) -> Matrix:
        return place.value(f"geodesic_{metric}", place.point, t * velocity)

    def direction(t: Any) -> Matrix:
        return place.value("project", curve(t), drawn)

    def momentum(t: Any) -> Any:
        return place.inner(metric, slope(curve, t), direction(t), curve(t))

    def energy(s: Any) -> Any:
        def varied(t: Any) -> Matrix:
            return place.value(retraction, curve(t), s * direction(t))

        speed = slope(varied, time)
        return place.inner(metric, speed, speed, varied(time)) / 2

    begins = _zero(curve(zero) - place.point) and _zero(slope(curve, zero) - velocity, 10)
    stays = _zero(place.violation(curve(time)), 10)
    return begins and stays and _zero(slope(momentum, time) - slope(energy, zero), 1000)


def _retractions(place: Place) -> Iterator[Flag]:
    text = "R(0) = X, dR = id, the constraint kept at drawn V"
    for retraction in place.manifold.retractions:
        yield retraction.name, _is_retraction(place, retraction.name), text


def _multipliers(place: Place) -> Iterator[Flag]:
    """What leads X + V back is normal: no tangent part of it."""
    retraction = place.manifold.multipliers
    if retraction is not None:
        name, point = retraction.name, place.point
        vector = place.shortened(name, point, place.tangent())
        added = place.value(f"retract_{name}", point, vector) - point - vector
        normal = _zero(place.value("project", point, added), 10)
        yield name, normal, "P(R(V) - X - V) = 0"


def _is_retraction(place: Place, name: str) -> bool:
    vector = place.shortened(name, place.point, place.tangent())

    def curve(t: Any) -> Matrix:
        return place.value(f"retract_{name}", place.point, t * vector)

    begins = slope(curve)
    if place.manifold.quotient:  # what stays in the orbit does not count
        begins = place.value("project", place.point, begins)
    starts = place.apart(curve(mpmath.mpf(0)), place.point) <= ZERO
    return starts and _zero(begins - vector, 10) and _zero(place.violation(curve(1)), 10)


def _off(place: Place, reach: str) -> Finding:
    """What becomes of a point that is a little off the manifold, by rounding: by which factor.

    Retractions that factorise restore the constraint, those that multiply by what is orthogonal
    keep its size; a formula that is right on the manifold alone may enlarge it in every step.
    """
    point, vector = place.point, place.tangent()
    errors = _entries(place.shape)
    nothing = np.zeros(place.shape, object)
    before = _largest_gain(place, [point + STEP * error for error in errors])
    both = [(error, nothing) for error in errors] + [(nothing, error) for error in errors]
    maps = {f"retract_{own.name}": own.name for own in place.manifold.retractions}
    maps |= {f"geodesic_{m.name}": "" for m in place.manifold.metrics if m.geodesic is not None}
    values: dict[str, Any] = {}
    for name, retraction in maps.items():
        own = place.shortened(retraction, point, vector) if retraction else vector
        ends = [
            place.value(name, point + STEP * of_point, own + STEP * of_vector)
            for of_point, of_vector in both
        ]
        ratio = float(_largest_gain(place, ends) / before) if before > 0 else 1.0
        values[name.replace("_", " ", 1)] = (
            "restores"
            if ratio < SMALL
            else "keeps"
            if abs(ratio - 1) < SMALL
            else f"times {ratio:.2g}"
        )
    return Finding(
        "off_the_manifold",
        values,
        "the largest gain from errors of point and vector to the constraint after the step, beside "
        f"that from errors of the point to the constraint before, by differences, along a vector "
        f"of length {float(matrices.size_of(vector)):.2g}; {_CHECKED}",
        reach,
        brief=listed(values),
    )


def _entries(shape: tuple[int, ...]) -> list[Matrix]:
    """A basis of matrices: 1 at one entry each, 0 else."""
    basis = np.zeros((math.prod(shape), *shape), object)
    for k, matrix in enumerate(basis):
        matrix.flat[k] = mpmath.mpf(1)
    return [*basis]


def _largest_gain(place: Place, points: Sequence[Matrix]) -> Any:
    """The largest singular value of the map from errors to the constraint.

    Args:
        place: where.
        points: what the errors 1, 0, ..., then 0, 1, ... and so on, each times the step of
            differences, make of a point of the manifold.
    """
    columns = [np.ravel(place.value("constraint", end)) / STEP for end in points]
    return max(mpmath.svd_r(mpmath.matrix(np.array(columns).tolist()), compute_uv=False))


# --- transport, quotient, conditions


def _transport(place: Place) -> Iterator[Flag]:
    point = place.point
    drawn, vector, other = place.tangent(), place.tangent(), place.tangent()
    for transport in ("", *(name for name, _ in place.manifold.transports)):
        yield from _carries(place, transport, drawn, vector, other)
    first = place.manifold.retractions[0].name
    for metric in place.manifold.metrics:
        end = place.value(f"retract_{first}", point, drawn)
        moved = place.value("transport", point, drawn, end, vector)
        before = place.inner(metric.name, vector, vector)
        after = place.inner(metric.name, moved, moved, end)
        lengths = f"lengths beside those before, along {first}"
        yield f"isometric ({metric.name})", _zero(after - before, 100), lengths


def _carries(
    place: Place, transport: str, drawn: Matrix, vector: Matrix, other: Matrix
) -> Iterator[Flag]:
    """Whether a transport keeps what does not move, and gives tangent vectors, linearly.

    Args:
        place: a point.
        transport: its name; that of the default is empty.
        drawn: along which points move.
        vector: what is carried.
        other: a further one.
    """
    point = place.point
    key, of = (f"transport_{transport}", f"{transport}: ") if transport else ("transport", "")
    still = place.value(key, point, 0 * drawn, point, vector)
    yield f"{of}consistent", _zero(still - vector, 10), "nothing changes where the point does not"
    for name in (own.name for own in place.manifold.retractions):
        along = place.shortened(name, point, drawn)
        end = place.value(f"retract_{name}", point, along)

        def carried(tangent: Matrix, along: Matrix = along, end: Matrix = end) -> Matrix:
            return place.value(key, point, along, end, tangent)

        moved = carried(vector)
        same = place.value("project", end, moved)
        linear = carried(vector + 3 * other) - moved - 3 * carried(other)
        text = "what is carried along each retraction is tangent at the new point, and linear"
        yield f"{of}tangent ({name})", _zero(same - moved, 10), text
        yield f"{of}linear ({name})", _zero(linear, 10), text


def _quotient(place: Place, reach: str) -> Iterator[Finding]:
    """Maps do the same at every base of a subspace."""
    if not place.manifold.quotient:
        return
    point, drawn, vector, q = place.point, place.drawn(), place.tangent(), place.rotated()

    def flags() -> Iterator[Flag]:
        turned = place.value("project", point @ q, drawn @ q)
        same = _zero(turned - place.value("project", point, drawn) @ q, 10)
        yield "project", same, "P at X Q of V Q is P(V) Q"
        spin = place.drawn(place.shape[1])
        along = point @ (spin - spin.T)
        gone = _zero(place.value("project", point, along), 10)
        yield "horizontal", gone, "P(X S) = 0 for skew S"
        for metric in place.manifold.metrics:
            turned = place.value(f"gradient_{metric.name}", point @ q, drawn @ q)
            own = place.value(f"gradient_{metric.name}", point, drawn) @ q
            yield f"gradient ({metric.name})", _zero(turned - own, 10), "the same of the gradient"
        for name in (own.name for own in place.manifold.retractions):
            along = place.shortened(name, point, vector)
            ends = [
                place.value(f"retract_{name}", *pair)
                for pair in ((point, along), (point @ q, along @ q))
            ]
            text = "R at X Q of V Q spans what R(V) spans"
            yield f"retract {name}", place.apart(*ends) <= 10 * ZERO, text

    yield from _flags("invariant", flags(), reach)


def _kept(place: Place, reach: str) -> Iterator[Finding]:
    """Whether retractions keep the conditions."""
    if not place.manifold.conditions:
        return
    values = {}
    for name in (own.name for own in place.manifold.retractions):
        steps = []
        for length in LENGTHS:
            vector = place.tangent()
            vector = vector * (length / matrices.size_of(vector))
            steps.append(place.shortened(name, place.point, vector))
        ends = (place.value(f"retract_{name}", place.point, step) for step in steps)
        values[name] = all(map(place.satisfies, ends))
    lengths = ", ".join(f"{float(length):g}" for length in LENGTHS)
    evidence = f"the conditions after steps of lengths {lengths}: {_CHECKED}"
    yield Finding("conditions_kept", values, evidence, reach, brief=listed(values))
