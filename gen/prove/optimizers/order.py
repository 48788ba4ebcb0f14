"""Order of the program that is emitted, by running it in exact series in h.

In: a derivation.  Out: the order, with the coefficients that vanish and the one that does not.

``[set]`` is inverted, so that the hyper-parameters become series in h at fixed system parameters;
the potential is a polynomial with random rational coefficients in two coordinates; one step of
the emitted stages is compared with the solution of the differential equations, which Picard's
iteration gives to any order. What vanishes does so at the points tried; what does not vanish is
a proof that the order is not higher.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.derive.optimizers.rotation import LAST
from hamilforge.gen.derive.symbols import p, parameter_symbol, t
from hamilforge.gen.program.algebra import Algebra, evaluate
from hamilforge.gen.program.interpret import run_function
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.optimizers.build import Derivation
from hamilforge.gen.prove.optimizers.words import DECIMAL, field_of, field_values
from hamilforge.gen.prove.series import FLOATS, ROUNDING, Field, Irrational, Series, series_algebra

DIMENSION = 2
MAX_ORDER = 8
Noises = Mapping[str, Any]
#: Points at which the roots of common kinetic energies are rational, for each parameter value.
_POINTS: tuple[tuple[Fraction, tuple[str, str]], ...] = tuple(
    (Fraction(value), point)
    for value, point in (
        ("9/4", ("3", "3")),
        ("9/4", ("9/8", "2")),
        ("2", ("16/5", "12/5")),
        ("2", ("4", "8/7")),
        ("1/2", ("6/5", "8/5")),
        ("1/2", ("2", "4/7")),
        ("4", ("3", "5")),
    )
)


@dataclass(frozen=True, slots=True)
class ProgramOrder:
    """The order of an emitted program.

    Attributes:
        order: the order.
        field: in what numbers it was computed.
        points: how many points were tried.
    """

    order: int
    field: str
    points: int


def program_order(derivation: Derivation, start: int = 1) -> ProgramOrder:
    """The order at constant step and fixed system parameters.

    Args:
        derivation: what was derived.
        start: the order at which to begin looking; the result does not depend on it.

    Raises:
        NotDerivableError: ``[set]`` cannot be solved for the hyper-parameters, or they are no
            Laurent series in h.
    """
    inverse = invert(derivation)
    for precision in range(start + 2, MAX_ORDER + 3):
        experiments = list(_experiments(derivation, inverse, precision))
        lowest = min(valuation for valuation, _ in experiments)
        if lowest < precision:
            return ProgramOrder(lowest - 1, experiments[0][1], len(experiments))
    raise NotDerivableError(f"an order above {MAX_ORDER}")


def invert(derivation: Derivation) -> dict[sp.Symbol, sp.Expr]:
    """The hyper-parameters that ``[set]`` determines, in h and the parameters.

    Raises:
        NotDerivableError: the equations cannot be solved.
    """
    declared = [parameter_symbol(parameter) for parameter in derivation.optimizer.hyperparameters]
    inverse: dict[sp.Symbol, sp.Expr] = {}
    waiting = [(left, right) for left, right in derivation.equations.items()]
    while waiting:
        for index, (_, right) in enumerate(waiting):
            unknown = [s for s in declared if s in right.free_symbols and s not in inverse]
            if len(unknown) <= 1 or index == len(waiting) - 1:
                break
        else:
            break
        left, right = waiting.pop(index)
        if not unknown:
            if known := sorted(symbol.name for symbol in right.free_symbols & inverse.keys()):
                raise NotDerivableError(
                    f"[set].{left} follows from {known[0]}, which another equation of [set] makes "
                    f"a function of h: {left} does not stay what it is while h goes to 0"
                )
            continue
        try:
            solutions = sp.solve(sp.Eq(right, left), unknown[0])
        except NotImplementedError:
            solutions = []
        if not solutions:
            raise NotDerivableError(f"[set].{left} cannot be solved for '{unknown[0]}'")
        inverse[unknown[0]] = solutions[0]
    for _ in inverse:
        inverse = {symbol: value.xreplace(inverse) for symbol, value in inverse.items()}
    return inverse


def _experiments(
    derivation: Derivation, inverse: Mapping[sp.Symbol, sp.Expr], precision: int
) -> Iterator[tuple[int, str]]:
    """The first power of h that differs, at two points; exactly where the roots allow it."""
    field = field_of(derivation.scheme)
    done = 0
    for seed, (value, point) in enumerate(_POINTS):
        try:
            yield (
                Experiment(derivation, inverse, field, precision, seed, value, point).run(),
                field.name,
            )
        except Irrational:
            continue
        done += 1
        break
    # At a second point every parameter has a value of its own, so that none stands for another.
    for seed, (value, point) in enumerate(_POINTS[done:2], start=100):
        yield (
            Experiment(derivation, inverse, FLOATS, precision, seed, value, point).run(),
            FLOATS.name,
        )


class Experiment:
    """One step of the program beside the differential equations, from one point.

    Args:
        derivation: what was derived.
        inverse: the hyper-parameters in h and the parameters.
        field: of numbers.
        precision: the first power that is not looked at.
        seed: of the potential and the position.
        value: of the parameters.
        point: the momentum.
        unit: the power of the letter of the series that h is.
        values: of some parameters, instead of that of all.
    """

    def __init__(
        self,
        derivation: Derivation,
        inverse: Mapping[sp.Symbol, sp.Expr],
        field: Field,
        precision: int,
        seed: int,
        value: Fraction,
        point: tuple[str, str],
        unit: int = 1,
        values: Mapping[str, Fraction] = MappingProxyType({}),
    ) -> None:
        self._derivation, self._field = derivation, field
        system = derivation.system
        self._velocity = lower(system.gradient, {p: "p"})
        self._friction = lower(system.gamma, {t: "t"})
        self._precision = precision
        # Laurent series lose orders to divisions by h; a margin keeps what is compared known.
        self._working = precision + 4 * unit
        self._algebra = series_algebra(field, self._working)
        # a gradient is taken where a step of h or less has gone
        self._potential = Potential(seed, field, max(4, precision // unit))
        self._step = Series(field, unit, [field.convert(Fraction(1))], self._working)
        self._parameters = self._values(value)
        self._parameters |= {name: self._algebra.constant(n) for name, n in values.items()}
        self._inputs = self._hyper(inverse)
        generator = random.Random(seed)
        self._q = self._vector([Fraction(generator.randint(1, 9), 7) for _ in range(DIMENSION)])
        self._p = self._vector([Fraction(entry) for entry in point])

    def _vector(self, entries: list[Fraction]) -> Any:
        vector = np.empty(len(entries), dtype=object)
        for index, entry in enumerate(entries):
            vector[index] = self._algebra.constant(entry)
        return vector

    def _values(self, value: Fraction) -> dict[str, Series]:
        """Rational values of the system's and the method's parameters."""
        system = self._derivation.system
        exponents = {
            symbol for power in system.kinetic.atoms(sp.Pow) for symbol in power.exp.free_symbols
        }
        method = self._derivation.optimizer.method
        parameters = (*system.declaration.parameters, *getattr(method, "parameters", ()))
        kept = {
            parameter.name
            for parameter in parameters
            if parameter_symbol(parameter) in exponents or parameter.domain in kinds.BETWEEN_0_AND_1
        }
        chosen = {
            parameter.name: parameter.default if parameter.name in kept else value
            for parameter in parameters
        }
        if self._field is FLOATS:
            shifts = {name: Fraction(k + 7, 7) for k, name in enumerate(sorted(chosen))}
            chosen = {
                name: number if name in kept else number * shifts[name]
                for name, number in chosen.items()
            }
        return {name: self._algebra.constant(number) for name, number in chosen.items()}

    def _hyper(self, inverse: Mapping[sp.Symbol, sp.Expr]) -> dict[str, Any]:
        program = self._derivation.program
        start = Fraction(program.start_time) + 3
        self._time = self._algebra.constant(start)
        known: dict[str, Any] = {**self._parameters, "h": self._step}
        known |= field_values_by_name(self._derivation, self._field, self._algebra)
        # Parameters that [set] fixes to numbers keep them.
        for symbol, expr in self._derivation.equations.items():
            if expr.is_number:
                known[symbol.name] = evaluate(lower(expr), {}, self._algebra)
                self._parameters[symbol.name] = known[symbol.name]
        hyper: dict[str, Any] = {}
        for parameter in program.hyperparameters:
            symbol = parameter_symbol(parameter)
            if symbol in inverse:
                hyper[parameter.name] = evaluate(lower(inverse[symbol]), known, self._algebra)
            else:
                hyper[parameter.name] = known.get(
                    parameter.name, self._algebra.constant(parameter.default)
                )
        return hyper

    def _frame(self, time: Series) -> dict[str, Any]:
        return {**self._inputs, "t": time, "n": time / self._step}

    @property
    def start(self) -> tuple[Any, Any]:
        """Position and momentum before the step."""
        return self._q, self._p

    def end(self, noises: Sequence[Noises] = ({},), later: Noises = MappingProxyType({})) -> Any:
        """Position and momentum after one or more steps.

        Args:
            noises: for each step the arrays of noise that the program's stages draw, by name.
            later: those that the next stage draws, where a step ends in it.
        """
        program, algebra = self._derivation.program, self._algebra
        boundary = program.boundary
        assert boundary is not None  # of a system
        constants = field_values_by_name(self._derivation, self._field, algebra)
        parameters = {**self._parameters, **constants}
        now = self._frame(self._time - self._step)
        zero = {name: algebra.constant(Fraction(0)) for name, _ in program.host.memory}
        host = self._host(now, zero)
        start = {**parameters, **noises[0], **_marked({**parameters, **now})}
        start |= {"q": self._q, "p": self._p}
        start["g"] = self._potential.gradient(self._q)
        buffer = evaluate(boundary.buffer, start, algebra)
        point = evaluate(boundary.point, {**start, program.buffer: buffer}, algebra)
        for number, drawn in enumerate(noises):
            now = self._frame(self._time + number * self._step)
            host = self._host(now, {name: host[line] for name, line in program.host.memory})
            for index, row in zip(program.stages, program.host.rows, strict=True):
                function = program.functions[index]
                scalars = {
                    name: host[line] for name, line in zip(function.scalars, row, strict=True)
                }
                arrays = {
                    "x": [point],
                    program.buffer: [buffer],
                    "g": [self._potential.gradient(point)],
                    **{name: [noise] for name, noise in drawn.items()},
                }
                new = run_function(function, arrays, scalars, algebra)
                point, buffer = new["x"][0], new[program.buffer][0]
        end = {**parameters, **later, **_marked({**parameters, **now})}
        end |= {"x": point, program.buffer: buffer}
        position = evaluate(boundary.position, end, algebra)
        end["g"] = self._potential.gradient(position)
        return position, evaluate(boundary.momentum, end, algebra)

    def run(self) -> int:
        """The lowest power of h in which the step and the flow differ."""
        position, momentum = self.end()
        exact_position, exact_momentum = self._flow()
        differences = [*(position - exact_position), *(momentum - exact_momentum)]
        known = min(difference.precision for difference in differences)
        if known < self._precision:
            raise NotDerivableError("the working precision is too small")
        flow = (*exact_position, *exact_momentum)
        sizes = (self._field.magnitude(c) for entry in flow for c in entry.coefficients)
        if self._field is FLOATS and max(sizes) * float(ROUNDING) > float(DECIMAL):
            raise NotDerivableError("its numbers are so large that rounding hides what differs")
        exact = self._derivation.scheme.exact
        return min(
            valuation(difference, self._precision, 0.0 if exact else float(DECIMAL))
            for difference in differences
        )

    def _host(self, inputs: Mapping[str, Any], memory: Mapping[str, Any]) -> dict[str, Any]:
        program = self._derivation.program
        constants = field_values_by_name(self._derivation, self._field, self._algebra)
        values = {**inputs, **memory, **constants}
        for line in program.host.body:
            values[line.name] = evaluate(line.value, values, self._algebra)
        return values

    def rates(self, position: Any, momentum: Any, clock: Any) -> tuple[Any, Any]:
        """The right-hand sides of the differential equations.

        Args:
            position: `(2,)`.
            momentum: alike.
            clock: the time; None where the friction does not depend on it.

        Returns:
            The rates of position and momentum.
        """
        values = {**self._parameters, "p": momentum, "t": clock}
        speed = evaluate(self._velocity, values, self._algebra)
        damping = evaluate(self._friction, values, self._algebra) * momentum
        return speed, -self._potential.gradient(position) - damping

    def square(self) -> Any:
        """The square of the diffusion of the momentum, in a bath that does not change."""
        form = lower(self._derivation.system.diffusion() ** 2)
        return evaluate(form, self._parameters, self._algebra)

    def _flow(self) -> tuple[Any, Any]:
        """The solution at time h by Picard's iteration."""
        clock = self._time + self._step
        position, momentum = self._q, self._p
        for _ in range(self._precision + 1):
            speed, force = self.rates(position, momentum, clock)
            position = self._q + self._integral(speed)
            momentum = self._p + self._integral(force)
        return position, momentum

    def _integral(self, vector: Any) -> Any:
        result = np.empty(DIMENSION, dtype=object)
        for index in range(DIMENSION):
            entry = vector[index] if isinstance(vector, np.ndarray) else vector
            result[index] = entry.integral().truncated(self._precision + 1)
        return result


