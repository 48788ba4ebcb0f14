"""How solutions of a field move together or apart: bounds of its Jacobian.

In: a field of one state.  Out: its Jacobian as a sum of words c L D R, where L and R are products
of control matrices and D is a diagonal matrix whose entries lie in [low, high], the range of the
activation's slope.  The one-sided Lipschitz constant nu is the supremum of the largest eigenvalue
of (J + J')/2; two solutions obey |dy(T)| <= exp(nu T) |dy(0)|.

With D = mE + wS, m = (low + high)/2, w = (high - low)/2 and |S| <= 1,

    nu <= lambda_max(sym(m sum c L R)) + w sum |c| |L| |R| .

A word -c M'DM with c >= 0 and low >= 0 alone gives nu <= -c low sigma_min(M)^2, and the field is
co-coercive, <df, dy> <= -|df|^2/(c high |M|^2); a Runge-Kutta step whose circle of contractivity
has the radius r is then contractive for h <= 2r/(c high |M|^2) (G. Dahlquist and R. Jeltsch,
TRITA-NA-7906, 1979; E. Celledoni et al., arXiv:2006.03364).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from scipy.optimize import minimize_scalar

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.expression import ENTRY, Operation, walk
from hamilforge.gen.derive.arrays import Array, Map
from hamilforge.gen.derive.calculus import Expr, derivative
from hamilforge.gen.derive.lines import Lines
from hamilforge.gen.derive.networks.words import (
    Diagonal,
    Matrix,
    NoWordsError,
    Word,
    jacobian,
    transposed,
)
from hamilforge.gen.program.algebra import evaluate
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.reference import FLOAT64

Floats = np.ndarray[Any, np.dtype[np.float64]]
#: Diagonal matrices of at most this size are taken at all corners of their range.
CORNERS = 10
#: An even number: where a slope jumps, at 0, it may have any value.
_SAMPLES = 40_000
#: By what part bounded slopes may seem to grow, as samples see them: to 1e9, 1e30 and beyond.
GROWN = 0.05, 1e-5, 1e-5
_SIGNS = {
    "positive": {"positive": True},
    "nonnegative": {"nonnegative": True},
    "unit-interval": {"nonnegative": True},
    "closed-unit-interval": {"nonnegative": True},
    "open-unit-interval": {"positive": True},
}


@dataclass(frozen=True, slots=True)
class Term:
    """``factor * left D right``, D diagonal with entries in [low, high]; ``low = high`` for none.

    Attributes:
        diagonal: what tells different diagonal matrices apart; None for none.
    """

    factor: Expr
    left: Word
    right: Word
    low: float
    high: float
    diagonal: Expr | None


@dataclass(frozen=True, slots=True)
class Slopes:
    """The Jacobian of a field by its state."""

    terms: tuple[Term, ...]
    parameters: tuple[kinds.Parameter, ...]

    @property
    def gradient(self) -> Term | None:
        """The only term, if it is -c M'DM with c >= 0 and a slope that is never negative."""
        if len(self.terms) != 1:
            return None
        (term,) = self.terms
        mirrored = next(iter(transposed({term.right: sp.Integer(1)})))
        falls = (-term.factor).is_nonnegative and term.low >= 0
        return term if falls and term.left == mirrored else None

    def values(self, values: Mapping[str, float]) -> dict[str, float]:
        """The parameters of the field, those that are not given at their defaults."""
        return {
            parameter.name: float(values.get(parameter.name, parameter.default))
            for parameter in self.parameters
        }


