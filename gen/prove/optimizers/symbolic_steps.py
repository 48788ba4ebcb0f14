"""Steps of a program in symbols: hyper-parameters, the point and its gradient stay letters.

In: the program of an optimizer.  Out: values of point and state after steps, as SymPy expressions
of one coordinate.  A choice that the letters do not decide is taken as the default hyper-parameters
do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from fractions import Fraction
from typing import Any

import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.functions import CHOICE, CONDITIONS
from hamilforge.gen.declare.kinds import BETWEEN_0_AND_1, FLAG
from hamilforge.gen.derive import calculus
from hamilforge.gen.derive.calculus import FUNCTIONS, Expr, derivative, written
from hamilforge.gen.derive.symbols import LOSS
from hamilforge.gen.program.algebra import Algebra, evaluate
from hamilforge.gen.program.interpret import run_lines
from hamilforge.gen.program.ir import Function
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.program.optimizers.preparation import prepared

#: How many operations an expression may have whose common factors are looked for.
LARGE = 60
weight_decay = sp.Symbol("weight_decay", positive=True)
#: The number of a step.
number = sp.Symbol("n", positive=True)
#: A gradient as it is: its sign, the L2 factor, the factor of decoupled decay.
AS_IT_IS = (sp.Integer(1), sp.Integer(0), sp.Integer(1))
_CONDITIONS = tuple(FUNCTIONS[name] for name in CONDITIONS)


def _simple(expr: Expr) -> Expr:
    """A sum or a quotient with common factors cancelled, where that is quick."""
    if expr.is_Atom:
        return expr
    powers = (power.exp for power in expr.atoms(sp.Pow))
    if sp.count_ops(expr) > LARGE or not all(exponent.is_Integer for exponent in powers):
        return expr
    return sp.factor_terms(sp.cancel(sp.together(expr)))


class SymbolicSteps:
    """A program run in symbols.

    Args:
        program: of an optimizer.
        point: where it begins.

    Attributes:
        hyper: the symbols of the hyper-parameters; flags are what they are by default.
        arrays: point and state.
        memory: what the last step left.
        n: the number of the next step.
        noises: an entry of each array of noise: 0, for what is said of a step without it.
    """

    def __init__(self, program: Program, point: Expr) -> None:
        self.program = program
        self.noises: dict[str, Expr] = dict.fromkeys(program.noises, sp.Integer(0))
        self._defaults = {
            entry.name: sp.Rational(entry.default.numerator, entry.default.denominator)
            for entry in program.hyperparameters
        }
        self.hyper: dict[str, Expr] = {
            entry.name: self._defaults[entry.name]
            if entry.domain == FLAG
            else sp.Symbol(entry.name, real=True)
            if entry.domain == "real"
            else sp.Symbol(entry.name, positive=True)
            for entry in program.hyperparameters
        }
        self.algebra = Algebra(
            lambda value: sp.Rational(value.numerator, value.denominator),
            {
                **FUNCTIONS,
                "exp": _exponential,
                "expm1": lambda z: _exponential(z) - 1,
                "pow": _power,
                "sqrt": self._root,
                "max": lambda x, y: _ordered(x, y, FUNCTIONS["max"])[1],
                "min": lambda x, y: _ordered(x, y, FUNCTIONS["min"])[0],
                "pi": lambda: sp.pi,
            },
            self._total,
            self._select,
        )
        self.begin(point)

    def begin(self, point: Expr) -> None:
        """Stand before the first step, at the hyper-parameters in force."""
        program = self.program
        self.n: Expr = sp.Integer(1)
        #: The loss of the next step, where one is read; None if nothing is said of it.
        self.loss: Expr | None = None
        self.memory: dict[str, Expr] = {name: sp.Integer(0) for name, _ in program.host.memory}
        self.arrays: dict[str, Expr] = {name: sp.Integer(0) for name in program.states}
        self.arrays["x"] = point
        if program.start:
            values = self.lines(program.host.start, dict(self.hyper))
            row = dict(zip(program.start.scalars, program.host.start_row, strict=True))
            scalars = {name: values[line] for name, line in row.items()}
            self.arrays |= self.run(program.start, scalars, {})

    def _total(self, array: Expr) -> Expr:
        """A sum over coordinates, of which there is one."""
        return array

    @property
    def unit(self) -> set[Expr]:
        """The symbols of hyper-parameters between 0 and 1."""
        return {
            self.hyper[entry.name]
            for entry in self.program.hyperparameters
            if entry.domain in BETWEEN_0_AND_1
        }

    @property
    def known(self) -> dict[Expr, Expr]:
        """The default of each hyper-parameter that is a symbol."""
        return {
            self.hyper[name]: value
            for name, value in self._defaults.items()
            if isinstance(self.hyper[name], sp.Symbol)
        }

    def _root(self, z: Expr) -> Expr:
        """A square root."""
        return sp.sqrt(sp.factor(_simple(z)))

    def _drawn(self, symbol: sp.Symbol, place: int) -> Expr:
        """A value of a letter, where a choice depends on it."""
        del symbol
        return sp.Rational(3, 7 + place)

    def _select(
        self,
        subject: Expr,
        value: Fraction,
        then: Callable[[], Expr],
        otherwise: Callable[[], Expr],
    ) -> Expr:
        subject, chosen_at = sp.sympify(subject), sp.Rational(value.numerator, value.denominator)
        if not self._is_open(subject - chosen_at):
            return then() if self._vanishes(subject - chosen_at) else otherwise()
        is_condition = chosen_at == 1 and isinstance(subject, _CONDITIONS)
        test = subject if is_condition else FUNCTIONS["equal"](subject, chosen_at)
        return FUNCTIONS[CHOICE](test, then(), otherwise())

    def _is_open(self, difference: Expr) -> bool:
        """Whether a choice stays one."""
        del difference
        return False

    def _vanishes(self, difference: Expr) -> bool:
        """Whether a choice falls on its first value: as at the defaults, others being drawn."""
        if not difference.is_number:
            difference = difference.subs(self.known)
            free = {s: self._drawn(s, k) for k, s in enumerate(_sorted(difference))}
            difference = difference.subs(free)
        return bool(abs(sp.N(difference, 40)) < 1e-30)

    def lines(self, lines: Any, values: dict[str, Expr]) -> dict[str, Expr]:
        """The values of scalar lines, with those that they read."""
        for line in lines:
            values[line.name] = _simple(sp.sympify(evaluate(line.value, values, self.algebra)))
        return values

    def host(self) -> dict[str, Expr]:
        """The host scalars of the next step.

        Raises:
            NotDerivableError: they depend on the time.
        """
        if "t" in self.program.host.inputs:
            raise NotDerivableError(f"a step of {self.program.name} depends on the time")
        if self.program.reads_loss and self.loss is None:
            raise NotDerivableError("the step reads the loss")
        inputs = {
            LOSS: self.loss, **self.hyper, "n": self.n, "t": sp.Integer(0), **self.memory,
        }  # fmt: skip
        return self.lines((*self.program.host.constants, *self.program.host.body), inputs)

    def run(
        self, function: Function, scalars: Mapping[str, Expr], more: Mapping[str, Expr]
    ) -> dict[str, Expr]:
        """What a function changes.

        Args:
            function: of the program.
            scalars: its scalars.
            more: arrays beside point and state.

        Returns:
            The new values by array.
        """
        types = {array.name: array for array in function.inputs}
        values = {**scalars, **self.arrays, **self.noises, **more}
        (known,) = run_lines(function.lines, types, [values], self.algebra)
        return {key: sp.sympify(known[array.name]) for key, array in function.results}

    def step(
        self,
        gradient: Callable[[Expr], Expr],
        preparation: tuple[Expr, Expr, Expr],
        host: Mapping[str, Expr] | None = None,
    ) -> None:
        """One step.

        Args:
            gradient: at a point.
            preparation: the gradient's sign, the L2 factor, the factor of decoupled decay.
            host: the host scalars; those of the next step if None.
        """
        program, host = self.program, self.host() if host is None else host
        sign, l2, shrink = preparation
        for stage, (index, row) in enumerate(zip(program.stages, program.host.rows, strict=True)):
            function = prepared(program.functions[index])
            own = (host[line] for line in row)
            decay = l2 if program.decaying[stage] else sp.Integer(0)
            kept = shrink if stage == 0 else sp.Integer(1)
            scalars = dict(zip(function.scalars, (sign, decay, kept, *own), strict=True))
            self.arrays |= self.run(function, scalars, {"g": gradient(self.arrays["x"])})
        self.memory = {name: host[line] for name, line in program.host.memory}
        self.n = self.n + 1


def limit(value: Expr, fading: Set[Expr]) -> Expr:
    """A scalar as the number of the step goes to infinity.

    Args:
        value: in :data:`number`.
        fading: symbols between 0 and 1, of which powers in the number go to 0.

    Returns:
        The limit.

    Raises:
        NotDerivableError: the value has none that is known.
    """

    def fades(part: Expr) -> bool:
        if not part.is_Pow or not part.exp.has(number):
            return False
        rate = derivative(part.exp, number)
        return bool(rate.is_positive) and (
            part.base in fading or (part.base.is_number and 0 < part.base < 1)
        )

    value = sp.sympify(value)
    others = value.replace(fades, lambda part: sp.Dummy())
    if others != value and any(part.exp.has(number) for part in others.atoms(sp.Pow, sp.exp)):
        raise NotDerivableError(f"{written(value)} has powers of n that may grow")
    value = value.replace(fades, lambda part: sp.Integer(0))
    if value.has(sp.zoo, sp.nan):
        raise NotDerivableError("a scalar of the step has no value")
    if not value.has(number):
        return value
    end = calculus.limit(value, number, sp.oo)
    if end.has(sp.oo, -sp.oo, sp.nan):
        raise NotDerivableError(f"{written(value)} has no limit as n grows")
    return end


def is_steady(
    value: Expr, fixed: Mapping[Expr, Expr], known: Mapping[Expr, Expr], fading: Set[Expr]
) -> bool:
    """Whether a limit with some defaults goes to that with all, as the others go there.

    Args:
        value: in :data:`number`.
        fixed: what is at its default.
        known: the defaults.
        fading: symbols between 0 and 1.

    Returns:
        Whether both are equal; not where there is none beside the defaults.

    Raises:
        NotDerivableError: it has no limit at the defaults.
    """
    end = limit(value.subs(known), fading)
    try:
        beside = limit(value.subs(fixed), fading).subs(known)
    except NotDerivableError:
        return False
    return bool(sp.simplify(beside - end) == 0)


def _sorted(expr: Expr) -> list[sp.Symbol]:
    return sorted(expr.free_symbols, key=str)


def _ordered(x: Expr, y: Expr, function: Any) -> tuple[Expr, Expr]:
    """Two numbers in order, or what a function makes of them where that is not known."""
    difference = sp.sympify(x) - sp.sympify(y)
    if difference.is_nonnegative:
        return y, x
    if difference.is_nonpositive:
        return x, y
    return (function(x, y),) * 2


def _exponential(z: Expr) -> Expr:
    """``exp(n*log(b))`` as ``b**n``."""
    z = sp.sympify(z)
    logs = [factor for factor in sp.Mul.make_args(z) if isinstance(factor, sp.log)]
    return logs[0].args[0] ** (z / logs[0]) if logs else sp.exp(z)


def _power(base: Expr, exponent: Any) -> Expr:
    if isinstance(exponent, Fraction):
        exponent = sp.Rational(exponent.numerator, exponent.denominator)
    return base**exponent


def at_numbers(hyper: Mapping[str, Expr], values: Mapping[str, float]) -> dict[Expr, float]:
    """Values by the symbols of hyper-parameters, without those that are no symbols.

    Args:
        hyper: their symbols by name.
        values: their values by name.

    Returns:
        The values by symbol.
    """
    return {
        hyper[name]: value for name, value in values.items() if isinstance(hyper[name], sp.Symbol)
    }


def decay(program: Program, hyper: Mapping[str, Expr]) -> tuple[Expr, Expr, Expr]:
    """The preparation with weight decay on, as the rule has it by default: L2 or decoupled."""
    one, none = sp.Integer(1), sp.Integer(0)
    if program.own_decay:
        return one, none, one
    if dict(program.options).get("decoupled_weight_decay"):
        return one, none, one - hyper["lr"] * weight_decay
    return one, weight_decay, one
