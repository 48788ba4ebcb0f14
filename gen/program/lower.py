"""SymPy expressions become IR expressions.

In: an expression and the name of each symbol.  Out: the same in the IR, in a fixed order of terms,
with quotients and roots written as such and ``exp(x) - 1``, ``log(1 + x)`` as ``expm1``, ``log1p``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import sympy as sp
from sympy.codegen.cfunctions import expm1, log1p
from sympy.codegen.rewriting import expm1_opt, log1p_opt, optimize

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.functions import CHOICE, CONDITIONS
from hamilforge.gen.derive.calculus import CONSTANT_VALUES, FORMS, NAMES, Total, expanded
from hamilforge.gen.program.ir import Apply, Const, Expr, Reduce, Ref, Select


class _Expm1(sp.Function):
    """exp(x) - 1 that SymPy leaves as it is."""

    nargs = 1


class Root(sp.Function):
    """A square root that is a subexpression of its own."""

    nargs = 1


_FUNCTIONS: Mapping[type, str] = {
    **NAMES,
    Root: "sqrt",
    _Expm1: "expm1",
    expm1: "expm1",
    log1p: "log1p",
}
_CONSTANTS = {value: name for name, value in CONSTANT_VALUES.items()}
ONE = Const(Fraction(1))
#: The most generators (symbols, calls, roots) of a polynomial that is factored, and its most terms
#: and highest degree when multiplied out.
FACTORED, TERMS, DEGREE = 6, 500, 64
#: The most arguments of one sum or product.
LONG = 64
#: Integers up to here are numbers in double precision.
WHOLE = 2**53


def constant(value: int | Fraction) -> Const:
    """An exact number in the IR."""
    return Const(Fraction(value))


def add(*terms: Expr) -> Expr:
    """A sum."""
    return terms[0] if len(terms) == 1 else _grouped("add", terms)


def mul(*factors: Expr) -> Expr:
    """A product; factors of one are dropped."""
    kept = tuple(factor for factor in factors if factor != ONE)
    return kept[0] if len(kept) == 1 else _grouped("mul", kept) if kept else ONE


def _grouped(op: str, args: tuple[Expr, ...]) -> Expr:
    """A sum or a product; a long one of shorter ones, as compilers descend into each argument."""
    if len(args) <= LONG:
        return Apply(op, args)
    size = math.isqrt(len(args) - 1) + 1
    groups = (args[k : k + size] for k in range(0, len(args), size))
    return Apply(op, tuple(Apply(op, group) if len(group) > 1 else group[0] for group in groups))


def scaled(factor: Expr, value: Expr) -> Expr:
    """A factor times a value: numbers multiplied out, a sign in front.

    Args:
        factor: a number, or what stands for one.
        value: what is multiplied.

    Returns:
        The product.
    """
    match factor, value:
        case Const(value=left), Const(value=right):
            return constant(left * right)
        case Const(value=number), _ if number == 1:
            return value
        case Const(value=number), _ if number < 0:
            return negative(scaled(constant(-number), value))
        case Apply(op="neg", args=(arg,)), _:
            return negative(scaled(arg, value))
    return mul(factor, value)


def negative(expr: Expr) -> Expr:
    """The negative of an expression."""
    if isinstance(expr, Const):
        return Const(-expr.value)
    return expr.args[0] if isinstance(expr, Apply) and expr.op == "neg" else Apply("neg", (expr,))


def lower(expr: sp.Expr, rename: Mapping[sp.Symbol, str] | None = None) -> Expr:
    """An expression in the IR; a symbol keeps its name unless ``rename`` has another."""
    return _lower(_rewritten(_keep_digits(expanded(expr))), rename or {})


@functools.lru_cache(maxsize=FORMS)
def _rewritten(expr: sp.Expr) -> sp.Expr:
    """An expression with expm1 and log1p where they help, and factored where that is shorter.

    SymPy's rewriting factors a polynomial, which takes for ever in many generators, terms or
    degrees: there, common factors are taken out of sums, and that is all.  No form is taken whose
    integers are too long for double precision where those of the expression are not.
    """
    longest = max(WHOLE, _longest(expr))
    if _is_factored(expr):
        form = optimize(expr, [expm1_opt, log1p_opt])
        if _longest(form) <= longest:
            return form
    expr = expr.replace(expm1_opt.query, expm1_opt.value)
    expr = expr.replace(
        lambda part: isinstance(part, sp.log) and part.args[0].is_Add and 1 in part.args[0].args,
        lambda part: log1p(part.args[0] - 1),
    )
    forms = (form for form in (expr, sp.factor_terms(expr)) if _longest(form) <= longest)
    return min(forms, key=sp.count_ops, default=expr)


def _longest(expr: sp.Expr) -> int:
    """The largest integer of an expression: a numerator or a denominator."""
    return max((max(abs(n.p), n.q) for n in expr.atoms(sp.Rational)), default=1)


def _is_factored(expr: sp.Expr) -> bool:
    """Whether all polynomials in an expression are small enough to be factored."""
    if len(expr.free_symbols) > FACTORED:
        return False
    outer = _Size.of(expr)
    sizes = [outer]
    todo = list(outer.generators)
    while todo and sizes[-1].is_small:
        arguments = [arg for arg in todo.pop().args if not arg.is_Atom]
        inner = [_Size.of(arg) for arg in arguments]
        sizes += inner
        todo += [generator for size in inner for generator in size.generators]
    return all(size.is_small for size in sizes)


@dataclass(frozen=True, slots=True)
class _Size:
    """A polynomial's generators, its degree, and how many terms it has when multiplied out."""

    generators: frozenset[sp.Expr]
    degree: int
    terms: int

    @classmethod
    def of(cls, expr: sp.Expr) -> _Size:
        """The size of an expression."""
        if expr.is_number:
            return cls(frozenset(), 0, 1)
        if expr.is_Pow and expr.exp.is_Integer:
            base, times = cls.of(expr.base), min(abs(int(expr.exp)), DEGREE + 1)
            return cls(base.generators, base.degree * times, min(base.terms**times, TERMS + 1))
        if not isinstance(expr, sp.Add | sp.Mul):
            return cls(frozenset((expr,)), cls._power(expr.as_base_exp()[1]), 1)
        parts = [cls.of(arg) for arg in expr.args]
        generators = frozenset().union(*(part.generators for part in parts))
        if expr.is_Add:
            terms = sum(part.terms for part in parts)
            return cls(generators, max(part.degree for part in parts), terms)
        terms = min(math.prod(part.terms for part in parts), TERMS + 1)
        return cls(generators, sum(part.degree for part in parts), terms)

    @classmethod
    def _power(cls, exponent: sp.Expr) -> int:
        """The degree of a power in what SymPy takes for its generators.

        ``exp(200 x/3)`` is the power 200 of ``exp(x/3)``; an exponent is multiplied out.
        """
        size = cls.of(exponent)
        if size.degree > DEGREE or size.terms > TERMS:
            return DEGREE + 1
        terms = sp.Add.make_args(sp.expand(exponent))
        return sum(abs(int(term.as_coeff_Mul(rational=True)[0].p)) for term in terms)

    @property
    def is_small(self) -> bool:
        """Whether its factors are looked for."""
        return len(self.generators) <= FACTORED and self.degree <= DEGREE and self.terms <= TERMS


