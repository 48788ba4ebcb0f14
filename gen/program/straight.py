"""SymPy expressions become one straight-line function over scalars, subexpressions shared.

In: inputs, and the results by name.  Out: a :class:`Function` without arrays: each line once, each
local named after what it is (``cos_theta``, ``x_squared``, ``root``, ``sum_2``).  Powers of square
roots share the root: (x^2 + y^2)^(-3/2) is ``1/root**3``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy as sp

from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.derive.calculus import Expr
from hamilforge.gen.program.ir import Function, Line
from hamilforge.gen.program.lower import Root, lower

_KINDS = ((sp.Add, "sum"), (sp.Mul, "product"), (Root, "root"), (sp.Pow, "power"))
_POWERS = {2: "squared", 3: "cubed"}


def straight(name: str, inputs: Sequence[str], results: Mapping[str, Expr]) -> Function:
    """One function for several expressions.

    Args:
        name: of the function.
        inputs: its arguments.
        results: the expressions by the names they are returned under, in order.

    Returns:
        The function, without arrays; subexpressions that occur twice have a line of their own.
    """
    values = [_with_roots(sp.sympify(value)) for value in results.values()]
    numbered = (sp.Symbol(f"shared {k}") for k in range(10**6))
    shared, reduced = sp.cse(values, symbols=numbered, order="canonical", list=True)
    taken = {*inputs, *results}
    names: dict[sp.Symbol, str] = {}
    lines = []
    for symbol, value in shared:
        local = _name(value, names)
        base, number = local, 2
        while local in taken:
            local, number = f"{base}_{number}", number + 1
        taken.add(local)
        lines.append(Line(Array(local), lower(value, names)))
        names[symbol] = local
    for result, value in zip(results, reduced, strict=True):
        lines.append(Line(Array(result), lower(value, names)))
    ends = tuple((result, Array(result)) for result in results)
    return Function(name, tuple(map(Array, inputs)), tuple(lines), ends)


def _with_roots(expr: Expr) -> Expr:
    """Powers with half-integer exponents as powers of a root, so that the root is shared."""

    def halved(part: Expr) -> bool:
        return bool(part.is_Pow and part.exp.is_Rational and part.exp.q == 2)

    return expr.replace(halved, lambda part: Root(part.base) ** part.exp.p)


def _name(value: Expr, names: Mapping[sp.Symbol, str]) -> str:
    """What a shared expression is called."""
    if value.is_Pow and value.base.is_Symbol and value.exp in _POWERS:
        return f"{_short(value.base, names)}_{_POWERS[int(value.exp)]}"
    if value.is_Mul and len(value.args) == 2 and value.args[0] == -1 and value.args[1].is_Symbol:
        return f"minus_{_short(value.args[1], names)}"
    for kind, word in _KINDS:
        if isinstance(value, kind):
            return word
    word = type(value).__name__.lower()
    (argument,) = value.args[:1]
    return f"{word}_{_short(argument, names)}" if argument.is_Symbol else word


def _short(symbol: sp.Symbol, names: Mapping[sp.Symbol, str]) -> str:
    return names.get(symbol, symbol.name)
