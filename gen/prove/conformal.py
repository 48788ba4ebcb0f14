"""Conformal symplecticity: M' Omega M = c Omega for the Jacobian M of a step.

Two proofs.  Of the method, for any dimension: the chain rule over the lines of the scheme, with a
letter for each Hessian at each point; letters are symmetric matrices that need not commute, so blocks
of the Jacobian are polynomials in words, and transposition reverses the words.  A line that is a
shear with a symmetric Hessian, or a scaling of p, is conformal by itself, and factors multiply.

Of the emitted program: its exact Jacobian at random rational points, every function that is not
polynomial replaced by a random rational jet (value and slope; equal arguments, equal jets), with
random symmetric Hessians of J, in two dimensions; it must hold with the same factor at two points.

McLachlan and Perlmutter, J. Geom. Phys. 39 (2001) 276-300, doi:10.1016/S0393-0440(01)00020-1.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from hamilforge.gen.derive.calculus import Coordinate, Expr, coordinates, is_host, tidy, written
from hamilforge.gen.derive.scheme import Line, Scheme, free_constants
from hamilforge.gen.derive.system import Decay, Grad, Velocity, p, q
from hamilforge.gen.program.interpret import Algebra, host_values, run_function
from hamilforge.gen.program.ir import Program

Word = tuple[str, ...]
Polynomial = dict[Word, Expr]
IDENTITY: Polynomial = {(): sp.Integer(1)}


def _plus(left: Polynomial, right: Polynomial, factor: Expr = sp.Integer(1)) -> Polynomial:
    result = dict(left)
    for word, coefficient in right.items():
        total = sp.expand(result.get(word, sp.Integer(0)) + factor * coefficient)
        if total == 0:
            result.pop(word, None)
        else:
            result[word] = total
    return result


def _times(left: Polynomial, right: Polynomial) -> Polynomial:
    result: Polynomial = {}
    for word, one in left.items():
        for tail, other in right.items():
            result = _plus(result, {word + tail: one * other})
    return result


def _transposed(block: Polynomial) -> Polynomial:
    return {word[::-1]: coefficient for word, coefficient in block.items()}


@dataclass(frozen=True, slots=True)
class Form:
    """What a method does to the symplectic form.

    Attributes:
        factor: c, where M' Omega M = c Omega; None where there is none.
        blocks: the upper row of M' Omega M as polynomials in words, where it is not conformal.
        letters: what each letter stands for.
        lines: whether each line was found conformal by itself.
    """

    factor: Expr | None
    blocks: tuple[Polynomial, Polynomial] | None
    letters: Mapping[str, str]
    lines: bool


def form_of(scheme: Scheme, velocity: Callable[[Expr], Expr] | None = None) -> Form:
    """What a scheme does to the symplectic form, for any dimension.

    Args:
        scheme: the method.
        velocity: grad K where it is linear; a letter is used otherwise.
    """
    local = any(line.target not in (q, p) for line in scheme.lines)
    parts = [scheme.lines] if local else [(line,) for line in scheme.lines]
    factor: Expr = sp.Integer(1)
    for part in parts:
        one = _part(part, velocity)
        if one.factor is None:
            return _part(scheme.lines, velocity) if not local else one
        factor = factor * one.factor
    return Form(factor, None, {}, not local)


def _part(lines: tuple[Line, ...], velocity: Callable[[Expr], Expr] | None) -> Form:
    chain = _Chain(velocity)
    for line in lines:
        chain.follow(line)
    top, bottom = chain.rows[q], chain.rows[p]
    # M' Omega M with Omega = [[0, I], [-I, 0]] has the blocks Qa' Pb - Pa' Qb.
    blocks = [
        _plus(
            _times(_transposed(top[a]), bottom[b]), _times(_transposed(bottom[a]), top[b]), -sp.Integer(1)
        )
        for a, b in ((0, 0), (0, 1), (1, 1))
    ]
    scalar = set(blocks[1]) <= {()} and blocks[1]
    if not blocks[0] and not blocks[2] and scalar:
        return Form(blocks[1][()], None, chain.letters, False)
    return Form(None, (blocks[0], blocks[1]), chain.letters, False)


class _Chain:
    """The rows of the Jacobian of each variable with respect to q and p."""

    def __init__(self, velocity: Callable[[Expr], Expr] | None) -> None:
        self.rows: dict[Expr, tuple[Polynomial, Polynomial]] = {
            q: (IDENTITY, {}),
            p: ({}, IDENTITY),
        }
        self.letters: dict[str, str] = {}
        self._known: dict[tuple[Any, ...], str] = {}
        self._versions: dict[Expr, int] = {}
        self._velocity = velocity

    def follow(self, line: Line) -> None:
        """Differentiate a line."""
        self.rows[line.target] = self._row(line.value)
        self._versions[line.target] = self._versions.get(line.target, 0) + 1

    def _row(self, value: Expr) -> tuple[Polynomial, Polynomial]:
        row: tuple[Polynomial, Polynomial] = ({}, {})
        for term in sp.Add.make_args(sp.expand_mul(value)):
            factors = sp.Mul.make_args(term)
            scalar = sp.Mul(*(one for one in factors if is_host(one)))
            arrays = [one for one in factors if not is_host(one)]
            if not arrays:
                continue
            part = self._factor(sp.Mul(*arrays))
            row = (_plus(row[0], part[0], scalar), _plus(row[1], part[1], scalar))
        return row

    def _factor(self, expr: Expr) -> tuple[Polynomial, Polynomial]:
        if expr in self.rows:
            return self.rows[expr]
        if isinstance(expr, Velocity) and self._velocity is not None:
            return self._row(self._velocity(expr.args[0]))
        if isinstance(expr, Velocity | Grad) or len(coordinates(expr)) == 1:
            argument = expr.args[0] if isinstance(expr, Velocity | Grad) else next(iter(coordinates(expr)))
            letter = self._letter(expr, argument)
            inner = self._row(argument)
            word: Polynomial = {(letter,): sp.Integer(1)}
            return _times(word, inner[0]), _times(word, inner[1])
        raise NotImplementedError(f"conformal: {expr} depends on several vectors at once")

    def _letter(self, expr: Expr, argument: Expr) -> str:
        state = tuple((str(s), self._versions.get(s, 0)) for s in sorted(argument.atoms(Coordinate), key=str))
        key = (type(expr), str(argument) if isinstance(expr, Velocity | Grad) else str(expr), state)
        if key not in self._known:
            kind = "S" if isinstance(expr, Grad) else "T"
            number = 1 + sum(letter.startswith(kind) for letter in self.letters)
            letter = f"{kind}{number}" if number > 1 else kind
            self._known[key] = letter
            what = "Hess J" if kind == "S" else "Hess K" if isinstance(expr, Velocity) else "the slope of " + str(expr)
            self.letters[letter] = f"{what} at {argument}"
        return self._known[key]


def block_text(block: Polynomial, write: Callable[[Expr], Expr]) -> str:
    """A block as text, with a common scalar factor taken out."""
    if not block:
        return "0"
    items = {word: write(coefficient) for word, coefficient in block.items()}
    common = items.get((), next(iter(items.values())))
    if common == 0 or common == 1 or not is_host(common):
        common = sp.Integer(1)
    terms = []
    for word in sorted(items, key=lambda word: (len(word), word)):
        coefficient = tidy(items[word] / common)
        name = " ".join(word) if word else "I"
        sign = "-" if coefficient.could_extract_minus_sign() else "+"
        size = tidy(-coefficient) if sign == "-" else coefficient
        text = name if size == 1 else f"{_grouped(size)}*{name}"
        terms.append(f"{sign} {text}")
    inner = " ".join(terms).removeprefix("+ ")
    return inner if common == 1 else f"{_grouped(common)}*({inner})"


def _grouped(expr: Expr) -> str:
    return f"({written(expr)})" if expr.is_Add else written(expr)


# --- the emitted program -------------------------------------------------------------------------


class Jet:
    """A rational value with a rational tangent vector."""

    __slots__ = ("tangent", "value")

    def __init__(self, value: Fraction, tangent: tuple[Fraction, ...]) -> None:
        self.value, self.tangent = value, tangent

    def _lift(self, other: Any) -> Jet:
        return other if isinstance(other, Jet) else Jet(Fraction(other), (Fraction(0),) * len(self.tangent))

    def __add__(self, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        other = self._lift(other)
        return Jet(self.value + other.value, tuple(a + b for a, b in zip(self.tangent, other.tangent, strict=True)))

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
        return Jet(self.value * other.value, tuple(a * other.value + b * self.value for a, b in pairs))

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

        def apply(entry: Jet) -> Jet:
            full = (*key, entry.value)
            if full not in self._known:
                self._known[full] = (self.number(), self.number())
            return entry.chained(*self._known[full])

        return lambda argument: (
            np.array([apply(entry) for entry in argument], dtype=object)
            if isinstance(argument, np.ndarray)
            else apply(argument)
        )

    def power(self, base: Any, exponent: Any) -> Any:
        """A power: exact where the exponent is a small integer, a jet otherwise."""
        if isinstance(exponent, Fraction) and exponent.denominator == 1 and 0 <= exponent <= 8:
            result: Any = self.constant(Fraction(1))
            for _ in range(int(exponent)):
                result = base * result
            return result
        name = exponent.value if isinstance(exponent, Jet) else exponent
        return self.function("pow", name)(base)

    def algebra(self) -> Algebra:
        """Jets as an algebra for programs."""
        names = (
            "abs atan cos cosh exp expm1 log log1p log_cosh logistic relu sign sin sinh softplus "
            "sqrt step tan tanh"
        ).split()
        functions = {name: self.function(name) for name in names} | {"pow": self.power}
        return Algebra(
            self.constant,
            functions,
            lambda array: sum(array[1:], array[0]),
            lambda subject, value, then, otherwise: otherwise,
        )


def program_factor(program: Program, dimension: int = 2, seeds: tuple[int, ...] = (1, 2)) -> bool:
    """Whether the emitted program is conformal symplectic at random points, with one factor.

    Args:
        program: the program.
        dimension: of q; at 1 every map of the plane would pass.
        seeds: one random point each; hyper-parameters and functions' jets are shared.
    """
    factors = [_factor_at(program, dimension, seed) for seed in seeds]
    return None not in factors and len(set(factors)) == 1


def _factor_at(program: Program, dimension: int, seed: int) -> Fraction | None:
    size = 2 * dimension
    shared = _Jets(random.Random(0), size)
    jets = _Jets(random.Random(seed), size)
    inputs = {name: shared.constant(shared.number()) for name in program.host.inputs}
    zeros = {name: shared.constant(shared.number()) for name, _ in program.host.memory}
    first = host_values(program, inputs, zeros, shared.algebra())
    memory = {name: first[line] for name, line in program.host.memory}
    host = host_values(program, inputs, memory, shared.algebra())

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
    matrix = [entry.tangent for entry in (*point, *buffer)]
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


def telescoped(scheme: Scheme, factor: Expr, decay: Callable[[Expr, Expr], Expr]) -> Expr:
    """A factor with the friction factors in closed form."""
    return tidy(free_constants(scheme.constants, factor.replace(Decay, decay)))
