"""Entries whose powers leave their range: the same function, of entries that are scaled first.

In: the function of a stage, or of the solution.  Out: the same with each array line homogeneous
where it adds powers of an entry: with ``down = 1/max(|v|, 1)`` and ``u = down v``,

    v / sqrt(delta v**2 + 1) = u / sqrt(delta u**2 + down**2),

in which no power overflows; down**2 vanishes beyond 1e154 (1e19 in single precision), where delta
must not.  Nothing else changes, nor where |v| <= 1.  Backends print what this
gives; everything else knows the plain function.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from hamilforge.gen.program.ir import Apply, Assign, Const, Expr, Function, Ref, Select, walk
from hamilforge.gen.program.lower import constant, mul


def within_range(function: Function) -> Function:
    """A function whose array lines overflow no sooner than what they compute."""
    body: list[Assign] = []
    targets = {line.target for line in function.body if line.level == "array"}
    for line in function.body:
        value = line.value
        scaled: list[str] = []
        if line.level == "array":
            for name in (*function.arrays, *sorted(targets)):
                homogeneous = _homogeneous(value, name)
                if homogeneous != value:
                    value, scaled = homogeneous, [*scaled, name]
        known = {line.target for line in body}
        for name in scaled:
            down, unit = _down(name), _unit(name)
            if down not in known:
                body += [
                    Assign(down, Apply("down", (Ref(name),)), "array", f"scale of {name}"),
                    Assign(unit, mul(Ref(down), Ref(name)), "array", f"{name}, scaled"),
                ]
        body.append(replace(line, value=value))
    return replace(function, body=tuple(body))


def _down(name: str) -> str:
    return f"{name}__down"


def _unit(name: str) -> str:
    return f"{name}__unit"


@dataclass(frozen=True, slots=True)
class _Graded:
    """``value / down**degree``.

    Attributes:
        mixed: whether powers of different degrees are added in it.
    """

    value: Expr
    degree: Fraction
    mixed: bool = False


def _homogeneous(expr: Expr, name: str) -> Expr:
    """The terms of a line that add powers of an entry, each in the scaled entry."""
    match expr:
        case Apply(op="add" | "neg" as op, args=args):
            return Apply(op, tuple(_homogeneous(arg, name) for arg in args))
        case Apply(op="mul", args=args) if any(name not in _names(arg) for arg in args):
            return Apply("mul", tuple(_homogeneous(arg, name) for arg in args))
    graded = _graded(expr, name)
    if graded is None or not graded.mixed:
        return expr
    return _times_down(graded.value, name, -graded.degree)


def _names(expr: Expr) -> set[str]:
    return {part.name for part in walk(expr) if isinstance(part, Ref)}


def _graded(expr: Expr, name: str) -> _Graded | None:
    """An expression in the scaled entry; None where it is no sum of powers."""
    if name not in _names(expr):
        return _Graded(expr, Fraction(0))
    match expr:
        case Ref():
            return _Graded(Ref(_unit(name)), Fraction(1))
        case Apply(op="neg", args=(arg,)):
            part = _graded(arg, name)
            return part and replace(part, value=Apply("neg", (part.value,)))
        case Apply(op="sqrt", args=(arg,)):
            part = _graded(arg, name)
            return part and _Graded(Apply("sqrt", (part.value,)), part.degree / 2, part.mixed)
        case Apply(op="pow", args=(base, Const(value=exponent) as power)):
            part = _graded(base, name)
            return part and _Graded(
                Apply("pow", (part.value, power)), part.degree * exponent, part.mixed
            )
        case Apply(op="add" | "mul" | "div" as op, args=args):
            parts = [_graded(arg, name) for arg in args]
            known = [part for part in parts if part is not None]
            return _combined(op, known, name) if len(known) == len(parts) else None
        case Select(subject=Ref(name=subject)) if subject == name:
            then, otherwise = _graded(expr.then, name), _graded(expr.otherwise, name)
            if then is None or otherwise is None or expr.value:
                return None
            if then.value != constant(0):
                return None
            value = Select(Ref(_unit(name)), expr.value, then.value, otherwise.value)
            return _Graded(value, otherwise.degree, otherwise.mixed)
    return None


def _combined(op: str, parts: list[_Graded], name: str) -> _Graded:
    mixed = any(part.mixed for part in parts)
    values = tuple(part.value for part in parts)
    degrees = [part.degree for part in parts]
    if op == "mul":
        return _Graded(Apply("mul", values), sum(degrees, Fraction(0)), mixed)
    if op == "div":
        return _Graded(Apply("div", values), degrees[0] - degrees[1], mixed)
    degree = max(degrees)
    terms = (_times_down(part.value, name, degree - part.degree) for part in parts)
    return _Graded(Apply("add", tuple(terms)), degree, mixed or len(set(degrees)) > 1)


def _times_down(expr: Expr, name: str, power: Fraction) -> Expr:
    """``expr * down**power``."""
    if power == 0:
        return expr
    down: Expr = Ref(_down(name))
    factor = down if abs(power) == 1 else Apply("pow", (down, Const(abs(power))))
    if power < 0:
        return Apply("div", (expr, factor))
    match expr:
        case Const(value=value) if value == 1:
            return factor
        case Apply(op="neg", args=(arg,)):
            return Apply("neg", (_times_down(arg, name, power),))
    return mul(expr, factor)
