"""Stages as functions over arrays: linear where the mathematics is, every scalar named.

In: the new buffer and the new point of a stage, as SymPy expressions in the stored arrays. Out:
a :class:`Function`, and what each of its host scalars is worth. Sums over coordinates become
scalars of their own, and so does what follows from them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction

import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.derive.calculus import (
    FUNCTIONS,
    Coordinate,
    Expr,
    Total,
    coordinates,
    is_host,
    outer_totals,
    split_product,
    tidy,
    tidy_scalars,
)
from hamilforge.gen.derive.optimizers.rotation import b, g, is_last, last_b, new_b, x
from hamilforge.gen.program.ir import (
    Apply,
    Const,
    Function,
    Line,
    Reduce,
    Ref,
    Select,
    entries,
    names,
    with_parts,
)
from hamilforge.gen.program.ir import Expr as IrExpr
from hamilforge.gen.program.limits import regular
from hamilforge.gen.program.lower import ONE, add, chosen, constant, lower, mul, negative
from hamilforge.gen.program.optimizers.roots import is_root

_WHERE = FUNCTIONS["where"]
#: Functions that have a value wherever their arguments have one.
_TOTAL = tuple(FUNCTIONS[name] for name in "where greater at_least equal max min step".split())
#: Whether a part of an expression is a number before any array is read.
OnHost = Callable[[Expr], bool]
Written = tuple[Function, dict[str, Expr]]


class Hoist:
    """Host scalars by name; equal expressions share a name."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.named: dict[str, Expr] = {}
        self.taken: set[str] = {*taken}

    def __call__(self, expr: Expr, role: str, direct: bool = False) -> IrExpr:
        """A reference to a host scalar; rational numbers stay as they are.

        The factor of an array is named after its role, whatever it is worth, so that the stages of
        a composition share a function; other scalars are named after what they are worth.
        """
        if expr.is_Rational:
            return lower(expr)
        for name, value in self.named.items():
            if value == expr and not direct:
                return Ref(name)
        name = base = role if direct else _named(expr) or role
        number = 2
        while name in self.named or name in self.taken:
            name, number = f"{base}_{number}", number + 1
        self.named[name] = expr
        return Ref(name)


#: How conditions are named after what they compare.
_RELATIONS = {
    FUNCTIONS["greater"]: "above",
    FUNCTIONS["at_least"]: "from",
    FUNCTIONS["equal"]: "is",
}


def _named(expr: Expr) -> str | None:
    """A name for a host scalar that says what it is, where there is a short one."""
    if type(expr) not in _RELATIONS:
        return _monomial(expr)
    left, right = expr.args
    if left.is_Symbol and right.is_Symbol:
        return f"{left.name}_{_RELATIONS[type(expr)]}_{right.name}"
    if left.is_Symbol and right.is_Integer and right >= 0:
        return f"{left.name}_{_RELATIONS[type(expr)]}_{right}"
    if right.is_Symbol and left.is_Integer and left >= 0 and expr.func != FUNCTIONS["at_least"]:
        return f"{right.name}_below_{left}"
    return "condition"


def _monomial(expr: Expr) -> str | None:
    """A name for a product of powers of hyper-parameters that says what it is."""
    parts = []
    for factor in sp.Mul.make_args(expr):
        base, exponent = factor.as_base_exp()
        if not base.is_Symbol or is_last(base):
            return None
        if exponent == sp.Rational(1, 2):
            parts.append(f"sqrt_{base.name}")
        elif exponent == 1:
            parts.append(base.name)
        elif exponent.is_Integer and exponent > 1:
            parts.append(f"{base.name}_{exponent}")
        else:
            return None
    return "_".join(sorted(parts))


