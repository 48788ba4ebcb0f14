"""From a declaration to an exact tableau.

Coefficients are rational, or numbers of the smallest field that holds the square roots and the
roots that occur in them; methods on the roots of a polynomial stay rational in the algebra of its
stages.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError, NotDerivableError
from hamilforge.gen.declare.expression import Expression, Name, Node
from hamilforge.gen.declare.expression import Number as Literal
from hamilforge.gen.declare.read_tableaux import MAX_STAGES
from hamilforge.gen.derive.calculus import Expr, to_sympy
from hamilforge.gen.exact import linear, polynomials
from hamilforge.gen.exact.linear import Matrix, Vector
from hamilforge.gen.exact.numbers import DIGITS, ONE, ZERO, Number, NumberField, approximately
from hamilforge.gen.exact.polynomials import Polynomial
from hamilforge.gen.tableau.stages import Stages
from hamilforge.gen.tableau.tableau import TOLERATED, Tableau

#: Fields of a higher degree make no sense for a table that a person has typed.
MAX_DEGREE = 24
X = sp.Symbol("x")
_DECIMALS = re.compile(r"[0-9]*\.([0-9]+)")


def build(declaration: kinds.RungeKutta) -> Tableau:
    """The tableau of a declaration, a family's at its defaults.

    Raises:
        DeclarationError: a coefficient is no real number, the nodes are not the row sums, or a
            polynomial has not the roots that it should have.
    """
    match declaration.table:
        case kinds.Rows():
            return _Numbers(declaration).rows(declaration.table)
        case kinds.Formula():
            return _Numbers(declaration).formula(declaration.table)
        case kinds.Collocation():
            return _collocation(declaration, declaration.table)
        case kinds.Mean():
            return _mean(declaration, declaration.table)
        case kinds.Composed():
            return _Numbers(declaration).composed(declaration.table)


def _refuse(declaration: kinds.RungeKutta, message: str, key: str) -> DeclarationError:
    return DeclarationError.single(declaration.head.source.where, message, key)


def root_of(declaration: kinds.RungeKutta, name: str, root: kinds.Root) -> Expr:
    """A declared root in SymPy.

    Args:
        declaration: the method, for its file.
        name: of the constant.
        root: its polynomial in x, and a number near it.

    Returns:
        The real root that is nearest to the number, as a ``CRootOf`` or a simpler number.

    Raises:
        DeclarationError: it is no polynomial, of too high a degree, or without a real root.
    """
    expr = to_sympy(root.polynomial, {"x": X})
    key = f"[constants].{name}"
    if not expr.is_polynomial(X) or expr.has(sp.zoo, sp.nan):
        raise _refuse(declaration, f"{root.polynomial.text} is no polynomial in x", key)
    polynomial = sp.Poly(expr, X)
    if polynomial.degree() <= MAX_DEGREE:
        polynomial = polynomial.sqf_part()
    if polynomial.degree() > MAX_DEGREE:
        message = f"a root of degree {polynomial.degree()}; at most {MAX_DEGREE} is worked with"
        raise _refuse(declaration, message, key)
    count = polynomial.count_roots() if polynomial.degree() > 0 else 0
    if not count:
        raise _refuse(declaration, f"{root.polynomial.text} has no real root", key)
    near = sp.Rational(root.near.numerator, root.near.denominator)
    candidates = [sp.CRootOf(polynomial, k) for k in range(count)]
    return min(candidates, key=lambda candidate: abs(sp.N(candidate - near, 30)))


class _Numbers:
    """The coefficients of a declaration as exact numbers."""

    def __init__(self, declaration: kinds.RungeKutta) -> None:
        self._declaration = declaration
        self._names: dict[Expr, str] = {}
        self._values: dict[str, Expr] = {
            parameter.name: sp.Rational(parameter.default.numerator, parameter.default.denominator)
            for parameter in declaration.parameters
        }
        for name, value in declaration.constants:
            if isinstance(value, kinds.Root):
                self._values[name] = root_of(declaration, name, value)
                self._names[self._values[name]] = name
            else:
                self._values[name] = self._sympy(value, f"[constants].{name}")

    def _sympy(
        self, expression: Expression, key: str, more: Mapping[str, Expr] | None = None
    ) -> Expr:
        value = to_sympy(expression, {**self._values, **(more or {})})
        if value.has(sp.zoo, sp.nan, sp.oo):
            raise _refuse(self._declaration, f"{expression.text}: division by zero", key)
        if value.is_real is False or value.has(sp.I):
            raise _refuse(self._declaration, f"{expression.text} is no real number", key)
        return value

    def _numbers(self, exprs: Sequence[Expr]) -> list[Number]:
        """Numbers of the smallest field that holds them all."""
        radicals = sorted(
            {
                atom
                for expr in exprs
                for atom in expr.atoms(sp.Pow, sp.CRootOf)
                if isinstance(atom, sp.CRootOf) or _is_radical(atom)
            },
            key=sp.default_sort_key,
        )
        names = tuple(self._names.get(radical, str(radical)) for radical in radicals)
        embed = _field(tuple(radicals), names, self._declaration) if radicals else {}

        @functools.cache
        def number(expr: Expr) -> Number:
            if expr.is_Rational:
                return Fraction(int(expr.p), int(expr.q))
            if expr in embed:
                return embed[expr]
            if expr.is_Add:
                return sum((number(arg) for arg in expr.args[1:]), number(expr.args[0]))
            if expr.is_Mul:
                return functools.reduce(lambda x, y: x * y, map(number, expr.args))
            if expr.is_Pow and expr.exp.is_Integer:
                return number(expr.base) ** int(expr.exp)
            named = expr.xreplace({value: sp.Symbol(name) for value, name in self._names.items()})
            raise _refuse(
                self._declaration,
                f'{named} is no algebraic number; coefficients = "decimal" takes it in 50 digits',
                "A",
            )

        return [number(sp.expand(expr)) for expr in exprs]

    @staticmethod
    def _digits(exprs: Sequence[Expr]) -> list[Number]:
        """Numbers in 50 digits."""
        return [Fraction(str(sp.N(expr, DIGITS))) for expr in exprs]

    def rows(self, table: kinds.Rows) -> Tableau:
        """The tableau of a typed table."""
        size = len(table.a)
        zero = sp.Integer(0)
        exprs: list[Expr] = []
        for row in table.a:
            exprs += [self._sympy(entry, "A") for entry in row]
            exprs += [zero] * (size - len(row))
        exprs += [self._sympy(entry, "b") for entry in table.b]
        for key, entries in (("b_hat", table.b_hat), ("c", table.c)):
            exprs += [self._sympy(entry, key) for entry in entries or ()]
        numbers = self._numbers(exprs) if self._declaration.exact else self._digits(exprs)
        a = tuple(tuple(numbers[i * size : (i + 1) * size]) for i in range(size))
        rest = numbers[size * size :]
        b, rest = tuple(rest[:size]), rest[size:]
        b_hat, rest = (tuple(rest[:size]), rest[size:]) if table.b_hat else (None, rest)
        sums = linear.apply(a, (ONE,) * size)
        typed = [*(entry for row in table.a for entry in row), *table.b]
        tolerance = self._tolerance([*typed, *(table.b_hat or ()), *(table.c or ())])
        c = tuple(rest) if table.c else sums
        tableau = Tableau(Stages(size), a, b, b_hat, c, tolerance, table.row_sums)
        for k, (node, total) in enumerate(zip(c, sums, strict=True), start=1):
            if table.row_sums and not tableau.is_zero(node - total):
                raise _refuse(
                    self._declaration,
                    f"c_{k} = {node} is not the sum {total} of row {k} of A; if that is meant, "
                    "say row_sums = false",
                    "c",
                )
        return tableau

    def _tolerance(self, entries: Sequence[Expression]) -> Fraction:
        return ZERO if self._declaration.exact else _tolerance(self._declaration, entries)

    def composed(self, table: kinds.Composed) -> Tableau:
        """The tableau of a composition: block after block, each with the sums of those before."""
        block = build(table.block).by_stages
        size = block.size * len(table.weights)
        if size > MAX_STAGES:
            raise _refuse(
                self._declaration, f"{size} stages; at most {MAX_STAGES} are read", "compose"
            )
        key = "[compose].weights"
        weights = self._numbers([self._sympy(entry, key) for entry in table.weights])
        tolerance = max(block.tolerance, self._tolerance(table.weights))
        if tolerance:
            weights = [approximately(weight) for weight in weights]
        rows: list[Vector] = []
        b: list[Number] = []
        for weight in weights:
            after = [ZERO] * (size - len(b) - block.size)
            rows += [(*b, *(weight * entry for entry in row), *after) for row in block.a]
            b += [weight * entry for entry in block.b]
        a = tuple(rows)
        c = linear.apply(a, (ONE,) * size)
        return Tableau(Stages(size), a, tuple(b), None, c, tolerance)

    def formula(self, table: kinds.Formula) -> Tableau:
        """The explicit tableau of formulas."""
        count = self._sympy(table.stages, "stages")
        if not count.is_Integer or not 1 <= int(count) <= MAX_STAGES:
            raise _refuse(
                self._declaration,
                f"{count} stages; a number from 1 to {MAX_STAGES} was expected",
                "stages",
            )
        size = int(count)
        exprs = [
            self._sympy(table.a, "A", {"i": sp.Integer(i), "j": sp.Integer(j)})
            if j < i
            else sp.S.Zero
            for i in range(1, size + 1)
            for j in range(1, size + 1)
        ]
        exprs += [self._sympy(table.b, "b", {"j": sp.Integer(j)}) for j in range(1, size + 1)]
        numbers = self._numbers(exprs)
        a = tuple(tuple(numbers[i * size : (i + 1) * size]) for i in range(size))
        c = linear.apply(a, (ONE,) * size)
        return Tableau(Stages(size), a, tuple(numbers[size * size :]), None, c)


def _is_radical(power: Expr) -> bool:
    """Whether a power is a root of an algebraic number, as sqrt(2) is, and 2**sqrt(2) is not."""
    exponent = power.exp
    return bool(exponent.is_Rational and not exponent.is_Integer and power.base.is_algebraic)


@functools.lru_cache(maxsize=256)
def _generated(
    radicals: tuple[Expr, ...], names: tuple[str, ...]
) -> tuple[NumberField, tuple[tuple[Any, ...], ...]]:
    """Q(radicals): the field, and each radical in it."""
    domain = sp.QQ.algebraic_field(*radicals)
    modulus = tuple(Fraction(int(c.numerator), int(c.denominator)) for c in domain.mod.to_list())
    monic = polynomials.monic(modulus[::-1])
    theta = domain.ext.as_expr() if len(radicals) > 1 else radicals[0]
    near = Fraction(str(sp.N(theta, 60)))
    width = max(Fraction(1), abs(near)) / 10**50
    chain = polynomials.sturm_chain(monic)
    if polynomials.count_roots(chain, near - width, near + width) != 1:
        raise NotDerivableError(f"{theta} is not told from its conjugates")
    field = NumberField(
        monic, near - width, near + width, names[0] if len(names) == 1 else str(theta), theta
    )
    parts = []
    for radical in radicals:
        falling = domain.from_sympy(radical).to_list()
        parts.append(
            tuple(Fraction(int(c.numerator), int(c.denominator)) for c in reversed(falling))
        )
    return field, tuple(parts)


def _field(
    radicals: tuple[Expr, ...], names: tuple[str, ...], declaration: kinds.RungeKutta
) -> dict[Expr, Number]:
    degree = math.prod(
        radical.poly.degree() if isinstance(radical, sp.CRootOf) else int(radical.exp.q)
        for radical in radicals
    )
    if degree > MAX_DEGREE:
        raise _refuse(declaration, f"the coefficients span a field of degree {degree}", "A")
    field, parts = _generated(radicals, names)
    return {radical: field.element(part) for radical, part in zip(radicals, parts, strict=True)}


def _tolerance(declaration: kinds.RungeKutta, entries: Sequence[Expression]) -> Fraction:
    """A thousand units of the last place that most of the published digits have."""
    texts = [entry.text for entry in entries]
    texts += [value.text for _, value in declaration.constants if isinstance(value, Expression)]
    places = sorted(len(digits) for text in texts for digits in _DECIMALS.findall(text))
    places = [count for count in places if count >= 6]
    if not places:
        return Fraction(1, 10**12)
    return Fraction(TOLERATED, 10 ** places[len(places) // 2])


def _node_polynomial(declaration: kinds.RungeKutta, expression: Expression) -> Polynomial:
    """The polynomial of the nodes, monic."""
    key = "[collocation].nodes"

    def visit(node: Node) -> Polynomial:
        if isinstance(node, Literal):
            return polynomials.trim((node.value,))
        if isinstance(node, Name):
            return (ZERO, ONE)
        if node.op == "legendre":
            argument = node.args[0]
            degree = argument.value if isinstance(argument, Literal) else None
            if degree is None or degree.denominator != 1 or not 0 <= degree <= MAX_STAGES:
                raise _refuse(declaration, "legendre(n) needs a number n", key)
            return shifted_legendre(int(degree))
        args = [visit(arg) for arg in node.args]
        if node.op == "+":
            return functools.reduce(polynomials.add, args)
        if node.op == "-":
            return polynomials.add((), args[0], -1)
        if node.op == "*":
            return functools.reduce(polynomials.multiply, args)
        if node.op == "/" and len(args[1]) == 1:
            return tuple(coefficient / args[1][0] for coefficient in args[0])
        if node.op == "**" and len(args[1]) == 1 and args[1][0].denominator == 1:
            return functools.reduce(polynomials.multiply, [args[0]] * int(args[1][0]), (ONE,))
        raise _refuse(declaration, f"{expression.text} is no polynomial in x", key)

    polynomial = visit(expression.tree)
    degree = len(polynomial) - 1
    if not 1 <= degree <= MAX_STAGES:
        raise _refuse(declaration, f"a polynomial with 1 to {MAX_STAGES} roots was expected", key)
    whole = polynomials.squarefree(polynomial)
    if any(multiplicity > 1 for _, multiplicity in whole):
        raise _refuse(declaration, "the nodes must be distinct", key)
    bound = polynomials.root_bound(polynomial)
    if polynomials.count_roots(polynomials.sturm_chain(polynomial), -bound, None) < degree:
        raise _refuse(declaration, "all roots of the polynomial must be real", key)
    return polynomials.monic(polynomial)


def shifted_legendre(degree: int) -> Polynomial:
    """The Legendre polynomial on [0, 1]: ``sum (-1)^(n+k) C(n, k) C(n+k, k) x^k``."""
    return tuple(
        Fraction((-1) ** (degree + k) * int(sp.binomial(degree, k) * sp.binomial(degree + k, k)))
        for k in range(degree + 1)
    )


def _collocation(declaration: kinds.RungeKutta, table: kinds.Collocation) -> Tableau:
    modulus = _node_polynomial(declaration, table.nodes)
    size = len(modulus) - 1
    stages = Stages(size, modulus)
    powers = [stages.power(stages.nodes, k) for k in range(size + 1)]
    # sum b_i c_i^k = 1/(k + 1): the Gram matrix takes b to these moments
    moments = tuple((Fraction(1, k + 1),) for k in range(size))
    b = tuple(row[0] for row in linear.solve(stages.gram, moments))
    integrals: list[Vector] = [
        tuple(entry / (k + 1) for entry in powers[k + 1]) for k in range(size)
    ]
    if table.conditions == "D":
        a = _from_columns(declaration, stages, b, powers)
    elif table.column:
        a = _with_column(declaration, stages, b, integrals, table.column)
    else:
        a = linear.transpose(tuple(integrals))
    return Tableau(stages, a, b, None, linear.apply(a, stages.one))


def _from_columns(
    declaration: kinds.RungeKutta, stages: Stages, b: Vector, powers: list[Vector]
) -> Matrix:
    """A from D(s): the adjoint of A takes ``b x^k`` to ``b (1 - x^(k+1))/(k + 1)``."""
    times_b = stages.multiplication(b)
    arguments = tuple(linear.apply(times_b, powers[k]) for k in range(stages.size))
    values = tuple(
        linear.apply(
            times_b,
            tuple((o - p) / (k + 1) for o, p in zip(stages.one, powers[k + 1], strict=True)),
        )
        for k in range(stages.size)
    )
    try:
        backward = linear.transpose(linear.solve(arguments, values))
    except linear.Singular:
        raise _refuse(
            declaration,
            "a weight vanishes, so D(s) does not determine A",
            "[collocation].conditions",
        ) from None
    return stages.adjoint(backward)


def _with_column(
    declaration: kinds.RungeKutta,
    stages: Stages,
    b: Vector,
    integrals: list[Vector],
    column: tuple[str, str],
) -> Matrix:
    """A from C(s - 1) and one column: the function that is 1 at its node is mapped to it."""
    which, value = column
    node = 0 if which == "first" else 1
    assert stages.modulus is not None
    if polynomials.value(stages.modulus, Fraction(node)):
        raise _refuse(
            declaration, f"the {which} node is not {node}", f"[collocation].{which}_column"
        )
    cofactor = polynomials.divide(stages.modulus, (Fraction(-node), ONE))[0]
    scale = polynomials.value(cofactor, Fraction(node))
    lagrange = tuple(coefficient / scale for coefficient in cofactor)
    weight = polynomials.value(polynomials.trim(b), Fraction(node)) if value == "b" else ZERO
    arguments = (*linear.identity(stages.size)[:-1], lagrange)
    values = (*integrals[:-1], stages.constant(weight))
    return linear.transpose(linear.solve(arguments, values))


def _mean(declaration: kinds.RungeKutta, table: kinds.Mean) -> Tableau:
    parts = [build(part) for part in table.of]
    first = parts[0]
    for part in parts[1:]:
        if part.stages != first.stages or part.b != first.b:
            raise _refuse(declaration, "the methods have not the same nodes and weights", "mean")
    a = functools.reduce(linear.plus, (part.a for part in parts))
    a = tuple(tuple(entry / len(parts) for entry in row) for row in a)
    tolerance = max(part.tolerance for part in parts)
    return Tableau(first.stages, a, first.b, None, linear.apply(a, first.stages.one), tolerance)
