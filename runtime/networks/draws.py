"""Fixed arrays of fields, drawn as a function of (seed, name, index): the same on every machine.

In: a seed, names and sizes.  Out: arrays of fractions, which are rounded once.  Entry ``index`` of
the array ``name``, counted row by row from 0, is read off SHA-256 of ``"seed/name/index"``: its
first 16 bytes as a number, modulo how many numbers there are.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core.numbers import whole_number

#: An array whose entries are fractions.
Exact = NDArray[Any]
exact = Fraction
#: The grid of controls that are drawn and not trained.
_GRID = 1 << 20


def integers(seed: int, name: str, shape: Sequence[int], low: int, high: int) -> Exact:
    """Whole numbers from ``low`` to ``high``, both included.

    Args:
        seed: of all draws.
        name: of the array, as it is declared.
        shape: of the array.
        low: the smallest.
        high: the largest.

    Returns:
        The array.
    """
    drawn = np.empty(math.prod(shape), dtype=object)
    for index in range(drawn.size):
        digest = hashlib.sha256(f"{seed}/{name}/{index}".encode()).digest()
        drawn[index] = Fraction(low + int.from_bytes(digest[:16], "big") % (high - low + 1))
    return drawn.reshape(shape)


def unit(place: int, size: int) -> Exact:
    """The unit vector with 1 at a place, counted from 1.

    Raises:
        ValueError: there is no such place.
    """
    if place > size:
        raise ValueError(f"unit({place}) is declared, and the dimension is {size}")
    vector = np.full(size, Fraction(0), dtype=object)
    vector[place - 1] = Fraction(1)
    return vector


def eye(size: int) -> Exact:
    """The identity."""
    return np.array([unit(place, size) for place in range(1, size + 1)], dtype=object)


def trace(matrix: Exact) -> Any:
    """The sum of the diagonal."""
    return np.trace(matrix)


def total(array: Exact) -> Any:
    """The sum of all entries."""
    return np.sum(array)


def dot(left: Exact, right: Exact) -> Any:
    """The sum of the products of the entries."""
    return np.sum(left * right)


def sym(matrix: Exact) -> Exact:
    """``(A + A')/2``."""
    half: Exact = (matrix + matrix.T) * Fraction(1, 2)
    return half


def skew(matrix: Exact) -> Exact:
    """``(A - A')/2``."""
    half: Exact = (matrix - matrix.T) * Fraction(1, 2)
    return half


def rounded(array: Exact, dtype: Any) -> NDArray[Any]:
    """Fractions as numbers of a type, each rounded once, to the nearest.

    Args:
        array: of fractions.
        dtype: ``float64`` or ``float32``.

    Returns:
        The array.
    """
    kind: Any = np.dtype(dtype).type
    flat = [_nearest(Fraction(entry), kind) for entry in array.ravel()]
    return np.array(flat, dtype).reshape(array.shape)


def _nearest(entry: Fraction, kind: Any) -> Any:
    """The nearest number; what was rounded to float64 first may lie beside it."""
    near = kind(float(entry))
    beside = (np.nextafter(near, kind(-np.inf)), np.nextafter(near, kind(np.inf)))
    # of two that are equally near, `near` is even: a tie is a number that float64 has
    return min((near, *beside), key=lambda number: abs(Fraction(float(number)) - entry))


def seed_of(draw: Any) -> int:
    """A seed.

    Raises:
        ValueError: it is no whole number from 0 to 2**63 - 1.
    """
    seed = whole_number("draw", draw, 0)
    if seed >= 2**63:
        raise ValueError(f"draw = {draw}: a seed below 2**63 was expected")
    return seed


def fixed(product: Any, sizes: Mapping[str, int], seed: int) -> dict[str, Exact]:
    """The fixed arrays of a network.

    Args:
        product: a generated numba module, or a network of torch.
        sizes: the size of each dimension, by name.
        seed: of all draws.

    Returns:
        Each by its declared name, in the order of the declaration; none where the field has none.

    Raises:
        ValueError: a unit vector has no such entry.
    """
    if not getattr(product, "FIXED", {}):
        return {}
    known = {**getattr(product, "SIZES", {}), **sizes}
    arrays: dict[str, Exact] = product.drawn(seed, known)
    return arrays


def trained(product: Any, trainable: Sequence[str] | None) -> tuple[str, ...]:
    """The controls that are trained.

    Args:
        product: a generated numba module, or a network of torch.
        trainable: their names; None for all.

    Returns:
        The names, in the order of the declaration.

    Raises:
        ValueError: one is no control.
    """
    if trainable is None:
        return tuple(product.CONTROLS)
    names = (trainable,) if isinstance(trainable, str) else tuple(trainable)
    known = ", ".join(product.CONTROLS) or "none"
    for name in names:
        if name in getattr(product, "FIXED", {}):
            raise ValueError(
                f"trainable: '{name}' is a fixed array of {product.NAME} and is not trained; "
                f"its controls are: {known}"
            )
        if name not in product.CONTROLS:
            raise ValueError(
                f"trainable: '{name}' is no control of {product.NAME}; those are: {known}"
            )
    return tuple(name for name in product.CONTROLS if name in names)


def held(name: str, shape: Sequence[int], rank: int, seed: int) -> NDArray[np.float64]:
    """A control that is not trained: matrices uniform with variance 1 / columns.

    Args:
        name: of the control.
        shape: of it, layers first.
        rank: 2 for matrices, 1 for vectors, which are 0, 0 for scalars, which are 1.
        seed: of all draws.

    Returns:
        The control, of ``shape``.
    """
    if rank < 2:
        return np.full(shape, 0.0 if rank else 1.0)
    drawn = integers(seed, name, shape, -_GRID, _GRID)
    scale = math.sqrt(3 / shape[-1]) / _GRID
    return np.array([float(entry) * scale for entry in drawn.ravel()]).reshape(shape)
