"""Finished scalars: finite on the closed domain of the hyper-parameters.

A scalar such as ``(1 - exp(-gamma*h))/gamma`` has a limit where its formula has none.  In: a host
scalar and the symbols whose domain includes zero.  Out: the same with a choice for each such zero,
its value the limit that SymPy takes.  Limits are taken of the finished scalar only, never of the
step or the friction by itself: those may be infinite where the program is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import sympy as sp

from hamilforge.gen.declare.errors import DeclarationError, NotDerivableError
from hamilforge.gen.declare.functions import CHOICE
from hamilforge.gen.derive.calculus import FUNCTIONS, Expr, limit, tidy
from hamilforge.gen.program.ir import Expr as IrExpr
from hamilforge.gen.program.ir import Ref, Select
from hamilforge.gen.program.lower import lower

_INFINITE = (sp.nan, sp.zoo, sp.oo, -sp.oo)


def finish(
    expr: Expr, zeros: Sequence[sp.Symbol], numbers: Mapping[sp.Symbol, Expr], where: str
) -> IrExpr:
    """The scalar in the IR, with a choice for each symbol of ``zeros`` that needs a limit.

    Args:
        expr: a host scalar.
        zeros: the symbols whose domain includes zero.
        numbers: rational values of the named constants, for the signs of exponents.
        where: the declaration, for errors.

    Returns:
        The scalar; choices are nested, one for each zero that needs a limit.

    Raises:
        DeclarationError: the scalar is infinite there.
        NotDerivableError: no limit is known.
    """
    for symbol in zeros:
        if symbol not in expr.free_symbols or regular(expr.xreplace(numbers), symbol):
            continue
        try:
            end = limit(expr.xreplace(numbers), symbol, 0)
        except NotDerivableError as error:
            raise NotDerivableError(
                f"{error}, which the domain of {symbol} includes; choose a domain without 0"
            ) from error
        if end.has(*_INFINITE):
            raise DeclarationError.single(
                where,
                f"the scalar {expr} is infinite at {symbol} = 0, which the domain of {symbol} "
                "includes; choose a domain without 0",
            )
        if end.has(sp.Float) or (set(numbers) & expr.free_symbols and not end.is_Integer):
            end = limit(expr, symbol, 0)
        rest = [other for other in zeros if other != symbol]
        return Select(
            Ref(symbol.name),
            Fraction(0),
            finish(tidy(end), rest, numbers, where),
            finish(expr, rest, numbers, where),
        )
    return lower(expr)


def regular(expr: Expr, symbol: sp.Symbol) -> bool:
    """Whether a formula can be evaluated where ``symbol`` is zero."""
    return _at_zero(expr, symbol) is not None


def _choice_at_zero(expr: Expr, symbol: sp.Symbol) -> Expr:
    """A choice at zero: where that decides it, only the branch that is taken."""
    test = _at_zero(expr.args[0], symbol)
    if test is not None and test.is_number:
        return _at_zero(expr.args[1] if test > 0 else expr.args[2], symbol)
    branches = [_at_zero(branch, symbol) for branch in expr.args[1:]]
    return None if test is None or None in branches else expr.func(test, *branches)


def _at_zero(expr: Expr, symbol: sp.Symbol) -> Expr:
    """The value at zero, each subexpression evaluated as floating-point numbers would be."""
    if expr == symbol:
        return sp.Integer(0)
    if not expr.args or symbol not in expr.free_symbols:
        return expr
    if type(expr) is FUNCTIONS[CHOICE]:
        return _choice_at_zero(expr, symbol)
    args: list[Expr] = [_at_zero(arg, symbol) for arg in expr.args]
    if any(arg is None for arg in args):
        return None
    if isinstance(expr, sp.Pow) and args[0] == 0 and not args[1].is_nonnegative:
        return None
    if isinstance(expr, sp.log) and args[0] == 0:
        return None
    value = expr.func(*args)
    return None if value.has(*_INFINITE) else value