def _keep_digits(expr: sp.Expr) -> sp.Expr:
    """``x**a - 1`` as ``expm1(a*log(x))`` beside ``log(x)``, where both vanish together."""
    bases = {call.args[0] for call in expr.atoms(sp.log)}

    def matches(part: sp.Expr) -> bool:
        if not (part.is_Add and len(part.args) == 2 and part.args[0] ** 2 == 1):
            return False
        return part.args[0] * _power_of(part.args[1], bases)[0] == -1

    def rewritten(part: sp.Expr) -> sp.Expr:
        sign, exponent, base = _power_of(part.args[1], bases)
        return sign * _Expm1(exponent * sp.log(base))

    return expr.replace(matches, rewritten) if bases else expr


def _power_of(expr: sp.Expr, bases: set[sp.Expr]) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    """Sign, exponent and base of a term ``+-base**exponent``; sign 0 if it is none."""
    sign, power = expr.as_coeff_Mul()
    base, exponent = power.as_base_exp()
    return (sign, exponent, base) if base in bases else (sp.Integer(0), exponent, base)


def _lower(expr: sp.Expr, rename: Mapping[sp.Symbol, str]) -> Expr:
    def visit(part: sp.Expr) -> Expr:
        return _lower(part, rename)

    if isinstance(expr, sp.Rational):
        return Const(Fraction(int(expr.p), int(expr.q)))
    if isinstance(expr, sp.Symbol):
        return Ref(rename.get(expr, expr.name))
    if isinstance(expr, Total):
        return Reduce(visit(expr.args[0]))
    if isinstance(expr, sp.Add):
        terms = [visit(term) for term in expr.as_ordered_terms()]
        positive = [term for term in terms if not _is_negative(term)]
        return add(*positive, *(term for term in terms if _is_negative(term)))
    if isinstance(expr, sp.Mul):
        return _product(expr, rename)
    if isinstance(expr, sp.Pow):
        return _power(expr, rename)
    if expr in _CONSTANTS:
        return Apply(_CONSTANTS[expr], ())
    if expr is sp.E:
        return Apply("exp", (ONE,))
    op = _FUNCTIONS.get(type(expr))
    if op == CHOICE:
        test, then, otherwise = map(visit, expr.args)
        return chosen(test, then, otherwise)
    if op is not None:
        return Apply(op, tuple(map(visit, expr.args)))
    if expr.has(sp.nan, sp.zoo, sp.oo, sp.I):
        raise NotDerivableError(f"{expr} is no real number")
    raise NotDerivableError(f"lower: no operation for {type(expr).__name__} in {expr}")


