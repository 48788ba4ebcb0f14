"""The story of a tableau: the table, its order conditions, its adjoint, what is proved.

In: a declaration and its report.  Out: a document.
"""

from __future__ import annotations

import mpmath
import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.document.blocks import (
    Block,
    Butcher,
    Conditions,
    Document,
    Heading,
    Matrix,
    Paragraph,
    WeightSum,
)
from hamilforge.gen.exact.convert import in_sympy
from hamilforge.gen.exact.numbers import Number
from hamilforge.gen.prove.report import Report
from hamilforge.gen.tableau import structure
from hamilforge.gen.tableau.build import build
from hamilforge.gen.tableau.tableau import Tableau
from hamilforge.gen.trees import rooted
from hamilforge.gen.trees.rooted import Tree

#: Conditions of higher orders are too many to be read.
SHOWN_ORDER = 5
INDICES = "ijklmnpqrsuvwxyz"


def tell_runge_kutta(declaration: kinds.RungeKutta, report: Report) -> Document:
    """The document of a method, without its proved properties."""
    tableau = build(declaration)
    order = report["order"]
    assert isinstance(order, int)
    return (
        Heading("The table"),
        butcher(tableau),
        *_adjoint(tableau),
        *_defect(tableau),
        *_conditions(min(max(order, 1), SHOWN_ORDER), order),
    )


def tell_partitioned(declaration: kinds.Partitioned, _: Report) -> Document:
    """The document of a pair, without its proved properties."""
    q = build(declaration.q)
    p = q.adjoint() if declaration.p is None else build(declaration.p)
    assert p is not None  # the report would have refused it
    return (Heading("For q"), butcher(q), Heading("For p"), butcher(p))


def butcher(tableau: Tableau) -> Butcher:
    """The table in exact numbers where they are short, else in 16 digits."""
    a, b, c = _entries(tableau)
    hat = None
    if tableau.b_hat is not None:
        hat = tuple(_shown(weight, tableau) for weight in tableau.b_hat)
    return Butcher(c, a, b, hat)


def _entries(
    tableau: Tableau,
) -> tuple[tuple[tuple[sp.Expr, ...], ...], tuple[sp.Expr, ...], tuple[sp.Expr, ...]]:
    stages = tableau.stages
    if stages.modulus is None:
        return (
            tuple(tuple(_shown(entry, tableau) for entry in row) for row in tableau.a),
            tuple(_shown(entry, tableau) for entry in tableau.b),
            tuple(_shown(entry, tableau) for entry in tableau.c),
        )
    x = sp.Symbol("x")
    modulus = sp.Poly([in_sympy(c) for c in reversed(stages.modulus)], x)
    if max(factor.degree() for factor, _ in modulus.factor_list()[1]) <= 2:
        nodes = sorted(sp.roots(modulus, multiple=True), key=lambda root: float(sp.N(root)))
        basis = sp.Matrix([[node**k for k in range(stages.size)] for node in nodes])
        operator = sp.Matrix([[in_sympy(entry) for entry in row] for row in tableau.a])
        matrix = (basis * operator * basis.inv()).applyfunc(_radicals)
        values = [
            tuple(_radicals(entry) for entry in basis * sp.Matrix([in_sympy(v) for v in function]))
            for function in (tableau.b, tableau.c)
        ]
        rows = tuple(tuple(matrix.row(i)) for i in range(stages.size))
        return rows, values[0], values[1]
    a, b, c = tableau.precise
    return (
        tuple(tuple(_decimal(entry) for entry in row) for row in a),
        tuple(map(_decimal, b)),
        tuple(map(_decimal, c)),
    )


def _radicals(expr: sp.Expr) -> sp.Expr:
    return sp.radsimp(sp.simplify(expr))


def _decimal(number: object) -> sp.Float:
    return sp.Float(mpmath.nstr(number, 25), 16)


def _shown(number: Number, tableau: Tableau) -> sp.Expr:
    exact = in_sympy(number)
    if exact.has(sp.CRootOf):
        return sp.N(exact, 16)
    return sp.Float(exact, 16) if tableau.tolerance and len(str(exact)) > 24 else exact


def _adjoint(tableau: Tableau) -> tuple[Block, ...]:
    adjoint = tableau.adjoint()
    if adjoint is None:
        return (Paragraph("A weight vanishes, so there is no adjoint table."),)
    if structure.symplectic_defect(tableau) == 0:
        return (Paragraph("The method is its own adjoint: it is symplectic."),)
    return (
        Heading("The adjoint table"),
        Paragraph(
            "a^_ij = b_j - b_j a_ji/b_i: with the method for the states it is the symplectic pair "
            "of the optimality system."
        ),
        butcher(adjoint),
    )


def _defect(tableau: Tableau) -> tuple[Block, ...]:
    """The matrix that vanishes for symplectic methods."""
    if structure.symplectic_defect(tableau) == 0:
        return ()
    if tableau.stages.modulus is None:
        form = tableau.symplectic_form
        rows = tuple(tuple(_shown(entry, tableau) for entry in row) for row in form)
    else:
        matrix = structure.defect_matrix(tableau)
        rows = tuple(tuple(_decimal(entry) for entry in row) for row in matrix)
    return (
        Heading("The symplectic defect"),
        Paragraph("M_ij = b_i a_ij + b_j a_ji - b_i b_j, zero for symplectic methods:"),
        Matrix(rows),
    )


def _conditions(highest: int, order: int) -> tuple[Block, ...]:
    table = rooted.table(highest)
    conditions = tuple(
        (str(table.tree(index)), weight_sum(table.tree(index)), table.density[index])
        for size in range(1, highest + 1)
        for index in table.of_order(size)
    )
    more = "" if order <= highest else f", of those up to order {order} that hold"
    return (
        Heading("The order conditions"),
        Paragraph(
            f"One for each rooted tree, to order {highest}{more}; sums run over all indices, and "
            "c_i = sum_j a_ij."
        ),
        Conditions(conditions),
    )


def weight_sum(tree: Tree) -> WeightSum:
    """The elementary weight of a tree as a product of coefficients with indices."""
    letters = iter(INDICES)
    factors: list[tuple[str, str, int]] = []

    def visit(vertex: Tree, index: str) -> None:
        leaves = sum(1 for child in vertex.children if not child.children)
        if leaves:
            factors.append(("c", index, leaves))
        for child in vertex.children:
            if child.children:
                inner = next(letters)
                factors.append(("a", index + inner, 1))
                visit(child, inner)

    root = next(letters)
    factors.append(("b", root, 1))
    visit(tree, root)
    return WeightSum(tuple(factors))
