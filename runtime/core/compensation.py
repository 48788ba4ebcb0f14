"""Compensated sums inside kernels: what an addition rounds away is carried along.

Compiled into generated kernels, which carry the digest of this file.
"""

from __future__ import annotations

from hamilforge.runtime.core.inner_functions import borrowing_function


@borrowing_function
def added(value: float, low: float, change: float) -> tuple[float, float]:
    """A sum of two parts, ``value + low``, after an addition; real or complex.

    W. Kahan, Further remarks on reducing truncation errors, Comm. ACM 8 (1965) 40.

    Args:
        value: the sum in double precision.
        low: what it lacks.
        change: what is added.

    Returns:
        Both parts of the new sum.
    """
    change = low + change
    total = value + change
    return total, (value - total) + change
