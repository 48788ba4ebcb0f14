"""Conformal symplecticity of the program that is emitted.

In: a program. Out: whether M' Omega M = c Omega for its exact Jacobian M at random rational
points, with one factor. Every function that is not polynomial is replaced by a random rational
jet (value and slope; equal arguments, equal jets), and the Hessians of J are random symmetric
matrices, so that what holds does so whatever the functions are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from hamilforge.gen.declare.functions import CONSTANTS, PRIMITIVE
from hamilforge.gen.program.algebra import Algebra
from hamilforge.gen.program.interpret import run_function
from hamilforge.gen.program.optimizers.interpret import host_values
from hamilforge.gen.program.optimizers.optimizer import Program


class Jet:
    """A rational value with a rational tangent vector."""

    __slots__ = ("tangent", "value")

    def __init__(self, value: Fraction, tangent: tuple[Fraction, ...]) -> None:
        self.value, self.tangent = value, tangent

    def _lift(self, other: Any) -> Jet:
        return (
            other
            if isinstance(other, Jet)
            else Jet(Fraction(other), (Fraction(0),) * len(self.tangent))
        )

    def __add__(self, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        other = self._lift(other)
        return Jet(
            self.value + other.value,
            tuple(a + b for a, b in zip(self.tangent, other.tangent, strict=True)),
        )

    __radd__ = __add__

    def __neg__(self) -> Jet:
        return Jet(-self.value, tuple(-a for a in self.tangent))

    def __sub__(self, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        return self + (-self._lift(other))

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        other = self._lift(other)
        pairs = zip(self.tangent, other.tangent, strict=True)
        return Jet(
            self.value * other.value, tuple(a * other.value + b * self.value for a, b in pairs)
        )

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        other = self._lift(other)
        return self * other.chained(1 / other.value, -1 / other.value**2)

    def __rtruediv__(self, other: Any) -> Any:
        return self._lift(other) / self

    def chained(self, value: Fraction, slope: Fraction) -> Jet:
        """A function of this jet, from its value and slope."""
        return Jet(value, tuple(slope * a for a in self.tangent))


class _Jets:
    """Random rational jets of functions; equal arguments have equal jets."""

    def __init__(self, generator: random.Random, size: int) -> None:
        self._generator, self._size = generator, size
        self._known: dict[tuple[Any, ...], tuple[Fraction, Fraction]] = {}

    def number(self) -> Fraction:
        """A random rational number that is not zero."""
        return Fraction(self._generator.randint(1, 40), self._generator.randint(7, 23))

    def constant(self, value: Fraction) -> Jet:
        """A number without tangent."""
        return Jet(value, (Fraction(0),) * self._size)

    def function(self, *key: Any) -> Callable[[Any], Any]:
        """A function of one argument, entry by entry."""

        def apply(jet: Jet) -> Jet:
            full = (*key, jet.value)
            if full not in self._known:
                self._known[full] = (self.number(), self.number())
            return jet.chained(*self._known[full])

        return lambda argument: (
            np.array([apply(jet) for jet in argument], dtype=object)
            if isinstance(argument, np.ndarray)
            else apply(argument)
        )

    def _named(self, name: str) -> Jet:
        """A constant: a random number, the same wherever it stands."""
        if (name,) not in self._known:
            self._known[name,] = (self.number(), Fraction(0))
        return self.constant(self._known[name,][0])

    def power(self, base: Any, exponent: Any) -> Any:
        """A power: exact where the exponent is a small integer, a jet otherwise."""
        if isinstance(exponent, Fraction) and exponent.denominator == 1 and 0 <= exponent <= 8:
            result: Any = self.constant(Fraction(1))
            for _ in range(int(exponent)):
                result = base * result
            return result
        name = exponent.value if isinstance(exponent, Jet) else exponent
        return self.function("pow", name)(base)

    def chosen(self, subject: Any, first: Any, second: Any) -> Any:
        """One of two jets, entry by entry: drawn, the same for the same values of a subject."""
        if any(isinstance(arg, np.ndarray) for arg in (subject, first, second)):
            rows = np.broadcast(subject, first, second)
            return np.array([self.chosen(*row) for row in rows], dtype=object)
        key = ("chosen", subject.value, first.value, second.value)
        if key not in self._known:
            self._known[key] = (Fraction(self._generator.randrange(2)), Fraction(0))
        return first if self._known[key][0] else second

    def select(self, subject: Any, value: Fraction, then: Any, otherwise: Any) -> Any:
        """A choice: at random numbers none is 0; another one is drawn."""
        return otherwise() if value == 0 else self.chosen(subject, then(), otherwise())

    def algebra(self) -> Algebra:
        """Jets as an algebra for programs."""
        functions = {name: self.function(name) for name in PRIMITIVE} | {"pow": self.power}
        functions |= {name: lambda x, y: self.chosen(x - y, x, y) for name in ("max", "min")}
        functions |= {
            name: lambda x, y, name=name: self.function(name)(x - y)
            for name in ("greater", "at_least", "equal")
        }
        functions |= {name: partial(self._named, name) for name in CONSTANTS}
        return Algebra(
            self.constant,
            functions,
            lambda array: sum(array[1:], array[0]),
            self.select,
        )


def is_conformal(program: Program, dimension: int = 2, seeds: Iterable[int] = (1, 2)) -> bool:
    """Whether the emitted program is conformal symplectic at random points, with one factor.

    Args:
        program: the program.
        dimension: of q; at 1 every map of the plane would pass.
        seeds: one random point each; hyper-parameters and functions' jets are shared.

    Returns:
        Whether it is at every point, with the same factor.
    """
    factors = {_factor_at(program, dimension, seed) for seed in seeds}
    return None not in factors and len(factors) == 1


def _factor_at(program: Program, dimension: int, seed: int) -> Fraction | None:
    size = 2 * dimension
    shared = _Jets(random.Random(0), size)
    inputs = {name: shared.constant(shared.number()) for name in program.host.inputs}
    zeros = {name: shared.constant(shared.number()) for name, _ in program.host.memory}
    first = host_values(program, inputs, zeros, shared.algebra())
    memory = {name: first[line] for name, line in program.host.memory}
    host = host_values(program, inputs, memory, shared.algebra())
    jets = _Jets(random.Random(seed), size)

    def variable(index: int) -> Jet:
        unit = tuple(Fraction(int(k == index)) for k in range(size))
        return Jet(jets.number(), unit)

    point = np.array([variable(k) for k in range(dimension)], dtype=object)
    buffer = np.array([variable(dimension + k) for k in range(dimension)], dtype=object)
    algebra = jets.algebra()
    for index, row in zip(program.stages, program.host.rows, strict=True):
        function = program.functions[index]
        scalars = {name: host[line] for name, line in zip(function.scalars, row, strict=True)}
        gradient = _random_gradient(point, jets)
        arrays = {"x": [point], program.buffer: [buffer], "g": [gradient]}
        new = run_function(function, arrays, scalars, algebra)
        point, buffer = new["x"][0], new[program.buffer][0]
    matrix = [jet.tangent for jet in (*point, *buffer)]
    return _conformal_factor(matrix, dimension)


def _random_gradient(point: Any, jets: _Jets) -> Any:
    """A gradient with a random value and a random symmetric Hessian at a point."""
    dimension = len(point)
    hessian = [[Fraction(0)] * dimension for _ in range(dimension)]
    for i in range(dimension):
        for j in range(i + 1):
            hessian[i][j] = hessian[j][i] = jets.number()
    entries = []
    for i in range(dimension):
        slope = [
            sum((hessian[i][j] * point[j].tangent[k] for j in range(dimension)), Fraction(0))
            for k in range(2 * dimension)
        ]
        entries.append(Jet(jets.number(), tuple(slope)))
    return np.array(entries, dtype=object)


def _conformal_factor(matrix: list[tuple[Fraction, ...]], dimension: int) -> Fraction | None:
    """C with M' Omega M = c Omega, or None."""
    size = 2 * dimension

    def omega(left: int, right: int) -> Fraction:
        return sum(
            (
                matrix[k][left] * matrix[dimension + k][right]
                - matrix[dimension + k][left] * matrix[k][right]
                for k in range(dimension)
            ),
            Fraction(0),
        )

    factor = omega(0, dimension)
    for i in range(size):
        for j in range(size):
            wanted = factor if j == i + dimension else -factor if i == j + dimension else 0
            if omega(i, j) != wanted:
                return None
    return factor
