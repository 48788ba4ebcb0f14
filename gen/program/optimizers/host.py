"""Host scalars: what is computed once per step, before any array is read.

In: for each stage, what the scalars of its function are worth, as SymPy expressions in the present
hyper-parameters and in those of the last step.  Out: a :class:`Host`: lines in the present
hyper-parameters and in memory, finite on the closed domain, and what the next step must remember.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from fractions import Fraction

import sympy as sp

from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.kinds import ZERO_IN_DOMAIN, Optimizer, Parameter
from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.derive.calculus import Expr, tidy
from hamilforge.gen.derive.optimizers import rotation
from hamilforge.gen.derive.optimizers.rotation import Rotated, is_last, last, present
from hamilforge.gen.derive.optimizers.system import System
from hamilforge.gen.derive.scheme import Scheme, constant_values
from hamilforge.gen.derive.symbols import Decay, Heat, Impulse, h, parameter_symbol, t
from hamilforge.gen.program.ir import Function, Line
from hamilforge.gen.program.limits import finish
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.optimizers.optimizer import Host

LAST_TIMES = tuple(last(symbol) for symbol in (h, rotation.t))


class HostWriter:
    """Writes the host lines of an optimizer.

    Args:
        optimizer: the declaration.
        system: its derived system.
        scheme: its method.
        rotated: the rotated scheme.
        step: h in the hyper-parameters.
    """

    def __init__(
        self, optimizer: Optimizer, system: System, scheme: Scheme, rotated: Rotated, step: Expr
    ) -> None:
        self._optimizer, self._system, self._scheme = optimizer, system, scheme
        self._rotated, self._step = rotated, step
        self._numbers = {
            symbol: sp.Rational(str(sp.N(value, 20)))
            for symbol, value in constant_values(scheme.constants).items()
        }

    def write(
        self,
        stages: list[dict[str, Expr]],
        solution: dict[str, Expr],
        functions: list[Function],
        order: list[int],
    ) -> tuple[tuple[Parameter, ...], Host]:
        """Host lines in the present hyper-parameters and memory.

        Args:
            stages: for each stage, the scalars of its function by name.
            solution: those of the solution map.
            functions: the functions of the stages, each once.
            order: for each stage, the index of its function in ``functions``.

        Returns:
            The declared hyper-parameters, then parameters that neither were set nor cancel; and
            the host lines.

        Raises:
            DeclarationError: a scalar is infinite at a zero that a domain includes, or the clock
                starts before a pole of the friction.
        """
        memory: dict[str, Expr] = {}
        lines: dict[str, Expr] = {}
        taken = {"t", "n", *self._names()}
        several = len(stages) > 1

        def remember(expr: Expr, role: str) -> sp.Symbol:
            name = next((name for name, value in memory.items() if value == expr), None)
            if name is None:
                name, number = f"last_{role}", 2
                while name in memory or name in taken:
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
            while name in lines or name in memory or name in taken:
                name, number = f"{base}_{number}", number + 1
            lines[name] = expr
            return name

        rows = []
        for index, named in enumerate(stages):
            scalars = functions[order[index]].scalars
            suffix = f"_{index + 1}" if several else ""
            rows.append(tuple(line(named[name], name + suffix) for name in scalars))
        shift = tuple(f"{remember(expr, name)}" for name, expr in solution.items())
        kept = tuple(
            (name, line(present(expr), name.removeprefix("last_") + ("_end" if several else "")))
            for name, expr in memory.items()
        )
        guards = self._guards(line)
        timed = any(expr.has(t) for expr in lines.values())
        step = line(tidy(self._step), "step_size") if timed else ""
        hyper = self._hyperparameters([*lines.values()])
        zeros = [parameter_symbol(entry) for entry in hyper if entry.domain in ZERO_IN_DOMAIN]
        where = self._optimizer.head.source.where
        body = tuple(
            Line(Array(name), finish(expr, zeros, self._numbers, where))
            for name, expr in lines.items()
        )
        used = {symbol.name for expr in lines.values() for symbol in expr.free_symbols}
        clock = tuple(name for name in ("t", "n") if name in used)
        constants = tuple(
            Line(Array(symbol.name), lower(value))
            for symbol, value in self._scheme.constants.items()
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
            for call in part.atoms(Decay, Impulse, Heat)
            for argument in call.args
            if not argument.free_symbols & set(LAST_TIMES)
        }
        offsets = {((time - t) / h).expand() for time in times} | {sp.Integer(0)}
        first = min(offsets, key=lambda offset: float(offset.xreplace(self._numbers)))
        if not float(first.xreplace(self._numbers)) < 0:
            return ()
        earliest = line(tidy((t + first * h).xreplace({h: self._step})), "earliest_time")
        return ((earliest, Fraction(int(pole.p), int(pole.q))),)

    def _names(self) -> Iterator[str]:
        """What is declared: hyper-parameters, parameters, constants of the method."""
        optimizer = self._optimizer
        own = getattr(optimizer.method, "parameters", ())
        for entry in (*optimizer.hyperparameters, *optimizer.system.parameters, *own):
            yield entry.name
        for symbol in self._scheme.constants:
            yield symbol.name

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


def _remembered(expr: Expr, role: str, remember: object, constants: frozenset[sp.Symbol]) -> Expr:
    """Replace the largest parts that only the last step knows by memory."""
    assert callable(remember)
    marked = {symbol for symbol in expr.free_symbols if is_last(symbol)}
    if not marked:
        return expr
    if all(is_last(symbol) or symbol in constants for symbol in expr.free_symbols):
        return remember(expr, role)
    mixed = any(marked & arg.free_symbols and arg.free_symbols - marked for arg in expr.args)
    if mixed and (products := _products(expr, marked | constants)) is not None:
        return sp.Add(
            *(
                tidy(present) * _remembered(tidy(past), role, remember, constants)
                for present, past in products
            )
        )
    if isinstance(expr, sp.Add | sp.Mul):
        old = [
            arg
            for arg in expr.args
            if marked & arg.free_symbols and not arg.free_symbols - marked - constants
        ]
        rest = [_remembered(arg, role, remember, constants) for arg in expr.args if arg not in old]
        return expr.func(remember(expr.func(*old), role), *rest) if old else expr.func(*rest)
    return expr.func(*(_remembered(arg, role, remember, constants) for arg in expr.args))


def _products(expr: Expr, past: Set[sp.Symbol]) -> list[tuple[Expr, Expr]] | None:
    """A sum as products of a present and a past factor, if it is one.

    Terms with the same past are taken together, and terms with the same present, because a factor
    such as ``(1 - exp(-gamma*h))/gamma`` has a limit where its terms have none.
    """
    by_past: dict[Expr, Expr] = {}
    for term in sp.Add.make_args(sp.expand(expr)):
        old, new = sp.Integer(1), sp.Integer(1)
        for factor in sp.Mul.make_args(term):
            if not any(map(is_last, factor.free_symbols)):
                new *= factor
            elif factor.free_symbols <= past:
                old *= factor
            else:
                return None
        by_past[old] = by_past.get(old, sp.Integer(0)) + new
    by_present: dict[Expr, Expr] = {}
    for old, new in by_past.items():
        sign = -1 if new.could_extract_minus_sign() else 1
        content, present = (sign * new).as_content_primitive()
        by_present[present] = by_present.get(present, sp.Integer(0)) + sign * content * old
    return list(by_present.items())