def chosen(test: Expr, then: Expr, otherwise: Expr) -> Expr:
    """``then`` where a condition holds or a number is positive.

    Args:
        test: a comparison, what is 1 less one, or a number.
        then: the value where it holds.
        otherwise: the value elsewhere.

    Returns:
        The choice.
    """
    match test:
        case Apply(op=op) if op in CONDITIONS:
            return Select(test, Fraction(1), then, otherwise)
        case Apply(op="add", args=(Const(value=value), Apply(op="neg", args=(opposite,)))):
            if value == 1 and isinstance(opposite, Apply) and opposite.op in CONDITIONS:
                return Select(opposite, Fraction(1), otherwise, then)
    return Select(Apply("step", (test,)), Fraction(1), then, otherwise)


def _is_negative(expr: Expr) -> bool:
    return (isinstance(expr, Apply) and expr.op == "neg") or (
        isinstance(expr, Const) and expr.value < 0
    )


def _product(expr: sp.Mul, rename: Mapping[sp.Symbol, str]) -> Expr:
    """A product as one quotient, its square roots as one root."""
    coefficient, rest = expr.as_coeff_Mul(rational=True)
    over: list[Expr] = []
    under: list[Expr] = []
    root_over: list[Expr] = []
    root_under: list[Expr] = []
    for factor in sp.Mul.make_args(rest):
        base, exponent = factor.as_base_exp()
        if isinstance(factor, sp.exp) or not exponent.is_Rational:
            over.append(_lower(factor, rename))
        elif abs(exponent) == sp.Rational(1, 2):
            (root_over if exponent > 0 else root_under).append(_lower(base, rename))
        elif exponent < 0:
            under.append(_lower(base ** (-exponent), rename))
        else:
            over.append(_lower(factor, rename))
    if root_over:
        over.append(Apply("sqrt", (_quotient(root_over, root_under),)))
    elif root_under:
        under.append(Apply("sqrt", (mul(*root_under),)))
    sign = coefficient < 0
    numerator, denominator = abs(int(coefficient.p)), int(coefficient.q)
    if max(numerator, denominator) > WHOLE:  # rounded once, as what they are together
        over.insert(0, constant(Fraction(numerator, denominator)))
        numerator = denominator = 1
    if numerator != 1:
        over.insert(0, constant(numerator))
    if denominator != 1:
        under.insert(0, constant(denominator))
    result = _quotient(over, under)
    return negative(result) if sign else result


def _quotient(over: list[Expr], under: list[Expr]) -> Expr:
    return mul(*over) if not under else Apply("div", (mul(*over), mul(*under)))


def _power(expr: sp.Pow, rename: Mapping[sp.Symbol, str]) -> Expr:
    base, exponent = expr.base, expr.exp
    if exponent.is_Rational and exponent < 0:
        return Apply("div", (ONE, _lower(base**-exponent, rename)))
    if exponent == sp.Rational(1, 2):
        return Apply("sqrt", (_lower(base, rename),))
    return Apply("pow", (_lower(base, rename), _lower(exponent, rename)))