class ArrayWriter:
    """Writes lines over arrays: sums and scalars are named on the way.

    Args:
        names: what each array is called.
    """

    #: Whether the factor of an array is a scalar of its own, whatever it is worth.
    direct = False
    #: Whether a term without a value where an entry or a sum is 0 is 0 there, as velocities are.
    vanishes = False

    def __init__(self, names: Mapping[Coordinate, str]) -> None:
        self.names: dict[Coordinate, str] = dict(names)
        #: What holds where the branch of a choice is taken that is written.
        self._conditions: list[Expr] = []

    def named(self, name: str) -> Coordinate:
        """A new array by name."""
        symbol = Coordinate(name)
        self.names[symbol] = name
        return symbol

    def line(self, hoist: Hoist, body: list[Line], value: Expr, role: str) -> IrExpr:
        """An array expression, after what it needs was added to the body.

        Args:
            hoist: the host scalars.
            body: the lines so far; sums, and scalars after them, are appended.
            value: in arrays, numbers and sums.
            role: what scalars are named after.

        Returns:
            The expression in the IR.
        """
        groups: dict[Expr, Expr] = {}
        for term in sp.Add.make_args(value):
            coefficient, part = split_product(term)
            groups[part] = groups.get(part, sp.Integer(0)) + coefficient
        return add(
            *(
                self._term(hoist, body, coefficient, part, role)
                for part, coefficient in sorted(groups.items(), key=self._place)
            )
        )

    def _place(self, group: tuple[Expr, Expr]) -> tuple[bool, int, str]:
        """Terms in the order of their arrays, what is subtracted last."""
        part, coefficient = group
        places = [*self.names]
        first = min((places.index(one) for one in coordinates(part)), default=len(places))
        return self._is_negative(coefficient, part, ""), first, str(part)

    def _is_negative(self, coefficient: Expr, part: Expr, role: str) -> bool:
        """Whether a term is subtracted."""
        return bool(part != x and coefficient.as_coeff_Mul()[0].is_negative)

    def _term(
        self, hoist: Hoist, body: list[Line], coefficient: Expr, part: Expr, role: str
    ) -> IrExpr:
        """``coefficient * part`` in the IR, with sums and scalars named on the way."""
        minus = self._is_negative(coefficient, part, role)
        coefficient = tidy_scalars(-coefficient if minus else coefficient)
        if is_host(coefficient):
            scalar = hoist(coefficient, role if self.direct else f"{role}_scale", self.direct)
        else:
            scalar = self._reduced(hoist, body, coefficient, role)
        array = self._array(hoist, body, tidy_scalars(part), role)
        term = array if scalar == ONE else mul(scalar, *self._factors(hoist, body, array, role))
        return negative(term) if minus else term

    def _factors(
        self, hoist: Hoist, body: list[Line], array: IrExpr, role: str
    ) -> tuple[IrExpr, ...]:
        """The factors of an array, to be scaled one by one.

        ``(a*g)*g`` is in range where ``a*(g*g)`` is, and where the square is not.
        """
        match array:
            case Apply(op="mul", args=args):
                parts = (self._factors(hoist, body, arg, role) for arg in args)
                return tuple(itertools.chain.from_iterable(parts))
            case Apply(op="pow", args=(base, Const(value=exponent))) if exponent == 2:
                if not isinstance(base, Ref):
                    name = _fresh_name(f"{role}_root", body, hoist)
                    body.append(Line(entries(name), base, f"its square is in {role}"))
                    base = Ref(name)
                return base, base
        return (array,)

    def _reduced(self, hoist: Hoist, body: list[Line], coefficient: Expr, role: str) -> IrExpr:
        """A scalar that needs sums, as lines after them."""
        plain, sums = self._without_sums(hoist, body, coefficient, role)
        terms = _collected(plain, set(sums))
        factor = add(*(self._scalar(hoist, term, role, set(sums)) for term in terms))
        for symbol, name in sums.items():
            if self.vanishes and any(not regular(term, symbol) for term in terms):
                factor = Select(Ref(name), constant(0).value, constant(0), factor)
        name = _fresh_name(role, body, hoist)
        body.append(Line(Array(name), factor, f"{role} per unit of the buffer"))
        return Ref(name)

    def _without_sums(
        self, hoist: Hoist, body: list[Line], expr: Expr, role: str
    ) -> tuple[Expr, dict[sp.Symbol, str]]:
        """An expression with a symbol for each sum, which becomes a line, and their names."""
        sums: dict[sp.Symbol, str] = {}
        plain: dict[Expr, Expr] = {}
        for total in outer_totals(expr):
            value = Reduce(self._summand(hoist, total, role))
            name = next((line.name for line in body if line.value == value), None)
            if name is None:
                name = _fresh_name(_sum_name(total), body, hoist)
                body.append(Line(Array(name), value, "sum over all coordinates in scope"))
            signs = {"positive": True} if self.vanishes else {"nonnegative": total.is_nonnegative}
            plain[total] = sp.Symbol(name, real=True, **signs)
            sums[plain[total]] = name
        return expr.xreplace(plain), sums

    def _summand(self, hoist: Hoist, total: Total, role: str) -> IrExpr:
        """What a sum is taken of, with its host scalars named."""
        (arg,) = total.args
        if arg.has(Total):
            raise NotDerivableError("a sum within a sum has no program yet: declare one of them")
        if not coordinates(arg):
            raise NotDerivableError(
                f"sum(...) would add up the number {arg} for each coordinate; sum what has entries"
            )
        if not arg.free_symbols - {*self.names}:
            return lower(arg, {**self.names})
        return self._hoisted(hoist, arg, f"{role}_scale", is_host)

    def _scalar(self, hoist: Hoist, expr: Expr, role: str, sums: set[sp.Symbol]) -> IrExpr:
        return self._hoisted(
            hoist, expr, f"{role}_scale", lambda part: not part.free_symbols & sums
        )

    def _array(self, hoist: Hoist, body: list[Line], part: Expr, role: str) -> IrExpr:
        part, scalars = self._with_scalars(hoist, body, part, role)
        part, sums = self._without_sums(hoist, body, part, role)

        def on_host(expr: Expr) -> bool:
            return is_host(expr) and not expr.free_symbols & (sums.keys() | scalars)

        lowered = self._hoisted(hoist, part, f"{role}_scale", on_host)
        for symbol in sorted(coordinates(part), key=str) if self.vanishes else ():
            if not regular(part, symbol):
                return Select(Ref(self.names[symbol]), constant(0).value, constant(0), lowered)
        return lowered

    def _with_scalars(
        self, hoist: Hoist, body: list[Line], part: Expr, role: str
    ) -> tuple[Expr, set[sp.Symbol]]:
        """An array expression with a line for each scalar that follows from sums; their symbols."""
        scalars: set[sp.Symbol] = set()

        def scalar(expr: Expr) -> Expr:
            if not expr.has(Total) or isinstance(expr, Total):
                return expr
            reference = self._reduced(hoist, body, expr, role)
            assert isinstance(reference, Ref)
            symbol = sp.Symbol(reference.name, real=True, nonnegative=expr.is_nonnegative)
            scalars.add(symbol)
            return symbol

        def visit(expr: Expr) -> Expr:
            if not coordinates(expr):
                return scalar(expr)
            if isinstance(expr, sp.Mul):
                outside, inside = split_product(expr)
                if outside != 1:
                    return scalar(outside) * visit(inside)
            return expr.func(*map(visit, expr.args)) if expr.has(Total) else expr

        return visit(part), scalars

    def _hoisted(self, hoist: Hoist, expr: Expr, role: str, on_host: OnHost) -> IrExpr:
        """Lower an expression, its largest host parts replaced by named scalars."""
        rename: dict[sp.Symbol, str] = dict(self.names)
        parts: dict[str, IrExpr] = {}

        def lowered_by_itself(part: IrExpr) -> Expr:
            symbol = sp.Dummy(real=True)
            rename[symbol] = f"part {len(parts)}"
            parts[rename[symbol]] = part
            return symbol

        def visit(part: Expr) -> Expr:
            if on_host(part):
                if part.is_Rational:
                    return part
                reference = self._scalar_on_host(hoist, part, role)
                symbol = sp.Symbol(reference.name, positive=part.is_positive, real=True)
                rename[symbol] = reference.name
                return symbol
            if type(part) is _WHERE:
                return lowered_by_itself(self._choice(hoist, part, role, on_host))
            if isinstance(part, sp.Add | sp.Mul):
                scalars = [arg for arg in part.args if on_host(arg)]
                arrays = [arg for arg in part.args if not on_host(arg)]
                roots = [arg for arg in arrays if is_root(arg) and coordinates(arg)]
                apart = roots if len(roots) > 1 else []
                others = [root(arg) if arg in apart else visit(arg) for arg in arrays]
                whole = part.func(*scalars)
                return part.func(visit(whole) if scalars else whole, *others)
            return part.func(*(visit(arg) for arg in part.args)) if part.args else part

        def root(part: Expr) -> Expr:
            """One of several roots in a product: their quotient may be out of range in one root."""
            inside = self._hoisted(hoist, part.base, role, on_host)
            return lowered_by_itself(Apply("sqrt", (inside,))) ** sp.sign(part.exp)

        lowered = lower(visit(expr), rename)
        return with_parts(lowered, parts) if parts else lowered

    def _choice(self, hoist: Hoist, choice: Expr, role: str, on_host: OnHost) -> IrExpr:
        """A choice; what a branch needs of the host has a value where the branch is taken."""
        test, then, otherwise = choice.args
        lowered = self._hoisted(hoist, test, role, on_host)
        branches = []
        for branch, condition in ((then, test), (otherwise, _against(test))):
            if on_host(test):
                self._conditions.append(condition)
            branches.append(self._sum(hoist, branch, role, on_host))
            if on_host(test):
                self._conditions.pop()
        if on_host(test) and _is_indicator(test):
            return Select(lowered, Fraction(1), *branches)
        return chosen(lowered, *branches)

    def _sum(self, hoist: Hoist, expr: Expr, role: str, on_host: OnHost) -> IrExpr:
        """An expression whose terms are in the order of their arrays."""
        terms = [(sp.Integer(1), term) for term in sp.Add.make_args(expr)]
        if len(terms) == 1 or not coordinates(expr):
            return self._hoisted(hoist, expr, role, on_host)
        ordered = sorted(terms, key=self._place)
        return add(*(self._hoisted(hoist, term, role, on_host) for _, term in ordered))

    def _scalar_on_host(self, hoist: Hoist, scalar: Expr, role: str) -> Ref:
        """A scalar of the host, which may have a value only where the conditions hold."""
        reference = hoist(_guarded(scalar, self._conditions), role)
        assert isinstance(reference, Ref)
        return reference


