"""A declared optimizer becomes a program.

In: an :class:`Optimizer`.  Out: a :class:`Program`: for each stage a function of the point ``x``,
the buffer and the gradient ``g``, linear where the mathematics is, with every scalar that does not
need an array computed on the host in the user's hyper-parameters, finite on their closed domain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import sympy as sp

from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.kinds import Optimizer, Parameter
from hamilforge.gen.derive import rotation
from hamilforge.gen.derive.calculus import (
    Coordinate,
    Expr,
    Total,
    coordinates,
    is_host,
    outer_totals,
    split_product,
    tidy,
    tidy_scalars,
    to_sympy,
)
from hamilforge.gen.derive.rotation import Rotated, b, g, last, last_b, new_b, rotate, x
from hamilforge.gen.derive.scheme import Scheme, constant_values, derive_scheme
from hamilforge.gen.derive.system import (
    Decay,
    Impulse,
    System,
    Velocity,
    derive_system,
    h,
    p,
    parameter_symbol,
    q,
    t,
)
from hamilforge.gen.program.ir import (
    Assign,
    Boundary,
    Function,
    Host,
    Program,
    Reduce,
    Ref,
    Select,
)
from hamilforge.gen.program.ir import Expr as IrExpr
from hamilforge.gen.program.limits import finish, regular
from hamilforge.gen.program.lower import add, constant, lower, mul, negative

ZERO_IN_DOMAIN = ("nonnegative", "unit-interval")


@dataclass(frozen=True, slots=True)
class Derivation:
    """What was derived on the way to a program; proofs and documents read it.

    Attributes:
        values: h and the parameters in the hyper-parameters, as ``[set]`` says.
        equations: the same, each in the hyper-parameters and the left sides before it.
        unit: what the buffer holds, as a multiple of p.
    """

    optimizer: Optimizer
    system: System
    scheme: Scheme
    rotated: Rotated
    values: Mapping[sp.Symbol, Expr]
    equations: Mapping[sp.Symbol, Expr]
    unit: Expr
    program: Program

    def specialised(self, expr: Expr) -> Expr:
        """An expression with the system's closed forms for Velocity, Decay and Impulse."""
        return _specialise(expr, self.system)

    def in_hyperparameters(self, expr: Expr) -> Expr:
        """A scalar of system and method as the user would write it."""
        return tidy(self.specialised(expr).xreplace(self.values))


def derive(optimizer: Optimizer) -> Derivation:
    """Derive the program of a declared optimizer.

    Raises:
        DeclarationError: the method does not fit the system, or a scalar is infinite.
    """
    system = derive_system(optimizer.system)
    scheme = derive_scheme(optimizer.method, system.symbols)
    rotated = rotate(scheme)
    equations, unit = _settings(optimizer, system, scheme)
    values: dict[sp.Symbol, Expr] = {}
    for symbol, expr in equations.items():
        values[symbol] = expr.xreplace(values)
    unit = tidy(unit.xreplace(values))
    program = _Builder(optimizer, system, scheme, rotated, values, unit).program()
    return Derivation(
        optimizer, system, scheme, rotated, values, equations, unit, program
    )


def _settings(
    optimizer: Optimizer, system: System, scheme: Scheme
) -> tuple[dict[sp.Symbol, Expr], Expr]:
    hyper = {entry.name: parameter_symbol(entry) for entry in optimizer.hyperparameters}
    inner = {**scheme.symbols, **system.symbols, "h": h}
    known: dict[str, Expr] = {**inner, **hyper}
    values = {
        inner[name]: to_sympy(expression, known) for name, expression in optimizer.settings
    }
    unit: Expr = sp.Integer(1)
    if optimizer.buffer_value is not None:
        whole = to_sympy(optimizer.buffer_value, {**known, "p": p})
        unit = tidy(whole / p)
        if coordinates(unit) or unit == 0:
            raise DeclarationError.single(
                optimizer.head.source.where, "the buffer must be a multiple of p", "[state]"
            )
    return values, unit


