"""The problem that workers share: two parameters, and gradients that differ by worker and step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

START = [np.linspace(-1, 1, 6).reshape(2, 3), np.linspace(2, -1, 4)]


def slope(x: Any, worker: int, step: int) -> Any:
    """The gradient of a worker's loss in a step."""
    return x + np.sin(x + worker) + 0.1 * math.cos(step) * (worker + 1)


def near(ours: Any, theirs: Any) -> None:
    """Equal but for roundings."""
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)