class FunctionWriter(ArrayWriter):
    """Writes the functions of an optimizer.

    Args:
        buffer: the name of the state buffer.
        unit_is_positive: whether the buffer is a positive multiple of p, which decides the signs in
            front of the scalars.
        noises: arrays of noise.
    """

    direct = True
    vanishes = True

    def __init__(
        self, buffer: str, unit_is_positive: bool, noises: Sequence[Coordinate] = ()
    ) -> None:
        self._buffer, self._noises = buffer, noises
        self._unit_is_positive = unit_is_positive
        drawn = {noise: noise.name for noise in noises}
        self._arrays = ("x", "x_new", "g", buffer, f"{buffer}_new", *drawn.values())
        super().__init__({x: "x", b: buffer, last_b: buffer, new_b: f"{buffer}_new", **drawn})

    def _is_negative(self, coefficient: Expr, part: Expr, role: str) -> bool:
        subtracted = ("kick", "undo", "shift") if self._unit_is_positive else ("drift",)
        return part != x and role in subtracted

    def stage(self, buffer: Expr, point: Expr) -> Written:
        """The function of a stage, and what its scalars are."""
        hoist = Hoist(self._arrays)
        body: list[Line] = []
        fresh = f"{self._buffer}_new"
        grouped = _grouped(buffer)
        roles = {b: "decay", g: "kick", **dict.fromkeys(self._noises, "heat")}
        terms = [
            self._term(hoist, body, coefficient, part, roles.get(part, "pull"))
            for part, coefficient in grouped
        ]
        body.append(Line(entries(fresh), add(*terms), "kick"))
        terms = []
        for part, coefficient in _grouped(point):
            role = "undo" if part.has(last_b, b) else "drift"
            terms.append(self._term(hoist, body, coefficient, part, role))
        body.append(Line(entries("x_new"), add(*terms), "drift"))
        read = {name for line in body for name in names(line.value)}
        noises = [noise.name for noise in self._noises if noise.name in read]
        function = Function(
            "kick_drift",
            (*map(entries, ("x", self._buffer, "g", *noises)), *map(Array, hoist.named)),
            tuple(body),
            ((self._buffer, entries(fresh)), ("x", entries("x_new"))),
        )
        return function, hoist.named

    def solution(self, position: Expr) -> Written:
        """The map from the point to the solution, and what its scalars are."""
        hoist = Hoist(self._arrays)
        body: list[Line] = []
        terms = [
            self._term(hoist, body, coefficient, part, "shift")
            for part, coefficient in _grouped(position)
        ]
        body.append(Line(entries("x_new"), add(*terms), "solution"))
        function = Function(
            "solution",
            (*map(entries, ("x", self._buffer)), *map(Array, hoist.named)),
            tuple(body),
            (("x", entries("x_new")),),
        )
        return function, hoist.named