def valuation(series: Series, precision: int, tolerance: float) -> int:
    """The lowest power with a coefficient above the rounding of published digits.

    Args:
        series: in h.
        precision: the first power that is not looked at.
        tolerance: the largest rounding.

    Returns:
        The power; the precision if there is none below.
    """
    for power, coefficient in enumerate(series.coefficients, start=series.low):
        if power < precision and series.field.magnitude(coefficient) > tolerance:
            return power
    return precision


def field_values_by_name(derivation: Derivation, field: Field, algebra: Algebra) -> dict[str, Any]:
    """The constants of a scheme as constant series.

    Args:
        derivation: of the optimizer.
        field: where the constants live.
        algebra: of series over that field.

    Returns:
        The series by the names of the constants.
    """
    one = algebra.constant(Fraction(1))
    return {
        symbol.name: one * value
        for symbol, value in field_values(derivation.scheme.constants, field).items()
    }


def _marked(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{LAST}{name}": value for name, value in values.items()}


class Potential:
    """A polynomial in two coordinates with random rational coefficients."""

    def __init__(self, seed: int, field: Field, degree: int) -> None:
        generator = random.Random(100 + seed)
        self._field, self._degree = field, degree
        self._terms = [
            (Fraction(generator.randint(1, 9), generator.randint(1, 5)), i, degree - i)
            for degree in range(2, self._degree + 1)
            for i in range(degree + 1)
        ]

    def gradient(self, x: Any) -> Any:
        """Its gradient at a vector of two entries."""
        powers = [[self._one(x[k])] for k in range(2)]
        for k in range(2):
            for _ in range(self._degree):
                powers[k].append(powers[k][-1] * x[k])
        result = np.empty(2, dtype=object)
        result[0] = result[1] = self._one(x[0]) * 0
        for coefficient, i, j in self._terms:
            if i:
                result[0] = result[0] + powers[0][i - 1] * powers[1][j] * (coefficient * i)
            if j:
                result[1] = result[1] + powers[0][i] * powers[1][j - 1] * (coefficient * j)
        return result

    def _one(self, like: Series) -> Series:
        return Series(self._field, 0, [self._field.convert(Fraction(1))], max(like.precision, 1))
