"""The Jacobian of a field as words: sums of products of matrices and diagonal matrices.

In: lines, and a direction of their inputs.  Out: the derivative of a result as a polynomial in
letters that do not commute: control matrices, perhaps transposed, and diagonal matrices of entries.
Two polynomials that are equal are equal for all dimensions and all numbers; to transpose one,
reverse its words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sympy as sp

from hamilforge.gen.derive.adjoint import slope
from hamilforge.gen.derive.arrays import Map, Product, Transpose
from hamilforge.gen.derive.calculus import Expr, derivative
from hamilforge.gen.derive.lines import Lines


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix by its name."""

    name: str
    transposed: bool


@dataclass(frozen=True, slots=True)
class Diagonal:
    """A diagonal matrix: its generic entry."""

    entry: Expr


Letter = Matrix | Diagonal
Word = tuple[Letter, ...]
Words = Mapping[Word, Expr]


class NoWordsError(Exception):
    """A derivative is no polynomial in matrices and diagonal matrices, such as that of a sum."""


def transposed(words: Words) -> dict[Word, Expr]:
    """The transpose of a polynomial."""
    return {
        tuple(
            Matrix(letter.name, not letter.transposed) if isinstance(letter, Matrix) else letter
            for letter in reversed(word)
        ): factor
        for word, factor in words.items()
    }


def negative(words: Words) -> dict[Word, Expr]:
    """Minus a polynomial."""
    return {word: -factor for word, factor in words.items()}


def jacobian(lines: Lines, result: str, state: str) -> dict[Word, Expr]:
    """The derivative of a result by a state.

    Args:
        lines: the field.
        result: the array that is differentiated.
        state: the input by which.

    Returns:
        The factor of each word, zero terms left out; the empty word is the unit matrix.

    Raises:
        NoWordsError: it is no polynomial of this kind.
    """
    known: dict[str, dict[Word, Expr]] = {state: {(): sp.Integer(1)}}
    for line in lines.lines:
        name = line.target.name
        match line.op:
            case Map(value=value):
                total: dict[Word, Expr] = {}
                for operand in sorted(value.free_symbols, key=str):
                    if operand.name not in known:
                        continue
                    if not lines.arrays[operand.name].shape:
                        raise NoWordsError(f"{name} depends on {state} through a sum")
                    scalar, diagonal = _split(lines, slope(value, operand, name))
                    for word, factor in known[operand.name].items():
                        _add(total, _joined(diagonal, word), scalar * factor)
                if total:
                    known[name] = total
            case Product(left, right, left_transposed, _) if right in known:
                if left in known:
                    raise NoWordsError(f"{name} is a product of two things that depend on {state}")
                total = {}
                for front, coefficient in _matrix(lines, left, left_transposed).items():
                    for word, factor in known[right].items():
                        _add(total, (*front, *word), coefficient * factor)
                known[name] = total
            case op if any(name in known for name in _read(op)):
                raise NoWordsError(f"{name} depends on {state} through {type(op).__name__}")
    return {w: f for w, f in known.get(result, {}).items() if f != 0}


def _read(op: object) -> tuple[str, ...]:
    return tuple(
        value for value in (getattr(op, key, "") for key in ("of", "left", "right")) if value
    )


def _add(total: dict[Word, Expr], word: Word, factor: Expr) -> None:
    total[word] = sp.expand(total.get(word, 0) + factor)


def _joined(diagonal: Expr, word: Word) -> Word:
    """A diagonal matrix before a word; two that meet are one."""
    if diagonal == 1:
        return word
    if word and isinstance(word[0], Diagonal):
        return (Diagonal(sp.factor(diagonal * word[0].entry)), *word[1:])
    return (Diagonal(sp.factor(diagonal)), *word)


def _split(lines: Lines, slope: Expr) -> tuple[Expr, Expr]:
    """The factors of a slope that are numbers, and those that have an entry for each coordinate."""
    scalar, diagonal = sp.Integer(1), sp.Integer(1)
    for factor in sp.Mul.make_args(sp.factor(slope)):
        shaped = any(lines.arrays[operand.name].shape for operand in factor.free_symbols)
        if shaped:
            diagonal *= factor
        else:
            scalar *= factor
    return scalar, diagonal


def _matrix(lines: Lines, name: str, turned: bool) -> dict[Word, Expr]:
    """A matrix as a polynomial in those that are declared."""
    line = next((candidate for candidate in lines.lines if candidate.target.name == name), None)
    if line is None:
        return {(Matrix(name, turned),): sp.Integer(1)}
    match line.op:
        case Transpose(of):
            return _matrix(lines, of, not turned)
        case Map(value=value):
            total: dict[Word, Expr] = {}
            shaped = {symbol: 0 for symbol in value.free_symbols if lines.arrays[symbol.name].shape}
            if sp.expand(value.xreplace(shaped)) != 0:
                raise NoWordsError(f"{name} is not linear in its matrices")
            for operand in sorted(value.free_symbols, key=str):
                if not lines.arrays[operand.name].shape:
                    continue
                factor = derivative(value, operand)
                if any(lines.arrays[symbol.name].shape for symbol in factor.free_symbols):
                    raise NoWordsError(f"{name} is not linear in its matrices")
                for word, coefficient in _matrix(lines, operand.name, turned).items():
                    _add(total, word, factor * coefficient)
            return total
        case Product(left, right, left_transposed, right_transposed):
            left_words = _matrix(lines, left, left_transposed)
            right_words = _matrix(lines, right, right_transposed)
            product: dict[Word, Expr] = {}
            for front, first in left_words.items():
                for back, second in right_words.items():
                    _add(product, (*front, *back), first * second)
            return transposed(product) if turned else product
    raise NoWordsError(f"{name} is a {type(line.op).__name__}")