def _is_indicator(test: Expr) -> bool:
    """Whether a condition is 1 where it holds and 0 elsewhere: a comparison, or a flag."""
    return type(test) in _RELATIONS or (test.is_Symbol and bool(test.is_integer))


def _against(test: Expr) -> Expr:
    """The condition that another one does not hold."""
    return sp.Integer(1) - (test if type(test) in _RELATIONS else FUNCTIONS["greater"](test, 0))


def _guarded(scalar: Expr, conditions: Sequence[Expr]) -> Expr:
    """A scalar that may have no value elsewhere as 0 where the conditions do not hold."""
    if _is_total(scalar):
        return scalar
    for test in reversed(conditions):
        scalar = _WHERE(test, scalar, 0)
    return scalar


def _is_total(expr: Expr) -> bool:
    """Whether a scalar has a value wherever its symbols have one."""
    whole = all(power.exp.is_Integer and power.exp >= 0 for power in expr.atoms(sp.Pow))
    return whole and all(type(call) in _TOTAL for call in expr.atoms(sp.Function))


def _collected(expr: Expr, sums: set[sp.Symbol]) -> list[Expr]:
    """The terms of a scalar after sums; those alike in the sums are added up."""
    groups: dict[Expr, Expr] = {}
    for term in sp.Add.make_args(sp.expand_mul(expr)):
        factors = sp.Mul.make_args(sp.powsimp(term))
        inside = sp.Mul(*(factor for factor in factors if factor.free_symbols & sums))
        outside = sp.Mul(*(factor for factor in factors if not factor.free_symbols & sums))
        groups[inside] = groups.get(inside, sp.Integer(0)) + outside
    return [tidy(outside) * inside for inside, outside in groups.items()]


