"""Logarithms and powers of 2 for the lengths of steps, where three digits are enough.

In: a float64.  Out: the function by the bits of the number and a cubic polynomial.  Compiled into
kernels, which carry the digest of this file.
"""

from __future__ import annotations

import numpy as np

from hamilforge.runtime.core.inner_functions import borrowing_function

#: The bits of a fraction, and the exponent of 1.
_FRACTION, _ONE, _BITS = (1 << 52) - 1, 1023, 52
#: log2 on [1, 2] and 2^x on [0, 1], at Chebyshev's points.
_L0, _L1, _L2, _L3 = -2.13388663, 3.010851, -1.02955839, 0.15392465
_P0, _P1, _P2, _P3 = 0.99981246, 0.69683624, 0.22412837, 0.07902041


@borrowing_function
def log2(x: float) -> float:
    """The logarithm to base 2 of a positive number, within 0.0014; below -1021 for 0."""
    bits = np.float64(x).view(np.int64)
    part = np.int64((bits & _FRACTION) | (_ONE << _BITS)).view(np.float64)
    return (bits >> _BITS) - _ONE + (_L0 + part * (_L1 + part * (_L2 + part * _L3)))


@borrowing_function
def power2(x: float) -> float:
    """2 to a power from -1020 to 1020, within a part of 0.0002; at the nearer end beyond."""
    above = min(max(x, -1020.0), 1020.0) + _ONE
    whole = np.int64(above)
    rest = above - whole
    scale = np.int64(whole << _BITS).view(np.float64)
    return scale * (_P0 + rest * (_P1 + rest * (_P2 + rest * _P3)))
