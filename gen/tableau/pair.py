"""Pairs of tableaux: one for positions, one for momenta.

In: a declaration of the kind ``partitioned``.  Out: both tableaux over the same stages; whether the
pair is symplectic, and whether its stages can be computed one after the other.
"""

from __future__ import annotations

from dataclasses import replace

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.exact import linear
from hamilforge.gen.tableau.build import build
from hamilforge.gen.tableau.tableau import Tableau


def build_pair(declaration: kinds.Partitioned) -> tuple[Tableau, Tableau]:
    """The tableaux for q and p, with the coarser of their tolerances.

    Raises:
        DeclarationError: the adjoint does not exist, or the halves have not the same stages.
    """
    where = declaration.head.source.where
    q = build(declaration.q)
    p = q.adjoint() if declaration.p is None else build(declaration.p)
    if p is None:
        raise DeclarationError.single(where, "a weight of q vanishes, so it has no adjoint", "p")
    if q.stages != p.stages:
        raise DeclarationError.single(
            where, f"q has {q.size} stages and p has {p.size}, or their nodes differ", "p"
        )
    tolerance = max(q.tolerance, p.tolerance)
    return replace(q, tolerance=tolerance), replace(p, tolerance=tolerance)


def is_symplectic_pair(q: Tableau, p: Tableau, separable: bool = False) -> bool:
    """Whether ``b_i a^_ij + b^_j a_ji = b_i b^_j``, and ``b = b^`` unless H is separable.

    Args:
        q: the table of the positions.
        p: that of the momenta, over the same stages.
        separable: whether H is.

    Returns:
        Whether it is, for published digits up to their tolerance.
    """
    same = q.vanishes(tuple(x - y for x, y in zip(q.b, p.b, strict=True)))
    stages = q.stages
    left = linear.multiply(linear.multiply(stages.gram, stages.multiplication(q.b)), p.a)
    right = linear.multiply(linear.multiply(stages.gram, stages.multiplication(p.b)), q.a)
    both = linear.plus(left, linear.transpose(right))
    wanted = linear.outer(q.weights, p.weights)
    return (same or separable) and q.vanishes(linear.plus(both, wanted, -1))


def is_explicit_pair(q: Tableau, p: Tableau) -> bool:
    """Whether the stages of a separable system can be computed one after the other."""
    needs = {("q", i): {("p", j) for j in wanted} for i, wanted in enumerate(q.needs)}
    needs |= {("p", i): {("q", j) for j in wanted} for i, wanted in enumerate(p.needs)}
    done: set[tuple[str, int]] = set()
    while ready := {
        stage for stage, wanted in needs.items() if stage not in done and wanted <= done
    }:
        done |= ready
    return len(done) == 2 * q.size
