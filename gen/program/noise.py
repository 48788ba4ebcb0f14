"""Normal numbers from counters: the reference of all backends, in NumPy.

In: seed, replica and name of a parameter, the number of a step, that of an occurrence in the step,
and the entries that are wanted.  Out: independent standard normal numbers in float64, a function of
these and of nothing else.

Words are those of Philox 4x32-10; a block of four makes the numbers of four entries, each pair by
Box and Muller's transform.  Every operation after the words is a sum, product, quotient or root
that is rounded correctly, in a written order: whoever keeps to that order gets the same bits.

References:
    J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, Parallel random numbers: as easy as 1, 2,
    3, SC 2011; G. E. P. Box and M. E. Muller, A note on the generation of random normal deviates,
    Annals of Mathematical Statistics 29, 1958
"""

from __future__ import annotations

import hashlib
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: How many numbers a block of words makes.
BLOCK = 4
ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_MANTISSA, _ONE_BITS = np.int64(0xFFFFFFFFFFFFF), np.int64(1023 << 52)
#: Of an angle below pi/4 in a word of 32 bits: the rest says in which eighth of the circle it is.
_ANGLE = np.uint64((1 << 29) - 1)
#: Taylor coefficients: of (log((1 + s)/(1 - s)) - 2s)/(2s^3), sine and cosine.  The numbers are
#: within 5e-11 of Box and Muller's for their words, which have 32 bits.
_LOG = tuple(1.0 / k for k in range(3, 15, 2))
_SIN = tuple((-1.0) ** k / factorial(2 * k + 1) for k in range(1, 6))
_COS = tuple((-1.0) ** k / factorial(2 * k) for k in range(1, 7))
Words = NDArray[np.uint64]


def key_of(seed: int, replica: int, name: str) -> int:
    """The 64 bits from which all numbers of a parameter follow: the first of SHA-256.

    Args:
        seed: of the user.
        replica: the rank of the process among those whose noise differs.
        name: of the parameter.

    Returns:
        A whole number below 2^64.
    """
    digest = hashlib.sha256(f"{seed}/{replica}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def philox(counter: tuple[Any, Any, Any, Any], key: int) -> list[Words]:
    """The four words of each counter.

    Args:
        counter: its four words, each a number or an array of them.
        key: 64 bits.

    Returns:
        Four arrays of 32-bit words.
    """
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) for word in counter)
    keys = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(ROUNDS):
        k0, k1 = map(np.uint64, keys)
        first, second = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c2 = (second >> _HALF) ^ c1 ^ k0, (first >> _HALF) ^ c3 ^ k1
        c1, c3 = second & _LOW, first & _LOW
        keys = [(k + weyl) & 0xFFFFFFFF for k, weyl in zip(keys, _WEYL, strict=True)]
    return [c0, c1, c2, c3]


def normals(key: int, step: int, occurrence: int, first: int, count: int) -> NDArray[np.float64]:
    """Standard normal numbers.

    Args:
        key: of a parameter.
        step: below 2^48.
        occurrence: below 2^16.
        first: the number of the first entry, in the row-major order of the whole parameter.
        count: how many.

    Returns:
        `(count,)`.
    """
    blocks = np.arange(first // BLOCK, (first + count + BLOCK - 1) // BLOCK, dtype=np.uint64)
    high = np.uint64((step >> 32) | (occurrence << 16))
    words = philox((blocks & _LOW, blocks >> _HALF, step & 0xFFFFFFFF, high), key)
    numbers = np.empty((blocks.size, BLOCK))
    for k in range(0, BLOCK, 2):
        numbers[:, k], numbers[:, k + 1] = _pair(words[k], words[k + 1])
    return numbers.ravel()[first % BLOCK :][:count]


def _pair(radius: Words, angle: Words) -> tuple[Any, Any]:
    """Two independent normal numbers from two words."""
    r = np.sqrt(-2.0 * _log((radius.astype(np.float64) + 0.5) * 2.0**-32))
    theta = ((angle & _ANGLE).astype(np.float64) + 0.5) * 2.0**-29 * (np.pi / 4)
    square = theta * theta
    cosine = 1.0 + square * _polynomial(_COS, square)
    sine = theta + theta * (square * _polynomial(_SIN, square))
    swap, left, down = ((angle >> np.uint64(bit)) & np.uint64(1) == 1 for bit in (29, 30, 31))
    x, y = np.where(swap, sine, cosine), np.where(swap, cosine, sine)
    return r * np.where(left, -x, x), r * np.where(down, -y, y)


def _log(u: NDArray[np.float64]) -> Any:
    """The logarithm of positive numbers below 1."""
    bits = u.view(np.int64)
    mantissa = ((bits & _MANTISSA) | _ONE_BITS).view(np.float64)
    exponent = ((bits >> 52) - 1023).astype(np.float64)
    large = mantissa > np.sqrt(2.0)
    m = np.where(large, 0.5 * mantissa, mantissa)
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    twice = s + s
    exponent = np.where(large, exponent + 1.0, exponent)
    return exponent * np.log(2.0) + (twice + twice * (square * _polynomial(_LOG, square)))


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    """By pairs: (a + b x) + x^2 ((c + d x) + x^2 (...))."""
    a, *more = coefficients
    if not more:
        return a
    b, *rest = more
    value = a + b * x
    return value + (x * x) * _polynomial(tuple(rest), x) if rest else value
