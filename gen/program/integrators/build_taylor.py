"""Right-hand sides become operations on Taylor series, and these the coefficients of a solution.

In: a function with the rate of each component.  Out: the operations in order, each once; unrolled,
one straight-line function with all coefficients.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, reduce

import sympy as sp

from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.functions import BY_NAME
from hamilforge.gen.declare.parser import parse
from hamilforge.gen.derive.calculus import FUNCTIONS, declared_derivative, to_sympy
from hamilforge.gen.derive.integrators.lattice import LatticeField
from hamilforge.gen.derive.integrators.vector_field import VectorField
from hamilforge.gen.program.integrators.integrator import TaylorSteps
from hamilforge.gen.program.integrators.series import (
    FIRST,
    TIME,
    Elementary,
    Operation,
    Power,
    Product,
    Quotient,
    SeriesLine,
    SeriesProgram,
    Sum,
    half_power,
)
from hamilforge.gen.program.ir import Apply, Const, Expr, Function, Ref, Select, names
from hamilforge.gen.program.lower import ONE, add, constant, lower, negative, scaled
from hamilforge.gen.program.straight import straight

_ROOT = constant(Fraction(1, 2))
#: Products of two coefficients in a step that kernels have a line for; more are in loops.
MOST_PRODUCTS = 3000
#: What is exact in rational numbers.
_FIELD = {"add": operator.add, "mul": operator.mul, "div": operator.truediv}


@dataclass(frozen=True, slots=True)
class _Monomial:
    """A number times powers of series; exponents are numbers too."""

    factor: Expr
    powers: Mapping[str, Expr] = field(default_factory=dict)

    def times(self, other: _Monomial) -> _Monomial:
        """The product."""
        powers = dict(self.powers)
        for name, exponent in other.powers.items():
            total = _plus(powers.pop(name), exponent) if name in powers else exponent
            if total != constant(0):
                powers[name] = total
        return _Monomial(_scaled(self.factor, other.factor), powers)


def build_taylor(field: VectorField, order: int) -> TaylorSteps:
    """Taylor's method for a problem.

    Args:
        field: the problem's.
        order: the highest power of the step.

    Returns:
        The steps.

    Raises:
        DeclarationError: a function of the problem has a kink, so no Taylor series; or the problem
            is a lattice.
    """
    if isinstance(field, LatticeField):
        raise DeclarationError.single(
            field.problem.head.source.where,
            f"'{field.problem.head.name}' is a lattice: Taylor's method is made for components "
            "that are named one by one",
        )
    components = tuple(map(str, field.components))
    series = build_series(rates_of(field), components, field.problem.head.source.where)
    work = series.products * order * (order + 1) // 2
    return TaylorSteps(order, series, series.unrolled(order), work > MOST_PRODUCTS)


def rates_of(field: VectorField) -> Function:
    """The right-hand sides, friction included, as one function."""
    components = tuple(map(str, field.components))
    inputs = (TIME, *components, *map(str, field.parameters))
    rates = {f"d__{name}": value for name, value in zip(components, field.damped, strict=True)}
    return straight("rates", inputs, rates)


#: What to do about equations with a kink.
_EQUATIONS = (
    "the equations use it: a Runge-Kutta method fits them, with steps that an error estimate "
    "chooses"
)


def build_series(
    function: Function, components: tuple[str, ...], where: str, advice: str = _EQUATIONS
) -> SeriesProgram:
    """A function of the components and the time as operations on series.

    Args:
        function: of right-hand sides, one for each component, without friction beside them; or of
            what else has a series along solutions.
        components: whose series others are made of.
        where: the file of the problem, for messages.
        advice: who uses a function that has no series, and what to do about it.

    Returns:
        The operations.

    Raises:
        DeclarationError: a function of the problem has a kink, so no Taylor series.
    """
    return _Builder(function, components, where, advice).program()


class _Builder:
    """Reads expressions as monomials of series, and makes lines of what is no monomial."""

    def __init__(
        self, function: Function, components: tuple[str, ...], where: str, advice: str
    ) -> None:
        self._function, self._components, self._where = function, components, where
        self._advice = advice
        self._lines: list[SeriesLine] = []
        self._made: dict[object, str] = {}
        self._taken = {*function.scalars, *(key for key, _ in function.results)}
        self._known: dict[str, _Monomial] = {
            name: _Monomial(ONE, {name: ONE}) for name in (TIME, *components)
        }

    def program(self) -> SeriesProgram:
        """All of it."""
        for line in self._function.lines:
            self._known[line.name] = self._read(line.expr)
        results = []
        for _, array in self._function.results:
            value = self._known[array.name]
            series = self._series(_Monomial(ONE, value.powers)) if value.powers else None
            results.append((value.factor, series))
        return SeriesProgram(
            self._function.scalars, self._components, self._ordered(), tuple(results)
        )

    def _ordered(self) -> tuple[SeriesLine, ...]:
        """The lines, each after those whose coefficients of the same power it reads.

        What a function is multiplied with in its rate is read to one power less, so that sine and
        cosine may read each other.
        """
        by_name = {line.name: line for line in self._lines}
        done: dict[str, SeriesLine] = {}

        def visit(line: SeriesLine) -> None:
            if line.name in done:
                return
            match line.operation:
                case Elementary(argument=argument):
                    reads: tuple[str, ...] = (argument,)
                case operation:
                    reads = operation.reads
            for name in reads:
                if name in by_name:
                    visit(by_name[name])
            done[line.name] = line

        for line in self._lines:
            visit(line)
        return tuple(done.values())

    # --- expressions ---------------------------------------------------------

    def _read(self, expr: Expr) -> _Monomial:
        """An expression as a monomial."""
        if not {*names(expr)} & {*self._known}:
            return _Monomial(_folded(expr))
        match expr:
            case Ref(name=name):
                return self._known[name]
            case Apply(op="neg", args=(arg,)):
                value = self._read(arg)
                return _Monomial(negative(value.factor), value.powers)
            case Apply(op="add", args=args):
                return self._sum(args)
            case Apply(op="mul", args=args):
                product = _Monomial(ONE)
                for arg in args:
                    product = product.times(self._read(arg))
                return product
            case Apply(op="div", args=(over, under)):
                return self._read(over).times(self._power(self._read(under), constant(-1)))
            case Apply(op="pow", args=(base, exponent)):
                by = self._read(exponent)
                if not by.powers:
                    return self._power(self._read(base), by.factor)
                logarithm = Apply("mul", (exponent, Apply("log", (base,))))
                return self._call("exp", self._read(logarithm))
            case Apply(op="sqrt", args=(arg,)):
                return self._power(self._read(arg), _ROOT)
            case Apply(op=op, args=(arg,)) if not BY_NAME[op].kink:
                return self._call(op, self._read(arg))
            case Apply(op=op):
                raise self._refuse(op)
            case Select(subject=Apply(op=op)):
                raise self._refuse(op if op not in ("greater", "at_least", "equal") else "where")
        raise NotImplementedError(f"Taylor series of {expr}")

    def _refuse(self, op: str) -> DeclarationError:
        return DeclarationError.single(
            self._where,
            f"'{op}' has a kink, at which there is no Taylor series, and {self._advice}",
        )

    def _sum(self, args: tuple[Expr, ...]) -> _Monomial:
        """A sum: like terms once, sums in it as their terms."""
        terms: dict[str, Expr] = {}
        first: Expr | None = None
        for arg in args:
            term = self._read(arg)
            if not term.powers:
                first = term.factor if first is None else _plus(first, term.factor)
                continue
            name = self._series(_Monomial(ONE, term.powers))
            terms[name] = _plus(terms[name], term.factor) if name in terms else term.factor
        if len(terms) == 1 and first is None:
            ((name, factor),) = terms.items()
            return _Monomial(factor, {name: ONE})
        made = self._line(Sum(tuple((f, n) for n, f in terms.items()), first), "sum")
        return _Monomial(ONE, {made: ONE})

    def _power(self, value: _Monomial, exponent: Expr) -> _Monomial:
        """A power whose exponent is a number."""
        if not value.powers:
            return _Monomial(_raised(value.factor, exponent))
        whole = isinstance(exponent, Const) and exponent.value.denominator == 1
        if not whole:  # the power of a product is that of what it is worth
            return _Monomial(ONE, {self._series(value): exponent})
        powers = {name: _scaled(exponent, own) for name, own in value.powers.items()}
        return _Monomial(_raised(value.factor, exponent), powers)

    def _call(self, op: str, value: _Monomial) -> _Monomial:
        """A function of a series, with its kin."""
        argument = self._series(value)
        key = (op, argument)
        if key not in self._made:
            name = self._made[key] = self._name(f"{op}_{argument}")
            outer = self._known
            self._known = {"x": _Monomial(ONE, {argument: ONE}), "y": _Monomial(ONE, {name: ONE})}
            rate = self._read(_rate(op))
            self._known = outer
            over = _Monomial(ONE, {n: e for n, e in rate.powers.items() if not _is_negative(e)})
            under = self._power(
                _Monomial(ONE, {n: e for n, e in rate.powers.items() if _is_negative(e)}),
                constant(-1),
            )
            self._lines.append(
                SeriesLine(
                    name,
                    Elementary(
                        op,
                        argument,
                        rate.factor,
                        self._series(over) if over.powers else None,
                        self._series(under) if under.powers else None,
                    ),
                )
            )
        return _Monomial(ONE, {self._made[key]: ONE})

    # --- lines -----------------------------------------------------------------

    def _series(self, value: _Monomial) -> str:
        """The series that a monomial is: products, then a quotient, then a multiple."""
        over: list[str] = []
        under: list[str] = []
        for name, exponent in sorted(value.powers.items()):
            whole = isinstance(exponent, Const) and exponent.value.denominator == 1
            if not isinstance(exponent, Const) or not whole or exponent.value < -1:
                over.append(self._powered(name, exponent))
            elif exponent.value == -1:
                under.append(name)
            else:
                over.append(self._whole(name, int(exponent.value)))
        made = self._chain(over) if over else None
        if under:
            made = self._line(Quotient(made, self._chain(under)), "quotient")
        assert made is not None
        if value.factor == ONE:
            return made
        return self._line(Sum(((value.factor, made),)), "multiple")

    def _whole(self, name: str, exponent: int) -> str:
        """A whole power by products."""
        if exponent == 1:
            return name
        half = self._whole(name, exponent // 2)
        square = self._line(Product(half, half), f"{half}_squared")
        return self._line(Product(square, name), "product") if exponent % 2 else square

    def _powered(self, base: str, exponent: Expr) -> str:
        """A power by its recurrence."""
        first = Ref(FIRST)
        if isinstance(exponent, Const) and (2 * exponent.value).denominator == 1:
            value = half_power(first, exponent.value)
        else:
            value = Apply("pow", (first, exponent))
        return self._line(Power(base, exponent, value), "power")

    def _chain(self, factors: list[str]) -> str:
        made = factors[0]
        for factor in factors[1:]:
            made = self._line(Product(made, factor), "product")
        return made

    def _line(self, operation: Operation, what: str) -> str:
        """The series of an operation; the same operation once."""
        if operation not in self._made:
            name = self._made[operation] = self._name(what)
            self._lines.append(SeriesLine(name, operation))
        return self._made[operation]

    def _name(self, base: str) -> str:
        name, number = base, 2
        while name in self._taken:
            name, number = f"{base}_{number}", number + 1
        self._taken.add(name)
        return name


@cache
def _rate(op: str) -> Expr:
    """The derivative of a function in x and its value y."""
    x, y = sp.symbols("x y", real=True)
    text = BY_NAME[op].rate
    if not text:
        return lower(declared_derivative(op, x))
    return lower(to_sympy(parse(text, FUNCTIONS), {"x": x, "y": y}))


def _folded(expr: Expr) -> Expr:
    """A number without names as one exact number, where it is rational."""
    match expr:
        case Apply(op="neg", args=(arg,)):
            return negative(_folded(arg))
        case Apply(op=op, args=args) if op in _FIELD:
            values = [_folded(arg) for arg in args]
            numbers = [value.value for value in values if isinstance(value, Const)]
            if len(numbers) == len(values):
                return constant(reduce(_FIELD[op], numbers))
    return expr


def _is_negative(exponent: Expr) -> bool:
    return isinstance(exponent, Const) and exponent.value < 0


def _plus(left: Expr, right: Expr) -> Expr:
    if isinstance(left, Const) and isinstance(right, Const):
        return constant(left.value + right.value)
    return add(left, right)


def _scaled(left: Expr, right: Expr) -> Expr:
    return scaled(right, left) if isinstance(right, Const) else scaled(left, right)


def _raised(base: Expr, exponent: Expr) -> Expr:
    """A power of a number."""
    if base == ONE or exponent == ONE:
        return base
    if isinstance(exponent, Const):
        if exponent.value == -1:
            return Apply("div", (ONE, base))
        if isinstance(base, Const) and exponent.value.denominator == 1:
            return constant(base.value ** int(exponent.value))
        if exponent == _ROOT:
            return Apply("sqrt", (base,))
    return Apply("pow", (base, exponent))