def slopes(field: kinds.Field) -> Slopes:
    """The Jacobian's words with the ranges of their diagonal matrices.

    Raises:
        NoWordsError: there are several states, or it is no such sum.
    """
    if len(field.states) != 1:
        raise NoWordsError("the bounds are for fields of one state")
    if field.arrays:
        raise NoWordsError(
            f"its fixed array {field.arrays[0].name} has numbers once it is drawn, and the bounds "
            "are in controls alone"
        )
    nodes = (node for _, value in field.rates for node in walk(value.tree))
    if any(isinstance(node, Operation) and node.op == ENTRY for node in nodes):
        raise NoWordsError("it reads entries of a vector, and words are of whole matrices")
    ((state, shape),) = field.states
    arrays = [Array(state, shape, True)]
    arrays += [Array(name, own, False) for name, own in field.controls]
    arrays += [Array(parameter.name, (), False) for parameter in field.parameters]
    lines = Lines((*arrays, Array("t", (), False)), field.activation)
    ((_, value),) = field.rates
    result = lines.named(lines.read(value), "rate")
    signed = {
        parameter.name: sp.Symbol(parameter.name, **_SIGNS[parameter.domain])
        for parameter in field.parameters
        if parameter.domain in _SIGNS
    }
    numbers = {parameter.name for parameter in field.parameters} | {
        n for n, own in field.controls if not own
    }
    parts: dict[tuple[Word, Word], list[tuple[Expr, Expr]]] = {}
    plain: dict[Word, Expr] = {}
    for word, factor in jacobian(lines, result, state).items():
        places = [k for k, letter in enumerate(word) if isinstance(letter, Diagonal)]
        if len(places) > 1:
            raise NoWordsError("two activations meet in one word of the Jacobian")
        if not {symbol.name for symbol in factor.free_symbols} <= numbers:
            raise NoWordsError("a factor of the Jacobian depends on the time")
        known = factor.xreplace({sp.Symbol(n, real=True): symbol for n, symbol in signed.items()})
        if not places:
            plain[word] = known
            continue
        letter = word[places[0]]
        assert isinstance(letter, Diagonal)
        around = word[: places[0]], word[places[0] + 1 :]
        parts.setdefault(around, []).append((known, letter.entry))
    terms = []
    for (left, right), entries in parts.items():
        if left + right in plain and plain[left + right].is_number:
            entries.append((plain.pop(left + right), sp.Integer(1)))
        # what stands between the same matrices is one diagonal matrix
        if all(factor.is_number for factor, _ in entries):
            entries = [(sp.Integer(1), sp.Add(*(factor * entry for factor, entry in entries)))]
        terms += [_term(lines, factor, left, right, entry) for factor, entry in entries]
    terms += [Term(factor, (), word, 1.0, 1.0, None) for word, factor in plain.items()]
    return Slopes(tuple(terms), field.parameters)


def _term(lines: Lines, factor: Expr, left: Word, right: Word, entry: Expr) -> Term:
    low, high = _range(lines, entry)
    # a derivative may have been written with the other sign
    if high <= 0:
        low, high, factor = 0.0 - high, 0.0 - low, -factor
    return Term(factor, left, right, low, high, entry)


def _range(lines: Lines, entry: Expr) -> tuple[float, float]:
    """The least and the largest value of an entry, whatever its argument is."""
    written = {line.target.name: line.op.value for line in lines.lines if isinstance(line.op, Map)}
    value = entry
    while inner := [symbol for symbol in value.free_symbols if symbol.name in written]:
        value = value.xreplace({symbol: written[symbol.name] for symbol in inner})
    u = sp.Symbol("u", real=True)
    shaped = sorted(
        (symbol for symbol in value.free_symbols if lines.arrays[symbol.name].shape), key=str
    )
    if len(shaped) == len(value.free_symbols) == 1:
        return _extremes(value.xreplace({shaped[0]: u}))
    arguments = [function.args[0] for function in value.atoms(sp.Function)]
    for argument in sorted({*arguments, *value.atoms(sp.Add)}, key=sp.default_sort_key):
        for symbol in shaped:
            factor = derivative(argument, symbol)
            if not factor.is_number or factor == 0:
                continue
            moved = value.subs(symbol, (u - (argument - factor * symbol)) / factor)
            if moved.free_symbols <= {u} or (moved := sp.simplify(moved)).free_symbols <= {u}:
                return _extremes(moved)
    raise NoWordsError("the slope of an activation is no function of one sum")


