"""Families: order conditions as equations in the free parameters.

In: a declared table with free symbols.  Out: the order that holds for all values of the parameters,
the equations of the next order, and their solutions where SymPy finds them; the same for optimal
control.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.derive.calculus import Expr, to_sympy
from hamilforge.gen.tableau.build import root_of
from hamilforge.gen.trees import free, rooted

#: Beyond these sizes the equations are too large to be read.
MAX_STAGES, MAX_FAMILY_ORDER = 6, 5


@dataclass(frozen=True, slots=True)
class Family:
    """What holds for all values of the parameters.

    Attributes:
        order: the order of every member, where it is defined.
        equations: residuals of the next order that are not zero for all parameters.
        solutions: values of the parameters for which they are; None if SymPy finds none.
    """

    order: int
    equations: tuple[Expr, ...]
    solutions: tuple[dict[sp.Symbol, Expr], ...] | None


class Symbolic:
    """A declared table with its parameters as symbols."""

    def __init__(self, declaration: kinds.RungeKutta) -> None:
        table = declaration.table
        assert isinstance(table, kinds.Rows)
        self.symbols = {
            parameter.name: sp.Symbol(parameter.name, real=True)
            for parameter in declaration.parameters
        }
        values: dict[str, Expr] = dict(self.symbols)
        for name, value in declaration.constants:
            if isinstance(value, kinds.Root):
                values[name] = root_of(declaration, name, value)
            else:
                values[name] = to_sympy(value, values)
        size = len(table.a)
        self.a = [
            [to_sympy(row[j], values) if j < len(row) else sp.S.Zero for j in range(size)]
            for row in table.a
        ]
        self.b = [to_sympy(entry, values) for entry in table.b]

    def classical(self, highest: int) -> Family:
        """The family's order."""
        functions: list[list[Expr]] = []
        images: list[list[Expr]] = []
        for order in range(1, highest + 1):
            trees = rooted.table(order)
            for index in range(len(functions), trees.starts[order + 1]):
                if trees.right[index] < 0:
                    functions.append([sp.S.One] * len(self.b))
                    continue
                while len(images) <= trees.right[index]:
                    images.append(_applied(self.a, functions[len(images)]))
                host, branch = functions[trees.left[index]], images[trees.right[index]]
                functions.append([x * y for x, y in zip(host, branch, strict=True)])
            residuals = [
                _tidy(_dot(self.b, functions[index]) - sp.Rational(1, trees.density[index]))
                for index in trees.of_order(order)
            ]
            if any(residuals):
                return self._family(order - 1, residuals)
        return Family(highest, (), None)

    def control(self, highest: int) -> Family | None:
        """The family's order for optimal control; None if a weight is identically zero."""
        if any(weight == 0 for weight in self.b):
            return None
        size = range(len(self.b))
        back = [[self.a[j][i] * self.b[j] / self.b[i] for j in size] for i in size]
        maps = (self.a, back)
        for order in range(1, highest + 1):
            inner, centred = free.rooted_table(max(order // 2, 1)), free.centred_table(order)
            products = self._products(inner, maps, None)
            whole = self._products(centred, maps, products)
            weights = [_dot(self.b, whole[index]) for index in centred.of_order(order)]
            for first, second in free.joined(order):
                branch = _applied(self.a, products[second])
                both = [x * y for x, y in zip(products[first], branch, strict=True)]
                weights.append(_dot(self.b, both))
            centred_weights, joined_weights = free.exact_weights(order)
            residuals = [
                _tidy(value - sp.Rational(weight.numerator, weight.denominator))
                for value, weight in zip(weights, (*centred_weights, *joined_weights), strict=True)
            ]
            if any(residuals):
                return self._family(order - 1, residuals)
        return Family(highest, (), None)

    def _products(
        self,
        table: free.Branches,
        maps: tuple[list[list[Expr]], list[list[Expr]]],
        branches: list[list[Expr]] | None,
    ) -> list[list[Expr]]:
        products = [[sp.S.One] * len(self.b)]
        for index in range(1, len(table.left)):
            source = products if branches is None else branches
            image = _applied(maps[table.direction[index]], source[table.right[index]])
            products.append(
                [x * y for x, y in zip(products[table.left[index]], image, strict=True)]
            )
        return products

    def _family(self, order: int, residuals: Sequence[Expr]) -> Family:
        equations = tuple(dict.fromkeys(residual for residual in residuals if residual))
        numerators = [sp.fraction(equation)[0] for equation in equations]
        try:
            solutions = sp.solve(numerators, list(self.symbols.values()), dict=True)
        except NotImplementedError:
            return Family(order, equations, None)
        entries = [sp.together(entry) for row in (*self.a, self.b) for entry in row]
        denominators = [sp.fraction(expr)[1] for expr in (*equations, *entries)]
        defined = [
            solution
            for solution in solutions
            if all(denominator.subs(solution) != 0 for denominator in denominators)
            and all(value.is_real is not False for value in solution.values())
        ]
        return Family(order, equations, tuple(defined))


def family(declaration: kinds.RungeKutta) -> tuple[Family, Family | None] | None:
    """Classical and control order of a family; None if it is none, or too large."""
    table = declaration.table
    if not declaration.parameters or not isinstance(table, kinds.Rows) or len(table.a) > MAX_STAGES:
        return None
    symbolic = Symbolic(declaration)
    classical = symbolic.classical(MAX_FAMILY_ORDER)
    return classical, symbolic.control(max(classical.order, 1))


def _applied(matrix: list[list[Expr]], function: list[Expr]) -> list[Expr]:
    return [_dot(row, function) for row in matrix]


def _dot(left: Sequence[Expr], right: Sequence[Expr]) -> Expr:
    return sp.Add(*(x * y for x, y in zip(left, right, strict=True)))


def _tidy(expr: Expr) -> Expr:
    return sp.factor(sp.cancel(sp.together(expr)))