def _specialise(expr: Expr, system: System) -> Expr:
    """Put the system's closed forms in the place of Velocity, Decay and Impulse."""

    def in_force(value: Expr, by: Expr) -> Expr:
        marked = any(symbol.name.startswith("last_") for symbol in by.free_symbols)
        names = {symbol: last(symbol) for symbol in system.symbols.values()}
        return value.xreplace(names) if marked and by.has(last_b, *_last_times) else value

    def visit(part: Expr) -> Expr:
        if not part.args:
            return part
        args = [visit(arg) for arg in part.args]
        if isinstance(part, Velocity):
            return in_force(system.velocity(args[0]), args[0])
        if isinstance(part, Decay):
            return in_force(system.decay(*args), sp.Tuple(*args))
        if isinstance(part, Impulse):
            return in_force(system.impulse(*args), sp.Tuple(*args))
        return part.func(*args)

    return visit(expr)


_last_times = tuple(last(symbol) for symbol in (h, rotation.t))


def _lasting(values: Mapping[sp.Symbol, Expr], constants: Iterable[sp.Symbol]) -> dict[Expr, Expr]:
    """The values of the last step; constants do not change from step to step."""
    lasting = {last(symbol): last(value) for symbol, value in values.items()}
    return lasting | {last(symbol): symbol for symbol in constants}


class _Hoist:
    """Host scalars by name; equal expressions share a name."""

    def __init__(self) -> None:
        self.named: dict[str, Expr] = {}

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
        name = base = role if direct else _monomial(expr) or role
        number = 2
        while name in self.named:
            name, number = f"{base}_{number}", number + 1
        self.named[name] = expr
        return Ref(name)


def _monomial(expr: Expr) -> str | None:
    """A name for a product of powers of hyper-parameters that says what it is."""
    parts = []
    for factor in sp.Mul.make_args(expr):
        base, exponent = factor.as_base_exp()
        if not base.is_Symbol or base.name.startswith("last_"):
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


