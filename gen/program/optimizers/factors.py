"""Factors that are no normal number of the arrays' type, in two steps.

In: the function of a stage, or of the solution.  Out: the same for backends to print:
:func:`with_powers` writes each factor of entries that follows from sums as two,
``drift * v * drift__power``: the second is 1 where the first is a normal number of the type, and a
power of two elsewhere.
"""

from __future__ import annotations

from dataclasses import replace

from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.program.ir import Apply, Expr, Function, Reduce, Ref, Select, names
from hamilforge.gen.program.lower import mul


def power_of(name: str) -> str:
    """What the power of two beside a factor is called; no declared name has ``__``."""
    return f"{name}__power"


def with_powers(function: Function) -> Function:
    """A function whose array lines multiply factors that follow from sums in two steps.

    Returns:
        The function; the powers are further scalars that it is given.
    """
    factors = [line.name for line in function.lines if line.target.is_scalar]

    def closed(expr: Expr) -> Expr:
        if isinstance(expr, Apply) and expr.op == "neg":
            return Apply("neg", (closed(expr.args[0]),))
        value, powers = split(expr)
        return mul(value, *powers)

    def split(expr: Expr) -> tuple[Expr, list[Expr]]:
        match expr:
            case Ref(name=name) if name in factors:
                return expr, [Ref(power_of(name))]
            case Apply(op="mul" | "neg" as op, args=args):
                parts = [split(arg) for arg in args]
                product = Apply(op, tuple(part for part, _ in parts))
                return product, [power for _, powers in parts for power in powers]
            case Apply(op="div", args=(over, under)):
                value, powers = split(over)
                return Apply("div", (value, closed(under))), powers
            case Apply(op=op, args=args):
                return Apply(op, tuple(map(closed, args))), []
            case Select(subject, value, then, otherwise):
                return Select(closed(subject), value, closed(then), closed(otherwise)), []
        return expr, []

    lines = []
    for line in function.lines:
        if isinstance(line.value, Reduce) and {*factors} & {*names(line.value)}:
            raise NotImplementedError(f"a sum over what follows from a sum: {line.name}")
        lines.append(line if line.target.is_scalar else replace(line, value=closed(line.expr)))
    inputs = (*function.inputs, *(Array(power_of(factor)) for factor in factors))
    return replace(function, inputs=inputs, lines=tuple(lines))