def _extremes(value: Expr) -> tuple[float, float]:
    """The range of a function of u on the real line, by samples near and far and refinement."""
    program = lower(value)

    def at(u: Any) -> Floats:
        with np.errstate(all="ignore"):
            return np.asarray(evaluate(program, {"u": np.asarray(u, float)}, FLOAT64), float)

    near = np.tan(np.linspace(-np.pi / 2 + 1e-3, np.pi / 2 - 1e-3, _SAMPLES))
    far = np.geomspace(2e3, 1e50, 2_000)  # squares and cubes of it are numbers still
    u = np.concatenate([-far[::-1], near, far])
    samples = np.broadcast_to(at(u), u.shape)
    # an overflow inside leaves no number; an infinite slope is one
    u, samples = u[~np.isnan(samples)], samples[~np.isnan(samples)]
    if not _seems_bounded(abs(u), abs(samples)):
        raise NoWordsError("the slope of an activation is not seen to be bounded")
    ends = []
    for sign in (1.0, -1.0):
        k = int(np.argmin(sign * samples))
        bounds = (u[max(k - 1, 0)], u[min(k + 1, len(u) - 1)])
        refined = minimize_scalar(
            lambda x, s=sign: s * float(at(x)), bounds=bounds, method="bounded",
            options={"xatol": 1e-12},
        )  # fmt: skip
        best = sign * float(np.nanmin([refined.fun, sign * samples[k]]))
        if abs(best) > 2 * abs(samples).max():  # a pole, or a root's
            raise NoWordsError("the slope of an activation is not seen to be bounded")
        # to a near integer, if that is outwards
        near_by = float(round(best))
        outwards = sign * near_by <= sign * best and abs(best - near_by) < 1e-6
        ends.append(near_by + 0.0 if outwards else best)
    return ends[0], ends[1]


def _seems_bounded(distances: Floats, sizes: Floats) -> bool:
    """Whether values do not grow from one range of distances to the next."""
    if not sizes.size or not sizes.max() < np.inf:
        return False
    reached = [sizes[distances < end].max() for end in (2e3, 1e9, 1e30, np.inf)]
    pairs = zip(itertools.pairwise(reached), GROWN, strict=True)
    return all(far <= (1 + grown) * near for (near, far), grown in pairs)


# --- numbers ------------------------------------------------------------------------------------


def product(word: Word, controls: Mapping[str, Floats], size: int) -> Floats:
    """A product of control matrices; the unit matrix for no letter.

    Args:
        word: matrices, in the order of the product.
        controls: of one layer, by name, `(rows, columns)`.
        size: of the unit matrix.

    Returns:
        The product, `(rows, columns)`.
    """
    result: Floats = np.eye(size)
    for k, letter in enumerate(word):
        assert isinstance(letter, Matrix)
        matrix = controls[letter.name].T if letter.transposed else controls[letter.name]
        result = matrix if k == 0 else result @ matrix
    return result


def one_sided(
    found: Slopes, controls: Mapping[str, Floats], parameters: Mapping[str, float], size: int
) -> tuple[float, bool]:
    """An upper bound of nu at given controls, and whether it is the supremum itself.

    Args:
        found: the Jacobian.
        controls: of one layer, by name.
        parameters: of the field.
        size: of the state.

    Returns:
        The bound in units of 1/time, and whether it is the supremum.
    """
    numbers = []
    for term in found.terms:
        factor = value(term, _numbers(controls, parameters))
        left, right = (product(word, controls, size) for word in (term.left, term.right))
        numbers.append((term, factor, left, right))
    diagonals = {term.diagonal for term in found.terms if term.diagonal is not None}
    reached = _all_corners_are_reached(numbers)
    inner = next((right.shape[0] for term, _, _, right in numbers if term.diagonal is not None), 0)
    if len(diagonals) <= 1 and inner <= CORNERS:
        # convex in D: the supremum is at a corner of its range
        low, high = next(((t.low, t.high) for t in found.terms if t.diagonal is not None), (1, 1))
        worst = -np.inf
        for corner in itertools.product((low, high), repeat=inner if low < high else 0):
            entries = np.array(corner) if corner else np.full(inner, low)
            total = np.zeros((size, size)) + sum(
                factor * left @ (entries[:, None] * right if term.diagonal is not None else right)
                for term, factor, left, right in numbers
            )
            worst = max(worst, _largest(np.asarray(total, float)))
        # the largest eigenvalue of what is negative semidefinite is a rounding above 0
        return min(worst, _by_gradient(found, numbers, size)), reached
    middle = np.zeros((size, size)) + sum(
        factor * (term.low + term.high) / 2 * left @ right for term, factor, left, right in numbers
    )
    spread = sum(
        abs(factor) * (term.high - term.low) / 2 * _norm(left) * _norm(right)
        for term, factor, left, right in numbers
    )
    bound = _largest(np.asarray(middle, float)) + spread
    return min(bound, _by_gradient(found, numbers, size)), False