class _Builder:
    def __init__(
        self,
        optimizer: Optimizer,
        system: System,
        scheme: Scheme,
        rotated: Rotated,
        values: Mapping[sp.Symbol, Expr],
        unit: Expr,
    ) -> None:
        self._optimizer, self._system, self._scheme = optimizer, system, scheme
        self._rotated, self._values, self._unit = rotated, values, unit
        self._lasting = _lasting(values, scheme.constants)
        self._buffer = optimizer.buffer
        self._numbers = {
            symbol: sp.Rational(str(sp.N(value, 20)))
            for symbol, value in constant_values(scheme.constants).items()
        }
        self._unit_is_positive = bool(unit.is_positive)
        self._names = {x: "x", b: self._buffer, last_b: self._buffer, new_b: f"{self._buffer}_new"}

    def _finished(self, expr: Expr) -> Expr:
        """An array expression in the hyper-parameters and the stored buffer."""
        unit, last_unit = self._unit, last(self._unit).xreplace(self._lasting)
        stored = {b: b / unit, new_b: new_b / unit, last_b: last_b / last_unit}
        special = _specialise(expr, self._system).xreplace(self._lasting).xreplace(self._values)
        if self._optimizer.scope == "coordinate":
            special = special.replace(Total, lambda arg: arg)
        return special.xreplace(stored)

    def program(self) -> Program:
        stages = [
            self._stage(stage.buffer, stage.point, index)
            for index, stage in enumerate(self._rotated.stages)
        ]
        solution = self._solution()
        functions: list[Function] = []
        order = []
        for function, _ in stages:
            if function not in functions:
                functions.append(function)
            order.append(functions.index(function))
        if len(functions) > 1:
            functions = [
                Function(f"{one.name}_{number}", one.arrays, one.scalars, one.body, one.results)
                for number, one in enumerate(functions, start=1)
            ]
        hyper, host = self._host([named for _, named in stages], solution[1], functions, order)
        reduced = any(
            isinstance(line.value, Reduce) for one in functions for line in one.body
        )
        return Program(
            name=self._optimizer.head.name,
            hyperparameters=hyper,
            settings=tuple(
                Assign(symbol.name, lower(value), "host") for symbol, value in self._values.items()
            ),
            buffer=self._buffer,
            scope=self._optimizer.scope if reduced else "coordinate",
            host=host,
            functions=tuple(functions),
            stages=tuple(order),
            solution=solution[0],
            shifted=self._rotated.shifted,
            boundary=self._boundary(),
            start_time=self._optimizer.start_time,
        )

    def _stage(self, buffer: Expr, point: Expr, index: int) -> tuple[Function, dict[str, Expr]]:
        """The function of a stage, and what its scalars are."""
        hoist = _Hoist()
        body: list[Assign] = []
        fresh = f"{self._buffer}_new"
        grouped = _grouped(self._finished(buffer) * self._unit)
        terms = [
            self._term(hoist, body, coefficient, part, {b: "decay", g: "kick"}.get(part, "pull"))
            for part, coefficient in grouped
        ]
        body.append(Assign(fresh, add(*terms), "array", "kick"))
        terms = []
        for part, coefficient in _grouped(self._finished(point)):
            role = "undo" if part.has(last_b, b) else "drift"
            terms.append(self._term(hoist, body, coefficient, part, role))
        body.append(Assign("x_new", add(*terms), "array", "drift"))
        function = Function(
            "kick_drift",
            ("x", self._buffer, "g"),
            tuple(hoist.named),
            tuple(body),
            ((self._buffer, fresh), ("x", "x_new")),
        )
        return function, hoist.named

    def _solution(self) -> tuple[Function, dict[str, Expr]]:
        hoist = _Hoist()
        body: list[Assign] = []
        terms = [
            self._term(hoist, body, coefficient, part, "shift")
            for part, coefficient in _grouped(self._finished(self._rotated.position))
        ]
        body.append(Assign("x_new", add(*terms), "array", "solution"))
        function = Function(
            "solution", ("x", self._buffer), tuple(hoist.named), tuple(body), (("x", "x_new"),)
        )
        return function, hoist.named

    def _term(
        self, hoist: _Hoist, body: list[Assign], coefficient: Expr, part: Expr, role: str
    ) -> IrExpr:
        """``coefficient * part`` in the IR, with sums and scalars named on the way."""
        coefficient = tidy_scalars(coefficient)
        minus = part != x and role in (
            ("kick", "undo", "shift") if self._unit_is_positive else ("drift",)
        )
        if minus:
            coefficient = tidy_scalars(-coefficient)
        if is_host(coefficient):
            scalar = hoist(coefficient, role, direct=True)
        else:
            scalar = self._reduced(hoist, body, coefficient, role)
        array = self._array(hoist, tidy_scalars(part), role)
        term = mul(scalar, array)
        return negative(term) if minus else term

    def _reduced(
        self, hoist: _Hoist, body: list[Assign], coefficient: Expr, role: str
    ) -> IrExpr:
        """A scalar that needs sums, as lines after them."""
        sums: dict[sp.Symbol, str] = {}
        plain: dict[Expr, Expr] = {}
        for total in outer_totals(coefficient):
            value = lower(total, {**self._names})
            name = next(
                (line.target for line in body if line.value == value), None
            ) or _fresh_name(_sum_name(total), body)
            if all(line.target != name for line in body):
                body.append(Assign(name, value, "reduced", "sum over all coordinates in scope"))
            plain[total] = sp.Symbol(name, positive=True)
            sums[plain[total]] = name
        terms = _collected(coefficient.xreplace(plain), set(sums))
        value = add(*(self._scalar(hoist, term, role, set(sums)) for term in terms))
        for symbol, name in sums.items():
            if any(not regular(term, symbol) for term in terms):
                value = Select(Ref(name), constant(0).value, constant(0), value)
        name = _fresh_name(role, body)
        body.append(Assign(name, value, "reduced", f"{role} per unit of the buffer"))
        return Ref(name)

    def _scalar(
        self, hoist: _Hoist, expr: Expr, role: str, sums: set[sp.Symbol]
    ) -> IrExpr:
        return self._hoisted(
            hoist, expr, f"{role}_scale", lambda part: not part.free_symbols & sums
        )

    def _array(self, hoist: _Hoist, part: Expr, role: str) -> IrExpr:
        lowered = self._hoisted(hoist, part, f"{role}_scale", is_host)
        for symbol in sorted(coordinates(part), key=str):
            if not regular(part, symbol):
                return Select(Ref(self._names[symbol]), constant(0).value, constant(0), lowered)
        return lowered

    def _hoisted(self, hoist: _Hoist, expr: Expr, role: str, on_host: object) -> IrExpr:
        """Lower an expression, its largest host parts replaced by named scalars."""
        assert callable(on_host)
        rename: dict[sp.Symbol, str] = dict(self._names)

        def visit(part: Expr) -> Expr:
            if on_host(part):
                if part.is_Rational:
                    return part
                reference = hoist(part, role)
                assert isinstance(reference, Ref)
                symbol = sp.Symbol(reference.name, positive=part.is_positive, real=True)
                rename[symbol] = reference.name
                return symbol
            if isinstance(part, sp.Add | sp.Mul):
                scalars = [arg for arg in part.args if on_host(arg)]
                others = [visit(arg) for arg in part.args if not on_host(arg)]
                whole = part.func(*scalars)
                return part.func(visit(whole) if scalars else whole, *others)
            return part.func(*(visit(arg) for arg in part.args)) if part.args else part

        return lower(visit(expr), rename)

    def _host(
        self,
        stages: list[dict[str, Expr]],
        solution: dict[str, Expr],
        functions: list[Function],
        order: list[int],
    ) -> tuple[tuple[Parameter, ...], Host]:
        """Host lines in the present hyper-parameters and memory."""
        memory: dict[str, Expr] = {}
        lines: dict[str, Expr] = {}
        several = len(stages) > 1

        def remember(expr: Expr, role: str) -> sp.Symbol:
            name = next((name for name, value in memory.items() if value == expr), None)
            if name is None:
                name, number = f"last_{role}", 2
                while name in memory:
                    name, number = f"last_{role}_{number}", number + 1
                memory[name] = expr
            return sp.Symbol(name, real=True)

        def line(expr: Expr, name: str) -> str:
            expr = _remembered(expr, name, remember, frozenset(self._scheme.constants))
            if expr.is_Symbol:
                return expr.name
            known = next((key for key, value in lines.items() if value == expr), None)
            if known is not None:
                return known
            base, number = name, 2
            while name in lines:
                name, number = f"{base}_{number}", number + 1
            lines[name] = expr
            return name

        rows = []
        for index, named in enumerate(stages):
            scalars = functions[order[index]].scalars
            suffix = f"_{index + 1}" if several else ""
            rows.append(tuple(line(named[name], name + suffix) for name in scalars))
        shift = tuple(
            f"{remember(expr, name)}" for name, expr in solution.items()
        )
        kept = tuple(
            (name, line(_present(expr), name.removeprefix("last_") + ("_end" if several else "")))
            for name, expr in memory.items()
        )
        guards = self._guards(line)
        timed = any(expr.has(t) for expr in lines.values())
        step = line(tidy(self._values[h]), "step_size") if timed else ""
        hyper = self._hyperparameters([*lines.values()])
        zeros = [
            parameter_symbol(entry) for entry in hyper if entry.domain in ZERO_IN_DOMAIN
        ]
        where = self._optimizer.head.source.where
        body = tuple(
            Assign(name, lower(finish(expr, zeros, self._numbers, where)), "host")
            for name, expr in lines.items()
        )
        used = {symbol.name for expr in lines.values() for symbol in expr.free_symbols}
        clock = tuple(name for name in ("t", "n") if name in used)
        constants = tuple(
            Assign(symbol.name, lower(value), "host")
            for symbol, value in self._scheme.constants.items()
            if symbol.name in used or self._scheme.constants
        )
        inputs = (*(entry.name for entry in hyper), *clock)
        return hyper, Host(inputs, constants, body, tuple(rows), kept, shift, guards, step)

    def _guards(self, line: Callable[[Expr, str], str]) -> tuple[tuple[str, Fraction], ...]:
        """The earliest time of a step must come after the last pole of the friction before t."""
        gamma = self._system.gamma
        poles = sorted(sp.singularities(gamma, t, sp.S.Reals)) if gamma.has(t) else []
        if not poles:
            return ()
        start, pole = self._optimizer.start_time, poles[-1]
        if start <= pole:
            raise DeclarationError.single(
                self._optimizer.head.source.where,
                f"the clock starts at t = {start}, where the friction {gamma} is not defined; "
                f"a start after {pole} was expected",
                "[start].t",
            )
        times = {
            argument
            for stage in self._rotated.stages
            for part in (stage.buffer, stage.point)
            for call in part.atoms(Decay, Impulse)
            for argument in call.args
            if not argument.free_symbols & set(_last_times)
        }
        offsets = {((time - t) / h).expand() for time in times} | {sp.Integer(0)}
        first = min(offsets, key=lambda offset: float(offset.xreplace(self._numbers)))
        if not float(first.xreplace(self._numbers)) < 0:
            return ()
        earliest = line(tidy((t + first * h).xreplace(self._values)), "earliest_time")
        return ((earliest, Fraction(int(pole.p), int(pole.q))),)

    def _hyperparameters(self, scalars: list[Expr]) -> tuple[Parameter, ...]:
        """The declared hyper-parameters, then parameters that neither were set nor cancel."""
        declared = self._optimizer.hyperparameters
        names = {entry.name for entry in declared}
        used = {symbol.name for expr in scalars for symbol in expr.free_symbols}
        method = self._optimizer.method
        own = getattr(method, "parameters", ())
        more = [
            entry
            for entry in (*self._optimizer.system.parameters, *own)
            if entry.name in used and entry.name not in names
        ]
        return (*declared, *more)

    def _boundary(self) -> Boundary:
        """The ends of a step, for proofs."""
        position = self._finished(self._rotated.position)
        momentum = self._finished(self._rotated.momentum)
        momentum = sp.expand(momentum)
        scale = momentum.coeff(last_b)
        pull = momentum.coeff(g)
        names = {**self._names, p: "p", q: "q"}
        point = sp.expand(q + x - position)
        ends = (position, momentum, (p - pull * g) / scale, point)
        return Boundary(*(lower(end, names) for end in ends))


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
        key=lambda item: (min(order[one] for one in coordinates(item[0])), str(item[0])),
    )


