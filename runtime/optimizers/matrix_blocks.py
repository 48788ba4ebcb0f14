"""Calls of generated kernels of matrices: all matrices in one dispatch, a thread to a matrix.

In: a product's numba module and parameters as addresses with shapes.  Out: the arrays changed in
place.  Matrices are dealt out to blocks, each with room of its own, so nothing is allocated in a
step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core.threading_layer import parallel, serial

#: Matrices are dealt out to so many blocks, each a task of a thread.
BLOCKS = 16
#: Up to so much work, in multiplications, one thread does it: another one takes longer to wake.
SERIAL = 1 << 18


class Blocks:
    """How matrices are dealt out; depends on their shapes and groups only.

    Args:
        shapes: of the parameters, leading axes included.
        groups: the number of each parameter's group.
        module: the kernels.
        dtype: ``float32`` or ``float64``.
    """

    def __init__(
        self, shapes: Sequence[Sequence[int]], groups: Sequence[int], module: Any, dtype: str
    ) -> None:
        items, costs, room = [], [], 1
        for tensor, (shape, group) in enumerate(zip(shapes, groups, strict=True)):
            vector = module.VECTORS or len(shape) < 2
            rows, columns = (shape[-1], 1) if vector else shape[-2:]
            size, entries = rows * columns, int(np.prod(shape))
            if not size:
                continue
            room = max(room, module.room(*_named(module.SHAPE, rows, columns)))
            for place in range(entries // size):
                items.append((tensor, place, group, rows, columns, len(shape) < 2))
                costs.append(size * min(rows, columns))
        self._items = np.array(items, np.int64).reshape(-1, 6)
        count = max(1, min(BLOCKS, len(items)))
        shares = np.arange(1, count) / count * sum(costs)
        bounds = np.array([0, *np.searchsorted(np.cumsum(costs), shares), len(items)])
        self._bounds = np.stack([bounds[:-1], bounds[1:]], axis=1)
        self._work = np.empty((count, room), dtype)
        self._like = np.zeros(1, dtype)
        self._serial = sum(costs) <= SERIAL

    def run(self, kernel: Any, rows: NDArray[np.float64], addresses: NDArray[np.uintp]) -> None:
        """Run a kernel on all matrices.

        Args:
            kernel: a driver of the module.
            rows: `(groups, scalars)`: the gradient's sign, L2 factor and factor of decoupled decay,
                then the scalars of the rule.
            addresses: `(arrays, parameters)`: where points, states and gradients begin.
        """
        arguments = (self._bounds, self._items, rows, addresses, self._work, self._like)
        if self._serial:
            serial(kernel)(*arguments)
        else:
            parallel(kernel, *arguments)


def _named(shape: Sequence[str], rows: int, columns: int) -> list[int]:
    """The sizes of dimensions with a name, each once."""
    sizes = {name: size for name, size in zip(shape, (rows, columns), strict=True) if name != "1"}
    return [*sizes.values()]
