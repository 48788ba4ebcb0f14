"""What the form in place must know of a function: products as terms, and how long lists live.

In: the function of a stage.  Out: its sums as terms, which lists are named how often, in whose
place a line may be, and the function with terms taken before what they read is overwritten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from hamilforge.gen.emit.torch.optimizers.lists import plurals
from hamilforge.gen.program.ir import Apply, Const, Expr, Function, Line, Ref, names, walk
from hamilforge.gen.program.lower import ONE

TWO = Const(Fraction(2))


@dataclass(frozen=True, slots=True)
class Term:
    """A product of scalars and entries.

    Attributes:
        scalars, under: host scalars above and below the line of the fraction.
        factors: scalars that follow from sums.
        entries, divisors: what has entries, above and below the line.
        negative: its sign.
    """

    scalars: tuple[Expr, ...] = ()
    under: tuple[Expr, ...] = ()
    factors: tuple[Expr, ...] = ()
    entries: tuple[Expr, ...] = ()
    divisors: tuple[Expr, ...] = ()
    negative: bool = False

    def __mul__(self, other: Term) -> Term:
        return Term(
            self.scalars + other.scalars,
            self.under + other.under,
            self.factors + other.factors,
            self.entries + other.entries,
            self.divisors + other.divisors,
            self.negative != other.negative,
        )

    def __truediv__(self, other: Term) -> Term:
        """The quotient, where no factor below the line follows from sums."""
        return self * Term(
            other.under, other.scalars, (), other.divisors, other.entries, other.negative
        )

    @property
    def coefficient(self) -> Expr | None:
        """The host scalars and the sign as one number; None for 1."""
        value = multiplied(self.scalars)
        if self.under:
            value = Apply("div", (value or ONE, multiplied(self.under) or ONE))
        if self.negative:
            value = Const(Fraction(-1)) if value is None else Apply("neg", (value,))
        return value

    @property
    def is_single(self) -> bool:
        """Whether it has entries of one expression only."""
        return len(self.entries) == 1 and not self.divisors


def multiplied(values: Sequence[Expr]) -> Expr | None:
    """The product of some values; None of none."""
    if len(values) > 1:
        return Apply("mul", tuple(values))
    return values[0] if values else None


def occurrences(expr: Expr) -> Counter[str]:
    """How often a list is named where an expression is written: in a square twice."""
    squares = (
        part.args[0]
        for part in walk(expr)
        if isinstance(part, Apply) and part.op == "pow" and part.args[1] == TWO
    )
    named = (*walk(expr), *squares)
    return Counter(part.name for part in named if isinstance(part, Ref))


def homes(function: Function, owned: Sequence[str]) -> dict[str, str]:
    """For the lines that lead to the result of an owned array: the list in whose place they may be.

    These are the result itself, and what is read by one of them alone.
    """
    plural = plurals(function)
    homes = {array.name: plural[key] for key, array in function.results if key in owned}
    readers: dict[str, list[str]] = {}
    for line in function.lines:
        for name in names(line.value):
            readers.setdefault(name, []).append(line.name)
    for line in reversed(function.lines):
        reading = readers.get(line.name, [])
        if line.name not in homes and len(reading) == 1 and reading[0] in homes:
            homes[line.name] = homes[reading[0]]
    return homes


def with_early_terms(function: Function, owned: Sequence[str]) -> Function:
    """A function in which sums take their first terms of an old array before it is overwritten.

    ``v_new = a*v - b*g; x_new = x - c*v + d*v_new`` becomes ``x_part = x - c*v; v_new = a*v - b*g;
    x_new = x_part + d*v_new``: the same sums in the same order.
    """
    lines = list(function.lines)
    becomes = {array.name: key for key, array in function.results if key in owned}
    for number, line in enumerate(function.lines):
        old = becomes.get(line.name)
        if old is None or old not in names(line.value):
            continue
        known = {*function.names} - {x.name for x in function.lines[number:]}
        for later in function.lines[number + 1 :]:
            if old not in names(later.value):
                continue
            split = _split(later, known) if later.name in becomes else None
            if split is None:
                break
            early, rest = split
            if old in names(rest.value):
                break
            lines[lines.index(later)] = rest
            lines.insert(lines.index(line), early)
    return replace(function, lines=tuple(lines))


def _split(line: Line, known: set[str]) -> tuple[Line, Line] | None:
    """A sum as that of its first terms, which read only what is known, and the rest."""
    match line.value:
        case Apply(op="add", args=args):
            count = next((k for k, arg in enumerate(args) if not {*names(arg)} <= known), len(args))
            if 1 < count < len(args):
                part = replace(line.target, name=f"{line.name}__part")
                early = replace(line, target=part, value=Apply("add", args[:count]))
                rest = Apply("add", (Ref(part.name), *args[count:]))
                return early, replace(line, value=rest)
    return None