def _grouped(expr: Expr) -> list[tuple[Expr, Expr]]:
    """Terms by their dependence on the coordinate: x first, then buffers, then the gradient."""
    groups: dict[Expr, Expr] = {}
    for term in sp.Add.make_args(sp.expand_mul(expr)):
        coefficient, part = split_product(tidy_scalars(term))
        groups[part] = groups.get(part, sp.Integer(0)) + coefficient
    order = {x: 0, last_b: 1, b: 2, new_b: 3, g: 4}
    kept = [(part, tidy_scalars(total)) for part, total in groups.items()]
    return sorted(
        ((part, total) for part, total in kept if total != 0),
        key=lambda item: (
            min((order.get(one, 5) for one in coordinates(item[0])), default=len(order)),
            str(item[0]),
        ),
    )


def _sum_name(total: Total) -> str:
    arg = total.args[0]
    for symbol, name in ((new_b, "norm_squared"), (b, "old_norm_squared")):
        if arg == symbol**2:
            return name
    return "old_norm_squared" if arg == last_b**2 else "total"


def _fresh_name(base: str, body: list[Line], hoist: Hoist) -> str:
    """A name that neither a line nor a host scalar of the function has."""
    taken = {*(line.name for line in body), *hoist.named, *hoist.taken}
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    hoist.taken.add(name)
    return name
