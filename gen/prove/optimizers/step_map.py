"""The linear part of a rule's step, after many steps: what it does on a parabola.

In: the program of a rule.  Out: the matrix of a step on the point and the arrays that are linear in
it, on J = lambda theta^2/2 as n goes to infinity, roots of averages of squares replaced by letters;
and from it the characteristic polynomial, for which lambda steps shrink, what the learning rate
comes to under a constant gradient, and what decoupled decay does.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.memory import remembered
from hamilforge.gen.derive.calculus import FUNCTIONS, Expr, derivative, tidy, written
from hamilforge.gen.program.algebra import evaluate
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.prove.optimizers.symbolic_steps import (
    AS_IT_IS,
    SymbolicSteps,
    limit,
    number,
    weight_decay,
)

curvature = sp.Symbol("lambda", positive=True)
#: The variable of the characteristic polynomial, the constant gradient.
z, gradient = (sp.Symbol(name, positive=True) for name in ("z", "g"))
#: Letters in the place of roots, in the order in which they are taken.
LETTERS = "s", "r", "u", "w"
LARGEST = 1e12
#: At how many drawn values a formula is compared.
DRAWN = 20
#: Of the text of an eigenvalue.
LONGEST = 60
_JUMPS = tuple(FUNCTIONS[name] for name in "step where greater at_least equal".split())


class FrozenSteps(SymbolicSteps):
    """A step from letters, with the scalars of the host as they are after many steps.

    Args:
        program: of a rule.
        letters: whether roots of averages are letters.
    """

    def __init__(self, program: Program, letters: bool) -> None:
        self.start: dict[str, sp.Symbol] = {}
        self.letters: dict[sp.Symbol, Expr] = {}
        self._replaces = letters
        if any(function.sums for function in program.functions):
            raise NotDerivableError("a step has sums over coordinates")
        super().__init__(program, sp.Integer(0))
        if program.own_decay:
            self.hyper["weight_decay"] = sp.Integer(0)
        names = ("x", *program.states)
        self.start = {name: sp.Symbol(f"{name}__", real=True) for name in names}
        self.arrays = dict(self.start)
        functions: dict[str, Any] = dict(self.algebra.functions)
        functions |= {name: partial(self._extreme, name) for name in ("max", "min")}
        self.algebra = type(self.algebra)(
            self.algebra.constant, functions, self.algebra.total, self.algebra.select
        )
        self.n = number
        self.limits = self._limits()

    def lines(self, lines: Any, values: dict[str, Expr]) -> dict[str, Expr]:
        """Scalars as they are: powers of n stay apart."""
        for line in lines:
            values[line.name] = sp.sympify(evaluate(line.value, values, self.algebra))
        return values

    def _moves(self, value: Expr) -> bool:
        return bool(sp.sympify(value).free_symbols & {*self.start.values()})

    def _letter(self, value: Expr) -> Expr:
        for letter, known in self.letters.items():
            if known == value:
                return letter
        letter = sp.Symbol(LETTERS[len(self.letters)], positive=True)
        self.letters[letter] = value
        return letter

    def _root(self, z: Expr) -> Expr:
        if self._replaces and self._moves(z):
            return self._letter(sp.sqrt(z))
        return super()._root(z)

    def _extreme(self, name: str, x: Expr, y: Expr) -> Expr:
        value = FUNCTIONS[name](x, y)
        return self._letter(value) if self._replaces and self._moves(value) else value

    def _drawn(self, symbol: sp.Symbol, place: int) -> Expr:
        return sp.Float(10**6) if symbol == number else super()._drawn(symbol, place)

    def _limits(self) -> dict[str, Expr]:
        """The host scalars after many steps.

        Raises:
            NotDerivableError: what is kept from step to step has no limit that is known.
        """
        host = self.program.host
        if not host.memory:
            rows = {line for row in host.rows for line in row}
            return {line: self._limit(value) for line, value in self.host().items() if line in rows}
        used = {line for row in host.rows for line in row} | {line for _, line in host.memory}
        for guess in (self._after(2), self.memory):
            self.memory = dict(guess)
            values = {
                line: self._limit(value) for line, value in self.host().items() if line in used
            }
            kept = {name: values[line] for name, line in self.program.host.memory}
            if all(sp.simplify(kept[name] - guess[name]) == 0 for name in kept):
                return values
            self.memory = {name: sp.Integer(0) for name in guess}
        raise NotDerivableError("the numbers that it keeps have no limit that is known")

    def _after(self, count: int) -> dict[str, Expr]:
        """What is kept after some steps."""
        zero = {name: sp.Integer(0) for name, _ in self.program.host.memory}
        self.memory, kept = zero, zero
        for n in range(1, count + 1):
            self.n = sp.Integer(n)
            values = self.host()
            kept = {name: values[line] for name, line in self.program.host.memory}
            self.memory = kept
        self.n, self.memory = number, zero
        return kept

    def _limit(self, value: Expr) -> Expr:
        """A scalar after many steps; what fades as a power of n, fades as it does by default."""
        value = sp.sympify(value)
        fading = {
            symbol
            for power in value.atoms(sp.Pow)
            if power.base == number
            for symbol in power.exp.free_symbols
        }
        defaults = {self.hyper[name]: value for name, value in self._defaults.items()}
        value = value.subs({symbol: defaults[symbol] for symbol in fading if symbol in defaults})
        return limit(value, self.unit)

    def moved(
        self, slope: Callable[[Expr], Expr], preparation: tuple[Expr, Expr, Expr] = AS_IT_IS
    ) -> dict[str, Expr]:
        """Point and state after a step."""
        self.arrays = dict(self.start)
        self.step(slope, preparation, self.limits)
        return self.arrays


@dataclass(frozen=True)
class StepMap:
    """What a step does on a parabola.

    Attributes:
        program: of the rule.
        names: the point and the arrays that are linear in it.
        matrix: of a step on these.
        hyper: the symbols of the hyper-parameters.
        letters: what the letters stand for.
    """

    program: Program
    names: tuple[str, ...]
    matrix: sp.Matrix
    hyper: Mapping[str, Expr]
    letters: Mapping[sp.Symbol, Expr]

    @cached_property
    def polynomial(self) -> Expr:
        """The characteristic polynomial in z."""
        return sp.collect(sp.expand(self.matrix.charpoly(z).as_expr(z)), z, _short)

    @property
    def defaults(self) -> dict[Expr, Expr]:
        """The default of each hyper-parameter."""
        return {
            self.hyper[entry.name]: sp.Rational(entry.default.numerator, entry.default.denominator)
            for entry in self.program.hyperparameters
            if isinstance(self.hyper[entry.name], sp.Symbol)
        }

    @property
    def usual(self) -> dict[Expr, Expr]:
        """The defaults, and letters of 1."""
        return {**self.defaults, **dict.fromkeys(self.letters, sp.Integer(1))}

    def drawn(self, generator: random.Random) -> dict[Expr, Expr]:
        """Values of hyper-parameters and letters within their domains."""
        interval = {
            self.hyper[entry.name]
            for entry in self.program.hyperparameters
            if entry.domain.endswith("interval")
        }
        return {
            symbol: sp.Float(generator.uniform(0.05, 0.95 if symbol in interval else 2.0))
            for symbol in self.usual
        }

    @cached_property
    def _entries(self) -> Callable[..., Any]:
        return sp.lambdify([*self.usual, curvature], self.matrix.tolist(), "numpy")

    def radius(self, value: float, numbers: Mapping[Expr, Expr]) -> float:
        """The spectral radius at a curvature."""
        arguments = (float(numbers[symbol]) for symbol in self.usual)
        matrix = np.array(self._entries(*arguments, value), complex)  # roots of drawn numbers
        return float(max(abs(np.linalg.eigvals(matrix))))

    def limit(self, numbers: Mapping[Expr, Expr]) -> float:
        """The largest curvature at which steps do not grow; 0 or infinite where there is none."""
        low, high = 1e-9, LARGEST
        if self.radius(low, numbers) > 1 + 1e-12:
            return 0.0
        if self.radius(high, numbers) <= 1:
            return math.inf
        for _ in range(100):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self.radius(middle, numbers) <= 1 else (low, middle)
        return low


def _short(expr: Expr) -> Expr:
    return tidy(expr) if not expr.has(sp.Function) else sp.factor_terms(expr)


@remembered
def step_map(program: Program) -> StepMap:
    """The linear part of a step.

    Raises:
        NotDerivableError: a step is not linear in point and state, roots of averages apart, or its
            scalars have no limit.
    """
    steps = FrozenSteps(program, letters=True)
    names, matrix, _ = linear_part(steps, steps.moved(lambda point: curvature * point))
    return StepMap(program, names, matrix, steps.hyper, steps.letters)


def at_value(part: StepMap, name: str, value: int) -> StepMap:
    """The step at a value of a hyper-parameter, on what the point depends on there.

    Args:
        part: of a rule.
        name: of the hyper-parameter.
        value: of it.

    Returns:
        The step on fewer arrays.
    """
    matrix = part.matrix.subs(part.hyper[name], value)
    size = range(matrix.shape[0])
    held = {k for k in size if matrix.row(k) == sp.eye(len(size)).row(k)} - {0}
    needed = [0]
    for row in needed:
        needed += [k for k in size if matrix[row, k] != 0 and k not in (*needed, *held)]
    names = tuple(part.names[k] for k in needed)
    return replace(part, names=names, matrix=matrix.extract(needed, needed))


def linear_part(
    steps: FrozenSteps, moved: Mapping[str, Expr]
) -> tuple[tuple[str, ...], sp.Matrix, sp.Matrix]:
    """Point and linear arrays, the matrix of a step on them, and what it adds.

    Arrays that a step leaves as they are, are numbers to it.

    Args:
        steps: from letters.
        moved: point and state after a step.

    Raises:
        NotDerivableError: the step is not linear in them.
    """
    held = {name for name, symbol in steps.start.items() if moved[name] == symbol and name != "x"}
    symbols = {symbol: name for name, symbol in steps.start.items() if name not in held}
    names = ["x"]
    for name in names:
        for symbol in sorted(moved[name].free_symbols & {*symbols}, key=str):
            if symbols[symbol] not in names:
                names.append(symbols[symbol])
    vector = [steps.start[name] for name in names]
    if any(sp.sympify(moved[name]).has(sp.sign, sp.Abs, *_JUMPS) for name in names):
        raise NotDerivableError("a step takes signs or chooses by entries: it has no linear part")
    rows = []
    for name in names:
        row = [sp.simplify(derivative(moved[name], symbol)) for symbol in vector]
        if any(entry.free_symbols & {*steps.start.values()} for entry in row):
            raise NotDerivableError("a step is not linear in point and state")
        rows.append(row)
    zeros = dict.fromkeys(vector, sp.Integer(0))
    added = [sp.simplify(moved[name].subs(zeros)) for name in names]
    if any(value.free_symbols & {*symbols} for value in added):
        raise NotDerivableError("a step is not linear in point and state")
    return tuple(names), sp.Matrix(rows), sp.Matrix(added)


def spectrum(part: StepMap) -> str:
    """The characteristic polynomial as text."""
    return written(part.polynomial)


def stability(part: StepMap) -> tuple[str | None, bool, str]:
    """For which curvatures steps shrink.

    Returns:
        The text, whether it is a formula, and why there is none if there is none.
    """
    if not part.matrix.has(curvature):
        return None, False, "steps do not depend on the curvature"
    usual = part.limit(part.usual)
    if usual == 0:
        return None, False, "steps grow on every parabola at the defaults"
    if usual == math.inf:
        return None, False, "steps shrink on every parabola at the defaults"
    generator = random.Random(0)
    drawn = [part.drawn(generator) for _ in range(DRAWN)]
    for edge in _edges(part):
        for bound in sp.solve(edge, curvature):
            if not _is(bound, part.usual, usual):
                continue
            everywhere = all(_is(bound, numbers, part.limit(numbers)) for numbers in drawn)
            where = "" if everywhere else " near the defaults"
            return f"lambda < {written(tidy(bound))}{where}", True, ""
    return f"lambda < {usual:.10g}", False, ""


def _is(bound: Expr, numbers: Mapping[Expr, Expr], limit: float) -> bool:
    """Whether a formula is the limit at some values."""
    value = bound.subs(numbers)
    known = bool(value.is_number and value.is_real) and math.isfinite(limit) and limit > 0
    return known and abs(float(value) / limit - 1) < 1e-6


def _edges(part: StepMap) -> list[Expr]:
    """Where an eigenvalue may leave the unit disk, as equations linear in the curvature."""
    degree = part.matrix.shape[0]
    edges = [part.polynomial.subs(z, -1)]
    if degree == 2:
        edges.append(part.polynomial.subs(z, 0) - 1)
    edges = [sp.expand(edge) for edge in edges]
    return [edge for edge in edges if sp.degree(edge, curvature) == 1]


def effective_rate(program: Program) -> tuple[str, str]:
    """What the displacement comes to under a constant gradient, and in units of what.

    Raises:
        NotDerivableError: it has no limit that is known.
    """
    steps = FrozenSteps(program, letters=True)
    names, _, _ = linear_part(steps, steps.moved(lambda _: gradient))
    steps = FrozenSteps(program, letters=False)
    moved = steps.moved(lambda _: gradient)
    settled: dict[sp.Symbol, Expr] = {}
    needed = _needed(steps, moved)
    for name in program.states:
        if name in needed and name not in names:
            symbol = steps.start[name]
            value = sp.sympify(moved[name]).subs(settled)
            roots = sp.solve(sp.Eq(value, symbol), symbol) if value.has(symbol) else [value]
            if len(roots) != 1 or roots[0].free_symbols & {*steps.start.values()}:
                raise NotDerivableError(f"where {name} settles is not known")
            settled[symbol] = sp.simplify(roots[0])
    moved = {name: sp.simplify(sp.sympify(value).subs(settled)) for name, value in moved.items()}
    own, matrix, added = linear_part(steps, moved)
    size = len(own)
    start, drift = (sp.Matrix(sp.symbols(f"{c}0:{size}")) for c in "uw")
    equations = [*(matrix * drift - drift), *(matrix * start + added - start - drift)]
    solutions = sp.solve(equations, [*start, *drift], dict=True)
    if len(solutions) != 1:
        raise NotDerivableError("steps under a constant gradient have no limit")
    rate = sp.simplify(solutions[0].get(drift[0], drift[0]))
    if rate.free_symbols & {*start, *drift}:
        raise NotDerivableError("steps under a constant gradient have no limit")
    eps = steps.hyper.get("eps", sp.Integer(0))
    units = (("g", gradient), ("g/(|g| + eps)", gradient / (gradient + eps)), ("sign(g)", 1))
    for unit, size_of in units:
        ratio = sp.simplify(-rate / size_of)
        if not ratio.has(gradient):
            return written(tidy(ratio)), unit
    return written(tidy(sp.simplify(-rate))), "1"


def _needed(steps: FrozenSteps, moved: Mapping[str, Expr]) -> set[str]:
    """The arrays on which the point depends, sooner or later."""
    symbols = {symbol: name for name, symbol in steps.start.items()}
    needed, todo = set[str](), ["x"]
    while todo:
        name = todo.pop()
        needed.add(name)
        read = {symbols[s] for s in sp.sympify(moved[name]).free_symbols & {*symbols}}
        todo += sorted(read - needed)
    return needed


def effective_decay(program: Program) -> dict[str, str]:
    """The eigenvalues of a step with decoupled decay and no gradient.

    Returns:
        Each as a formula; where these are long, their polynomial, their values at the defaults, and
        the rates ``(1 - z)/lr`` that these are.

    Raises:
        NotDerivableError: they are no formula.
    """
    steps = FrozenSteps(program, letters=True)
    shrink = 1 - steps.hyper["lr"] * weight_decay
    one, none = sp.Integer(1), sp.Integer(0)
    _, matrix, _ = linear_part(steps, steps.moved(lambda _: none, (one, none, shrink)))
    if matrix.shape[0] > 2:
        raise NotDerivableError("a polynomial of a degree above two")
    polynomial = matrix.charpoly(z).as_expr(z)
    texts = [written(_short(root)) for root in sp.roots(polynomial, z)]
    if max(map(len, texts)) <= LONGEST:
        return {str(number): text for number, text in enumerate(sorted(texts), start=1)}
    numbers = {steps.hyper[name]: value for name, value in steps.defaults().items()}
    numbers[weight_decay] = sp.Rational(dict(program.options)["weight_decay"])
    rate = float(steps.defaults()["lr"])
    values = sorted(np.roots([float(c) for c in sp.Poly(polynomial.subs(numbers), z).all_coeffs()]))
    return {
        "polynomial": written(sp.collect(sp.expand(polynomial), z)),
        "at the defaults": " and ".join(f"{value:.8g}" for value in values),
        "as rates": " and ".join(f"{(1 - value) / rate:.6g}" for value in values),
    }


def resting(program: Program) -> str:
    """Where a step without a gradient leaves everything: arrays in the point.

    Raises:
        NotDerivableError: a step is not linear there.
    """
    steps = FrozenSteps(program, letters=True)
    names, matrix, _ = linear_part(steps, steps.moved(lambda _: sp.Integer(0)))
    vector = [steps.start[name] for name in names]
    equations = [*(matrix * sp.Matrix(vector) - sp.Matrix(vector))]
    solutions = sp.solve(equations, vector[1:], dict=True) if len(names) > 1 else [{}]
    if len(solutions) != 1:
        raise NotDerivableError("what a step leaves in place is not known")
    theta = {steps.start["x"]: sp.Symbol("theta", real=True)}
    parts = ["grad J(theta) = 0"]
    for name, symbol in zip(names[1:], vector[1:], strict=True):
        if symbol not in solutions[0]:
            continue
        parts.append(f"{name} = {written(tidy(solutions[0][symbol]).xreplace(theta))}")
    return ", ".join(parts)