def _sum_name(total: Total) -> str:
    arg = total.args[0]
    for symbol, name in ((new_b, "norm_squared"), (b, "old_norm_squared")):
        if arg == symbol**2:
            return name
    return "old_norm_squared" if arg == last_b**2 else "total"


def _fresh_name(base: str, body: list[Assign]) -> str:
    taken = {line.target for line in body}
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name


def _is_last(symbol: sp.Symbol) -> bool:
    return symbol.name.startswith("last_")


def _present(expr: Expr) -> Expr:
    """A scalar of the last step, as it is computed when that step is the present one."""
    return expr.xreplace(
        {
            symbol: sp.Symbol(symbol.name.removeprefix("last_"), **symbol.assumptions0)
            for symbol in expr.free_symbols
        }
    )


def _remembered(
    expr: Expr, role: str, remember: object, constants: frozenset[sp.Symbol]
) -> Expr:
    """Replace the largest parts that only the last step knows by memory."""
    assert callable(remember)
    marked = {symbol for symbol in expr.free_symbols if _is_last(symbol)}
    if not marked:
        return expr
    if all(_is_last(symbol) or symbol in constants for symbol in expr.free_symbols):
        return remember(expr, role)
    if isinstance(expr, sp.Add | sp.Mul):
        old = [arg for arg in expr.args if marked & arg.free_symbols and not arg.free_symbols - marked - constants]
        rest = [_remembered(arg, role, remember, constants) for arg in expr.args if arg not in old]
        return expr.func(remember(expr.func(*old), role), *rest) if old else expr.func(*rest)
    return expr.func(*(_remembered(arg, role, remember, constants) for arg in expr.args))
