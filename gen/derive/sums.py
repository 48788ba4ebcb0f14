"""Sums of many terms: shown to be zero group by group, and written shortly where they are not.

In: products of two factors.  Out: their sum in a short form, 0 where it vanishes.  With D for the
base of every power that is no polynomial, a term is

    c D_1^(e_1) ... D_k^(e_k),    c a polynomial, in functions too,

and terms whose exponents differ by integers are a group.  A group is multiplied by the lowest power
of each base; what is left is a polynomial, and is multiplied out.  So the work follows the number
of terms: bodies attract each other in pairs, and each pair is a group of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import sympy as sp

from hamilforge.gen.derive.calculus import Expr

#: Sums of more operations are not searched for a shorter form once numbers show that they are not
#: zero.
SMALL = 20
#: The digits of numbers that are put in, and what may be their rounding.
DIGITS, ROUNDING = 40, 1e-20
#: The most terms that a term of a group may have when it is multiplied out.
MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Term:
    """``factor * prod base^(number + symbols)``, a base with its number and its symbols."""

    whole: Expr
    factor: Expr
    powers: Mapping[Expr, tuple[sp.Rational, Expr]]

    @property
    def bases(self) -> frozenset[Expr]:
        """The bases."""
        return frozenset(self.powers)

    @property
    def residues(self) -> frozenset[tuple[Expr, sp.Rational, Expr]]:
        """What of the exponents is no integer."""
        parts = ((base, number % 1, more) for base, (number, more) in self.powers.items())
        return frozenset(part for part in parts if part[1:] != (0, 0))


def shortest(products: Iterable[tuple[Expr, Expr]]) -> Expr:
    """The sum of some products, in a short form.

    Groups of terms that vanish are left out.  What is left is simplified if it is small, or if
    numbers do not show that it is something.
    """
    rest = remaining(
        first_term * second_term
        for first, second in products
        for first_term in sp.Add.make_args(first)
        for second_term in sp.Add.make_args(second)
    )
    whole = sp.Add(*rest)
    something = bool(rest) and differs(whole)
    if not something and _vanishes_whole(whole):
        return sp.S.Zero
    return whole if something and sp.count_ops(whole) > SMALL else sp.simplify(whole)


def remaining(terms: Iterable[Expr]) -> tuple[Expr, ...]:
    """The terms in groups that do not vanish, by the bases they share, then by exponents alone."""
    whole = sp.Add(*terms)
    if whole == 0:
        return ()
    bases: dict[Expr, Expr] = {}
    rest = [_factored(term, bases) for term in sp.Add.make_args(whole)]
    rest = _without_groups(rest, lambda term: (term.bases, term.residues))
    rest = _without_groups(rest, lambda term: term.residues)
    return tuple(term.whole for term in rest)


def differs(expr: Expr) -> bool:
    """Whether numbers show that an expression is not zero: one in functions that SymPy knows."""
    if any(not type(call).__module__.startswith("sympy.") for call in expr.atoms(sp.Function)):
        return False
    symbols = sorted(expr.free_symbols, key=str)
    numbers = {symbol: sp.Rational(2 * k + 3, k + 7) for k, symbol in enumerate(symbols)}
    value = expr.evalf(DIGITS, subs=numbers)
    return bool(value.is_Float and abs(value) > ROUNDING)


def _vanishes_whole(expr: Expr) -> bool:
    return sp.expand(expr) == 0 or sp.numer(sp.together(expr)).expand() == 0


def _without_groups(terms: Sequence[_Term], key: Callable[[_Term], Hashable]) -> list[_Term]:
    groups: dict[Hashable, list[_Term]] = {}
    for term in terms:
        groups.setdefault(key(term), []).append(term)
    return [term for group in groups.values() if not _vanishes(group) for term in group]


def _vanishes(group: Sequence[_Term]) -> bool:
    """Whether a group's polynomial is zero; one that would be too long is not known to be."""
    if len(group) == 1:
        return False
    zero = sp.S.Zero
    bases = {base for term in group for base in term.powers}
    lowest = {base: min(term.powers.get(base, (zero, zero))[0] for term in group) for base in bases}
    polynomials = []
    for term in group:
        length, product = 1, term.factor
        for base in bases:
            number, _ = term.powers.get(base, (zero, zero))
            exponent = int(number - lowest[base])
            length *= len(sp.Add.make_args(base)) ** exponent
            product *= base**exponent
        if length > MOST:
            return False
        polynomials.append(product)
    return bool(sp.expand(sp.Add(*polynomials)) == 0)


def _factored(term: Expr, bases: dict[Expr, Expr]) -> _Term:
    """A term as a polynomial times powers; ``bases`` keeps what bases are when multiplied out."""
    factor, powers = sp.S.One, dict[Expr, tuple[sp.Rational, Expr]]()
    for part in sp.Mul.make_args(term):
        base, exponent = part.as_base_exp()
        if base.is_Symbol or base.is_number or (exponent.is_Integer and exponent > 0):
            factor *= part
            continue
        if base not in bases:
            bases[base] = sp.expand(base)
        base = bases[base]
        if exponent.is_Integer and base.could_extract_minus_sign():
            base, factor = -base, factor * sp.S.NegativeOne**exponent
        number, symbols = exponent.as_coeff_Add(rational=True)
        before = powers.get(base, (sp.S.Zero, sp.S.Zero))
        powers[base] = (before[0] + number, before[1] + symbols)
    return _Term(term, factor, powers)