def _all_corners_are_reached(numbers: Sequence[Any]) -> bool:
    """Whether the argument of the activation may be any vector: its matrix has independent rows."""
    inside = [entry for entry in numbers if entry[0].diagonal is not None]
    if not inside:
        return True
    if len(inside) > 1 and any(term.left for term, _, _, _ in inside):
        return False
    matrix = sum(factor * right for _, factor, _, right in inside)
    return bool(np.linalg.matrix_rank(matrix) == len(matrix))


def _by_gradient(found: Slopes, numbers: Sequence[Any], size: int) -> float:
    """``-c low sigma_min(M)^2`` for a word -c M'DM; infinite for another Jacobian."""
    if found.gradient is None:
        return np.inf
    ((term, factor, _, right),) = numbers
    least = float(np.linalg.svd(right, compute_uv=False)[-1]) if len(right) >= size else 0.0
    return float(factor * term.low * least**2)


def cocoercivity(
    found: Slopes, controls: Mapping[str, Floats], parameters: Mapping[str, float], size: int
) -> float | None:
    """L with <df, dy> <= -|df|^2/L, which is c high |M|^2; None where none is known.

    Args:
        found: the Jacobian.
        controls: of one layer, by name.
        parameters: of the field, by name.
        size: of the state.

    Returns:
        The constant, 0 where c is: any step is contractive then; None where the Jacobian is not
        -c M'DM.
    """
    term = found.gradient
    if term is None:
        return None
    factor = value(term, _numbers(controls, parameters))
    return -factor * term.high * _norm(product(term.right, controls, size)) ** 2


def value(term: Term, numbers: Mapping[str, float]) -> float:
    """The factor of a term, from parameters and from controls that are numbers."""
    known = {symbol: numbers[symbol.name] for symbol in term.factor.free_symbols}
    return float(term.factor.subs(known))


def _numbers(controls: Mapping[str, Floats], parameters: Mapping[str, float]) -> dict[str, float]:
    own = {name: float(control) for name, control in controls.items() if not np.ndim(control)}
    return {**parameters, **own}


def _norm(matrix: Floats) -> float:
    return float(np.linalg.norm(matrix, 2))


def _largest(matrix: Floats) -> float:
    return float(np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1])


def text(found: Slopes) -> tuple[str, str | None]:
    """The bound of nu and the condition on steps, as formulas."""
    term = found.gradient
    if term is not None:
        matrix = spelled(term.right)
        c = "" if term.factor == -1 else f"{-term.factor}*"
        low, high = _number(c, term.low), _number(c, term.high)
        bound = f"-{low}sigma_min({matrix})**2" if term.low else "0"
        return f"nu <= {bound}", f"h <= 2*r/({high}norm({matrix})**2)"
    kinds_of = list(dict.fromkeys(t.diagonal for t in found.terms if t.diagonal is not None))
    names = {
        diagonal: f"D{k + 1}" if len(kinds_of) > 1 else "D" for k, diagonal in enumerate(kinds_of)
    }
    pieces, ranges = [], {}
    for term in found.terms:
        factor = "" if term.factor == 1 else "-" if term.factor == -1 else f"{term.factor}*"
        words = [spelled(term.left)] * bool(term.left)
        if term.diagonal is not None:
            words.append(names[term.diagonal])
            ranges[words[-1]] = f"{words[-1]} in [{term.low:g}, {term.high:g}]"
        words += [spelled(term.right)] * bool(term.right)
        pieces.append(factor + (" ".join(words) or "E"))
    total = " + ".join(pieces).replace("+ -", "- ")
    where = "".join(f", {text}" for text in ranges.values())
    return f"nu <= sup lambda_max(sym({total})){where}", None


def _number(c: str, value: float) -> str:
    return c if value == 1 else f"{c}{value:g}*"


def spelled(word: Sequence[Matrix | Diagonal]) -> str:
    """A product of matrices as text."""
    return " ".join(
        f"{letter.name}'" if letter.transposed else letter.name
        for letter in word
        if isinstance(letter, Matrix)
    )
