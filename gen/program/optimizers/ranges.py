"""Numbers that leave their range on the way to one that does not.

In: the function of a stage, or of the solution.  Out: the same for backends to print; everything
else knows the plain function.

:func:`within_range` makes array lines homogeneous where they add powers of an entry: with
``down = 1/max(|k v|, 1)`` and ``u = down v``,

    v / sqrt(delta v**2 + 1) = u / sqrt(delta u**2 + down**2),    k = sqrt(delta),

in which no power overflows; down**2 vanishes beyond ``k |v| = 1e154`` (1e19 in single precision),
where ``delta u**2`` is 1.  Where ``k |v| <= 1`` nothing changes.  (Of three powers or more the
coefficient of the highest must not vanish.)
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

from hamilforge.gen.program.ir import (
    Apply,
    Const,
    Expr,
    Function,
    Line,
    Ref,
    Select,
    entries,
    names,
    walk,
)
from hamilforge.gen.program.lower import ONE, add, constant, mul


def within_range(function: Function) -> Function:
    """A function whose array lines overflow no sooner than what they compute."""
    lines: list[Line] = []
    computed = sorted(line.name for line in function.lines if not line.target.is_scalar)
    scaled = [_Entry(name) for name in (*function.arrays, *computed)]
    for line in function.lines:
        expr = line.expr
        if not line.target.is_scalar:
            for entry in scaled:
                expr = entry.homogeneous(expr)
                lines += entry.taken_lines()
        lines.append(replace(line, value=expr))
    return replace(function, lines=tuple(lines))


@dataclass(frozen=True, slots=True)
class _Graded:
    """``value / down**degree``.

    Attributes:
        mixed: whether powers of different degrees are added in it.
    """

    value: Expr
    degree: Fraction
    mixed: bool = False


@dataclass(slots=True)
class _Entry:
    """The entries of an array, and the scales they are divided by.

    Attributes:
        scales: what an entry is multiplied by before its size is looked at; each has a scaled
            entry of its own.
        lines: those of scales and scaled entries that are not in the function yet.
    """

    name: str
    scales: list[Expr] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    def taken_lines(self) -> list[Line]:
        """The new lines, once."""
        lines, self.lines = self.lines, []
        return lines

    def homogeneous(self, expr: Expr) -> Expr:
        """The terms of a line that add powers of an entry, each in the scaled entry."""
        match expr:
            case Apply(op="add" | "neg" as op, args=args):
                return Apply(op, tuple(map(self.homogeneous, args)))
        graded = _Grading(self.name, "", "").graded(expr)
        if graded is None or not graded.mixed:
            return expr
        grading = self._grading(_size(expr, self.name))
        graded = grading.graded(expr)
        assert graded is not None
        return grading.times_down(graded.value, -graded.degree)

    def _grading(self, scale: Expr) -> _Grading:
        """The names of the scale and the scaled entry; their lines are added where they are new."""
        new = scale not in self.scales
        if new:
            self.scales.append(scale)
        number = self.scales.index(scale) + 1
        end = f"_{number}" if number > 1 else ""
        grading = _Grading(self.name, f"{self.name}__down{end}", f"{self.name}__unit{end}")
        if new:
            entry = Ref(self.name)
            down, unit = Apply("down", (mul(scale, entry),)), mul(Ref(grading.down), entry)
            self.lines += [
                Line(entries(grading.down), down, f"scale of {self.name}"),
                Line(entries(grading.unit), unit, f"{self.name}, scaled"),
            ]
        return grading


def _size(expr: Expr, name: str) -> Expr:
    """``k`` for which powers of ``k |v|`` are about as large as the terms added to 1.

    That is the sum of ``|c|**(1/d)`` over all added terms ``c v**d``; 1 where a term is none.
    """
    terms = [term for part in walk(expr) for term in _added(part) if name in names(term)]
    sizes = dict.fromkeys(_size_of_term(term, name) for term in terms)
    if any(not names(size) for size in sizes):
        return ONE
    return add(*sizes)


def _flat(factors: list[Expr]) -> list[Expr]:
    """The factors of factors."""
    nested = (
        factor.args if isinstance(factor, Apply) and factor.op == "mul" else (factor,)
        for factor in factors
    )
    return [factor for group in nested for factor in group]


def _added(expr: Expr) -> tuple[Expr, ...]:
    return expr.args if isinstance(expr, Apply) and expr.op == "add" else ()


def _size_of_term(term: Expr, name: str) -> Expr:
    """``|c|**(1/d)`` of ``c v**d``."""
    factors = term.args if isinstance(term, Apply) and term.op == "mul" else (term,)
    coefficients = [factor for factor in factors if name not in names(factor)]
    powers = mul(*(factor for factor in factors if name in names(factor)))
    graded = _Grading(name, "", "").graded(powers)
    if graded is None or graded.mixed or graded.degree <= 0 or not coefficients:
        return ONE
    return Apply("pow", (Apply("abs", (mul(*coefficients),)), Const(1 / graded.degree)))


@dataclass(frozen=True, slots=True)
class _Grading:
    """Expressions in a scaled entry.

    Attributes:
        name: of the entry.
        down, unit: of its scale and of the scaled entry.
    """

    name: str
    down: str
    unit: str

    def graded(self, expr: Expr) -> _Graded | None:
        """An expression in the scaled entry; None where it is no sum of powers."""
        if self.name not in names(expr):
            return _Graded(expr, Fraction(0))
        match expr:
            case Ref():
                return _Graded(Ref(self.unit), Fraction(1))
            case Apply(op="neg", args=(arg,)):
                part = self.graded(arg)
                return part and replace(part, value=Apply("neg", (part.value,)))
            case Apply(op="sqrt", args=(arg,)):
                part = self.graded(arg)
                return part and _Graded(Apply("sqrt", (part.value,)), part.degree / 2, part.mixed)
            case Apply(op="pow", args=(base, Const(value=exponent) as power)):
                part = self.graded(base)
                return part and _Graded(
                    Apply("pow", (part.value, power)), part.degree * exponent, part.mixed
                )
            case Apply(op="add" | "mul" | "div" as op, args=args):
                parts = [self.graded(arg) for arg in args]
                known = [part for part in parts if part is not None]
                return self._combined(op, known) if len(known) == len(parts) else None
            case Select(subject=Ref(name=subject)) if subject == self.name:
                then, otherwise = self.graded(expr.then), self.graded(expr.otherwise)
                if then is None or otherwise is None or expr.value:
                    return None
                if then.value != constant(0):
                    return None
                value = Select(Ref(self.unit), expr.value, then.value, otherwise.value)
                return _Graded(value, otherwise.degree, otherwise.mixed)
        return None

    def _combined(self, op: str, parts: list[_Graded]) -> _Graded:
        mixed = any(part.mixed for part in parts)
        values = tuple(part.value for part in parts)
        degrees = [part.degree for part in parts]
        if op == "mul":
            return _Graded(self._product(values), sum(degrees, Fraction(0)), mixed)
        if op == "div":
            return _Graded(Apply("div", values), degrees[0] - degrees[1], mixed)
        degree = max(degrees)
        terms = (self.times_down(part.value, degree - part.degree) for part in parts)
        overflows = len(set(degrees)) > 1 and degree > 1
        return _Graded(Apply("add", tuple(terms)), degree, mixed or overflows)

    def _product(self, factors: tuple[Expr, ...]) -> Expr:
        """A product of which no part overflows before a small coefficient is in it.

        Numerators come first, in them coefficients, and powers of the entry one by one: 0 times
        the power of an entry that was not scaled for it is then 0.
        """
        over: list[Expr] = []
        under: list[Expr] = []
        for factor in factors:
            if isinstance(factor, Apply) and factor.op == "div":
                over.append(factor.args[0])
                under.append(factor.args[1])
            else:
                over.append(factor)
        product = mul(*self._chained(_flat(over)))
        return Apply("div", (product, mul(*under))) if under else product

    def _chained(self, factors: list[Expr]) -> list[Expr]:
        chained = [factor for factor in factors if self._exponent(factor) is None]
        for exponent in filter(None, map(self._exponent, factors)):
            chained += [Ref(self.unit)] * int(exponent)
            if exponent % 1:
                chained.append(Apply("pow", (Ref(self.unit), Const(exponent % 1))))
        return chained

    def _exponent(self, expr: Expr) -> Fraction | None:
        """The exponent of a positive power of the scaled entry; None for anything else."""
        match expr:
            case Ref(name=name) if name == self.unit:
                return Fraction(1)
            case Apply(op="pow", args=(Ref(name=name), Const(value=exponent))):
                return exponent if name == self.unit and exponent > 0 else None
        return None

    def times_down(self, expr: Expr, power: Fraction) -> Expr:
        """``expr * down**power``."""
        if power == 0:
            return expr
        down: Expr = Ref(self.down)
        factor = down if abs(power) == 1 else Apply("pow", (down, Const(abs(power))))
        if power < 0:
            return Apply("div", (expr, factor))
        match expr:
            case Const(value=value) if value == 1:
                return factor
            case Apply(op="neg", args=(arg,)):
                return Apply("neg", (self.times_down(arg, power),))
        return mul(expr, factor)
