"""Checkpoints: which states to keep on the way forward so that the way back recomputes least.

In: a number of layers and of slots.  Out: where to put checkpoints, and the order in which layers
are taken back.  With c slots beside the initial state, n layers need

    t(n, c) = min over m of  m + t(n - m, c - 1) + t(m, c),   t(1, c) = 0,   t(n, 0) = n (n - 1)/2

further layers forward; the minimum is r n - C(c + r, c + 1) with the least r for which
C(c + r, c) >= n (A. Griewank and A. Walther, ACM Trans. Math. Software 26 (2000) 19-45).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

State = TypeVar("State")


@lru_cache(maxsize=64)
def costs(layers: int, slots: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """t(n, slots) and the first checkpoint, for all n up to ``layers``."""
    n = np.arange(layers + 1)
    if slots == 0:
        return n * (n - 1) // 2, np.zeros(layers + 1, np.int64)
    fewer, _ = costs(layers, slots - 1)
    cost, first = np.zeros(layers + 1, np.int64), np.zeros(layers + 1, np.int64)
    for k in range(2, layers + 1):
        m = np.arange(1, k)
        total = m + fewer[k - m] + cost[m]
        first[k] = m[total.argmin()]
        cost[k] = total.min()
    return cost, first


def placed(layers: int, slots: int) -> list[int]:
    """The layers before which the way forward keeps a state, the first layer included."""
    if slots >= layers - 1:
        return [*range(layers)]
    kept, at = [0], 0
    while layers - at > 1 and slots > 0:
        at += int(costs(layers, slots)[1][layers - at])
        slots -= 1
        kept.append(at)
    return kept


def backwards(
    layers: int,
    slots: int,
    kept: list[State],
    advance: Callable[[State, int, int], State],
) -> Iterator[tuple[int, State]]:
    """Each layer from the last to the first, with the state before it.

    Args:
        layers: how many.
        slots: as many as ``placed`` was given.
        kept: the states before the layers that ``placed`` says.
        advance: ``advance(state, first, last)`` is the state before ``last`` from that before
            ``first``.

    Yields:
        Each number of a layer, counted from 0, with the state before it.
    """
    starts = placed(layers, slots)
    bounds = [*starts[1:], layers]
    for used in range(len(starts) - 1, -1, -1):
        # a copy of the slots that later segments no longer need is free again
        yield from _segment(starts[used], bounds[used], kept[used], slots - used, layers, advance)


def _segment(
    first: int,
    last: int,
    state: State,
    slots: int,
    layers: int,
    advance: Callable[[State, int, int], State],
) -> Iterator[tuple[int, State]]:
    if last - first == 1:
        yield first, state
        return
    if slots == 0:
        for layer in range(last - 1, first - 1, -1):
            yield layer, advance(state, first, layer) if layer > first else state
        return
    middle = first + int(costs(layers, slots)[1][last - first])
    yield from _segment(middle, last, advance(state, first, middle), slots - 1, layers, advance)
    yield from _segment(first, middle, state, slots, layers, advance)
