"""Numbers drawn as a function of (seed, name, index): the same on every machine.

Entry ``index`` of the array ``name`` is read off SHA-256 of ``"seed/name/index"``: its first 16
bytes as a number, modulo how many numbers there are, which is uniform up to 2**-100.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.fields.evaluation import evaluate

#: The coordinates of drawn points are multiples of its inverse, from -1 to 1.
_GRID = 1 << 20


def integer(seed: int, name: str, index: int, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``, both included.

    Args:
        seed: of all draws.
        name: of the array.
        index: the place of the entry, row by row, from 0.
        low: the smallest.
        high: the largest.

    Returns:
        The number.
    """
    digest = hashlib.sha256(f"{seed}/{name}/{index}".encode()).digest()
    return low + int.from_bytes(digest[:16], "big") % (high - low + 1)


def points(count: int, width: int, seed: int) -> list[list[Fraction]]:
    """Drawn points with coordinates in [-1, 1].

    Args:
        count: how many.
        width: how many coordinates each has.
        seed: of the draw.

    Returns:
        The points.
    """
    return [
        [
            Fraction(integer(seed, "points", n * width + k, -_GRID, _GRID), _GRID)
            for k in range(width)
        ]
        for n in range(count)
    ]


def fixed(field: kinds.Field, sizes: Mapping[str, int], seed: int) -> dict[str, Any]:
    """The fixed arrays of a field; see :func:`drawn`.

    Args:
        field: with the arrays.
        sizes: of the dimensions that have a name.
        seed: of all draws.

    Returns:
        Each array by name.
    """
    return drawn(field.arrays, sizes, seed, field.head.source.where)


def drawn(
    declared: Iterable[kinds.FixedArray], sizes: Mapping[str, int], seed: int, where: str = ""
) -> dict[str, Any]:
    """Fixed arrays, as arrays of fractions.

    Args:
        declared: the arrays.
        sizes: of the dimensions that have a name.
        seed: of all draws.
        where: their file, for messages.

    Returns:
        Each array by name.

    Raises:
        DeclarationError: a unit vector has no such entry.
    """
    arrays = {}
    for array in declared:
        shape = [int(sizes.get(e, e)) for e in array.shape]
        if array.draw is None:
            place = int(sizes.get(array.unit, array.unit))
            if place > shape[0]:
                raise DeclarationError.single(
                    where,
                    f"'{array.name}' is unit({place}), and the dimension is {shape[0]}",
                )
            entries = [Fraction(k == place - 1) for k in range(shape[0])]
        else:
            entries = [
                Fraction(integer(seed, array.name, k, *array.draw))
                for k in range(int(np.prod(shape)))
            ]
        value = np.array(entries, dtype=object).reshape(shape)
        if array.where is not None:
            known = {array.name: value} | {k: Fraction(v) for k, v in sizes.items()}
            value = evaluate(array.where, known, sizes, _no_function)
        arrays[array.name] = value
    return arrays


def _no_function(name: str, *_: Any) -> Any:
    raise NotImplementedError(f"fixed arrays: {name}")
