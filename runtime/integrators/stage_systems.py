"""Stages that determine each other, inside kernels: small linear systems, one for each sample.

Arrays of unknowns come as tuples of `(size, samples)`; the systems are `(samples, n, n)`.  Compiled
into generated kernels, which carry the digest of this file.
"""

from __future__ import annotations

from typing import Any

from hamilforge.runtime.core.inner_functions import inner_function
from hamilforge.runtime.core.linear import factored, solved

#: Newton's iterations at most, and what counts as coming closer.
ITERATIONS, CONTRACTION = 50, 0.3


@inner_function
def clear(arrays: Any) -> None:
    """Zero everywhere."""
    for array in arrays:
        array[:] = 0


@inner_function
def unit(arrays: Any, entry: Any) -> None:
    """One in one entry, counted through all arrays; zero elsewhere."""
    start = 0
    for array in arrays:
        array[:] = 0
        if start <= entry < start + array.shape[0]:
            array[entry - start] = 1
        start += array.shape[0]


@inner_function
def set_column(systems: Any, arrays: Any, entry: Any) -> None:
    """A column of one minus a linear map, for each sample.

    Args:
        systems: `(samples, unknowns, unknowns)`; one column is set.
        arrays: the map of a unit vector, `(entries, samples)` each; the unknowns are all entries.
        entry: the number of the column.
    """
    row = 0
    for array in arrays:
        for i in range(array.shape[0]):
            for n in range(array.shape[1]):
                systems[n, row, entry] = -array[i, n]
                if row == entry:
                    systems[n, row, entry] += 1
            row += 1


@inner_function
def factored_all(systems: Any, pivots: Any) -> None:
    """The factors of every system, in its place."""
    for n in range(systems.shape[0]):
        factored(systems[n], pivots[n], systems.shape[1])


@inner_function
def corrected(systems: Any, pivots: Any, rights: Any, arrays: Any, fresh: Any) -> Any:
    """Add the solution for ``fresh - arrays`` to ``arrays``.

    Args:
        systems: the factors of every sample's system, `(samples, unknowns, unknowns)`.
        pivots: of the factors, `(samples, unknowns)`.
        rights: room for the right sides, `(samples, unknowns)`.
        arrays: the unknowns, `(entries, samples)` each; changed.
        fresh: what the unknowns should be by the equations, alike.

    Returns:
        The largest change, and the largest entry.
    """
    row = 0
    for number in range(len(arrays)):
        for i in range(arrays[number].shape[0]):
            for n in range(arrays[number].shape[1]):
                rights[n, row] = fresh[number][i, n] - arrays[number][i, n]
            row += 1
    for n in range(systems.shape[0]):
        solved(systems[n], pivots[n], rights[n], systems.shape[1])
    row, change, size = 0, 0.0, 0.0
    for array in arrays:
        for i in range(array.shape[0]):
            for n in range(array.shape[1]):
                array[i, n] += rights[n, row]
                # written so that numbers that are not finite are largest
                if not abs(rights[n, row]) <= change:
                    change = abs(rights[n, row])
                if not abs(array[i, n]) <= size:
                    size = abs(array[i, n])
            row += 1
    return change, size


@inner_function
def largest(array: Any) -> Any:
    """The largest entry, by size."""
    found = 0.0
    for i in range(array.shape[0]):
        for n in range(array.shape[1]):
            if not abs(array[i, n]) <= found:
                found = abs(array[i, n])
    return found


@inner_function
def less(arrays: Any, others: Any) -> None:
    """``arrays -= others``."""
    for number in range(len(arrays)):
        arrays[number][:] -= others[number]


@inner_function
def set_all(arrays: Any, others: Any) -> None:
    """``arrays = others``."""
    for number in range(len(arrays)):
        arrays[number][:] = others[number]


@inner_function
def epsilon(array: Any) -> Any:
    """What counts as the rounding of a number of the array's type."""
    return 1e-6 if array.itemsize == 4 else 1e-15
