"""Calls of generated kernels: all tensors in one dispatch.

In: a product's numba module, tensors as addresses with lengths, and a row of scalars per group.
Out: the arrays changed in place.  The work is cut into chunks that fit a core's cache; sums are
taken per chunk and added in the order of the chunks, so a result does not depend on the threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core.threading_layer import parallel, serial

CHUNK = 16384
#: Up to this many entries one thread is as quick as two, and leaves no other one spinning, which
#: would slow the step's own Python code.
SERIAL = 262_144
_LIKE = {"float32": np.zeros(1, np.float32), "float64": np.zeros(1, np.float64)}


@dataclass(frozen=True, slots=True)
class Plan:
    """How tensors are cut into chunks; depends on their lengths, groups and the scope only.

    Attributes:
        chunks: rows (tensor, offset, length, group, domain of sums).
        sums: room for the sums of each chunk.
        totals: room for the sums of each domain.
        entries: the number of entries of all tensors.
    """

    chunks: NDArray[np.int64]
    sums: NDArray[np.float64]
    totals: NDArray[np.float64]
    entries: int


def plan(lengths: Sequence[int], groups: Sequence[int], scope: str, columns: int) -> Plan:
    """Cut tensors into chunks.

    Args:
        lengths: number of entries of each tensor.
        groups: number of each tensor's group.
        scope: over what sums run: ``all``, ``group``, ``tensor`` or ``coordinate``.
        columns: how many sums the product takes.

    Returns:
        The chunks, with room for the sums of each chunk and of each domain.
    """
    rows = []
    for tensor, (length, group) in enumerate(zip(lengths, groups, strict=True)):
        domain = {"group": group, "tensor": tensor}.get(scope, 0)
        for offset in range(0, length, CHUNK):
            rows.append((tensor, offset, min(CHUNK, length - offset), group, domain))
    domains = {"group": max(groups, default=0) + 1, "tensor": len(lengths)}.get(scope, 1)
    return Plan(
        np.array(rows, np.int64).reshape(-1, 5),
        np.zeros((len(rows), columns)),
        np.zeros((domains, columns)),
        sum(lengths),
    )


#: A key for each tensor, and how many gradients have been taken before.
Counters = tuple[Sequence[int], int]
Noise = tuple[NDArray[np.uint64], int]


def noise(product: Any, stage: int, counters: Counters) -> Noise | None:
    """What the kernel of a stage takes for what it draws.

    Args:
        product: a generated module.
        stage: its number.
        counters: of the noise.

    Returns:
        The keys and the count; None for a stage that draws nothing.
    """
    keys, draws = counters
    return (np.array(keys, np.uint64), draws) if any(product.NOISE[stage:][:1]) else None


def run(
    kernel: Any,
    how: Plan,
    rows: NDArray[np.float64],
    addresses: NDArray[np.uintp],
    dtype: str,
    drawn: Noise | None = None,
) -> None:
    """Run a kernel on all tensors.

    Args:
        kernel: a driver of a generated module.
        how: the chunks.
        rows: `(groups, scalars)`: of a stage the gradient's sign, L2 factor and factor of
            decoupled decay, then its own.
        addresses: `(arrays, tensors)`: where point, buffer and gradient begin.
        dtype: ``float32`` or ``float64``.
        drawn: what :func:`noise` has for it.
    """
    tables = (how.chunks, rows, addresses, how.sums, how.totals, _LIKE[dtype])
    arguments = (*tables, *(drawn or ()))
    if how.entries > SERIAL:
        parallel(kernel, *arguments)
    else:
        serial(kernel)(*arguments)
