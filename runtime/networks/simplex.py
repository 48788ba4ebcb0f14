"""The projection onto a simplex.

In: a vector.  Out: the nearest one without negative entries and with a given sum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def projected(vector: NDArray[np.float64], total: float) -> NDArray[np.float64]:
    """``max(v - theta, 0)`` with the theta that makes the sum right.

    Args:
        vector: `(n,)`.
        total: the sum, positive.

    References:
        J. Duchi, S. Shalev-Shwartz, Y. Singer and T. Chandra, ICML 2008, 272-279.
    """
    falling = np.sort(vector)[::-1]
    means = (np.cumsum(falling) - total) / np.arange(1, vector.size + 1)
    last = np.flatnonzero(falling > means)[-1]
    return np.maximum(vector - means[last], 0.0)
