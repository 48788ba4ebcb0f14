"""A method for a gradient system becomes the values of a step.

In: a :class:`Discretised` optimizer: a splitting by unknowns, an explicit table or an update of a
state, with what h and the parameters are in the hyper-parameters.  Out: the values of a step.

A letter of a splitting is the exact flow of its unknown's equation, all else frozen: of
``u' = a u + b`` that is ``exp(a h) u + (exp(a h) - 1)/a b``; where the clock moves with it,
``u = F(t, s) u + integral of F(r, s) b(r) dr`` with ``F(r, s) = exp(integral of a from r to s)``.
With a diffusion ``s`` of its own it moves by a normal number more, whose variance is the integral
of ``F(r, s)^2 s(r)^2``.  A table has one normal number a step for each unknown with noise: its
stages have the share ``c_i`` of it, and its step has all.
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp

from hamilforge.gen.declare.budget import at
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.kept_scalars import following_sums
from hamilforge.gen.declare.kinds import (
    Discretised,
    GradientSystem,
    RungeKutta,
    StateUpdate,
    UnknownSplitting,
)
from hamilforge.gen.derive.calculus import (
    FUNCTIONS,
    Coordinate,
    Expr,
    Total,
    derivative,
    is_host,
    primitive,
    split_product,
    tidy,
    to_sympy,
)
from hamilforge.gen.derive.optimizers.rotation import x
from hamilforge.gen.derive.symbols import n
from hamilforge.gen.exact.convert import in_sympy
from hamilforge.gen.program.optimizers.step_values import (
    INFINITE,
    Recorder,
    StepValues,
    loop_scalars,
    record,
)
from hamilforge.gen.tableau.build import build
from hamilforge.gen.tableau.tableau import Tableau

_TIME = sp.Symbol("t", positive=True)


def discretised_values(optimizer: Discretised) -> StepValues:
    """The values of a step.

    Raises:
        DeclarationError: an equation has no exact flow, or the method does not fit.
    """
    return _Discretisation(optimizer).values()


class _Discretisation:
    def __init__(self, optimizer: Discretised) -> None:
        self._optimizer, self._system = optimizer, optimizer.system
        method = optimizer.method
        own = (
            [entry.target for entry in method.assignments]
            if (isinstance(method, StateUpdate))
            else []
        )
        if isinstance(method, StateUpdate):  # its system says what it is for, not what it does
            reads = [entry.value for entry in method.assignments]
            reads += [value for _, value in method.start]
            reads += [method.solution] if method.solution else []
        else:
            system = self._system
            reads = [value for _, value in (*system.equations, *system.noise)] if system else []
        self._timed = any("t" in value.names() for value in reads)
        self._settings = self._read_settings(optimizer)
        step = self._settings.get("h", sp.Integer(1))
        #: Whether the time follows from the number of the step.
        self._counted = not step.free_symbols
        clock = ("t",) if self._timed and not self._counted else ()
        lines = method.assignments if isinstance(method, StateUpdate) else ()
        of_sums = following_sums(lines, optimizer.scalars)
        of_loop = loop_scalars(optimizer.loop)
        self._recorder = Recorder(
            optimizer.head.source,
            optimizer.hyperparameters,
            optimizer.unknowns,
            of_sums,
            (*of_loop, *(name for name in optimizer.scalars if name not in of_sums), *clock),
            optimizer.scope,
            own,
        )
        if optimizer.loop:
            self._recorder.begin_loop(optimizer.loop)
        self._step = self._in_hyper(step)

    @staticmethod
    def _read_settings(optimizer: Discretised) -> dict[str, Expr]:
        """H and the parameters in symbols of the hyper-parameters, by name."""
        schedules = [name for name, _ in optimizer.loop.schedules] if optimizer.loop else []
        declared = (*(entry.name for entry in optimizer.hyperparameters), *schedules)
        names = {name: sp.Symbol(name) for name in declared}
        known: dict[str, Expr] = {**names, "n": n}
        settings = {}
        for name, expression in optimizer.settings:
            value = to_sympy(expression, known)
            if value.has(*INFINITE):
                source = optimizer.head.source
                message = f"{expression.text}: divides by zero, or is no real number"
                raise DeclarationError.at(source, message, "set", name)
            settings[name] = known[name] = value
        return settings

    def _in_hyper(self, expr: Expr) -> Expr:
        """A setting in the recorder's symbols."""
        hyper: dict[str, Expr] = {**self._recorder.values.hyper}
        if loop := self._optimizer.loop:
            hyper |= {name: self._recorder.known[name] for name, _ in loop.schedules}
        return expr.subs({sp.Symbol(name): symbol for name, symbol in hyper.items()})

    def values(self) -> StepValues:
        """The values."""
        optimizer, method, recorder = self._optimizer, self._optimizer.method, self._recorder
        known = {name: self._in_hyper(value) for name, value in self._settings.items()}
        known["h"] = self._step
        start_time = sp.Rational(self._system.start_time) if self._system else sp.Integer(0)
        if self._timed and self._counted:
            known["t"] = start_time + (n - 1) * self._step
        elif self._timed:
            recorder.start("t", start_time)
        if self._system and not isinstance(method, StateUpdate):
            self._start(self._system, known)
        recorder.known |= known
        with at("the flows of its unknowns"):
            match method:
                case StateUpdate():
                    record(recorder, method, known)
                    self._tick(sp.Integer(1))
                case UnknownSplitting():
                    self._split(method)
                case RungeKutta():
                    self._table(method, self._unknowns(), sp.Integer(1), timed=True)
                    self._tick(sp.Integer(1))
        solution = method.solution if isinstance(method, StateUpdate) else None
        if loop := optimizer.loop:
            begin: dict[str, Expr] = {**recorder.values.hyper, optimizer.unknowns[0]: x}
            for name, expression in loop.start:
                place = ("outer", "start", name)
                recorder.start(name, recorder.converted(expression, begin, place))
            recorder.end_loop(loop)
            solution = loop.solution or solution
        return recorder.finish(solution, optimizer.decay_at, optimizer.requirements)

    def _unknowns(self) -> tuple[str, ...]:
        assert self._system is not None
        return self._system.unknowns

    def _start(self, system: GradientSystem, known: Mapping[str, Expr]) -> None:
        begin = {**self._recorder.values.hyper, **known, system.point: x}
        for name, expression in system.start:
            self._recorder.start(name, to_sympy(expression, begin))

    def _tick(self, weight: Expr) -> None:
        """The clock goes on."""
        recorder = self._recorder
        if not self._timed:
            return
        later = recorder.known["t"] + weight * self._step
        if self._counted:
            recorder.known["t"] = later
        else:
            recorder.assign("t", later, "t + h")

    # --- splittings ---------------------------------------------------------------------------

    def _split(self, method: UnknownSplitting) -> None:
        ticks: Expr = sp.Integer(0)
        for move in method.moves:
            weight = to_sympy(move.weight, {})
            letters = tuple(name for name in move.unknowns if name != "t")
            timed = "t" in move.unknowns
            if move.table is not None:
                self._table(move.table, letters, weight, timed)
            else:
                self._flow(letters, weight, timed)
            ticks += weight if timed else 0
        if self._timed and ticks != 1:
            raise self._refused(
                f"the clock t moves by {ticks} of a step; the letters t have weights that make 1"
            )
        if self._timed and not self._counted:
            self._recorder.assign("t", self._recorder.known["t"], "t + h")

    def _rates(self, names: tuple[str, ...], time: Expr) -> dict[str, Expr]:
        """The right-hand sides of some unknowns, their own values as symbols."""
        assert self._system is not None
        known = {**self._recorder.known, "t": time}
        equations = dict(self._system.equations)
        return {
            name: self._recorder.converted(equations[name], known, ("system",)) for name in names
        }

    def _flow(self, names: tuple[str, ...], weight: Expr, timed: bool) -> None:
        """The exact flow of some equations, each linear in its own unknown."""
        recorder = self._recorder
        span = weight * self._step
        begin = recorder.known.get("t", sp.Integer(0))
        rates = self._rates(names, _TIME if timed else begin)
        moving = {name: recorder.known[name] for name in names}
        moved = {}
        for name, rate in rates.items():
            own = moving[name]
            others = [other for other in moving.values() if other != own]
            slope = derivative(rate, own)
            slope = slope if slope.is_Atom else sp.expand(slope)
            inside = {part for total in rate.atoms(Total) for part in total.free_symbols}
            if slope.has(*moving.values()) or own in inside or rate.has(*others):
                reason = "the other unknowns of its letter" if rate.has(*others) else name
                raise self._refused(
                    f"the equation of {name} is not linear in {reason}: it has no exact flow; name "
                    "a table as the third entry of its step, or declare an update"
                )
            if self._diffusion(name, begin).has(*moving.values()):
                raise self._refused(
                    f"the noise of {name} depends on another unknown of its letter: it has no "
                    "exact flow"
                )
            rest = rate.xreplace({own: sp.Integer(0)})
            moved[name] = (
                self._timed_flow(name, own, slope, rest, begin, begin + span)
                if timed
                else _linear_flow(own, slope, rest, span)
            ) + self._spread(name, slope, begin, begin + span, timed)
        for name, value in moved.items():
            recorder.assign(name, value, f"flow of {name}")
        if timed:
            recorder.known["t"] = begin + span

    def _timed_flow(
        self, name: str, own: Expr, slope: Expr, rest: Expr, begin: Expr, end: Expr
    ) -> Expr:
        """The flow of a linear equation whose coefficients depend on the time."""
        if not slope.has(_TIME) and not rest.has(_TIME):
            return _linear_flow(own, slope, rest, end - begin)
        constants = {s: sp.Dummy(real=True) for s in rest.atoms(Coordinate) | rest.atoms(Total)}
        growth = primitive(slope, _TIME) if slope != 0 else sp.Integer(0)
        if growth is not None:
            factor = sp.simplify(sp.exp(growth.subs(_TIME, end) - growth))
            integral = primitive(sp.powsimp(sp.expand(factor * rest.xreplace(constants))), _TIME)
            if integral is not None:
                integral = integral.xreplace({dummy: s for s, dummy in constants.items()})
                over = integral.subs(_TIME, end) - integral.subs(_TIME, begin)
                return factor.subs(_TIME, begin) * own + sp.simplify(over)
        raise self._refused(
            f"the flow of {name} with the clock is no elementary function; move the clock by a "
            "letter of its own, or name a table"
        )

    def _diffusion(self, name: str, time: Expr) -> Expr:
        """The diffusion of an unknown; 0 where there is none."""
        assert self._system is not None
        declared = dict(self._system.noise).get(name)
        if declared is None:
            return sp.Integer(0)
        known = {**self._recorder.known, "t": time}
        return self._recorder.converted(declared, known, ("system",))

    def _spread(self, name: str, slope: Expr, begin: Expr, end: Expr, timed: bool) -> Expr:
        """What the noise of a linear equation adds to its flow."""
        diffusion = self._diffusion(name, _TIME if timed else begin)
        if diffusion == 0:
            return diffusion
        coefficient, part = split_product(diffusion)
        squares = coefficient**2
        if part.has(_TIME):
            raise self._refused(
                f"the noise of {name} depends on the clock and on arrays at once; move the clock "
                "by a letter of its own"
            )
        if slope.has(_TIME) or squares.has(_TIME):
            growth = primitive(2 * slope, _TIME) if slope != 0 else sp.Integer(0)
            density = None if growth is None else squares * sp.exp(growth.subs(_TIME, end) - growth)
            integral = None if density is None else primitive(sp.powsimp(density), _TIME)
            if integral is None:
                raise self._refused(
                    f"the variance of {name} over a step with the clock is no elementary function; "
                    "move the clock by a letter of its own"
                )
            variance = sp.simplify(integral.subs(_TIME, end) - integral.subs(_TIME, begin))
        elif slope == 0:
            variance = squares * (end - begin)
        elif is_host(slope):
            rest = tidy(squares / (-2 * slope))
            variance = rest * (1 - sp.exp(2 * slope * sp.expand(end - begin)))
        else:
            variance = squares * _growth(2 * slope, sp.expand(end - begin))
        return sp.sqrt(variance) * part * self._recorder.noise()

    # --- tables -------------------------------------------------------------------------------

    def _table(self, method: RungeKutta, names: tuple[str, ...], weight: Expr, timed: bool) -> None:
        """A step of an explicit table for some unknowns, all else frozen."""
        recorder, tableau = self._recorder, build(method).by_stages
        if not tableau.is_explicit:
            raise self._refused(f"{method.head.name} is implicit; an explicit table was expected")
        span = weight * self._step
        begin = {name: recorder.known[name] for name in names}
        time = recorder.known.get("t", sp.Integer(0))
        spread = {
            name: self._spread(name, sp.Integer(0), time, time + span, False) for name in names
        }
        rates: list[tuple[int, dict[str, Expr]]] = []
        for i in _in_order(tableau):
            for name in names:
                change = sum(
                    (in_sympy(tableau.a[i][j]) * rate[name] for j, rate in rates), sp.Integer(0)
                )
                change = span * change + in_sympy(tableau.c[i]) * spread[name]
                recorder.known[name] = begin[name]
                if change != 0:
                    local = f"{name}__stage_{i + 1}"  # no declared name has two underscores
                    recorder.assign(local, begin[name] + change, "stage")
                    recorder.known[name] = recorder.known[local]
            node = in_sympy(tableau.c[i]) * span if timed else sp.Integer(0)
            computed = self._rates(names, time + node)
            kept = {}
            for name, value in computed.items():
                local = f"{name}__rate_{i + 1}"
                recorder.assign(local, value, f"rate of {name}")
                kept[name] = recorder.known[local]
            rates.append((i, kept))
        recorder.known |= begin
        for name in names:
            change = sum((in_sympy(tableau.b[i]) * rate[name] for i, rate in rates), sp.Integer(0))
            moved = begin[name] + span * change + spread[name]
            recorder.assign(name, moved, f"step of {name}")
        if timed and isinstance(self._optimizer.method, UnknownSplitting):
            recorder.known["t"] = time + span

    def _refused(self, message: str) -> DeclarationError:
        return DeclarationError.single(self._optimizer.head.source.where, message, "method")


def _in_order(tableau: Tableau) -> list[int]:
    """The stages in an order in which each needs those before it only."""
    needs = tableau.needs
    order: list[int] = []
    while len(order) < len(needs):
        order.append(next(i for i in range(len(needs)) if i not in order and needs[i] <= {*order}))
    return order


def _growth(slope: Expr, span: Expr) -> Expr:
    """``(exp(a h) - 1)/a``; of an array a, h where it is 0."""
    growth = (sp.exp(slope * span) - 1) / slope
    if is_host(slope):  # its limit at 0 is taken of the finished scalar
        return growth
    still = FUNCTIONS["equal"](slope, sp.Integer(0))
    chosen: Expr = FUNCTIONS["where"](still, span, growth)
    return chosen


def _linear_flow(own: Expr, slope: Expr, rest: Expr, span: Expr) -> Expr:
    """The exact flow of ``u' = a u + b``."""
    if slope == 0:
        return own + span * rest
    grown, growth = sp.exp(slope * span), _growth(slope, span)
    terms = []
    for term in sp.Add.make_args(rest):
        coefficient, part = split_product(term)
        factor = growth * coefficient
        terms.append((tidy(factor) if is_host(factor) else factor) * part)
    return sp.Add(grown * own, *terms)
