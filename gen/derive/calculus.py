"""Calculus of expressions written for one generic coordinate.

A vector is written as the symbol of its generic entry, a :class:`Coordinate`; a sum over all
coordinates is a :class:`Total`.  So ``dot(p, p)`` is ``Total(p**2)``, and the gradient of a scalar
``K`` is the ordinary derivative with respect to the symbol ``p``: every derivative of a scalar
function is SymPy's, and the one rule added is that of the sum,

    d/dp_i  sum_j f(p_j, R) = f_p(p_i, R) + (sum_j f_R(p_j, R)) dR/dp_i .
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import sympy as sp

from hamilforge.gen.declare.budget import at
from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.expression import Expression, Name, Node, Number

#: A SymPy expression; SymPy carries no types.
Expr: TypeAlias = Any


class Coordinate(sp.Symbol):
    """The generic entry of a vector."""

    __slots__ = ()

    def __new__(cls, name: str, **_: object) -> Coordinate:
        """A real symbol."""
        return sp.Symbol.__new__(cls, name, real=True)


class Total(sp.Function):
    """The sum over all coordinates; factors that do not depend on the coordinate stand outside."""

    nargs = 1
    is_real = True

    @classmethod
    def eval(cls, arg: Expr) -> Expr | None:
        """Linearity: sums are split, scalar factors are taken out."""
        arg = sp.expand_mul(sp.expand_power_base(arg), deep=False)
        if isinstance(arg, sp.Add):
            return sp.Add(*(cls(term) for term in arg.args))
        outside, inside = split_product(arg)
        if outside != 1 and inside != 1:
            return outside * cls(inside)
        return None

    def _eval_is_nonnegative(self) -> bool | None:
        return self.args[0].is_nonnegative

    def _eval_derivative(self, symbol: sp.Symbol) -> Expr:
        (arg,) = self.args
        inner = outer_totals(arg)
        names = {total: sp.Dummy(real=True) for total in inner}
        back = {name: total for total, name in names.items()}
        flat = arg.xreplace(names)
        derivative = flat.diff(symbol).xreplace(back)
        for total, name in names.items():
            derivative += Total(flat.diff(name).xreplace(back)) * total.diff(symbol)
        return derivative


def _function(name: str, slope: Any) -> Any:
    """A smooth scalar function with a given derivative, left as it is by SymPy."""

    def fdiff(self: sp.Function, argindex: int = 1) -> Expr:
        return slope(self.args[0])

    def real(_: sp.Function) -> bool:
        return True

    return type(name, (sp.Function,), {"nargs": 1, "fdiff": fdiff, "_eval_is_real": real})


logistic: Any = _function("logistic", lambda x: logistic(x) * logistic(-x))
softplus = _function("softplus", lambda x: logistic(x))
log_cosh = _function("log_cosh", lambda x: sp.tanh(x))
#: 1 / x, but 0 at 0; and the square root whose derivative is 0 at 0, as a norm's is.
inverse: Any = _function("inverse", lambda x: -(inverse(x) ** 2))
root: Any = _function("root", lambda x: inverse(root(x)) / 2)

#: Functions of the expression language in SymPy.
FUNCTIONS: Mapping[str, Any] = {
    "abs": sp.Abs,
    "atan": sp.atan,
    "cos": sp.cos,
    "cosh": sp.cosh,
    "exp": sp.exp,
    "expm1": lambda x: sp.exp(x) - 1,
    "log": lambda x: log_cosh(x.args[0]) if isinstance(x, sp.cosh) else sp.log(x),
    "log1p": lambda x: sp.log(1 + x),
    "logistic": logistic,
    "relu": lambda x: sp.Max(x, 0),
    "sign": sp.sign,
    "sin": sp.sin,
    "sinh": sp.sinh,
    "softplus": softplus,
    "sqrt": sp.sqrt,
    "tan": sp.tan,
    "tanh": sp.tanh,
    "dot": lambda x, y: Total(x * y),
    "norm": lambda x: sp.sqrt(Total(x**2)),
    "sum": Total,
}


def to_sympy(
    expression: Expression, symbols: Mapping[str, Expr], oracles: Mapping[str, Any] | None = None
) -> Expr:
    """An expression in SymPy; all its names must be in ``symbols`` or ``oracles``."""
    functions = {**FUNCTIONS, **(oracles or {})}

    def visit(node: Node) -> Expr:
        if isinstance(node, Number):
            return sp.Rational(node.value.numerator, node.value.denominator)
        if isinstance(node, Name):
            return symbols[node.name]
        args = [visit(arg) for arg in node.args]
        if node.op == "+":
            return sp.Add(*args)
        if node.op == "*":
            return sp.Mul(*args)
        if node.op == "-":
            return -args[0]
        if node.op == "/":
            return args[0] / args[1]
        if node.op == "**":
            return args[0] ** args[1]
        return functions[node.op](*args)

    with at(f"'{expression.text[:60]}{'...' * (len(expression.text) > 60)}'"):
        value = visit(expression.tree)
    if value.has(sp.I):
        raise NotDerivableError(f"{expression.text[:200]} is no real number")
    return value


def coordinates(expr: Expr) -> frozenset[Coordinate]:
    """The vectors on whose entry an expression depends; those under a sum do not count."""
    if isinstance(expr, Total):
        return frozenset()
    if isinstance(expr, Coordinate):
        return frozenset((expr,))
    return frozenset().union(*(coordinates(arg) for arg in expr.args))


def outer_totals(expr: Expr) -> tuple[Total, ...]:
    """The sums in an expression that stand in no other sum, in a fixed order."""
    if isinstance(expr, Total):
        return (expr,)
    found: dict[Total, None] = {}
    for arg in expr.args:
        found.update(dict.fromkeys(outer_totals(arg)))
    return tuple(sorted(found, key=sp.default_sort_key))


def split_product(expr: Expr) -> tuple[Expr, Expr]:
    """The factors of a product without and with dependence on the coordinate."""
    outside: list[Expr] = []
    inside: list[Expr] = []
    for factor in sp.Mul.make_args(expr):
        (inside if coordinates(factor) else outside).append(factor)
    return sp.Mul(*outside), sp.Mul(*inside)


def is_host(expr: Expr) -> bool:
    """Whether an expression is a number before any array is read."""
    return not expr.has(Coordinate, Total)


def tidy(expr: Expr) -> Expr:
    """A scalar in its shortest of a few normal forms; never a search over rewrites."""
    if expr.is_Atom:
        return expr
    flat = sp.powsimp(sp.powdenest(sp.expand_power_base(expr, force=True), force=True), force=True)
    forms = [flat, sp.powsimp(sp.expand(expr), force=True)]
    together = sp.together(flat)
    forms += [sp.cancel(together), sp.factor(together), sp.factor_terms(flat)]
    return min(forms, key=lambda form: (sp.count_ops(form), len(str(form)), str(form)))


def tidy_scalars(expr: Expr) -> Expr:
    """Every scalar part of an expression made tidy; what depends on arrays keeps its shape."""
    if is_host(expr):
        return tidy(expr)
    if expr.is_Atom:
        return expr
    if isinstance(expr, sp.Add | sp.Mul):
        scalars = [arg for arg in expr.args if is_host(arg)]
        others = [tidy_scalars(arg) for arg in expr.args if not is_host(arg)]
        return expr.func(tidy(expr.func(*scalars)), *others)
    return expr.func(*(tidy_scalars(arg) for arg in expr.args))


def written(expr: Expr) -> str:
    """A scalar as people write it: ``1 - gamma*h``, sums over coordinates as ``sum``."""
    return str(sp.sstr(expr, order="rev-lex")).replace("Total(", "sum(")
