"""Logarithms and powers of 2 for the lengths of steps, where a few per cent are enough.

In: a float64, or eight of them in lanes.  Out: the function by the bits of the number, whose
exponent is the whole part of its logarithm and whose fraction is nearly the rest: ``f`` for
``log2(1 + f)``, which is up to 0.086 more, so that half of that is added.  A step waits for both
functions, and they take a dozen cycles each.
Compiled into kernels, which carry the digest of this file.

Source: J. N. Mitchell, Computer multiplication and division using binary logarithms, IRE Trans.
Electron. Comput. EC-11 (1962) 512-517, doi:10.1109/TEC.1962.5219391.
"""

from __future__ import annotations

from typing import Any

from hamilforge.runtime.core.inner_functions import borrowing_function
from hamilforge.runtime.core.lanes import bits_of, of_bits

#: One unit of the last bit as a part of an exponent, and its inverse.
_BIT, _BITS = 2.0**-52, 2.0**52
#: What is added to a logarithm where its number is stored: the exponent of 1, less half of 0.086.
_ONE = 1023.0 - 0.043


@borrowing_function
def log2(x: Any) -> Any:
    """The logarithm to base 2 of a normal number, within 0.0431; at least -1023 of smaller ones."""
    return bits_of(x) * _BIT - _ONE


@borrowing_function
def power2(x: Any) -> Any:
    """2 to a power from -1020 to 1020, within 3.1 per cent; at the nearer end beyond."""
    return of_bits((min(max(x, -1020.0), 1020.0) + _ONE) * _BITS)
