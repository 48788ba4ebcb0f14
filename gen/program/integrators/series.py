"""Operations on Taylor series, and the recurrences of their coefficients.

A series is that of a quantity along a solution, sum_k c_k s^k with s the time since the beginning
of a step.  Coefficient k of a result follows from coefficients up to k of what it is computed from,
and of itself up to k - 1: for a product by Cauchy's sum, for a quotient and a function from the
equation that it solves.  With x the argument and y' = (b/a) x',

    a_0 k y_k = sum_{j=1..k} j x_j b_{k-j} - sum_{j=1..k-1} j y_j a_{k-j};

with y = x^r this is x y' = r y x'.

Sources: D. E. Knuth, The Art of Computer Programming 2, 4.7; A. Griewank and A. Walther, Evaluating
Derivatives, 13.2; A. Jorba and M. Zou, Experiment. Math. 14 (2005) 99-117,
doi:10.1080/10586458.2005.10128904.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.program.ir import Apply, Const, Expr, Function, Line, Ref, needed, with_parts
from hamilforge.gen.program.lower import ONE, add, constant, mul, negative, scaled

#: The time, whose series is t + s.
TIME = "t"


#: What values at the beginning of a step are expressions in: the first coefficient of an operand;
#: no declared name has two underscores in a row.
FIRST = "first__"
#: Powers up to which coefficients are divided by whole numbers: at the least tolerance, with the
#: order that follows from it, steps are a fifth of the radius of convergence, and a term of power 9
#: is less than 1e-6 of the state.
DIVIDED = 8


class Coefficients(Protocol):
    """The coefficients of series, as far as they are known."""

    def __call__(self, name: str, k: int) -> Expr | None:
        """Coefficient k of a series; None where it is zero."""

    def inverse(self, name: str) -> Expr:
        """One divided by the first coefficient of a series."""


@dataclass(frozen=True, slots=True)
class Sum:
    """``constant + sum factor * series``; the constant is None where it is zero."""

    terms: tuple[tuple[Expr, str], ...]
    constant: Expr | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        """The series it is computed from."""
        return tuple(name for _, name in self.terms)


@dataclass(frozen=True, slots=True)
class Product:
    """``left * right``."""

    left: str
    right: str

    @property
    def reads(self) -> tuple[str, ...]:
        """The series it is computed from."""
        return self.left, self.right


@dataclass(frozen=True, slots=True)
class Quotient:
    """``over / under``, with 1 for ``over`` if it is None."""

    over: str | None
    under: str

    @property
    def reads(self) -> tuple[str, ...]:
        """The series it is computed from."""
        return (self.under,) if self.over is None else (self.over, self.under)


@dataclass(frozen=True, slots=True)
class Power:
    """``base ** exponent``, with an exponent that does not depend on time.

    Attributes:
        value: at the beginning of the step, in :data:`FIRST`, that of the base.
    """

    base: str
    exponent: Expr
    value: Expr

    @property
    def reads(self) -> tuple[str, ...]:
        """The series it is computed from."""
        return (self.base,)


@dataclass(frozen=True, slots=True)
class Elementary:
    """A function y of x with ``under * y' = factor * over * x'``.

    Attributes:
        function: its name.
        argument: x.
        factor: a number.
        over, under: series; 1 if None.
    """

    function: str
    argument: str
    factor: Expr
    over: str | None
    under: str | None

    @property
    def reads(self) -> tuple[str, ...]:
        """The series it is computed from."""
        names = (self.argument, self.over, self.under)
        return tuple(name for name in names if name is not None)

    @property
    def value(self) -> Expr:
        """At the beginning of the step, in :data:`FIRST`, that of the argument."""
        return Apply(self.function, (Ref(FIRST),))


Operation = Sum | Product | Quotient | Power | Elementary


@dataclass(frozen=True, slots=True)
class SeriesLine:
    """``name = operation``."""

    name: str
    operation: Operation

    def coefficient(self, k: int, of: Coefficients) -> Expr | None:
        """What coefficient k is computed as.

        Args:
            k: the power.
            of: coefficients up to k of what the operation reads, up to k - 1 of itself.

        Returns:
            The expression; None for zero.
        """
        match self.operation:
            case Sum(terms=terms, constant=first):
                parts = [_times(factor, of(name, k)) for factor, name in terms]
                return _total([*parts, first if k == 0 else None])
            case Product(left=left, right=right) if left == right:
                return _square(k, lambda j: of(left, j))
            case Product(left=left, right=right):
                return _total([_product(of(left, j), of(right, k - j)) for j in range(k + 1)])
            case Quotient(over=over, under=under):
                rest = [_minus(_product(of(under, j), of(self.name, k - j))) for j in _from_one(k)]
                return _product(of.inverse(under), _total([_or_one(over, k, of), *rest]))
            case Power(base=name) | Elementary(argument=name) as known if k == 0:
                first = of(name, 0)
                return with_parts(known.value, {FIRST: constant(0) if first is None else first})
            case Power(base=base, exponent=exponent):
                parts = [
                    _times(_weight(exponent, j, k - j), _product(of(base, j), of(self.name, k - j)))
                    for j in _from_one(k)
                ]
                return _over(k, _product(of.inverse(base), _total(parts)))
            case Elementary(argument=argument, factor=factor, over=over, under=under):
                gain = [
                    _times(constant(j), _product(of(argument, j), _or_one(over, k - j, of)))
                    for j in _from_one(k)
                ]
                parts = [_times(factor, _total(gain))]
                if under is not None:
                    parts += [
                        _minus(_times(constant(j), _product(of(self.name, j), of(under, k - j))))
                        for j in range(1, k)
                    ]
                whole = _total(parts)
                return _over(k, whole if under is None else _product(of.inverse(under), whole))


@dataclass(frozen=True, slots=True)
class SeriesProgram:
    """Taylor series along a solution.

    Attributes:
        inputs: time, components and parameters.
        components: series that are known, or whose rates are the results.
        lines: operations, each after what it reads but for itself and its kin.
        results: the series that each result is, times a number; None for a result that is that
            number itself.
    """

    inputs: tuple[str, ...]
    components: tuple[str, ...]
    lines: tuple[SeriesLine, ...]
    results: tuple[tuple[Expr, str | None], ...]

    @property
    def products(self) -> int:
        """How many sums of products each coefficient takes."""
        return sum(not isinstance(line.operation, Sum) for line in self.lines)

    def unrolled(self, order: int) -> Function:
        """All coefficients up to an order, one after the other.

        Args:
            order: the highest.

        Returns:
            The function; results ``x__k``, for each k from 1 that of each component x.
        """
        table = _Table(self.components)
        for k in range(order):
            for line in self.lines:
                table.set(line.name, k, line.coefficient(k, table))
            for name, rate in zip(self.components, self._ends(k, table), strict=True):
                table.set(name, k + 1, _over(k + 1, rate), as_line=True)
        ends = [f"{name}__{k}" for k in range(1, order + 1) for name in self.components]
        return table.function(self.inputs, ends)

    def along(self, order: int, names: Sequence[str]) -> Function:
        """Coefficients of the results along given series of the components.

        Args:
            order: the highest.
            names: of the results.

        Returns:
            The function; inputs are x and ``x__k``, for each k from 1 and each component x, results
            ``name__k``, for each k from 0.
        """
        table = _Table(self.components)
        given = [f"{name}__{k}" for k in range(1, order + 1) for name in self.components]
        for k in range(order + 1):
            for name in self.components if k else ():
                table.give(name, k)
            for line in self.lines:
                table.set(line.name, k, line.coefficient(k, table))
            for name, value in zip(names, self._ends(k, table), strict=True):
                table.set(name, k, value, as_line=True)
        ends = [f"{name}__{k}" for k in range(order + 1) for name in names]
        return table.function((*self.inputs, *given), ends)

    def _ends(self, k: int, table: _Table) -> Iterator[Expr | None]:
        """Coefficient k of each result."""
        for factor, series in self.results:
            if series is not None:
                yield _times(factor, table(series, k))
            else:
                yield factor if k == 0 else None


class _Table:
    """Coefficients that lines were written for; those that are numbers stand for themselves."""

    def __init__(self, components: tuple[str, ...]) -> None:
        self.lines: list[Line] = []
        self._known: dict[tuple[str, int], Expr | None] = {
            (name, 0): Ref(name) for name in (TIME, *components)
        }
        self._known[TIME, 1] = ONE
        self._inverses: dict[str, Expr] = {}

    def __call__(self, name: str, k: int) -> Expr | None:
        return self._known.get((name, k)) if name == TIME else self._known[name, k]

    def inverse(self, name: str) -> Expr:
        """One divided by the first coefficient, a line of its own."""
        if name not in self._inverses:
            first = self(name, 0)
            assert first is not None, f"{name} begins with zero"
            self._write(f"{name}__inverse", Apply("div", (ONE, first)))
            self._inverses[name] = Ref(f"{name}__inverse")
        return self._inverses[name]

    def set(self, name: str, k: int, value: Expr | None, as_line: bool = False) -> None:
        """A coefficient becomes known.

        Args:
            name: of the series.
            k: the power.
            value: None for zero.
            as_line: whether zero and numbers are written too.
        """
        number = value is None or isinstance(value, Const)
        if as_line or not number:
            self._write(f"{name}__{k}", constant(0) if value is None else value)
        self._known[name, k] = value if number else Ref(f"{name}__{k}")

    def give(self, name: str, k: int) -> None:
        """A coefficient is an input."""
        self._known[name, k] = Ref(f"{name}__{k}")

    def function(self, inputs: Sequence[str], ends: Sequence[str]) -> Function:
        """What lines are needed for some of them."""
        read = needed(self.lines, ends)
        lines = tuple(line for line in self.lines if line.name in read)
        results = tuple((end, Array(end)) for end in ends)
        return Function("coefficients", tuple(map(Array, inputs)), lines, results)

    def _write(self, name: str, value: Expr) -> None:
        self.lines.append(Line(Array(name), value))


def _from_one(k: int) -> range:
    return range(1, k + 1)


def _or_one(name: str | None, k: int, of: Coefficients) -> Expr | None:
    """A coefficient of a series that is 1 where it is None."""
    if name is not None:
        return of(name, k)
    return ONE if k == 0 else None


def _weight(exponent: Expr, gained: int, lost: int) -> Expr:
    """``exponent * gained - lost``."""
    if isinstance(exponent, Const):
        return constant(exponent.value * gained - lost)
    grown = exponent if gained == 1 else mul(constant(gained), exponent)
    return grown if lost == 0 else add(grown, constant(-lost))


def _square(k: int, of: Callable[[int], Expr | None]) -> Expr | None:
    """Coefficient k of a square: each product of two different ones once, twice."""
    pairs = _total([_product(of(j), of(k - j)) for j in range((k + 1) // 2)])
    middle = _product(of(k // 2), of(k // 2)) if k % 2 == 0 else None
    return _total([_times(constant(2), pairs), middle])


def _total(parts: list[Expr | None]) -> Expr | None:
    """The sum of what is not zero."""
    kept = [part for part in parts if part is not None]
    return add(*kept) if kept else None


def _product(left: Expr | None, right: Expr | None) -> Expr | None:
    """A product, zero where a factor is."""
    if left is None or right is None:
        return None
    return mul(left, right)


def _times(factor: Expr, value: Expr | None) -> Expr | None:
    """A value times a number or a parameter, zero where either is."""
    return None if value is None or factor == constant(0) else scaled(factor, value)


def _minus(value: Expr | None) -> Expr | None:
    return None if value is None else negative(value)


def _over(k: int, value: Expr | None) -> Expr | None:
    """A value divided by a whole number.

    A product with 1/k is quicker, but its rounding error is the same at each step, and energies
    would drift by it: so where terms are large, of low powers, numbers are divided.
    """
    if value is None or k == 1:
        return value
    if k > DIVIDED:
        return _times(constant(Fraction(1, k)), value)
    return Apply("div", (value, constant(k)))


def half_power(base: Ref, exponent: Fraction) -> Expr:
    """``base ** exponent`` for a multiple of a half, by its root.

    Args:
        base: a variable.
        exponent: a multiple of 1/2.

    Returns:
        The expression.
    """
    whole, rest = divmod(abs(exponent), 1)
    factors: list[Expr] = [base] * int(whole)
    if rest:
        factors.append(Apply("sqrt", (base,)))
    return mul(*factors) if exponent >= 0 else Apply("div", (ONE, mul(*factors)))
