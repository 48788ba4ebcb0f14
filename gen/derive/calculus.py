"""Calculus of expressions written for one generic coordinate.

A vector is written as the symbol of its generic entry, a :class:`Coordinate`; a sum over all
coordinates is a :class:`Total`.  So ``dot(p, p)`` is ``Total(p**2)``, and the gradient of a scalar
``K`` is the ordinary derivative with respect to the symbol ``p``: every derivative of a scalar
function is SymPy's, and the one rule added is that of the sum,

    d/dp_i  sum_j f(p_j, R) = f_p(p_i, R) + (sum_j f_R(p_j, R)) dR/dp_i .
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import cache, lru_cache
from typing import Any, TypeAlias

import sympy as sp
from sympy.printing.str import StrPrinter

from hamilforge.gen.declare.budget import at
from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.expression import Expression, Name, Node, Number
from hamilforge.gen.declare.functions import BY_NAME, CHOICE, COMPARISONS, CONSTANTS, TABLE
from hamilforge.gen.declare.parser import parse

#: A SymPy expression; SymPy carries no types.
Expr: TypeAlias = Any


class Coordinate(sp.Symbol):
    """The generic entry of a vector."""

    __slots__ = ()

    def __new__(cls, name: str, **_: object) -> Coordinate:
        """A real symbol."""
        return sp.Symbol.__new__(cls, name, real=True)


class Letter(sp.Symbol):
    """A number of a proof, which no parameter is, whatever its name."""

    __slots__ = ()

    def __new__(cls, name: str, positive: bool | None = True, **_: object) -> Letter:
        """A positive symbol, or a real one."""
        sign = {"positive": True} if positive else {"real": True}
        return sp.Symbol.__new__(cls, name, **sign)

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, bool | None]]:
        """A copy has the same sign."""
        return (self.name,), {"positive": self.is_positive}

    @classmethod
    def class_key(cls) -> Any:
        """It is ordered as any symbol."""
        return sp.Symbol.class_key()


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
        slope = derivative(flat, symbol).xreplace(back)
        for total, name in names.items():
            slope += Total(derivative(flat, name).xreplace(back)) * derivative(total, symbol)
        return slope


class _Elementwise(sp.Function):
    """A function of real numbers that SymPy lacks; its derivatives are those of its row."""

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> Expr:
        """The derivative by an argument, as the table of functions has it."""
        return declared_derivative(type(self).__name__, *self.args, by=argindex)


class relu(_Elementwise):
    """The larger of x and 0."""

    is_nonnegative = True

    @classmethod
    def eval(cls, arg: Expr) -> Expr | None:
        """Itself or 0 where the sign is known; positive factors stand outside."""
        if arg.is_nonnegative:
            return arg
        if arg.is_nonpositive:
            return sp.S.Zero
        factors = sp.Mul.make_args(arg)
        outside = [factor for factor in factors if factor.is_positive]
        if outside:
            return sp.Mul(*outside) * cls(sp.Mul(*(f for f in factors if not f.is_positive)))
        return None


class step(_Elementwise):
    """1 where x > 0, else 0."""

    is_nonnegative = True

    @classmethod
    def eval(cls, arg: Expr) -> Expr | None:
        """A number where the sign is known; positive factors do not matter."""
        if arg.is_positive:
            return sp.S.One
        if arg.is_nonpositive:
            return sp.S.Zero
        factors = sp.Mul.make_args(arg)
        kept = [factor for factor in factors if not factor.is_positive]
        return cls(sp.Mul(*kept)) if len(kept) < len(factors) else None


def _own(name: str, **attributes: object) -> Any:
    """A function that SymPy leaves as it is, unless its numbers are known."""
    arity = len(BY_NAME[name].derivatives)
    return type(name, (_Elementwise,), {"nargs": arity, **attributes})


def _chosen(numbers: Callable[..., Expr], count: int = 2) -> Any:
    """How a function that chooses is evaluated: where so many of its arguments are numbers."""

    def evaluated(_: type, *args: Expr) -> Expr | None:
        decided = all(arg.is_number and arg.is_comparable for arg in args[:count])
        return numbers(*args) if decided else None

    return classmethod(evaluated)


logistic: Any = _own("logistic", is_positive=True)
log_cosh: Any = _own("log_cosh", is_nonnegative=True)
#: 1 / x, but 0 at 0; and the square root whose derivative is 0 at 0, as a norm's is.
inverse: Any = _own("inverse")
root: Any = _own("root", is_nonnegative=True)

#: Functions of the expression language and of derivations in SymPy: SymPy's own where it has them.
FUNCTIONS: Mapping[str, Any] = {
    **{row.name: getattr(sp, row.name, None) or _own(row.name) for row in TABLE},
    "abs": sp.Abs,
    # SymPy's turn f(-x) into pi - f(x) and 2 - f(x), which loses all digits where f(-x) is small
    "acos": _own("acos"),
    "erfc": _own("erfc", is_positive=True),
    "cbrt": _own("cbrt"),
    "expm1": lambda x: sp.exp(x) - 1,
    "inverse": inverse,
    **{
        name: _own(name, is_nonnegative=True, eval=_chosen(numbers))
        for name, numbers in {
            "greater": lambda x, y: sp.Integer(int(bool(x > y))),
            "at_least": lambda x, y: sp.Integer(int(bool(x >= y))),
            "equal": lambda x, y: sp.Integer(int(bool(sp.Eq(x, y)))),
        }.items()
    },
    "clip": _own("clip", eval=_chosen(lambda x, y, z: sp.Min(sp.Max(x, y), z), 3)),
    "max": _own("max", eval=_chosen(sp.Max)),
    "min": _own("min", eval=_chosen(sp.Min)),
    CHOICE: _own(CHOICE, eval=_chosen(lambda x, y, z: y if x > 0 else z, 1)),
    "log": lambda x: log_cosh(x.args[0]) if isinstance(x, sp.cosh) else sp.log(x),
    "log1p": lambda x: sp.log(1 + x),
    "log_cosh": log_cosh,
    "logistic": logistic,
    "relu": relu,
    "root": root,
    "softplus": _own("softplus", is_positive=True),
    "step": step,
    "dot": lambda x, y: Total(x * y),
    "norm": lambda x: sp.sqrt(Total(x**2)),
    "sum": Total,
}
#: The functions that are SymPy classes, by class.
NAMES: Mapping[type, str] = {sp.log: "log"} | {
    function: name
    for name, function in FUNCTIONS.items()
    if name in BY_NAME and isinstance(function, type)
}
_DEFINITIONS = {
    function: parse(BY_NAME[name].definition, FUNCTIONS)
    for function, name in NAMES.items()
    if BY_NAME[name].definition
}
#: Exact numbers by name.
CONSTANT_VALUES: Mapping[str, Expr] = {name: getattr(sp, name) for name in CONSTANTS}


def declared_derivative(name: str, *args: Expr, by: int = 1) -> Expr:
    """The derivative of a function, as the table of functions has it.

    Args:
        name: of the function.
        args: where it is taken.
        by: the number of the argument, from 1.
    """
    letters = BY_NAME[name].arguments
    return to_sympy(_parsed_derivative(name, by), dict(zip(letters, args, strict=True)))


@cache
def _parsed_derivative(name: str, by: int) -> Expression:
    return parse(BY_NAME[name].derivatives[by - 1], FUNCTIONS)


def derivative(expr: Expr, *symbols: sp.Symbol) -> Expr:
    """A derivative by one symbol after another; that of ``sign`` is 0, at 0 too.

    Raises:
        NotDerivableError: SymPy knows none.
    """
    for symbol in symbols:
        slope = expr.diff(symbol)
        if slope.has(sp.DiracDelta):
            slope = slope.replace(sp.DiracDelta, lambda *_: sp.S.Zero)
        if slope.has(sp.Derivative, sp.Subs):
            raise NotDerivableError(f"no derivative of {expr} by {symbol} is known")
        expr = slope
    return expr


def limit(expr: Expr, symbol: sp.Symbol, place: Expr) -> Expr:
    """A limit from above, infinite where it is.

    Args:
        expr: of what.
        symbol: that goes there.
        place: where it goes.

    Returns:
        The limit.

    Raises:
        NotDerivableError: SymPy knows none.
    """
    try:
        end = sp.limit(expr, symbol, place)
    except (NotImplementedError, RecursionError, ValueError):
        end = sp.Limit(expr, symbol, place)
    if end.has(sp.Limit, sp.AccumBounds):
        raise NotDerivableError(f"no limit of {expr} at {symbol} = {place} is known")
    return end


#: Functions whose derivatives jump, or which do themselves.
BROKEN = ("Abs", "sign", "step", CHOICE, "max", "min", "clip", "relu", "elu", "leaky_relu")


def primitive(expr: Expr, symbol: sp.Symbol) -> Expr | None:
    """An antiderivative in elementary functions, or None.

    Of what has kinks or jumps SymPy takes none that can be trusted: it would read ``step(t)`` as
    the derivative of ``t*step(t)``, which jumps.
    """
    for part in expr.atoms(sp.Function, sp.Abs):
        if type(part).__name__ in BROKEN and symbol in part.free_symbols:
            return None
    written = expr.replace(sp.exp, _as_powers)
    powers = [_power_of(term, symbol) for term in sp.Add.make_args(sp.expand(written))]
    if all(powers):  # what SymPy's search would find, and take seconds for
        return sp.Add(*(c * symbol ** (a + 1) / (a + 1) for c, a in filter(None, powers)))
    whole = sp.integrate(expr, symbol)
    return None if whole.has(sp.Integral, sp.Piecewise) else whole


def _as_powers(exponent: Expr) -> Expr:
    """``exp(a*log(b) + c)`` as ``b**a*exp(c)``."""
    factors = []
    for term in sp.Add.make_args(sp.expand(exponent)):
        logs = [factor for factor in sp.Mul.make_args(term) if isinstance(factor, sp.log)]
        one = len(logs) == 1
        factors.append(logs[0].args[0] ** (term / logs[0]) if one else sp.exp(term))
    return sp.Mul(*factors)


def _power_of(term: Expr, symbol: sp.Symbol) -> tuple[Expr, Expr] | None:
    """C and a of ``c*symbol**a`` with an a that is not -1; None for any other term."""
    coefficient, power = term.as_independent(symbol, as_Add=False)
    base, exponent = power.as_base_exp()
    if power == 1:
        return coefficient, sp.Integer(0)
    if base != symbol or exponent.has(symbol) or (exponent + 1).is_zero is not False:
        return None
    return coefficient, exponent


def gradient(expr: Expr, symbols: Collection[sp.Symbol]) -> dict[sp.Symbol, Expr]:
    """The derivatives that are not zero, by symbol in the order of ``symbols``.

    A sum is differentiated term by term, each term by its own symbols only: the work follows the
    number of terms, however many symbols there are.

    Raises:
        NotDerivableError: SymPy knows none.
    """
    wanted = set(symbols)
    slopes: dict[sp.Symbol, list[Expr]] = {}
    for term in sp.Add.make_args(expr):
        for symbol in term.free_symbols & wanted:
            slopes.setdefault(symbol, []).append(derivative(term, symbol))
    sums = {symbol: sp.Add(*slopes[symbol]) for symbol in symbols if symbol in slopes}
    return {symbol: slope for symbol, slope in sums.items() if slope != 0}


def expanded(expr: Expr) -> Expr:
    """An expression with every function that has a definition written out."""
    if not expr.has(*_DEFINITIONS):
        return expr
    return expr.replace(
        lambda part: type(part) in _DEFINITIONS,
        lambda part: to_sympy(_DEFINITIONS[type(part)], dict(zip("xyz", part.args, strict=False))),
    )


def to_sympy(
    expression: Expression, symbols: Mapping[str, Expr], oracles: Mapping[str, Any] | None = None
) -> Expr:
    """An expression in SymPy; all its names must be in ``symbols`` or ``oracles``.

    Args:
        expression: what was parsed.
        symbols: what each name stands for; constants such as ``pi`` need none.
        oracles: further functions, by name, called with the converted arguments; None for none.

    Returns:
        The expression; decimal numbers become rationals.

    Raises:
        NotDerivableError: the value is not real.
    """
    functions = {**FUNCTIONS, **(oracles or {})}

    def visit(node: Node) -> Expr:
        if isinstance(node, Number):
            return sp.Rational(node.value.numerator, node.value.denominator)
        if isinstance(node, Name):
            return symbols[node.name] if node.name in symbols else CONSTANT_VALUES[node.name]
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
    totals: dict[Total, None] = {}
    for arg in expr.args:
        totals.update(dict.fromkeys(outer_totals(arg)))
    return tuple(sorted(totals, key=sp.default_sort_key))


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


#: Denominators of exponents with which polynomials are not tried.
LONG = 10**6


#: So many forms are kept: a rule asks for each of its own about ten times.
FORMS = 4096


@lru_cache(maxsize=FORMS)
def tidy(expr: Expr) -> Expr:
    """A scalar in its shortest of a few normal forms; never a search over rewrites.

    Powers are joined as those of positive numbers where all that occurs is one, or its limit at 0;
    functions that tell signs apart are not told that it is, nor are powers of 0.
    """
    if expr.is_Atom:
        return expr
    force = (
        all(symbol.is_nonnegative for symbol in expr.free_symbols)
        and not expr.has(sp.Abs, sp.sign, _Elementwise)
        and not any(power.base.is_zero for power in expr.atoms(sp.Pow))
    )
    flat = sp.expand_power_base(expr, force=force)
    flat = sp.powsimp(sp.powdenest(flat, force=force), force=force)
    forms = [flat, sp.powsimp(sp.expand(expr), force=force)]
    if _has_long_exponents(flat):
        return min(forms, key=lambda form: (sp.count_ops(form), len(str(form)), str(form)))
    together = sp.together(flat)
    forms += [sp.cancel(together), sp.factor(together), sp.factor_terms(flat)]
    return min(forms, key=lambda form: (sp.count_ops(form), len(str(form)), str(form)))


def _has_long_exponents(expr: Expr) -> bool:
    """Whether exponents have many digits: a polynomial in such powers would have that degree."""
    exponents = [part.exp for part in expr.atoms(sp.Pow, sp.exp)]
    return any(number.q > LONG for part in exponents for number in part.atoms(sp.Rational))


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


#: What functions are called that SymPy calls otherwise.
_CALLED = {"Total": "sum", "Abs": "abs", "Max": "max", "Min": "min"}
#: The signs of conditions.
_SIGNS = {FUNCTIONS[COMPARISONS[sign][0]]: sign for sign in (">", ">=", "==")}


class _Writer(StrPrinter):
    """SymPy's text, with conditions as people write them: ``where(x > 0, 1, 2)``."""

    def _condition(self, expr: Expr) -> str:
        negated = 1 - expr
        if type(negated) is FUNCTIONS["equal"]:
            return self._comparison(negated, "!=")
        sign = _SIGNS.get(type(expr))
        return self._comparison(expr, sign) if sign else self._print(expr)

    def _comparison(self, expr: Expr, sign: str) -> str:
        left, right = map(self._print, expr.args)
        return f"{left} {sign} {right}"

    def _print_Function(self, expr: Expr) -> str:
        if type(expr) in _SIGNS:
            return f"({self._condition(expr)})"
        texts = [*map(self._print, expr.args)]
        if expr.func is FUNCTIONS[CHOICE]:
            texts[0] = self._condition(expr.args[0])
        return f"{expr.func.__name__}({', '.join(texts)})"


def written(expr: Expr, taken: Collection[str] = ()) -> str:
    """A scalar as people write it: ``1 - gamma*h``, sums over coordinates as ``sum``.

    Args:
        expr: any.
        taken: names of others; letters of these names are written ``z_``.
    """
    letters = (letter for letter in expr.atoms(Letter) if letter.name in taken)
    renamed = {s: sp.Symbol(f"{s.name}_", **s.assumptions0) for s in letters}
    text = str(_Writer({"order": "rev-lex"}).doprint(expr.xreplace(renamed)))
    for function, name in _CALLED.items():
        text = re.sub(rf"\b{function}\(", f"{name}(", text)
    return text
