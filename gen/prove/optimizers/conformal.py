"""Conformal symplecticity: M' Omega M = c Omega for the Jacobian M of a step.

Proved of the method, for any dimension, by the chain rule over the lines of the scheme, with a
letter for each Hessian at each point. Letters are symmetric matrices that need not commute, so
the blocks of the Jacobian are polynomials in words, and transposition reverses the words. A line
that is a shear with a symmetric Hessian, or a scaling of p, is conformal by itself, and factors
multiply. :mod:`jets` proves the same of the program that is emitted.

McLachlan and Perlmutter, J. Geom. Phys. 39 (2001) 276-300, doi:10.1016/S0393-0440(01)00020-1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from hamilforge.gen.derive.calculus import Coordinate, Expr, Total, is_host, tidy, written
from hamilforge.gen.derive.scheme import Line, Scheme, free_constants
from hamilforge.gen.derive.symbols import Decay, Grad, Velocity, p, q

Word = tuple[str, ...]
Polynomial = dict[Word, Expr]
IDENTITY: Polynomial = {(): sp.Integer(1)}


def _plus(left: Polynomial, right: Polynomial, factor: Expr = 1) -> Polynomial:
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
    for word, coefficient in left.items():
        for tail, factor in right.items():
            result = _plus(result, {word + tail: coefficient * factor})
    return result


def _transposed(block: Polynomial) -> Polynomial:
    return {
        tuple(_letter_transposed(letter) for letter in word[::-1]): coefficient
        for word, coefficient in block.items()
    }


def _letter_transposed(letter: str) -> str:
    """Letters of Hessians and diagonal matrices are symmetric; an N is any matrix."""
    if not letter.startswith("N"):
        return letter
    return letter[:-1] if letter.endswith("'") else letter + "'"


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
        form = _part(part, velocity)
        if form.factor is None:
            return _part(scheme.lines, velocity) if not local else form
        factor = factor * form.factor
    return Form(factor, None, {}, not local)


def _part(lines: tuple[Line, ...], velocity: Callable[[Expr], Expr] | None) -> Form:
    chain = _Chain(velocity)
    for line in lines:
        chain.follow(line)
    top, bottom = chain.rows[q], chain.rows[p]
    # M' Omega M with Omega = [[0, I], [-I, 0]] has the blocks Qa' Pb - Pa' Qb.
    blocks = [
        _plus(
            _times(_transposed(top[a]), bottom[b]),
            _times(_transposed(bottom[a]), top[b]),
            -sp.Integer(1),
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
            scalar = sp.Mul(*(factor for factor in factors if is_host(factor)))
            arrays = [factor for factor in factors if not is_host(factor)]
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
        if isinstance(expr, Velocity | Grad):
            kind = "S" if isinstance(expr, Grad) else "T"
            return self._times_letter(self._letter(kind, expr, expr.args[0]), expr.args[0])
        parts = sorted(expr.atoms(Coordinate), key=str)
        elementwise = len(parts) == 1 and not expr.has(Total, Grad, Velocity)
        row: tuple[Polynomial, Polynomial] = ({}, {})
        for part in parts:
            letter = self._letter("T" if elementwise else "N", expr, part)
            inner = self._times_letter(letter, part)
            row = (_plus(row[0], inner[0]), _plus(row[1], inner[1]))
        return row

    def _times_letter(self, letter: str, argument: Expr) -> tuple[Polynomial, Polynomial]:
        inner = self._row(argument)
        word: Polynomial = {(letter,): sp.Integer(1)}
        return _times(word, inner[0]), _times(word, inner[1])

    def _letter(self, kind: str, expr: Expr, argument: Expr) -> str:
        state = tuple(
            (str(s), self._versions.get(s, 0)) for s in sorted(expr.atoms(Coordinate), key=str)
        )
        key = (kind, str(expr), str(argument), state)
        if key not in self._known:
            number = 1 + sum(letter.startswith(kind) for letter in self.letters)
            letter = f"{kind}{number}" if number > 1 else kind
            self._known[key] = letter
            what = {Grad: "Hess J", Velocity: "Hess K"}.get(type(expr))
            self.letters[letter] = (
                f"{what} at {argument}" if what else f"d({written(expr)})/d{argument}"
            )
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


def telescoped(scheme: Scheme, factor: Expr, decay: Callable[[Expr, Expr], Expr]) -> Expr:
    """A factor with the friction factors in closed form.

    Args:
        scheme: the method, whose constants may occur.
        factor: the factor, in friction factors ``Decay(start, stop)``.
        decay: ``decay(start, stop)``, the friction factor between two times.

    Returns:
        The factor, simplified, in constants that do not depend on others.
    """
    return tidy(free_constants(scheme.constants, factor.replace(Decay, decay)))
