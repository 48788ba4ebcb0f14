"""Whether ``y' = sum_i u_i V_i(y)`` moves N points independently of one another.

In: a declared field in numbers, points, a degree, a prime.  Out: a report.  The flow acts on all
points at once, on R^(m N); it reaches a neighbourhood of where they stand if the brackets of the
fields V_i, stacked over the points, have rank m N (W. L. Chow, Math. Ann. 117 (1939) 98-105;
C. Cuchiero, M. Larsson and J. Teichmann, SIAM J. Math. Data Sci. 2 (2020) 901-919,
arXiv:1908.07838).

For polynomials that rank is computed modulo a prime, of words that are named: it is at most the
rank over Q, so a full one is a proof.  A smaller one is a proof only where the algebra is known
whole, points coincide, every field is zero at a point, or a polynomial is constant along them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.fields import jets, obstruction
from hamilforge.gen.fields.declared import (
    NotPolynomialError,
    Setting,
    not_linear,
    polynomials,
)
from hamilforge.gen.fields.growth import Growth, grow
from hamilforge.gen.fields.polynomial import VectorField, degree, form
from hamilforge.gen.prove.report import Finding, Report

#: How many bounds above the least that could do are tried, each a bracket further.
FURTHER = 4
#: It goes there as long as fields have at most so many coefficients.
COEFFICIENTS = 4000
#: Invariants are looked for up to this degree.
INVARIANTS = 4
#: Algebras are tabled up to so many coefficients.
TABLED = 700
#: Words in floating point have at most so many letters, and there are at most so many.
LETTERS, WORDS = 4, 3000
#: Singular values below this part of the largest count as zero.
TOLERANCE = 1e-9
#: The prime that is taken after 2: the largest below 2**31 - 1.
_LARGEST = 2147483629
Points = Sequence[Sequence[Fraction]]


def prove_controllability(
    setting: Setting, points: Points, most: int | None, prime: int, notes: Sequence[str] = ()
) -> Report:
    """The rank of the iterated brackets at the points, and what it shows.

    Args:
        setting: the field with numbers for everything but states and controls.
        points: N of them, exact, each with all coordinates of the states.
        most: the degree above which a bracket is dropped; a few are tried if None.
        prime: below 2**31; another is taken where it divides a denominator.
        notes: what the report says besides.

    Returns:
        The report, with ``lie_rank``, ``needed``, ``interpolates`` and the certificate.

    Raises:
        DeclarationError: the field is not linear in its controls.
        ValueError: fields of the degree have too many coefficients.
    """
    m, head = setting.width, setting.field.head
    if any("t" in value.names() for _, value in setting.field.rates):
        raise DeclarationError.single(
            head.source.where,
            f"'{head.name}' depends on the time t, and brackets are of fields alone",
        )
    needed = m * len(points)
    findings = [
        Finding("points", len(points), "what was given", "these points"),
        Finding("fields", len(setting.controls), "the entries of the controls", "these sizes"),
        Finding("needed", needed, f"m N = {m} * {len(points)}", "points that move independently"),
    ]
    remarks = list(notes)
    if m == 1:
        remarks.append(
            "On a line points keep their order: a full rank moves each of them a little by "
            "itself, as a read-out lambda*(X - x) needs, and never past another."
        )
    try:
        fields = polynomials(setting)
    except NotPolynomialError as reason:
        remarks.append(f"No exact proof: {reason}.")
        findings += _numbers(setting, points, needed, str(reason))
    else:
        usable, replaced = usable_prime(prime, fields, points)
        if replaced:
            remarks.append(replaced)
        findings += _exactly(fields, points, needed, most, usable)
    return Report(head.name, "field", head.title, tuple(findings), (), tuple(remarks))


def usable_prime(prime: int, fields: Sequence[VectorField], points: Points) -> tuple[int, str]:
    """A prime that divides no denominator.

    Args:
        prime: the one asked for.
        fields: with rational coefficients.
        points: with rational coordinates.

    Returns:
        The prime, and what to say if it is another one.
    """
    denominators = {c.denominator for f in fields for component in f for c in component.values()}
    denominators |= {x.denominator for point in points for x in point}
    usable = prime
    while any(number % usable == 0 for number in denominators):
        usable = int(sp.prevprime(usable)) if usable > 2 else _LARGEST
    told = f"{prime} divides a denominator; modulo {usable} instead." if usable != prime else ""
    return usable, told


def _exactly(
    fields: Sequence[VectorField], points: Points, needed: int, most: int | None, prime: int
) -> Iterator[Finding]:
    m, count = len(fields[0]), len(points)
    pair = obstruction.coincident(points)
    growth = _searched(fields, points, needed, most, prime)
    by = (
        f"words of brackets [V, W] = DW V - DV W, elimination modulo {prime}; those above degree "
        f"{growth.degree} dropped whole ({growth.dropped} of them)"
    )
    here = "these fields at these points; modulo a prime at most that over Q"
    yield Finding("lie_rank", growth.rank, by, here)
    yield Finding("degree", growth.degree, "the bound of the brackets", here)
    yield Finding("prime", prime, "it divides no denominator of a coefficient or coordinate", here)
    named = form(fields)
    yield Finding(
        "algebra", named or "none with a name", "the form of the fields, exactly", "all brackets"
    )
    yield _growth(fields, prime)
    if growth.rank == needed:
        spelled = [list(word) for word in growth.certificate]
        by = f"{len(spelled)} words, independent at the points modulo {prime}, so over Q"
        reach = "targets near the points, or any with a read-out lambda*(X - x), lambda large"
        yield Finding("interpolates", True, by, reach)
        certificate = {
            "prime": prime,
            "degree": growth.degree,
            "rank": growth.rank,
            "words": spelled,
        }
        shown = f"{len(spelled)} words of up to {max(map(len, spelled))} letters"
        by = "[i, j, k] is [V_i, [V_j, V_k]], counted from 1 in the order of the controls"
        yield Finding("certificate", certificate, by, "to compute again", brief=shown)
        return
    if pair is not None:
        by = f"points {pair[0]} and {pair[1]} are one: rank at most {m * (count - 1)}"
        yield Finding("interpolates", False, by, "every bracket, any degree")
        return
    if (still := obstruction.at_rest(fields, points)) is not None:
        by = f"every field is zero at point {still}, so every bracket: rank at most {needed - m}"
        yield Finding("interpolates", False, by, "every bracket, any degree")
        return
    words = obstruction.closed(fields, growth)
    if words and (known := obstruction.rank(words, points)) < needed:
        by = (
            f"the algebra closes over Q with {len(words)} words and nothing dropped, rank {known}"
            + (f"; {named}" if named else "")
        )
        yield Finding("interpolates", False, by, "every bracket, any degree")
        return
    constant = obstruction.invariant(fields, INVARIANTS)
    if constant is not None and (moved := obstruction.moved(constant, points)):
        total = max(sum(e) for e in constant)
        by = (
            f"a polynomial of degree {total} is constant along every field, with a gradient at "
            f"{moved} of the points: rank at most {needed - moved}"
        )
        yield Finding("interpolates", False, by, "every bracket, any degree")
        return
    why = f"the rank stalls at {growth.rank} of {needed} up to degree {growth.degree}" + (
        f" ({named})" if named else ""
    )
    yield Finding("interpolates", None, by, here, why + ": no proof either way; raise the degree")


def _searched(
    fields: Sequence[VectorField], points: Points, needed: int, most: int | None, prime: int
) -> Growth:
    """The growth at the degree asked for, or at the first that does."""
    m = len(fields[0])
    if most is not None:
        return grow(fields, most, prime, points)
    least = max(1, *map(degree, fields))
    while m * math.comb(m + least, m) < needed:
        least += 1
    best = grow(fields, least, prime, points)
    stride = max(1, *(degree(field) - 1 for field in fields))
    for bound in range(least + stride, least + stride * FURTHER + 1, stride):
        if best.rank == needed or best.closed or m * math.comb(m + bound, m) > COEFFICIENTS:
            break
        further = grow(fields, bound, prime, points)
        best = further if further.rank > best.rank or further.closed else best
    return best


def _growth(fields: Sequence[VectorField], prime: int) -> Finding:
    """The dimension of the algebra by degree, beside that of all polynomial fields."""
    m, table = len(fields[0]), {}
    for bound in range(1, 7):
        every = m * math.comb(m + bound, m)
        if every > TABLED:
            break
        table[str(bound)] = grow(fields, bound, prime).dimension
    shown = ", ".join(
        f"{found} of {m * math.comb(m + int(k), m)} (degree {k})" for k, found in table.items()
    )
    by = f"independent words modulo {prime}, beside all polynomial fields of the degree"
    reach = "brackets up to the degree; modulo a prime at most the dimension over Q"
    return Finding("growth", table, by, reach, brief=shown)


def _numbers(setting: Setting, points: Points, needed: int, reason: str) -> Iterator[Finding]:
    """Singular values of words in floating point: no proof."""
    places = np.array([[float(x) for x in point] for point in points])
    variables = jets.variables(places, LETTERS - 1)
    zero = [0 * x for x in variables[:1]] * len(setting.controls)
    fields = []
    drift = _jets(setting, variables, zero)
    if any(component.terms.any() for component in drift):
        raise DeclarationError.single(setting.field.head.source.where, not_linear(setting, []))
    for number in range(len(setting.controls)):
        units = [x + float(k == number) for k, x in enumerate(zero)]
        fields.append(_jets(setting, variables, units))
    _need_linear(setting, variables, fields)
    words = [([k + 1], field) for k, field in enumerate(fields)]
    latest, rows = words, [jets.values(field) for _, field in words]
    rank, kept, left = _rank(rows)
    length = 1
    while rank < needed and length < LETTERS and len(rows) < WORDS:
        length += 1
        latest = [
            ([k + 1, *letters], jets.bracket(field, word))
            for k, field in enumerate(fields)
            for letters, word in latest
        ]
        rows += [jets.values(word) for _, word in latest]
        rank, kept, left = _rank(rows)
    by = (
        f"singular values of {len(rows)} words of up to {length} letters in floating point, "
        f"above {TOLERANCE:g} of the largest"
    )
    here = "numbers, no proof"
    yield Finding("lie_rank", rank, by, here)
    gap = {"last_kept": kept, "first_left_out": left}
    shown = f"the last kept {kept:.3g}, the first left out {left:.3g}"
    yield Finding("singular_gap", gap, "singular values, by the largest", here, brief=shown)
    yield Finding("interpolates", None, by, here, _why(rank, needed, reason))


def _need_linear(setting: Setting, variables: Sequence[Any], fields: Sequence[Any]) -> None:
    """Compare the field at drawn controls with the combination of its V_i."""
    zero, count = 0 * variables[0], len(fields)
    for weights in np.random.default_rng(0).normal(size=(2, count)):
        mixed = _jets(setting, variables, [zero + weight for weight in weights])
        for k, component in enumerate(mixed):
            each = [weight * field[k].terms for weight, field in zip(weights, fields, strict=True)]
            size = np.sum(np.abs(each), axis=0) + np.abs(component.terms)
            if (np.abs(component.terms - np.sum(each, axis=0)) > 1e-9 * (1 + size)).any():
                raise DeclarationError.single(
                    setting.field.head.source.where, not_linear(setting, range(count))
                )


def _why(rank: int, needed: int, reason: str) -> str:
    if rank == needed:
        return f"numbers give the full rank, which is no proof: {reason}"
    return f"numbers give rank {rank} of {needed}, which is no proof: {reason}"


def _jets(setting: Setting, states: Sequence[Any], controls: Sequence[Any]) -> list[Any]:
    zero = 0 * states[0]
    with np.errstate(all="ignore"):
        found = [zero + rate for rate in setting.rates(states, controls, jets.function)]
    if not all(np.isfinite(component.terms).all() for component in found):
        raise DeclarationError.single(
            setting.field.head.source.where,
            f"'{setting.field.head.name}' has no finite derivatives at the points",
        )
    return found


def _rank(rows: Sequence[Any]) -> tuple[int, float, float]:
    """The rank, and the singular values on both sides of it, by the largest."""
    values = np.linalg.svd(np.array(rows), compute_uv=False)
    if not values[0] > 0:
        return 0, 0.0, 0.0
    rank = int((values > TOLERANCE * values[0]).sum())
    left = values[rank] if rank < len(values) else 0.0
    return rank, float(values[rank - 1] / values[0]), float(left / values[0])
