"""The arrays in which generated kernels work."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np


@dataclass(slots=True)
class Workspace:
    """The arrays that kernels work in, one set for each trajectory."""

    rows: Any
    square: Any
    slopes: Any
    flags: Any

    @staticmethod
    def of(product: ModuleType, count: int, dtype: type = np.float64) -> Workspace:
        """Fresh arrays; a step after them starts anew."""
        size, unknowns = product.SIZE, product.UNKNOWNS
        return Workspace(
            np.zeros((count, product.ROWS, size), dtype),
            np.zeros((count, unknowns + 2, max(unknowns, 1)), dtype),
            np.zeros((count, 3 * size, size), dtype),
            np.zeros((count, 2 + unknowns), np.int64),
        )
