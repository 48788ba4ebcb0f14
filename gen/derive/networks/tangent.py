"""Forward rules: the derivative of some lines in a direction.

In: lines, and a direction for some of their inputs.  Out: further lines, and the derivative of each
result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import sympy as sp

from hamilforge.gen.derive.adjoint import slope
from hamilforge.gen.derive.arrays import (
    Entry,
    LogSumExp,
    Map,
    Piece,
    Product,
    Total,
    Transpose,
    symbol,
)
from hamilforge.gen.derive.lines import Lines


def forward(
    lines: Lines, count: int, directions: Mapping[str, str], results: Iterable[str]
) -> dict[str, str | None]:
    """Add the lines of the directional derivative.

    Args:
        lines: the computation; the lines of its derivative are added.
        count: how many of the lines are the computation.
        directions: the direction of each input, both by name; others are constant.
        results: of which arrays the derivative is wanted.

    Returns:
        The derivative of each result by name; None where it is zero.
    """
    dots: dict[str, str] = dict(directions)
    for line in lines.lines[:count]:
        target = line.target
        pieces: list[Piece] = []
        match line.op:
            case Map(value=value):
                for operand in sorted(value.free_symbols, key=str):
                    if operand.name in dots:
                        factor = slope(value, operand, target.name)
                        if factor == 0:
                            continue
                        dot = lines.piece(dots[operand.name])
                        pieces.append(Piece(dot.value * factor, target.shape, target.batched))
            case Product(left, right, left_transposed, right_transposed):
                for left_factor, right_factor in ((dots.get(left), right), (left, dots.get(right))):
                    if left_factor and right_factor:
                        op = Product(left_factor, right_factor, left_transposed, right_transposed)
                        pieces.append(lines.product(op))
            case Transpose(of=of):
                if of in dots:
                    done = lines.add(Transpose(dots[of]), target.shape, False, f"{target.name}_dot")
                    pieces.append(lines.piece(done))
            case Entry(of=of, place=place):
                if of in dots:
                    entry = Entry(dots[of], place)
                    done = lines.add(entry, (), target.batched, f"{target.name}_dot")
                    pieces.append(lines.piece(done))
            case Total(of=of):
                if of in dots:
                    done = lines.add(Total(dots[of]), (), target.batched, f"{target.name}_dot")
                    pieces.append(lines.piece(done))
            case LogSumExp(of=of):
                if of in dots:
                    share = sp.exp(symbol(of) - symbol(target.name)) * symbol(dots[of])
                    array = lines.arrays[of]
                    pieces.append(lines.total(Piece(share, array.shape, array.batched)))
            case _:
                raise NotImplementedError(f"tangent: {type(line.op).__name__}")
        if pieces:
            value = sp.Add(*(piece.value for piece in pieces))
            piece = Piece(value, target.shape, target.batched)
            dots[target.name] = lines.named(piece, f"{target.name}_dot")
    return {result: dots.get(result) for result in results}
