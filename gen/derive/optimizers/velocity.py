"""The derivative of lines along arrays: how fast what they compute changes.

In: lines, and for some arrays how fast they change.  Out: further lines, and the array that is the
derivative.  An exponential is differentiated along what it commutes with, its own argument: so the
velocity of a geodesic is, whose exponents grow with the time.
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.functions import CHOICE
from hamilforge.gen.derive.arrays import (
    Identity,
    Line,
    Map,
    MatrixCall,
    Piece,
    Product,
    Total,
    Transpose,
    symbol,
)
from hamilforge.gen.derive.calculus import FUNCTIONS, Expr, derivative
from hamilforge.gen.derive.lines import Lines

CHOOSE = FUNCTIONS[CHOICE]
#: Functions of matrices that are linear.
_LINEAR = ("colsum", "diag", "rowsum")


def velocity(lines: Lines, of: str, rates: Mapping[str, str]) -> Piece:
    """The derivative of an array.

    Args:
        lines: which compute it; those of the derivative are added.
        of: the array.
        rates: for each array that changes the array that is its derivative.

    Returns:
        The derivative; zero where nothing that changes enters.

    Raises:
        NotDerivableError: there is no rule for it.
    """
    known = dict(rates)
    exponents: dict[str, str] = {}
    for line in tuple(lines.lines):
        name = line.target.name
        if name in known:
            continue
        match line.op:
            case MatrixCall("expm", (exponent,)) if known.get(exponent) == exponent:
                exponents[name] = exponent
        piece = _rate(lines, line, known, exponents)
        if piece is not None:
            known[name] = lines.named(piece, "rate")
    if of not in known:
        return Piece(symbol(of) * 0, lines.arrays[of].shape, False)
    return lines.piece(known[of])


def _total(value: Expr, rates: Mapping[str, str]) -> Expr:
    """The derivative of an elementwise expression; of a choice, the derivative of what it takes.

    By the rule for products it would be that of the other side times 0, which may be infinite.
    """
    choices = sorted(value.atoms(CHOOSE), key=str)
    outer = [c for c in choices if not any(c != other and other.has(c) for other in choices)]
    dummies = {choice: sp.Dummy(real=True) for choice in outer}
    plain = value.xreplace(dummies)
    terms = [
        derivative(plain, s) * symbol(rates[s.name])
        for s in sorted(plain.free_symbols, key=str)
        if s.name in rates and s not in dummies.values()
    ]
    for choice, dummy in dummies.items():
        test, then, otherwise = choice.args
        chosen = CHOOSE(test, _total(then, rates), _total(otherwise, rates))
        terms.append(derivative(plain, dummy) * chosen)
    whole: Expr = sp.Add(*terms).xreplace({dummy: choice for choice, dummy in dummies.items()})
    return whole


def _rate(
    lines: Lines, line: Line, rates: Mapping[str, str], exponents: Mapping[str, str]
) -> Piece | None:
    """The derivative of a line; None where nothing that it reads changes.

    Args:
        lines: to which those of the derivative are added.
        line: what is differentiated.
        rates: for each array that changes the array that is its derivative.
        exponents: of those that are exp(M), where M changes by M.
    """
    name, shape = line.target.name, line.target.shape
    match line.op:
        case Map(value):
            changing = [s for s in value.free_symbols if s.name in rates]
            if not changing:
                return None
            return Piece(_total(value, rates), shape, False)
        case Product(left, right, left_transposed, right_transposed):
            factors = []
            if left in exponents and not left_transposed:  # M exp(M) B = M (exp(M) B)
                factors.append(Product(exponents[left], name))
            elif left in rates:
                factors.append(Product(rates[left], right, left_transposed, right_transposed))
            if right in exponents and not right_transposed:
                factors.append(Product(name, exponents[right]))
            elif right in rates:
                factors.append(Product(left, rates[right], left_transposed, right_transposed))
            pieces = [*map(lines.product, factors)]
            return Piece(sum(p.value for p in pieces), shape, False) if pieces else None
        case Transpose(of):
            if of not in rates:
                return None
            return lines.piece(lines.add(Transpose(rates[of]), shape, False, f"{rates[of]}T"))
        case Total(of):
            return lines.total(lines.piece(rates[of])) if of in rates else None
        case Identity():
            return None
        case MatrixCall(function, of) if not {*of} & rates.keys():
            return None
        case MatrixCall("expm", (of,)) if rates[of] == of:
            return lines.product(Product(of, name))
        case MatrixCall("rotation", (left, right, matrix)) if (
            rates.get(left) == left and not {right, matrix} & rates.keys()
        ):  # (P X' - X P') exp(P X' - X P') B
            inner = [lines.product(Product(of, name, True)) for of in (right, left)]
            first, second = (
                lines.product(Product(of, lines.named(piece, "matrix")))
                for of, piece in zip((left, right), inner, strict=True)
            )
            return Piece(first.value - second.value, shape, False)
        case MatrixCall(function, (of,)) if function in _LINEAR:
            op = MatrixCall(function, (rates[of],))
            return lines.piece(lines.add(op, shape, False, f"{function}_of_{rates[of]}"))
        case MatrixCall("solve", (matrix, right)):
            parts = [lines.piece(rates[right])] if right in rates else []
            if matrix in rates:
                change = lines.product(Product(rates[matrix], name))
                parts.append(Piece(-change.value, change.shape, False))
            whole = lines.named(Piece(sum(p.value for p in parts), shape, False), "matrix")
            op = MatrixCall("solve", (matrix, whole))
            return lines.piece(lines.add(op, shape, False, f"solve_of_{whole}"))
    raise NotDerivableError(
        f"the velocity of a geodesic with {line.op} in it; expm and rotation are differentiated "
        "along their own argument, and what is linear"
    )
